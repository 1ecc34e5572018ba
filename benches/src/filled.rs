//! A message log filled with records, for measuring what depends on its size.
//!
//! Not here: signing; what stands in the place of signatures has their length, where none are given.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::digest;
use conf::identifier::{ClientId, ServiceId};
use gateway::evidence::signature::SignatureBundle;
use gateway::message::digests::PartDigests;
use gateway::messagelog::reader::Filter;
use gateway::messagelog::{Config, LogStore as _, MessageLog, MessageRecord, Part, Record, Role};

/// How many members ask, one after the other.
pub const MEMBERS: u64 = 100;

/// How many records an hour has, where [`at`] is the clock.
pub const HOUR: u64 = 1_000;

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

/// When a record is logged.
pub fn at(number: u64) -> UnixTime {
    let begin = UnixTime::from_secs(1_790_000_000);
    begin + Duration::from_millis(number * 3_600_000 / HOUR)
}

/// What the member that asked in a record asked within the hour of that record.
pub fn asked_for(number: u64) -> Filter {
    let hour = number / HOUR * HOUR;
    Filter {
        from: Some(at(hour)),
        until: Some(at(hour + HOUR)),
        member: Some(format!("DEMO/GOV/{}", member(number)).parse().unwrap()),
        ..Filter::default()
    }
}

/// How a log is filled.
#[derive(Debug, Clone, Copy)]
pub struct Filling {
    /// Tasks that append at once: those that wait together share syncs.
    pub tasks: u64,
    /// About the length of a record on the disk, bytes; none is shorter than some 300.
    pub record: usize,
}

impl Filling {
    /// Records of about 2 KiB.
    pub const USUAL: Self = Self { tasks: 256, record: 2100 };

    /// Appends the records `first..end`. `before` is told each number before it is appended.
    pub async fn append(
        self,
        log: &MessageLog,
        first: u64,
        end: u64,
        before: impl Fn(u64) + Clone + Send + 'static,
    ) {
        let content = Arc::new(Content::new(self.record));
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..self.tasks {
            let (log, before, content) = (log.clone(), before.clone(), Arc::clone(&content));
            tasks.spawn(async move {
                let mut number = first + task;
                while number < end {
                    before(number);
                    content.append(&log, number).await;
                    number += self.tasks;
                }
            });
        }
        tasks.join_all().await;
    }

    /// Appends one record.
    pub async fn append_one(self, log: &MessageLog, number: u64) {
        Content::new(self.record).append(log, number).await;
    }
}

/// What is the same in many records: a gateway too has read it before it comes to the log.
struct Content {
    clients: Vec<ClientId>,
    service: ServiceId,
    signature: Bytes,
    head: Option<Part>,
}

impl Content {
    fn new(record: usize) -> Self {
        let client = |number| format!("DEMO/GOV/{}/portal", member(number)).parse().unwrap();
        let length = HEAD.len().try_into().unwrap();
        let part = || Part::new("head", length, digest(DigestAlgorithm::Sha512, &HEAD));
        let head = (record > 1000).then(part);
        // What stands around head and signature takes some 300 bytes.
        let around = 300 + head.as_ref().map_or(0, |_| HEAD.len());
        Self {
            clients: (0..MEMBERS).map(client).collect(),
            service: ServiceId::parse_encoded("DEMO/GOV/2002/registry/records").unwrap(),
            signature: Bytes::from(vec![b's'; record.saturating_sub(around)]),
            head,
        }
    }

    async fn append(&self, log: &MessageLog, number: u64) {
        let client = self.clients.iter().cycle().nth((number % MEMBERS).try_into().unwrap()).unwrap();
        let (client, service, signature) = (client.clone(), self.service.clone(), self.signature.clone());
        let request = format!("{number:036}");
        let mut record = MessageRecord::new(Role::Consumer, id(number), request, client, service, signature);
        let mut contents = Vec::new();
        if let Some(head) = &self.head {
            record.parts = vec![head.clone()];
            contents.push(Some(log.vault().seal(&HEAD).unwrap()));
        }
        log.append(Record::Request(record), contents).await.unwrap();
    }
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
