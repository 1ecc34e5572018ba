//! The message log: segments and records.

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto;
use gateway::fuzzing;
use gateway::messagelog::frame::{CHUNK_HEAD, ChunkHead, ChunkType, Frame, SEGMENT_HEADER, SegmentHeader};
use gateway::messagelog::record::Kind;

use crate::choice;

const LOG: [u8; 16] = *b"sixteen bytes id";

/// A segment as it lies on the disk; and one whose header has its check put right, so that what is in it is read too.
pub fn segment(data: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(data) {
        assert_eq!(&header.encode()[..], &data[..SEGMENT_HEADER]);
    }
    let _ = fuzzing::segment(LOG, data);
    let check = SEGMENT_HEADER - 32;
    if data.len() >= check {
        let digest = crypto::digest(DigestAlgorithm::Sha256, &data[..check]);
        let mended =
            [&data[..check], digest.as_ref(), data.get(SEGMENT_HEADER..).unwrap_or_default()].concat();
        if let Ok(header) = SegmentHeader::decode(&mended[..SEGMENT_HEADER]) {
            assert_eq!(header.encode(), &mended[..SEGMENT_HEADER], "one header, two texts");
            let _ = fuzzing::segment(header.log, &mended);
        }
    }
    if let Some(head) = data.first_chunk::<CHUNK_HEAD>()
        && let Some(read) = ChunkHead::decode(head, &LOG)
    {
        assert_eq!(read.encode(&LOG), *head, "one head, two texts");
    }
    // The content of a chunk whose head is right.
    let hash = crypto::digest(DigestAlgorithm::Sha256, data);
    let hash = hash.as_ref().try_into().unwrap();
    let length = u32::try_from(data.len()).unwrap();
    let head = ChunkHead { kind: ChunkType::Frame, length, write: 1, hash };
    assert_eq!(ChunkHead::decode(&head.encode(&LOG), &LOG), Some(head));
}

/// The fields of a record, the first byte chooses its kind: read and written they are the same record.
pub fn record(data: &[u8]) {
    let _ = Frame::decode(&Bytes::copy_from_slice(data));
    const KINDS: [Kind; 8] = [
        Kind::Request,
        Kind::Response,
        Kind::Outcome,
        Kind::Timestamp,
        Kind::Checkpoint,
        Kind::Configuration,
        Kind::Access,
        Kind::Archive,
    ];
    let Some((kind, fields)) = choice(data, KINDS.len()) else { return };
    let Some(record) = fuzzing::record(KINDS[kind], Bytes::copy_from_slice(fields)) else { return };
    assert_eq!(record.kind(), KINDS[kind]);
    let written = fuzzing::record_fields(&record);
    assert_eq!(fuzzing::record(KINDS[kind], written.into()), Some(record));
}
