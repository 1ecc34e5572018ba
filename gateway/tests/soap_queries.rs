//! X-Road's own SOAP requests, answers and transport messages, each with the verdict that X-Road gives.
//!
//! The verdicts are those of the original's tests, codes without side and scope, but for two: of a multipart that breaks
//! off (`faulty-multipart`) X-Road says `invalid_message`, and of an OCSP response that is none (`invalid-ocsp`) `io_error`,
//! which we judge where peers are judged. The files have line ends of LF; between
//! systems a multipart has CRLF, so the multiparts are read so.
#![expect(clippy::unwrap_used, reason = "a test stops at once when its data cannot be read")]

use std::path::PathBuf;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use gateway::exchange::attached::{Following, Piece, TakeError, envelope};
use gateway::exchange::ports::{Arriving, Interrupted, Wait};
use gateway::fault::soap;
use gateway::message::soap::{SoapError, SoapRequest, SoapResponse};
use gateway::message::transport::{Direction, Incoming, Item};
use gateway::message::{Beside, ParseError, Protocol, Request};

const GOOD: &str = "good";
const FAULT: &str = "a fault";

/// Requests.
const QUERIES: &[(&str, &str)] = &[
    ("allowedMethods.query", GOOD),
    ("attach-error-withsoap.query", "inconsistent_headers"),
    ("attachm-error.query", "invalid_content_type"),
    ("attachm-faulty-soap.query", "missing_header_field"),
    ("attachm-mtom.query", GOOD),
    ("attachm-no-soap.query", "invalid_content_type"),
    ("attachm.query", GOOD),
    // Its id is empty; the original's tests fill it in before they send it.
    ("attachm2-utf8bom-inside.query", "missing_header_field"),
    ("attachm2.query", GOOD),
    ("attachments.query", GOOD),
    ("bigAttachment.query", GOOD),
    ("cdata.query", GOOD),
    ("empty.query", "invalid_soap"),
    ("fault.query", FAULT),
    ("faulty-header.query", "missing_header_field"),
    ("faulty-header2.query", "duplicate_header_field"),
    ("faulty-multipart.query", "mime_parsing_failed"),
    ("getstate-defaultnamespace.query", GOOD),
    ("getstate-subsystem.query", GOOD),
    ("getstate.query", GOOD),
    ("inconsistent-headers.query", "inconsistent_headers"),
    ("invalid-service-address.query", GOOD),
    ("listMethods.query", GOOD),
    ("malformed-body1.query", "invalid_body"),
    ("malformed-body2.query", "invalid_body"),
    ("malformed-body3.query", "inconsistent_headers"),
    ("malformed-protocolVersion.query", "invalid_protocol_version"),
    ("mimesoap.query", GOOD),
    ("missing-body.query", "missing_body"),
    ("missing-org.query", GOOD),
    ("missing-protocolVersion.query", "missing_header_field"),
    ("missing-userId.query", GOOD),
    ("missingobjecttype.query", "invalid_xml"),
    ("no-header.query", "missing_header"),
    ("no-signature.query", GOOD),
    ("no-soap.query", "invalid_soap"),
    ("notAllowed.query", GOOD),
    ("nowhitespace.query", GOOD),
    ("proxyemulator.query", GOOD),
    ("request-suffix.query", GOOD),
    ("signing-error-request.query", GOOD),
    ("signing-error-response.query", GOOD),
    ("simple-representedparty.query", GOOD),
    ("simple-rpc.query", GOOD),
    ("simple.query", GOOD),
    ("simplesoap.xml", GOOD),
    ("smallAttachment.query", GOOD),
    ("soapfault-mtom.query", GOOD),
    ("soapfaulterror.query", FAULT),
    ("split-header.query", GOOD),
    ("wrong-protocolVersion.query", "invalid_protocol_version"),
    ("wrong-version.query", "invalid_protocol_version"),
    ("xml.query", GOOD),
    ("xmlencoded.query", GOOD),
];

