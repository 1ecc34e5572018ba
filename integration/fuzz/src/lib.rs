//! What each fuzz target does with its bytes. The files in `fuzz_targets/` only call these.
//!
//! Never a panic is the least that is asked. Where it costs little, more is: what was read and written again reads the
//! same; bytes that arrive one by one are read as bytes that arrive together; what two readers both accept, both
//! understand in one way; nothing changed is believed. That nothing takes long is libFuzzer's `-timeout`.
//!
//! | module | parsers of |
//! |---|---|
//! | [`pki`] | certificates, keys, the signer's socket, OCSP, time-stamps, PEM |
//! | [`tlog`] | notes, checkpoints, proofs, requests to witnesses |
//! | [`configuration`] | anchor, directory, parameters, identifiers, certificate profiles |
//! | [`http`] | request heads, queries, trace contexts, paths of tiles, path patterns |
//! | [`messages`] | multipart, transport messages, REST, SOAP, faults |
//! | [`evidence`] | signatures, hash chains, canonical XML, containers, archives |
//! | [`log`] | segments, records |
//! | [`settings`] | settings of the three programs, OpenAPI, WSDL |
//!
//! `world` holds what verification needs to be told: it is read from the conformance data.

pub mod configuration;
pub mod evidence;
pub mod http;
pub mod log;
pub mod messages;
pub mod pki;
pub mod settings;
pub mod tlog;
pub mod world;

/// The first line, and what follows it. Targets that take two things take them so.
fn line(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&data[..end]).ok()?, &data[end + 1..]))
}

/// The first byte, as one of `of` choices, and what follows it.
fn choice(data: &[u8], of: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((usize::from(*first) % of, rest))
}
