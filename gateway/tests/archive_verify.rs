//! Archives of X-Road, each with its verdict, and archives that somebody has worked on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;

use std::io::{Cursor, Read as _, Write as _};
use std::path::PathBuf;

use cert_authority::{algorithm::DigestAlgorithm, crypto::digest};
use evidence_support::conformance;
use gateway::archive::{
    chains::{self, Place},
    linking::{Chain, Link, LinkingInfo},
    read::{Archive, ArchiveError, read},
};
use gateway::cli::archive::{VerifyArguments, verify};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// File, and how the reason begins for which it is refused; empty: its chain is right.
const ARCHIVES: [(&str, &str); 7] = [
    ("message-archive-0.zip", ""),
    ("message-archive-1.zip", ""),
    ("mlog-WITH_LINKINGINFO.zip", ""),
    ("mlog-NO_LINKINGINFO.zip", "there is no linking information"),
    ("mlog-WITH_INVALID_LINKINGINFO.zip", "the digest chain breaks at 1234567890-request-OUxhMqY0Kx.asice"),
    ("mlog-NO_ASIC_CONTAINERS.zip", "there are no containers"),
    (
        "mlog-EXCESSIVE_FILES_IN_LINKINGINFO.zip",
        "8888888888-request-OUxhMqY0Kx.asice stands in the linking information only",
    ),
];

fn folder() -> Option<PathBuf> {
    conformance("xroad-7.8.0/archives")
}

fn judge(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    read(Cursor::new(bytes), None)
}

fn refused(bytes: &[u8]) -> String {
    judge(bytes).unwrap_err().to_string()
}

