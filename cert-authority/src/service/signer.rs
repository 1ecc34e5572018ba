//! The signer as a program: its settings, `serve`, and the making of its keys.
//!
//! Not here: what goes over the socket ([`crate::keys::remote`]).

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::net::UnixListener;

use super::config::Log;
use crate::clock::{Clock as _, SystemClock};
use crate::crypto;
use crate::durable;
use crate::error::{KeyError, PkiError};
use crate::hardening::{Allowed, Confine, InForce, Sockets, confine};
use crate::keys::inventory::{Inventory, Usage};
use crate::keys::remote::{Vault, serve};
use crate::keys::software::SoftwareKeys;
use crate::keys::{KeyId, KeyType};
use crate::x509::{AltName, Name, request};

/// Where the numbers of users are looked up.
const USERS: &str = "/etc/passwd";

/// `signer.toml`. Paths are relative to its folder; a caller is a user's name or number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerConfig {
    /// The encrypted keys and their certificates.
    #[serde(default = "default_keys")]
    pub keys: PathBuf,
    /// The PIN that opens them.
    #[serde(default = "default_pin")]
    pub pin_file: PathBuf,
    /// The socket.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// Who may have something signed; none for the signer's own user.
    #[serde(default)]
    pub callers: Vec<String>,
    /// What it gives up.
    #[serde(default)]
    pub hardening: Hardening,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

/// What the signer gives up before it opens its keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardening {
    /// Whether it confines itself.
    #[serde(default)]
    pub confine: Confine,
}

fn default_keys() -> PathBuf {
    "keys".into()
}
fn default_pin() -> PathBuf {
    "keys/pin".into()
}
fn default_socket() -> PathBuf {
    "/run/passerelle/signer.sock".into()
}

impl SignerConfig {
    /// Reads a settings file.
    ///
    /// # Errors
    /// [`PkiError::Store`] with file, line and reason.
    pub fn load(path: &Path) -> Result<Self, PkiError> {
        let text = fs::read_to_string(path).map_err(|error| store(path, error))?;
        let config: Self = toml::from_str(&text).map_err(|error| store(path, error))?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let Self { keys, pin_file, socket, .. } = config;
        let (keys, pin_file, socket) = (folder.join(keys), folder.join(pin_file), folder.join(socket));
        Ok(Self { keys, pin_file, socket, ..config })
    }

    /// The numbers of the users who may call.
    ///
    /// # Errors
    /// [`PkiError::Store`] for a name that `/etc/passwd` does not have.
    pub fn caller_ids(&self) -> Result<Vec<u32>, PkiError> {
        if self.callers.is_empty() {
            return Ok(vec![own_user()]);
        }
        let users = fs::read_to_string(USERS).unwrap_or_default();
        let id_of = |name: &String| {
            let mut known = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let known = known.find(|fields| fields.first() == Some(&name.as_str()));
            let id = known.and_then(|fields| fields.get(2)?.parse().ok()).or_else(|| name.parse().ok());
            id.ok_or_else(|| PkiError::Store(format!("callers: there is no user {name}")))
        };
        self.callers.iter().map(id_of).collect()
    }
}

/// Gives up what a signer of these settings does not need, in this thread and in those that it starts: it reads its keys,
/// makes its socket, and has no other files, no network and no programs.
///
/// # Errors
/// [`PkiError::Store`] when the settings demand what this machine does not have.
pub fn confine_signer(config: &SignerConfig) -> Result<InForce, PkiError> {
    let read = [&*config.keys, &config.pin_file, folder_of(&config.pin_file), Path::new(USERS)];
    let allowed = Allowed {
        own: Vec::new(),
        sockets: vec![folder_of(&config.socket).to_owned()],
        read: read.map(Path::to_owned).into(),
    };
    confine(config.hardening.confine, &allowed, Sockets::Local)
        .map_err(|error| PkiError::Store(error.to_string()))
}

fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

fn store(what: impl AsRef<Path>, error: impl std::fmt::Display) -> PkiError {
    PkiError::Store(format!("{}: {error}", what.as_ref().display()))
}

/// Opens the keys and answers on the socket until `shutdown` completes.
///
/// # Errors
/// [`PkiError::Key`]: a wrong PIN, keys that are open to others, a key for TLS; [`PkiError::Store`]: a socket that cannot be
/// made, or on which another signer answers.
pub async fn serve_signer(config: &SignerConfig, shutdown: impl Future<Output = ()>) -> Result<(), PkiError> {
    let callers = config.caller_ids()?;
    let vault = Arc::new(Vault::open(&config.keys, &config.pin_file)?);
    let mode = if callers == [own_user()] { 0o600 } else { 0o666 };
    let listener = listen(&config.socket, mode).map_err(|error| store(&config.socket, error))?;
    tracing::info!(socket = %config.socket.display(), ?callers, "ready");
    let until = async {
        shutdown.await;
        // While we still listen: afterwards it might be the socket of the next signer.
        let _ = fs::remove_file(&config.socket);
    };
    serve(listener, vault, callers, until).await;
    tracing::info!("stopped");
    Ok(())
}

