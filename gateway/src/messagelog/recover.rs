//! The start: finds the end of the log, cuts off what was not written whole, and tells the index what it does not know.
//!
//! A chunk that is not whole at the end of the last segment was torn by a power cut: nobody was answered for it. A chunk
//! that is not whole anywhere else was durable once: then the log does not start.

use std::{io, os::unix::fs::FileExt as _, path::Path};

use super::{
    cleaned,
    disk::{self, Disk},
    error::{Finding, Flaw, LogError},
    frame::{ChunkType, Frame},
    in_order::in_order,
    index::{Facts, Indexed},
    segment::{self, Chunk, FIRST_CHUNK, Found, Position, Scanner, Segment},
    tree::Tree,
};

/// From where on records are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct From {
    pub(crate) position: Position,
    pub(crate) sequence: u64,
    /// The tree of the records before, where it is known: then nothing before them is read in the last segment either.
    pub(crate) tree: Option<Tree>,
}

/// The end of the log.
pub(crate) struct Recovered {
    pub(crate) segment: Segment,
    pub(crate) end: u64,
    pub(crate) tree: Tree,
    /// Where the last write began.
    last_write: u64,
    /// What stands there instead of a whole chunk, if anything does.
    flaw: Option<Flaw>,
    /// Bytes that were cut off.
    pub(crate) torn: u64,
}

impl Recovered {
    /// Nothing that is whole stands behind the end: neither what was written later nor the rest of a write whose beginning is
    /// gone. What a writer has appended since the end was found is no damage.
    pub(crate) fn undamaged(self) -> Result<Self, LogError> {
        let failed = |e: io::Error| LogError::io("the end of the log cannot be read", &e);
        let whole_behind = segment::whole_from(&self.segment, self.end).map_err(failed)?;
        // Only now: a writer makes one write durable before it begins the next.
        let mut scanner = Scanner::new(&self.segment, self.end);
        let flaw = loop {
            match scanner.next().map_err(failed)? {
                // Bodies stand before their record.
                Found::Chunk(chunk) if chunk.head.kind == ChunkType::Blob => {}
                Found::Chunk(_) => return Ok(self),
                Found::Nothing => break Flaw::Chunk,
                Found::Broken(flaw) => break flaw,
            }
        };
        if !whole_behind {
            return Ok(self);
        }
        let (segment, sequence) = (self.segment.header.number, self.tree.size());
        Err(LogError::Damaged(Finding { segment, offset: self.end, sequence, flaw }))
    }
}

/// Reads from `from` on (or everything), gives each record to `found`, and leaves the log ready for the next write.
pub(crate) fn recover(
    disk: &dyn Disk,
    log: &Path,
    id: &[u8; 16],
    capacity: u64,
    from: Option<&From>,
    found: impl FnMut(Vec<Indexed>) -> Result<(), LogError>,
) -> Result<Recovered, LogError> {
    let mut recovered = read(log, id, from, found)?;
    let segment = &mut recovered.segment;
    recovered.torn = cut_off(disk, segment, recovered.end, recovered.tree.size(), capacity)?;
    segment.capacity = segment.capacity.max(capacity);
    make_durable(disk, log, segment, recovered.last_write, recovered.end)
        .map_err(|e| LogError::io("the end of the log cannot be made durable", &e))?;
    Ok(recovered)
}

/// What was found may be in the memory of the machine only: of a process that was killed before its last sync, or told that
/// it failed. The last write is written again, since a system that failed to sync may hold its pages for written.
fn make_durable(disk: &dyn Disk, log: &Path, last: &Segment, begin: u64, end: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(begin)).unwrap_or(0)];
    last.file.read_exact_at(&mut bytes, begin)?;
    disk::write_all(disk, &last.file, &bytes, begin)?;
    disk.sync(&last.file)?;
    disk.sync_dir(&segment::directory(log))?;
    disk.sync_dir(log)
}

/// Reads from `from` on (or everything), gives each record to `found`, and changes nothing.
pub(crate) fn read(
    log: &Path,
    id: &[u8; 16],
    from: Option<&From>,
    found: impl FnMut(Vec<Indexed>) -> Result<(), LogError>,
) -> Result<Recovered, LogError> {
    read_until(log, id, from, None, found)
}

/// Reads again what a start at rest has passed over: it must be whole, and lead to the tree that the log had there.
pub(crate) fn retrace(log: &Path, id: &[u8; 16], from: Option<&From>, rest: &From) -> Result<(), LogError> {
    let found = read_until(log, id, from, Some(rest.position), |_| Ok(()))?;
    let (reached, sequence) = (found.end, found.tree.size());
    if reached == rest.position.offset && Some(&found.tree) == rest.tree.as_ref() {
        return Ok(());
    }
    let segment = rest.position.segment;
    let flaw = found.flaw.unwrap_or(Flaw::Short);
    Err(LogError::Damaged(Finding { segment, offset: reached, sequence, flaw }))
}

