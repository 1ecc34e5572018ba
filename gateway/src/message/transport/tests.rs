//! Messages between gateways, whole, in pieces, and with their parts in disorder.

use super::*;
use crate::message::multipart::{Boundary, Writer};
use cert_authority::crypto::digest;

const SHA512: DigestAlgorithm = DigestAlgorithm::Sha512;
const TYPE: &str = "multipart/mixed; boundary=b";

const OCSP: (&str, &str) = (part::OCSP_RESPONSE, "der");
const REQUEST: (&str, &str) = (part::REST_REQUEST, "GET");
const RESPONSE: (&str, &str) = (part::REST_RESPONSE, "200");
const BODY: (&str, &str) = (part::REST_BODY, "body");
const RESULT: (&str, &str) = (part::HASH_CHAIN_RESULT, "result");
const CHAIN: (&str, &str) = (part::HASH_CHAIN, "chain");
const SIGNATURE: (&str, &str) = (part::SIGNATURE, "signature");
const FAULT: (&str, &str) = (part::FAULT, "fault");

fn body(parts: &[(&str, &str)]) -> Bytes {
    let mut writer = Writer::new(Boundary::new("b").unwrap());
    let mut body = BytesMut::new();
    parts.iter().for_each(|(media_type, content)| writer.part(media_type, content.as_bytes(), &mut body));
    body.extend(writer.end());
    body.freeze()
}

fn head(media_type: &str) -> PartHead {
    PartHead::of(ContentType::parse(media_type).unwrap())
}

fn message(media_type: &str, content: &'static str) -> Item {
    Item::Message(Part { head: head(media_type), content: content.into() })
}

fn receive(
    direction: Direction,
    body: &Bytes,
    piece: usize,
) -> Result<(Vec<Item>, Result<PartDigests, TransportError>), TransportError> {
    let mut incoming = Incoming::new(direction, Protocol::Rest, TYPE, SHA512)?;
    let mut items: Vec<Item> = Vec::new();
    for at in (0..body.len()).step_by(piece) {
        incoming.push(body.slice(at..body.len().min(at + piece)));
        loop {
            match (incoming.pull()?, items.last_mut()) {
                (Item::NeedMore | Item::End, _) => break,
                (Item::AttachmentData(more), Some(Item::AttachmentData(data))) => {
                    *data = [&data[..], &more].concat().into()
                }
                (item, _) => items.push(item),
            }
        }
    }
    Ok((items, incoming.finish()))
}

fn received(direction: Direction, parts: &[(&str, &str)]) -> Result<Vec<Item>, TransportError> {
    let body = body(parts);
    let whole = receive(direction, &body, body.len());
    assert_eq!(whole, receive(direction, &body, 1));
    whole.and_then(|(items, digests)| digests.map(|_| items))
}

fn request(parts: &[(&str, &str)]) -> Result<Vec<Item>, TransportError> {
    received(Direction::Request, parts)
}

#[test]
fn a_whole_request_is_taken_apart_and_hashed() {
    let parts = [OCSP, OCSP, REQUEST, BODY, RESULT, CHAIN, SIGNATURE];
    let (items, digests) = receive(Direction::Request, &body(&parts), 7).unwrap();
    assert_eq!(
        items,
        [
            Item::OcspResponse("der".into()),
            Item::OcspResponse("der".into()),
            message(part::REST_REQUEST, "GET"),
            Item::AttachmentBegin(head(part::REST_BODY)),
            Item::AttachmentData("body".into()),
            Item::AttachmentEnd,
            Item::HashChainResult("result".into()),
            Item::HashChain("chain".into()),
            Item::Signature("signature".into()),
        ]
    );
    let expected = PartDigests::of_message(SHA512, b"GET").with_attachment(digest(SHA512, b"body"));
    assert_eq!(digests, Ok(expected));
}

#[test]
fn what_is_optional_may_be_absent() {
    assert!(request(&[REQUEST, SIGNATURE]).is_ok());
    assert!(request(&[OCSP, REQUEST, RESULT, CHAIN, SIGNATURE]).is_ok());
    // Whether a signature needs its chain is for the signature to say.
    assert!(request(&[REQUEST, BODY, SIGNATURE]).is_ok());
    assert!(request(&[REQUEST, BODY, RESULT, SIGNATURE]).is_ok());
    assert!(request(&[REQUEST, BODY, CHAIN, SIGNATURE]).is_ok());
    assert!(received(Direction::Response, &[RESPONSE, BODY, RESULT, CHAIN, SIGNATURE]).is_ok());
}

#[test]
fn an_empty_body_is_a_part_and_an_absent_one_is_none() {
    let empty =
        receive(Direction::Request, &body(&[REQUEST, (part::REST_BODY, ""), SIGNATURE]), 1000).unwrap();
    assert_eq!(empty.1.unwrap().attachments, [digest(SHA512, b"")]);
    assert_eq!(empty.0[1..3], [Item::AttachmentBegin(head(part::REST_BODY)), Item::AttachmentEnd]);
    let absent = receive(Direction::Request, &body(&[REQUEST, SIGNATURE]), 1000).unwrap();
    assert_eq!(absent.1.unwrap().attachments, []);
}

