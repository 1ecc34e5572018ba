//! `passerelle-signer`: holds signing keys, so that the program that faces the network does not.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong use.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use cert_authority::durable;
use cert_authority::error::PkiError;
use cert_authority::hardening::keep_memory_private;
use cert_authority::keys::inventory::Usage;
use cert_authority::keys::{KeyId, KeyType};
use cert_authority::service::{
    SignerConfig, confine_signer, create_key, import_certificate, list_keys, request_for, serve_signer,
    start_log, stop_signal,
};
use cert_authority::x509::{AltName, Name};
use clap::{Parser, Subcommand, ValueEnum};

/// Holds signing keys and signs with them for a gateway on the same machine.
#[derive(Parser)]
#[command(name = "passerelle-signer", version)]
struct Arguments {
    /// The settings.
    #[arg(long, global = true, default_value = "signer.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sign for those who may call, until told to stop.
    Serve,
    /// Make a key; prints its id. Makes the PIN file too when it is not there.
    Create {
        /// What it is for.
        #[arg(long, value_enum)]
        usage: For,
        /// Whose it is, such as EE/GOV/1001.
        #[arg(long)]
        member: Option<String>,
        /// Kind of key: p256, p384, rsa2048, rsa3072, rsa4096; ed25519 for checkpoints and witnesses only, and their default.
        #[arg(long = "type")]
        key_type: Option<KeyType>,
        /// What you want to call it.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Write a certificate request (PEM) for a key.
    Request {
        /// The key.
        id: KeyId,
        /// Subject, most specific part first: "CN=1001, 2.5.4.5=1001, 2.5.4.15=GOV, O=EE".
        #[arg(long)]
        subject: String,
        /// DNS name or address to stand in the certificate; may be given again.
        #[arg(long = "host")]
        hosts: Vec<String>,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take in a certificate (PEM) for one of the keys; intermediates may follow it.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// List the keys with their certificates.
    List,
}

#[derive(Clone, Copy, ValueEnum)]
enum For {
    /// Signing a member's messages.
    Sign,
    /// Signing checkpoints of a gateway's log.
    Checkpoint,
    /// Cosigning checkpoints of others' logs.
    Witness,
}

impl From<For> for Usage {
    fn from(usage: For) -> Self {
        match usage {
            For::Sign => Self::Sign,
            For::Checkpoint => Self::Checkpoint,
            For::Witness => Self::Witness,
        }
    }
}

fn main() -> ExitCode {
    let begun = keep_memory_private()
        .map_err(|error| PkiError::Store(format!("the memory cannot be kept private: {error}")));
    let arguments = Arguments::parse();
    match begun.and_then(|()| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "passerelle-signer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), PkiError> {
    let config = SignerConfig::load(&arguments.config)?;
    match &arguments.command {
        Command::Serve => {
            start_log(&config.log)?;
            // Before the runtime: its threads are confined with this one.
            confine_signer(&config)?;
            runtime()?.block_on(async { serve_signer(&config, stop_signal()?).await })
        }
        Command::Create { usage, member, key_type, label } => {
            let usage = Usage::from(*usage);
            let usual = if usage.is_note() { KeyType::Ed25519 } else { KeyType::EcP256 };
            let id = create_key(&config, usage, key_type.unwrap_or(usual), member.as_deref(), label)?;
            say(&id.to_string())
        }
        Command::Request { id, subject, hosts, out } => {
            let subject = Name::parse_rfc4514(subject)?;
            let host = |host: &String| host.parse().map_or_else(|_| AltName::Dns(host.clone()), AltName::Ip);
            let hosts: Vec<AltName> = hosts.iter().map(host).collect();
            let pem = runtime()?.block_on(request_for(&config, id, &subject, &hosts))?;
            durable::write(out, pem.as_bytes()).map_err(|error| failed(&out.display().to_string(), &error))
        }
        Command::Import { file } => {
            let named = file.display().to_string();
            let pem = std::fs::read_to_string(file).map_err(|error| failed(&named, &error))?;
            say(&import_certificate(&config, &pem)?.to_string())
        }
        Command::List => list_keys(&config)?.iter().try_for_each(|line| say(line)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, PkiError> {
    tokio::runtime::Runtime::new().map_err(|error| failed("runtime", &error))
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> PkiError {
    PkiError::Store(format!("{what}: {error}"))
}

fn say(line: &str) -> Result<(), PkiError> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| failed("standard output", &error))
}
