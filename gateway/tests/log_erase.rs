//! Erasing a data key: the bodies are gone from every file, and everything else is still proven.
//!
//! ```text
//! bodies with a mark ──► log ──stamp, archive──► erase ──► the mark is nowhere, the rest verifies
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cert_authority::clock::{Clock, FixedClock, UnixTime};
use evidence_support::now;
use gateway::{
    archive::{
        archiver::{Archiver, Settings},
        target::Directory,
    },
    cli::{archive, erase},
    evidence::asic::verify_container,
    messagelog::{KeyGrouping, LogError, Record, Role, audit::audit, service::read_only},
    metaservice::container::{ContainerError, LoggedContainer},
};
use log_support::config;
use metaservice_support::*;

const MARK: &[u8] = b"Ms Example, born 1970-01-01, owes 1234.56";

/// More than goes into a segment.
fn large() -> Vec<u8> {
    MARK.iter().copied().cycle().take(300_000).collect()
}

/// Every file below a directory that can be read, those of this process without a name too.
fn all_files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path)
            } else {
                found.push((path.clone(), fs::read(path).unwrap()))
            }
        }
    }
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        let of = fs::read_link(&path).unwrap_or_default();
        if of.starts_with(directory) && of.to_string_lossy().ends_with("(deleted)") {
            // Other tests of this process open and close meanwhile.
            found.extend(fs::read(path).ok().map(|bytes| (of, bytes)));
        }
    }
    found
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The files in which these bytes are.
fn files_with(directory: &Path, part: &[u8]) -> Vec<PathBuf> {
    all_files(directory).into_iter().filter(|(_, bytes)| holds(bytes, part)).map(|(path, _)| path).collect()
}

fn settings(directory: &Path) -> PathBuf {
    let file = directory.join("gateway.toml");
    let text = "[server]\nid = \"EE/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
                [log]\ndirectory = \"log\"\nkey = \"kek\"\nreserve = \"1 MiB\"\n";
    put(&file, text.as_bytes());
    file
}

#[test]
fn an_erased_body_is_in_no_file_and_everything_else_verifies() {
    let scene = Scene::new();
    let large = large();
    scene.log(Message { body: Some(MARK), ..REQUEST });
    scene.log(Message { id: "q-2", body: Some(&large), ..REQUEST });
    scene.stamp();
    let archives = scene.directory.path().join("archives");
    fs::create_dir(&archives).unwrap();
    let target = Arc::new(Directory::new(&archives, &archives));
    let mut archiver = Archiver::new(scene.log.clone(), scene.reader(), target, Settings::default());
    scene.runtime.block_on(archiver.run()).unwrap();
    drop(archiver);
    let kept = LoggedContainer::open(&scene.reader(), 1).unwrap().stream(Vec::new()).unwrap();
    let before = scene.reader().get(1).unwrap().unwrap();
    let configuration = scene.configuration();
    let key = scene.log.vault().seal(b"x").unwrap().key_id().to_owned();

    let Scene { directory, log, world: _world, .. } = scene;
    let log_directory = directory.path().join("log");
    let sealed = fs::read_dir(log_directory.join("bodies").join(&key)).unwrap().next().unwrap().unwrap();
    let sealed = fs::read(sealed.path()).unwrap()[..64].to_vec();
    let wrapped = fs::read(log_directory.join("keys").join(format!("{key}.key"))).unwrap();
    assert_eq!(files_with(&log_directory, &sealed).len(), 1);
    drop(log);

    let mut out = Vec::new();
    let arguments = erase::Arguments {
        key: Some(key.clone()),
        reason: "decision 7 of the data protection officer".to_owned(),
        who: Some("officer".to_owned()),
        ..erase::Arguments::default()
    };
    erase::run(&settings(directory.path()), &arguments, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out, format!("{key}: destroyed, with the bodies of 2 messages\n"));

    // Neither the body, nor its sealed form, nor the key is in any file of the log.
    for gone in [MARK, &sealed, &wrapped, &wrapped[20..52]] {
        assert_eq!(files_with(&log_directory, gone), Vec::<PathBuf>::new());
    }
    // Frames, tree and the rest of the bytes: the checker, from the files alone.
    let verdict = audit(&log_directory, &mut ()).unwrap();
    assert!(verdict.findings.is_empty(), "{verdict:?}");
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(now()));
    let reader = read_only(&config(directory.path()), &clock).unwrap();
    assert_eq!(reader.get(1).unwrap().unwrap(), before, "the record is as it was");
    let material = reader.export(1).unwrap().unwrap();
    assert!(material.parts.iter().all(Option::is_none) && material.timestamp.is_some());
    assert!(matches!(LoggedContainer::open(&reader, 1), Err(ContainerError::MessageGone(1))));
    // Signature and time-stamp, with the message from elsewhere: what was exported, and what was archived.
    let conf = conf::snapshot::GlobalConf::load_dir(&configuration).unwrap();
    let report = verify_container(&kept, &conf).unwrap();
    assert!(report.valid, "{report:?}");
    let mut container = zip::ZipArchive::new(io::Cursor::new(&kept)).unwrap();
    let mut signature = Vec::new();
    container.by_name("META-INF/signatures.xml").unwrap().read_to_end(&mut signature).unwrap();
    assert_eq!(signature, material.message.signature, "the log still has the signature that is valid there");
    let files = fs::read_dir(&archives).unwrap().map(|entry| entry.unwrap().path()).collect();
    let arguments =
        archive::VerifyArguments { files, conf: Some(configuration), ..archive::VerifyArguments::default() };
    assert_eq!(archive::verify(&arguments, &mut Vec::new()).unwrap(), 0);
    // And who did it, and why, stands in the log.
    let last = reader.get(reader.len() - 1).unwrap().unwrap();
    let Record::Access(access) = last.record else { panic!("{last:?}") };
    assert_eq!((access.who.as_str(), access.action.as_str()), ("officer", "erase"));
    assert_eq!(access.reason.as_deref(), Some("decision 7 of the data protection officer"));
    assert_eq!(access.records, [0, 1]);
}

