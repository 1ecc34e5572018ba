//! Publishing: the register is signed and laid into the public folder, in every version that is written.
//!
//! Specification: PR-GCONF §2.3 to §2.7.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::{Digest, Hasher};
use cert_authority::error::KeyError;
use cert_authority::keys::software::SoftwareKeys;

use super::folder::{PublicFolder, PublishedPart};
use super::keys::{SigningKeyError, SigningKeys, SourceKind};
use super::registry::Registry;
use crate::anchor::{Anchor, AnchorSource};
use crate::directory::{Contents, File, PartKind, SignedDirectory};
use crate::error::ConfError;
use crate::optional_parts;
use crate::shared_params::{SharedParams, Source};
use crate::version::Version;

/// The versions that are published.
pub const VERSIONS: [Version; 4] = [Version::V3, Version::V4, Version::V5, Version::V6];

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Until when it is valid.
    pub expires: UnixTime,
}

/// Why nothing was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] SigningKeyError),
    /// A document cannot be written or signed.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// The public folder.
    #[error("{path}: {reason}")]
    Io {
        /// The folder.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// A register with its opened keys, ready to be published again and again.
pub struct Publisher {
    registry: Registry,
    keys: SigningKeys,
    signer: SoftwareKeys,
    shared: SharedParams,
    digest: Digest,
}

impl Publisher {
    /// Opens the keys.
    ///
    /// # Errors
    /// [`PublishError::Keys`].
    pub fn new(registry: Registry) -> Result<Self, PublishError> {
        let keys = SigningKeys::load(&registry.keys)?;
        for kind in SourceKind::ALL {
            keys.active(kind)?;
        }
        let of_key = |error: KeyError| PublishError::Keys(error.into());
        let signer = SoftwareKeys::open_by_file(&registry.keys, &registry.pin).map_err(of_key)?;
        let source = |address: &String| Source {
            address: address.clone(),
            internal_certificates: keys.certificates(SourceKind::Internal),
            external_certificates: keys.certificates(SourceKind::External),
        };
        let sources = registry.addresses.iter().map(source).collect();
        let shared = SharedParams { sources, ..registry.shared.clone() };
        let digest = digest_of(&registry, &keys);
        Ok(Self { registry, keys, signer, shared, digest })
    }

    /// The register.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Every file that was read, the signing keys' included.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.registry.files.clone();
        files.extend([self.registry.keys.join("signing.toml"), self.registry.pin.clone()]);
        files
    }

    /// Digest over all that this publisher publishes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Digest over all that a publisher of this register would publish, without opening the keys: the same register with
    /// the same keys gives the same digest.
    ///
    /// # Errors
    /// [`PublishError::Keys`].
    pub fn digest_of(registry: &Registry) -> Result<Digest, PublishError> {
        Ok(digest_of(registry, &SigningKeys::load(&registry.keys)?))
    }

    /// Signs and writes every version.
    ///
    /// Each configuration expires at least one second after the one before, even after the validity was shortened or
    /// the clock turned back: gateways believe the latest Expire-date only.
    ///
    /// # Errors
    /// Every [`PublishError`]; the versions that were not reached stay as they were.
    pub async fn publish(&self, now: UnixTime) -> Result<Published, PublishError> {
        let folder = PublicFolder::new(&self.registry.directory);
        let expires = self.next_expiry(&folder, now)?;
        for version in VERSIONS {
            self.publish_version(&folder, version, now, expires).await?;
        }
        Ok(Published { expires })
    }

    async fn publish_version(
        &self,
        folder: &PublicFolder,
        version: Version,
        now: UnixTime,
        expires: UnixTime,
    ) -> Result<(), PublishError> {
        let parts = self.parts(version)?;
        let number = version.number();
        let files: Vec<_> = parts.iter().map(|(_, part)| part.clone()).collect();
        let place = folder.write_parts(number, now, &files).map_err(|error| self.io_failed(&error))?;
        for kind in SourceKind::ALL {
            let key = self.keys.active(kind)?;
            let listed: Vec<_> = parts
                .iter()
                .filter(|(part, _)| kind == SourceKind::Internal || *part == PartKind::SharedParameters)
                .map(|(part, file)| (part, format!("{place}/{}", file.name), &file.content))
                .collect();
            let files: Vec<_> =
                listed.iter().map(|(kind, location, bytes)| File { kind, location, bytes }).collect();
            let contents = Contents { instance: &self.shared.instance, version, expires, files: &files };
            let algorithm = key.key_type.default_algorithm();
            let signed = contents.sign(&self.signer, &key.id, algorithm, key.certificate.der()).await?;
            folder.write_directory(number, kind.path(), &signed).map_err(|error| self.io_failed(&error))?;
        }
        // Somebody may still be fetching an earlier set.
        let oldest = now - self.registry.validity;
        folder.remove_parts_before(number, oldest).map_err(|error| self.io_failed(&error))
    }

    fn parts(&self, version: Version) -> Result<Vec<(PartKind, PublishedPart)>, PublishError> {
        let optional = &self.registry.optional;
        let quic = (!optional.quic.is_empty()).then(|| optional_parts::write_quic(&optional.quic));
        Ok([
            (PartKind::PrivateParameters, self.registry.private.write()),
            (PartKind::SharedParameters, self.shared.write(version)?),
            (PartKind::Monitoring, optional_parts::write_monitoring(optional.monitoring_client.as_ref())),
            (PartKind::OcspNextUpdate, optional_parts::write_next_update(optional.verify_next_update)),
            (PartKind::OcspFetchInterval, optional_parts::write_fetch_interval(optional.fetch_interval)),
        ]
        .into_iter()
        .chain(quic.map(|text| (PartKind::Quic, text)))
        .filter_map(|(kind, text)| {
            let name = kind.file_name()?;
            Some((kind, PublishedPart { name, content: text.into_bytes() }))
        })
        .collect())
    }

    fn next_expiry(&self, folder: &PublicFolder, now: UnixTime) -> Result<UnixTime, PublishError> {
        let wanted = UnixTime::from_secs((now + self.registry.validity).as_secs());
        let kind = SourceKind::Internal;
        let published =
            folder.directory(Version::V6.number(), kind.path()).map_err(|error| self.io_failed(&error))?;
        // What cannot be read as ours (another instance, a key that is gone) does not bind us.
        let before = published
            .and_then(|signed| {
                let certificates = self.keys.certificates(kind);
                SignedDirectory::read(&signed).ok()?.verify(&self.shared.instance, &certificates).ok()
            })
            .map(|directory| directory.expires() + Duration::from_secs(1));
        Ok(before.map_or(wanted, |before| before.max(wanted)))
    }

    fn io_failed(&self, error: &io::Error) -> PublishError {
        io_failed(&self.registry.directory, error)
    }
}

/// The anchor by which others find and verify what a register publishes.
pub fn anchor(registry: &Registry, keys: &SigningKeys, kind: SourceKind, now: UnixTime) -> Anchor {
    let source = |address: &String| AnchorSource {
        url: format!("http://{address}/{}", kind.path()),
        certificates: keys.certificates(kind),
    };
    Anchor {
        generated_at: Some(now),
        instance: registry.shared.instance.clone(),
        sources: registry.addresses.iter().map(source).collect(),
    }
}

fn digest_of(registry: &Registry, keys: &SigningKeys) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(registry.digest.as_ref());
    for key in keys.all() {
        hasher.update(key.id.as_str().as_bytes());
        hasher.update(&[u8::from(key.active)]);
    }
    hasher.finish()
}

fn io_failed(path: &Path, error: &io::Error) -> PublishError {
    PublishError::Io { path: path.display().to_string(), reason: error.to_string() }
}
