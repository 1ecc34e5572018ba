//! Issuing: from an application to a certificate whose status is known from its first moment.

use base64::Engine;

use super::{Authority, Event, serial};
use crate::{
    crypto::PublicKey,
    error::{PkiError, Refusal},
    x509::{
        AltName, Certificate, Name,
        issue::{Profile, Template, issue},
        request::CertificateRequest,
    },
};

/// What an authority is asked to certify.
#[derive(Debug, Clone, Copy)]
pub struct Application<'a> {
    /// The kind of certificate.
    pub profile: Profile,
    /// The subject as the authority writes it.
    pub subject: &'a Name,
    /// The subject's key, whose possession has been proved.
    pub public_key: &'a PublicKey,
    /// Other names, as the authority writes them.
    pub alt_names: &'a [AltName],
}

impl<'a> Application<'a> {
    /// An application as the request has it: its subject, its key, no other names.
    pub fn of_request(profile: Profile, request: &'a CertificateRequest) -> Self {
        Self { profile, subject: request.subject(), public_key: request.public_key(), alt_names: &[] }
    }
}

impl Authority {
    /// Issues a certificate. It is in the register, durably, before it is returned.
    ///
    /// # Errors
    /// [`PkiError::Refused`] when the policy does not allow it; [`PkiError::Verify`] when the CA certificate
    /// is not valid now; [`PkiError::Key`], [`PkiError::Store`].
    pub async fn issue(&self, application: &Application<'_>) -> Result<Certificate, PkiError> {
        let now = self.clock.now();
        self.certificate.valid_at(now)?;
        self.policy.check_key(application.public_key)?;
        self.check_profile(application.profile)?;
        if application.subject.same_as(self.certificate.subject()) {
            return Err(Refusal::Policy("the subject is the authority itself".to_owned()).into());
        }
        let (not_before, not_after) =
            self.policy.validity(application.profile, now, self.certificate.not_after());
        let template = Template {
            profile: application.profile,
            subject: application.subject,
            public_key: application.public_key,
            serial: &serial::fresh()?,
            not_before: not_before.max(self.certificate.not_before()),
            not_after,
            alt_names: application.alt_names,
            ocsp_url: self.policy.ocsp_url.as_deref(),
            crl_url: self.policy.crl_url.as_deref(),
            issuer_url: self.policy.issuer_url.as_deref(),
        };
        let certificate = issue(&template, &self.issuer()).await?;
        self.commit(&Event::Issued {
            serial: certificate.serial().hex(),
            at: now.to_rfc3339(),
            not_after: certificate.not_after().to_rfc3339(),
            profile: profile_name(application.profile).to_owned(),
            subject: certificate.subject().rfc2253(),
            certificate: base64::engine::general_purpose::STANDARD.encode(certificate.der()),
        })?;
        Ok(certificate)
    }

    fn check_profile(&self, profile: Profile) -> Result<(), Refusal> {
        match (profile, self.certificate.path_len()) {
            (Profile::RootCa { .. }, _) => Err(Refusal::Policy("a root signs itself".to_owned())),
            (Profile::SubCa { .. }, Some(0)) => {
                Err(Refusal::Policy("this authority may not certify another".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::RootCa { .. } => "root-ca",
        Profile::SubCa { .. } => "sub-ca",
        Profile::Sign => "sign",
        Profile::Auth => "auth",
        Profile::Tls => "tls",
        Profile::Ocsp => "ocsp",
        Profile::Tsa => "tsa",
    }
}
