//! Messages as they are between gateways: recorded ones, and our own. They are read as a gateway reads them, and judged
//! twice: by a verifier that has seen the good one and every forgery before, and by one that has seen nothing.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm::{self, Sha512};
use cert_authority::clock::UnixTime;
use cert_authority::crypto::digest;
use cert_authority::keys::KeyType;
use cert_authority::x509::Certificate;
use conf::identifier::MemberId;
use conf::snapshot::GlobalConf;
use gateway::evidence::signature::{Facts, SignatureBundle, TrustCache, sign, sign_batch, verify};
use gateway::message::Protocol;
use gateway::message::digests::PartDigests;
use gateway::message::multipart::Part;
use gateway::message::rest::{RestRequest, RestResponse};
use gateway::message::soap::{SoapRequest, SoapResponse};
use gateway::message::transport::{Direction, Incoming, Item, part};
use integration::forgeries::{BOUNDARY, Pieces, Statement, multipart, statement};
use serde_json::Value;

use crate::evidence_support::{World, block_on, configuration, conformance, now};
use crate::tests::Subject;

const SIGNED: &[&str] = &[part::SIGNATURE, part::HASH_CHAIN_RESULT, part::HASH_CHAIN];

/// Who verifies, when.
struct Verifier {
    conf: GlobalConf,
    /// Remembers whom it has verified.
    trust: TrustCache,
}

/// How a message goes.
#[derive(Clone, Copy)]
struct Way {
    direction: Direction,
    protocol: Protocol,
    algorithm: DigestAlgorithm,
    at: UnixTime,
}

pub(crate) fn subjects() -> Vec<Subject> {
    let mut subjects = recorded();
    own(&mut subjects);
    subjects
}

fn subject(name: String, pieces: Pieces, way: Way, verifier: &Rc<Verifier>) -> Subject {
    let verifier = Rc::clone(verifier);
    Subject { name, pieces, signed: SIGNED, judge: Box::new(move |pieces| judge(pieces, way, &verifier)) }
}

fn judge(pieces: &Pieces, way: Way, verifier: &Verifier) -> Result<Statement, String> {
    let received = Received::read(pieces, way)?;
    let judge = |trust: &TrustCache| {
        let Received { digests, bundle, sender, .. } = &received;
        let verified = verify((), digests, bundle, &verifier.conf, trust, sender, way.at);
        verified.map(|verified| words(&verified.into_inner().1)).map_err(|error| error.to_string())
    };
    let (seasoned, fresh) = (judge(&verifier.trust), judge(&TrustCache::default()));
    assert_eq!(seasoned.is_ok(), fresh.is_ok(), "{seasoned:?} or {fresh:?}, as one remembers");
    let (seasoned, fresh) = (seasoned?, fresh?);
    assert_eq!(seasoned, fresh, "it says another thing to those who remember");
    let attachments = received.attachments.into_iter().map(|content| ("attachment".to_owned(), content));
    let parts = std::iter::once(("message".to_owned(), received.message)).chain(attachments).collect();
    Ok(statement(seasoned, parts, &received.bundle.signature_xml))
}

/// All that the verifier says.
fn words(facts: &Facts) -> String {
    let Facts { certificate, member, signing_time, ocsp_produced_at, covered } = facts;
    let certificate = certificate.fingerprint(DigestAlgorithm::Sha256).hex();
    format!("{member} {certificate} {signing_time:?} {ocsp_produced_at:?} {covered:?}")
}

/// A message as a gateway has it before it looks at the signature.
struct Received {
    message: Bytes,
    attachments: Vec<Bytes>,
    digests: PartDigests,
    bundle: SignatureBundle,
    sender: MemberId,
}

