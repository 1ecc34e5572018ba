//! What the tests of the message log share.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

pub(crate) mod files;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::{FixedClock, UnixTime},
    crypto::digest,
};
use conf::identifier::{ClientId, ServiceId};
use gateway::messagelog::{
    Config, LogError, LogStore, MessageLog, MessageRecord, Part, Receipt, Record, Role, SealedBody,
};

pub(crate) fn clock() -> FixedClock {
    FixedClock::new(UnixTime::from_rfc3339("2026-03-04T05:06:07Z").unwrap())
}

/// Small segments, no reserve to speak of.
pub(crate) fn config(directory: &Path) -> Config {
    Config {
        segment_size: 256 << 10,
        reserve: 1 << 20,
        key_file: directory.join("kek"),
        ..Config::new(directory.join("log"))
    }
}

pub(crate) fn create(directory: &Path) -> MessageLog {
    MessageLog::create(config(directory), Arc::new(clock())).unwrap()
}

pub(crate) fn open(directory: &Path) -> Result<MessageLog, LogError> {
    MessageLog::open(config(directory), Arc::new(clock()))
}

pub(crate) fn client() -> ClientId {
    ClientId::parse_encoded("DEMO/GOV/1001/portal").unwrap()
}

pub(crate) fn service() -> ServiceId {
    ServiceId::parse_encoded("DEMO/GOV/2002/registry/records").unwrap()
}

/// A message with two parts.
pub(crate) fn message(id: &str, head: &[u8], body: &[u8]) -> MessageRecord {
    let part = |kind: &str, content: &[u8]| {
        let length = u64::try_from(content.len()).unwrap();
        Part::new(kind, length, digest(DigestAlgorithm::Sha512, content))
    };
    let signature = Bytes::from(format!("<signature of=\"{id}\"/>"));
    let mut record =
        MessageRecord::new(Role::Consumer, id, format!("r-{id}"), client(), service(), signature);
    record.parts =
        vec![part("application/x-road-rest-request", head), part("application/x-road-rest-body", body)];
    record
}

pub(crate) async fn sealed(log: &MessageLog, content: &[u8]) -> SealedBody {
    let mut writer = log.vault().writer().unwrap();
    writer.write(content).await.unwrap();
    writer.finish().await.unwrap()
}

/// Logs a request of two parts.
pub(crate) async fn append(log: &MessageLog, id: &str, body: &[u8]) -> Result<Receipt, LogError> {
    let head = format!("GET /r1/{id}");
    let record = message(id, head.as_bytes(), body);
    let head = log.vault().seal(head.as_bytes())?;
    let mut writer = log.vault().writer()?;
    writer.write(body).await?;
    let body = writer.finish().await?;
    log.append(Record::Request(record), vec![Some(head), Some(body)]).await
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The message ids in the log, as they were logged.
pub(crate) fn ids(log: &MessageLog) -> Vec<String> {
    let reader = log.reader();
    let records = reader.each_of(0..reader.len());
    records.map(|(_, found)| found.unwrap().unwrap().record.message_id().unwrap().to_owned()).collect()
}
