//! Containers: of the conformance data, and of our own making.

use std::fs;
use std::io::{Cursor, Read as _};
use std::sync::Arc;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm::Sha512;
use cert_authority::crypto::digest;
use cert_authority::keys::KeyType;
use conf::snapshot::GlobalConf;
use gateway::evidence::asic::{Container, Report, TimeStamp, verify_container, write};
use gateway::evidence::signature::sign;
use gateway::evidence::timestamp;
use gateway::message::digests::PartDigests;
use integration::forgeries::{Pieces, Statement, statement, zip};

use crate::evidence_support::{World, block_on, conformance, now};
use crate::tests::Subject;

const SIGNATURE: &str = "META-INF/signatures.xml";
const SIGNED: &[&str] = &[
    SIGNATURE,
    "sig-hashchainresult.xml",
    "sig-hashchain.xml",
    "ts-hashchainresult.xml",
    "ts-hashchain.xml",
];

/// Those of X-Road that are valid.
const VALID: [&str; 5] = [
    "containers/valid-signed-message",
    "containers/valid-non-batch-rest",
    "containers/valid-non-batch-soap-attachments",
    "containers/invalid-not-signed-hashchain",
    "containers-shape/valid-signed-message-with-attachments",
];

pub(crate) fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    if let Some(folder) = conformance("xroad-7.8.0") {
        let conf = GlobalConf::load_dir(folder.join("global-configuration/globalconf_good2_v3")).unwrap();
        let conf = Arc::new(conf);
        for name in VALID {
            let bytes = fs::read(folder.join(format!("{name}.asice"))).unwrap();
            subjects.push(subject(name, &bytes, &conf));
        }
    }
    let message =
        b"POST\r\n/r1/EE/GOV/2002/registry/records\r\nX-Road-Client:EE/GOV/1001/portal\r\nx-road-id:1\r\n";
    for (name, key, parts, batch) in [
        ("ours: a message alone", KeyType::EcP256, &[&message[..]][..], false),
        ("ours: with a body, stamped with others", KeyType::EcP384, &[message, b"{\"a\": 1}"], true),
        ("ours: with three attachments", KeyType::Rsa2048, &[message, b"one", b"two", b""], true),
    ] {
        let world = World::with_intermediate(key);
        let bytes = container(&world, parts, batch);
        subjects.push(subject(name, &bytes, &Arc::new(world.conf)));
    }
    subjects
}

fn subject(name: &str, container: &[u8], conf: &Arc<GlobalConf>) -> Subject {
    let mut archive = zip::ZipArchive::new(Cursor::new(container)).unwrap();
    let mut pieces = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        pieces.push((entry.name().unwrap().into_owned(), Bytes::from(data)));
    }
    let conf = Arc::clone(conf);
    Subject {
        name: name.to_owned(),
        pieces: Pieces(pieces),
        signed: SIGNED,
        judge: Box::new(move |pieces| judge(pieces, &conf)),
    }
}

fn judge(pieces: &Pieces, conf: &GlobalConf) -> Result<Statement, String> {
    let report = verify_container(&zip(pieces), conf).map_err(|error| error.to_string())?;
    if !report.valid {
        return Err(report.code.unwrap());
    }
    let is_part = |name: &str| {
        let number = name.strip_prefix("attachment");
        name == "message.xml"
            || number
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut parts: Vec<_> = pieces.0.iter().filter(|(name, _)| is_part(name)).cloned().collect();
    parts.sort();
    let report = serde_json::to_string(&report).unwrap();
    Ok(statement(report, parts, pieces.get(SIGNATURE).unwrap()))
}

/// Whether attachments are missing, the report says so of each, and all the rest is the same.
pub(crate) fn is_lesser(said: &Statement, original: &Statement) -> bool {
    let Ok(mut report) = serde_json::from_str::<serde_json::Value>(&original.report) else { return false };
    let has = |name: &str| said.parts.iter().any(|(known, _)| known == name);
    let gone: Vec<&String> = original.parts.iter().map(|(name, _)| name).filter(|name| !has(name)).collect();
    let are_attachments = gone.iter().all(|name| name.starts_with("attachment"));
    for part in report["parts"].as_array_mut().into_iter().flatten() {
        if gone.iter().any(|name| part["name"] == name.as_str()) {
            part["present"] = false.into();
        }
    }
    let left: Vec<_> = original.parts.iter().filter(|(name, _)| has(name)).cloned().collect();
    !gone.is_empty()
        && are_attachments
        && serde_json::from_str(&said.report).is_ok_and(|said: serde_json::Value| said == report)
        && said.parts == left
        && said.signed == original.signed
}

fn container(world: &World, parts: &[&[u8]], batch: bool) -> Vec<u8> {
    let digests = PartDigests {
        algorithm: Sha512,
        message: digest(Sha512, parts[0]),
        attachments: parts[1..].iter().map(|part| digest(Sha512, part)).collect(),
    };
    let bundle = block_on(sign(&digests, &world.signing_key(), &world.keys, now())).unwrap();
    let stamped = timestamp::Batch::new([
        timestamp::signature_digest(b"another signature"),
        timestamp::signature_digest(&bundle.signature_xml),
    ]);
    let (result, chain) = (stamped.result(), stamped.chain(1));
    let token = match batch {
        true => world.stamp(&result, now()),
        false => world.stamp(&timestamp::single(&bundle.signature_xml).unwrap(), now()),
    };
    let timestamp = match batch {
        true => TimeStamp::Batch { token: &token, hash_chain_result: &result, hash_chain: &chain },
        false => TimeStamp::Single { token: &token },
    };
    let container = Container {
        message: parts[0],
        signature: &bundle,
        timestamp,
        attachments: parts[1..].iter().map(|part| -> Box<dyn std::io::Read> { Box::new(*part) }).collect(),
        logged_at: now(),
    };
    let bytes = write(container, Cursor::new(Vec::new())).unwrap().into_inner();
    let Report { valid, message, .. } = verify_container(&bytes, &world.conf).unwrap();
    assert!(valid, "{message}");
    bytes
}
