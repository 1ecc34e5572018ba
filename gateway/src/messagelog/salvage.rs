//! Reads what is whole in a damaged log: for looking and exporting, never for writing.
//!
//! A record that cannot be read keeps its number, and whoever asks for it is told that it is damaged. After a broken
//! chunk the next one is looked for at every place where one can begin; chunk heads are bound to their log, so that no
//! body is taken for one. So a segment whose header is damaged, or that stands in another's place, is read too.
//!
//! Not here: what is wrong (`log verify` names it), the start of a gateway, which refuses such a log.

use std::{io, path::Path};

use super::{
    error::LogError,
    frame::{ChunkType, Frame, frame_head},
    index::{Facts, Indexed},
    segment::{self, FIRST_CHUNK, Found, Position, Scanner, Segment},
    tree::Tree,
};

/// Gives each record that is whole to `found`, and something in the place of each that is not. The tree has as many
/// leaves as there are records; its root is of no use.
pub(super) fn salvage(
    log: &Path,
    id: &[u8; 16],
    mut found: impl FnMut(Vec<Indexed>) -> Result<(), LogError>,
) -> Result<Tree, LogError> {
    let mut salvage = Salvage { tree: Tree::default(), batch: Vec::new() };
    for (first, segment) in in_their_order(log, id)? {
        salvage.up_to(first, Position { segment: segment.header.number, offset: FIRST_CHUNK });
        salvage.segment(&segment).map_err(|e| LogError::io("a segment cannot be read", &e))?;
        found(std::mem::take(&mut salvage.batch))?;
    }
    Ok(salvage.tree)
}

/// The segments by the numbers of their first records, whatever they are called. Those in which there is none are left
/// out.
fn in_their_order(log: &Path, id: &[u8; 16]) -> Result<Vec<(u64, Segment)>, LogError> {
    let mut segments = Vec::new();
    for number in segment::list(log)? {
        let (segment, stated) = segment::open_damaged(log, id, number)?;
        let first = match stated {
            Some(first) => Some(first),
            None => first_frame(&segment).map_err(|e| LogError::io("a segment cannot be read", &e))?,
        };
        segments.extend(first.map(|first| (first, segment)));
    }
    segments.sort_by_key(|(first, segment)| (*first, segment.header.number));
    Ok(segments)
}

/// The number of the first record that can be read.
fn first_frame(segment: &Segment) -> io::Result<Option<u64>> {
    let mut scanner = Scanner::new(segment, FIRST_CHUNK);
    loop {
        match scanner.next()? {
            Found::Chunk(chunk) if chunk.head.kind == ChunkType::Frame => {
                if let Ok(head) = frame_head(&chunk.content) {
                    return Ok(Some(head.sequence));
                }
            }
            Found::Chunk(_) => {}
            Found::Nothing | Found::Broken(_) => {
                if !scanner.find_next()? {
                    return Ok(None);
                }
            }
        }
    }
}

struct Salvage {
    tree: Tree,
    batch: Vec<Indexed>,
}

impl Salvage {
    fn segment(&mut self, segment: &Segment) -> io::Result<()> {
        let number = segment.header.number;
        let mut scanner = Scanner::new(segment, FIRST_CHUNK);
        let mut begin = FIRST_CHUNK;
        loop {
            let chunk = match scanner.next()? {
                Found::Chunk(chunk) => chunk,
                Found::Nothing | Found::Broken(_) => {
                    if !scanner.find_next()? {
                        return Ok(());
                    }
                    begin = scanner.offset();
                    continue;
                }
            };
            let position = Position { segment: number, offset: begin };
            if chunk.head.kind != ChunkType::Blob {
                begin = chunk.end();
            }
            if chunk.head.kind == ChunkType::Removed {
                self.up_to(self.tree.size().saturating_add(1), position);
            }
            if chunk.head.kind == ChunkType::Frame {
                let Ok(frame) = Frame::decode(&chunk.content) else { continue };
                let sequence = frame.head.sequence;
                self.up_to(sequence, position);
                if sequence == self.tree.size() {
                    let (kind, time, facts) = (frame.head.kind, frame.head.time, Facts::of(&frame.record));
                    self.batch.push(Indexed { sequence, kind, time, position, facts });
                    self.tree.push(chunk.head.hash);
                }
            }
        }
    }

    /// Numbers of records that cannot be read, below `sequence`. What is read at `place` is another record: damaged.
    fn up_to(&mut self, sequence: u64, place: Position) {
        while self.tree.size() < sequence {
            self.batch.push(Indexed::unknown(self.tree.size(), place));
            self.tree.push([0; 32]);
        }
    }
}
