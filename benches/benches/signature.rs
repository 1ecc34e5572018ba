//! A whole signature made and verified, as each message needs it, and the canonical forms inside.
//!
//! Verified with a signer whose certificate and OCSP response are remembered (warm), as of a peer that sends more than
//! one message a minute, and with one that is met for the first time (cold).

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]

use std::hint::black_box;
use std::time::Duration;

use benches::world::{World, at_once, digests, now};
use cert_authority::keys::KeyType;
use criterion::{BatchSize, Criterion};
use gateway::evidence::canonical::canonicalize;
use gateway::evidence::signature::{SignatureBundle, TrustCache, read, sign, sign_batch, verify};
use gateway::message::digests::PartDigests;

fn main() {
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    for (name, key_type) in
        [("P-256", KeyType::EcP256), ("P-384", KeyType::EcP384), ("RSA-2048", KeyType::Rsa2048)]
    {
        whole(&mut criterion, name, &World::new(key_type).unwrap());
    }
    let world = World::new(KeyType::EcP256).unwrap();
    batch(&mut criterion, &world);
    canonical(&mut criterion, &world);
    criterion.final_summary();
}

fn signed(world: &World, parts: &PartDigests) -> SignatureBundle {
    at_once(sign(parts, &world.signing, &world.keys, now())).unwrap().unwrap()
}

fn whole(criterion: &mut Criterion, name: &str, world: &World) {
    let mut group = criterion.benchmark_group("signature");
    for (what, parts) in [("message", digests(None)), ("message and body", digests(Some(b"body")))] {
        group.bench_function(format!("{name} sign {what}"), |timer| {
            timer.iter(|| signed(world, black_box(&parts)));
        });
        let bundle = signed(world, &parts);
        let judge = |trust: &TrustCache| {
            verify((), black_box(&parts), &bundle, &world.conf, trust, &world.member, now()).unwrap()
        };
        let warm = TrustCache::default();
        judge(&warm);
        group.bench_function(format!("{name} verify {what}, warm"), |timer| timer.iter(|| judge(&warm)));
        group.bench_function(format!("{name} verify {what}, cold"), |timer| {
            timer.iter_batched_ref(TrustCache::default, |cold| judge(cold), BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// One signature for 32 messages: the time of all of them.
fn batch(criterion: &mut Criterion, world: &World) {
    let messages: Vec<PartDigests> = (0..32_u8).map(|number| digests(Some(&[number]))).collect();
    let messages: Vec<&PartDigests> = messages.iter().collect();
    criterion.bench_function("signature/P-256 sign 32 messages with bodies as one batch", |timer| {
        timer.iter(|| {
            at_once(sign_batch(black_box(&messages), &world.signing, &world.keys, now())).unwrap().unwrap()
        });
    });
}

fn canonical(criterion: &mut Criterion, world: &World) {
    let bundle = signed(world, &digests(Some(b"body")));
    let mut group = criterion.benchmark_group("xml");
    group.bench_function("parse and take apart a signature", |timer| {
        timer.iter(|| {
            let document = read::parse(black_box(&bundle.signature_xml)).unwrap();
            read::read(&document).unwrap().value
        });
    });
    let document = read::parse(&bundle.signature_xml).unwrap();
    let signature = read::read(&document).unwrap();
    for (name, node, method) in [
        ("SignedInfo", signature.signed_info, signature.canonicalization),
        ("SignedProperties", signature.signed_properties, signature.properties_method),
    ] {
        group.bench_function(format!("canonical form of {name}"), |timer| {
            timer.iter(|| canonicalize(black_box(node), method));
        });
    }
    group.finish();
}
