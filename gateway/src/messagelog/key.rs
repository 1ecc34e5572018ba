//! Data keys: one a day, or one a day for each owner of bodies, wrapped by the key-encryption key; destroying one erases
//! its bodies for good.
//!
//! ```text
//! key-encryption key  a file of its own, 64 hexadecimal digits, mode 0600
//! wrapped key         "PSRLKEY1"  nonce (12)  AES-256-GCM(data key) (32)  tag (16); associated data: the id
//! id                  <day>.<8 hexadecimal digits>, or <day>.<mark of the owner>.<8 hexadecimal digits>
//! mark                first 16 hexadecimal digits of SHA-256(identifier of the member or subsystem)
//! ```
//! Not here: bodies ([`super::body`]), where wrapped keys lie (`beside`).

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::UnixTime,
    crypto::{self, aead},
};
use conf::identifier::ClientId;
use zeroize::Zeroizing;

use super::{
    beside::Beside,
    disk::{self, Disk},
    error::LogError,
};

const MAGIC: &[u8; 8] = b"PSRLKEY1";
/// Associated data of what [`proof_of_kek`] gives.
const PROOF: &[u8] = b"passerelle key-encryption key 1";

/// Which bodies of a day share a data key, and so can only be erased together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyGrouping {
    /// All.
    #[default]
    Period,
    /// Those of a member.
    Member,
    /// Those of a subsystem.
    Subsystem,
}

impl KeyGrouping {
    /// What stands in the ids of the keys of this owner; nothing where a key is everybody's.
    pub(crate) fn mark(self, owner: &ClientId) -> Option<String> {
        match self {
            Self::Period => None,
            Self::Member => Some(mark(&owner.member().to_string())),
            Self::Subsystem => Some(mark(&owner.to_string())),
        }
    }
}

fn mark(owner: &str) -> String {
    crypto::digest(DigestAlgorithm::Sha256, owner.as_bytes()).hex().chars().take(16).collect()
}

/// Whether a key is one of this member or subsystem alone, however keys are grouped now.
pub fn is_of(id: &str, owner: &ClientId) -> bool {
    let mut parts = id.split('.').skip(1);
    parts.next().is_some_and(|part| part == mark(&owner.to_string())) && parts.next().is_some()
}

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

/// The key-encryption key.
pub(crate) struct Kek(aead::Key);

impl Kek {
    /// Reads it from its file.
    pub(crate) fn read(file: &Path) -> Result<Self, LogError> {
        read_kek(file).map(Self)
    }

    /// Opens a wrapped data key.
    pub(crate) fn unwrap(&self, id: &str, wrapped: &[u8]) -> Result<DataKey, LogError> {
        let damaged = || LogError::Key(format!("data key {id} is damaged or wrapped by another key"));
        let rest = wrapped.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (nonce, sealed) = rest.split_first_chunk::<{ aead::NONCE_LEN }>().ok_or_else(damaged)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let secret = self.0.open(*nonce, id.as_bytes(), &mut sealed).map_err(|_| damaged())?;
        let secret = <[u8; aead::KEY_LEN]>::try_from(&*secret).map(Zeroizing::new).map_err(|_| damaged())?;
        Ok(DataKey { id: id.to_owned(), secret })
    }
}

/// Whether these bytes can be a wrapped data key; only who has the key-encryption key knows whether they are one.
pub(crate) fn can_be_wrapped(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) && bytes.len() == MAGIC.len() + aead::NONCE_LEN + aead::KEY_LEN + aead::TAG_LEN
}

