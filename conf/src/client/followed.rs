//! One instance that is followed: its anchor, its plan, and the set in force.

use super::plan::Plan;
use super::set::{VerifiedSet, Wanted};
use super::store::Store;
use crate::anchor::Anchor;
use crate::directory::{PartKind, kept};
use crate::error::ConfError;
use crate::shared_params::{SharedParams, Source};

use std::time::Duration;

/// One instance that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) anchor: Anchor,
    pub(super) wanted: Wanted,
    pub(super) plan: Plan,
    pub(super) set: Option<VerifiedSet>,
    /// Certificates of the anchor and of the sources that the set in force lists.
    pub(super) certificates: Vec<Vec<u8>>,
    /// Where in the list of sources the first round begins, so that not every gateway asks the same one.
    offset: usize,
}

impl Followed {
    pub(super) fn new(anchor: Anchor, wanted: Wanted, interval: Duration, offset: usize) -> Self {
        let plan = Plan::new(Vec::new(), interval);
        let mut followed = Self { anchor, wanted, plan, set: None, certificates: Vec::new(), offset };
        followed.follow(&[]);
        followed
    }

    pub(super) fn instance(&self) -> &str {
        &self.anchor.instance
    }

    /// Takes up another anchor of the same instance.
    pub(super) fn set_anchor(&mut self, anchor: Anchor) {
        self.anchor = anchor;
        self.follow_set();
        self.plan.hurry();
    }

    /// Lets a verified set be the one in force.
    pub(super) fn set_in_force(&mut self, set: VerifiedSet) {
        self.set = Some(set);
        self.follow_set();
    }

    fn follow_set(&mut self) {
        let sources = self.set.as_ref().map(sources_of).unwrap_or_default();
        self.follow(&sources);
    }

    /// Follows these sources and those of the anchor; all their certificates are believed.
    fn follow(&mut self, sources: &[Source]) {
        let mut urls: Vec<String> = Vec::new();
        let mut certificates = Vec::new();
        for source in sources {
            urls.extend(self.url_of(&source.address));
            certificates.extend_from_slice(match self.wanted {
                Wanted::All => &source.internal_certificates,
                Wanted::Shared => &source.external_certificates,
            });
        }
        for source in &self.anchor.sources {
            urls.push(source.url.clone());
            certificates.extend_from_slice(&source.certificates);
        }
        if !urls.is_empty() {
            let offset = self.offset % urls.len();
            urls.rotate_left(offset);
        }
        let mut seen = std::collections::HashSet::new();
        urls.retain(|url| seen.insert(url.clone()));
        certificates.sort_unstable();
        certificates.dedup();
        self.plan.set_sources(urls);
        self.certificates = certificates;
    }

    /// A source's address is a host; scheme and path are those of the anchor, as X-Road does it.
    fn url_of(&self, address: &str) -> Option<String> {
        let known = &self.anchor.sources.first()?.url;
        let (scheme, rest) = known.split_once("://")?;
        let path = rest.split('?').next()?.split_once('/')?.1;
        Some(format!("{scheme}://{address}/{path}"))
    }

    /// Reads the set from disk, if it is another one than in force; true if it is.
    ///
    /// The keys that may have signed it are those of the anchor and those that the set itself lists: the folder is
    /// ours, and what lies in it was verified before it was put there. So a rotated key is still known after a restart.
    pub(super) fn read_from(&mut self, store: &Store) -> Result<bool, ConfError> {
        let on_disk = store.signed_directory(self.instance())?;
        if on_disk.is_none() || on_disk.as_ref() == self.set.as_ref().map(VerifiedSet::signed) {
            return Ok(false);
        }
        let mut certificates = self.certificates.clone();
        for source in kept_sources(store, self.instance()) {
            certificates.extend(match self.wanted {
                Wanted::All => source.internal_certificates,
                Wanted::Shared => source.external_certificates,
            });
        }
        let set = VerifiedSet::from_store(store, self.instance(), &certificates, self.wanted)?;
        let found = set.is_some();
        if let Some(set) = set {
            self.set_in_force(set);
        }
        Ok(found)
    }
}

fn sources_of(set: &VerifiedSet) -> Vec<Source> {
    let parts = set.instance_parts();
    let shared = parts.part(&PartKind::SharedParameters);
    shared
        .and_then(|part| SharedParams::read(part.bytes(), part.version()).ok())
        .map(|s| s.sources)
        .unwrap_or_default()
}

fn kept_sources(store: &Store, instance: &str) -> Vec<Source> {
    let kept = kept::read(store.directory()).unwrap_or_default();
    let parts = kept.iter().find(|parts| parts.instance == instance);
    let shared = parts.and_then(|parts| parts.part(&PartKind::SharedParameters));
    shared
        .and_then(|part| SharedParams::read(part.bytes(), part.version()).ok())
        .map(|s| s.sources)
        .unwrap_or_default()
}
