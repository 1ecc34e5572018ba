//! The commands of the authority. Each gives the text to print, or why it failed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cert_authority::clock::{Clock, SystemClock};
use cert_authority::durable;
use cert_authority::keys::{KeyType, Pin};

use super::serving::Serving;
use crate::anchor::fingerprint;
use crate::authority::{self, Publisher, Registry, SigningKeys, SourceKind, pin_or_new};

/// Whatever stops a command; it is shown and never matched on.
pub type Failure = Box<dyn std::error::Error>;

/// Makes the PIN file and one signing key for each source, where they are not there yet.
///
/// # Errors
/// A faulty register, or files that cannot be written.
pub async fn init(config: &Path, key_type: &str) -> Result<String, Failure> {
    let key_type: KeyType = key_type.parse()?;
    let registry = Registry::load(config)?;
    std::fs::create_dir_all(&registry.keys)?;
    let pin = pin_or_new(&registry.pin)?;
    let mut keys = SigningKeys::load(&registry.keys)?;
    let mut text = String::new();
    for kind in SourceKind::ALL {
        if keys.active(kind).is_ok() {
            writeln!(text, "{}: there is a signing key already", kind.name())?;
            continue;
        }
        let id = keys.add(kind, key_type, &pin, &registry.shared.instance, SystemClock.now()).await?;
        writeln!(text, "{}: new signing key {id} ({key_type})", kind.name())?;
    }
    writeln!(text, "Next: `passerelle-conf anchor`, then `passerelle-conf serve`.")?;
    Ok(text)
}

/// Says whether the register is sound.
///
/// # Errors
/// All its faults, together; or signing keys that cannot be used.
pub fn check(config: &Path) -> Result<String, Failure> {
    let registry = Registry::load(config)?;
    let shared = &registry.shared;
    let text = format!(
        "{} is sound: instance {}, {} members, {} servers, {} CAs, {} TSAs, {} groups\n",
        config.display(),
        shared.instance,
        shared.members.len(),
        shared.servers.len(),
        shared.approved_cas.len(),
        shared.approved_tsas.len(),
        shared.global_groups.len(),
    );
    Publisher::new(registry)?;
    Ok(text)
}

/// Signs and writes the configuration once.
///
/// # Errors
/// A faulty register, keys or folder.
pub async fn publish(config: &Path) -> Result<String, Failure> {
    let publisher = Publisher::new(Registry::load(config)?)?;
    let published = publisher.publish(SystemClock.now()).await?;
    let folder = publisher.registry().directory.display();
    Ok(format!("published to {folder}, valid until {}\n", published.expires))
}

/// Publishes and serves until the process is asked to stop.
///
/// # Errors
/// What stops it from beginning.
pub async fn serve(config: &Path) -> Result<String, Failure> {
    let serving = Serving::begin(config.to_owned(), Arc::new(SystemClock)).await?;
    tracing::info!(address = %serving.address()?, "serving the configuration");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    serving.run(stop).await;
    Ok(String::new())
}

/// Writes the anchor.
///
/// # Errors
/// A faulty register, no signing key, or a file that cannot be written.
pub fn anchor(config: &Path, external: bool, out: Option<PathBuf>) -> Result<String, Failure> {
    let registry = Registry::load(config)?;
    let keys = SigningKeys::load(&registry.keys)?;
    let (kind, name) = match external {
        false => (SourceKind::Internal, "anchor.xml"),
        true => (SourceKind::External, "external-anchor.xml"),
    };
    keys.active(kind)?;
    let anchor = authority::anchor(&registry, &keys, kind, SystemClock.now()).write();
    let path = out.unwrap_or_else(|| config.with_file_name(name));
    durable::write(&path, anchor.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(format!("{}\nSHA-224 fingerprint {}\n", path.display(), fingerprint(anchor.as_bytes())))
}

/// Shows the signing keys.
///
/// # Errors
/// A faulty register or folder of keys.
pub fn list_keys(config: &Path) -> Result<String, Failure> {
    let registry = Registry::load(config)?;
    let mut text = String::new();
    for key in SigningKeys::load(&registry.keys)?.all() {
        let state = if key.active { "signs" } else { "published" };
        writeln!(
            text,
            "{}  {:8}  {:7}  {state:9}  {}",
            key.id,
            key.kind.name(),
            key.key_type.name(),
            key.created
        )?;
    }
    Ok(text)
}

/// Makes a further signing key.
///
/// # Errors
/// A wrong PIN, a faulty register or folder of keys.
pub async fn add_key(config: &Path, kind: SourceKind, key_type: &str) -> Result<String, Failure> {
    let key_type: KeyType = key_type.parse()?;
    let registry = Registry::load(config)?;
    let pin = Pin::from_file(&registry.pin)?;
    let mut keys = SigningKeys::load(&registry.keys)?;
    let id = keys.add(kind, key_type, &pin, &registry.shared.instance, SystemClock.now()).await?;
    let text = "Gateways learn of it with the next publication. When all have fetched it:";
    Ok(format!("{id}\n{text} `passerelle-conf key activate {id}`.\n"))
}

/// Lets a key sign.
///
/// # Errors
/// No such key, a faulty register or folder of keys.
pub fn activate_key(config: &Path, id: &str) -> Result<String, Failure> {
    let registry = Registry::load(config)?;
    let kind = SigningKeys::load(&registry.keys)?.activate(id)?;
    Ok(format!(
        "{id} signs the {} configuration. Write and hand out a new anchor for new gateways.\n",
        kind.name()
    ))
}

/// Removes a key that does not sign.
///
/// # Errors
/// A key that signs, no such key, a faulty register or folder of keys.
pub fn remove_key(config: &Path, id: &str) -> Result<String, Failure> {
    let registry = Registry::load(config)?;
    SigningKeys::load(&registry.keys)?.remove(id)?;
    Ok(format!("{id} is removed. Write and hand out a new anchor for new gateways.\n"))
}