/// Answers of services.
const ANSWERS: &[(&str, &str)] = &[
    ("attachm-mtom.answer", GOOD),
    ("attachm.answer", GOOD),
    ("attachm2-utf8bom-inside.answer", GOOD),
    ("attachm2.answer", GOOD),
    ("attachment-small-mantis.answer", GOOD),
    ("attachments.answer", GOOD),
    ("bigAttachment.answer", GOOD),
    ("cdata.answer", GOOD),
    ("customfault.answer", FAULT),
    ("customsoapenv.answer", FAULT),
    ("faulty-fault.answer", FAULT),
    ("getstate-iso88591.answer", GOOD),
    ("getstate-subsystem.answer", GOOD),
    ("getstate.answer", GOOD),
    ("mimesoap.answer", GOOD),
    ("missing-userId.answer", GOOD),
    ("nowhitespace.answer", GOOD),
    ("requesthash.answer", GOOD),
    ("response-with-requestId.answer", GOOD),
    ("simple-comment.answer", GOOD),
    ("simple.answer", GOOD),
    ("smallAttachment.answer", GOOD),
    ("soapfault-mtom.answer", FAULT),
    ("split-header.answer", GOOD),
    ("xmlencoded.answer", GOOD),
    ("xop.answer", GOOD),
];

/// Not SOAP: a signature, and an OCSP response.
const OTHER: &[&str] = &["signature.xml", "test.ocsp"];

/// Messages between gateways. OCSP responses are judged where peers are, not where a message is read.
const MESSAGES: &[(&str, &str)] = &[
    ("attachment.request", GOOD),
    ("extracontent.request", "invalid_message"),
    ("fault-signature.request", FAULT),
    ("invalid-contenttype-signature.request", "invalid_content_type"),
    ("invalid-ocsp.request", "missing_header_field"),
    ("invalid-soap-contenttype.request", "invalid_content_type"),
    ("normal-soapfault.request", FAULT),
    ("normal.request", GOOD),
    ("normal.response", "missing_header_field"),
    ("ocsp.request", GOOD),
];

struct Whole(Option<Bytes>);

impl Arriving for Whole {
    fn next(&mut self) -> Wait<'_, Result<Option<Bytes>, Interrupted>> {
        Box::pin(std::future::ready(Ok(self.0.take().filter(|bytes| !bytes.is_empty()))))
    }
}

fn folder(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where the data lies is told by the environment")]
    let directory = std::env::var("CONFORMANCE_DIR");
    if directory.is_err() {
        println!("not run: CONFORMANCE_DIR is not set");
    }
    Some(PathBuf::from(directory.ok()?).join("xroad-7.8.0").join(name))
}

/// A file as a body, and its content type: its first line tells whether it is a multipart, its second which envelope.
fn body(path: &PathBuf, multipart: &str) -> (String, Bytes) {
    let bytes = std::fs::read(path).unwrap();
    let Some(rest) = bytes.strip_prefix(b"--") else {
        return ("text/xml; charset=utf-8".to_owned(), bytes.into());
    };
    let boundary =
        String::from_utf8_lossy(rest.split(|byte| b"\r\n".contains(byte)).next().unwrap()).into_owned();
    let mut crlf = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => crlf.extend([line.strip_suffix(b"\r").unwrap_or(line), b"\r\n"].concat()),
            None => crlf.extend_from_slice(line),
        }
    }
    (format!("{multipart}; boundary={boundary}"), crlf.into())
}

/// Reads everything that follows an envelope.
async fn drain(mut following: Following) -> Result<usize, TakeError> {
    let mut attachments = 0;
    while let Some(piece) = following.next().await? {
        attachments += usize::from(matches!(piece, Piece::Begin(_)));
    }
    Ok(attachments)
}