impl Received {
    fn read(pieces: &Pieces, way: Way) -> Result<Self, String> {
        fn said(error: impl std::fmt::Display) -> String {
            error.to_string()
        }
        let content_type = format!("multipart/mixed; boundary=\"{BOUNDARY}\"");
        let mut incoming =
            Incoming::new(way.direction, way.protocol, &content_type, way.algorithm).map_err(said)?;
        incoming.push(multipart(pieces));
        let (mut message, mut sender, mut attachments) = (None, None, Vec::new());
        let (mut signature, mut hash_chain_result, mut hash_chain) = (None, None, None);
        loop {
            match incoming.pull().map_err(said)? {
                Item::End | Item::NeedMore => break,
                Item::Fault(_) => return Err("a fault".to_owned()),
                Item::OcspResponse(_) | Item::AttachmentEnd => {}
                Item::AttachmentBegin(_) => attachments.push(Vec::new()),
                Item::AttachmentData(data) => attachments.last_mut().unwrap().extend_from_slice(&data),
                Item::HashChainResult(bytes) => hash_chain_result = Some(bytes),
                Item::HashChain(bytes) => hash_chain = Some(bytes),
                Item::Signature(bytes) => signature = Some(bytes),
                Item::Message(part) => {
                    sender = Some(member(&part, way)?);
                    message = Some(part.content);
                }
            }
        }
        let digests = incoming.finish().map_err(said)?;
        let signature_xml = signature.ok_or("no signature")?;
        Ok(Self {
            message: message.ok_or("no message")?,
            attachments: attachments.into_iter().map(Bytes::from).collect(),
            digests,
            bundle: SignatureBundle { signature_xml, hash_chain_result, hash_chain },
            sender: sender.ok_or("no sender")?,
        })
    }
}

/// Who a message says it is from.
fn member(part: &Part, way: Way) -> Result<MemberId, String> {
    let content_type = part.head.content_type.as_ref().map_or("", |known| known.as_str()).to_owned();
    let client = match (way.direction, way.protocol) {
        (Direction::Request, Protocol::Rest) => {
            RestRequest::parse(part.content.clone()).map_err(|error| error.to_string())?.header.client
        }
        (Direction::Response, Protocol::Rest) => {
            let answer = RestResponse::parse(part.content.clone()).map_err(|error| error.to_string())?;
            answer.service.ok_or("an answer of nobody")?.client().clone()
        }
        (Direction::Request, Protocol::Soap) => {
            let request = SoapRequest::read(part.clone(), "exchange", None, content_type);
            request.map_err(|error| error.to_string())?.header.client
        }
        (Direction::Response, Protocol::Soap) => {
            let answer = SoapResponse::read(part.clone(), content_type);
            answer.map_err(|error| error.to_string())?.header.service.client().clone()
        }
    };
    Ok(client.member().clone())
}

// -- recorded ----------------------------------------------------------------------------------------------------------

/// Recorded messages of each shape: with and without bodies and attachments, alone and in batches, both ways.
const RECORDED: [(&str, &str, Protocol); 11] = [
    ("rest-get-plain", "request", Protocol::Rest),
    ("rest-get-plain", "response", Protocol::Rest),
    ("rest-post-form", "request", Protocol::Rest),
    ("rest-intermediate-ca", "request", Protocol::Rest),
    ("batch-get-5-1", "request", Protocol::Rest),
    ("batch-get-5-2", "request", Protocol::Rest),
    ("batch-post-7-3", "request", Protocol::Rest),
    ("batch-soap-2-1", "request", Protocol::Soap),
    ("soap-attach-3", "request", Protocol::Soap),
    ("soap-attach-both", "response", Protocol::Soap),
    ("soap-bom", "request", Protocol::Soap),
];

fn recorded() -> Vec<Subject> {
    let Some(folder) = conformance("xroad-7.3.2-recorded") else { return Vec::new() };
    let certificate = |name: &str| {
        let pem = fs::read_to_string(folder.join(format!("certs/{name}.pem"))).unwrap();
        Certificate::from_pem(&pem).unwrap()
    };
    let responder = certificate("ocsp-responder");
    let intermediates = vec![certificate("sub-ca")];
    let conf = configuration("EE", &certificate("root-ca"), intermediates, Some(&responder), None);
    let verifier = Rc::new(Verifier { conf, trust: TrustCache::default() });
    RECORDED
        .into_iter()
        .map(|(case, direction, protocol)| {
            let (pieces, way) = load(&folder.join(case), direction, protocol);
            subject(format!("{case} {direction}"), pieces, way, &verifier)
        })
        .collect()
}