/// All data keys of a log.
pub(crate) struct KeyRing {
    beside: Arc<dyn Beside>,
    kek: Kek,
    /// Never held while something is waited for.
    open: Mutex<Open>,
    /// Held while `beside` is asked, which may take long: one key of a day is made, and none is kept in memory that is
    /// destroyed meanwhile.
    asking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Open {
    known: HashMap<String, Arc<DataKey>>,
    /// The keys of the present day (days since 1970), by the mark of their owner.
    current: HashMap<Option<String>, (i64, Arc<DataKey>)>,
    /// How often all was forgotten.
    forgotten: u64,
}

impl KeyRing {
    /// Opens the keys that lie in `beside`.
    pub(crate) fn open(beside: Arc<dyn Beside>, kek_file: &Path) -> Result<Self, LogError> {
        let kek = Kek::read(kek_file)?;
        Ok(Self { beside, kek, open: Mutex::default(), asking: Mutex::default() })
    }

    /// Where the keys lie, and the bodies with them.
    pub(crate) fn beside(&self) -> &dyn Beside {
        &*self.beside
    }

    /// Holds no key any longer: somebody else may have destroyed one.
    pub(crate) fn forget(&self) {
        let mut open = self.lock();
        let forgotten = open.forgotten.wrapping_add(1);
        *open = Open { forgotten, ..Open::default() };
    }

    /// The key for bodies of this owner that are sealed now, if it is at hand; waits for nothing.
    pub(crate) fn at_hand(&self, now: UnixTime, owner: Option<&str>) -> Option<Arc<DataKey>> {
        let open = self.lock();
        let (day, key) = open.current.get(&owner.map(str::to_owned))?;
        (*day == day_of(now)).then(|| Arc::clone(key))
    }

    /// The key for bodies of this owner that are sealed now; the first call of a day makes it, durably.
    pub(crate) fn current(&self, now: UnixTime, owner: Option<&str>) -> Result<Arc<DataKey>, LogError> {
        if let Some(key) = self.at_hand(now, owner) {
            return Ok(key);
        }
        let _asking = self.ask();
        // Another one may have made it while we waited for our turn.
        if let Some(key) = self.at_hand(now, owner) {
            return Ok(key);
        }
        let forgotten = self.lock().forgotten;
        let begin = begin_of_id(now, owner);
        let key = match self.newest_of(&begin)? {
            Some(id) => {
                // Perhaps whoever made it was told that its name is not durable, or died before.
                self.beside.settle()?;
                self.load(&id)?
            }
            None => self.make(&begin)?,
        };
        let mut open = self.lock();
        if open.forgotten == forgotten {
            open.current.insert(owner.map(str::to_owned), (day_of(now), Arc::clone(&key)));
        }
        Ok(key)
    }

    /// The key with this id.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<DataKey>, LogError> {
        if let Some(key) = self.known(id) {
            return Ok(key);
        }
        let _asking = self.ask();
        self.load(id)
    }

    /// Destroys a key, and the files of the bodies that were sealed with it.
    pub(crate) fn destroy(&self, id: &str) -> Result<(), LogError> {
        check_id(id)?;
        let _asking = self.ask();
        {
            let mut open = self.lock();
            open.known.remove(id);
            open.current.retain(|_, (_, key)| key.id != id);
        }
        self.beside.destroy(id)
    }

