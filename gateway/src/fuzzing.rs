//! Parsers that are nobody's business outside of this package, for the fuzz targets of `integration/fuzz`. The feature
//! `fuzzing` opens it; nothing else may.

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use crate::messagelog::frame::Frame;
use crate::messagelog::pieces::{Piece, Pieces};
use crate::messagelog::record::{Kind, Record};
use crate::metaservice::query::Query;
use crate::transport::DoorLimits;
use crate::transport::head::{self, RequestHead};
use crate::transport::ocsp_exchange;

/// What follows the bytes of a connection at a door: [`crate::transport::head`].
#[derive(Debug)]
pub struct Heads(head::Heads);

impl Heads {
    /// With the limits that doors have by default.
    #[must_use]
    pub fn new() -> Self {
        Self(head::Heads::new(&DoorLimits::default()))
    }

    /// Takes in bytes that hyper is about to read.
    pub fn observe(&self, bytes: &[u8]) {
        let _ = self.0.observe(bytes);
    }

    /// The head of the request that hyper has read.
    ///
    /// # Errors
    /// The status to refuse it with.
    pub fn take(&self, read: &Parts) -> Result<RequestHead, StatusCode> {
        self.0.take(read)
    }

    /// Whether the end of a body could be found in two places.
    #[must_use]
    pub fn is_body_in_doubt(&self) -> bool {
        self.0.is_body_in_doubt()
    }
}

impl Default for Heads {
    fn default() -> Self {
        Self::new()
    }
}

/// The parts of a peer's answer that are OCSP responses.
#[must_use]
pub fn ocsp_parts(content_type: &str, body: &Bytes) -> Option<Vec<Bytes>> {
    ocsp_exchange::read_multipart(content_type, body)
}

/// The names of a query, each with the value that counts.
#[must_use]
pub fn query(raw: &str) -> Option<Vec<(String, String)>> {
    let query = Query::read(raw).ok()?;
    let named = query.names().map(|name| (name.to_owned(), query.value(name).unwrap_or_default().to_owned()));
    Some(named.collect())
}

/// The fields of a record of this kind, as a frame holds them.
#[must_use]
pub fn record(kind: Kind, fields: Bytes) -> Option<Record> {
    Record::decode(kind, &fields).ok()
}

/// A record's fields, as a frame holds them.
#[must_use]
pub fn record_fields(record: &Record) -> Vec<u8> {
    record.encode()
}

/// What a segment of a log holds, read to its end: its frames that can be read, and whether it broke off before its end.
#[must_use]
pub fn segment(log: [u8; 16], bytes: &[u8]) -> (Vec<Frame>, bool) {
    let (mut frames, mut broke) = (Vec::new(), false);
    for piece in Pieces::new(log, 1, true, bytes) {
        match piece {
            Ok(Piece::Chunks { chunks, .. }) => {
                let contents = chunks.into_iter().map(|chunk| chunk.into_parts().1);
                frames.extend(contents.filter_map(|content| Frame::decode(&content).ok()));
            }
            Ok(Piece::End { broken, .. }) => broke |= broken,
            Ok(Piece::Begin { header, .. }) => broke |= header.is_err(),
            Ok(Piece::Head(_)) => {}
            Err(_) => broke = true,
        }
    }
    (frames, broke)
}
