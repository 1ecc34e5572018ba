//! A block of the index: where 256 records lie, and whose they are.
//!
//! Not here: which blocks there are ([`super::index`]), what is looked for in them ([`super::reader`]).

use bytes::{Buf, BufMut, Bytes};
use cert_authority::clock::UnixTime;

use super::{
    encoding::{Reader, Unreadable, Writer},
    record::Kind,
    segment::Position,
};

/// How many records a block has when it is full.
pub(crate) const BLOCK: usize = 256;
/// What is kept of where a record lies: segment, offset, kind, time.
const PLACE: usize = 25;

/// 256 records, or fewer in the last block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first: u64,
    /// As they lie in the database: of most blocks that are looked at a search wants none.
    places: Vec<[u8; PLACE]>,
    times: Option<Times>,
    clients: Names,
    services: Names,
}

/// When the earliest and the latest of some records were logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) earliest: UnixTime,
    pub(crate) latest: UnixTime,
}

impl Times {
    /// Those of one record more.
    pub(crate) fn with(times: Option<Self>, time: UnixTime) -> Self {
        let Self { earliest, latest } = times.unwrap_or(Self { earliest: time, latest: time });
        Self { earliest: earliest.min(time), latest: latest.max(time) }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        out.put_i64(self.earliest.as_millis());
        out.put_i64(self.latest.as_millis());
        out
    }

    pub(super) fn decode(mut from: &[u8]) -> Result<Self, Unreadable> {
        let mut time = || from.try_get_i64().map(UnixTime::from_millis).map_err(|_| Unreadable);
        Ok(Self { earliest: time()?, latest: time()? })
    }
}

/// Names, each once, and which of them each record of a block has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    names: Vec<Bytes>,
    /// For each record the place of its name among them and one; 0 when it has none.
    of: Vec<[u8; 2]>,
}

impl Block {
    /// An empty one that begins with this record.
    pub(crate) fn new(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    pub(crate) fn push(
        &mut self,
        (position, kind, time): (Position, Kind, UnixTime),
        client: Option<&str>,
        service: Option<&str>,
    ) {
        let mut place = [0; PLACE];
        let mut to = place.as_mut_slice();
        to.put_u64(position.segment);
        to.put_u64(position.offset);
        to.put_u8(kind.code());
        to.put_i64(time.as_millis());
        self.places.push(place);
        self.times = Some(Times::with(self.times, time));
        self.clients.push(client);
        self.services.push(service);
    }

    /// How many records it has.
    pub(crate) const fn len(&self) -> usize {
        self.places.len()
    }

    /// The number after its last record.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.places.len()).unwrap_or(0))
    }

    /// Where the record of this number lies.
    pub(crate) fn position(&self, sequence: u64) -> Option<Position> {
        let at = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        Some(place(self.places.get(at)?)?.0)
    }

    /// Number, kind and time of each record.
    pub(crate) fn records(&self) -> impl DoubleEndedIterator<Item = (u64, Kind, UnixTime)> {
        let numbered = self.places.iter().enumerate();
        numbered.filter_map(|(at, bytes)| {
            let (_, kind, time) = place(bytes)?;
            Some((self.first.saturating_add(u64::try_from(at).ok()?), kind, time))
        })
    }

    pub(crate) const fn times(&self) -> Option<Times> {
        self.times
    }

    /// All clients, and all services, of its records.
    pub(crate) fn names(&self) -> (impl Iterator<Item = &[u8]>, impl Iterator<Item = &[u8]>) {
        (self.clients.names.iter().map(Bytes::as_ref), self.services.names.iter().map(Bytes::as_ref))
    }

    /// Client and service of the record of this number.
    pub(crate) fn names_of(&self, sequence: u64) -> (Option<&[u8]>, Option<&[u8]>) {
        let at = sequence.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        at.map_or((None, None), |at| (self.clients.of(at), self.services.of(at)))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let times = self.times.map(Times::encode).unwrap_or_default();
        let mut out = Writer::default();
        out.bytes(1, self.places.as_flattened())
            .list(2, &self.clients.names)
            .list(3, &self.services.names)
            .bytes(4, self.clients.of.as_flattened())
            .bytes(5, self.services.of.as_flattened())
            .bytes(6, &times);
        out.finish()
    }

    pub(super) fn decode(first: u64, bytes: Bytes) -> Result<Self, Unreadable> {
        let mut from = Reader::new(&bytes);
        let places = rows(from.raw(1)?)?;
        let (clients, services) = (from.list(2)?, from.list(3)?);
        let clients = Names { names: clients, of: rows(from.raw(4)?)? };
        let services = Names { names: services, of: rows(from.raw(5)?)? };
        let times = Some(Times::decode(from.raw(6)?)?);
        let readable = |bytes: &[u8; PLACE]| place(bytes).is_some();
        if clients.of.len() != places.len()
            || services.of.len() != places.len()
            || !places.iter().all(readable)
        {
            return Err(Unreadable);
        }
        Ok(Self { first, places, times, clients, services })
    }
}

impl Names {
    fn push(&mut self, name: Option<&str>) {
        let number = name.map_or(0, |name| {
            // The last ones are likely to come again.
            let known = self.names.iter().rposition(|known| known == name.as_bytes());
            known.unwrap_or_else(|| {
                self.names.push(Bytes::copy_from_slice(name.as_bytes()));
                self.names.len().saturating_sub(1)
            }) + 1
        });
        self.of.push(u16::try_from(number).unwrap_or(0).to_be_bytes());
    }

    fn of(&self, at: usize) -> Option<&[u8]> {
        let number = usize::from(u16::from_be_bytes(*self.of.get(at)?));
        self.names.get(number.checked_sub(1)?).map(Bytes::as_ref)
    }
}

fn place(mut bytes: &[u8]) -> Option<(Position, Kind, UnixTime)> {
    let (segment, offset) = (bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
    let kind = bytes.try_get_u8().ok().and_then(Kind::from_code)?;
    Some((Position { segment, offset }, kind, UnixTime::from_millis(bytes.try_get_i64().ok()?)))
}

/// Rows of one length.
fn rows<const N: usize>(bytes: &[u8]) -> Result<Vec<[u8; N]>, Unreadable> {
    let (rows, rest) = bytes.as_chunks::<N>();
    if rest.is_empty() { Ok(rows.to_vec()) } else { Err(Unreadable) }
}
