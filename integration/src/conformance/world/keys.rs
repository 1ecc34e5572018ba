//! Keys of our own for what we sign here: one authority, one key, a certificate for each member.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::UnixTime;
use cert_authority::crypto::{PrivateKey, PublicKey};
use cert_authority::error::KeyError;
use cert_authority::keys::{KeyId, KeyType, SignFuture, Signer};
use cert_authority::ocsp::{self, CertId, CertStatus, Responder, SingleResponse};
use cert_authority::x509::issue::{self, Issuer, Profile, Template};
use cert_authority::x509::{Certificate, Name, Serial};
use conf::identifier::MemberId;
use conf::snapshot::GlobalConf;
use gateway::evidence::signature::SigningKey;
use gateway::exchange::ports::{KeyUnavailable, SigningKeys};

use super::parties::Parties;
use super::said;
use crate::one_key::OneKey;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaSha256;

/// The keys.
pub(super) struct Keys {
    key: OneKey,
    id: KeyId,
    authority: Certificate,
    certificates: HashMap<MemberId, Certificate>,
    ready: Mutex<HashMap<MemberId, Arc<SigningKey>>>,
}

impl Keys {
    /// Makes the key, and certificates that are valid for a year around `at`.
    pub(super) async fn new(parties: &Parties, at: UnixTime) -> Result<Self, String> {
        let pkcs8 = PrivateKey::generate(KeyType::EcP256).map_err(said)?;
        let key = OneKey(PrivateKey::from_pkcs8(&pkcs8).map_err(said)?);
        let id = key.0.public_key().key_id();
        let name = Name::parse_rfc4514("C=EE, O=Passerelle, CN=Judge").map_err(said)?;
        let first = Serial::from_bytes(&[1]);
        let root = template(&key.0, Profile::RootCa { path_len: None }, &name, &first, at);
        let authority = issue::self_signed(&root, &id, &key).await.map_err(said)?;
        let mut certificates = HashMap::new();
        for (number, member) in (2_u32..).zip(parties.members()) {
            let subject = format!("C={}, O={}, CN={}", member.instance(), member.class(), member.code());
            let subject = Name::parse_rfc4514(&subject).map_err(said)?;
            let serial = Serial::from_bytes(&number.to_be_bytes());
            let issuer = Issuer { certificate: &authority, key: &id, signer: &key };
            let certificate = issue::issue(&template(&key.0, Profile::Sign, &subject, &serial, at), &issuer)
                .await
                .map_err(said)?;
            certificates.insert(member, certificate);
        }
        Ok(Self { key, id, authority, certificates, ready: Mutex::default() })
    }

    /// The authority that has issued all certificates.
    pub(super) fn authority(&self) -> &Certificate {
        &self.authority
    }

    /// Proves anew that no certificate is revoked.
    pub(super) async fn renew(&self, at: UnixTime) -> Result<(), String> {
        let responder =
            Responder { certificate: self.authority.clone(), key: self.id.clone(), algorithm: ALGORITHM };
        let mut ready = HashMap::new();
        for (member, certificate) in &self.certificates {
            let single = SingleResponse {
                cert_id: CertId::new(DigestAlgorithm::Sha1, certificate, &self.authority).map_err(said)?,
                status: CertStatus::Good,
                this_update: at,
                next_update: Some(at + YEAR),
            };
            let response = ocsp::respond(&responder, &[single], None, at, &self.key).await.map_err(said)?;
            let ocsp = [Bytes::from(response)];
            let key = SigningKey::new(self.id.clone(), certificate.clone(), &[], &ocsp, ALGORITHM);
            ready.insert(member.clone(), Arc::new(key));
        }
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = ready;
        Ok(())
    }
}

fn template<'a>(
    key: &'a PrivateKey,
    profile: Profile,
    subject: &'a Name,
    serial: &'a Serial,
    at: UnixTime,
) -> Template<'a> {
    Template {
        profile,
        subject,
        public_key: key.public_key(),
        serial,
        not_before: at - YEAR,
        not_after: at + YEAR,
        alt_names: &[],
        ocsp_url: None,
        crl_url: None,
        issuer_url: None,
    }
}

impl SigningKeys for Keys {
    fn signing_key(
        &self,
        member: &MemberId,
        _: &GlobalConf,
        _: UnixTime,
    ) -> Result<Arc<SigningKey>, KeyUnavailable> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.get(member).cloned().ok_or(KeyUnavailable::NoKey)
    }

    fn own_ocsp_responses(&self, _: UnixTime) -> Vec<Bytes> {
        Vec::new()
    }
}

impl Signer for Keys {
    fn sign<'a>(
        &'a self,
        key: &'a KeyId,
        algorithm: SignatureAlgorithm,
        to_be_signed: &'a [u8],
    ) -> SignFuture<'a> {
        Box::pin(async move {
            if *key == self.id {
                self.key.0.sign(algorithm, to_be_signed)
            } else {
                Err(KeyError::NotFound(key.clone()))
            }
        })
    }

    fn public_key(&self, _: &KeyId) -> Result<PublicKey, KeyError> {
        Ok(self.key.0.public_key().clone())
    }
}
