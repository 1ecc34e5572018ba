//! The rows, in the order of the threat model.

use super::{Make, access, headers, http, limits, multipart, path, signature, soap, tls, xml};
use crate::world::Wishes;

/// A row of the table.
pub struct Row {
    /// `T01` …
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// How many cases it has. Written down, so that a table that shrinks fails.
    pub cases: usize,
    /// What makes them.
    pub make: Option<Make>,
    /// The settings of a world of its own, for a row that changes more than it can set right again.
    pub wishes: Option<fn() -> Wishes>,
    /// Why the row, or a part of it, is not tried here.
    pub open: Option<&'static str>,
}

impl Row {
    const fn tried(id: &'static str, title: &'static str, cases: usize, make: Make) -> Self {
        Self { id, title, cases, make: Some(make), wishes: None, open: None }
    }

    const fn open(id: &'static str, title: &'static str, reason: &'static str) -> Self {
        Self { id, title, cases: 0, make: None, wishes: None, open: Some(reason) }
    }
}

/// All rows.
pub const ROWS: &[Row] = &[
    Row::tried("T01", "Stolen certificates", 6, |world| {
        Box::pin(async { tls::stolen_and_revoked(world).await.0 })
    }),
    Row::tried("T02", "Revoked certificates", 4, |world| {
        Box::pin(async { tls::stolen_and_revoked(world).await.1 })
    }),
    Row::tried("T03", "OCSP responses", 60, |world| Box::pin(tls::ocsp(world))),
    Row::tried("T04", "Unknown servers", 27, |world| Box::pin(tls::strangers(world))),
    Row::tried("T05", "Clients of others", 20, |world| Box::pin(tls::clients(world))),
    Row::tried("T06", "Signers", 28, |world| Box::pin(signature::signers(world))),
    Row::tried("T07", "Impersonation", 60, |world| Box::pin(access::impersonation(world))),
    Row::tried("T09", "Answers to something else", 26, |world| Box::pin(tls::answers(world))),
    Row::tried("T10", "Signatures", 75, |world| Box::pin(signature::values(world))),
    Row::tried("T11", "Hash chains", 57, |world| Box::pin(signature::chains(world))),
    Row::tried("T12", "Signature wrapping", 277, |world| Box::pin(signature::wrapping(world))),
    Row::tried("T13", "XML", 445, |world| Box::pin(xml::cases(world))),
    Row::tried("T14", "Multipart", 254, |world| Box::pin(multipart::cases(world))),
    Row::tried("T15", "Multipart smuggling", 93, |world| Box::pin(multipart::content_types(world))),
    Row::tried("T16", "Characters", 391, |world| Box::pin(headers::cases(world))),
    Row::tried("T17", "Request smuggling", 362, |world| Box::pin(http::smuggling(world))),
    Row::tried("T18", "Paths", 180, |world| Box::pin(path::cases(world))),
    Row::tried("T19", "Rights", 88, |world| Box::pin(access::rights(world))),
    Row::tried("T20", "Sizes", 37, |world| Box::pin(limits::sizes(world))),
    Row {
        wishes: Some(limits::impatient),
        ..Row::tried("T21", "Slowness", 28, |world| Box::pin(limits::slowness(world)))
    },
    Row::tried("T42", "SOAP", 86, |world| Box::pin(soap::cases(world))),
    Row::tried("T44", "Descriptions and lists", 24, |world| Box::pin(access::metaservices(world))),
    Row::open("T38", "QUIC", "No door speaks QUIC."),
];
