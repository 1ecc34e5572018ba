//! A transport message as it comes in from a peer, and what taking it apart is: framing, order of parts, digests.
//!
//! Not here: anything that is measured.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]

use bytes::{Bytes, BytesMut};
use cert_authority::algorithm::DigestAlgorithm::Sha512;
use gateway::evidence::signature::sign;
use gateway::message::Protocol;
use gateway::message::digests::PartDigests;
use gateway::message::multipart::{Boundary, Writer};
use gateway::message::transport::{Direction, Incoming, Item, part};

use crate::world::{MESSAGE, World, at_once, digests, now};

/// What one read of a TLS connection gives.
const CHUNK: usize = 16 << 10;

/// A request as a peer sends it, cut as it comes from a socket, with its content type.
pub fn message(world: &World, length: usize) -> (String, Vec<Bytes>) {
    let body = vec![b'x'; length];
    let bundle = at_once(sign(&digests(Some(&body)), &world.signing, &world.keys, now())).unwrap().unwrap();
    let boundary = Boundary::from_random([7; 30]);
    let content_type = boundary.content_type();
    let mut writer = Writer::new(boundary);
    let mut whole = BytesMut::new();
    for (media_type, content) in [
        (part::OCSP_RESPONSE, &[0x30; 1000][..]),
        (part::REST_REQUEST, MESSAGE),
        (part::REST_BODY, &body),
        (part::HASH_CHAIN_RESULT, &bundle.hash_chain_result.unwrap()),
        (part::HASH_CHAIN, &bundle.hash_chain.unwrap()),
        (part::SIGNATURE, &bundle.signature_xml),
    ] {
        writer.part(media_type, content, &mut whole);
    }
    whole.extend(writer.end());
    (content_type, whole.chunks(CHUNK).map(Bytes::copy_from_slice).collect())
}

/// Takes it apart as a gateway does.
pub fn receive(content_type: &str, chunks: &[Bytes]) -> PartDigests {
    let mut incoming = Incoming::new(Direction::Request, Protocol::Rest, content_type, Sha512).unwrap();
    for chunk in chunks {
        incoming.push(chunk.clone());
        while !matches!(incoming.pull().unwrap(), Item::NeedMore | Item::End) {}
    }
    incoming.finish().unwrap()
}
