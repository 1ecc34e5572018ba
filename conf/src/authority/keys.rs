//! The keys that sign the configuration, and their rotation.
//!
//! ```text
//! keys/<id>.key.pem   the encrypted key          keys/signing.toml   which key signs which source
//! keys/<id>.cert.pem  its verification certificate
//! keys/<id>.toml      its label: internal or external
//! ```
//!
//! A key is replaced in three steps, between which every gateway must have fetched once:
//!
//! 1. *add*: the new key's certificate is published among the sources; the old key signs
//! 2. *activate*: the new key signs
//! 3. *remove*: the old key and its certificate are gone
//!
//! Gateways follow by themselves, because what they believe is already signed by a key they know. A verification
//! certificate is only the wrapping of a public key: nobody looks at its validity or issuer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use cert_authority::clock::UnixTime;
use cert_authority::crypto;
use cert_authority::durable;
use cert_authority::error::{KeyError, PkiError};
use cert_authority::keys::inventory::{Entry, Inventory, Usage};
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::keys::{KeyId, KeyType, Pin, Signer};
use cert_authority::x509::issue::{self, Profile, Template};
use cert_authority::x509::{Certificate, Name, Serial, oid};
use serde::{Deserialize, Serialize};

/// Validity of a verification certificate, which nobody looks at.
const VALIDITY: Duration = Duration::from_secs(20 * 365 * 86_400);
const ACTIVE: &str = "signing.toml";

/// Which source a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// For the gateways of this instance: all parts.
    Internal,
    /// For other instances: shared parameters only.
    External,
}

impl SourceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Internal, Self::External];

    /// `internal` or `external`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }

    /// The last segment of its address.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Internal => "internalconf",
            Self::External => "externalconf",
        }
    }
}

impl FromStr for SourceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| "internal or external is expected".into())
    }
}

/// Why the signing keys cannot be used or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// A key or the PIN cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate cannot be made or read.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No key signs this source yet.
    #[error("no {0} signing key is active: run `passerelle-conf init`")]
    NoActive(&'static str),
    /// No key has this id.
    #[error("there is no signing key {0}")]
    Unknown(String),
    /// The key signs: it cannot be removed.
    #[error("key {0} signs: activate another one first")]
    Active(KeyId),
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// A signing key with its verification certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The key.
    pub id: KeyId,
    /// What it signs.
    pub kind: SourceKind,
    /// Its type.
    pub key_type: KeyType,
    /// When it was made.
    pub created: UnixTime,
    /// Its verification certificate.
    pub certificate: Certificate,
    /// Whether it signs now.
    pub active: bool,
}

/// The signing keys, without their secrets: enough to list them and to write an anchor.
#[derive(Debug)]
pub struct SigningKeys {
    directory: PathBuf,
    keys: Vec<SigningKey>,
}

/// `signing.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActiveFile {
    internal: Option<String>,
    external: Option<String>,
}

impl SigningKeys {
    /// Reads the folder; one that is not there holds no keys.
    ///
    /// # Errors
    /// Files that cannot be read or understood.
    pub fn load(directory: &Path) -> Result<Self, SigningKeyError> {
        let active = ActiveFile::read(directory)?;
        let keys = Inventory::load(directory)?
            .entries()
            .iter()
            .filter_map(|key| signing_key(key, &active))
            .collect();
        Ok(Self { directory: directory.to_owned(), keys })
    }

    /// All keys, the oldest first.
    pub fn all(&self) -> &[SigningKey] {
        &self.keys
    }

    /// The verification certificates of a source, the active key's first.
    pub fn certificates(&self, kind: SourceKind) -> Vec<Vec<u8>> {
        let mut keys: Vec<&SigningKey> = self.keys.iter().filter(|key| key.kind == kind).collect();
        keys.sort_by_key(|key| !key.active);
        keys.into_iter().map(|key| key.certificate.der().to_vec()).collect()
    }

    /// The key that signs a source.
    ///
    /// # Errors
    /// [`SigningKeyError::NoActive`].
    pub fn active(&self, kind: SourceKind) -> Result<&SigningKey, SigningKeyError> {
        self.keys
            .iter()
            .find(|key| key.kind == kind && key.active)
            .ok_or_else(|| SigningKeyError::NoActive(kind.name()))
    }

    /// Makes a key and its certificate. It signs at once only if no other key of its source does.
    ///
    /// # Errors
    /// A wrong PIN, or files that cannot be written.
    pub async fn add(
        &mut self,
        kind: SourceKind,
        key_type: KeyType,
        pin: &Pin,
        instance: &str,
        now: UnixTime,
    ) -> Result<KeyId, SigningKeyError> {
        let store = SoftwareKeys::open(&self.directory, pin)?;
        let id = store.create(key_type, Usage::Configuration, kind.name(), None, now)?;
        let certificate = verification_certificate(&store, &id, kind, instance, now).await?;
        Inventory::load(&self.directory)?.import_certificate(&certificate.to_pem())?;
        if self.active(kind).is_err() {
            self.set_active(kind, &id)?;
        }
        *self = Self::load(&self.directory)?;
        Ok(id)
    }

