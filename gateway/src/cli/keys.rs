//! `keys create | request | import | list | verifier`: a server's keys and certificates.
//!
//! A signing key belongs to a member, an authentication key to the server, a TLS key to the HTTPS door. What a key is
//! for, and whose it is, stands beside it in plain text; the key itself is encrypted with the PIN.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::{Clock as _, SystemClock};
use cert_authority::crypto;
use cert_authority::durable;
use cert_authority::keys::inventory::{Entry, Inventory, Usage};
use cert_authority::keys::remote::RemoteSigner;
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::keys::{KeyId, KeyType, Signer};
use cert_authority::tlog::settings::newest;
use cert_authority::tlog::{NoteSigner, SignatureType};
use cert_authority::x509::{AltName, Name, request};
use clap::{Subcommand, ValueEnum};
use conf::identifier::MemberId;

use crate::config::{self, Config};

/// How long the signer may take to say which keys it has.
const SIGNER_TELLS: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key; prints its id. Makes the PIN file too when it is not there.
    Create {
        /// What it is for.
        #[arg(long, value_enum)]
        usage: For,
        /// Whose it is, INSTANCE/CLASS/MEMBER. Default: the owner of the server.
        #[arg(long)]
        member: Option<String>,
        /// Kind of key: p256, p384, rsa2048, rsa3072, rsa4096; ed25519 for checkpoints and witnesses only, and their
        /// default. Default of the others: p256.
        #[arg(long = "type")]
        key_type: Option<String>,
        /// What you want to call it.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Write a certificate request (PEM) for a key.
    Request {
        /// The key.
        id: String,
        /// Subject, most specific part first: "CN=1001, O=GOV, C=EE". Default: from the key's member and usage.
        #[arg(long)]
        subject: Option<String>,
        /// DNS name or address to stand in the certificate; may be given again.
        #[arg(long)]
        host: Vec<String>,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take in a certificate (PEM) for one of the keys; intermediates may follow it.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Show the verifier keys that others need: of the log's checkpoints, and of the witness that this gateway is.
    Verifier,
    /// List the keys with their certificates.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum For {
    /// Signing a member's messages.
    Sign,
    /// Authenticating the server to other gateways.
    Auth,
    /// The HTTPS door, and calls to services that ask for a certificate.
    Tls,
    /// Signing checkpoints of the message log.
    Checkpoint,
    /// Cosigning checkpoints of others' logs.
    Witness,
}

pub(super) fn run(path: &Path, command: Command) -> Result<(), String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    match command {
        Command::Create { usage, member, key_type, label } => {
            let member = member.unwrap_or_else(|| config.owner().to_string());
            let usual = if Usage::from(usage).is_note() { "ed25519" } else { "p256" };
            create(&config, usage.into(), &member, key_type.as_deref().unwrap_or(usual), &label)
        }
        Command::Request { id, subject, host, out } => {
            make_request(&config, &id, subject.as_deref(), &host, &out)
        }
        Command::Import { file } => import(&config.keys, &file),
        Command::Verifier => verifier(&config),
        Command::List { json } => list(&config.keys, json),
    }
}

fn create(config: &Config, usage: Usage, member: &str, key_type: &str, label: &str) -> Result<(), String> {
    let member = MemberId::from_str(member).map_err(|error| format!("--member {member}: {error}"))?;
    let key_type = KeyType::from_str(key_type).map_err(|error| format!("--type {key_type}: {error}"))?;
    if config.keys.signer.is_some() && !usage.is_tls() {
        return Err("keys that sign are with the signer: `passerelle-signer create` makes them".to_owned());
    }
    make_pin(&config.keys)?;
    let keys = open(&config.keys)?;
    let id = keys
        .create(key_type, usage, label, Some(&member.to_string()), SystemClock.now())
        .map_err(|error| error.to_string())?;
    println!("{id}");
    Ok(())
}

/// A random PIN for the first key: people keep better secrets in files than in their heads.
fn make_pin(keys: &config::Keys) -> Result<(), String> {
    fs::create_dir_all(&keys.directory).map_err(|error| format!("{}: {error}", keys.directory.display()))?;
    if keys.pin.exists() {
        return Ok(());
    }
    let random: [u8; 20] = crypto::random_array().map_err(|error| error.to_string())?;
    durable::write_secret(&keys.pin, hex::encode(random).as_bytes())
        .map_err(|error| format!("{}: {error}", keys.pin.display()))?;
    eprintln!("a random PIN is in {}; back it up apart from the keys", keys.pin.display());
    Ok(())
}

fn open(keys: &config::Keys) -> Result<SoftwareKeys, String> {
    SoftwareKeys::open_by_file(&keys.directory, &keys.pin).map_err(|error| error.to_string())
}

