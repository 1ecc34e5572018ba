//! The hot steps of an exchange, each a few times, for `tests/instructions.rs`: a program that valgrind counts the
//! instructions of. One function a step; they are told apart by their names.

use std::error::Error;
use std::hint::black_box;

use benches::incoming::{message, receive};
use benches::world::{World, at_once, digests, now};
use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm::Sha512;
use cert_authority::crypto::digest;
use cert_authority::keys::KeyType;
use gateway::evidence::signature::{SignatureBundle, TrustCache, sign_batch, verify};
use gateway::message::digests::PartDigests;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Each step so often.
const TIMES: usize = 3;

fn main() -> Outcome<()> {
    let world = World::new(KeyType::EcP256)?;
    let alone = [digests(Some(b"body"))];
    let many: Vec<PartDigests> = (0..32_u8)
        .map(|number| PartDigests { message: digest(Sha512, &[number]), ..digests(None) })
        .collect();
    let (signed, shared) = (signed(&world, &alone)?, signed(&world, &many)?);
    let small = message(&world, 1 << 10);
    let large = message(&world, 1 << 20);
    let warm = TrustCache::default();
    // The signer is known, and the batch: the first of one is verified by its signature, the others by what is remembered.
    judged(&world, &warm, &alone, &signed)?;
    judged(&world, &warm, &many, &shared)?;
    for _ in 0..TIMES {
        hot_sign_one(&world, &alone)?;
        hot_sign_batch_of_32(&world, &many)?;
        hot_verify_one(&world, &warm, &alone, &signed)?;
        hot_verify_batch_of_32(&world, &warm, &many, &shared)?;
        hot_receive_1_kib(&small);
        hot_receive_1_mib(&large);
    }
    Ok(())
}

#[inline(never)]
fn hot_sign_one(world: &World, message: &[PartDigests]) -> Outcome<()> {
    black_box(signed(world, message)?);
    Ok(())
}

#[inline(never)]
fn hot_sign_batch_of_32(world: &World, messages: &[PartDigests]) -> Outcome<()> {
    black_box(signed(world, messages)?);
    Ok(())
}

#[inline(never)]
fn hot_verify_one(
    world: &World,
    warm: &TrustCache,
    message: &[PartDigests],
    signed: &[SignatureBundle],
) -> Outcome<()> {
    judged(world, warm, message, signed)
}

#[inline(never)]
fn hot_verify_batch_of_32(
    world: &World,
    warm: &TrustCache,
    messages: &[PartDigests],
    signed: &[SignatureBundle],
) -> Outcome<()> {
    judged(world, warm, messages, signed)
}

#[inline(never)]
fn hot_receive_1_kib((content_type, chunks): &(String, Vec<Bytes>)) {
    black_box(receive(content_type, chunks));
}

#[inline(never)]
fn hot_receive_1_mib((content_type, chunks): &(String, Vec<Bytes>)) {
    black_box(receive(content_type, chunks));
}

fn signed(world: &World, messages: &[PartDigests]) -> Outcome<Vec<SignatureBundle>> {
    let messages: Vec<&PartDigests> = messages.iter().collect();
    Ok(at_once(sign_batch(&messages, &world.signing, &world.keys, now()))??)
}

fn judged(
    world: &World,
    trust: &TrustCache,
    messages: &[PartDigests],
    signed: &[SignatureBundle],
) -> Outcome<()> {
    for (message, bundle) in messages.iter().zip(signed) {
        verify((), message, bundle, &world.conf, trust, &world.member, now())?;
    }
    Ok(())
}
