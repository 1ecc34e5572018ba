//! A log all of which is stamped and archived and whose bodies were cleaned, to remove messages from.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cert_authority::clock::{FixedClock, UnixTime};
use conf::snapshot::GlobalConf;
use gateway::{
    archive::{
        archiver::{Archiver, Settings},
        cleaning::clean,
        encryption::Identities,
        removing::remove_old,
        target::Directory,
    },
    audit::{
        archives::Shelves,
        verify::{Grounds, Report, verify},
    },
    messagelog::{
        Config, Database, LogError, MessageLog, Record, Role, audit::Source, reader::Reader, removal,
        tree::Hash,
    },
};

use crate::{evidence_support::now, log_support::config, metaservice_support::*};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(crate) const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// A log of a few segments, all of it stamped and archived, whose bodies were cleaned.
pub(crate) struct Old {
    pub(crate) scene: Scene,
    pub(crate) conf: GlobalConf,
    pub(crate) archives: PathBuf,
    /// The settings of the log.
    pub(crate) config: Config,
}

/// Long after all was logged.
pub(crate) fn later() -> UnixTime {
    now() + 100 * DAY
}

impl Old {
    /// In files.
    pub(crate) fn new() -> Self {
        let old = Self::archived(None);
        old.clean_bodies();
        old
    }

    /// In a database.
    pub(crate) fn within(database: Database) -> Self {
        let old = Self::archived(Some(database));
        old.clean_bodies();
        old
    }

    /// With its bodies.
    pub(crate) fn archived(postgres: Option<Database>) -> Self {
        let scene = Scene::set(|config| Config { postgres: postgres.clone(), ..config });
        let config = Config { postgres, ..config(scene.directory.path()) };
        leads(&scene.log);
        let archives = scene.directory.path().join("archives");
        fs::create_dir(&archives).unwrap();
        let conf = GlobalConf::load_dir(scene.configuration()).unwrap();
        let old = Self { scene, conf, archives, config };
        for round in 0..4 {
            old.fill(round, 20);
            old.scene.stamp();
            old.archive();
        }
        old
    }

    pub(crate) fn fill(&self, round: u32, count: u32) {
        for n in 0..count {
            let id = format!("q-{round}-{n}");
            let role = if n % 3 == 0 { Role::Provider } else { Role::Consumer };
            self.scene.log(Message { id: &id, role, ..REQUEST });
        }
    }

    fn archiver(&self) -> Archiver<MessageLog> {
        let target = Directory::new(&self.archives, self.log().join("bodies"));
        Archiver::new(self.scene.log.clone(), self.scene.reader(), Arc::new(target), Settings::default())
    }

    pub(crate) fn archive(&self) {
        self.scene.runtime.block_on(self.archiver().run()).unwrap();
    }

    pub(crate) fn clean_bodies(&self) {
        let mut archiver = self.archiver();
        self.scene.runtime.block_on(archiver.run()).unwrap();
        let cleaned = clean(&self.scene.log, archiver.ledger(), Duration::ZERO, later());
        assert_eq!(self.scene.runtime.block_on(cleaned).unwrap().len(), 1);
    }

    pub(crate) fn remove(&self, at: UnixTime) -> u64 {
        self.scene.runtime.block_on(remove_old(&self.scene.log, KEEP, at)).unwrap()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.config.directory.clone()
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.log().join(format!("segments/{number:08}.seg"))
    }

    pub(crate) fn report(&self) -> Report {
        report(&self.config, &self.conf, &self.archives)
    }

    pub(crate) fn reopen(self) -> Self {
        let Self {
            scene: Scene { directory, world, key, log, clock: time, runtime },
            conf,
            archives,
            config,
        } = self;
        drop(log);
        let log = opened(&config);
        Self { scene: Scene { directory, world, key, log, clock: time, runtime }, conf, archives, config }
    }
}

pub(crate) fn report<'a>(log: impl Into<Source<'a>>, conf: &GlobalConf, archives: &Path) -> Report {
    let shelves = Shelves::open(vec![archives.to_owned()], Identities::none()).unwrap();
    let grounds = Grounds { conf: Some(conf), archives: Some(&shelves), ..Grounds::default() };
    verify(log, grounds, &mut |_| {}).unwrap()
}

pub(crate) fn opened(config: &Config) -> MessageLog {
    MessageLog::open(config.clone(), Arc::new(FixedClock::new(now()))).unwrap()
}

/// Waits until this node leads, as one in files always does.
pub(crate) fn leads(log: &MessageLog) {
    for _ in 0..400 {
        if log.leads() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it does not lead");
}

pub(crate) fn leaves(reader: &Reader) -> Vec<Hash> {
    reader.leaves(0, usize::try_from(reader.len()).unwrap()).unwrap()
}

/// Whether each record is there; if not it must be said to have been removed.
pub(crate) fn there(reader: &Reader) -> Vec<bool> {
    (0..reader.len())
        .map(|number| match reader.get(number) {
            Ok(found) => {
                assert_eq!(found.unwrap().sequence, number);
                true
            }
            Err(LogError::Removed { sequence, noted }) => {
                assert_eq!(sequence, number);
                let Record::Access(note) = reader.get(noted).unwrap().unwrap().record else {
                    panic!("{noted}")
                };
                assert!(note.action == removal::ACTION && note.records.contains(&number), "{note:?}");
                false
            }
            Err(error) => panic!("record {number}: {error}"),
        })
        .collect()
}
