//! Digests and bare signatures: ring alone (`floor`), and the same through the project's key store and public keys.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]

use std::hint::black_box;
use std::time::Duration;

use benches::world::{World, at_once};
use cert_authority::algorithm::DigestAlgorithm::Sha512;
use cert_authority::crypto::{EcdsaForm, Hasher, digest};
use cert_authority::keys::{KeyType, Signer as _};
use criterion::{Criterion, Throughput};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};

/// About the length of a canonical `SignedInfo`.
const TO_BE_SIGNED: [u8; 1024] = [b'x'; 1024];

/// Name and length of what is hashed.
const SIZES: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("20 KiB", 20 << 10), ("1 MiB", 1 << 20)];

fn main() {
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    floor(&mut criterion);
    signer(&mut criterion);
    hash(&mut criterion);
    criterion.final_summary();
}

fn floor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor");
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref().to_vec());
    let signature = key.sign(&random, &TO_BE_SIGNED).unwrap();
    group.bench_function("ECDSA P-256 sign", |timer| {
        timer.iter(|| key.sign(&random, black_box(&TO_BE_SIGNED)).unwrap());
    });
    group.bench_function("ECDSA P-256 verify", |timer| {
        timer.iter(|| public.verify(black_box(&TO_BE_SIGNED), signature.as_ref()).unwrap());
    });
    for (name, length) in SIZES {
        let data = vec![b'x'; length];
        group.throughput(Throughput::Bytes(length.try_into().unwrap()));
        group.bench_function(format!("SHA-512 of {name}"), |timer| {
            timer.iter(|| ring::digest::digest(&ring::digest::SHA512, black_box(&data)));
        });
    }
    group.finish();
}

fn signer(criterion: &mut Criterion) {
    for (name, key_type) in
        [("P-256", KeyType::EcP256), ("P-384", KeyType::EcP384), ("RSA-2048", KeyType::Rsa2048)]
    {
        let world = World::new(key_type).unwrap();
        let sign = || at_once(world.keys.sign(&world.key, world.algorithm, black_box(&TO_BE_SIGNED)));
        let value = sign().unwrap().unwrap();
        let public = world.keys.public_key(&world.key).unwrap();
        let mut group = criterion.benchmark_group("key");
        group.bench_function(format!("{name} sign"), |timer| timer.iter(|| sign().unwrap().unwrap()));
        group.bench_function(format!("{name} verify"), |timer| {
            timer.iter(|| {
                public.verify(world.algorithm, EcdsaForm::Der, black_box(&TO_BE_SIGNED), &value).unwrap();
            });
        });
        group.finish();
    }
}

fn hash(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    for (name, length) in SIZES {
        let data = vec![b'x'; length];
        group.throughput(Throughput::Bytes(length.try_into().unwrap()));
        group.bench_function(format!("SHA-512 of {name}, whole"), |timer| {
            timer.iter(|| digest(Sha512, black_box(&data)));
        });
        group.bench_function(format!("SHA-512 of {name}, as it flows by"), |timer| {
            timer.iter(|| {
                let mut hasher = Hasher::new(Sha512);
                for piece in black_box(&data).chunks(16 << 10) {
                    hasher.update(piece);
                }
                hasher.finish()
            });
        });
    }
    group.finish();
}
