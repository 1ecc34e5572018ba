//! Keys in encrypted files, opened with one PIN and kept ready to sign.
//!
//! Specification: RFC 5958 (PKCS#8), RFC 8018 (PBES2), RFC 7914 (scrypt). `openssl pkey -in <id>.key.pem
//! -passin file:PIN` reads the files.
//! Each key is taken apart once, when it is opened. Which certificates belong to it stands in
//! [`super::inventory`].

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo, pkcs5};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{
    KeyId, KeyType, Pin, SignFuture, Signer, file,
    inventory::{Description, Usage},
};
use crate::{
    algorithm::SignatureAlgorithm,
    clock::UnixTime,
    crypto::{PrivateKey, PublicKey, random_array},
    durable,
    error::KeyError,
    pem,
};

/// scrypt with 16 MiB: the most that openssl reads at its default limit is just under twice this.
const SCRYPT: (u8, u32, u32) = (14, 8, 1);
const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// The keys of one directory.
pub struct SoftwareKeys {
    directory: PathBuf,
    pin: PinSource,
    keys: RwLock<HashMap<KeyId, Arc<Opened>>>,
}

/// Where the PIN is when a key is to be opened or encrypted.
enum PinSource {
    Held(Pin),
    File(PathBuf),
}

impl PinSource {
    fn with<T>(&self, act: impl FnOnce(&Pin) -> Result<T, KeyError>) -> Result<T, KeyError> {
        match self {
            Self::Held(pin) => act(pin),
            Self::File(path) => act(&Pin::from_file(path)?),
        }
    }
}

struct Opened {
    key: PrivateKey,
    /// Kept for TLS, which wants the key itself; absent for keys that only ever sign.
    pkcs8: Option<Zeroizing<Vec<u8>>>,
}

impl SoftwareKeys {
    /// Opens every key of the directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`KeyError::WrongPin`]; [`KeyError::Permissions`] when a key file is open to others or a link;
    /// [`KeyError::Malformed`] when one is no key, or not the key that its name says.
    pub fn open(directory: impl Into<PathBuf>, pin: &Pin) -> Result<Self, KeyError> {
        Self::open_with(directory.into(), PinSource::Held(Pin::new(pin.expose())))
    }

    /// [`Self::open`] with the PIN of a file. It is read whenever a key is opened or made, and not kept: a program that
    /// runs for months has no PIN in its memory.
    ///
    /// # Errors
    /// As there; [`KeyError::Permissions`] also when others may read the file of the PIN.
    pub fn open_by_file(
        directory: impl Into<PathBuf>,
        pin_file: impl Into<PathBuf>,
    ) -> Result<Self, KeyError> {
        let pin = PinSource::File(pin_file.into());
        // Also where there is no key yet that needs it.
        apart(|| pin.with(|_pin| Ok(())))?;
        Self::open_with(directory.into(), pin)
    }

    fn open_with(directory: PathBuf, pin: PinSource) -> Result<Self, KeyError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| io_failed(&directory, &e))?;
        let keys = Self { directory, pin, keys: RwLock::default() };
        keys.reload()?;
        Ok(keys)
    }

    /// Reads the directory again: new keys are opened, keys whose files are gone are forgotten. After an
    /// error everything is as it was.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reload(&self) -> Result<(), KeyError> {
        let known = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut keys = HashMap::new();
        for description in super::inventory::descriptions(&self.directory)? {
            let opened = match known.get(&description.id) {
                Some(opened) => Arc::clone(opened),
                None => Arc::new(apart(|| self.open_key(&description))?),
            };
            keys.insert(description.id, opened);
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] and [`KeyError::Io`].
    pub fn create(
        &self,
        key_type: KeyType,
        usage: Usage,
        label: &str,
        member: Option<&str>,
        created: UnixTime,
    ) -> Result<KeyId, KeyError> {
        self.import(&PrivateKey::generate(key_type)?, usage, label, member, created)
    }

    /// Takes in a key that was made elsewhere, as unencrypted PKCS#8 DER.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for kinds other than [`KeyType`], and for a kind that does not go with the usage; otherwise as [`Self::create`].
    pub fn import(
        &self,
        pkcs8: &[u8],
        usage: Usage,
        label: &str,
        member: Option<&str>,
        created: UnixTime,
    ) -> Result<KeyId, KeyError> {
        let key = PrivateKey::from_pkcs8(pkcs8)?;
        let id = key.public_key().key_id();
        let key_type = key
            .public_key()
            .key_type()
            .ok_or_else(|| KeyError::Unsupported("this size of key".to_owned()))?;
        if usage.is_note() != (key_type == KeyType::Ed25519) {
            let reason = "an Ed25519 key is for signed notes, and only such a key";
            return Err(KeyError::Unsupported(reason.to_owned()));
        }
        let description = Description {
            id: id.clone(),
            usage,
            key_type,
            label: label.to_owned(),
            member: member.map(str::to_owned),
            created,
        };
        let path = key_path(&self.directory, &id);
        let encrypted = self.pin.with(|pin| encrypt(pkcs8, pin))?;
        let text = Zeroizing::new(pem::encode(LABEL, &encrypted));
        durable::write_secret(&path, text.as_bytes()).map_err(|e| io_failed(&path, &e))?;
        // The description is what makes a key known: it comes last.
        description.write(&self.directory)?;
        let opened = Opened { key, pkcs8: usage.is_tls().then(|| Zeroizing::new(pkcs8.to_vec())) };
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Arc::new(opened));
        Ok(id)
    }

    /// The ids of the opened keys.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Signs at once, for callers that do not wait.
    ///
    /// # Errors
    /// [`KeyError::NotFound`], [`KeyError::Unsupported`].
    pub fn sign_now(
        &self,
        key: &KeyId,
        algorithm: SignatureAlgorithm,
        to_be_signed: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.find(key)?.key.sign(algorithm, to_be_signed)
    }

    /// The private key itself, for the TLS library.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] when the key is not for authentication or TLS, [`KeyError::NotFound`].
    ///
    /// # Security
    /// A signing key never leaves this module.
    pub fn tls_private_key(&self, key: &KeyId) -> Result<PrivateKeyDer<'static>, KeyError> {
        let opened = self.find(key)?;
        let pkcs8 = opened
            .pkcs8
            .as_ref()
            .ok_or_else(|| KeyError::Unsupported("using a key for TLS that is not made for it".to_owned()))?;
        Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec())))
    }

    fn find(&self, key: &KeyId) -> Result<Arc<Opened>, KeyError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(key).cloned().ok_or_else(|| KeyError::NotFound(key.clone()))
    }

    fn open_key(&self, description: &Description) -> Result<Opened, KeyError> {
        let path = key_path(&self.directory, &description.id);
        let malformed = |reason: &str| KeyError::Malformed {
            path: path.display().to_string(),
            reason: reason.to_owned(),
        };
        let text = file::read_secret(&path)?;
        let text = std::str::from_utf8(&text).map_err(|_| malformed("no PEM"))?;
        let encrypted =
            pem::decode_one("key file", LABEL, text).map_err(|_| malformed("no encrypted PKCS#8"))?;
        let pkcs8 = self.pin.with(|pin| decrypt(&encrypted, pin)).map_err(|e| match e {
            KeyError::Crypto(reason) => malformed(reason),
            other => other,
        })?;
        let key = PrivateKey::from_pkcs8(&pkcs8)?;
        if key.public_key().key_id() != description.id {
            return Err(malformed("it is another key than its name says"));
        }
        Ok(Opened { key, pkcs8: description.usage.is_tls().then_some(pkcs8) })
    }
}

