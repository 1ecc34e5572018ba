//! Time-stamps over what was logged: which records, what is stamped, which authority is asked.
//!
//! Specification: X-Road's message log: one record is stamped over its signature value, several over the result of a hash
//! chain of the SHA-512 digests of their signature files.
//!
//! Not here: when ([`super::timestamper`]), the hash chain ([`crate::evidence::timestamp`]).

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cert_authority::{clock::UnixTime, crypto::Digest};

use super::{error::LogError, reader::TimestampMaterial, record::TimestampRecord};
use crate::evidence::timestamp::{self, Batch};

pub use crate::evidence::timestamp::signature_digest;

/// Most records of one time-stamp.
pub const MOST: usize = 10_000;

/// How many signatures are remembered with their digests.
const RECENT: usize = 64;

/// Digests of the signatures that were logged or received last: messages that were signed together come soon after one another, and
/// share theirs to the byte.
#[derive(Debug, Default)]
pub(crate) struct RecentSignatures(Mutex<VecDeque<(Bytes, Digest)>>);

impl RecentSignatures {
    /// The digest of a signature.
    pub(crate) fn digest(&self, signature: &Bytes) -> Digest {
        let recent = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent().iter().find(|(known, _)| known == signature).map(|(_, digest)| *digest);
        known.unwrap_or_else(|| {
            let digest = signature_digest(signature);
            let mut recent = recent();
            recent.truncate(RECENT - 1);
            recent.push_front((signature.clone(), digest));
            digest
        })
    }
}

/// A token that was verified: over the data, by an approved authority, for this question, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The token, DER.
    pub token: Bytes,
    /// The time it states.
    pub time: UnixTime,
}

/// Why an authority gave no time-stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{authority}: {reason}")]
pub struct StampError {
    /// Which authority.
    pub authority: String,
    /// What happened.
    pub reason: String,
}

/// What an authority answers, later.
pub type StampFuture<'a> = Pin<Box<dyn Future<Output = Result<Granted, StampError>> + Send + 'a>>;

/// A time-stamping authority.
///
/// # Contract
/// What it grants is verified: the imprint is of `data`, the nonce is that of the question, the signer is approved.
pub trait TimestampAuthority: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Asks for a time-stamp over `data`.
    fn stamp<'a>(&'a self, data: &'a [u8]) -> StampFuture<'a>;
}

/// The authorities that may be asked now, in their order.
pub type Authorities = Arc<dyn Fn() -> Vec<Box<dyn TimestampAuthority>> + Send + Sync>;

/// What a time-stamp is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    data: Bytes,
    covered: Vec<(u64, Digest)>,
    chain_result: Option<Bytes>,
}

impl Question {
    /// Over these records, ascending: number and digest of the signature file of each. `first_signature` is the
    /// signature file of the first.
    pub fn new(covered: Vec<(u64, Digest)>, first_signature: &[u8]) -> Self {
        let value = if covered.len() == 1 { timestamp::single(first_signature).ok() } else { None };
        match value {
            Some(value) => Self { data: value.into(), covered, chain_result: None },
            // Also for a signature whose value cannot be read: it must not keep the others from their time-stamp.
            None => {
                let result = batch(&covered).result();
                Self { data: result.clone(), covered, chain_result: Some(result) }
            }
        }
    }

    /// Asks one authority after the other until one grants.
    ///
    /// # Errors
    /// What each of them said.
    pub async fn ask(
        self,
        authorities: &[Box<dyn TimestampAuthority>],
    ) -> Result<TimestampRecord, Vec<StampError>> {
        let mut errors = Vec::new();
        for authority in authorities {
            match authority.stamp(&self.data).await {
                Ok(granted) => {
                    return Ok(TimestampRecord {
                        token: granted.token,
                        time: granted.time,
                        authority: authority.name().to_owned(),
                        covered: self.covered,
                        chain_result: self.chain_result,
                    });
                }
                Err(error) => errors.push(error),
            }
        }
        Err(errors)
    }
}

/// A time-stamp of the log, with what ties it to each of the records that it covers.
pub(crate) struct Stamp {
    record: TimestampRecord,
    /// Made when it is asked for: of thousands of digests.
    batch: OnceLock<Batch>,
}

impl Stamp {
    pub(crate) const fn new(record: TimestampRecord) -> Self {
        Self { record, batch: OnceLock::new() }
    }

    /// What stands in the log.
    pub(crate) const fn record(&self) -> &TimestampRecord {
        &self.record
    }

    /// What ties it to one of the records it covers.
    pub(crate) fn material(&self, sequence: u64) -> TimestampMaterial {
        let token = self.record.token.clone();
        let Some(result) = &self.record.chain_result else { return TimestampMaterial::Single { token } };
        let batch = self.batch.get_or_init(|| batch(&self.record.covered));
        let chain = self.record.position(sequence).map(|position| batch.chain(position));
        TimestampMaterial::Batch {
            token,
            hash_chain_result: result.clone(),
            hash_chain: chain.unwrap_or_default(),
        }
    }
}

fn batch(covered: &[(u64, Digest)]) -> Batch {
    Batch::new(covered.iter().map(|(_, digest)| *digest))
}

/// How time-stamping goes, as far as it decides whether exchanges may begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// When the oldest record without a time-stamp was logged, if the last try to get one failed.
    pub failing_since: Option<UnixTime>,
}

impl Health {
    /// Whether exchanges may begin. `acceptable` is how long time-stamps may fail; none: for ever.
    ///
    /// # Errors
    /// [`LogError::Timestamping`].
    pub fn check(&self, acceptable: Option<Duration>, now: UnixTime) -> Result<(), LogError> {
        match (self.failing_since, acceptable) {
            (Some(since), Some(acceptable)) if now.since(since) > acceptable => {
                Err(LogError::Timestamping { since: since.to_rfc3339() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_go_on_until_time_stamps_have_failed_for_too_long() {
        let start = UnixTime::from_secs(1000);
        let failing = Health { failing_since: Some(start) };
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(failing.check(hour, start + Duration::from_secs(3600)), Ok(()));
        let refused = failing.check(hour, start + Duration::from_secs(3601));
        assert_eq!(refused, Err(LogError::Timestamping { since: start.to_rfc3339() }));
        assert_eq!(failing.check(None, UnixTime::from_secs(1 << 40)), Ok(()));
        assert_eq!(Health::default().check(hour, UnixTime::from_secs(1 << 40)), Ok(()));
    }

    #[test]
    fn a_signature_that_was_logged_lately_is_not_hashed_again_and_no_other_is_taken_for_it() {
        let recent = RecentSignatures::default();
        let signatures: Vec<Bytes> = (0..100).map(|n| Bytes::from(format!("{n:0>4000}"))).collect();
        for signature in signatures.iter().chain(&signatures) {
            for _ in 0..3 {
                assert_eq!(recent.digest(signature), signature_digest(signature));
            }
        }
        let kept = recent.0.lock().unwrap();
        assert_eq!(kept.len(), RECENT);
        let last: Vec<_> = kept.iter().map(|(signature, _)| signature).collect();
        assert!(last.into_iter().eq(signatures.iter().rev().take(RECENT)), "each of them once");
    }
}
