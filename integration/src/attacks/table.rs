//! The rows, in the order of the threat model.

use super::{
    Make, access, admin, conf, doors, evidence, headers, http, limits, multipart, path, signature, soap, tls,
    xml,
};
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
    Row {
        open: Some(
            "nothing looks for messages that were seen before, as with X-Road; `warn` and `reject` are not built",
        ),
        ..Row::tried("T08", "Replays", 4, |world| Box::pin(doors::replays(world)))
    },
    Row::tried("T09", "Answers to something else", 26, |world| Box::pin(tls::answers(world))),
    Row::tried("T10", "Signatures", 75, |world| Box::pin(signature::values(world))),
    Row::tried("T11", "Hash chains", 57, |world| Box::pin(signature::chains(world))),
    Row::tried("T12", "Signature wrapping", 277, |world| Box::pin(signature::wrapping(world))),
    Row::tried("T13", "XML", 445, |world| Box::pin(xml::cases(world))),
    Row::tried("T14", "Multipart", 254, |world| Box::pin(multipart::cases(world))),
    Row::tried("T15", "Multipart smuggling", 93, |world| Box::pin(multipart::content_types(world))),
    Row::tried("T16", "Characters", 391, |world| Box::pin(headers::cases(world))),
    Row::tried("T17", "Request smuggling", 364, |world| Box::pin(http::smuggling(world))),
    Row::tried("T18", "Paths", 180, |world| Box::pin(path::cases(world))),
    Row::tried("T19", "Rights", 88, |world| Box::pin(access::rights(world))),
    Row::tried("T20", "Sizes", 37, |world| Box::pin(limits::sizes(world))),
    Row {
        wishes: Some(limits::impatient),
        ..Row::tried("T21", "Slowness", 28, |world| Box::pin(limits::slowness(world)))
    },
    Row::open(
        "T22",
        "Decompression bombs",
        "bodies are never unpacked; bombs in containers: the tests of gateway/src/evidence/asic",
    ),
    Row::open("T23", "Large bodies", "takes minutes: tests/large_body.rs, gateway/tests/log_large_body.rs"),
    Row {
        wishes: Some(Wishes::default),
        ..Row::tried("T24", "Expired configuration", 8, |world| Box::pin(conf::expired(world)))
    },
    Row::tried("T25", "Rolled-back configuration", 6, |world| {
        Box::pin(async { conf::sources(world).await.0 })
    }),
    Row::tried("T26", "Lying sources", 44, |world| Box::pin(async { conf::sources(world).await.1 })),
    Row::open("T27", "Federation", "not built: other instances are not served"),
    Row::tried("T28", "Time-stamps", 4, |world| Box::pin(conf::stamps(world))),
    Row {
        wishes: Some(doors::soon_without_stamps),
        ..Row::tried("T29", "No time-stamps for too long", 5, |world| Box::pin(doors::without_stamps(world)))
    },
    Row {
        wishes: Some(Wishes::default),
        ..Row::tried("T30", "Log tampering", 59, |world| Box::pin(evidence::log(world)))
    },
    Row::open(
        "T31",
        "Full and failing disks",
        "needs file systems of its own: tests/faults.rs, gateway/tests/log_faults.rs",
    ),
    Row::open("T32", "Clock jumps", "neither an alarm nor a refusal is built"),
    Row::open("T33", "Key files", "concerns the start: cert-authority/tests/keys.rs"),
    Row::open("T34", "PIN", "concerns the start: cert-authority/tests/keys.rs; memory is not locked"),
    Row::open(
        "T35",
        "Addresses of services",
        "only the settings name them; what is fetched: gateway/tests/description_fetch.rs",
    ),
    Row {
        wishes: Some(admin::with_tokens),
        ..Row::tried("T36", "Administration", 76, |world| Box::pin(admin::cases(world)))
    },
    Row::tried("T37", "Handshakes", 38, |world| Box::pin(doors::handshakes(world))),
    Row::open("T38", "QUIC", "not built: no door speaks QUIC"),
    Row {
        open: Some("the authority's own responder is tried in cert-authority/tests/ocsp.rs"),
        ..Row::tried("T39", "OCSP responders", 14, |world| Box::pin(doors::ocsp_port(world)))
    },
    Row::open("T40", "Requests for certificates", "concerns the authority: cert-authority/tests/service.rs"),
    Row::tried("T41", "Containers", 168, |world| Box::pin(evidence::containers(world))),
    Row::tried("T42", "SOAP", 86, |world| Box::pin(soap::cases(world))),
    Row::open("T43", "Log injection", "what the program writes about its work is not read back yet"),
    Row::tried("T44", "Descriptions and lists", 24, |world| Box::pin(access::metaservices(world))),
    Row::open(
        "T45",
        "Bodies at rest",
        "the tests of gateway/src/messagelog/body look on the disk; traces and cores are not searched yet",
    ),
    Row::open(
        "T46",
        "Timing before authentication",
        "that all refusals look alike: T04; their time is not measured yet",
    ),
];
