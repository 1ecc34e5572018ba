//! Archives in an object store of another make: what is written is read back byte for byte, nothing is overwritten, and
//! whatever happens on the way, each message is in exactly one archive.
//!
//! ```text
//! logged messages ──► archiver ──► a way that does harm ──► moto, with signatures and rights checked ◄── boto3
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod bucket_support;
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use bucket_support::{Harm, Server, Way};
use cert_authority::clock::FixedClock;
use gateway::{
    archive::{
        archiver::{Archiver, ArchivingError, Settings},
        bucket::{Address, Bucket},
        encryption::Recipients,
        read,
        target::{self, Parcel, Target, TargetError},
        task::{self, Schedule, Status},
    },
    cli::archive::{VerifyArguments, verify},
    messagelog::{LogStore as _, MessageLog},
};
use metaservice_support::*;

struct Place {
    scene: Scene,
    server: Server,
    way: Way,
}

impl Place {
    fn new() -> Option<Self> {
        let server = Server::start()?;
        let (scene, way) = (Scene::new(), Way::to(server.port));
        let place = Self { scene, server, way };
        place.credentials(&place.server.id, &place.server.secret);
        Some(place)
    }

    fn credentials(&self, id: &str, secret: &str) {
        let file = self.scene.directory.path().join("credentials");
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        put(&file, text.as_bytes());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn address(&self) -> Address {
        Address {
            endpoint: format!("http://127.0.0.1:{}", self.way.port),
            bucket: "archives".to_owned(),
            prefix: "ss1/log".to_owned(),
            region: "us-east-1".to_owned(),
            credentials: self.scene.directory.path().join("credentials"),
            authorities: Vec::new(),
            patience: Duration::from_secs(2),
        }
    }

    fn bucket_at(&self, address: Address) -> Bucket {
        Bucket::new(address, self.scene.directory.path().join("log/bodies"))
    }

    fn bucket(&self) -> Bucket {
        self.bucket_at(self.address())
    }

    fn archiver(&self, settings: Settings) -> Archiver<MessageLog> {
        Archiver::new(self.scene.log.clone(), self.scene.reader(), Arc::new(self.bucket()), settings)
    }

    fn run(&self) -> Result<usize, ArchivingError> {
        let summary = self.scene.runtime.block_on(self.archiver(Settings::default()).run());
        summary.map(|summary| summary.messages)
    }

    /// Fetches everything there is, by another program.
    fn fetched(&self) -> Vec<PathBuf> {
        let folder = self.scene.directory.path().join("fetched");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let fetch = |key: String| {
            let file = folder.join(key.strip_prefix("ss1/log/").unwrap());
            self.server.get(&key, &file);
            file
        };
        self.server.list().into_iter().map(fetch).collect()
    }

    /// All archives are valid, and hold these containers.
    fn assert_holds(&self, names: &[&str]) {
        let files = self.fetched();
        let read = |file: &PathBuf| read::read(File::open(file).unwrap(), None).unwrap().linking.files;
        let mut found: Vec<String> = files.iter().flat_map(read).map(|link| link.file).collect();
        found.sort();
        assert_eq!(found, names);
        let arguments =
            VerifyArguments { files, conf: Some(self.scene.configuration()), ..VerifyArguments::default() };
        let mut out = Vec::new();
        assert_eq!(verify(&arguments, &mut out).unwrap(), 0, "{}", String::from_utf8_lossy(&out));
    }
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn away(error: &ArchivingError) -> String {
    let ArchivingError::Target(TargetError::Away(reason)) = error else { panic!("{error}") };
    reason.clone()
}

#[test]
fn what_is_written_is_read_back_byte_for_byte_by_another_program() {
    let Some(place) = Place::new() else { return };
    let big = noise(20 << 20);
    place.scene.log(Message { body: Some(&big), ..REQUEST });
    place.scene.log(RESPONSE);
    place.scene.stamp();
    assert_eq!(place.run().unwrap(), 2);
    assert!(place.way.requests() > 6, "several parts were sent: {}", place.way.requests());
    place.assert_holds(&["q-1-request-0.asice", "q-1-response-1.asice"]);
    let file = &place.fetched()[0];
    let (unpacked, _) = unzip(&fs::read(file).unwrap());
    let (container, _) = unzip(&fs::read(unpacked.path().join("q-1-request-0.asice")).unwrap());
    assert_eq!(fs::read(container.path().join("attachment1")).unwrap(), big);
    judge_unpacked(container.path(), &place.scene.world);

    place.scene.log(Message { id: "q-2", ..REQUEST });
    place.scene.stamp();
    assert_eq!(place.run().unwrap(), 1, "and the next one goes on after it");
    place.assert_holds(&["q-1-request-0.asice", "q-1-response-1.asice", "q-2-request-5.asice"]);
    assert_eq!(place.server.uploads(), 0);
}

#[test]
fn encrypted_archives_go_there_too() {
    let Some(place) = Place::new() else { return };
    let key = place.scene.directory.path().join("auditor.age");
    run(Command::new("age-keygen").arg("-o").arg(&key));
    let recipient = run(Command::new("age-keygen").arg("-y").arg(&key)).trim().to_owned();
    let settings =
        Settings { recipients: Some(Recipients::parse(&[recipient]).unwrap()), ..Settings::default() };
    place.scene.log(REQUEST);
    place.scene.stamp();
    let summary = place.scene.runtime.block_on(place.archiver(settings).run()).unwrap();
    assert!(summary.files[0].ends_with(".zip.age"), "{summary:?}");
    let files = place.fetched();
    let arguments = VerifyArguments {
        files,
        conf: Some(place.scene.configuration()),
        identity: Some(key),
        ..VerifyArguments::default()
    };
    let mut out = Vec::new();
    assert_eq!(verify(&arguments, &mut out).unwrap(), 0, "{}", String::from_utf8_lossy(&out));
}

#[test]
fn a_store_that_is_away_gets_everything_when_it_is_back() {
    let Some(place) = Place::new() else { return };
    place.scene.log(REQUEST);
    place.scene.stamp();
    for harm in [Harm::Close, Harm::Fail, Harm::Hang] {
        place.way.rule(move |_, _| harm);
        let began = tokio::time::Instant::now();
        let reason = away(&place.run().unwrap_err());
        println!("{harm:?}: {reason}");
        assert!(began.elapsed() < Duration::from_secs(10), "{harm:?} takes {:?}", began.elapsed());
    }
    place.way.rule(|_, _| Harm::None);
    // Nobody listens there at all.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = place.bucket_at(Address { endpoint: format!("http://{nobody}"), ..place.address() });
    let _inside = place.scene.runtime.enter();
    assert!(matches!(refused.check(), Err(TargetError::Away(_))));
    assert!(place.server.list().is_empty());
    assert_eq!(place.run().unwrap(), 1);
    place.assert_holds(&["q-1-request-0.asice"]);
}

#[test]
fn an_archive_is_whole_and_there_once_wherever_the_way_breaks() {
    let Some(place) = Place::new() else { return };
    let mut names: Vec<String> = Vec::new();
    let mut steps = 0;
    for n in 0.. {
        let number = place.scene.log(Message { id: &format!("q-{n:02}"), ..REQUEST });
        names.push(format!("q-{n:02}-request-{}.asice", base32(number)));
        place.scene.stamp();
        // Everything from the n-th request on is lost; the last one is carried out, but not answered.
        place.way.rule(move |request, _| match request.cmp(&n) {
            std::cmp::Ordering::Less => Harm::None,
            std::cmp::Ordering::Equal => Harm::LoseAnswer,
            std::cmp::Ordering::Greater => Harm::Close,
        });
        let broken = place.run();
        place.way.rule(|_, _| Harm::None);
        if broken.is_ok() {
            steps = n;
            break;
        }
        away(&broken.unwrap_err());
        place.run().unwrap();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        place.assert_holds(&names);
    }
    println!("broken off at each of {steps} requests");
    assert!(steps >= 6, "list, look, begin, part, complete, read back: {steps}");
}

fn base32(number: u64) -> String {
    let digit = |n: u64| char::from_digit(u32::try_from(n).unwrap(), 32).unwrap();
    if number < 32 {
        digit(number).to_string()
    } else {
        format!("{}{}", base32(number / 32), digit(number % 32))
    }
}

#[test]
fn wrong_credentials_are_told_and_never_shown() {
    let Some(place) = Place::new() else { return };
    place.scene.log(REQUEST);
    place.scene.stamp();
    for (id, secret) in
        [(&*place.server.id, "wrong-secret-0123456789"), ("AKIAUNKNOWN", &*place.server.secret)]
    {
        place.credentials(id, secret);
        let reason = away(&place.run().unwrap_err());
        assert!(reason.contains("refuses our credentials"), "{reason}");
        assert!(!reason.contains(secret) && !reason.contains(id), "{reason}");
        let shown = format!("{:?}", place.bucket());
        assert!(!shown.contains(secret), "{shown}");
    }
    let file = place.scene.directory.path().join("credentials");
    for (text, mode, said) in [
        ("aws_access_key_id = a\naws_secret_access_key = b\n", 0o640, "mode 0640"),
        ("aws_access_key_id = a\n", 0o600, "has no aws_secret_access_key"),
        ("", 0o600, "has no aws_access_key_id"),
    ] {
        put(&file, text.as_bytes());
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let reason = away(&place.run().unwrap_err());
        assert!(reason.contains(said), "{reason}");
    }
    fs::remove_file(&file).unwrap();
    away(&place.run().unwrap_err());
    // The right ones, while nothing is started anew.
    place.credentials(&place.server.id, &place.server.secret);
    assert_eq!(place.run().unwrap(), 1);
}

#[test]
fn a_bucket_that_is_not_there_is_no_empty_one() {
    let Some(place) = Place::new() else { return };
    let _inside = place.scene.runtime.enter();
    let bucket = place.bucket_at(Address { bucket: "elsewhere".to_owned(), ..place.address() });
    let Err(TargetError::Away(reason)) = bucket.check() else { panic!("it is taken for empty") };
    println!("{reason}");
}

/// A file with its parcel.
fn parcel(bucket: &Bucket, name: &str, content: &[u8]) -> (File, Parcel) {
    let mut file = bucket.temporary().unwrap();
    file.write_all(content).unwrap();
    let (hash, length) = target::hash(&mut file).unwrap();
    (file, Parcel { name: name.to_owned(), length, hash })
}

#[test]
fn an_object_of_that_name_is_never_overwritten_not_even_by_a_hair() {
    let Some(place) = Place::new() else { return };
    let _inside = place.scene.runtime.enter();
    let (mut file, wanted) = parcel(&place.bucket(), "mlog-1.zip", b"ours");
    // As long as ours, and of another length.
    for (key, other) in [("ss1/log/mlog-1.zip", "them"), ("ss1/log/mlog-2.zip", "others")] {
        place.server.put(key, other);
        let name = key.strip_prefix("ss1/log/").unwrap().to_owned();
        let parcel = Parcel { name: name.clone(), ..wanted.clone() };
        let put = place.bucket().put(&parcel, &mut file);
        assert!(matches!(put, Err(TargetError::Other(ref told)) if *told == name), "{put:?}");
        assert!(!place.bucket().holds(&parcel).unwrap());
    }
    // It comes between our looking and our writing: when all is sent, before we say that it is complete.
    let parcel = Parcel { name: "mlog-3.zip".to_owned(), ..wanted };
    let bucket = place.bucket();
    let server = Arc::new(Mutex::new(place.server));
    let at_the_end = Arc::clone(&server);
    place.way.rule(move |_, line| {
        if line.starts_with("POST") && line.contains("uploadId=") {
            at_the_end.lock().unwrap().put("ss1/log/mlog-3.zip", "came between");
        }
        Harm::None
    });
    let put = bucket.put(&parcel, &mut file);
    assert!(matches!(put, Err(TargetError::Other(_))), "{put:?}");
    let there = place.scene.directory.path().join("there");
    for (name, text) in [("1", "them"), ("2", "others"), ("3", "came between")] {
        server.lock().unwrap().get(&format!("ss1/log/mlog-{name}.zip"), &there);
        assert_eq!(fs::read_to_string(&there).unwrap(), text);
    }
}

#[test]
fn the_same_archive_put_twice_is_there_once() {
    let Some(place) = Place::new() else { return };
    let _inside = place.scene.runtime.enter();
    let (mut file, parcel) = parcel(&place.bucket(), "mlog-1.zip", b"ours");
    assert!(!place.bucket().holds(&parcel).unwrap());
    for _ in 0..2 {
        place.bucket().put(&parcel, &mut file).unwrap();
        assert!(place.bucket().holds(&parcel).unwrap());
    }
    assert_eq!(place.server.list(), ["ss1/log/mlog-1.zip"]);
}

#[test]
fn nothing_is_cleaned_while_the_store_is_away_and_the_gateway_says_so() {
    let Some(place) = Place::new() else { return };
    place.scene.log(REQUEST);
    place.scene.stamp();
    place.run().unwrap();
    place.way.rule(|_, _| Harm::Close);
    let (status, (stop, stopping)) = (Status::default(), tokio::sync::watch::channel(false));
    let clock = Arc::new(FixedClock::new(evidence_support::now() + Duration::from_secs(1 << 30)));
    let schedule = Schedule {
        every: Duration::from_millis(20),
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
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}", status.health());
    };
    wait_until(&|| status.health() == Err("the place of the archives is away".to_owned()));
    assert_eq!(keys(), 1, "there is nothing to archive, and yet nothing is cleaned");
    assert!(place.scene.log.ready().is_ok(), "exchanges go on");
    place.way.rule(|_, _| Harm::None);
    wait_until(&|| keys() == 0);
    stop.send(true).unwrap();
    place.scene.runtime.block_on(running).unwrap();
    place.assert_holds(&["q-1-request-0.asice"]);
}
