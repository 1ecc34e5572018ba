//! What responders have said lately of certificates that are good no more.
//!
//! A response proves that a certificate was good when it was made, and is believed for an hour or more. Whoever has heard
//! from a responder since that the certificate is revoked need not believe it for that long: the newer word counts.
//!
//! Asks nobody and judges no response: whoever asks the responders tells it what they say.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::algorithm::DigestAlgorithm;
use crate::clock::UnixTime;
use crate::crypto::Digest;
use crate::x509::Certificate;

/// Revoked certificates, each with the time of the word that said so.
///
/// It holds what was told in the last freshness of responses, see [`Self::forget_before`]: older good responses are
/// believed by nobody then.
#[derive(Debug, Default)]
pub struct Revocations {
    revoked: RwLock<HashMap<Digest, UnixTime>>,
    news: AtomicU64,
}

impl Revocations {
    /// A responder says that a certificate is revoked, by a response of this `thisUpdate`. Whether that is new.
    pub fn revoked(&self, certificate: &Certificate, this_update: UnixTime) -> bool {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        let before = revoked.insert(name(certificate), this_update);
        if before.is_none() {
            self.news.fetch_add(1, Ordering::SeqCst);
        }
        before.is_none()
    }

    /// Whether a response of this `thisUpdate` that calls a certificate good is older than the word that it is revoked,
    /// or as old.
    #[must_use]
    pub fn outrank(&self, certificate: &Certificate, this_update: UnixTime) -> bool {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        !revoked.is_empty() && revoked.get(&name(certificate)).is_some_and(|since| this_update <= *since)
    }

    /// Changes with each new revocation: what was found good under another number must be looked at anew.
    #[must_use]
    pub fn news(&self) -> u64 {
        self.news.load(Ordering::SeqCst)
    }

    /// Forgets what was said before this time.
    pub fn forget_before(&self, time: UnixTime) {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).retain(|_, said| *said >= time);
    }
}

fn name(certificate: &Certificate) -> Digest {
    certificate.fingerprint(DigestAlgorithm::Sha256)
}
