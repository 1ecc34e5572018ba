//! Evidence that somebody has changed: containers (T22, T41) and the message log (T30).

use std::io::{Cursor, Write as _};
use std::path::Path;
use std::sync::Arc;

use conf::snapshot::GlobalConf;
use gateway::audit::verify::{Grounds, verify};
use gateway::evidence::asic::verify_container;
use gateway::metaservice::container::LoggedContainer;

use super::case::{Answer, Case, Expected};
use crate::world::{Ask, RECORDS, World, soon};

const INVALID: &str = "asic_invalid_container";

/// A container of a request with a body, as the log gives it.
async fn container(world: &World) -> (Arc<GlobalConf>, Vec<u8>) {
    let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "the body of it").id("container")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let record = world.consumer.records("container")[0].sequence;
    soon("it is stamped", || world.consumer.timestamp_of(record).is_some()).await;
    let log = world.consumer.log();
    let written = LoggedContainer::open(&log, record).unwrap().write(Cursor::new(Vec::new())).unwrap();
    (Arc::new(world.consumer.conf()), written.into_inner())
}

fn judged(conf: &Arc<GlobalConf>, name: String, bytes: Vec<u8>, code: &str) -> Case {
    let conf = Arc::clone(conf);
    Case::doing(
        name,
        move |_| {
            let answer = match verify_container(&bytes, &conf) {
                Err(not_a_zip) => Answer::verdict(INVALID, not_a_zip.to_string()),
                Ok(report) if report.valid => Answer::verdict("valid", report.message),
                Ok(report) => Answer::verdict(report.code.unwrap_or_default(), report.message),
            };
            Box::pin(std::future::ready(answer))
        },
        Expected::Verdict(code.to_owned()),
    )
}

/// Where these bytes stand.
fn places(within: &[u8], what: &[u8]) -> Vec<usize> {
    (0..within.len().saturating_sub(what.len())).filter(|at| within[*at..].starts_with(what)).collect()
}

fn with(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + other.len()].copy_from_slice(other);
    bytes
}

/// T41.
pub(super) async fn containers(world: &World) -> Vec<Case> {
    let (conf, good) = container(world).await;
    let mut cases = vec![judged(&conf, "unchanged".to_owned(), good.clone(), "valid")];
    for (entry, code) in [
        ("mimetype", "asic_mime_type_not_found"),
        ("message.xml", "asic_message_not_found"),
        ("META-INF/signatures.xml", "asic_signature_not_found"),
        ("sig-hashchainresult.xml", "asic_hash_chain_result_not_found"),
        ("sig-hashchain.xml", "asic_hash_chain_not_found"),
    ] {
        // Local headers carry the name behind 30 bytes, the central directory behind 46.
        let headers = |magic: &[u8], skip: usize| -> Vec<usize> {
            let starts = places(&good, magic).into_iter().map(|at| at + skip);
            starts
                .filter(|at| {
                    good[*at..].starts_with(entry.as_bytes())
                        && usize::from(good[*at - skip + if skip == 30 { 26 } else { 28 }]) == entry.len()
                })
                .collect()
        };
        let (local, central) = (headers(b"PK\x03\x04", 30), headers(b"PK\x01\x02", 46));
        assert_eq!((local.len(), central.len()), (1, 1), "{entry}");
        for (what, fill) in [
            ("an absolute name", "/"),
            ("a name that climbs", "../"),
            ("a drive", "C:"),
            ("a backslash", "\\"),
            ("a NUL", "\0"),
            ("other letters", "X"),
            ("a control character", "\u{1b}"),
        ] {
            let mut other = entry.as_bytes().to_vec();
            other[..fill.len()].copy_from_slice(fill.as_bytes());
            cases.push(judged(
                &conf,
                format!("{entry}: {what} in its local header"),
                with(&good, local[0], &other),
                INVALID,
            ));
            cases.push(judged(
                &conf,
                format!("{entry}: {what} in the directory"),
                with(&good, central[0], &other),
                INVALID,
            ));
            let both = with(&with(&good, local[0], &other), central[0], &other);
            let code = if what == "other letters" { code } else { INVALID };
            cases.push(judged(&conf, format!("{entry}: {what} in both"), both, code));
        }
        // Sizes, checksum, method and flags, in one of the two places.
        for (what, at) in [("flags", 6), ("method", 8), ("checksum", 14), ("packed size", 18), ("size", 22)] {
            let place = local[0] - 30 + at;
            let other = [good[place] ^ 1];
            cases.push(judged(
                &conf,
                format!("{entry}: another {what} in its local header"),
                with(&good, place, &other),
                INVALID,
            ));
            let place = central[0] - 46 + at + 2;
            let other = [good[place] ^ 1];
            cases.push(judged(
                &conf,
                format!("{entry}: another {what} in the directory"),
                with(&good, place, &other),
                INVALID,
            ));
        }
    }
    let end = *places(&good, b"PK\x05\x06").last().unwrap();
    for (what, bytes) in [
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("without its end", good[..end].to_vec()),
        ("with bytes in front", [b"front".as_slice(), &good].concat()),
        ("with bytes behind", [&good, b"behind".as_slice()].concat()),
        ("twice", [&good[..], &good[..]].concat()),
        ("with another number of entries", with(&good, end + 10, &[good[end + 10] ^ 1])),
        ("with another place of its directory", with(&good, end + 16, &[good[end + 16] ^ 1])),
        ("with another length of its directory", with(&good, end + 12, &[good[end + 12] ^ 1])),
        ("on another disk", with(&good, end + 4, &[1])),
        ("empty", Vec::new()),
        ("nonsense", b"nonsense".to_vec()),
        ("an empty ZIP", [b"PK\x05\x06".as_slice(), &[0; 18]].concat()),
    ] {
        let code = if what == "an empty ZIP" { "asic_mime_type_not_found" } else { INVALID };
        cases.push(judged(&conf, format!("a container {what}"), bytes, code));
    }
    cases
}

