//! What signing and verifying cost a message when several share a signature, beside ring alone (`floor`).
//!
//! CPU time of the thread, divided by the messages of the batch. Messages without bodies; each verified with a signer
//! whose certificate and OCSP response are remembered: the first of a batch by its signature, the others by what is
//! remembered of it. `through the queue` is what a gateway does to sign: the task of the key, and the answers' way back.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use benches::world::{World, at_once, digests, now};
use cert_authority::algorithm::DigestAlgorithm::Sha512;
use cert_authority::crypto::digest;
use cert_authority::keys::KeyType;
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use futures_util::future::join_all;
use gateway::evidence::signature::{SignatureBundle, TrustCache, sign_batch, verify};
use gateway::exchange::ports::MessageSigner as _;
use gateway::message::digests::PartDigests;
use gateway::signing::{BatchSigner, Settings};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [u16; 5] = [1, 2, 8, 32, 64];

fn main() {
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(2)).configure_from_args();
    floor(&mut criterion);
    for (name, key_type) in [("P-256", KeyType::EcP256), ("RSA-2048", KeyType::Rsa2048)] {
        let world = World::new(key_type).unwrap();
        let mut group = criterion.benchmark_group(format!("batch/{name}"));
        for size in SIZES {
            let messages: Vec<PartDigests> = (0..size).map(message).collect();
            sign(&mut group, &world, &messages);
            judge(&mut group, &world, &messages);
        }
        group.finish();
        queue(&mut criterion, name, world);
    }
    criterion.final_summary();
}

fn floor(criterion: &mut Criterion) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref().to_vec());
    let to_be_signed = [b'x'; 1024];
    let signature = key.sign(&random, &to_be_signed).unwrap();
    let mut group = criterion.benchmark_group("floor/P-256");
    group.bench_function("sign", |timer| {
        timer.iter_custom(|times| cpu(times, 1, || key.sign(&random, black_box(&to_be_signed)).unwrap()));
    });
    group.bench_function("verify", |timer| {
        timer.iter_custom(|times| {
            cpu(times, 1, || public.verify(black_box(&to_be_signed), signature.as_ref()).unwrap())
        });
    });
    group.finish();
}

fn sign(group: &mut BenchmarkGroup<'_, WallTime>, world: &World, messages: &[PartDigests]) {
    let size = messages.len();
    group.bench_function(format!("sign, a message of {size}"), |timer| {
        timer.iter_custom(|times| cpu(times, size, || signed(world, black_box(messages))));
    });
}

fn judge(group: &mut BenchmarkGroup<'_, WallTime>, world: &World, messages: &[PartDigests]) {
    let size = messages.len();
    let bundles = signed(world, messages);
    let known = [message(u16::MAX)];
    let first = signed(world, &known);
    let verify = |trust: &TrustCache, message: &PartDigests, bundle: &SignatureBundle| {
        verify((), black_box(message), bundle, &world.conf, trust, &world.member, now()).unwrap();
    };
    group.bench_function(format!("verify, a message of {size}"), |timer| {
        timer.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                let trust = TrustCache::default();
                for (message, bundle) in known.iter().zip(&first) {
                    verify(&trust, message, bundle);
                }
                spent += cpu(1, size, || {
                    for (message, bundle) in messages.iter().zip(&bundles) {
                        verify(&trust, message, bundle);
                    }
                });
            }
            spent
        });
    });
}

/// As the exchanges of a gateway sign.
fn queue(criterion: &mut Criterion, name: &str, world: World) {
    let key = Arc::new(world.signing);
    let signer = BatchSigner::new(Arc::new(world.keys), Settings::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut group = criterion.benchmark_group(format!("queue/{name}"));
    for size in SIZES {
        let messages: Vec<PartDigests> = (0..size).map(message).collect();
        group.bench_function(format!("sign through the queue, a message of {size}"), |timer| {
            timer.iter_custom(|times| {
                cpu(times, messages.len(), || {
                    let all = messages.iter().map(|message| signer.sign(message, &key, now()));
                    runtime.block_on(join_all(all)).into_iter().collect::<Result<Vec<_>, _>>().unwrap()
                })
            });
        });
    }
    group.finish();
}

fn signed(world: &World, messages: &[PartDigests]) -> Vec<SignatureBundle> {
    let messages: Vec<&PartDigests> = messages.iter().collect();
    at_once(sign_batch(&messages, &world.signing, &world.keys, now())).unwrap().unwrap()
}

/// A message of its own.
fn message(number: u16) -> PartDigests {
    PartDigests { message: digest(Sha512, &number.to_be_bytes()), ..digests(None) }
}

/// CPU time of this thread for the work, so many times, as the share of one of `messages`.
fn cpu<T>(times: u64, messages: usize, mut work: impl FnMut() -> T) -> Duration {
    let spent = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
    };
    let before = spent();
    for _ in 0..times {
        black_box(work());
    }
    (spent() - before) / messages.try_into().unwrap_or(u32::MAX)
}