impl Signer for SoftwareKeys {
    fn sign<'a>(
        &'a self,
        key: &'a KeyId,
        algorithm: SignatureAlgorithm,
        to_be_signed: &'a [u8],
    ) -> SignFuture<'a> {
        Box::pin(async move { self.sign_now(key, algorithm, to_be_signed) })
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, KeyError> {
        Ok(self.find(key)?.key.public_key().clone())
    }
}

/// Reads an unencrypted PKCS#8 PEM file, checked as [`file::read_secret`] does.
///
/// # Errors
/// [`KeyError::Permissions`], [`KeyError::Io`], [`KeyError::Malformed`].
pub fn read_pkcs8_pem(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let path = path.as_ref();
    let malformed = |e: &str| KeyError::Malformed { path: path.display().to_string(), reason: e.to_owned() };
    let text = file::read_secret(path)?;
    let text = std::str::from_utf8(&text).map_err(|_| malformed("no PEM"))?;
    pem::decode_one("key file", "PRIVATE KEY", text).map(Zeroizing::new).map_err(|_| malformed("no PKCS#8"))
}

/// Does it in a thread of its own, deep in its stack. Libraries leave copies of keys and PINs on the stack; when the thread
/// ends the C library gives its stack back to the system, but for what is next to its beginning.
fn apart<T: Send>(act: impl FnOnce() -> Result<T, KeyError> + Send) -> Result<T, KeyError> {
    const KEPT: usize = 64 * 1024;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            let (mut act, mut done) = (Some(act), Err(KeyError::Crypto("opening a key")));
            let kept = std::hint::black_box([0_u8; KEPT]);
            // Not to be made one with this function, whose own values lie above.
            let below: &mut dyn FnMut() = &mut || {
                if let Some(act) = act.take() {
                    done = act();
                }
            };
            std::hint::black_box(below)();
            std::hint::black_box(&kept);
            done
        });
        let failed = |_| KeyError::Crypto("a thread for opening a key");
        thread.map_err(failed)?.join().unwrap_or(Err(KeyError::Crypto("opening a key")))
    })
}

fn key_path(directory: &Path, id: &KeyId) -> PathBuf {
    directory.join(format!("{id}.key.pem"))
}

fn io_failed(path: &Path, e: &std::io::Error) -> KeyError {
    KeyError::Io { path: path.display().to_string(), reason: e.to_string() }
}

fn encrypt(pkcs8: &[u8], pin: &Pin) -> Result<Vec<u8>, KeyError> {
    let failed = KeyError::Crypto("encryption of the key");
    let (log_n, r, p) = SCRYPT;
    let salt = random_array::<16>()?;
    let iv = random_array::<16>()?;
    let scrypt = pkcs5::scrypt::Params::new(log_n, r, p, 32).map_err(|_| failed.clone())?;
    let parameters =
        pkcs5::pbes2::Parameters::scrypt_aes256cbc(scrypt, &salt, &iv).map_err(|_| failed.clone())?;
    let info = PrivateKeyInfo::try_from(pkcs8).map_err(|_| failed.clone())?;
    let encrypted = info.encrypt_with_params(parameters, pin.expose()).map_err(|_| failed)?;
    Ok(encrypted.as_bytes().to_vec())
}

/// # Errors
/// [`KeyError::Crypto`] when it is no encrypted key that we read, [`KeyError::WrongPin`] when the PIN does
/// not open it.
fn decrypt(encrypted: &[u8], pin: &Pin) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let info = EncryptedPrivateKeyInfo::try_from(encrypted)
        .map_err(|_| KeyError::Crypto("no encrypted PKCS#8, or an encryption that is not supported"))?;
    let opened = info.decrypt(pin.expose()).map_err(|_| KeyError::WrongPin)?;
    Ok(Zeroizing::new(opened.as_bytes().to_vec()))
}
