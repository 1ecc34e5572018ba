//! Data keys and large bodies in PostgreSQL: every node reads what any of them has kept.
//!
//! Not here: wrapping and sealing; small bodies, which lie beside their records.

use std::{collections::BTreeSet, fs::File, sync::Arc};

use super::{
    super::{
        beside::{Beside, ReadAt},
        error::LogError,
        tree::Hash,
    },
    Link, bigint, column, failed,
};

/// Bytes of a large body in one row.
const CHUNK: u64 = 1 << 20;

impl Beside for Arc<Link> {
    fn keys(&self) -> Result<BTreeSet<String>, LogError> {
        ids(self, "SELECT id FROM passerelle_log.data_key")
    }

    fn keys_of_bodies(&self) -> Result<BTreeSet<String>, LogError> {
        // From key to key, past all the bodies of each.
        let query = "WITH RECURSIVE ids AS ((SELECT min(data_key) AS id FROM passerelle_log.body) UNION ALL \
                     SELECT (SELECT min(data_key) FROM passerelle_log.body WHERE data_key > ids.id) FROM ids \
                     WHERE ids.id IS NOT NULL) SELECT id FROM ids WHERE id IS NOT NULL";
        ids(self, query)
    }

    fn key(&self, id: &str) -> Result<Option<Vec<u8>>, LogError> {
        let id = id.to_owned();
        self.ask(move |client| {
            let id = id.clone();
            async move {
                let query = "SELECT wrapped FROM passerelle_log.data_key WHERE id = $1";
                let row = client.query_opt(query, &[&id]).await.map_err(|e| failed(&e))?;
                row.map(|row| column(&row, 0)).transpose()
            }
        })
    }

    fn add_key(&self, id: &str, wrapped: &[u8]) -> Result<(), LogError> {
        let (id, wrapped) = (id.to_owned(), wrapped.to_vec());
        self.ask(move |client| {
            let (id, wrapped) = (id.clone(), wrapped.clone());
            async move {
                let query = "INSERT INTO passerelle_log.data_key (id, wrapped) VALUES ($1, $2) \
                             ON CONFLICT DO NOTHING";
                client.execute(query, &[&id, &wrapped]).await.map_err(|e| failed(&e))?;
                Ok(())
            }
        })
    }

    fn destroy(&self, id: &str) -> Result<(), LogError> {
        let key = id.to_owned();
        self.ask(move |client| {
            let key = key.clone();
            async move {
                // The head says it to the other nodes, before they commit anything more.
                let query = "WITH key AS (DELETE FROM passerelle_log.data_key WHERE id = $1) \
                             UPDATE passerelle_log.head SET erased = erased + 1";
                client.execute(query, &[&key]).await.map_err(|e| failed(&e))
            }
        })?;
        // Some at a time, and without the lock of the head: nobody waits for it, however many there are.
        loop {
            let key = id.to_owned();
            let removed = self.ask(move |client| {
                let key = key.clone();
                async move {
                    let query = "DELETE FROM passerelle_log.body WHERE (data_key, hash, chunk) IN \
                                 (SELECT data_key, hash, chunk FROM passerelle_log.body WHERE data_key = $1 LIMIT 64)";
                    client.execute(query, &[&key]).await.map_err(|e| failed(&e))
                }
            })?;
            if removed == 0 {
                return Ok(());
            }
        }
    }

    fn keep(&self, key: &str, ciphertext: &Hash, body: &File, length: u64) -> Result<(), LogError> {
        let (mut offset, mut chunk) = (0, 0_i64);
        while offset < length {
            let size = CHUNK.min(length.saturating_sub(offset));
            let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
            ReadAt::read_exact_at(body, &mut content, offset)?;
            self.add_chunk(key, *ciphertext, chunk, content)?;
            offset = offset.saturating_add(size);
            chunk = chunk.saturating_add(1);
        }
        Ok(())
    }

    fn open(&self, key: &str, ciphertext: &Hash) -> Result<Arc<dyn ReadAt>, LogError> {
        Ok(Arc::new(Kept { link: Self::clone(self), key: key.to_owned(), ciphertext: *ciphertext }))
    }
}

impl Link {
    fn add_chunk(&self, key: &str, ciphertext: Hash, chunk: i64, content: Vec<u8>) -> Result<(), LogError> {
        let key = key.to_owned();
        let content = Arc::new(content);
        self.ask(move |client| {
            let (key, content) = (key.clone(), Arc::clone(&content));
            async move {
                // Repeated after a broken connection it changes nothing: the digest is of this content.
                let query = "INSERT INTO passerelle_log.body (data_key, hash, chunk, content) \
                             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
                let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                    [&key, &ciphertext.as_slice(), &chunk, &content.as_slice()];
                client.execute(query, &parameters).await.map_err(|e| failed(&e))?;
                Ok(())
            }
        })
    }

    /// A piece of a large body, if there is such a piece.
    pub(crate) fn piece(
        self: &Arc<Self>,
        key: &str,
        ciphertext: &Hash,
        number: u64,
    ) -> Result<Option<Vec<u8>>, LogError> {
        let body = Kept { link: Arc::clone(self), key: key.to_owned(), ciphertext: *ciphertext };
        self.part_of_chunk(&body, number, 0, usize::try_from(i32::MAX).unwrap_or(0))
    }

    fn part_of_chunk(
        &self,
        body: &Kept,
        chunk: u64,
        from: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, LogError> {
        let (key, ciphertext) = (body.key.clone(), body.ciphertext);
        // The first byte has the number one there.
        let from = i32::try_from(from.saturating_add(1)).unwrap_or(i32::MAX);
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        self.ask(move |client| {
            let key = key.clone();
            async move {
                let query = "SELECT substring(content FROM $4 FOR $5) FROM passerelle_log.body \
                             WHERE data_key = $1 AND hash = $2 AND chunk = $3";
                let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                    [&key, &ciphertext.as_slice(), &bigint(chunk), &from, &length];
                let row = client.query_opt(query, &parameters).await.map_err(|e| failed(&e))?;
                row.map(|row| column(&row, 0)).transpose()
            }
        })
    }
}

/// A large body in rows.
struct Kept {
    link: Arc<Link>,
    key: String,
    ciphertext: Hash,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kept").field(&hex::encode(self.ciphertext)).finish()
    }
}

impl ReadAt for Kept {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<(), LogError> {
        let (mut rest, mut offset) = (into, offset);
        while !rest.is_empty() {
            let found = self.link.part_of_chunk(self, offset / CHUNK, offset % CHUNK, rest.len())?;
            let found = found.filter(|found| !found.is_empty()).ok_or(LogError::Body("it was cut off"))?;
            let (now, later) =
                rest.split_at_mut_checked(found.len()).ok_or(LogError::Body("it is too long"))?;
            now.copy_from_slice(&found);
            offset = offset.saturating_add(u64::try_from(found.len()).unwrap_or(u64::MAX));
            rest = later;
        }
        Ok(())
    }
}

fn ids(link: &Link, query: &'static str) -> Result<BTreeSet<String>, LogError> {
    link.ask(move |client| async move {
        let rows = client.query(query, &[]).await.map_err(|e| failed(&e))?;
        rows.iter().map(|row| column(row, 0)).collect()
    })
}