fn read_until(
    log: &Path,
    id: &[u8; 16],
    from: Option<&From>,
    until: Option<Position>,
    mut found: impl FnMut(Vec<Indexed>) -> Result<(), LogError>,
) -> Result<Recovered, LogError> {
    let mut segments = open_all(log, id)?;
    segments.retain(|segment| until.is_none_or(|until| segment.header.number <= until.segment));
    let (last, earlier) =
        segments.split_last().ok_or_else(|| LogError::Missing(log.display().to_string()))?;
    let everything = From { position: Position { segment: 0, offset: FIRST_CHUNK }, sequence: 0, tree: None };
    let from = from.unwrap_or(&everything);
    if from.position.segment > last.header.number {
        return Err(LogError::CutOff { expected: from.sequence, found: last.header.tree.size() });
    }
    let wanted = earlier
        .iter()
        .zip(segments.iter().skip(1))
        .filter(|(segment, _)| segment.header.number >= from.position.segment);
    in_order(
        wanted,
        |(segment, next)| Walk::whole(from, segment, next.header.tree.size()),
        |records| hand_over(records?, &mut found),
    )?;
    let (begin, tree) = match &from.tree {
        Some(tree) if from.position.segment == last.header.number => (from.position.offset, tree.clone()),
        _ => (FIRST_CHUNK, last.header.tree.clone()),
    };
    let mut walk = Walk::new(from, tree.size());
    let mut tree = Some(tree);
    let until = until.map_or(u64::MAX, |until| until.offset);
    let end = walk.segment(last, begin, until, &mut tree)?;
    hand_over(walk.records, &mut found)?;
    Ok(Recovered {
        segment: last.clone(),
        end: end.offset,
        tree: tree.unwrap_or_default(),
        last_write: end.last_write.min(end.offset),
        flaw: end.flaw,
        torn: 0,
    })
}