fn load(case: &Path, direction: &str, protocol: Protocol) -> (Pieces, Way) {
    let json: Value = serde_json::from_slice(&fs::read(case.join("case.json")).unwrap()).unwrap();
    let body = Bytes::from(fs::read(case.join(format!("transport-{direction}.body"))).unwrap());
    let (algorithm, way) = match direction {
        "request" => (&json["hash_algorithm"], Direction::Request),
        _ => (&json["response_hash_algorithm"], Direction::Response),
    };
    let parts = json[format!("{direction}_parts")].as_array().unwrap();
    let pieces = parts.iter().filter(|part| part["where"] == "top").map(|part| {
        let at = |key: &str| usize::try_from(part[key].as_u64().unwrap()).unwrap();
        let content_type = part["headers"].as_array().unwrap().iter().find_map(|line| {
            let (name, value) = line.as_str()?.split_once(':')?;
            name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
        });
        (content_type.unwrap(), body.slice(at("offset")..at("offset") + at("length")))
    });
    let way = Way {
        direction: way,
        protocol,
        algorithm: DigestAlgorithm::from_name(algorithm.as_str().unwrap()).unwrap(),
        at: UnixTime::from_rfc3339(json["clock_utc"].as_str().unwrap()).unwrap(),
    };
    (Pieces(pieces.collect()), way)
}

// -- our own -----------------------------------------------------------------------------------------------------------

fn own(subjects: &mut Vec<Subject>) {
    let message = |id: u8| {
        Bytes::from(format!(
            "POST\r\n/r1/EE/GOV/2002/registry/records\r\nX-Road-Client:EE/GOV/1001/portal\r\nx-road-id:{id}\r\n\
             x-road-request-id:exchange-{id}\r\n"
        ))
    };
    let way = Way { direction: Direction::Request, protocol: Protocol::Rest, algorithm: Sha512, at: now() };
    for key_type in [KeyType::EcP256, KeyType::Rsa2048] {
        let world = World::with_intermediate(key_type);
        let key = world.signing_key();
        let messages = [
            (message(1), None),
            (message(2), Some(Bytes::from_static(b"a body"))),
            // Neighbours in a batch: alone, alone, with a body.
            (message(3), None),
            (message(4), None),
            (message(5), Some(Bytes::from_static(b"another body"))),
        ];
        let digests = messages.each_ref().map(|(message, body)| {
            let digests = PartDigests::of_message(Sha512, message);
            body.iter().fold(digests, |digests, body| digests.with_attachment(digest(Sha512, body)))
        });
        let mut bundles = vec![
            block_on(sign(&digests[0], &key, &world.keys, now())).unwrap(),
            block_on(sign(&digests[1], &key, &world.keys, now())).unwrap(),
        ];
        let batch = [&digests[2], &digests[3], &digests[4]];
        bundles.extend(block_on(sign_batch(&batch, &key, &world.keys, now())).unwrap());
        let names = ["alone", "with a body", "in a batch", "beside it", "with a body, in the batch"];
        let verifier = Rc::new(Verifier { conf: world.conf, trust: TrustCache::default() });
        for ((name, (message, body)), bundle) in names.into_iter().zip(messages).zip(bundles) {
            let mut pieces = vec![(part::REST_REQUEST.to_owned(), message)];
            pieces.extend(body.map(|body| (part::REST_BODY.to_owned(), body)));
            pieces.extend(bundle.hash_chain_result.map(|bytes| (part::HASH_CHAIN_RESULT.to_owned(), bytes)));
            pieces.extend(bundle.hash_chain.map(|bytes| (part::HASH_CHAIN.to_owned(), bytes)));
            pieces.push((part::SIGNATURE.to_owned(), bundle.signature_xml));
            subjects.push(subject(format!("ours, {key_type:?}: {name}"), Pieces(pieces), way, &verifier));
        }
    }
}
