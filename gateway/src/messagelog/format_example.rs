//! The example in FORMAT.md, decoded: what is written there is what the code reads.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use bytes::Bytes;
use cert_authority::{algorithm::DigestAlgorithm, clock::UnixTime, crypto::digest};
use conf::identifier::{ClientId, ServiceId};

use super::{
    beside::{Beside as _, Folder},
    disk::SystemDisk,
    frame::{CHUNK_HEAD, ChunkHead, ChunkType, FrameHead, SegmentHeader},
    key_uses::Keys,
    pieces::Pieces,
    record::{MessageRecord, Part, Place, Record, Role, Stored},
    tree::{Tree, leaf_hash, sha256},
    verify::{Beside, Observer, check},
};

const FORMAT: &str = include_str!("FORMAT.md");
const LOG: [u8; 16] = *b"0123456789abcdef";
const BLOB: &[u8] = b"\x01the sealed body, 35 bytes in all..";

fn record() -> Record {
    let client = ClientId::parse_encoded("DEMO/GOV/1001/portal").unwrap();
    let service = ServiceId::parse_encoded("DEMO/GOV/2002/registry/records").unwrap();
    let mut record = MessageRecord::new(
        Role::Consumer,
        "id-1",
        "rid-1",
        client,
        service,
        Bytes::from_static(b"<signature/>"),
    );
    record.began = Some(UnixTime::from_secs(1_770_000_000));
    let mut part = Part::new("application/x-road-rest-request", 1, digest(DigestAlgorithm::Sha256, b"x"));
    part.stored = Some(Stored {
        ciphertext: sha256(BLOB),
        length: 35,
        key: "2026-02-02.0a0b0c0d".into(),
        place: Place::Chunk,
    });
    record.parts = vec![part];
    Record::Request(record)
}

fn chunk(kind: ChunkType, hash: [u8; 32], content: &[u8]) -> Vec<u8> {
    let head = ChunkHead { kind, length: u32::try_from(content.len()).unwrap(), write: 4096, hash };
    let mut bytes = [head.encode(&LOG).as_slice(), content].concat();
    bytes.resize((CHUNK_HEAD + content.len()).next_multiple_of(8), 0);
    bytes
}

fn example() -> Vec<u8> {
    let header = SegmentHeader {
        log: LOG,
        number: 1,
        created: UnixTime::from_secs(1_770_000_000),
        previous: [0; 32],
        tree: Tree::default(),
    };
    let record = record();
    let head = FrameHead { kind: record.kind(), sequence: 0, time: UnixTime::from_millis(1_770_000_000_123) };
    let frame = [head.encode().as_slice(), &record.encode()].concat();
    let blob = chunk(ChunkType::Blob, sha256(BLOB), BLOB);
    [header.encode(), blob, chunk(ChunkType::Frame, leaf_hash(&[&frame]), &frame)].concat()
}

/// As `hexdump -v` would, with a `*` for lines of zeros.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut skipped = false;
    for (line, chunk) in bytes.chunks(16).enumerate() {
        if chunk.iter().all(|byte| *byte == 0) {
            if !std::mem::replace(&mut skipped, true) {
                text.push_str("*\n");
            }
            continue;
        }
        skipped = false;
        let _ = write!(text, "{:06x} ", line * 16);
        for byte in chunk {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    text
}

fn undump(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| *line != "*") {
        let (offset, hex) = line.split_once("  ").unwrap();
        bytes.resize(usize::from_str_radix(offset, 16).unwrap(), 0);
        bytes.extend(hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

struct Seen(Vec<(u64, Record)>);

impl Observer for Seen {
    fn record(&mut self, sequence: u64, _: UnixTime, record: &Record) {
        self.0.push((sequence, record.clone()));
    }
}

#[test]
fn the_example_of_the_format_is_read_and_is_what_is_written() {
    let (_, rest) = FORMAT.split_once("```hexdump\n").expect("FORMAT.md has an example");
    let (text, _) = rest.split_once("```").unwrap();
    assert_eq!(text, dump(&example()), "the bytes that the code writes:\n{}", dump(&example()));
    let mut seen = Seen(Vec::new());
    let bytes = undump(text);
    let pieces = Pieces::new(LOG, 1, true, bytes.as_slice()).map(|piece| piece.map_err(|_| unreachable!()));
    let directory = tempfile::tempdir().unwrap();
    ["keys", "bodies"].iter().for_each(|name| std::fs::create_dir(directory.path().join(name)).unwrap());
    let folder = Folder::new(directory.path(), Arc::new(SystemDisk));
    folder.add_key("2026-02-02.0a0b0c0d", &[b"PSRLKEY1".as_slice(), &[1; 60]].concat()).unwrap();
    let keys = Keys::new(&folder, BTreeSet::new(), None);
    let beside = Beside { kept: &|_| Ok(false), keys: &keys };
    let verdict = check(LOG, pieces, beside, &|_, _| None, &mut seen).unwrap();
    assert_eq!((verdict.records, verdict.findings.as_slice()), (1, [].as_slice()));
    assert_eq!(seen.0, [(0, record())]);
    assert!(FORMAT.contains(&hex::encode(verdict.root)), "the root is {}", hex::encode(verdict.root));
}
