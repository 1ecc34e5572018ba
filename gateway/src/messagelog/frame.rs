//! Chunks, frames and segment headers as bytes.
//!
//! ```text
//! segment   header (4096)  chunk  chunk  ...  zeros
//! chunk     head (56)  content  zeros to a multiple of 8
//! frame     = content of a chunk of type 1: head (20), fields; a leaf of the tree
//! blob      = content of a chunk of type 2: an encrypted body; no leaf
//! note      = content of a chunk of type 3, first in a segment that was cleaned: the record that says so of what follows
//! removed   = chunk of type 4, without content, in the place of a frame and its blobs: its leaf
//! ```
//! FORMAT.md has every byte. A frame does not know where it lies: it keeps its hash wherever it is copied to.
//!
//! Not here: files.

use bytes::{Buf, BufMut, Bytes};
use cert_authority::{algorithm::DigestAlgorithm, clock::UnixTime, crypto};

use super::{
    encoding::Unreadable,
    error::Flaw,
    record::{Kind, Record},
    tree::{self, Hash, Tree},
};

/// Length of a segment's header.
pub const SEGMENT_HEADER: usize = 4096;
/// Length of a chunk's head.
pub const CHUNK_HEAD: usize = 56;
/// Length of a frame's head.
pub const FRAME_HEAD: usize = 20;
/// Chunks begin at multiples of this.
pub const ALIGNMENT: u64 = 8;
/// The longest content of a chunk that is believed.
pub const MAX_CONTENT: u32 = 64 << 20;

const SEGMENT_MAGIC: &[u8; 8] = b"PSRLLOG1";
const CHUNK_MAGIC: &[u8; 4] = b"PCHK";
const VERSION: u8 = 1;
const SEGMENT_CHECK: usize = SEGMENT_HEADER - 32;
const MAX_EDGE: usize = 64;

/// What stands at the beginning of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log: [u8; 16],
    /// Its number; the first segment is 1.
    pub number: u64,
    /// When it was made.
    pub created: UnixTime,
    /// SHA-256 of the header of the segment before; zeros for the first.
    pub previous: Hash,
    /// The tree over all frames before this segment; its size is the number of the segment's first frame.
    pub tree: Tree,
}

impl SegmentHeader {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER);
        out.put_slice(SEGMENT_MAGIC);
        out.put_u32(u32::from(VERSION));
        out.put_u32(0);
        out.put_slice(&self.log);
        out.put_u64(self.number);
        out.put_i64(self.created.as_millis());
        out.put_slice(&self.previous);
        out.put_u64(self.tree.size());
        out.put_slice(&self.tree.root());
        self.tree.edge().iter().for_each(|hash| out.put_slice(hash));
        out.resize(SEGMENT_CHECK, 0);
        let check = tree::sha256(&out);
        out.put_slice(&check);
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`Flaw::Header`] when it is none or was changed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let (content, check) = bytes.split_at_checked(SEGMENT_CHECK).ok_or(Flaw::Header)?;
        if tree::sha256(content) != check {
            return Err(Flaw::Header);
        }
        Self::fields(content).map_err(|_| Flaw::Header)
    }

    fn fields(mut from: &[u8]) -> Result<Self, Unreadable> {
        let short = |_| Unreadable;
        if take::<8>(&mut from)? != *SEGMENT_MAGIC || from.try_get_u32().map_err(short)? != u32::from(VERSION)
        {
            return Err(Unreadable);
        }
        if from.try_get_u32().map_err(short)? != 0 {
            return Err(Unreadable);
        }
        let log = take(&mut from)?;
        let number = from.try_get_u64().map_err(short)?;
        let created = UnixTime::from_millis(from.try_get_i64().map_err(short)?);
        let previous = take(&mut from)?;
        let size = from.try_get_u64().map_err(short)?;
        let root: Hash = take(&mut from)?;
        let hashes = usize::try_from(size.count_ones()).unwrap_or(MAX_EDGE);
        let edge = (0..hashes).map(|_| take(&mut from)).collect::<Result<Vec<Hash>, _>>()?;
        let tree = Tree::from_edge(size, edge).ok_or(Unreadable)?;
        if tree.root() != root || from.iter().any(|byte| *byte != 0) {
            return Err(Unreadable);
        }
        Ok(Self { log, number, created, previous, tree })
    }
}