/// Gives records to `found`, a few at a time.
fn hand_over(
    mut records: Vec<Indexed>,
    found: &mut impl FnMut(Vec<Indexed>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    while !records.is_empty() {
        let rest = records.split_off(records.len().min(4096));
        found(std::mem::replace(&mut records, rest))?;
    }
    Ok(())
}

/// Opens every segment; each must follow the one before.
fn open_all(log: &Path, id: &[u8; 16]) -> Result<Vec<Segment>, LogError> {
    let mut segments: Vec<Segment> = Vec::new();
    for number in segment::list(log)? {
        let next = segment::open(log, id, number)?;
        let in_order = match segments.last() {
            None => number == 1 && next.header.tree.size() == 0,
            Some(before) => {
                number == before.header.number + 1
                    && next.header.previous == before.header_hash
                    && next.header.tree.size() >= before.header.tree.size()
            }
        };
        if !in_order {
            let sequence = next.header.tree.size();
            return Err(LogError::Damaged(Finding {
                segment: number,
                offset: 0,
                sequence,
                flaw: Flaw::Order,
            }));
        }
        segments.push(next);
    }
    Ok(segments)
}

/// Where whole records end, and why, if not because nothing more was written.
struct End {
    offset: u64,
    /// Where the write began that the last of them was part of.
    last_write: u64,
    flaw: Option<Flaw>,
}

/// The way through a segment.
struct Walk {
    /// The first record that is wanted.
    wanted: u64,
    /// The number that is due.
    sequence: u64,
    /// Where the entry of the present frame begins: at its first blob.
    begin: u64,
    /// What was found, as far as it is wanted.
    records: Vec<Indexed>,
}

impl Walk {
    const fn new(from: &From, sequence: u64) -> Self {
        Self { wanted: from.sequence, sequence, begin: 0, records: Vec::new() }
    }

    /// The records of a segment that others follow: it must hold all of them up to the number of the next one's first.
    fn whole(from: &From, segment: &Segment, next: u64) -> Result<Vec<Indexed>, LogError> {
        let mut walk = Self::new(from, segment.header.tree.size());
        let mut begin = FIRST_CHUNK;
        // In one that was cleaned the index does not know where they are.
        if segment.header.number == from.position.segment && !cleaned::is_cleaned(segment) {
            walk.sequence = from.sequence;
            begin = from.position.offset;
        }
        let end = walk.segment(segment, begin, u64::MAX, &mut None)?;
        match end.flaw.or_else(|| (walk.sequence != next).then_some(Flaw::Short)) {
            Some(flaw) => Err(walk.damaged(segment, end.offset, flaw)),
            None => Ok(walk.records),
        }
    }

    fn segment(
        &mut self,
        segment: &Segment,
        begin: u64,
        until: u64,
        tree: &mut Option<Tree>,
    ) -> Result<End, LogError> {
        let unreadable = |e: io::Error| LogError::io("a segment cannot be read", &e);
        let mut scanner = Scanner::new(segment, begin);
        self.begin = begin;
        let mut last_write = begin;
        while scanner.offset() < until {
            let chunk = match scanner.next().map_err(unreadable)? {
                Found::Chunk(chunk) => chunk,
                Found::Nothing => return Ok(End { offset: self.begin, last_write, flaw: None }),
                Found::Broken(flaw) => {
                    return Ok(End { offset: self.begin, last_write, flaw: Some(flaw) });
                }
            };
            match chunk.head.kind {
                ChunkType::Blob => continue,
                ChunkType::Note => {}
                ChunkType::Frame => self.frame(segment, &chunk)?,
                ChunkType::Removed => self.removed(segment),
            }
            if let Some(tree) = tree
                && chunk.head.kind != ChunkType::Note
            {
                tree.push(chunk.head.hash);
            }
            self.begin = chunk.end();
            last_write = u64::from(chunk.head.write);
        }
        Ok(End { offset: self.begin, last_write, flaw: None })
    }

    fn frame(&mut self, segment: &Segment, chunk: &Chunk) -> Result<(), LogError> {
        // The hash was right: what cannot be read was written so.
        let head = super::frame::frame_head(&chunk.content)
            .map_err(|_| self.damaged(segment, chunk.offset, Flaw::Fields))?;
        if head.sequence != self.sequence {
            return Err(self.damaged(segment, chunk.offset, Flaw::Sequence));
        }
        if head.sequence >= self.wanted {
            let frame =
                Frame::decode(&chunk.content).map_err(|flaw| self.damaged(segment, chunk.offset, flaw))?;
            self.records.push(Indexed {
                sequence: head.sequence,
                kind: head.kind,
                time: head.time,
                position: Position { segment: segment.header.number, offset: self.begin },
                facts: Facts::of(&frame.record),
            });
        }
        self.sequence += 1;
        Ok(())
    }

    /// Nothing is known of it but that it was there: something that cannot be read stands in its place.
    fn removed(&mut self, segment: &Segment) {
        if self.sequence >= self.wanted {
            let position = Position { segment: segment.header.number, offset: self.begin };
            self.records.push(Indexed::unknown(self.sequence, position));
        }
        self.sequence += 1;
    }

    fn damaged(&self, segment: &Segment, offset: u64, flaw: Flaw) -> LogError {
        LogError::Damaged(Finding { segment: segment.header.number, offset, sequence: self.sequence, flaw })
    }
}

/// What stands behind the last record that is whole.
enum Remnant {
    Nothing,
    /// A write that was not finished; its first byte.
    Torn(u64),
    Damage(Finding),
}

fn remnant(last: &Segment, end: u64, sequence: u64) -> Result<Remnant, LogError> {
    let failed = |e: io::Error| LogError::io("the end of the log cannot be read", &e);
    let Some(data) = segment::data_from(last, end).map_err(failed)? else { return Ok(Remnant::Nothing) };
    if !segment::later_write(last, end).map_err(failed)? {
        return Ok(Remnant::Torn(data));
    }
    let flaw = match Scanner::new(last, end).next().map_err(failed)? {
        Found::Broken(flaw) => flaw,
        Found::Nothing | Found::Chunk(_) => Flaw::Chunk,
    };
    Ok(Remnant::Damage(Finding { segment: last.header.number, offset: end, sequence, flaw }))
}

/// Makes sure that nothing but zeros follows the last record, so that no remnant is ever taken for a record.
fn cut_off(disk: &dyn Disk, last: &Segment, end: u64, sequence: u64, capacity: u64) -> Result<u64, LogError> {
    let failed = |e: io::Error| LogError::io("the end of the log cannot be repaired", &e);
    let mut torn = 0;
    let mut next = match remnant(last, end, sequence)? {
        Remnant::Nothing => None,
        Remnant::Torn(data) => Some(data),
        Remnant::Damage(finding) => return Err(LogError::Damaged(finding)),
    };
    while let Some(data) = next {
        // How far the remnant reaches, by pages.
        let at = data / 4096 * 4096 + 4096;
        torn = at.min(last.capacity) - end;
        next = segment::data_from(last, at).map_err(failed)?;
    }
    if torn > 0 || last.capacity < capacity {
        disk.truncate(&last.file, end).map_err(failed)?;
        disk.allocate(&last.file, capacity.max(last.capacity)).map_err(failed)?;
        disk.sync(&last.file).map_err(failed)?;
    }
    Ok(torn)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cert_authority::clock::UnixTime;

    use super::*;
    use crate::messagelog::{
        disk::SystemDisk,
        frame::{CHUNK_HEAD, ChunkHead, FrameHead, SegmentHeader},
        record::{AccessRecord, Record},
        tree,
    };

    const ID: [u8; 16] = [3; 16];
    const CAPACITY: u64 = 16 << 10;

    /// A log of three records in three writes; gives where the last write begins and ends.
    fn three_records(log: &Path) -> (Segment, u64, u64) {
        std::fs::create_dir(segment::directory(log)).unwrap();
        let header = SegmentHeader {
            log: ID,
            number: 1,
            created: UnixTime::from_secs(0),
            previous: [0; 32],
            tree: Tree::default(),
        };
        let segment = segment::create(&SystemDisk, log, header, CAPACITY).unwrap();
        let (mut begin, mut end) = (FIRST_CHUNK, FIRST_CHUNK);
        for sequence in 0..3 {
            begin = end;
            let record = Record::Access(AccessRecord {
                who: "somebody".into(),
                role: None,
                action: "show".into(),
                query: "all of it".into(),
                reason: None,
                records: vec![sequence],
                bodies: false,
            });
            let head = FrameHead { kind: record.kind(), sequence, time: UnixTime::from_secs(7) };
            let content = Bytes::from([head.encode().as_slice(), &record.encode()].concat());
            let head = ChunkHead {
                kind: ChunkType::Frame,
                length: u32::try_from(content.len()).unwrap(),
                write: u32::try_from(begin).unwrap(),
                hash: tree::leaf_hash(&[&content]),
            };
            let mut bytes = [head.encode(&ID).as_slice(), &content].concat();
            bytes.resize((CHUNK_HEAD + content.len()).next_multiple_of(8), 0);
            disk::write_all(&SystemDisk, &segment.file, &bytes, begin).unwrap();
            end = begin + head.size();
        }
        (segment, begin, end)
    }

    fn recovered(log: &Path) -> Result<(Vec<u64>, Recovered), LogError> {
        let mut numbers = Vec::new();
        let recovered = recover(&SystemDisk, log, &ID, CAPACITY, None, |records| {
            numbers.extend(records.iter().map(|record| record.sequence));
            Ok(())
        })?;
        Ok((numbers, recovered))
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_off() {
        let log = tempfile::tempdir().unwrap();
        let (segment, begin, end) = three_records(log.path());
        let mut whole = vec![0; usize::try_from(CAPACITY).unwrap()];
        segment.file.read_exact_at(&mut whole, 0).unwrap();
        let last = (begin..end).rev().find(|at| whole[usize::try_from(*at).unwrap()] != 0).unwrap();
        for cut in begin..end {
            let zeros = vec![0; usize::try_from(end - cut).unwrap()];
            segment.file.write_all_at(&whole, 0).unwrap();
            segment.file.write_all_at(&zeros, cut).unwrap();
            let (numbers, found) = recovered(log.path()).unwrap();
            let records: &[u64] = if cut > last { &[0, 1, 2] } else { &[0, 1] };
            assert_eq!(numbers, records, "torn at {cut}");
            assert_eq!(found.end, if cut > last { end } else { begin });
            assert_eq!(found.torn > 0, (begin + 1..=last).contains(&cut), "torn at {cut}");
            // What is left is whole, and reads the same again.
            let (numbers, again) = recovered(log.path()).unwrap();
            assert_eq!((numbers.as_slice(), again.torn, again.capacity()), (records, 0, CAPACITY));
            assert_eq!(again.tree, found.tree);
        }
    }

    #[test]
    fn any_changed_byte_of_an_earlier_write_is_damage_and_not_a_torn_tail() {
        let log = tempfile::tempdir().unwrap();
        let (segment, begin, _) = three_records(log.path());
        let mut whole = vec![0; usize::try_from(CAPACITY).unwrap()];
        segment.file.read_exact_at(&mut whole, 0).unwrap();
        for at in FIRST_CHUNK..begin {
            let byte = whole[usize::try_from(at).unwrap()];
            segment.file.write_all_at(&[byte ^ 0x40], at).unwrap();
            match recovered(log.path()) {
                Err(LogError::Damaged(finding)) => assert!(finding.sequence < 2, "{at}: {finding}"),
                // Padding after the content belongs to nothing.
                Ok((numbers, _)) => assert!(byte == 0 && numbers == [0, 1, 2], "{at}"),
                Err(other) => panic!("{at}: {other}"),
            }
            segment.file.write_all_at(&[byte], at).unwrap();
        }
    }

    impl Recovered {
        fn capacity(&self) -> u64 {
            self.segment.capacity
        }
    }
}
