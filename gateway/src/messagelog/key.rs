//! Data keys: one a day, wrapped by the key-encryption key; destroying one erases its bodies for good.
//!
//! ```text
//! key-encryption key  a file of its own, 64 hexadecimal digits, mode 0600
//! keys/<id>.key       "PSRLKEY1"  nonce (12)  AES-256-GCM(data key) (32)  tag (16); associated data: the id
//! id                  <day>.<8 hexadecimal digits>
//! ```
//! Not here: bodies ([`super::body`]).

use std::{
    collections::{BTreeSet, HashMap},
    fmt, fs, io,
    os::unix::fs::{FileExt as _, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::UnixTime,
    crypto::{self, aead},
    durable,
};
use zeroize::Zeroizing;

use super::error::LogError;

const MAGIC: &[u8; 8] = b"PSRLKEY1";
const EXTENSION: &str = "key";

/// A data key.
pub(crate) struct DataKey {
    id: String,
    secret: Zeroizing<[u8; aead::KEY_LEN]>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DataKey").field(&self.id).finish()
    }
}

impl DataKey {
    /// Its name in the records.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The key of one body. Each body has its own, so that nonces can count from zero.
    pub(crate) fn body_key(&self, salt: &[u8]) -> Result<aead::Key, LogError> {
        let parts: [&[u8]; 3] = [b"passerelle body key 1", self.secret.as_ref(), salt];
        let derived = crypto::digest_parts(DigestAlgorithm::Sha512, &parts);
        let mut key = Zeroizing::new([0; aead::KEY_LEN]);
        key.iter_mut().zip(derived.as_ref()).for_each(|(to, from)| *to = *from);
        aead::Key::new(&key).map_err(|e| LogError::Key(e.to_string()))
    }
}

/// All data keys of a log.
#[derive(Debug)]
pub(crate) struct KeyRing {
    directory: PathBuf,
    bodies: PathBuf,
    wrapping: aead::Key,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    known: HashMap<String, Arc<DataKey>>,
    /// The key of the present day.
    current: Option<Arc<DataKey>>,
}

impl KeyRing {
    /// Opens the keys in `directory`; files of bodies go to directories below `bodies`, one a key.
    pub(crate) fn open(directory: PathBuf, bodies: PathBuf, kek_file: &Path) -> Result<Self, LogError> {
        let wrapping = read_kek(kek_file)?;
        Ok(Self { directory, bodies, wrapping, open: Mutex::default() })
    }

    /// The key for bodies that are sealed now; the first call of a day makes it, durably.
    pub(crate) fn current(&self, now: UnixTime) -> Result<Arc<DataKey>, LogError> {
        let text = now.to_rfc3339();
        let day = text.split('T').next().unwrap_or_default();
        let mut open = self.lock();
        if let Some(key) = open.current.as_ref().filter(|key| key.id.split('.').next() == Some(day)) {
            return Ok(Arc::clone(key));
        }
        let key = match self.newest_of(day)? {
            Some(id) => self.load(&mut open, &id)?,
            None => self.make(&mut open, day)?,
        };
        open.current = Some(Arc::clone(&key));
        Ok(key)
    }

