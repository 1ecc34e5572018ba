//! Archives that are encrypted: who can read them, also by another program (Debian's `age`), and what damage to one is
//! seen.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use gateway::{
    archive::{
        archiver::{Archiver, Settings},
        encryption::Recipients,
        target::Directory,
    },
    cli::archive::{VerifyArguments, verify},
};
use metaservice_support::*;

/// A key made by `age-keygen`: its file, and its public half.
fn keygen(file: &Path) -> String {
    run(Command::new("age-keygen").arg("-o").arg(file));
    run(Command::new("age-keygen").arg("-y").arg(file)).trim().to_owned()
}

/// A log, archived for the first of two keys; the archive and the keys' files.
fn archived() -> (Scene, PathBuf, [PathBuf; 2]) {
    let scene = Scene::new();
    scene.log(REQUEST);
    scene.log(Message { body: Some(b"secret of a citizen"), ..RESPONSE });
    scene.stamp();
    let archives = scene.directory.path().join("archives");
    fs::create_dir(&archives).unwrap();
    let keys = ["auditor.age", "stranger.age"].map(|name| scene.directory.path().join(name));
    let [recipient, _] = [keygen(&keys[0]), keygen(&keys[1])];
    let settings =
        Settings { recipients: Some(Recipients::parse(&[recipient]).unwrap()), ..Settings::default() };
    let target = Directory::new(&archives, scene.directory.path().join("log/bodies"));
    let mut archiver = Archiver::new(scene.log.clone(), scene.reader(), Arc::new(target), settings);
    let summary = scene.runtime.block_on(archiver.run()).unwrap();
    assert_eq!(summary.messages, 2);
    let archive = archives.join(&summary.files[0]);
    (scene, archive, keys)
}

fn verdict(scene: &Scene, archive: &Path, identity: Option<&Path>) -> Result<(u8, String), String> {
    let arguments = VerifyArguments {
        files: vec![archive.to_owned()],
        conf: Some(scene.configuration()),
        identity: identity.map(Path::to_owned),
        ..VerifyArguments::default()
    };
    let mut out = Vec::new();
    verify(&arguments, &mut out).map(|code| (code, String::from_utf8(out).unwrap()))
}

#[test]
fn only_the_recipient_reads_it() {
    let (scene, archive, [auditor, stranger]) = archived();
    assert!(archive.to_string_lossy().ends_with(".zip.age"), "{}", archive.display());
    let bytes = fs::read(&archive).unwrap();
    for clear in [&b"asice"[..], b"linkinginfo", b"secret"] {
        assert!(!bytes.windows(clear.len()).any(|window| window == clear));
    }
    let (code, text) = verdict(&scene, &archive, Some(&auditor)).unwrap();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2 of 2 containers"), "{text}");
    for identity in [None, Some(&*stranger)] {
        let error = verdict(&scene, &archive, identity).unwrap_err();
        assert!(error.contains("not for any of the identities"), "{error}");
    }
    let error = verdict(&scene, &archive, Some(&archive)).unwrap_err();
    assert!(error.starts_with(&archive.display().to_string()), "no identity file: {error}");
}

#[test]
fn another_program_decrypts_it_to_the_archive_that_verifies() {
    let (scene, archive, [auditor, _]) = archived();
    let clear = scene.directory.path().join("clear.zip");
    run(Command::new("age").arg("-d").arg("-i").arg(&auditor).arg("-o").arg(&clear).arg(&archive));
    let (code, text) = verdict(&scene, &clear, None).unwrap();
    assert_eq!(code, 0, "{text}");
    let (unpacked, names) = unzip(&fs::read(&clear).unwrap());
    assert_eq!(names.last().unwrap(), "linkinginfo");
    let (container, _) = unzip(&fs::read(unpacked.path().join(&names[0])).unwrap());
    judge_unpacked(container.path(), &scene.world);
}

#[test]
fn a_damaged_one_is_not_valid_wherever_the_damage_is() {
    let (scene, archive, [auditor, _]) = archived();
    let bytes = fs::read(&archive).unwrap();
    let header = bytes.windows(4).position(|window| window == b"--- ").unwrap() + 48 + 16;
    let damaged = scene.directory.path().join("damaged.zip.age");
    for at in [header, header + 100, usize::midpoint(header, bytes.len()), bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        put(&damaged, &changed);
        let (code, text) = verdict(&scene, &damaged, Some(&auditor)).unwrap();
        assert_eq!(code, 1, "byte {at}: {text}");
    }
    for length in [bytes.len() - 1, bytes.len() - 100] {
        put(&damaged, &bytes[..length]);
        let (code, text) = verdict(&scene, &damaged, Some(&auditor)).unwrap();
        assert_eq!(code, 1, "{length} bytes: {text}");
    }
}

#[test]
fn settings_name_their_recipients() {
    for (texts, said) in [(&["age1nobody"][..], "is no age recipient"), (&[], "no recipient")] {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        let error = Recipients::parse(&texts).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}
