//! Archiving a log: what goes where, what a second run adds, and what an interrupted one leaves.
//!
//! ```text
//! logged messages ──stamped──► archives in a directory ──► archive verify, unzip, xmlsec1, openssl
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;
mod small_disk;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use cert_authority::clock::FixedClock;
use gateway::{
    archive::{
        archiver::{Archiver, ArchivingError, Grouping, Settings, Summary},
        chains,
        cleaning::clean,
        read,
        target::{Directory, Parcel, Target, TargetError},
        task::{self, Schedule, Status},
    },
    cli::archive::{VerifyArguments, archive, verify},
    messagelog::{
        KeyGrouping, MessageLog, Role,
        disk::{Disk, SystemDisk},
    },
};
use metaservice_support::*;
use small_disk::Mounted;

/// A scene with a place for archives.
struct Place {
    scene: Scene,
    archives: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self::grouped(KeyGrouping::Period)
    }

    /// Whose bodies share a data key.
    fn grouped(keys: KeyGrouping) -> Self {
        let scene = Scene::grouped(keys);
        let archives = scene.directory.path().join("archives");
        fs::create_dir(&archives).unwrap();
        Self { scene, archives }
    }

    fn target(&self) -> Directory {
        Directory::new(&self.archives, self.scene.directory.path().join("log/bodies"))
    }

    fn archiver(&self, settings: Settings) -> Archiver<MessageLog> {
        self.archiver_to(Arc::new(self.target()), settings)
    }

    fn archiver_to(&self, target: Arc<dyn Target>, settings: Settings) -> Archiver<MessageLog> {
        Archiver::new(self.scene.log.clone(), self.scene.reader(), target, settings)
    }

    fn run(&self) -> Result<Summary, ArchivingError> {
        self.scene.runtime.block_on(self.archiver(Settings::default()).run())
    }

    /// All archives, judged with their containers and as a chain.
    fn verdict(&self) -> (u8, String) {
        let arguments = VerifyArguments {
            files: files(&self.archives),
            conf: Some(self.scene.configuration()),
            ..VerifyArguments::default()
        };
        let mut out = Vec::new();
        let code = verify(&arguments, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    /// The containers of all archives, by name.
    fn containers(&self) -> Vec<String> {
        let read = |path: PathBuf| read::read(File::open(path).unwrap(), None).unwrap().linking.files;
        let links = files(&self.archives).into_iter().flat_map(read);
        let mut names: Vec<String> = links.map(|link| link.file).collect();
        names.sort();
        names
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_is_stamped_is_archived_and_the_next_run_goes_on() {
    let place = Place::new();
    place.scene.log(REQUEST);
    place.scene.log(RESPONSE);
    assert_eq!(place.run().unwrap(), Summary::default(), "nothing is stamped yet");
    place.scene.stamp();
    place.scene.log(Message { id: "q-2", ..REQUEST });
    let summary = place.run().unwrap();
    assert_eq!((summary.files.len(), summary.messages), (1, 2));
    assert_eq!(place.containers(), ["q-1-request-0.asice", "q-1-response-1.asice"]);
    assert_eq!(place.run().unwrap(), Summary::default(), "nothing is archived twice");

    place.scene.stamp();
    assert_eq!(place.run().unwrap().messages, 1);
    assert_eq!(place.containers().len(), 3);
    let (code, text) = place.verdict();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2 of 2 containers") && text.contains("1 of 1 containers"), "{text}");
    assert_eq!(text.matches("begins a chain").count(), 1, "{text}");
}

#[test]
fn others_judge_the_containers_inside() {
    let place = Place::new();
    place.scene.log(REQUEST);
    place.scene.log(RESPONSE);
    place.scene.stamp();
    place.run().unwrap();
    let (archive, names) = unzip(&fs::read(&files(&place.archives)[0]).unwrap());
    assert_eq!(names.last().unwrap(), "linkinginfo");
    assert_eq!(names.len(), 3);
    for name in names.iter().filter(|name| name.ends_with(".asice")) {
        let (container, _) = unzip(&fs::read(archive.path().join(name)).unwrap());
        judge_unpacked(container.path(), &place.scene.world);
    }
    // The chain, by other programs: the second digest from the first and the file.
    let linking = fs::read_to_string(archive.path().join("linkinginfo")).unwrap();
    let lines: Vec<&str> = linking.lines().collect();
    assert_eq!(lines[0], "- - SHA-512");
    let sum = |bytes: &Path| run(Command::new("sha512sum").arg(bytes))[..128].to_owned();
    let step = archive.path().join("step");
    put(&step, format!("{}{}", &lines[1][..128], sum(&archive.path().join(&names[1]))).as_bytes());
    assert_eq!(lines[2], format!("{} {}", sum(&step), names[1]));
}

#[test]
fn archives_are_grouped_by_whose_the_messages_are_and_rotated_by_length() {
    let place = Place::new();
    for n in 0..3 {
        place.scene.log(Message { id: &format!("c-{n}"), ..REQUEST });
        place.scene.log(Message { id: &format!("p-{n}"), role: Role::Provider, ..REQUEST });
    }
    place.scene.stamp();
    let settings = Settings { grouping: Grouping::Subsystem, rotate_at: 1, round: 2, ..Settings::default() };
    let summary = place.scene.runtime.block_on(place.archiver(settings).run()).unwrap();
    assert_eq!((summary.files.len(), summary.messages), (6, 6));
    let of = |group: &str| summary.files.iter().filter(|file| file.starts_with(group)).count();
    assert_eq!((of("mlog-EE_GOV_1001_portal-"), of("mlog-EE_GOV_1001_registry-")), (3, 3));
    let (code, text) = place.verdict();
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.matches("begins a chain").count(), 2, "each group has its chain: {text}");
}

/// A place that fails as often as it is told: before the file is there, or after.
struct Failing {
    place: Directory,
    before: AtomicU8,
    after: AtomicU8,
}

fn once(counter: &AtomicU8) -> Result<(), TargetError> {
    let failing = counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if failing.is_ok() { Err(TargetError::Away("as the test wants it".to_owned())) } else { Ok(()) }
}

impl Target for Failing {
    fn check(&self) -> Result<(), TargetError> {
        self.place.check()
    }

    fn temporary(&self) -> Result<File, TargetError> {
        self.place.temporary()
    }

    fn put(&self, parcel: &Parcel, file: &mut File) -> Result<(), TargetError> {
        once(&self.before)?;
        self.place.put(parcel, file)?;
        once(&self.after)
    }

    fn holds(&self, parcel: &Parcel) -> Result<bool, TargetError> {
        self.place.holds(parcel)
    }
}

#[test]
fn a_run_that_breaks_off_neither_loses_nor_doubles_a_message() {
    for (before, after) in [(1, 0), (0, 1), (1, 1), (2, 2)] {
        let place = Place::new();
        for n in 0..4 {
            place.scene.log(Message { id: &format!("q-{n}"), ..REQUEST });
        }
        place.scene.stamp();
        let target: Arc<dyn Target> = Arc::new(Failing {
            place: place.target(),
            before: AtomicU8::new(before),
            after: AtomicU8::new(after),
        });
        let settings = Settings { rotate_at: 1, ..Settings::default() };
        let mut broken = 0;
        // Each time with nothing in memory, as after a crash.
        while let Err(error) =
            place.scene.runtime.block_on(place.archiver_to(Arc::clone(&target), settings.clone()).run())
        {
            assert!(matches!(error, ArchivingError::Target(TargetError::Away(_))), "{error}");
            broken += 1;
        }
        assert_eq!(broken, before + after);
        let expected: Vec<String> = (0..4).map(|n| format!("q-{n}-request-{n}.asice")).collect();
        assert_eq!(place.containers(), expected);
        let (code, text) = place.verdict();
        assert_eq!(code, 0, "{text}");
    }
}

#[test]
fn a_place_that_is_away_gets_everything_when_it_is_back() {
    let place = Place::new();
    place.scene.log(REQUEST);
    place.scene.stamp();
    fs::remove_dir(&place.archives).unwrap();
    let error = place.run().unwrap_err();
    assert!(matches!(error, ArchivingError::Target(TargetError::Away(_))), "{error}");
    assert!(!place.archives.exists(), "it is not made: a disk may be missing there");
    fs::create_dir(&place.archives).unwrap();
    assert_eq!(place.run().unwrap().messages, 1);
    assert_eq!(place.verdict().0, 0);
}

#[test]
fn a_place_that_is_full_without_inodes_or_read_only_gets_everything_whole_when_it_is_not() {
    for (options, hurt) in [("size=256k", "full"), ("size=64m,nr_inodes=20", "inodes"), ("size=8m", "ro")] {
        let Some(disk) = Mounted::new(options) else { return };
        let mut place = Place::new();
        place.archives = disk.path().join("archives");
        fs::create_dir(&place.archives).unwrap();
        place.scene.log(REQUEST);
        place.scene.log(RESPONSE);
        place.scene.stamp();
        let ballast = disk.path().join("ballast");
        fs::create_dir(&ballast).unwrap();
        match hurt {
            "full" => {
                let mut file = File::create(ballast.join("0")).unwrap();
                while io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
            }
            "inodes" => while File::create(ballast.join(files(&ballast).len().to_string())).is_ok() {},
            _ => disk.remount("ro"),
        }
        for _ in 0..2 {
            let error = place.run().unwrap_err();
            assert!(matches!(error, ArchivingError::Target(TargetError::Away(_))), "{hurt}: {error}");
            assert!(files(&place.archives).is_empty(), "{hurt}");
        }
        if hurt == "ro" {
            disk.remount("rw");
        }
        fs::remove_dir_all(&ballast).unwrap();
        let summary = place.run().unwrap();
        assert_eq!((summary.files.len(), summary.messages), (1, 2), "{hurt}");
        assert_eq!(files(&place.archives).len(), 1, "{hurt}: nothing else is left");
        assert_eq!(place.verdict().0, 0, "{hurt}");
    }
}

#[test]
fn another_file_of_that_name_is_never_overwritten() {
    let place = Place::new();
    place.scene.log(REQUEST);
    place.scene.stamp();
    let name = place.run().unwrap().files.remove(0);
    let parcel = Parcel {
        name: name.clone(),
        length: 5,
        hash: cert_authority::crypto::digest(cert_authority::algorithm::DigestAlgorithm::Sha256, b"other"),
    };
    let mut file = place.target().temporary().unwrap();
    io::Write::write_all(&mut file, b"other").unwrap();
    assert!(
        matches!(place.target().put(&parcel, &mut file), Err(TargetError::Other(other)) if other == name)
    );
    assert_eq!(place.verdict().0, 0);
}

/// A disk that knows no files without a name in one of its directories, and on which another's file comes between.
#[derive(Default)]
struct Odd {
    named_only: Option<PathBuf>,
    comes_between: Option<&'static [u8]>,
    /// What stood in the directory, with its length, whenever something got a name.
    seen: Mutex<Vec<String>>,
}

impl Disk for Odd {
    fn create(&self, path: &Path) -> io::Result<File> {
        SystemDisk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<File> {
        SystemDisk.open(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        SystemDisk.create_dir(path)
    }
    fn temporary(&self, directory: &Path) -> io::Result<File> {
        if self.named_only.as_deref() == Some(directory) {
            return Err(rustix::io::Errno::OPNOTSUPP.into());
        }
        SystemDisk.temporary(directory)
    }
    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        SystemDisk.allocate(file, length)
    }
    fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        SystemDisk.write(file, data, offset)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        SystemDisk.sync(file)
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(directory)
    }
    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        SystemDisk.truncate(file, length)
    }
    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        let names = files(path.parent().unwrap());
        let names = names.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        self.seen.lock().unwrap().extend(names);
        if let Some(content) = self.comes_between {
            cert_authority::durable::write(path, content).unwrap();
        }
        SystemDisk.link(file, path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove_dir(path)
    }
    fn available(&self, directory: &Path) -> io::Result<u64> {
        SystemDisk.available(directory)
    }
}

/// An archive of that name, as it is made in a directory.
fn parcel(name: &str, directory: &Path) -> (Parcel, File) {
    let mut made = Directory::new(directory, directory).temporary().unwrap();
    io::Write::write_all(&mut made, b"archive").unwrap();
    let (hash, length) = gateway::archive::target::hash(&mut made).unwrap();
    (Parcel { name: name.to_owned(), length, hash }, made)
}

#[test]
fn from_another_file_system_an_archive_comes_without_a_name_until_it_is_whole() {
    let Some(elsewhere) = Mounted::new("size=1m") else { return };
    let place = Place::new();
    let disk = Arc::new(Odd::default());
    let target = Directory::on(disk.clone(), &place.archives, elsewhere.path());
    let (parcel, mut made) = parcel("mlog-1.zip", elsewhere.path());
    target.put(&parcel, &mut made).unwrap();
    assert_eq!(*disk.seen.lock().unwrap(), Vec::<String>::new(), "nothing had a name before");
    assert_eq!(files(&place.archives), [place.archives.join("mlog-1.zip")], "nothing else is left");
    assert!(target.holds(&parcel).unwrap());
}

#[test]
fn where_every_file_has_a_name_only_an_encrypted_archive_is_copied() {
    let Some(elsewhere) = Mounted::new("size=1m") else { return };
    let place = Place::new();
    let disk = Arc::new(Odd { named_only: Some(place.archives.clone()), ..Odd::default() });
    let target = Directory::on(disk.clone(), &place.archives, elsewhere.path());
    let (clear, mut made) = parcel("mlog-1.zip", elsewhere.path());
    let refused = target.put(&clear, &mut made).unwrap_err().to_string();
    assert!(refused.contains("only encrypted archives can go there"), "{refused}");
    assert!(files(&place.archives).is_empty() && disk.seen.lock().unwrap().is_empty());

    let (sealed, mut made) = parcel("mlog-1.zip.age", elsewhere.path());
    target.put(&sealed, &mut made).unwrap();
    assert_eq!(*disk.seen.lock().unwrap(), [".mlog-1.zip.age.part"]);
    assert_eq!(files(&place.archives), [place.archives.join("mlog-1.zip.age")], "nothing else is left");
    assert!(target.holds(&sealed).unwrap());
}

#[test]
fn a_file_that_comes_between_is_neither_overwritten_nor_taken_for_ours() {
    let Some(elsewhere) = Mounted::new("size=1m") else { return };
    for (content, named_only, own) in [
        (&b"foreign"[..], false, true),
        (b"foreign", false, false),
        (b"foreign", true, false),
        (b"archive", false, true),
        (b"archive", false, false),
        (b"archive", true, false),
    ] {
        let place = Place::new();
        let disk = Arc::new(Odd {
            named_only: named_only.then(|| place.archives.clone()),
            comes_between: Some(content),
            ..Odd::default()
        });
        let target = Directory::on(disk, &place.archives, elsewhere.path());
        let made_in = if own { place.archives.as_path() } else { elsewhere.path() };
        let (parcel, mut made) = parcel("mlog-1.zip.age", made_in);
        let put = target.put(&parcel, &mut made);
        if content == b"archive" {
            put.unwrap();
        } else {
            assert!(matches!(&put, Err(TargetError::Other(name)) if *name == parcel.name), "{put:?}");
        }
        assert_eq!(files(&place.archives), [place.archives.join("mlog-1.zip.age")]);
        assert_eq!(fs::read(place.archives.join("mlog-1.zip.age")).unwrap(), content);
    }
}

#[test]
fn archives_of_a_member_hold_the_messages_of_all_its_subsystems_and_no_others() {
    let place = Place::new();
    for n in 0..3 {
        let (one, two, other) = (format!("a-{n}"), format!("b-{n}"), format!("c-{n}"));
        place.scene.log(Message { id: &one, ..REQUEST });
        place.scene.log(Message { id: &two, role: Role::Provider, ..REQUEST });
        place.scene.log(Message { id: &other, client: "EE/GOV/1003/portal", ..REQUEST });
    }
    place.scene.stamp();
    let settings = Settings { grouping: Grouping::Member, ..Settings::default() };
    let summary = place.scene.runtime.block_on(place.archiver(settings).run()).unwrap();
    assert_eq!((summary.files.len(), summary.messages), (2, 9), "{summary:?}");
    let containers = |group: &str| -> Vec<String> {
        let file = summary.files.iter().find(|file| file.starts_with(group)).unwrap();
        let archive = read::read(File::open(place.archives.join(file)).unwrap(), None).unwrap();
        let name = |link: &str| link.split("-request-").next().unwrap().to_owned();
        archive.linking.files.iter().map(|link| name(&link.file)).collect()
    };
    // Of portal and registry, both of one member.
    assert_eq!(containers("mlog-EE_GOV_1001-"), ["a-0", "b-0", "a-1", "b-1", "a-2", "b-2"]);
    assert_eq!(containers("mlog-EE_GOV_1003-"), ["c-0", "c-1", "c-2"]);
    // The other member's are signed with the only key that there is here: they are grouped right, but not valid.
    let other = summary.files.iter().find(|file| file.starts_with("mlog-EE_GOV_1003-")).unwrap();
    assert_eq!(place.verdict().1.matches("begins a chain").count(), 2);
    fs::remove_file(place.archives.join(other)).unwrap();
    let (code, text) = place.verdict();
    assert_eq!((code, text.matches("begins a chain").count()), (0, 1), "{text}");
}

#[test]
fn messages_whose_key_was_destroyed_and_bodies_that_were_not_kept_do_not_hold_up_the_others() {
    let place = Place::new();
    place.scene.log(Message { keep: false, ..REQUEST });
    place.scene.stamp();
    assert_eq!(place.run().unwrap().messages, 1, "without its body");
    assert_eq!(place.verdict().0, 0);

    place.scene.log(Message { id: "q-2", ..REQUEST });
    place.scene.stamp();
    let key = place.scene.log.vault().seal(b"x").unwrap().key_id().to_owned();
    place.scene.log.vault().destroy_key(&key).unwrap();
    assert_eq!(place.run().unwrap(), Summary::default());
    place.scene.log(Message { id: "q-3", ..REQUEST });
    place.scene.stamp();
    assert_eq!(place.run().unwrap().messages, 1);
    assert!(place.containers().iter().any(|name| name.starts_with("q-3-")));
    assert_eq!(place.verdict().0, 0);
}

#[test]
fn chains_of_archives_that_lack_one_are_told() {
    let place = Place::new();
    for n in 0..3 {
        place.scene.log(Message { id: &format!("q-{n}"), ..REQUEST });
        place.scene.stamp();
        place.run().unwrap();
    }
    let all: Vec<_> = files(&place.archives)
        .into_iter()
        .map(|path| (path.display().to_string(), read::read(File::open(path).unwrap(), None)))
        .collect();
    let middle = all.iter().position(|(_, archive)| {
        let files = &archive.as_ref().unwrap().linking.files;
        files[0].file.starts_with("q-1")
    });
    let mut all = all;
    drop(all.remove(middle.unwrap()));
    let judged = chains::judge(all, &[]);
    assert_eq!(judged.iter().filter(|judged| judged.is_valid()).count(), 1);
    assert!(judged.iter().any(|judged| matches!(judged.place, Some(chains::Place::Missing(_)))));
}

#[test]
fn a_running_gateway_says_that_the_place_is_away_and_archives_when_it_is_back() {
    let place = Place::new();
    place.scene.log(REQUEST);
    place.scene.stamp();
    fs::remove_dir(&place.archives).unwrap();
    let (status, (stop, stopping)) = (Status::default(), tokio::sync::watch::channel(false));
    let archiver = place.archiver(Settings::default());
    let every = Duration::from_millis(5);
    let clock = Arc::new(FixedClock::new(evidence_support::now()));
    let schedule = Schedule { every, keep_bodies: None, keep_records: None, clock };
    let running = place.scene.runtime.spawn(task::run(archiver, schedule, status.clone(), stopping));
    let wait_for = |wanted: Result<(), String>| {
        for _ in 0..2000 {
            if status.health() == wanted {
                return;
            }
            std::thread::sleep(every);
        }
        panic!("{:?} instead of {wanted:?}", status.health());
    };
    wait_for(Err("the place of the archives is away".to_owned()));
    fs::create_dir(&place.archives).unwrap();
    wait_for(Ok(()));
    stop.send(true).unwrap();
    place.scene.runtime.block_on(running).unwrap();
    assert_eq!(place.containers(), ["q-1-request-0.asice"]);
}

#[test]
fn the_command_archives_while_no_gateway_runs() {
    let place = Place::new();
    place.scene.log(REQUEST);
    place.scene.stamp();
    let settings = place.scene.directory.path().join("gateway.toml");
    let text = "[server]\nid = \"EE/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
                [log]\ndirectory = \"log\"\nkey = \"kek\"\nreserve = \"1 MiB\"\n\
                [archive]\ndirectory = \"archives\"\n";
    put(&settings, text.as_bytes());
    let mut out = Vec::new();
    let error = archive(&settings, &mut out).unwrap_err();
    assert_eq!(error, "a gateway is running, and archives by itself");

    let Place { scene, archives } = place;
    let Scene { directory, log, .. } = scene;
    drop(log);
    archive(&settings, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with("1 messages in 1 archives\n"), "{out}");
    assert_eq!(files(&archives).len(), 1);
    drop(directory);
}

#[test]
fn only_what_is_stamped_archived_and_old_is_cleaned() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let place = Place::new();
    place.scene.log(REQUEST);
    let keys = place.scene.log.vault().keys().unwrap();
    let keep = 30 * DAY;
    let clean_at = |archiver: &Archiver<MessageLog>, days: u32| {
        let at = evidence_support::now() + days * DAY;
        place.scene.runtime.block_on(clean(&place.scene.log, archiver.ledger(), keep, at)).unwrap()
    };
    let mut archiver = place.archiver(Settings::default());
    let none: [String; 0] = [];
    place.scene.runtime.block_on(archiver.run()).unwrap();
    assert_eq!(clean_at(&archiver, 100), none, "without a time-stamp nothing is archived");
    place.scene.stamp();
    assert_eq!(clean_at(&archiver, 100), none, "stamped, not archived");
    place.scene.runtime.block_on(archiver.run()).unwrap();
    assert_eq!(clean_at(&archiver, 29), none, "too young");
    // One message of the same day that is not archived keeps the key.
    place.scene.log(Message { id: "q-2", ..REQUEST });
    assert_eq!(clean_at(&archiver, 100), none);
    place.scene.stamp();
    place.scene.runtime.block_on(archiver.run()).unwrap();
    assert_eq!(clean_at(&archiver, 100), keys);
    assert_eq!(place.scene.log.vault().keys().unwrap(), none);
    assert_eq!(place.verdict().0, 0, "the archives have it all");
    place.scene.runtime.block_on(archiver.run()).unwrap();
    assert_eq!(place.containers().len(), 2, "and get nothing twice");
}