/// The type of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkType {
    /// A frame: a record, a leaf.
    Frame,
    /// An encrypted body that belongs to the next frame.
    Blob,
    /// Says which record tells by whom and why what follows was removed, up to the next one; the first chunk of a segment
    /// that was cleaned.
    Note,
    /// Stands in the place of a frame that was removed.
    Removed,
}

/// The head of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHead {
    /// What the content is.
    pub kind: ChunkType,
    /// Length of the content.
    pub length: u32,
    /// Where in the segment the write began that this chunk was part of: everything before it was durable then.
    pub write: u32,
    /// Of a frame, also one that was removed: its leaf hash. Else SHA-256 of the content.
    pub hash: Hash,
}

impl ChunkHead {
    /// Its bytes.
    pub fn encode(&self, log: &[u8; 16]) -> [u8; CHUNK_HEAD] {
        let mut out = [0; CHUNK_HEAD];
        let mut to = out.as_mut_slice();
        to.put_slice(CHUNK_MAGIC);
        to.put_u8(match self.kind {
            ChunkType::Frame => 1,
            ChunkType::Blob => 2,
            ChunkType::Note => 3,
            ChunkType::Removed => 4,
        });
        to.put_slice(&[0; 3]);
        to.put_u32(self.length);
        to.put_u32(self.write);
        to.put_slice(&self.hash);
        let check = check(log, out.get(..CHUNK_HEAD - 8).unwrap_or_default());
        let mut to = out.get_mut(CHUNK_HEAD - 8..).unwrap_or_default();
        to.put_slice(&check);
        out
    }

    /// Reads a head; none when it is not one.
    pub fn decode(bytes: &[u8; CHUNK_HEAD], log: &[u8; 16]) -> Option<Self> {
        let (content, mut rest) = bytes.split_at_checked(CHUNK_HEAD - 8)?;
        if take::<4>(&mut rest).ok()? != check(log, content) || rest != [0; 4] {
            return None;
        }
        let mut from = content;
        if take::<4>(&mut from).ok()? != *CHUNK_MAGIC {
            return None;
        }
        let kind = match take::<4>(&mut from).ok()? {
            [1, 0, 0, 0] => ChunkType::Frame,
            [2, 0, 0, 0] => ChunkType::Blob,
            [3, 0, 0, 0] => ChunkType::Note,
            [4, 0, 0, 0] => ChunkType::Removed,
            _ => return None,
        };
        let length = from.try_get_u32().ok().filter(|length| *length <= MAX_CONTENT)?;
        let write = from.try_get_u32().ok()?;
        Some(Self { kind, length, write, hash: take(&mut from).ok()? })
    }

    /// Bytes of the whole chunk: head, content, padding.
    pub fn size(&self) -> u64 {
        chunk_size(u64::from(self.length))
    }

    /// Whether `content` is what the head says.
    pub fn matches(&self, content: &[u8]) -> bool {
        self.matches_hash(&self.hash_of(content), content)
    }

    /// Whether `content` is what the head says, when its hash is known.
    pub(crate) fn matches_hash(&self, hash: &Hash, content: &[u8]) -> bool {
        *hash == self.hash && (self.kind != ChunkType::Removed || content.is_empty())
    }

    /// The hash of a content of this type. What was removed cannot be hashed: there the head is believed, as far as the
    /// tree that its leaf leads to is the one that the next segment and the checkpoints state.
    pub fn hash_of(&self, content: &[u8]) -> Hash {
        match self.kind {
            ChunkType::Frame => tree::leaf_hash(&[content]),
            ChunkType::Blob | ChunkType::Note => tree::sha256(content),
            ChunkType::Removed => self.hash,
        }
    }

    /// Adds a whole chunk to `out`: this head, the content, which lies in several pieces, zeros.
    pub(crate) fn put(&self, log: &[u8; 16], content: &[&[u8]], out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.encode(log));
        content.iter().for_each(|piece| out.extend_from_slice(piece));
        let size = usize::try_from(self.size()).unwrap_or(usize::MAX);
        out.resize(begin.saturating_add(size), 0);
    }
}

/// A number that no record has: where nothing says who removed what stood there.
pub(crate) const NOBODY: u64 = u64::MAX;

/// The number of the record that a note names.
pub(crate) fn noted(note: &[u8]) -> u64 {
    note.try_into().map_or(NOBODY, u64::from_be_bytes)
}