/// The keys that are here, with those of the signer, if there is one: it must run, and take us for one who may call.
fn all_keys(keys: &config::Keys) -> Result<(Inventory, Option<RemoteSigner>), String> {
    let here = Inventory::load(&keys.directory).map_err(|error| error.to_string())?;
    let Some(socket) = &keys.signer else { return Ok((here, None)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let signer = runtime.block_on(RemoteSigner::connect(socket, SIGNER_TELLS));
    let signer = signer.map_err(|error| format!("{}: {error}", socket.display()))?;
    Ok((here.with(signer.entries()), Some(signer)))
}

fn verifier(config: &Config) -> Result<(), String> {
    let (inventory, signer) = all_keys(&config.keys)?;
    let keys: Arc<dyn Signer> = match signer {
        Some(signer) => Arc::new(signer),
        None => Arc::new(open(&config.keys)?),
    };
    let show = |name: &str, kind, key: Option<&KeyId>, usage| {
        let key = key.cloned().or_else(|| newest(&inventory, usage));
        let key = key.ok_or_else(|| format!("there is no key for {name}"))?;
        let signer = NoteSigner::new(name, kind, key, keys.clone()).map_err(|error| error.to_string())?;
        println!("{}", signer.verifier());
        Ok::<_, String>(())
    };
    if let Some(log) = &config.log.checkpoints {
        show(&log.origin, SignatureType::Ed25519, log.key.as_ref(), Usage::Checkpoint)?;
    }
    if let Some(witness) = &config.witness {
        show(&witness.name, SignatureType::Cosignature, witness.key.as_ref(), Usage::Witness)?;
    }
    Ok(())
}

fn make_request(
    config: &Config,
    id: &str,
    subject: Option<&str>,
    hosts: &[String],
    out: &Path,
) -> Result<(), String> {
    let inventory = Inventory::load(&config.keys.directory).map_err(|error| error.to_string())?;
    let entry = find(&inventory, id)?;
    let subject = match subject {
        Some(subject) => subject.to_owned(),
        None => usual_subject(config, entry)?,
    };
    let subject = Name::parse_rfc4514(&subject).map_err(|error| format!("subject {subject}: {error}"))?;
    let hosts: Vec<AltName> = hosts
        .iter()
        .map(|host| host.parse().map_or_else(|_| AltName::Dns(host.clone()), AltName::Ip))
        .collect();
    let keys = open(&config.keys)?;
    // Software keys sign at once: nothing here waits.
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let made = runtime
        .block_on(request::build(&subject, &hosts, &entry.key.id, &keys))
        .map_err(|error| error.to_string())?;
    durable::write(out, made.to_pem().as_bytes()).map_err(|error| format!("{}: {error}", out.display()))
}

/// The subject of X-Road's basic profile: who a member is stands in serialNumber and businessCategory.
fn usual_subject(config: &Config, entry: &Entry) -> Result<String, String> {
    let member = entry.key.member.as_deref().unwrap_or_default();
    let member =
        MemberId::from_str(member).map_err(|error| format!("the key's member {member:?}: {error}"))?;
    let server = config.server.code();
    Ok(match entry.key.usage {
        Usage::Sign => format!(
            "CN={code}, 2.5.4.5={code}, 2.5.4.15={class}, O={instance}",
            code = member.code(),
            class = member.class(),
            instance = member.instance()
        ),
        _ => format!(
            "CN={server}, 2.5.4.5={code}, 2.5.4.15={class}, O={instance}",
            instance = member.instance(),
            class = member.class(),
            code = member.code()
        ),
    })
}

fn import(keys: &config::Keys, file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut inventory = Inventory::load(&keys.directory).map_err(|error| error.to_string())?;
    let id = inventory.import_certificate(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    println!("{id}");
    Ok(())
}

fn list(keys: &config::Keys, json: bool) -> Result<(), String> {
    let (inventory, _) = all_keys(keys)?;
    for Entry { key, certificates } in inventory.entries() {
        let usage = serde_json::to_value(key.usage).map_err(|error| error.to_string())?;
        let certificate = certificates.first();
        let line = serde_json::json!({
            "id": key.id.as_str(),
            "usage": usage,
            "type": key.key_type.name(),
            "member": key.member,
            "label": key.label,
            "created": key.created.to_rfc3339(),
            "subject": certificate.map(|one| one.subject().rfc2253()),
            "issuer": certificate.map(|one| one.issuer().rfc2253()),
            "serial": certificate.map(|one| one.serial().to_string()),
            "not_after": certificate.map(|one| one.not_after().to_rfc3339()),
        });
        if json {
            println!("{line}");
            continue;
        }
        let of = certificate.map_or_else(
            || "no certificate yet".to_owned(),
            |one| format!("{} until {}", one.subject().rfc2253(), one.not_after().to_rfc3339()),
        );
        let (usage, member) = (usage.as_str().unwrap_or_default(), key.member.as_deref().unwrap_or("-"));
        println!("{}  {usage:<5} {:<8} {member:<20} {of}", key.id, key.key_type.name());
    }
    Ok(())
}

fn find<'a>(inventory: &'a Inventory, id: &str) -> Result<&'a Entry, String> {
    let mut fitting = inventory.entries().iter().filter(|entry| entry.key.id.as_str().starts_with(id));
    match (fitting.next(), fitting.next()) {
        (Some(entry), None) => Ok(entry),
        (None, _) => Err(format!("no key {id}; `keys list` shows all")),
        (Some(_), Some(_)) => Err(format!("{id} begins several keys' ids")),
    }
}

impl From<For> for Usage {
    fn from(usage: For) -> Self {
        match usage {
            For::Sign => Self::Sign,
            For::Auth => Self::Auth,
            For::Tls => Self::Tls,
            For::Checkpoint => Self::Checkpoint,
            For::Witness => Self::Witness,
        }
    }
}