#[test]
fn the_conformance_archives_have_their_verdicts() {
    let Some(folder) = folder() else { return };
    let mut right = 0;
    for (file, reason) in ARCHIVES {
        let found = match judge(&std::fs::read(folder.join(file)).unwrap()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        println!("{file}: {}", if found.is_empty() { "valid" } else { &found });
        assert_eq!(found.is_empty(), reason.is_empty(), "{file}: {found}");
        assert!(found.starts_with(reason), "{file}: {found}");
        right += 1;
    }
    assert_eq!(right, std::fs::read_dir(&folder).unwrap().count(), "each file there has a verdict here");
    println!("archives: {right} of {}", ARCHIVES.len());
}

#[test]
fn the_command_judges_the_chain_over_files_in_any_order() {
    let Some(folder) = folder() else { return };
    let run = |files: &[&str], after: &[&str], json| {
        let arguments = VerifyArguments {
            files: files.iter().map(|file| folder.join(file)).collect(),
            after: after.iter().map(|digest| (*digest).to_owned()).collect(),
            json,
            ..VerifyArguments::default()
        };
        let mut out = Vec::new();
        let code = verify(&arguments, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    };
    let (first, second) = ("message-archive-0.zip", "message-archive-1.zip");
    let (code, text) = run(&[second, first], &[], false);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("begins a chain") && text.contains("goes on after"), "{text}");
    assert_eq!(run(&[first], &[], false).0, 0);

    // What the original is told with the file: the right digest, a wrong one, none.
    let last = "9011ab557706b5050584d6888af7b390e5350f4edad296bd7a582aa51732aac7\
                f49a4ec44dd361027945ade0de8b8cf607fb7b7d11f17b0560d44b965c358eaa";
    assert_eq!(run(&[second], &[last], false).0, 0);
    assert_eq!(run(&[second], &[&last.replacen('9', "8", 1)], false).0, 1);
    let (code, text) = run(&[second], &[], false);
    assert_eq!(code, 1);
    assert!(text.contains("which is missing here"), "{text}");

    let (code, text) = run(&["mlog-NO_LINKINGINFO.zip", first], &[], true);
    assert_eq!(code, 1);
    let verdicts: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(verdicts[0]["valid"], false);
    assert_eq!(verdicts[1]["valid"], true);
    assert_eq!(verdicts[1]["last_digest"], last);
}

#[test]
fn the_same_archive_twice_is_a_fork() {
    let Some(folder) = folder() else { return };
    let bytes = |file: &str| std::fs::read(folder.join(file)).unwrap();
    let archives = ["message-archive-0.zip", "message-archive-1.zip", "message-archive-1.zip"];
    let all = archives.iter().enumerate();
    let all = all.map(|(n, file)| (n.to_string(), judge(&bytes(file)))).collect();
    let places: Vec<_> = chains::judge(all, &[]).into_iter().map(|judged| judged.place.unwrap()).collect();
    assert_eq!(places, [Place::First, Place::After("0".into()), Place::Fork("1".into())]);
}

/// An archive of these containers, as it should be.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut chain = Chain::after(DigestAlgorithm::Sha512, None);
    let links = files.iter().map(|(file, bytes)| Link {
        digest: chain.add(&digest(DigestAlgorithm::Sha512, bytes)).to_owned(),
        file: (*file).to_owned(),
    });
    let linking =
        LinkingInfo { previous: None, algorithm: DigestAlgorithm::Sha512, files: links.collect() }.to_text();
    zip(&[files, &[("linkinginfo", linking.as_bytes())]].concat())
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (file, bytes) in files {
        zip.start_file(*file, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let read = |index| {
        let mut entry = zip.by_index(index).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (String::from_utf8(entry.name_raw().to_vec()).unwrap(), bytes)
    };
    (0..3).map(read).collect()
}

fn rebuilt(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    zip(&entries.iter().map(|(file, bytes)| (file.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

const TWO: [(&str, &[u8]); 2] =
    [("a-request-0.asice", b"one one one"), ("b-request-1.asice", b"two two two")];

#[test]
fn containers_that_were_changed_swapped_taken_out_or_put_in_are_found() {
    let good = archive(&TWO);
    assert_eq!(judge(&good).unwrap().linking.files.len(), 2);
    let parts = entries(&good);

    let mut changed = parts.clone();
    changed[1].1[0] ^= 1;
    assert_eq!(refused(&rebuilt(&changed)), "the digest chain breaks at b-request-1.asice");

    let mut swapped = parts.clone();
    swapped.swap(0, 1);
    assert_eq!(refused(&rebuilt(&swapped)), "the digest chain breaks at b-request-1.asice");

    let taken = [parts[1].clone(), parts[2].clone()];
    assert_eq!(refused(&rebuilt(&taken)), "a-request-0.asice stands in the linking information only");

    let mut added = parts.clone();
    added.push(("c-request-2.asice".to_owned(), b"three".to_vec()));
    assert_eq!(refused(&rebuilt(&added)), "c-request-2.asice stands in the archive only");

    let mut beside = parts;
    beside.push(("readme.txt".to_owned(), b"three".to_vec()));
    assert!(refused(&rebuilt(&beside)).contains("readme.txt does not belong there"));
}

#[test]
fn archives_that_are_read_differently_by_different_readers_are_refused() {
    let good = archive(&TWO);
    let replaced = |from: &[u8], to: &[u8], nth: usize| {
        let mut bytes = good.clone();
        let at = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
        let at = at.map(|(at, _)| at).nth(nth).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    // The first hit is the local header, then comes the linking information, and last the directory.
    assert!(refused(&replaced(b"a-request-0", b"x-request-0", 0)).contains("local header"));
    assert!(
        refused(&replaced(b"a-request-0.asice", b"b-request-1.asice", 2)).starts_with("the archive is not")
    );
    let mut before = b"something".to_vec();
    before.extend_from_slice(&good);
    assert!(refused(&before).starts_with("the archive is not acceptable"));
    assert!(
        refused(&replaced(b"one one", b"one 0ne", 0)).contains("is damaged"),
        "the checksum is looked at"
    );
    for cut in [0, 1, 50, good.len() / 2, good.len() - 1] {
        assert!(!refused(&good[..cut]).is_empty(), "{cut}");
    }
}

#[test]
fn no_bit_of_an_archive_can_be_turned_without_being_seen_in_containers_or_chain() {
    let good = archive(&TWO);
    let was = judge(&good).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Times and attributes of entries prove nothing, and nothing hangs on them.
        if let Ok(archive) = judge(&bytes) {
            assert_eq!(archive, was, "bit {bit}");
        }
    }
}

#[test]
fn what_is_no_container_is_told_with_a_configuration() {
    let Some(data) = conformance("xroad-7.8.0") else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mlog.zip");
    let container = std::fs::read(data.join("containers/valid-signed-message.asice")).unwrap();
    let conf = Some(data.join("global-configuration/globalconf_good2_v3"));
    let run = |files: &[(&str, &[u8])]| {
        cert_authority::durable::write(&file, &archive(files)).unwrap();
        let arguments =
            VerifyArguments { files: vec![file.clone()], conf: conf.clone(), ..VerifyArguments::default() };
        let mut out = Vec::new();
        let code = verify(&arguments, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    };
    let (code, text) = run(&[("a-request-0.asice", &container), ("b-request-1.asice", &container)]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2 of 2 containers"), "{text}");
    let (code, text) = run(&[("a-request-0.asice", &container), ("b-request-1.asice", b"no container")]);
    assert_eq!(code, 1);
    assert!(text.contains("1 of 2 containers") && text.contains("asic_invalid_container"), "{text}");
}