    /// The key with this id.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<DataKey>, LogError> {
        self.load(&mut self.lock(), id)
    }

    /// Destroys a key, and the files of the bodies that were sealed with it.
    pub(crate) fn destroy(&self, id: &str) -> Result<(), LogError> {
        check_id(id)?;
        let mut open = self.lock();
        open.known.remove(id);
        open.current.take_if(|key| key.id == id);
        let failed = |e: io::Error| LogError::io("a data key could not be removed", &e);
        overwrite(&self.file(id)).map_err(failed)?;
        durable::remove(self.file(id)).map_err(failed)?;
        match fs::remove_dir_all(self.bodies.join(id)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(LogError::io("the bodies of a destroyed key could not be removed", &e))
            }
            _ => durable::sync_dir(&self.bodies).map_err(failed),
        }
    }

    /// All ids that have a key, or files of bodies that were left when destroying it was broken off; sorted.
    pub(crate) fn ids(&self) -> Result<Vec<String>, LogError> {
        let unreadable = |e: io::Error| LogError::io("the data keys cannot be listed", &e);
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(&self.directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                ids.extend(path.file_stem().and_then(|id| id.to_str()).map(str::to_owned));
            }
        }
        for entry in fs::read_dir(&self.bodies).map_err(unreadable)? {
            ids.extend(entry.map_err(unreadable)?.file_name().to_str().map(str::to_owned));
        }
        Ok(ids.into_iter().filter(|id| check_id(id).is_ok()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.{EXTENSION}"))
    }

    fn newest_of(&self, day: &str) -> Result<Option<String>, LogError> {
        let unreadable = |e: io::Error| LogError::io("the data keys cannot be listed", &e);
        let mut newest = None;
        for entry in fs::read_dir(&self.directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let id = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let is_key = path.extension().is_some_and(|extension| extension == EXTENSION);
            if is_key && id.split('.').next() == Some(day) {
                newest = newest.max(Some(id.to_owned()));
            }
        }
        Ok(newest)
    }

    fn load(&self, open: &mut Open, id: &str) -> Result<Arc<DataKey>, LogError> {
        if let Some(key) = open.known.get(id) {
            return Ok(Arc::clone(key));
        }
        check_id(id)?;
        let wrapped = match fs::read(self.file(id)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(LogError::KeyGone(id.to_owned())),
            read => read.map_err(|e| LogError::io("a data key cannot be read", &e))?,
        };
        let key = Arc::new(DataKey { id: id.to_owned(), secret: self.unwrap(id, &wrapped)? });
        open.known.insert(id.to_owned(), Arc::clone(&key));
        Ok(key)
    }

    fn unwrap(&self, id: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; aead::KEY_LEN]>, LogError> {
        let damaged = || LogError::Key(format!("data key {id} is damaged or wrapped by another key"));
        let rest = wrapped.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (nonce, sealed) = rest.split_first_chunk::<{ aead::NONCE_LEN }>().ok_or_else(damaged)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let secret = self.wrapping.open(*nonce, id.as_bytes(), &mut sealed).map_err(|_| damaged())?;
        <[u8; aead::KEY_LEN]>::try_from(&*secret).map(Zeroizing::new).map_err(|_| damaged())
    }

    fn make(&self, open: &mut Open, day: &str) -> Result<Arc<DataKey>, LogError> {
        let failed = |e| LogError::io("a data key cannot be written", &e);
        let random = |e: cert_authority::error::KeyError| LogError::Key(e.to_string());
        let id = format!("{day}.{}", hex::encode(crypto::random_array::<4>().map_err(random)?));
        let secret = Zeroizing::new(crypto::random_array().map_err(random)?);
        let nonce = crypto::random_array().map_err(random)?;
        let mut sealed = secret.to_vec();
        let tag = self.wrapping.seal(nonce, id.as_bytes(), &mut sealed).map_err(random)?;
        match fs::create_dir(self.bodies.join(&id)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
            _ => durable::sync_dir(&self.bodies).map_err(failed)?,
        }
        let wrapped = [MAGIC, nonce.as_slice(), &sealed, &tag].concat();
        durable::write_secret(self.file(&id), &wrapped).map_err(failed)?;
        let key = Arc::new(DataKey { id: id.clone(), secret });
        open.known.insert(id, Arc::clone(&key));
        Ok(key)
    }
}

/// Overwrites a key before its name goes: the blocks of a removed file can be read from the disk for long. On disks that
/// write elsewhere each time only the key-encryption key protects what is left of it.
fn overwrite(file: &Path) -> io::Result<()> {
    let key = match fs::OpenOptions::new().write(true).open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let length = usize::try_from(key.metadata()?.len()).unwrap_or(0);
    key.write_all_at(&vec![0; length], 0)?;
    key.sync_all()
}

