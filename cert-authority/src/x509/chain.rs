//! From a certificate to one that is trusted.
//!
//! Specification: RFC 5280 §6.1, without policies and name constraints (a critical constraint that is not
//! understood makes the path invalid). The anchor is trusted as it was configured: its own validity is
//! not looked at (§6.1.1 d), its path length is.
//! Not here: revocation ([`crate::ocsp`], asked for each of [`ValidChain::pairs`]); what the leaf may be used
//! for (the caller's business).

use super::Certificate;
use crate::{clock::UnixTime, error::VerifyError};

/// No path is longer, anchor not counted.
const MAX_CERTIFICATES: usize = 8;
/// How many signatures are verified at most before giving up: many certificates of one name must not
/// keep us busy.
const MAX_SIGNATURES: usize = 32;

/// A certificate with a valid path to an anchor. Only [`build`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidChain {
    /// The leaf, then the intermediates upwards.
    path: Vec<Certificate>,
    anchor: Certificate,
}

impl ValidChain {
    /// The certificate that the chain was built for.
    pub fn leaf(&self) -> &Certificate {
        self.path.first().unwrap_or(&self.anchor)
    }

    /// The certificates between leaf and anchor, upwards.
    pub fn intermediates(&self) -> &[Certificate] {
        self.path.get(1..).unwrap_or_default()
    }

    /// The trusted certificate at the end.
    pub fn anchor(&self) -> &Certificate {
        &self.anchor
    }

    /// Who has issued the leaf.
    pub fn issuer(&self) -> &Certificate {
        self.path.get(1).unwrap_or(&self.anchor)
    }

    /// Every certificate but the anchor, each with its issuer: those whose revocation has to be asked for.
    pub fn pairs(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        let issuers = self.path.iter().skip(1).chain(std::iter::once(&self.anchor));
        self.path.iter().zip(issuers)
    }
}

/// Finds a path from `leaf` through any of `intermediates` to one of `anchors`, valid at `at`.
///
/// # Errors
/// What is wrong with the path that came furthest: [`VerifyError::UnknownIssuer`], [`VerifyError::Expired`],
/// [`VerifyError::NotYetValid`], [`VerifyError::NotACa`], [`VerifyError::PathTooLong`],
/// [`VerifyError::WrongKeyUsage`], [`VerifyError::UnknownCriticalExtension`], [`VerifyError::BadSignature`],
/// [`VerifyError::UnsupportedAlgorithm`], [`VerifyError::WeakKey`].
pub fn build(
    leaf: &Certificate,
    intermediates: &[Certificate],
    anchors: &[Certificate],
    at: UnixTime,
) -> Result<ValidChain, VerifyError> {
    acceptable(leaf, at)?;
    let mut search = Search { intermediates, anchors, at, signatures_left: MAX_SIGNATURES };
    let mut path = vec![leaf.clone()];
    let anchor = search.climb(&mut path)?;
    Ok(ValidChain { path, anchor })
}

struct Search<'a> {
    intermediates: &'a [Certificate],
    anchors: &'a [Certificate],
    at: UnixTime,
    signatures_left: usize,
}

impl Search<'_> {
    /// Extends the path to an anchor, or leaves it as it was.
    fn climb(&mut self, path: &mut Vec<Certificate>) -> Result<Certificate, VerifyError> {
        let Some(top) = path.last().cloned() else { return Err(VerifyError::UnknownIssuer) };
        let mut failure = VerifyError::UnknownIssuer;
        for anchor in self.anchors.iter().filter(|c| top.issuer().same_as(c.subject())) {
            match self.issued(&top, anchor, path) {
                Ok(()) => return Ok(anchor.clone()),
                Err(e) => failure = e,
            }
        }
        for candidate in self.intermediates.iter().filter(|c| top.issuer().same_as(c.subject())) {
            if path.contains(candidate) || self.anchors.contains(candidate) {
                continue;
            }
            let climbed = self.issued(&top, candidate, path).and_then(|()| acceptable(candidate, self.at));
            let result = climbed.and_then(|()| {
                path.push(candidate.clone());
                self.climb(path).inspect_err(|_| {
                    path.pop();
                })
            });
            match result {
                Ok(anchor) => return Ok(anchor),
                Err(e) if failure == VerifyError::UnknownIssuer => failure = e,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    fn issued(
        &mut self,
        certificate: &Certificate,
        issuer: &Certificate,
        path: &[Certificate],
    ) -> Result<(), VerifyError> {
        if path.len() > MAX_CERTIFICATES {
            return Err(VerifyError::PathTooLong);
        }
        // RFC 5280 §4.2.1.9: self-issued intermediates do not count, the leaf does not either.
        let below = path.iter().skip(1).filter(|c| !c.is_self_issued()).count();
        if issuer.path_len().is_some_and(|allowed| below > usize::try_from(allowed).unwrap_or(usize::MAX)) {
            return Err(VerifyError::PathTooLong);
        }
        self.signatures_left = self.signatures_left.checked_sub(1).ok_or(VerifyError::PathTooLong)?;
        certificate.verify_issued_by(issuer)
    }
}

/// What every certificate of the path must be, whoever issued it.
fn acceptable(certificate: &Certificate, at: UnixTime) -> Result<(), VerifyError> {
    certificate.valid_at(at)?;
    certificate.public_key().check_strength()?;
    match certificate.unknown_critical_extension() {
        Some(oid) => Err(VerifyError::UnknownCriticalExtension(oid.to_owned())),
        None => Ok(()),
    }
}
