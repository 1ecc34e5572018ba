//! G10: the log verified beside reading and hashing the same bytes; with signatures beside so many verifications; and what a
//! proof about one record takes as the log grows.
//!
//! Just written, the log lies in memory where memory suffices.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{FixedClock, SystemClock};
use cert_authority::crypto::Hasher;
use cert_authority::keys::KeyType;
use conf::identifier::ClientId;
use gateway::audit::verify::{Grounds, verify};
use gateway::evidence::signature::{SignatureBundle, TrustCache, sign, verify as judge};
use gateway::message::digests::PartDigests;
use gateway::messagelog::MessageLog;
use gateway::messagelog::audit::audit;
use gateway::messagelog::tiles::Tiles;
use gateway::transparency::Shown;

use super::{Bound, Place, Row, Scale, Section, count, figure, median};
use crate::filled::{Filling, append_signed, config};
use crate::world::{World, at_once, digests, now};

/// Messages with real signatures.
const SIGNED: u64 = 10_000;
/// Proofs of a round.
const PROOFS: u64 = 200;
/// What the small log has whose proofs are compared.
const SMALL: u64 = 10_000;

/// Measures.
///
/// # Errors
/// In words: the disk; a log that does not verify.
pub async fn measure(scale: &Scale, place: &Place) -> Result<Section, String> {
    let folder = place.directory.join("verification");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let log =
        MessageLog::create(config(&folder), Arc::new(SystemClock)).map_err(|error| error.to_string())?;
    Filling::USUAL.append(&log, 0, SMALL, |_| {}).await;
    let few = proofs(&log, scale.rounds)?;
    Filling::USUAL.append(&log, SMALL, scale.records, |_| {}).await;
    let many = proofs(&log, scale.rounds)?;
    drop(log);
    let mut rows = vec![
        frames(&folder.join("log"), scale)?,
        signatures(&folder, scale).await?,
        Row {
            goal: "G10",
            what: format!("time of a consistency proof among {} records beside 10^4", scale.records),
            // log2 of 10^6 is 1.5 times that of 10^4.
            bound: Bound::AtMost(1.5),
            floor: String::new(),
            baseline: format!("{} us", figure(median(&few))),
            ours: format!("{} us", figure(median(&many))),
            ratios: many.iter().map(|many| many / median(&few)).collect(),
        },
    ];
    rows.sort_by_key(|row| row.what.len());
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Section { rows, details: String::new() })
}

fn frames(log: &Path, scale: &Scale) -> Result<Row, String> {
    let entries = std::fs::read_dir(log.join("segments")).map_err(|error| error.to_string())?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let begin = clock();
        for file in &files {
            let content = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
            hasher.update(&content);
            black_box(hasher.finish());
        }
        floors.push(begin.elapsed());
        let begin = clock();
        let findings = audit(log, &mut ()).map_err(|error| error.to_string())?.findings;
        ours.push(begin.elapsed());
        if !findings.is_empty() {
            return Err(format!("the log does not verify: {findings:?}"));
        }
    }
    Ok(beside(
        "frames and tree of the log verified, all cores, beside its bytes read and hashed by one",
        1.5,
        &floors,
        &ours,
    ))
}

/// The same messages verified by all cores at once, each its share, and the log with them. Not by one core, divided by their
/// number: cores of a virtual machine may be halves of one.
async fn signatures(folder: &Path, scale: &Scale) -> Result<Row, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let directory = folder.join("signed");
    std::fs::create_dir_all(&directory).map_err(|error| failed(&error))?;
    let world = World::new(KeyType::EcP256).map_err(|error| failed(&error))?;
    let clock_of_log = Arc::new(FixedClock::new(now()));
    let log = MessageLog::create(config(&directory), clock_of_log).map_err(|error| failed(&error))?;
    let parts: Vec<PartDigests> = (0..SIGNED).map(|number| digests(Some(&number.to_be_bytes()))).collect();
    let mut bundles = Vec::new();
    for parts in &parts {
        let signed =
            at_once(sign(parts, &world.signing, &world.keys, now())).map_err(|error| failed(&error))?;
        bundles.push(signed.map_err(|error| failed(&error))?);
    }
    let client: ClientId =
        format!("{}/portal", world.member).parse().map_err(|_| "the client's identifier".to_owned())?;
    futures_util::future::join_all(
        (0..)
            .zip(parts.iter().zip(&bundles))
            .map(|(number, (parts, bundle))| append_signed(&log, number, client.clone(), parts, bundle)),
    )
    .await;
    drop(log);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let messages: Vec<_> = parts.iter().zip(&bundles).collect();
    let (mut alone, mut floors, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let begin = clock();
        judged(&messages, &world)?;
        alone.push(begin.elapsed());
        let begin = clock();
        std::thread::scope(|scope| {
            let shares = messages.chunks(messages.len().div_ceil(cores));
            let shares: Vec<_> = shares.map(|share| scope.spawn(|| judged(share, &world))).collect();
            shares.into_iter().try_for_each(|share| share.join().map_err(|_| "it panicked".to_owned())?)
        })?;
        floors.push(begin.elapsed());
        let grounds = Grounds { conf: Some(&world.conf), ..Grounds::default() };
        let begin = clock();
        let report = verify(&directory.join("log"), grounds, &mut |_| ()).map_err(|error| failed(&error))?;
        ours.push(begin.elapsed());
        if report.signatures != SIGNED || !report.problems.is_empty() {
            return Err(format!("{} signatures verified, {:?}", report.signatures, report.problems));
        }
    }
    let mut row = beside(
        "10^4 records verified with all signatures beside as many verifications, on all cores",
        1.2,
        &floors,
        &ours,
    );
    let alone: Vec<f64> = alone.iter().map(Duration::as_secs_f64).collect();
    row.baseline = format!("{} (one core: {} s)", row.baseline, figure(median(&alone)));
    Ok(row)
}

/// Verifies these messages, one after the other.
fn judged(messages: &[(&PartDigests, &SignatureBundle)], world: &World) -> Result<(), String> {
    let trust = TrustCache::default();
    for (parts, bundle) in messages {
        judge((), parts, bundle, &world.conf, &trust, &world.member, now())
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Microseconds of one proof, in each round.
fn proofs(log: &MessageLog, rounds: usize) -> Result<Vec<f64>, String> {
    let reader = log.reader();
    let size = reader.len();
    // As in a gateway: full tiles are kept as files.
    let shown = Shown::new(reader.clone(), Tiles::new(reader, true));
    let mut each = Vec::new();
    for _ in 0..rounds {
        let begin = clock();
        for n in 0..PROOFS {
            let from = (n * 7_919_777) % size;
            black_box(shown.consistency(from, size).map_err(|error| error.to_string())?);
        }
        each.push(begin.elapsed().as_secs_f64() * 1e6 / count(PROOFS));
    }
    Ok(each)
}

fn beside(what: &str, limit: f64, floors: &[Duration], ours: &[Duration]) -> Row {
    let seconds = |times: &[Duration]| times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    let (floors, ours) = (seconds(floors), seconds(ours));
    Row {
        goal: "G10",
        what: what.to_owned(),
        bound: Bound::AtMost(limit),
        floor: format!("{} s", figure(median(&floors))),
        baseline: format!("{} s", figure(median(&floors))),
        ours: format!("{} s", figure(median(&ours))),
        ratios: ours.iter().zip(&floors).map(|(ours, floor)| ours / floor).collect(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
fn clock() -> Instant {
    Instant::now()
}
