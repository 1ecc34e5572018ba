//! `passerelle-ca`: a small certification authority with OCSP responder and time-stamping authority.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cert_authority::authority::Reason;
use cert_authority::clock::SystemClock;
use cert_authority::durable;
use cert_authority::error::PkiError;
use cert_authority::hardening::keep_memory_private;
use cert_authority::service::{self, Config, House, Shown, start_log, stop_signal};
use cert_authority::x509::issue::Profile;
use cert_authority::x509::request::CertificateRequest;
use cert_authority::x509::{AltName, Certificate, Name, Serial};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::net::TcpListener;

/// A small certification authority with OCSP responder and time-stamping authority.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The settings.
    #[arg(long, global = true, default_value = "ca.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the keys and certificates of a new authority.
    Init,
    /// Certify the key of a certificate request.
    Issue {
        /// The kind of certificate.
        #[arg(long)]
        profile: ProfileName,
        /// The request, PEM or DER.
        #[arg(long)]
        request: PathBuf,
        /// Where the certificate goes: PEM, with the intermediates behind it.
        #[arg(long)]
        out: PathBuf,
        /// The subject instead of the request's own, such as "CN=1001, O=GOV, C=EE".
        #[arg(long)]
        subject: Option<String>,
        /// A host name or address of the subject; may be repeated.
        #[arg(long = "host")]
        hosts: Vec<String>,
    },
    /// Revoke a certificate, for good.
    Revoke {
        /// Its serial number in hexadecimal, or a file with the certificate.
        certificate: String,
        /// unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation or
        /// privilege-withdrawn.
        #[arg(long, default_value = "unspecified")]
        reason: String,
    },
    /// Serve OCSP, time-stamps, revocation lists and certificates.
    Serve,
    /// List the authorities and what they have issued.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    /// Signs messages for a member.
    Sign,
    /// Authenticates a gateway to others.
    Auth,
    /// TLS towards one's own systems.
    Tls,
}

fn main() -> ExitCode {
    let begun = keep_memory_private().map_err(|error| store("the memory cannot be kept private", error));
    let arguments = Arguments::parse();
    match begun.and_then(|()| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "passerelle-ca: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), PkiError> {
    let config = Config::load(&arguments.config)?;
    start_log(&config.log)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| store("runtime", error))?;
    runtime.block_on(execute(&arguments.command, &config))
}

async fn execute(command: &Command, config: &Config) -> Result<(), PkiError> {
    let clock = Arc::new(SystemClock);
    if matches!(command, Command::Init) {
        return service::init(config, clock).await;
    }
    let house = House::open(config, clock)?;
    match command {
        Command::Init => Ok(()),
        Command::Issue { profile, request, out, subject, hosts } => {
            let request = read_request(request)?;
            let subject = subject.as_deref().map(Name::parse_rfc4514).transpose()?;
            let hosts: Vec<AltName> = hosts.iter().map(|host| alt_name(host)).collect();
            let pem = service::issue(&house, (*profile).into(), &request, subject.as_ref(), &hosts).await?;
            durable::write(out, pem.as_bytes()).map_err(|error| store(&out.display().to_string(), error))
        }
        Command::Revoke { certificate, reason } => {
            let reason = Reason::from_name(reason)
                .ok_or_else(|| PkiError::inspect("reason", format!("{reason} is none")))?;
            service::revoke(&house, &read_serial(certificate)?, reason).map(|_| ())
        }
        Command::Show { json } => print(&service::show(&house), *json),
        Command::Serve => {
            let listener = TcpListener::bind(config.listen)
                .await
                .map_err(|error| store(&config.listen.to_string(), error))?;
            service::serve(&house, config, listener, stop_signal()?).await
        }
    }
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Sign => Self::Sign,
            ProfileName::Auth => Self::Auth,
            ProfileName::Tls => Self::Tls,
        }
    }
}

fn store(what: &str, error: impl std::fmt::Display) -> PkiError {
    PkiError::Store(format!("{what}: {error}"))
}

fn read(path: &Path) -> Result<Vec<u8>, PkiError> {
    std::fs::read(path).map_err(|error| store(&path.display().to_string(), error))
}

fn read_request(path: &Path) -> Result<CertificateRequest, PkiError> {
    let bytes = read(path)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.contains("-----BEGIN") => CertificateRequest::from_pem(text),
        _ => CertificateRequest::from_der(&bytes),
    }
}

/// A serial number, or the certificate in a file (its first one).
fn read_serial(text: &str) -> Result<Serial, PkiError> {
    if !Path::new(text).exists() {
        return Serial::from_hex(text);
    }
    let bytes = read(Path::new(text))?;
    let certificate = match std::str::from_utf8(&bytes) {
        Ok(pem) => Certificate::pems(pem)?.into_iter().next(),
        Err(_) => Some(Certificate::from_der(&bytes)?),
    };
    let certificate = certificate.ok_or_else(|| PkiError::decode("certificate", "there is none"))?;
    Ok(certificate.serial().clone())
}

fn alt_name(host: &str) -> AltName {
    host.parse().map_or_else(|_| AltName::Dns(host.to_owned()), AltName::Ip)
}

fn print(shown: &[Shown], json: bool) -> Result<(), PkiError> {
    let failed = |error: &dyn std::fmt::Display| store("standard output", error);
    let text = if json {
        let text = serde_json::to_string_pretty(shown).map_err(|error| failed(&error))?;
        text + "\n"
    } else {
        shown.iter().map(Shown::to_string).collect()
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| failed(&error))
}
