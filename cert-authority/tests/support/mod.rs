//! A small world of keys and certificates, and openssl as the judge of them.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cert_authority::{
    authority::{Event, Store},
    clock::UnixTime,
    crypto::PublicKey,
    error::PkiError,
    keys::{KeyId, KeyType, Pin, Signer, inventory::Usage, software::SoftwareKeys},
    x509::{
        Certificate, Name, Serial,
        issue::{Issuer, Profile, Template, issue, self_signed},
    },
};
use tempfile::TempDir;

pub(crate) const PIN: &str = "correct horse";
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// A time in the middle of everybody's validity; also the time that openssl is told.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_rfc3339("2026-06-01T12:00:00Z").unwrap()
}

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) keys: SoftwareKeys,
}

/// A certificate with the key behind it.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyId,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = SoftwareKeys::open(dir.path().join("keys"), &Pin::new(PIN)).unwrap();
        Self { dir, keys }
    }

    pub(crate) fn key(&self, key_type: KeyType) -> KeyId {
        self.keys.create(key_type, Usage::Auth, "test", None, now()).unwrap()
    }

    pub(crate) fn public(&self, key: &KeyId) -> PublicKey {
        self.keys.public_key(key).unwrap()
    }

    pub(crate) async fn root(&self, key_type: KeyType, subject: &str, path_len: Option<u8>) -> Holder {
        let key = self.key(key_type);
        let (name, public) = (Name::parse_rfc4514(subject).unwrap(), self.public(&key));
        let template = template(Profile::RootCa { path_len }, &name, &public);
        let certificate = self_signed(&template, &key, &self.keys).await.unwrap();
        Holder { certificate, key }
    }

    pub(crate) async fn issue(&self, by: &Holder, profile: Profile, subject: &str) -> Holder {
        self.issue_with(by, profile, subject, KeyType::EcP256, |_| ()).await
    }

    pub(crate) async fn issue_with(
        &self,
        by: &Holder,
        profile: Profile,
        subject: &str,
        key_type: KeyType,
        change: impl FnOnce(&mut Template<'_>),
    ) -> Holder {
        let key = self.key(key_type);
        let (name, public) = (Name::parse_rfc4514(subject).unwrap(), self.public(&key));
        let mut template = template(profile, &name, &public);
        change(&mut template);
        let issuer = Issuer { certificate: &by.certificate, key: &by.key, signer: &self.keys };
        Holder { certificate: issue(&template, &issuer).await.unwrap(), key }
    }

    /// Writes PEM text to a file and gives its path.
    #[expect(clippy::disallowed_methods, reason = "a test's own file need not be durable")]
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

pub(crate) fn template<'a>(profile: Profile, subject: &'a Name, public_key: &'a PublicKey) -> Template<'a> {
    static SERIAL: std::sync::OnceLock<Serial> = std::sync::OnceLock::new();
    Template {
        profile,
        subject,
        public_key,
        serial: SERIAL.get_or_init(|| Serial::from_bytes(&[0xfe, 1, 2, 3])),
        not_before: now() - 10 * DAY,
        not_after: now() + 10 * DAY,
        alt_names: &[],
        ocsp_url: None,
        crl_url: None,
        issuer_url: None,
    }
}

/// Runs openssl.
pub(crate) fn openssl<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    Command::new("openssl").args(arguments).output().expect("openssl is installed")
}

/// Runs openssl, demands success, and gives what it said.
pub(crate) fn openssl_ok<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let output = openssl(arguments);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "openssl: {text}");
    text
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Events in memory; clones share them and begin to read anew, like processes with one file.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    seen: AtomicUsize,
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        Self { events: Arc::clone(&self.events), seen: AtomicUsize::new(0) }
    }
}

impl Memory {
    fn unseen(&self, events: &[Event]) -> Vec<Event> {
        events[self.seen.swap(events.len(), Ordering::SeqCst)..].to_vec()
    }
}

impl Store for Memory {
    fn load(&self) -> Result<Vec<Event>, PkiError> {
        Ok(self.unseen(&self.events.lock().unwrap()))
    }

    fn append(
        &self,
        event: &Event,
        admit: &mut dyn FnMut(Vec<Event>) -> Result<(), PkiError>,
    ) -> Result<(), PkiError> {
        let mut events = self.events.lock().unwrap();
        admit(self.unseen(&events))?;
        events.push(event.clone());
        self.seen.store(events.len(), Ordering::SeqCst);
        Ok(())
    }
}