/// T30: one byte of the log, one file of it, is another.
pub(super) async fn log(world: &World) -> Vec<Case> {
    for n in 0..4 {
        let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "logged").id(&format!("log-{n}"))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let last = world.provider.records("log-3")[1].sequence;
    soon("it is stamped", || world.provider.timestamp_of(last).is_some()).await;
    let folder = tempfile::tempdir().unwrap();
    copied(&world.provider.folder.join("log"), &folder.path().join("log"));
    let mut whole = std::fs::read(folder.path().join(SEGMENT)).unwrap();
    // Segments are preallocated: what is behind the last record is nobody's, and a page of it is enough here.
    let length = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    whole.truncate(length.next_multiple_of(4096) + 4096);
    let log = Arc::new(Copied { folder, whole, conf: world.provider.conf() });
    let mut cases = vec![changed(&log, "unchanged".to_owned(), |_| {}, "0 problems")];
    for n in 0..40 {
        let at = (length - 1) * n / 40;
        let name = format!("byte {at} of {SEGMENT} is another");
        cases.push(changed(&log, name, move |bytes| bytes[at] ^= 1, "found"));
    }
    for n in 1..10 {
        let at = length * n / 10;
        let name = format!("{SEGMENT} ends after {at} bytes");
        cases.push(changed(&log, name, move |bytes| bytes.truncate(at), "found"));
        let name = format!("100 bytes of {SEGMENT} from {at} on are gone");
        let cut = move |bytes: &mut Vec<u8>| drop(bytes.drain(at..(at + 100).min(bytes.len())));
        cases.push(changed(&log, name, cut, "found"));
    }
    cases
}

/// The one segment of the log, from its folder's parent on.
const SEGMENT: &str = "log/segments/00000001.seg";

/// A copy of a log, of which one segment is another in each case.
struct Copied {
    folder: tempfile::TempDir,
    /// The segment as it was.
    whole: Vec<u8>,
    conf: GlobalConf,
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().flatten() {
        let (path, other) = (file.path(), to.join(file.file_name()));
        if path.is_dir() {
            copied(&path, &other);
        } else if path.is_file() {
            std::fs::copy(&path, &other).unwrap();
        }
    }
}

/// The copy of the log with its segment changed, and what `log verify` says of it.
fn changed(
    log: &Arc<Copied>,
    name: String,
    change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static,
    verdict: &str,
) -> Case {
    let log = Arc::clone(log);
    Case::doing(
        name,
        move |_| {
            let mut bytes = log.whole.clone();
            change(&mut bytes);
            std::fs::File::create(log.folder.path().join(SEGMENT)).unwrap().write_all(&bytes).unwrap();
            let grounds = Grounds { conf: Some(&log.conf), ..Grounds::default() };
            let answer = match verify(&log.folder.path().join("log"), grounds, &mut |_| {}) {
                Err(_) => Answer::verdict("found", "it cannot be read"),
                Ok(report) if report.problems.is_empty() => Answer::verdict("0 problems", ""),
                Ok(_) => Answer::verdict("found", ""),
            };
            Box::pin(std::future::ready(answer))
        },
        Expected::Verdict(verdict.to_owned()),
    )
}