#[test]
fn the_keys_of_all_organisations_of_a_day_are_cleaned_each_when_its_own_messages_are_archived() {
    let place = Place::grouped(KeyGrouping::Subsystem);
    let archiver = || {
        let mut archiver = place.archiver(Settings::default());
        place.scene.runtime.block_on(archiver.run()).unwrap();
        archiver
    };
    let keys = || place.scene.log.vault().keys().unwrap();
    let clean = |archiver: &Archiver<MessageLog>| {
        let at = evidence_support::now() + Duration::from_secs(100 * 24 * 3600);
        let cleaned = clean(&place.scene.log, archiver.ledger(), Duration::ZERO, at);
        place.scene.runtime.block_on(cleaned).unwrap()
    };
    place.scene.log(REQUEST);
    let first = keys();
    place.scene.stamp();
    place.scene.log(Message { id: "q-2", role: Role::Provider, ..REQUEST });
    assert_eq!(keys().len(), 2);
    assert_eq!(clean(&archiver()), first);
    place.scene.stamp();
    assert_eq!(clean(&archiver()).len(), 1);
    assert_eq!(keys().len(), 0);
}

#[test]
fn nothing_is_archived_or_cleaned_while_the_place_is_away() {
    let place = Place::new();
    place.scene.log(REQUEST);
    place.scene.stamp();
    place.run().unwrap();
    let away = place.archives.with_extension("away");
    #[expect(clippy::disallowed_methods, reason = "a directory of this test")]
    fs::rename(&place.archives, &away).unwrap();
    let (status, (stop, stopping)) = (Status::default(), tokio::sync::watch::channel(false));
    let clock = Arc::new(FixedClock::new(evidence_support::now() + Duration::from_secs(1 << 30)));
    let schedule = Schedule {
        every: Duration::from_millis(5),
        keep_bodies: Some(Duration::ZERO),
        keep_records: None,
        clock,
    };
    let archiver = place.archiver(Settings::default());
    let running = place.scene.runtime.spawn(task::run(archiver, schedule, status.clone(), stopping));
    let keys = || place.scene.log.vault().keys().unwrap().len();
    let wait_until = |done: &dyn Fn() -> bool| {
        for _ in 0..2000 {
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{:?}", status.health());
    };
    wait_until(&|| status.health().is_err());
    assert_eq!(keys(), 1, "there is nothing to archive, and yet nothing is cleaned");
    #[expect(clippy::disallowed_methods, reason = "a directory of this test")]
    fs::rename(&away, &place.archives).unwrap();
    wait_until(&|| keys() == 0);
    stop.send(true).unwrap();
    place.scene.runtime.block_on(running).unwrap();
}
