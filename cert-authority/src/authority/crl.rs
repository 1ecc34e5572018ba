//! Revocation lists.
//!
//! Specification: RFC 5280 §5: complete lists, version 2, with number and key identifier.
//! A certificate leaves the list one list's validity after its own end.

use std::sync::PoisonError;

use der::{Decode, Encode};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SerialNumber,
};
use x509_cert::crl::CertificateList;

use super::{Authority, Event, Reason, Record, Register};
use crate::{
    clock::UnixTime,
    error::PkiError,
    x509::{Placeholder, algorithm_of, key_identifier, rdn_sequence, sign},
};

const WHAT: &str = "revocation list";

impl Authority {
    /// Makes the next revocation list, as DER. Its number is taken durably before it is signed.
    ///
    /// # Errors
    /// [`PkiError::Key`] when the signer fails; [`PkiError::Store`].
    pub async fn crl(&self) -> Result<Vec<u8>, PkiError> {
        let now = self.clock.now();
        let algorithm = algorithm_of(self.certificate.public_key())?;
        self.refresh()?;
        let (number, revoked) = {
            let register = self.register.read().unwrap_or_else(PoisonError::into_inner);
            (register.crl_number() + 1, self.revoked(&register, now))
        };
        self.commit(&Event::CrlMade { number, at: now.to_rfc3339() })?;
        let to_be_signed = self.lay_out(number, revoked, now, &algorithm.1)?;
        sign(&to_be_signed, algorithm, &self.key, &*self.signer).await
    }

    fn revoked(&self, register: &Register, now: UnixTime) -> Vec<RevokedCertParams> {
        let listed = |record: &&Record| record.not_after + self.policy.crl_validity >= now;
        register.records().filter(listed).filter_map(revoked_entry).collect()
    }

    fn lay_out(
        &self,
        number: u64,
        revoked_certs: Vec<RevokedCertParams>,
        now: UnixTime,
        algorithm: &spki::AlgorithmIdentifierOwned,
    ) -> Result<Vec<u8>, PkiError> {
        let failed = |e: rcgen::Error| PkiError::inspect(WHAT, e);
        let key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(&self.certificate));
        let mut issuer = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
        issuer.key_identifier_method = key_identifier_method.clone();
        issuer.key_usages = vec![KeyUsagePurpose::CrlSign];
        let laid_out = CertificateRevocationListParams {
            this_update: UnixTime::from_secs(now.as_secs()).into(),
            next_update: UnixTime::from_secs((now + self.policy.crl_validity).as_secs()).into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method,
        }
        .signed_by(&rcgen::Issuer::new(issuer, Placeholder(self.certificate.public_key())))
        .map_err(failed)?;

        let failed = |e: der::Error| PkiError::decode(WHAT, e);
        let mut list = CertificateList::from_der(laid_out.der()).map_err(failed)?.tbs_cert_list;
        list.issuer = rdn_sequence(self.certificate.subject())?;
        list.signature = algorithm.clone();
        // RFC 5280 §5.1.2.6: absent, not empty.
        list.revoked_certificates = list.revoked_certificates.filter(|revoked| !revoked.is_empty());
        list.to_der().map_err(failed)
    }
}

fn revoked_entry(record: &Record) -> Option<RevokedCertParams> {
    record.revoked.map(|revocation| RevokedCertParams {
        serial_number: SerialNumber::from_slice(record.serial.as_bytes()),
        revocation_time: UnixTime::from_secs(revocation.at.as_secs()).into(),
        // RFC 5280 §5.3.1: "unspecified" should be left out.
        reason_code: match revocation.reason {
            Reason::Unspecified => None,
            Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Reason::CaCompromise => Some(RevocationReason::CaCompromise),
            Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
            Reason::Superseded => Some(RevocationReason::Superseded),
            Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
            Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
        },
        invalidity_date: None,
    })
}
