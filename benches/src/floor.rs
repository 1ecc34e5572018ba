//! What one exchange cannot cost less than: the same cryptography and the same disk, with nothing around them.
//!
//! | in every exchange | how often |
//! |---|---|
//! | ECDSA P-256 signature made, ring alone | 2: request and response |
//! | the same verified, ring alone | 2: each by the gateway that receives it |
//! | SHA-512 of the body | 2: by both gateways |
//! | a record of [`RECORD`] bytes written, and its share of an `fdatasync` for 32 records | 4: two messages on two sides |
//!
//! To these comes what two proxies take that only pass the bytes on: the baseline of the same round. Not in the floor:
//! keeping the bodies, time-stamps, OCSP. CPU time of the thread, not wall time, so that a busy machine changes little.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::time::{ClockId, clock_gettime};

/// About the length of a record in the log: a signature with certificate and OCSP response, a message part, ids.
pub const RECORD: usize = 8192;

/// Records of one sync.
const GROUP: usize = 32;

/// CPU time that each step takes, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// A signature over 1 KiB, made.
    pub sign: f64,
    /// The same, verified.
    pub verify: f64,
    /// SHA-512 of a MiB.
    pub hash_mib: f64,
    /// A record's share of a group.
    pub record: f64,
    /// Wall time of one record written and synced alone: the disk's latency.
    pub sync: f64,
}

impl Floor {
    /// Measures for about a second; the file is made in `directory`.
    ///
    /// # Errors
    /// In words: the disk, or cryptography that does not work.
    pub fn measure(directory: &Path) -> Result<Self, String> {
        let random = SystemRandom::new();
        let refused = |_| "ECDSA P-256 does not work".to_owned();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(refused)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|error| error.to_string())?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref());
        let message = [b'x'; 1024];
        let signature = key.sign(&random, &message).map_err(refused)?;
        let body = vec![b'x'; 1 << 20];

        let path = directory.join("floor");
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).map_err(failed)?;
        fallocate(&file, FallocateFlags::empty(), 0, 64 << 20).map_err(|error| failed(error.into()))?;
        // The first pass gives the file its blocks and its pages in memory, which on a virtual machine may be dear.
        syncs(&file, GROUP, 60).map_err(failed)?;
        let (group, _) = syncs(&file, GROUP, 60).map_err(failed)?;
        let (_, sync) = syncs(&file, 1, 100).map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(Self {
            sign: cpu(5000, || key.sign(&random, black_box(&message))),
            verify: cpu(4000, || public.verify(black_box(&message), signature.as_ref())),
            hash_mib: cpu(100, || ring::digest::digest(&ring::digest::SHA512, black_box(&body))),
            record: group / count(GROUP),
            sync,
        })
    }

    /// What an exchange with one body of this length takes, on top of two proxies.
    pub fn exchange(&self, body: usize) -> f64 {
        let hashed = self.hash_mib * count(body) / count(1 << 20);
        2.0 * (self.sign + self.verify + hashed) + 4.0 * self.record
    }
}

/// CPU time of a step, in microseconds.
fn cpu<T>(times: usize, mut step: impl FnMut() -> T) -> f64 {
    let begin = thread_time();
    for _ in 0..times {
        black_box(step());
    }
    (thread_time() - begin).as_secs_f64() * 1e6 / count(times)
}

/// CPU and median wall time of writing and syncing so many records at once, in microseconds.
#[expect(clippy::disallowed_methods, reason = "measures the machine's own clock")]
fn syncs(file: &File, records: usize, times: usize) -> std::io::Result<(f64, f64)> {
    let data = vec![b'x'; records * RECORD];
    let (mut at, mut waits) = (0, Vec::with_capacity(times));
    let begin = thread_time();
    for _ in 0..times {
        let start = std::time::Instant::now();
        file.write_all_at(&data, at)?;
        fdatasync(file)?;
        waits.push(start.elapsed().as_secs_f64() * 1e6);
        at += u64::try_from(data.len()).unwrap_or_default();
    }
    let used = (thread_time() - begin).as_secs_f64() * 1e6 / count(times);
    waits.sort_by(f64::total_cmp);
    Ok((used, waits.get(times / 2).copied().unwrap_or_default()))
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(of: usize) -> f64 {
    of as f64
}