fn verdict<T>(result: Result<T, TakeError>) -> String {
    match result {
        Ok(_) => GOOD.to_owned(),
        Err(TakeError::Soap(SoapError::Fault(_))) => FAULT.to_owned(),
        Err(TakeError::Soap(error)) => error.leaf().wire().to_owned(),
        Err(TakeError::Interrupted(error)) => error.to_string(),
    }
}

async fn query(path: &PathBuf) -> Result<usize, TakeError> {
    let (content_type, bytes) = body(path, "multipart/related");
    let (part, following) = envelope(Some(&content_type), Box::new(Whole(Some(bytes.clone())))).await?;
    let content = part.content.clone();
    let request = SoapRequest::read(part, "exchange", None, content_type)?;
    assert_eq!(request.part().content, content, "what is signed is what came");
    drain(following).await
}

async fn answer(path: &PathBuf) -> Result<usize, TakeError> {
    let (content_type, bytes) = body(path, "multipart/related");
    let (part, following) = envelope(Some(&content_type), Box::new(Whole(Some(bytes)))).await?;
    let hash = digest(DigestAlgorithm::Sha512, b"request");
    let answer = SoapResponse::from_service(part, content_type, DigestAlgorithm::Sha512, &hash)?;
    assert_eq!(answer.request_hash, Some(hash.base64()));
    drain(following).await
}

#[tokio::test]
async fn every_soap_query_gets_the_verdict_of_x_road() {
    let Some(folder) = folder("soap-queries") else { return };
    let mut wrong = Vec::new();
    for (name, expected) in QUERIES {
        let found = verdict(query(&folder.join(name)).await);
        wrong.extend((found != *expected).then(|| format!("{name}: {found}, not {expected}")));
    }
    for (name, expected) in ANSWERS {
        let found = verdict(answer(&folder.join(name)).await);
        wrong.extend((found != *expected).then(|| format!("{name}: {found}, not {expected}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let known = QUERIES.len() + ANSWERS.len() + OTHER.len();
    println!(
        "{known} of {known}: {} requests, {} answers, {} others",
        QUERIES.len(),
        ANSWERS.len(),
        OTHER.len()
    );
    assert_eq!((known, std::fs::read_dir(&folder).unwrap().count()), (82, 82));
}

fn message(path: &PathBuf) -> String {
    let (content_type, bytes) = body(path, "multipart/mixed");
    let (direction, algorithm) = (Direction::Response, DigestAlgorithm::Sha512);
    let mut incoming = Incoming::new(direction, Protocol::Soap, &content_type, algorithm).unwrap();
    incoming.push(bytes);
    loop {
        let item = match incoming.pull() {
            Ok(Item::NeedMore | Item::End) => break,
            Ok(item) => item,
            Err(error) => return error.leaf().wire().to_owned(),
        };
        match item {
            Item::Message(part) => match Request::parse(Protocol::Soap, part, Beside::default()) {
                Err(ParseError::Soap(SoapError::Fault(_))) => return FAULT.to_owned(),
                Err(ParseError::Soap(error)) => return error.leaf().wire().to_owned(),
                Err(ParseError::Rest(error)) => return error.leaf().wire().to_owned(),
                Ok(_) => {}
            },
            Item::Fault(fault) => {
                soap::parse(&fault).unwrap();
                return FAULT.to_owned();
            }
            _ => {}
        }
    }
    incoming.finish().map_or_else(|error| error.leaf().wire().to_owned(), |_| GOOD.to_owned())
}

#[test]
fn every_message_between_gateways_gets_the_verdict_of_x_road() {
    let Some(folder) = folder("proxy-messages") else { return };
    let wrong: Vec<_> = MESSAGES
        .iter()
        .map(|(name, expected)| (name, expected, message(&folder.join(name))))
        .filter(|(_, expected, found)| found != **expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{} of {}", MESSAGES.len(), MESSAGES.len());
    assert_eq!((MESSAGES.len(), std::fs::read_dir(&folder).unwrap().count()), (10, 10));
}