    /// All ids that have a key, or files of bodies that were left when destroying it was broken off; sorted.
    pub(crate) fn ids(&self) -> Result<Vec<String>, LogError> {
        let mut ids = self.beside.keys()?;
        ids.extend(self.beside.keys_of_bodies()?);
        Ok(ids.into_iter().filter(|id| check_id(id).is_ok()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, id: &str) -> Option<Arc<DataKey>> {
        self.lock().known.get(id).cloned()
    }

    /// Keeps a key at hand, unless all was forgotten since it was asked for.
    fn remember(&self, key: &Arc<DataKey>, forgotten: u64) {
        let mut open = self.lock();
        if open.forgotten == forgotten {
            open.known.insert(key.id.clone(), Arc::clone(key));
        }
    }

    /// The newest key whose id begins so and ends with random digits.
    fn newest_of(&self, begin: &str) -> Result<Option<String>, LogError> {
        let last = |id: &String| id.strip_prefix(begin).is_some_and(|rest| !rest.contains('.'));
        Ok(self.beside.keys()?.into_iter().rfind(|id| check_id(id).is_ok() && last(id)))
    }

    fn load(&self, id: &str) -> Result<Arc<DataKey>, LogError> {
        if let Some(key) = self.known(id) {
            return Ok(key);
        }
        check_id(id)?;
        let forgotten = self.lock().forgotten;
        let wrapped = self.beside.key(id)?.ok_or_else(|| LogError::KeyGone(id.to_owned()))?;
        let key = Arc::new(self.kek.unwrap(id, &wrapped)?);
        self.remember(&key, forgotten);
        Ok(key)
    }

    fn make(&self, begin: &str) -> Result<Arc<DataKey>, LogError> {
        let random = |e: cert_authority::error::KeyError| LogError::Key(e.to_string());
        let id = format!("{begin}{}", hex::encode(crypto::random_array::<4>().map_err(random)?));
        let secret = Zeroizing::new(crypto::random_array().map_err(random)?);
        let nonce = crypto::random_array().map_err(random)?;
        let mut sealed = secret.to_vec();
        let tag = self.kek.0.seal(nonce, id.as_bytes(), &mut sealed).map_err(random)?;
        let wrapped = [MAGIC, nonce.as_slice(), &sealed, &tag].concat();
        let forgotten = self.lock().forgotten;
        self.beside.add_key(&id, &wrapped)?;
        let key = Arc::new(DataKey { id, secret });
        self.remember(&key, forgotten);
        Ok(key)
    }
}

/// How the ids of the keys of this day and owner begin.
/// Days since 1970: what the date at the beginning of an id says, without writing it.
const fn day_of(now: UnixTime) -> i64 {
    now.as_secs().div_euclid(86_400)
}

fn begin_of_id(now: UnixTime, owner: Option<&str>) -> String {
    let text = now.to_rfc3339();
    let day = text.split('T').next().unwrap_or_default();
    owner.map_or_else(|| format!("{day}."), |mark| format!("{day}.{mark}."))
}

/// Ids come out of records and become names of files.
pub(crate) fn check_id(id: &str) -> Result<(), LogError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if id.is_empty() || id.starts_with('.') || !id.chars().all(plain) {
        return Err(LogError::KeyGone(id.to_owned()));
    }
    Ok(())
}

/// Makes a key-encryption key where there is none.
pub(crate) fn create_kek(disk: &dyn Disk, file: &Path) -> Result<(), LogError> {
    let failed = |e: io::Error| LogError::io("the key-encryption key cannot be written", &e);
    if file.exists() {
        return disk.sync_dir(disk::parent(file)).map_err(failed);
    }
    let secret = Zeroizing::new(
        crypto::random_array::<{ aead::KEY_LEN }>().map_err(|e| LogError::Key(e.to_string()))?,
    );
    let text = Zeroizing::new(format!("{}\n", hex::encode(secret.as_slice())));
    disk::put(disk, file, text.as_bytes()).map_err(failed)
}

/// What tells whether a key-encryption key is that of a log: its id, sealed with it.
pub(crate) fn proof_of_kek(file: &Path, log: &[u8; 16]) -> Result<Vec<u8>, LogError> {
    let random = |e: cert_authority::error::KeyError| LogError::Key(e.to_string());
    let nonce = crypto::random_array().map_err(random)?;
    let mut sealed = log.to_vec();
    let tag = read_kek(file)?.seal(nonce, PROOF, &mut sealed).map_err(random)?;
    Ok([nonce.as_slice(), &sealed, &tag].concat())
}

/// Whether the key-encryption key in this file is that of the log.
pub(crate) fn check_kek(file: &Path, log: &[u8; 16], proof: &[u8]) -> Result<(), LogError> {
    let other = || {
        let file = file.display();
        LogError::Key(format!("{file} is not the key-encryption key of this log: copy that of another node"))
    };
    let (nonce, sealed) = proof.split_first_chunk::<{ aead::NONCE_LEN }>().ok_or_else(other)?;
    let mut sealed = sealed.to_vec();
    let opened = read_kek(file)?.open(*nonce, PROOF, &mut sealed).map_err(|_| other())?;
    if opened == log { Ok(()) } else { Err(other()) }
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::messagelog::{beside::Folder, disk::SystemDisk};

    fn folder(directory: &Path) -> Arc<dyn Beside> {
        Arc::new(Folder::new(directory, Arc::new(SystemDisk)))
    }

    fn ring(directory: &Path) -> KeyRing {
        let kek = directory.join("kek");
        create_kek(&SystemDisk, &kek).unwrap();
        for name in ["keys", "bodies"] {
            let _ = fs::create_dir(directory.join(name));
        }
        KeyRing::open(folder(directory), &kek).unwrap()
    }

    #[test]
    fn a_day_has_one_key_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let now = UnixTime::from_rfc3339("2026-02-03T23:59:59Z").unwrap();
        let first = ring(directory.path()).current(now, None).unwrap();
        let again = ring(directory.path());
        assert_eq!(again.current(now, None).unwrap().id(), first.id());
        assert_eq!(again.get(first.id()).unwrap().secret, first.secret);
        let next = again.current(now + std::time::Duration::from_secs(1), None).unwrap();
        assert!(next.id().starts_with("2026-02-04."));
        assert_ne!(next.secret, first.secret);
    }

