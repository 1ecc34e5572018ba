//! Verifies the signature of a batch once, not once for each of its messages.
//!
//! All messages of a batch come with the same signature over the same hash chain result; what each has for itself is the
//! hash chain. So what was found out about the two documents is remembered for a short while: whose signature it is, that
//! it is right, that its certificate was good. The chain is walked for every message.
//!
//! ```text
//! signature ══ hash chain result ══ remembered ║ hash chain ══ parts     each time
//! ```
//!
//! # Security
//! What is remembered is found by the very bytes of both documents only, and these hold all that the verdict came from:
//! certificate, intermediates, OCSP responses, signed properties, value. It holds for the same configuration, for the
//! member that was found to have signed, from the time it was found at to the end of what the signer's standing allows
//! (the freshness of the OCSP responses, the end of a certificate, a minute). Nothing is remembered that was not verified
//! to its end. Whatever is newly found out about the certificate, such as its revocation, and another configuration empty
//! it. It holds a bounded number of documents of bounded length.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cert_authority::{clock::UnixTime, x509::Certificate};
use conf::identifier::MemberId;

use super::{
    SignatureBundle, SignatureError,
    trust::{Grounds, Signer, Standing},
    verify::{Facts, Parts},
};
use crate::evidence::hash_chain::Root;

/// Batches remembered at once.
const CAPACITY: usize = 256;
/// Longest signature that is remembered; usual ones have 6 to 10 KiB.
const LONGEST: usize = 32 * 1024;

/// Signatures of batches that have been verified.
#[derive(Debug, Default)]
pub(super) struct SharedVerifications {
    known: Mutex<Known>,
    hits: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    /// The one that everything was verified by.
    grounds: Option<Grounds>,
    /// By their hash chain result.
    signatures: HashMap<Box<[u8]>, Arc<VerifiedSignature>>,
}

/// A signature over a hash chain result that has been verified.
#[derive(Debug)]
pub(super) struct VerifiedSignature {
    pub(super) signature_xml: Box<[u8]>,
    pub(super) root: Root,
    pub(super) signer: Arc<Signer>,
    pub(super) signing_time: Option<UnixTime>,
    pub(super) standing: Standing,
    /// The time it was verified for.
    pub(super) at: UnixTime,
}

impl SharedVerifications {
    /// What is known of the signature that came with a message.
    pub(super) fn find(
        &self,
        bundle: &SignatureBundle,
        grounds: Grounds,
        expected: &MemberId,
        at: UnixTime,
    ) -> Option<Arc<VerifiedSignature>> {
        let result = bundle.hash_chain_result.as_deref()?;
        let known = self.by(grounds).signatures.get(result).map(Arc::clone)?;
        let holds = *known.signature_xml == *bundle.signature_xml
            && known.signer.member == *expected
            && known.at <= at
            && at <= known.standing.until;
        if holds {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        holds.then_some(known)
    }

    /// Remembers what was verified by this configuration, and by what was heard of revocations until then.
    pub(super) fn put(&self, hash_chain_result: &[u8], verified: VerifiedSignature, grounds: Grounds) {
        if verified.signature_xml.len() + hash_chain_result.len() > LONGEST {
            return;
        }
        let mut known = self.by(grounds);
        if known.signatures.len() >= CAPACITY {
            known.signatures.clear();
        }
        known.signatures.insert(hash_chain_result.into(), Arc::new(verified));
    }

    /// Forgets what was signed with a certificate.
    pub(super) fn forget(&self, certificate: &Certificate) {
        self.lock().signatures.retain(|_, known| known.signer.certificate.der() != certificate.der());
    }

    /// How often something was known.
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How much is known.
    pub(super) fn len(&self) -> usize {
        self.lock().signatures.len()
    }

    fn by(&self, grounds: Grounds) -> MutexGuard<'_, Known> {
        let mut known = self.lock();
        if known.grounds != Some(grounds) {
            *known = Known { grounds: Some(grounds), signatures: HashMap::new() };
        }
        known
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VerifiedSignature {
    /// What is left to be judged for one message: that the hash chain leads to all its parts.
    pub(super) fn judge(&self, parts: &Parts<'_>) -> Result<Facts, SignatureError> {
        let proof = parts.follow(&self.root)?;
        Ok(Facts::new(&self.signer, self.standing, self.signing_time, proof.covered))
    }
}
