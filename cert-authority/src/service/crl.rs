//! Revocation lists, made when asked for and kept until something changes.
//!
//! Specification: RFC 5280 5, through [`crate::authority`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::authority::Authority;
use crate::clock::{Clock, UnixTime};
use crate::error::PkiError;

/// The lists of all authorities.
pub(super) struct Lists {
    issuing: List,
    /// Of the root, if another authority issues in its place.
    root: Option<List>,
}

struct List {
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
    renew_after: Duration,
    made: Mutex<Option<Made>>,
}

struct Made {
    revision: u64,
    at: UnixTime,
    list: Bytes,
}

impl Lists {
    /// `authorities` with the root first.
    pub(super) fn new(
        authorities: &[Arc<Authority>],
        next_update: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Option<Self> {
        let list = |authority: &Arc<Authority>| List {
            authority: Arc::clone(authority),
            clock: Arc::clone(clock),
            renew_after: next_update / 2,
            made: Mutex::new(None),
        };
        let (issuing, above) = authorities.split_last()?;
        Some(Self { issuing: list(issuing), root: above.first().map(list) })
    }

    pub(super) async fn issuing(&self) -> Result<Bytes, PkiError> {
        self.issuing.get().await
    }

    /// None if the root issues itself.
    pub(super) async fn root(&self) -> Result<Option<Bytes>, PkiError> {
        match &self.root {
            Some(list) => list.get().await.map(Some),
            None => Ok(None),
        }
    }
}

impl List {
    async fn get(&self) -> Result<Bytes, PkiError> {
        let mut made = self.made.lock().await;
        let now = self.clock.now();
        let revision = self.authority.refresh()?;
        let still_good =
            |made: &&Made| made.revision == revision && made.at <= now && now < made.at + self.renew_after;
        if let Some(made) = made.as_ref().filter(still_good) {
            return Ok(made.list.clone());
        }
        let list: Bytes = self.authority.crl().await?.into();
        // The revision from before: what was revoked meanwhile may be missing, and the next question makes a new list.
        *made = Some(Made { revision, at: now, list: list.clone() });
        Ok(list)
    }
}