#[test]
fn parts_out_of_order_doubled_or_unknown_are_refused() {
    for parts in [
        &[BODY, REQUEST, SIGNATURE][..],
        &[SIGNATURE, REQUEST],
        &[RESULT, REQUEST, SIGNATURE],
        &[REQUEST, OCSP, SIGNATURE],
        &[REQUEST, REQUEST, SIGNATURE],
        &[REQUEST, BODY, BODY, SIGNATURE],
        &[REQUEST, RESULT, BODY, SIGNATURE],
        &[REQUEST, BODY, CHAIN, RESULT, SIGNATURE],
        &[REQUEST, RESULT, RESULT, SIGNATURE],
        &[REQUEST, CHAIN, CHAIN, SIGNATURE],
        &[REQUEST, ("text/plain", "x"), SIGNATURE],
        &[REQUEST, ("multipart/mixed", "x"), SIGNATURE],
    ] {
        let refused = request(parts).unwrap_err();
        assert!(matches!(refused, TransportError::UnexpectedPart(_)), "{parts:?}: {refused:?}");
        assert_eq!((refused.leaf(), refused.is_service_failure()), (Leaf::InvalidContentType, true));
    }
}

#[test]
fn nothing_may_follow_the_signature() {
    for extra in [OCSP, REQUEST, BODY, CHAIN, SIGNATURE, FAULT, ("text/plain", "x")] {
        let refused = request(&[REQUEST, SIGNATURE, extra]).unwrap_err();
        assert_eq!(refused, TransportError::ExtraPart(extra.0.to_owned()));
        assert_eq!((refused.leaf(), refused.is_service_failure()), (Leaf::InvalidMessage, true));
    }
}

#[test]
fn a_message_without_its_main_parts_is_refused() {
    for (parts, leaf) in [
        (&[][..], Leaf::MissingRest),
        (&[OCSP], Leaf::MissingRest),
        (&[FAULT], Leaf::MissingRest),
        (&[RESPONSE, SIGNATURE], Leaf::MissingRest),
        (&[REQUEST], Leaf::MissingSignature),
        (&[REQUEST, BODY, RESULT, CHAIN], Leaf::MissingSignature),
        (&[REQUEST, FAULT], Leaf::MissingSignature),
    ] {
        let refused = request(parts).unwrap_err();
        assert_eq!((refused.leaf(), refused.is_service_failure()), (leaf, false), "{parts:?}");
    }
    let other = received(Direction::Response, &[REQUEST, SIGNATURE]).unwrap_err();
    assert_eq!(other, TransportError::MissingMessage(Protocol::Rest));
}

#[test]
fn a_fault_may_stand_for_the_message_or_the_signature() {
    for parts in
        [&[FAULT][..], &[RESPONSE, FAULT], &[RESPONSE, BODY, FAULT], &[RESPONSE, BODY, RESULT, FAULT]]
    {
        let (items, digests) = receive(Direction::Response, &body(parts), 10).unwrap();
        assert_eq!(items.last(), Some(&Item::Fault("fault".into())));
        assert!(digests.is_err());
    }
    assert!(is_whole_fault("text/xml;charset=utf-8"));
    assert!(!is_whole_fault(TYPE));
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let body = body(&[OCSP, REQUEST, BODY, RESULT, CHAIN, SIGNATURE]);
    let complete = body.len() - "\r\n".len();
    for length in 0..complete {
        let (_, digests) = receive(Direction::Request, &body.slice(..length), 16).unwrap();
        assert_eq!(digests, Err(TransportError::Multipart(MultipartError::Truncated)), "{length}");
    }
    assert!(receive(Direction::Request, &body.slice(..complete), 16).unwrap().1.is_ok());
}

#[test]
fn parts_larger_than_any_message_needs_are_refused() {
    for (kind, length) in [(part::OCSP_RESPONSE, MAX_OCSP_BYTES), (part::REST_REQUEST, MAX_PART_BYTES)] {
        let content = "x".repeat(length + 1);
        assert!(receive(Direction::Request, &body(&[(kind, &content[1..])]), 10_000).is_ok(), "{kind}");
        let refused = receive(Direction::Request, &body(&[(kind, &content)]), 10_000).unwrap_err();
        assert!(matches!(refused, TransportError::TooLarge(_)), "{kind}");
    }
    for (kind, length) in [
        (part::HASH_CHAIN_RESULT, MAX_CHAIN_BYTES),
        (part::HASH_CHAIN, MAX_CHAIN_BYTES),
        (part::SIGNATURE, MAX_SIGNATURE_BYTES),
        (part::FAULT, fault::soap::MAX_BYTES),
    ] {
        let content = "x".repeat(length + 1);
        let parts = [REQUEST, (kind, &content[1..])];
        assert!(receive(Direction::Request, &body(&parts), 10_000).is_ok(), "{kind}");
        let refused = receive(Direction::Request, &body(&[REQUEST, (kind, &content)]), 10_000).unwrap_err();
        assert!(matches!(refused, TransportError::TooLarge(_)), "{kind}");
    }
    assert!(receive(Direction::Request, &body(&[OCSP; MAX_OCSP_RESPONSES]), 100).is_ok());
    let many = receive(Direction::Request, &body(&[OCSP; MAX_OCSP_RESPONSES + 1]), 100).unwrap_err();
    assert!(matches!(many, TransportError::TooLarge(_)));
}

#[test]
fn a_content_type_that_is_no_message_is_refused() {
    for (content_type, leaf) in [
        ("text/plain", Leaf::InvalidContentType),
        ("text/xml", Leaf::InvalidContentType),
        ("multipart/related; boundary=b", Leaf::InvalidContentType),
        ("multipart/mixed", Leaf::InvalidContentType),
        ("multipart/mixed; boundary=b; boundary=c", Leaf::MimeParsingFailed),
        ("", Leaf::MimeParsingFailed),
    ] {
        let refused = Incoming::new(Direction::Request, Protocol::Rest, content_type, SHA512).unwrap_err();
        assert_eq!((refused.leaf(), refused.is_service_failure()), (leaf, true), "{content_type}");
    }
}
