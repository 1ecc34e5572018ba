//! Judges a token: did this data exist at that time, by the word of an approved authority?
//!
//! Specification: RFC 3161 2.2 and 2.3.
//!
//! # Compatibility
//! As in X-Road the signer is looked up among the approved certificates, which the token need not carry. Stricter than
//! X-Road: the certificate must be for time-stamping, named in the signed attributes, and valid at the time stated.

use std::time::Duration;

use super::{PolicyId, Token};
use crate::algorithm::DigestAlgorithm;
use crate::asn1::magnitude;
use crate::clock::UnixTime;
use crate::crypto::{self, EcdsaForm};
use crate::error::VerifyError;
use crate::x509::{Certificate, oid};

/// Tokens before 2014 may bear RSA signatures of 1024 bits: that was the practice then, and no evidence of that time
/// could be verified otherwise. A token of today with such a key is refused.
const SHORT_KEYS_UNTIL: UnixTime = UnixTime::from_secs(1_388_534_400);

/// Proof that data existed at a time. Made by [`verify()`] only.
#[derive(Debug, Clone)]
pub struct ValidTimestamp {
    gen_time: UnixTime,
    serial: Vec<u8>,
    tsa: Certificate,
    policy: PolicyId,
}

impl ValidTimestamp {
    /// The data existed at this time.
    #[must_use]
    pub fn gen_time(&self) -> UnixTime {
        self.gen_time
    }

    /// The token's serial number, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The authority that says so.
    #[must_use]
    pub fn tsa(&self) -> &Certificate {
        &self.tsa
    }

    /// Under this policy.
    #[must_use]
    pub fn policy(&self) -> &PolicyId {
        &self.policy
    }

    /// For a token just obtained: that its time is now, within `tolerance` (the clocks' difference and the time the
    /// question took).
    ///
    /// # Errors
    /// [`VerifyError::TimestampTime`].
    pub fn check_fresh(&self, now: UnixTime, tolerance: Duration) -> Result<(), VerifyError> {
        if self.gen_time + tolerance < now || self.gen_time > now + tolerance {
            return Err(VerifyError::TimestampTime);
        }
        Ok(())
    }
}

/// Whether `token` is over `data` and signed by one of `approved`; with `nonce`, whether it answers the request that had it.
///
/// # Errors
/// [`VerifyError::TimestampImprint`], [`VerifyError::TimestampNonce`], [`VerifyError::TimestampUnknownTsa`],
/// [`VerifyError::TimestampTime`] (the authority's certificate was not valid then), [`VerifyError::WrongKeyUsage`],
/// [`VerifyError::BadSignature`], [`VerifyError::WeakKey`], [`VerifyError::UnsupportedAlgorithm`].
pub fn verify(
    token: &Token,
    data: &[u8],
    approved: &[Certificate],
    nonce: Option<&[u8]>,
) -> Result<ValidTimestamp, VerifyError> {
    let algorithm = token
        .imprint_algorithm
        .filter(|algorithm| *algorithm != DigestAlgorithm::Sha1)
        .ok_or_else(|| VerifyError::UnsupportedAlgorithm("digest of the time-stamp".into()))?;
    if crypto::digest(algorithm, data).as_ref() != token.imprint {
        return Err(VerifyError::TimestampImprint);
    }
    if nonce.is_some_and(|nonce| token.nonce.as_deref() != Some(magnitude(nonce))) {
        return Err(VerifyError::TimestampNonce);
    }
    // Several approved certificates may share a key identifier; the one that the attributes name is the signer's.
    let mut verdict = Err(VerifyError::TimestampUnknownTsa);
    for tsa in approved.iter().filter(|tsa| token.signed.signer.names(tsa)) {
        verdict = verify_signer(token, tsa);
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

fn verify_signer(token: &Token, tsa: &Certificate) -> Result<ValidTimestamp, VerifyError> {
    if !tsa.extended_key_usage().contains(&oid::TIME_STAMPING) || !tsa.extended_key_usage_critical() {
        return Err(VerifyError::WrongKeyUsage("time-stamping"));
    }
    tsa.valid_at(token.gen_time()).map_err(|_| VerifyError::TimestampTime)?;
    token.signed.verify(tsa, |algorithm, message, signature| {
        let key = tsa.public_key();
        if token.gen_time() < SHORT_KEYS_UNTIL {
            key.verify_historic(algorithm, EcdsaForm::Der, message, signature)
        } else {
            key.verify(algorithm, EcdsaForm::Der, message, signature)
        }
    })?;
    Ok(ValidTimestamp {
        gen_time: token.gen_time(),
        serial: token.serial.clone(),
        tsa: tsa.clone(),
        policy: token.policy.clone(),
    })
}
