//! A transport message taken apart as it comes in from a peer: framing, order of parts, digests of what is signed.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]

use std::hint::black_box;
use std::time::Duration;

use benches::incoming::{message, receive};
use benches::world::World;
use bytes::Bytes;
use cert_authority::keys::KeyType;
use criterion::{Criterion, Throughput};
use gateway::message::multipart::{Event, Limits, Reader};

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
