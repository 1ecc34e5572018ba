//! Records on their way into the tables: many in one statement.
//!
//! Not here: which numbers they get, and when they are committed (`writer`, `moving`).

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use tokio_postgres::Client;

use super::{
    super::{index::Facts, record::Kind, tree::Hash},
    REMOVED, bigint,
};

/// Rows to insert, by columns.
#[derive(Default)]
pub(super) struct Rows<'a> {
    sequence: Vec<i64>,
    kind: Vec<i16>,
    time: Vec<i64>,
    frame: Vec<Vec<u8>>,
    leaf: Vec<Vec<u8>>,
    message_id: Vec<Option<&'a [u8]>>,
    client: Vec<Option<&'a [u8]>>,
    service: Vec<Option<&'a [u8]>>,
    covers_first: Vec<Option<i64>>,
    covers_last: Vec<Option<i64>>,
    noted: Vec<Option<i64>>,
    blob_of: Vec<i64>,
    blob_hash: Vec<&'a [u8]>,
    blob: Vec<&'a [u8]>,
}

impl<'a> Rows<'a> {
    /// A record with its bodies; `frame` is its bytes, `leaf` their hash.
    pub(super) fn add(
        &mut self,
        sequence: u64,
        (kind, time): (Kind, UnixTime),
        facts: &'a Facts,
        blobs: &'a [(Hash, Bytes)],
        frame: Vec<u8>,
        leaf: Hash,
    ) {
        let sequence = bigint(sequence);
        self.sequence.push(sequence);
        self.kind.push(i16::from(kind.code()));
        self.time.push(time.as_millis());
        self.frame.push(frame);
        self.leaf.push(leaf.to_vec());
        self.message_id.push(facts.id.as_ref().map(<[u8; 8]>::as_slice));
        self.client.push(facts.client.as_deref().map(str::as_bytes));
        self.service.push(facts.service.as_deref().map(str::as_bytes));
        self.covers_first.push(facts.covers.map(|(first, _)| bigint(first)));
        self.covers_last.push(facts.covers.map(|(_, last)| bigint(last)));
        self.noted.push(None);
        for (hash, blob) in blobs {
            self.blob_of.push(sequence);
            self.blob_hash.push(hash);
            self.blob.push(blob);
        }
    }

    /// What is left of a record that was removed: its leaf, and which record says so.
    pub(super) fn add_removed(&mut self, sequence: u64, leaf: Hash, noted: u64) {
        self.sequence.push(bigint(sequence));
        self.kind.push(REMOVED);
        self.time.push(0);
        self.frame.push(Vec::new());
        self.leaf.push(leaf.to_vec());
        for key in [&mut self.message_id, &mut self.client, &mut self.service] {
            key.push(None);
        }
        for number in [&mut self.covers_first, &mut self.covers_last] {
            number.push(None);
        }
        self.noted.push(Some(bigint(noted)));
    }

    /// Inserts them.
    pub(super) async fn insert(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let records = "INSERT INTO passerelle_log.record (sequence, kind, time, frame, leaf, message_id, client, \
                       service, covers_first, covers_last, noted) SELECT * FROM unnest($1::bigint[], $2::smallint[], \
                       $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bigint[], \
                       $10::bigint[], $11::bigint[])";
        client
            .execute(
                records,
                &[
                    &self.sequence,
                    &self.kind,
                    &self.time,
                    &self.frame,
                    &self.leaf,
                    &self.message_id,
                    &self.client,
                    &self.service,
                    &self.covers_first,
                    &self.covers_last,
                    &self.noted,
                ],
            )
            .await?;
        if !self.blob.is_empty() {
            let blobs = "INSERT INTO passerelle_log.blob (sequence, hash, content) \
                         SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[])";
            client.execute(blobs, &[&self.blob_of, &self.blob_hash, &self.blob]).await?;
        }
        Ok(())
    }
}
