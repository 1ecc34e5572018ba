//! `issue`, `revoke`, `show`.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::house::House;
use crate::authority::{Application, Authority, Reason, Record};
use crate::error::{PkiError, Refusal};
use crate::x509::issue::Profile;
use crate::x509::request::CertificateRequest;
use crate::x509::{AltName, Certificate, Name, Serial};

/// Issues what a request asks for, under the name that the operator says, or else the request's own.
///
/// The certificate is in the register before this returns. What comes back is PEM: the certificate, then the intermediates.
///
/// # Errors
/// [`PkiError::Refused`] if the rules do not allow it; [`PkiError::Key`], [`PkiError::Store`].
pub async fn issue(
    house: &House,
    profile: Profile,
    request: &CertificateRequest,
    subject: Option<&Name>,
    alt_names: &[AltName],
) -> Result<String, PkiError> {
    let mut application = Application::of_request(profile, request);
    application.subject = subject.unwrap_or(application.subject);
    application.alt_names = alt_names;
    let certificate = house.issuing()?.issue(&application).await?;
    tracing::info!(serial = %certificate.serial().hex(), subject = %certificate.subject().rfc2253(), "issued");
    Ok([certificate].iter().chain(&house.intermediates()).map(Certificate::to_pem).collect())
}

/// Revokes the certificate with this serial number, whichever authority of the house has issued it.
///
/// # Errors
/// [`PkiError::Refused`] if it is unknown or revoked already; [`PkiError::Store`].
pub fn revoke(house: &House, serial: &Serial, reason: Reason) -> Result<Record, PkiError> {
    let authority =
        issuer_of(house, serial).ok_or_else(|| PkiError::Refused(Refusal::UnknownSerial(serial.hex())))?;
    authority.revoke(serial, reason)?;
    tracing::info!(serial = %serial.hex(), reason = reason.name(), "revoked");
    authority.record(serial).ok_or_else(|| PkiError::Refused(Refusal::UnknownSerial(serial.hex())))
}

fn issuer_of<'a>(house: &'a House, serial: &Serial) -> Option<&'a Arc<Authority>> {
    house.authorities().iter().find(|authority| authority.record(serial).is_some())
}

/// An authority and what it has issued, for people ([`Display`](fmt::Display)) and programs (serde). Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its name, RFC 4514.
    pub subject: String,
    /// The serial number of its certificate, hexadecimal.
    pub serial: String,
    /// The end of its certificate's validity.
    pub not_after: String,
    /// By serial number.
    pub issued: Vec<ShownCertificate>,
}

/// One issued certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownCertificate {
    /// The serial number, hexadecimal.
    pub serial: String,
    /// The kind of certificate.
    pub profile: String,
    /// The subject, RFC 4514.
    pub subject: String,
    /// When it was issued.
    pub issued_at: String,
    /// The end of its validity.
    pub not_after: String,
    /// When it was revoked, if it was.
    pub revoked_at: Option<String>,
    /// Why.
    pub reason: Option<&'static str>,
}

/// The authorities, the root first, and what they have issued.
#[must_use]
pub fn show(house: &House) -> Vec<Shown> {
    house.authorities().iter().map(|authority| Shown::of(authority)).collect()
}

impl Shown {
    fn of(authority: &Authority) -> Self {
        let certificate = authority.certificate();
        Self {
            subject: certificate.subject().rfc2253(),
            serial: certificate.serial().hex(),
            not_after: certificate.not_after().to_rfc3339(),
            issued: authority.records().iter().map(ShownCertificate::of).collect(),
        }
    }
}

impl ShownCertificate {
    fn of(record: &Record) -> Self {
        Self {
            serial: record.serial.hex(),
            profile: record.profile.clone(),
            subject: record.subject.clone(),
            issued_at: record.issued_at.to_rfc3339(),
            not_after: record.not_after.to_rfc3339(),
            revoked_at: record.revoked.map(|revocation| revocation.at.to_rfc3339()),
            reason: record.revoked.map(|revocation| revocation.reason.name()),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (until {})", self.subject, self.not_after)?;
        for issued in &self.issued {
            let state = match (&issued.revoked_at, issued.reason) {
                (Some(at), Some(reason)) => format!("revoked {at} ({reason})"),
                _ => "good".into(),
            };
            let ShownCertificate { serial, profile, subject, not_after, .. } = issued;
            writeln!(f, "  {serial}  {profile:6}  until {not_after}  {state:8}  {subject}")?;
        }
        Ok(())
    }
}
