//! `log verify` against the archives of the log: each one that is missing, doubled, foreign, swapped or of other messages
//! is named.
//!
//! ```text
//! log ──► archives of two groups, two in each ──► somebody works on them ──► log verify names the first bad one
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use cert_authority::{algorithm::DigestAlgorithm::Sha512, crypto::digest};
use conf::snapshot::GlobalConf;
use evidence_support::now;
use gateway::{
    archive::{
        archiver::{Archiver, Grouping, Settings},
        encryption::{Identities, Recipients},
        read,
        target::{self, Directory},
    },
    audit::{
        archives::Shelves,
        verify::{Grounds, Report, verify},
    },
    evidence::signature::{SignatureBundle, sign_batch},
    message::digests::PartDigests,
    messagelog::{LogStore as _, MessageRecord, Part, Record, Role, record::ArchiveRecord},
};
use log_support::config;
use metaservice_support::*;

struct Archived {
    scene: Scene,
    conf: GlobalConf,
    folder: PathBuf,
    /// Their names and the records that say that they are in their place, in that order.
    noted: Vec<(String, u64)>,
}

impl Archived {
    fn new() -> Self {
        Self::with(Settings { grouping: Grouping::Subsystem, ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        let scene = Scene::new();
        let folder = scene.directory.path().join("archives");
        fs::create_dir(&folder).unwrap();
        let target = Arc::new(Directory::new(&folder, scene.directory.path().join("log/bodies")));
        let mut archiver = Archiver::new(scene.log.clone(), scene.reader(), target, settings);
        for round in 0..2 {
            for n in 0..2 {
                let id = format!("q-{round}-{n}");
                scene.log(Message { id: &id, ..REQUEST });
                scene.log(Message { id: &id, role: Role::Provider, ..RESPONSE });
            }
            scene.stamp();
            scene.runtime.block_on(archiver.run()).unwrap();
        }
        // One message that has a time-stamp of its own, which its container shows in the signature.
        scene.log(Message { id: "alone", ..REQUEST });
        scene.stamp();
        scene.runtime.block_on(archiver.run()).unwrap();
        let conf = GlobalConf::load_dir(scene.configuration()).unwrap();
        let reader = scene.reader();
        let noted = (0..reader.len()).filter_map(|number| {
            let Record::Archive(archive) = reader.get(number).unwrap()?.record else { return None };
            archive.begun.map(|_| (archive.file, number))
        });
        Self { noted: noted.collect(), scene, conf, folder }
    }

    fn path(&self, archive: usize) -> PathBuf {
        self.folder.join(&self.noted[archive].0)
    }

    fn report(&self, identity: Option<&Path>) -> Report {
        self.report_in(vec![self.folder.clone()], identity)
    }

    fn report_in(&self, folders: Vec<PathBuf>, identity: Option<&Path>) -> Report {
        let identities = identity.map_or_else(Identities::none, |file| Identities::load(file).unwrap());
        let shelves = Shelves::open(folders, identities).unwrap();
        let grounds = Grounds { conf: Some(&self.conf), archives: Some(&shelves), ..Grounds::default() };
        verify(&config(self.scene.directory.path()).directory, grounds, &mut |_| {}).unwrap()
    }

    /// The first bad one is at this record, and this is said of it; gives how many are bad.
    fn assert_first(&self, record: u64, said: &str) -> usize {
        let report = self.report(None);
        let first = report.problems.first().unwrap_or_else(|| panic!("not found: {said}"));
        assert_eq!(first.record, record, "{:?}", report.problems);
        assert!(first.what.contains(said), "{said}: {:?}", report.problems);
        report.problems.len()
    }
}

fn swap(a: &Path, b: &Path) {
    let (first, second) = (fs::read(a).unwrap(), fs::read(b).unwrap());
    put(a, &second);
    put(b, &first);
}

#[test]
fn archives_that_nobody_touched_are_all_right_wherever_they_lie() {
    let archived = Archived::new();
    assert_eq!(archived.noted.len(), 5);
    let report = archived.report(None);
    assert_eq!(report.problems, []);
    assert_eq!((report.archives, report.archives_named, report.archives_sealed), (5, 5, 0));

    // The older ones have been moved to another disk.
    let elsewhere = archived.scene.directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for archive in 0..2 {
        fs::copy(archived.path(archive), elsewhere.join(&archived.noted[archive].0)).unwrap();
        fs::remove_file(archived.path(archive)).unwrap();
    }
    let report = archived.report_in(vec![archived.folder.clone(), elsewhere], None);
    assert_eq!((report.problems.len(), report.archives), (0, 5));
}

#[test]
fn a_missing_archive_is_named_at_the_record_that_says_it_is_there() {
    for missing in 0..5 {
        let archived = Archived::new();
        fs::remove_file(archived.path(missing)).unwrap();
        let (name, record) = &archived.noted[missing];
        assert_eq!(archived.assert_first(*record, &format!("{name}: it is missing")), 1);
    }
}

#[test]
fn a_doubled_archive_is_none_that_the_log_has_made() {
    let archived = Archived::new();
    let copy = "mlog-20260101000000-20260101000000-0123456789abcdef.zip";
    fs::copy(archived.path(1), archived.folder.join(copy)).unwrap();
    let end = archived.scene.reader().len();
    assert_eq!(archived.assert_first(end, &format!("{copy} is none that this log has made")), 1);
}

#[test]
fn an_archive_of_another_log_is_foreign() {
    let (archived, other) = (Archived::new(), Archived::new());
    let name = &other.noted[3].0;
    assert!(archived.noted.iter().all(|(known, _)| known != name));
    fs::copy(other.path(3), archived.folder.join(name)).unwrap();
    let end = archived.scene.reader().len();
    assert_eq!(archived.assert_first(end, "none that this log has made"), 1);
}

#[test]
fn swapped_and_changed_archives_are_not_those_that_were_put_there() {
    let archived = Archived::new();
    swap(&archived.path(1), &archived.path(3));
    let said = "the file is not the one that was put there";
    assert_eq!(archived.assert_first(archived.noted[1].1, said), 2);
    swap(&archived.path(1), &archived.path(3));
    assert_eq!(archived.report(None).problems, []);

    let bytes = fs::read(archived.path(2)).unwrap();
    let (mut changed, shorter) = (bytes.clone(), &bytes[..bytes.len() - 1]);
    changed[bytes.len() / 2] ^= 1;
    for wrong in [&changed, shorter] {
        put(&archived.path(2), wrong);
        assert_eq!(archived.assert_first(archived.noted[2].1, said), 1);
    }
    // A right one in one folder does not excuse a wrong one in another.
    let elsewhere = archived.scene.directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    put(&elsewhere.join(&archived.noted[2].0), &bytes);
    let report = archived.report_in(vec![elsewhere, archived.folder.clone()], None);
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
}

/// Makes the log say that `file` is an archive of these records.
fn claim(archived: &Archived, file: &Path, records: &[u64], group: Option<&str>) -> u64 {
    let judged = read::read(File::open(file).unwrap(), None).unwrap();
    let (hash, length) = target::hash(&mut File::open(file).unwrap()).unwrap();
    let bytes = |hex: &str| {
        let algorithm = Sha512;
        cert_authority::crypto::Digest::from_computed(algorithm, &hex::decode(hex).unwrap()).unwrap()
    };
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let record = ArchiveRecord {
        group: group.map(str::to_owned),
        begun: None,
        previous: None,
        digest: bytes(&judged.last),
        hash,
        length,
        complete_below: 0,
        records: records.to_vec(),
        file: name.clone(),
    };
    fs::copy(file, archived.folder.join(&name)).unwrap();
    let append = |record| archived.scene.runtime.block_on(archived.scene.log.append(record, Vec::new()));
    let begun = append(Record::Archive(record.clone())).unwrap().sequence;
    append(Record::Archive(ArchiveRecord { begun: Some(begun), ..record })).unwrap().sequence
}

#[test]
fn an_archive_whose_containers_are_not_of_the_messages_in_the_log_is_found_even_when_the_log_names_it() {
    let (archived, other) = (Archived::new(), Archived::new());
    // The same names of containers; signed anew, so not what was logged.
    let first = archived.scene.log(Message { id: "later", ..REQUEST });
    let same = other.scene.log(Message { id: "later", ..REQUEST });
    assert_eq!(first, same, "so that the containers have one name");
    archived.scene.stamp();
    other.scene.stamp();
    let target = Arc::new(Directory::new(&other.folder, other.scene.directory.path().join("log/bodies")));
    let settings = Settings { grouping: Grouping::Member, ..Settings::default() };
    let mut archiver = Archiver::new(other.scene.log.clone(), other.scene.reader(), target, settings);
    let file = other.scene.runtime.block_on(archiver.run()).unwrap().files.remove(0);
    let noted = claim(&archived, &other.folder.join(file), &[first], Some("EE/GOV/1"));
    assert_eq!(archived.assert_first(noted, "is not what this log knows as later-request-"), 1);
}

/// Logs a message without a body that is signed already, as the request "later"; gives its number.
fn log_signed(scene: &Scene, content: &[u8], bundle: SignatureBundle) -> u64 {
    let (client, service) =
        ("EE/GOV/1001/portal".parse().unwrap(), "EE/GOV/1001/registry/records".parse().unwrap());
    let mut record =
        MessageRecord::new(Role::Consumer, "later", "r-1", client, service, bundle.signature_xml);
    (record.hash_chain, record.hash_chain_result) = (bundle.hash_chain, bundle.hash_chain_result);
    let length = u64::try_from(content.len()).unwrap();
    record.parts.push(Part::new("application/x-road-rest-request", length, digest(Sha512, content)));
    let sealed = scene.log.vault().of(&record.client).seal(content).unwrap();
    let append = scene.log.append(Record::Request(record), vec![Some(sealed)]);
    scene.runtime.block_on(append).unwrap().sequence
}

/// Both have the same signature, so that it does not tell one from the other.
#[test]
fn a_container_of_another_message_of_the_same_batch_is_not_the_one_of_the_message_in_the_log() {
    let (archived, other) = (Archived::new(), Archived::new());
    let Scene { world, key, runtime, .. } = &archived.scene;
    let messages = [b"GET\r\n/a\r\n", b"GET\r\n/b\r\n"];
    let digests = messages.map(|message| PartDigests::of_message(Sha512, message));
    let mut bundles =
        runtime.block_on(sign_batch(&digests.each_ref(), key, &world.keys, now())).unwrap().into_iter();
    let first = log_signed(&archived.scene, messages[0], bundles.next().unwrap());
    let same = log_signed(&other.scene, messages[1], bundles.next().unwrap());
    assert_eq!(first, same, "so that the containers have one name");
    archived.scene.stamp();
    other.scene.stamp();
    let target = Arc::new(Directory::new(&other.folder, other.scene.directory.path().join("log/bodies")));
    let settings = Settings { grouping: Grouping::Member, ..Settings::default() };
    let mut archiver = Archiver::new(other.scene.log.clone(), other.scene.reader(), target, settings);
    let file = other.scene.runtime.block_on(archiver.run()).unwrap().files.remove(0);
    let noted = claim(&archived, &other.folder.join(file), &[first], Some("EE/GOV/1"));
    assert_eq!(archived.assert_first(noted, "is not what this log knows as later-request-"), 1);
}

#[test]
fn a_log_that_says_another_number_of_messages_or_one_twice_is_found() {
    let archived = Archived::new();
    let first = archived.scene.log(Message { id: "later", ..REQUEST });
    let file = archived.folder.join("../mlog-claimed.zip");
    fs::copy(archived.path(0), &file).unwrap();
    let noted = claim(&archived, &file, &[first], Some("EE/GOV/1"));
    assert_eq!(archived.assert_first(noted, "another number of containers"), 1);

    let archived = Archived::new();
    let file = archived.folder.join("../mlog-claimed.zip");
    fs::copy(archived.path(0), &file).unwrap();
    let noted = claim(&archived, &file, &[0, 2], Some("EE/GOV/1"));
    let problems = archived.assert_first(noted, "record 0 is in another archive");
    assert_eq!(problems, 2, "both messages of it");
}

#[test]
fn an_archive_that_does_not_go_on_after_the_last_one_is_found() {
    let archived = Archived::with(Settings::default());
    let first = archived.scene.log(Message { id: "later", ..REQUEST });
    let file = archived.folder.join("../mlog-claimed.zip");
    fs::copy(archived.path(0), &file).unwrap();
    let noted = claim(&archived, &file, &[first], None);
    archived.assert_first(noted, "it does not go on after the last one of its group");
}

#[test]
fn encrypted_archives_are_judged_by_their_digest_and_with_an_identity_by_all() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("auditor.age");
    run(Command::new("age-keygen").arg("-o").arg(&key));
    let recipient = run(Command::new("age-keygen").arg("-y").arg(&key)).trim().to_owned();
    let recipients = Some(Recipients::parse(&[recipient]).unwrap());
    let archived = Archived::with(Settings { recipients, ..Settings::default() });
    let report = archived.report(None);
    assert_eq!((report.problems.len(), report.archives, report.archives_sealed), (0, 0, 3));
    let report = archived.report(Some(&key));
    assert_eq!((report.problems.len(), report.archives, report.archives_sealed), (0, 3, 0));
    swap(&archived.path(0), &archived.path(1));
    assert_eq!(archived.assert_first(archived.noted[0].1, "not the one that was put there"), 2);
}

#[test]
fn the_command_takes_the_archives_of_the_settings_and_says_when_it_judged_none() {
    let archived = Archived::new();
    archived.scene.configuration();
    let settings = archived.scene.directory.path().join("gateway.toml");
    let text = "[server]\nid = \"EE/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
                [log]\ndirectory = \"log\"\nkey = \"kek\"\n[archive]\ndirectory = \"archives\"\n";
    put(&settings, text.as_bytes());
    let command = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
        let output = command.arg("--config").arg(&settings).args(["log", "verify"]).args(more).output();
        let output = output.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    };
    let (code, said) = command(&[]);
    assert!(code == 0 && said.contains("archives       5 of 5 valid\n"), "{said}");
    let (code, said) = command(&["--no-archives"]);
    assert!(code == 0 && said.contains("archives       5 named; their files not judged"), "{said}");

    fs::remove_file(archived.path(4)).unwrap();
    let (code, said) = command(&[]);
    let (name, record) = &archived.noted[4];
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("the first bad record is {record}\n")), "{said}");
    assert!(said.contains(&format!("the archive {name}: it is missing")), "{said}");
    let (code, said) = command(&["--archives", "nowhere"]);
    assert!(code == 2 && said.contains("nowhere"), "nothing is judged: {said}");
    fs::remove_dir_all(&archived.folder).unwrap();
    let (code, said) = command(&[]);
    assert!(code == 2 && said.contains("archives"), "a place that is away is no verdict: {said}");
}
