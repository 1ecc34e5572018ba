//! A message log filled with records, for measuring what depends on its size.
//!
//! Not here: signing; what stands in the place of signatures has their length, where none are given.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]

use std::path::Path;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use conf::identifier::{ClientId, ServiceId};
use gateway::evidence::signature::SignatureBundle;
use gateway::message::digests::PartDigests;
use gateway::messagelog::{Config, LogStore as _, MessageLog, MessageRecord, Part, Record, Role};

/// How many members ask, one after the other.
pub const MEMBERS: u64 = 100;

const HEAD: [u8; 300] = [b'h'; 300];

/// A log in this directory, and its key.
pub fn config(directory: &Path) -> Config {
    Config { key_file: directory.join("key"), ..Config::new(directory.join("log")) }
}

/// The `X-Road-Id` of a record.
pub fn id(number: u64) -> String {
    format!("DEMO-{number:036}")
}

/// The code of the member that asks in a record.
pub const fn member(number: u64) -> u64 {
    1000 + number % MEMBERS
}

/// Appends the records `first..end` of about 2 KiB; 256 tasks share syncs. `before` is told each number before it is
/// appended.
pub async fn append(log: &MessageLog, first: u64, end: u64, before: impl Fn(u64) + Clone + Send + 'static) {
    const TASKS: u64 = 256;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (log, before) = (log.clone(), before.clone());
        tasks.spawn(async move {
            let mut number = first + task;
            while number < end {
                before(number);
                append_one(&log, number).await;
                number += TASKS;
            }
        });
    }
    tasks.join_all().await;
}

/// Appends one record.
pub async fn append_one(log: &MessageLog, number: u64) {
    let client = format!("DEMO/GOV/{}/portal", member(number)).parse().unwrap();
    let service = ServiceId::parse_encoded("DEMO/GOV/2002/registry/records").unwrap();
    let signature = Bytes::from(vec![b's'; 1500]);
    let request = format!("{number:036}");
    let mut record = MessageRecord::new(Role::Consumer, id(number), request, client, service, signature);
    let length = HEAD.len().try_into().unwrap();
    record.parts = vec![Part::new("head", length, digest(DigestAlgorithm::Sha512, &HEAD))];
    let head = log.vault().seal(&HEAD).unwrap();
    log.append(Record::Request(record), vec![Some(head)]).await.unwrap();
}

/// Appends a message with these digests and their signature; nothing is kept of its parts but their digests.
pub async fn append_signed(
    log: &MessageLog,
    number: u64,
    client: ClientId,
    digests: &PartDigests,
    signature: &SignatureBundle,
) {
    let service = ServiceId::parse_encoded("DEMO/GOV/2002/registry/records").unwrap();
    let (request, xml) = (format!("{number:036}"), signature.signature_xml.clone());
    let mut record = MessageRecord::new(Role::Provider, id(number), request, client, service, xml);
    record.hash_chain_result.clone_from(&signature.hash_chain_result);
    record.hash_chain.clone_from(&signature.hash_chain);
    record.parts = std::iter::once(&digests.message)
        .chain(&digests.attachments)
        .map(|digest| Part::new("part", 0, *digest))
        .collect();
    let contents = vec![None; record.parts.len()];
    log.append(Record::Request(record), contents).await.unwrap();
}
