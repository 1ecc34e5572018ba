//! An authority that publishes to a folder, a source that serves the folder on a real socket, a clock turned by hand.
//!
//! ```text
//! authority.toml ─ Publisher ─► public/ ─ Source (127.0.0.1:port) ─► Client ─► folder
//!                      └──────────── FixedClock ─────────────────────┘
//! ```
#![expect(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::{Clock, FixedClock, UnixTime};
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::keys::{KeyType, Pin};
use conf::anchor::Anchor;
use conf::authority::{Publisher, Registry, SigningKeys, SourceKind, anchor, pin_or_new};
use conf::client::{Client, Outcome, Settings};
use conf::directory::{Contents, File, PartKind};
use conf::service::serve_folder;
use conf::version::Version;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub(crate) const START: &str = "2026-02-03T04:05:06Z";

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) clock: FixedClock,
    pub(crate) address: String,
    stop: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl World {
    /// An authority that has published once and whose source answers.
    pub(crate) async fn new() -> Self {
        Self::of_instance("DEMO").await
    }

    pub(crate) async fn of_instance(instance: &str) -> Self {
        let folder = super::authority();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let register = super::REGISTER.replace("127.0.0.1:7001", &address).replace("DEMO", instance);
        super::write(folder.path(), &register);
        let clock = FixedClock::new(UnixTime::from_rfc3339(START).unwrap());
        let mut world = Self { folder, clock, address, stop: None };
        for kind in SourceKind::ALL {
            world.add_key(kind).await;
        }
        world.publish().await;
        world.write_anchor();
        world.serve_on(listener);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::load(&self.path("authority.toml")).unwrap()
    }

    pub(crate) fn keys(&self) -> SigningKeys {
        SigningKeys::load(&self.path("keys")).unwrap()
    }

    /// Changes the register.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let register = std::fs::read_to_string(self.path("authority.toml")).unwrap();
        assert!(register.contains(from), "{from} is not in the register");
        super::write(self.folder.path(), &register.replace(from, to));
    }

    pub(crate) async fn add_key(&self, kind: SourceKind) -> String {
        let pin = pin_or_new(&self.path("keys/pin")).unwrap();
        let instance = self.registry().shared.instance;
        self.keys().add(kind, KeyType::EcP256, &pin, &instance, self.now()).await.unwrap().to_string()
    }

    /// Publishes; gives the Expire-date.
    pub(crate) async fn publish(&self) -> UnixTime {
        Publisher::new(self.registry()).unwrap().publish(self.now()).await.unwrap().expires
    }

    pub(crate) fn anchor(&self, kind: SourceKind) -> Anchor {
        anchor(&self.registry(), &self.keys(), kind, self.now())
    }

    pub(crate) fn write_anchor(&self) {
        put(&self.path("anchor.xml"), self.anchor(SourceKind::Internal).write().as_bytes());
    }

    fn serve_on(&mut self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel::<()>();
        let folder = self.path("public");
        let task = tokio::spawn(serve_folder(listener, folder, async {
            let _ = stopped.await;
        }));
        self.stop = Some((stop, task));
    }

    /// The source goes down.
    pub(crate) async fn down(&mut self) {
        let (stop, task) = self.stop.take().unwrap();
        let _ = stop.send(());
        task.await.unwrap();
    }

    /// The source comes back at its address.
    pub(crate) async fn up(&mut self) {
        let listener = TcpListener::bind(&self.address).await.unwrap();
        self.serve_on(listener);
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.path("anchor.xml"), self.path("client"))
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(self.settings())
    }

    pub(crate) fn client_with(&self, settings: Settings) -> Client {
        Client::open(settings, Arc::new(self.clock.clone())).unwrap()
    }

    /// The folder of the parts that version 6 names now.
    pub(crate) fn parts(&self) -> PathBuf {
        let directory = std::fs::read_to_string(self.path("public/V6/internalconf")).unwrap();
        let location = directory.lines().find_map(|line| line.strip_prefix("Content-location: /")).unwrap();
        self.path("public").join(Path::new(location.trim()).parent().unwrap())
    }

    /// Signs a directory over these parts with the authority's own key, as somebody who holds it could.
    pub(crate) async fn forge(
        &self,
        instance: &str,
        expires: UnixTime,
        parts: &[(PartKind, &str, &[u8])],
    ) -> Vec<u8> {
        let keys = self.keys();
        let key = keys.active(SourceKind::Internal).unwrap();
        let signer =
            SoftwareKeys::open(self.path("keys"), &Pin::from_file(self.path("keys/pin")).unwrap()).unwrap();
        let files: Vec<_> =
            parts.iter().map(|(kind, location, bytes)| File { kind, location, bytes }).collect();
        let contents = Contents { instance, version: Version::V6, expires, files: &files };
        let algorithm = key.key_type.default_algorithm();
        contents.sign(&signer, &key.id, algorithm, key.certificate.der()).await.unwrap()
    }

    /// Puts only version 6 there, with this directory.
    pub(crate) fn replace_directory(&self, directory: &[u8]) {
        for version in ["V3", "V4", "V5"] {
            let _ = std::fs::remove_dir_all(self.path("public").join(version));
        }
        put(&self.path("public/V6/internalconf"), directory);
    }
}

/// Writes a file, as an attacker or an accident does.
#[expect(clippy::disallowed_methods, reason = "accidents do not write durably")]
pub(crate) fn put(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// One round; what came of it, without versions that are not there.
pub(crate) async fn round(client: &mut Client) -> Vec<Outcome> {
    let (events, _) = client.round().await;
    events
        .into_iter()
        .map(|event| event.outcome)
        .filter(|outcome| *outcome != Outcome::NoSuchVersion)
        .collect()
}

/// One round in which nothing is taken: the one failure of it.
pub(crate) async fn failure(client: &mut Client) -> String {
    let outcomes = round(client).await;
    match &outcomes[..] {
        [Outcome::Failed(error)] => error.to_string(),
        other => format!("not one failure but {other:?}"),
    }
}
