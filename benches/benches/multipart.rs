//! A transport message taken apart as it comes in from a peer: framing, order of parts, digests of what is signed.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]

use std::hint::black_box;
use std::time::Duration;

use benches::world::{MESSAGE, World, at_once, digests, now};
use bytes::{Bytes, BytesMut};
use cert_authority::algorithm::DigestAlgorithm::Sha512;
use cert_authority::keys::KeyType;
use criterion::{Criterion, Throughput};
use gateway::evidence::signature::sign;
use gateway::message::Protocol;
use gateway::message::digests::PartDigests;
use gateway::message::multipart::{Boundary, Event, Limits, Reader, Writer};
use gateway::message::transport::{Direction, Incoming, Item, part};

/// What one read of a TLS connection gives.
const CHUNK: usize = 16 << 10;

fn main() {
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    let world = World::new(KeyType::EcP256).unwrap();
    let mut group = criterion.benchmark_group("multipart");
    for (name, length) in [("1 KiB", 1 << 10), ("1 MiB", 1 << 20)] {
        let (content_type, chunks) = message(&world, length);
        group.throughput(Throughput::Bytes(length.try_into().unwrap()));
        group.bench_function(format!("framing alone, body of {name}"), |timer| {
            timer.iter(|| framing(&content_type, black_box(&chunks)));
        });
        group.bench_function(format!("whole message, body of {name}"), |timer| {
            timer.iter(|| receive(&content_type, black_box(&chunks)));
        });
    }
    group.finish();
    criterion.final_summary();
}

/// A request as a peer sends it, cut as it comes from a socket, with its content type.
fn message(world: &World, length: usize) -> (String, Vec<Bytes>) {
    let body = vec![b'x'; length];
    let bundle = at_once(sign(&digests(Some(&body)), &world.signing, &world.keys, now())).unwrap().unwrap();
    let boundary = Boundary::from_random([7; 30]);
    let content_type = boundary.content_type();
    let mut writer = Writer::new(boundary);
    let mut whole = BytesMut::new();
    for (media_type, content) in [
        (part::OCSP_RESPONSE, &[0x30; 1000][..]),
        (part::REST_REQUEST, MESSAGE),
        (part::REST_BODY, &body),
        (part::HASH_CHAIN_RESULT, &bundle.hash_chain_result.unwrap()),
        (part::HASH_CHAIN, &bundle.hash_chain.unwrap()),
        (part::SIGNATURE, &bundle.signature_xml),
    ] {
        writer.part(media_type, content, &mut whole);
    }
    whole.extend(writer.end());
    (content_type, whole.chunks(CHUNK).map(Bytes::copy_from_slice).collect())
}

fn framing(content_type: &str, chunks: &[Bytes]) -> usize {
    let mut reader = Reader::new(content_type, Limits::default()).unwrap();
    let mut bytes = 0;
    for chunk in chunks {
        reader.push(chunk.clone());
        loop {
            match reader.pull().unwrap() {
                Event::NeedMore | Event::End => break,
                Event::Data(data) => bytes += data.len(),
                Event::PartHead(_) | Event::PartEnd => {}
            }
        }
    }
    bytes
}

fn receive(content_type: &str, chunks: &[Bytes]) -> PartDigests {
    let mut incoming = Incoming::new(Direction::Request, Protocol::Rest, content_type, Sha512).unwrap();
    for chunk in chunks {
        incoming.push(chunk.clone());
        while !matches!(incoming.pull().unwrap(), Item::NeedMore | Item::End) {}
    }
    incoming.finish().unwrap()
}