/// Bytes of a chunk whose content has this length.
pub fn chunk_size(content: u64) -> u64 {
    let head = u64::try_from(CHUNK_HEAD).unwrap_or(0);
    head.saturating_add(content).div_ceil(ALIGNMENT).saturating_mul(ALIGNMENT)
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// What it records.
    pub kind: Kind,
    /// Its number: the leaf's place in the tree.
    pub sequence: u64,
    /// When it was appended.
    pub time: UnixTime,
}

impl FrameHead {
    /// Its bytes.
    pub fn encode(&self) -> [u8; FRAME_HEAD] {
        let mut out = [0; FRAME_HEAD];
        let mut to = out.as_mut_slice();
        to.put_slice(&[VERSION, self.kind.code(), 0, 0]);
        to.put_u64(self.sequence);
        to.put_i64(self.time.as_millis());
        out
    }
}

/// A frame, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its head.
    pub head: FrameHead,
    /// The record.
    pub record: Record,
}

/// Reads the head of a frame without its fields.
pub(crate) fn frame_head(mut content: &[u8]) -> Result<FrameHead, Unreadable> {
    let [version, kind, 0, 0] = take::<4>(&mut content)? else { return Err(Unreadable) };
    let kind = Kind::from_code(kind).filter(|_| version == VERSION).ok_or(Unreadable)?;
    let sequence = content.try_get_u64().map_err(|_| Unreadable)?;
    let time = UnixTime::from_millis(content.try_get_i64().map_err(|_| Unreadable)?);
    Ok(FrameHead { kind, sequence, time })
}

impl Frame {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`Flaw::Fields`] when it is none.
    pub fn decode(content: &Bytes) -> Result<Self, Flaw> {
        let head = frame_head(content).map_err(|_| Flaw::Fields)?;
        let record = Record::decode(head.kind, &content.slice(FRAME_HEAD..)).map_err(|_| Flaw::Fields)?;
        Ok(Self { head, record })
    }
}

/// With the log's id, so that nobody can put something into a record that looks like a chunk of this log.
fn check(log: &[u8; 16], content: &[u8]) -> [u8; 4] {
    let digest = crypto::digest_parts(DigestAlgorithm::Sha256, &[log, content]);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], Unreadable> {
    let (first, rest) = from.split_first_chunk().ok_or(Unreadable)?;
    *from = rest;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let mut tree = Tree::default();
        (0..5).for_each(|i| tree.push([i; 32]));
        SegmentHeader {
            log: [7; 16],
            number: 3,
            created: UnixTime::from_secs(1_700_000_000),
            previous: [9; 32],
            tree,
        }
    }

    /// Whoever computes the check anew may not write what is kept for later versions.
    #[test]
    fn a_segment_header_with_more_than_zeros_where_zeros_belong_is_refused() {
        let mut bytes = header().encode();
        bytes[12] = 0x80;
        let check = tree::sha256(&bytes[..SEGMENT_CHECK]);
        bytes[SEGMENT_CHECK..].copy_from_slice(&check);
        assert_eq!(SegmentHeader::decode(&bytes), Err(Flaw::Header));
    }

    #[test]
    fn a_segment_header_is_read_as_written_and_no_bit_of_it_can_change() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), SEGMENT_HEADER);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for at in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(SegmentHeader::decode(&changed), Err(Flaw::Header), "{at}");
        }
        assert_eq!(SegmentHeader::decode(&bytes[..4000]), Err(Flaw::Header));
    }

    #[test]
    fn a_chunk_head_is_read_as_written_and_no_bit_of_it_can_change() {
        let head = ChunkHead { kind: ChunkType::Blob, length: 77, write: 4096, hash: [3; 32] };
        let bytes = head.encode(&[5; 16]);
        assert_eq!(ChunkHead::decode(&bytes, &[5; 16]), Some(head));
        assert_eq!(ChunkHead::decode(&bytes, &[6; 16]), None, "of another log");
        assert_eq!(head.size(), 56 + 80);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ChunkHead::decode(&changed, &[5; 16]), None, "{bit}");
        }
    }

    #[test]
    fn a_chunk_that_claims_more_than_the_limit_is_refused() {
        let head = ChunkHead { kind: ChunkType::Frame, length: MAX_CONTENT + 1, write: 0, hash: [0; 32] };
        assert_eq!(ChunkHead::decode(&head.encode(&[5; 16]), &[5; 16]), None);
    }
}