#[test]
fn only_keys_of_days_before_the_date_are_destroyed() {
    let scene = Scene::new();
    scene.log(REQUEST);
    let Scene { directory, log, .. } = scene;
    let keys = log.vault().keys().unwrap();
    assert_eq!(keys.len(), 1);
    drop(log);
    let settings = settings(directory.path());
    let run = |date: &str| {
        let before = UnixTime::from_rfc3339(&format!("{date}T00:00:00Z")).ok();
        let arguments = erase::Arguments { before, reason: "old".to_owned(), ..erase::Arguments::default() };
        let mut out = Vec::new();
        erase::run(&settings, &arguments, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    // The key is of 2026-02-03.
    assert_eq!(run("2026-02-03"), "");
    assert!(run("2026-02-04").starts_with(&keys[0]));
    assert_eq!(run("2026-02-04"), "", "nothing is left to destroy");
}

#[test]
fn a_key_that_is_not_there_or_a_log_in_use_is_told() {
    let scene = Scene::new();
    scene.log(REQUEST);
    let settings = settings(scene.directory.path());
    let arguments = |key: &str| erase::Arguments {
        key: Some(key.to_owned()),
        reason: "test".to_owned(),
        ..erase::Arguments::default()
    };
    let error = erase::run(&settings, &arguments("2026-02-03.00000000"), &mut Vec::new()).unwrap_err();
    assert_eq!(error, "a gateway is running: stop it first");
    let Scene { directory, log, .. } = scene;
    let before = log.reader().len();
    drop(log);
    for key in ["2026-02-03.00000000", "../kek", ""] {
        let error = erase::run(&settings, &arguments(key), &mut Vec::new()).unwrap_err();
        assert_eq!(error, LogError::KeyGone(key.to_owned()).to_string());
    }
    assert!(directory.path().join("kek").exists());
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(now()));
    assert_eq!(read_only(&config(directory.path()), &clock).unwrap().len(), before);
}

#[test]
fn the_bodies_of_one_organisation_are_erased_and_those_of_others_stay() {
    let owners = ["EE/GOV/1001/portal", "EE/GOV/1001/registry"];
    for (grouping, erased, left) in [
        (KeyGrouping::Subsystem, owners[0], vec![false, true]),
        (KeyGrouping::Subsystem, owners[1], vec![true, false]),
        (KeyGrouping::Member, "EE/GOV/1001", vec![false, false]),
    ] {
        let scene = Scene::grouped(grouping);
        let large = large();
        for (id, role) in [("q-1", Role::Consumer), ("q-2", Role::Provider)] {
            scene.log(Message { id, role, body: Some(&large), ..REQUEST });
            scene.log(Message { id, role, body: Some(b"small"), ..RESPONSE });
        }
        scene.stamp();
        let keys = scene.log.vault().keys().unwrap();
        assert_eq!(keys.len(), if grouping == KeyGrouping::Member { 1 } else { 2 });
        let Scene { directory, log, world: _world, .. } = scene;
        drop(log);

        let run = |of: &str, before: Option<&str>| {
            let arguments = erase::Arguments {
                of: Some(of.parse().unwrap()),
                before: before.map(|day| UnixTime::from_rfc3339(&format!("{day}T00:00:00Z")).unwrap()),
                reason: "it has left".to_owned(),
                ..erase::Arguments::default()
            };
            let mut out = Vec::new();
            erase::run(&settings(directory.path()), &arguments, &mut out)
                .map(|()| String::from_utf8(out).unwrap())
        };
        assert!(run("EE/GOV/1002", None).unwrap_err().contains("no data key is of EE/GOV/1002 alone"));
        assert!(run(erased, Some("1999-01-01")).is_err(), "none of its keys is so old");
        let said = run(erased, None).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");

        let verdict = audit(&directory.path().join("log"), &mut ()).unwrap();
        assert!(verdict.findings.is_empty(), "{verdict:?}");
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(now()));
        let reader = read_only(&config(directory.path()), &clock).unwrap();
        for number in 0..4 {
            let there = match LoggedContainer::open(&reader, number) {
                Ok(_) => true,
                Err(ContainerError::MessageGone(gone)) if gone == number => false,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(there, left[usize::try_from(number / 2).unwrap()], "{grouping:?} {erased} {number}");
        }
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_body_is_in_a_file_or_a_line_while_it_is_under_way_or_after() {
    let lines = Lines::default();
    let writer = lines.clone();
    let collected = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(collected).unwrap();
    let scene = Scene::new();
    let directory = scene.directory.path();
    let large = large();
    let mut body = scene.log.vault().writer().unwrap();
    scene.runtime.block_on(body.write(&large)).unwrap();
    let unnamed = |files: &[(PathBuf, Vec<u8>)]| {
        files.iter().filter(|(path, _)| path.to_string_lossy().ends_with("(deleted)")).count()
    };
    let under_way = all_files(directory);
    assert!(unnamed(&under_way) > 0, "the body is in a file without a name");
    assert!(!under_way.iter().any(|(_, bytes)| holds(bytes, MARK)), "which nobody can read");
    let body = scene.runtime.block_on(body.finish()).unwrap();
    assert_eq!(body.read().unwrap(), large, "but us");
    assert_eq!(files_with(directory, MARK), Vec::<PathBuf>::new());
    drop(body);

    scene.log(Message { body: Some(MARK), ..REQUEST });
    scene.log(Message { id: "q-2", body: Some(&large), ..REQUEST });
    scene.stamp();
    assert_eq!(files_with(directory, MARK), Vec::<PathBuf>::new());
    // Archives hold what was said; until they are whole they have no name.
    let archives = directory.join("archives");
    fs::create_dir(&archives).unwrap();
    let target = Arc::new(Directory::new(&archives, &archives));
    let mut archiver = Archiver::new(scene.log.clone(), scene.reader(), target, Settings::default());
    scene.runtime.block_on(archiver.run()).unwrap();
    assert_eq!(files_with(&directory.join("log"), MARK), Vec::<PathBuf>::new());
    let lines = lines.0.lock().unwrap();
    assert!(!lines.is_empty() && !holds(&lines, MARK));
}
