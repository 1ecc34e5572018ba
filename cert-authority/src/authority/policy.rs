//! What an authority issues: kinds of keys, validity, and the addresses written into certificates.

use std::time::Duration;

use crate::{clock::UnixTime, crypto::PublicKey, error::Refusal, keys::KeyType, x509::issue::Profile};

const DAY: Duration = Duration::from_hours(24);

/// The rules of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The kinds of keys that are certified.
    pub key_types: Vec<KeyType>,
    /// Validity of certificates for members and servers.
    pub validity: Duration,
    /// Validity of CA certificates.
    pub ca_validity: Duration,
    /// Validity of certificates for OCSP and time-stamping.
    pub service_validity: Duration,
    /// How far before its making a certificate's validity begins, for clocks that are behind.
    pub backdate: Duration,
    /// Validity of a revocation list.
    pub crl_validity: Duration,
    /// Where the OCSP responder is.
    pub ocsp_url: Option<String>,
    /// Where the revocation list is.
    pub crl_url: Option<String>,
    /// Where the CA certificate is.
    pub issuer_url: Option<String>,
}

impl Default for Policy {
    /// Every kind of key that certificates are made for; two years, ten for authorities, three for their services.
    fn default() -> Self {
        Self {
            key_types: KeyType::CERTIFIED.to_vec(),
            validity: 730 * DAY,
            ca_validity: 3650 * DAY,
            service_validity: 1095 * DAY,
            backdate: Duration::from_mins(5),
            crl_validity: DAY,
            ocsp_url: None,
            crl_url: None,
            issuer_url: None,
        }
    }
}

impl Policy {
    /// Begin and end of a certificate of this kind made now. It does not outlive its issuer.
    pub fn validity(&self, profile: Profile, now: UnixTime, issuer_ends: UnixTime) -> (UnixTime, UnixTime) {
        let duration = match profile {
            Profile::RootCa { .. } | Profile::SubCa { .. } => self.ca_validity,
            Profile::Ocsp | Profile::Tsa => self.service_validity,
            Profile::Sign | Profile::Auth | Profile::Tls => self.validity,
        };
        (now - self.backdate, (now + duration).min(issuer_ends))
    }

    /// Whether a key of this kind is certified.
    ///
    /// # Errors
    /// [`Refusal::Policy`].
    pub fn check_key(&self, key: &PublicKey) -> Result<(), Refusal> {
        match key.key_type() {
            Some(key_type) if self.key_types.contains(&key_type) => Ok(()),
            Some(key_type) => Err(Refusal::Policy(format!("keys of kind {key_type} are not certified"))),
            None => Err(Refusal::Policy("a key of this kind or size is not certified".to_owned())),
        }
    }
}