/// Ids come out of records and become names of files.
fn check_id(id: &str) -> Result<(), LogError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if id.is_empty() || id.starts_with('.') || !id.chars().all(plain) {
        return Err(LogError::KeyGone(id.to_owned()));
    }
    Ok(())
}

/// Makes a key-encryption key where there is none.
pub(crate) fn create_kek(file: &Path) -> Result<(), LogError> {
    if file.exists() {
        return Ok(());
    }
    let secret = Zeroizing::new(
        crypto::random_array::<{ aead::KEY_LEN }>().map_err(|e| LogError::Key(e.to_string()))?,
    );
    let text = Zeroizing::new(format!("{}\n", hex::encode(secret.as_slice())));
    durable::write_secret(file, text.as_bytes())
        .map_err(|e| LogError::io("the key-encryption key cannot be written", &e))
}

fn read_kek(file: &Path) -> Result<aead::Key, LogError> {
    let failed = |e: io::Error| LogError::Key(format!("{}: {e}", file.display()));
    let mode = fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(LogError::Key(format!("{} can be read by others", file.display())));
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(failed)?);
    let mut key = Zeroizing::new([0; aead::KEY_LEN]);
    hex::decode_to_slice(text.trim_end(), key.as_mut_slice())
        .map_err(|_| LogError::Key(format!("{} does not hold 64 hexadecimal digits", file.display())))?;
    aead::Key::new(&key).map_err(|e| LogError::Key(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(directory: &Path) -> KeyRing {
        let kek = directory.join("kek");
        create_kek(&kek).unwrap();
        for name in ["keys", "bodies"] {
            let _ = fs::create_dir(directory.join(name));
        }
        KeyRing::open(directory.join("keys"), directory.join("bodies"), &kek).unwrap()
    }

    #[test]
    fn a_day_has_one_key_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let now = UnixTime::from_rfc3339("2026-02-03T23:59:59Z").unwrap();
        let first = ring(directory.path()).current(now).unwrap();
        let again = ring(directory.path());
        assert_eq!(again.current(now).unwrap().id(), first.id());
        assert_eq!(again.get(first.id()).unwrap().secret, first.secret);
        let next = again.current(now + std::time::Duration::from_secs(1)).unwrap();
        assert!(next.id().starts_with("2026-02-04."));
        assert_ne!(next.secret, first.secret);
    }

    #[test]
    fn a_destroyed_key_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let ring = ring(directory.path());
        let id = ring.current(UnixTime::from_secs(0)).unwrap().id().to_owned();
        ring.destroy(&id).unwrap();
        assert_eq!(ring.get(&id).unwrap_err(), LogError::KeyGone(id.clone()));
        assert_ne!(ring.current(UnixTime::from_secs(0)).unwrap().id(), id);
    }

    #[test]
    fn a_key_wrapped_by_another_key_or_changed_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let id = ring(directory.path()).current(UnixTime::from_secs(0)).unwrap().id().to_owned();
        fs::remove_file(directory.path().join("kek")).unwrap();
        assert!(matches!(ring(directory.path()).get(&id), Err(LogError::Key(_))));
    }

    #[test]
    fn a_key_encryption_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(ring(directory.path()));
        let kek = directory.path().join("kek");
        fs::set_permissions(&kek, fs::Permissions::from_mode(0o640)).unwrap();
        let opened = KeyRing::open(directory.path().join("keys"), directory.path().join("bodies"), &kek);
        assert!(matches!(opened, Err(LogError::Key(_))));
    }

    #[test]
    fn an_id_that_leads_elsewhere_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for id in ["../kek", "", ".hidden", "a/b"] {
            assert_eq!(ring(directory.path()).get(id).unwrap_err(), LogError::KeyGone(id.to_owned()));
        }
    }
}