    #[test]
    fn each_owner_has_a_key_of_its_own_which_nobody_else_gets_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let now = UnixTime::from_secs(0);
        let owners: Vec<ClientId> =
            ["EE/GOV/1", "EE/GOV/1/a", "EE/GOV/2/a"].iter().map(|id| id.parse().unwrap()).collect();
        for (grouping, different) in
            [(KeyGrouping::Period, 1), (KeyGrouping::Member, 2), (KeyGrouping::Subsystem, 3)]
        {
            let ids = || -> Vec<String> {
                let ring = ring(directory.path());
                let current = |owner| ring.current(now, grouping.mark(owner).as_deref()).unwrap();
                owners.iter().map(|owner| current(owner).id().to_owned()).collect()
            };
            let first = ids();
            assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), different, "{grouping:?}");
            assert_eq!(ids(), first);
            for (id, owner) in first.iter().zip(&owners) {
                let own = match grouping {
                    KeyGrouping::Period => false,
                    KeyGrouping::Member => owner.subsystem().is_none(),
                    KeyGrouping::Subsystem => true,
                };
                assert_eq!(is_of(id, owner), own, "{grouping:?} {owner}");
                assert!(super::super::erase::end_of_day(id).is_some() && check_id(id).is_ok(), "{id}");
            }
        }
    }

    #[test]
    fn a_destroyed_key_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let ring = ring(directory.path());
        let id = ring.current(UnixTime::from_secs(0), None).unwrap().id().to_owned();
        ring.destroy(&id).unwrap();
        assert_eq!(ring.get(&id).unwrap_err(), LogError::KeyGone(id.clone()));
        assert_ne!(ring.current(UnixTime::from_secs(0), None).unwrap().id(), id);
    }

    #[test]
    fn a_key_wrapped_by_another_key_or_changed_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let id = ring(directory.path()).current(UnixTime::from_secs(0), None).unwrap().id().to_owned();
        fs::remove_file(directory.path().join("kek")).unwrap();
        assert!(matches!(ring(directory.path()).get(&id), Err(LogError::Key(_))));
    }

    #[test]
    fn a_key_encryption_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(ring(directory.path()));
        let kek = directory.path().join("kek");
        fs::set_permissions(&kek, fs::Permissions::from_mode(0o640)).unwrap();
        let opened = KeyRing::open(folder(directory.path()), &kek);
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