/// Takes the place of a socket that a signer has left behind, never of one that answers; not in a folder where anybody could
/// take the place of ours.
fn listen(socket: &Path, mode: u32) -> io::Result<UnixListener> {
    if fs::metadata(folder_of(socket))?.permissions().mode() & 0o002 != 0 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "anybody may write its folder"));
    }
    match fs::symlink_metadata(socket) {
        Ok(there) if there.file_type().is_socket() => match UnixStream::connect(socket) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(socket)?,
            _ => return Err(ErrorKind::AddrInUse.into()),
        },
        Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
        Err(_) => {}
    }
    let listener = UnixListener::bind(socket)?;
    // Where others are among the callers, whoever reaches the folder may knock; who may come in the kernel says.
    fs::set_permissions(socket, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes a key; makes the file of the PIN too, with a random PIN, when it is not there.
///
/// # Errors
/// [`PkiError::Key`], [`PkiError::Store`].
pub fn create_key(
    config: &SignerConfig,
    usage: Usage,
    key_type: KeyType,
    member: Option<&str>,
    label: &str,
) -> Result<KeyId, PkiError> {
    if usage.is_tls() {
        let reason = "keys for TLS belong to the gateway (passerelle-gateway keys create)";
        return Err(KeyError::Unsupported(reason.to_owned()).into());
    }
    let folder = fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.keys);
    folder.map_err(|error| store(&config.keys, error))?;
    if !config.pin_file.exists() {
        let random: [u8; 20] = crypto::random_array()?;
        durable::write_secret(&config.pin_file, hex::encode(random).as_bytes())
            .map_err(|error| store(&config.pin_file, error))?;
    }
    Ok(open(config)?.create(key_type, usage, label, member, SystemClock.now())?)
}

/// A certificate request (PEM) for a key.
///
/// # Errors
/// [`PkiError::Key`]; [`PkiError::Inspect`] for a key that no certificate is made for.
pub async fn request_for(
    config: &SignerConfig,
    id: &KeyId,
    subject: &Name,
    hosts: &[AltName],
) -> Result<String, PkiError> {
    Ok(request::build(subject, hosts, id, &open(config)?).await?.to_pem())
}

/// Takes in a certificate (PEM) for one of the keys; intermediates may follow it. A signer that runs takes it up by itself.
///
/// # Errors
/// [`PkiError::Key`], [`PkiError::Decode`].
pub fn import_certificate(config: &SignerConfig, pem: &str) -> Result<KeyId, PkiError> {
    Inventory::load(&config.keys)?.import_certificate(pem)
}

/// The keys, a line each.
///
/// # Errors
/// [`PkiError::Key`].
pub fn list_keys(config: &SignerConfig) -> Result<Vec<String>, PkiError> {
    let inventory = Inventory::load(&config.keys)?;
    let line = |entry: &crate::keys::inventory::Entry| {
        let certificate = entry.certificate().map_or_else(
            || "no certificate yet".to_owned(),
            |one| format!("{} until {}", one.subject().rfc2253(), one.not_after().to_rfc3339()),
        );
        let usage = format!("{:?}", entry.key.usage).to_lowercase();
        let member = entry.key.member.as_deref().unwrap_or("-");
        format!("{}  {usage:<10} {:<8} {member:<20} {certificate}", entry.key.id, entry.key.key_type.name())
    };
    Ok(inventory.entries().iter().map(line).collect())
}

fn open(config: &SignerConfig) -> Result<SoftwareKeys, KeyError> {
    SoftwareKeys::open_by_file(&config.keys, &config.pin_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../conf/examples/signer.toml");

    #[test]
    fn the_example_states_the_defaults_and_comments_each_key() {
        let mut example: SignerConfig = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(example.callers, ["passerelle-gateway"], "the one key without a default");
        example.callers.clear();
        assert_eq!(example, toml::from_str("").unwrap());
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            if !line.starts_with(['#', '[']) && !line.is_empty() {
                assert!(n > 0 && lines[n - 1].starts_with('#'), "line {}: {line}", n + 1);
            }
        }
        assert!(toml::from_str::<SignerConfig>("colour = \"red\"").is_err());
    }

    #[test]
    fn callers_are_users_by_name_or_number() {
        let of = |callers: &str| {
            let config: SignerConfig = toml::from_str(&format!("callers = {callers}")).unwrap();
            config.caller_ids()
        };
        assert_eq!(of("[\"root\", \"4711\"]").unwrap(), [0, 4711]);
        assert_eq!(of("[]").unwrap(), [own_user()]);
        assert!(of("[\"no such user\"]").unwrap_err().to_string().contains("no such user"));
    }

    #[tokio::test]
    async fn a_socket_that_answers_is_left_alone_and_one_that_is_dead_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("signer.sock");
        let listen = |socket: &Path| listen(socket, 0o600);
        let first = listen(&socket).unwrap();
        assert_eq!(listen(&socket).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(first);
        listen(&socket).unwrap();
        let file = folder.path().join("file");
        durable::write(&file, b"somebody's").unwrap();
        assert_eq!(listen(&file).unwrap_err().kind(), ErrorKind::AlreadyExists);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(listen(&socket).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn its_files_are_its_users_only_and_its_socket_is_gone_when_it_stops() {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("signer.toml");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for (callers, expected) in [("[]", 0o600), ("[\"4711\"]", 0o666)] {
            let text = format!("socket = \"signer.sock\"\ncallers = {callers}\n");
            durable::write(&settings, text.as_bytes()).unwrap();
            let config = SignerConfig::load(&settings).unwrap();
            create_key(&config, Usage::Sign, KeyType::EcP256, None, "").unwrap();
            assert_eq!((mode(&config.keys), mode(&config.pin_file)), (0o700, 0o600));
            let socket = config.socket.clone();
            let looked_at = async {
                while mode_of(&socket) != Some(expected) {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            let limit = std::time::Duration::from_secs(30);
            tokio::time::timeout(limit, serve_signer(&config, looked_at)).await.unwrap().unwrap();
            assert_eq!(mode_of(&config.socket), None);
        }
    }

    fn mode_of(socket: &Path) -> Option<u32> {
        Some(fs::metadata(socket).ok()?.permissions().mode() & 0o777)
    }
}