    /// Lets a key sign its source, in the place of the one before.
    ///
    /// # Errors
    /// [`SigningKeyError::Unknown`], or a file that cannot be written.
    pub fn activate(&mut self, id: &str) -> Result<SourceKind, SigningKeyError> {
        let key = self.find(id)?;
        let (kind, id) = (key.kind, key.id.clone());
        self.set_active(kind, &id)?;
        *self = Self::load(&self.directory)?;
        Ok(kind)
    }

    /// Removes a key with its certificate.
    ///
    /// # Errors
    /// [`SigningKeyError::Active`], [`SigningKeyError::Unknown`], or a file that cannot be removed.
    pub fn remove(&mut self, id: &str) -> Result<(), SigningKeyError> {
        let key = self.find(id)?;
        if key.active {
            return Err(SigningKeyError::Active(key.id.clone()));
        }
        // The description first: without it the rest is not a key.
        for suffix in ["toml", "cert.pem", "key.pem"] {
            let path = self.directory.join(format!("{id}.{suffix}"));
            durable::remove(&path).map_err(|error| io_failed(&path, &error))?;
        }
        *self = Self::load(&self.directory)?;
        Ok(())
    }

    fn find(&self, id: &str) -> Result<&SigningKey, SigningKeyError> {
        self.keys
            .iter()
            .find(|key| key.id.as_str() == id)
            .ok_or_else(|| SigningKeyError::Unknown(id.to_owned()))
    }

    fn set_active(&self, kind: SourceKind, id: &KeyId) -> Result<(), SigningKeyError> {
        let mut active = ActiveFile::read(&self.directory)?;
        match kind {
            SourceKind::Internal => active.internal = Some(id.to_string()),
            SourceKind::External => active.external = Some(id.to_string()),
        }
        active.write(&self.directory)
    }
}

/// Reads the PIN; where there is no PIN file yet, makes one with a random PIN.
///
/// # Errors
/// A file that cannot be read or written, or that others may read.
pub fn pin_or_new(path: &Path) -> Result<Pin, SigningKeyError> {
    if !path.exists() {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| io_failed(folder, &error))?;
        }
        let random = crypto::random_array::<20>()?;
        durable::write_secret(path, format!("{}\n", hex::encode(random)).as_bytes())
            .map_err(|error| io_failed(path, &error))?;
    }
    Ok(Pin::from_file(path)?)
}

async fn verification_certificate(
    signer: &dyn Signer,
    id: &KeyId,
    kind: SourceKind,
    instance: &str,
    now: UnixTime,
) -> Result<Certificate, SigningKeyError> {
    let public_key = signer.public_key(id)?;
    let name = format!("{instance} {} configuration {}", kind.name(), now.to_rfc3339());
    let subject = Name::build(&[(oid::COMMON_NAME, name.as_str())])?;
    let serial = Serial::from_bytes(&crypto::random_array::<16>()?);
    let template = Template {
        profile: Profile::Sign,
        subject: &subject,
        public_key: &public_key,
        serial: &serial,
        not_before: now,
        not_after: now + VALIDITY,
        alt_names: &[],
        ocsp_url: None,
        crl_url: None,
        issuer_url: None,
    };
    Ok(issue::self_signed(&template, id, signer).await?)
}

/// Keys for other purposes, and one whose certificate was not yet made when its making was cut short, are passed over.
fn signing_key(entry: &Entry, active: &ActiveFile) -> Option<SigningKey> {
    if entry.key.usage != Usage::Configuration {
        return None;
    }
    let kind: SourceKind = entry.key.label.parse().ok()?;
    let signs = match kind {
        SourceKind::Internal => active.internal.as_deref(),
        SourceKind::External => active.external.as_deref(),
    };
    Some(SigningKey {
        id: entry.key.id.clone(),
        kind,
        key_type: entry.key.key_type,
        created: entry.key.created,
        certificate: entry.certificate()?.clone(),
        active: signs == Some(entry.key.id.as_str()),
    })
}

impl ActiveFile {
    fn read(directory: &Path) -> Result<Self, SigningKeyError> {
        let path = directory.join(ACTIVE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| SigningKeyError::Io {
                path: path.display().to_string(),
                reason: error.message().to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(io_failed(&path, &error)),
        }
    }

    fn write(&self, directory: &Path) -> Result<(), SigningKeyError> {
        let path = directory.join(ACTIVE);
        let failed = |reason: String| SigningKeyError::Io { path: path.display().to_string(), reason };
        let text = toml::to_string(self).map_err(|error| failed(error.to_string()))?;
        let text = format!("# Which key signs; changed by `passerelle-conf key activate`.\n{text}");
        durable::write(&path, text.as_bytes()).map_err(|error| failed(error.to_string()))
    }
}

fn io_failed(path: &Path, error: &io::Error) -> SigningKeyError {
    SigningKeyError::Io { path: path.display().to_string(), reason: error.to_string() }
}
