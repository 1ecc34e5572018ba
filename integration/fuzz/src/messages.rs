//! Messages: multipart, between gateways, REST, SOAP, faults.

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto;
use gateway::fault::{Fault, rest, soap as fault_soap};
use gateway::fuzzing;
use gateway::message::Protocol;
use gateway::message::multipart::{ContentType, Event, Limits, MultipartError, Part, PartHead, Reader};
use gateway::message::rest::{PathRules, RestRequest, RestResponse};
use gateway::message::soap::{SoapRequest, SoapResponse};
use gateway::message::transport::{Direction, Incoming, Item};

use crate::{choice, line};

/// The content type in a line, then the body: byte by byte, in pieces of any length, and at once, the same is read.
pub fn multipart(data: &[u8]) {
    let Some((content_type, body)) = line(data) else { return };
    let whole = read_multipart(content_type, body, body.len());
    for step in [1, 3, 67] {
        assert_eq!(read_multipart(content_type, body, step), whole, "pieces of {step}");
    }
}

type Parts = Vec<(PartHead, Vec<u8>, bool)>;

fn read_multipart(content_type: &str, body: &[u8], step: usize) -> (Parts, Option<MultipartError>) {
    let limits = Limits { folded: body.first() == Some(&b' '), ..Limits::default() };
    let mut reader = match Reader::of_type("multipart/mixed", content_type, limits) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut parts = Vec::new();
    let mut pieces = body.chunks(step.max(1));
    loop {
        match reader.pull() {
            Ok(Event::NeedMore) => match pieces.next() {
                Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
                None => return (parts, reader.finish().err()),
            },
            Ok(Event::PartHead(head)) => parts.push((head, Vec::new(), false)),
            Ok(Event::Data(data)) => parts.last_mut().unwrap().1.extend_from_slice(&data),
            Ok(Event::PartEnd) => parts.last_mut().unwrap().2 = true,
            Ok(Event::End) => match pieces.next() {
                Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
                None => return (parts, reader.finish().err()),
            },
            Err(error) => {
                // What stood in a part before the error depends on the pieces; that there is one does not.
                parts.retain(|(_, _, complete)| *complete);
                return (parts, Some(error));
            }
        }
    }
}

/// What one gateway sends another. The first byte chooses direction and protocol; then as [`multipart`].
pub fn transport_message(data: &[u8]) {
    let Some((kind, data)) = choice(data, 4) else { return };
    let Some((content_type, body)) = line(data) else { return };
    let direction = if kind & 1 == 0 { Direction::Request } else { Direction::Response };
    let protocol = if kind & 2 == 0 { Protocol::Rest } else { Protocol::Soap };
    let whole = read_transport(direction, protocol, content_type, body, body.len());
    assert_eq!(read_transport(direction, protocol, content_type, body, 1), whole, "byte by byte");
}

fn read_transport(
    direction: Direction,
    protocol: Protocol,
    content_type: &str,
    body: &[u8],
    step: usize,
) -> Result<String, String> {
    let failed = |error: &dyn ToString| error.to_string();
    let mut incoming =
        Incoming::new(direction, protocol, content_type, DigestAlgorithm::Sha512).map_err(|e| failed(&e))?;
    let (mut told, mut pieces) = (String::new(), body.chunks(step.max(1)));
    loop {
        match incoming.pull().map_err(|error| failed(&error))? {
            Item::NeedMore | Item::End => match pieces.next() {
                Some(piece) => incoming.push(Bytes::copy_from_slice(piece)),
                None => break,
            },
            // How a body is cut is not what it says: the digests are.
            item => {
                let name = format!("{item:?}");
                let kind = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
                if !kind.contains("Data") && !kind.contains("Body") {
                    told.push_str(&name);
                }
            }
        }
    }
    let digests = incoming.finish().map_err(|error| failed(&error))?;
    Ok(format!("{told}{digests:?}"))
}

/// A peer's OCSP responses: the content type in a line, then the body.
pub fn ocsp_answer(data: &[u8]) {
    let Some((content_type, body)) = line(data) else { return };
    let body = Bytes::copy_from_slice(body);
    let Some(parts) = fuzzing::ocsp_parts(content_type, &body) else { return };
    assert!(parts.iter().map(Bytes::len).sum::<usize>() <= body.len());
}

/// The part that holds a REST request.
pub fn rest_request(data: &[u8]) {
    let Ok(request) = RestRequest::parse(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(request.part(), data);
    let _ = request.service_path.check(PathRules::default());
    let part = Bytes::copy_from_slice(request.part());
    assert_eq!(RestRequest::parse(part).as_ref(), Ok(&request));
    // As a client would have sent it: what we sign then is read as what it asked.
    let text = String::from_utf8_lossy(data);
    let Some(target) = text.lines().nth(1) else { return };
    let rules = PathRules { encoded_slash: true, dot_segments: true };
    let verb = text.lines().next().unwrap_or_default();
    let made =
        RestRequest::from_client(verb, target, &request.headers, "exchange", || "id".to_owned(), rules);
    if let Ok(made) = made {
        assert_eq!(
            (&made.header.service, &made.header.client),
            (&request.header.service, &request.header.client)
        );
        assert_eq!(RestRequest::parse(made.part().clone()).as_ref(), Ok(&made));
    }
}

/// The part that holds the answer of a REST service.
pub fn rest_response(data: &[u8]) {
    let Ok(response) = RestResponse::parse(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(response.part(), data);
}

/// A SOAP envelope, the content type of its part in a line before it.
pub fn soap_envelope(data: &[u8]) {
    let Some((content_type, envelope)) = line(data) else { return };
    let Ok(content_type) = ContentType::parse(content_type) else { return };
    let part =
        || Part { head: PartHead::of(content_type.clone()), content: Bytes::copy_from_slice(envelope) };
    let request = SoapRequest::read(part(), "exchange", None, content_type.as_str());
    if let Ok(request) = &request {
        assert_eq!(request.part().content, envelope);
        let _ = request.read_body(|body| body.children().count());
        let _ = request.answered("<answer/>");
    }
    let digest = crypto::digest(DigestAlgorithm::Sha512, envelope);
    let _ = SoapResponse::read(part(), content_type.as_str());
    let made = SoapResponse::from_service(part(), content_type.as_str(), DigestAlgorithm::Sha512, &digest);
    if let Ok(made) = made {
        let again = SoapResponse::read(made.part().clone(), content_type.as_str()).unwrap();
        assert_eq!(
            again.request_hash,
            Some((DigestAlgorithm::Sha512, digest.base64()))
                .map(|(_, hash)| hash)
                .or(again.request_hash.clone())
        );
        if let Ok(request) = request {
            assert_eq!(made.header, request.header, "another header than the service wrote");
        }
    }
}

/// A fault, and what is made of it at our own doors.
pub fn soap_fault(data: &[u8]) {
    let Ok(received) = fault_soap::parse(data) else { return };
    let (code, text) = (received.code.clone(), received.text.clone());
    let fault = Fault::sent_by(gateway::fault::Side::ServerProxy, received);
    let again = fault_soap::parse(&fault_soap::render(&fault)).unwrap();
    assert!(again.code.ends_with(&code));
    if !text.contains('\r') && !text.chars().any(|c| c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        assert_eq!(again.text, text);
    }
    for accept in [&b"application/json"[..], b"text/xml", b""] {
        let _ = rest::render(&fault, [accept]);
    }
}
