//! A large body goes through the log without growing its memory. Alone in its file: it measures the process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod log_support;

use cert_authority::{algorithm::DigestAlgorithm, crypto::Hasher};
use futures_util::TryStreamExt;
use gateway::messagelog::{LogStore, Part};
use log_support::*;

const PIECE: usize = 16 << 10;
const PIECES: u64 = 4096;

/// The most memory this process ever held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_a_body_of_64_mib() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    append(&log, "warm", &[0; 300_000]).await.unwrap();
    let before = peak();

    let piece = vec![0x5a; PIECE];
    let mut writer = log.vault().writer().unwrap();
    let mut hasher = Hasher::new(DigestAlgorithm::Sha512);
    for _ in 0..PIECES {
        hasher.update(&piece);
        writer.write(&piece).await.unwrap();
    }
    let body = writer.finish().await.unwrap();
    let digest = hasher.finish();
    assert_eq!(body.length(), PIECES * 16_384);

    let read = |body: gateway::messagelog::SealedBody| async move {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha512);
        let mut pieces = body.stream();
        while let Some(piece) = pieces.try_next().await.unwrap() {
            hasher.update(&piece);
        }
        hasher.finish()
    };
    assert_eq!(read(body.clone()).await, digest, "forwarded");

    let mut record = message("big", b"", b"");
    record.parts = vec![Part::new("application/octet-stream", body.length(), digest)];
    let logged = log.append_request((), record, vec![Some(body)]).await.unwrap();
    let kept = log.reader().export(logged.sequence()).unwrap().unwrap().parts.pop().unwrap().unwrap();
    assert_eq!(read(kept).await, digest, "read again from the log");

    let grown = peak() - before;
    assert!(grown < 12 << 10, "{grown} KiB more for 64 MiB");
}
