//! A world for the transport's tests: authorities with real keys, a configuration of a few lines, real sockets.

#![allow(dead_code, reason = "each test program uses its part of the world")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a world that cannot be made is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::{Clock, FixedClock, SystemClock, UnixTime};
use cert_authority::crypto::{Digest, PrivateKey, PublicKey, digest};
use cert_authority::error::{KeyError, VerifyError};
use cert_authority::keys::{KeyId, KeyType, SignFuture, Signer};
use cert_authority::ocsp::{CertId, CertStatus, Responder as OcspSigner, SingleResponse, respond};
use cert_authority::x509::chain::{self, ValidChain};
use cert_authority::x509::issue::{self, Issuer, Profile, Template};
use cert_authority::x509::{AltName, Certificate, Name, Serial};
use conf::identifier::{ClientId, MemberId, ServerId};
use gateway::transport::peer_registry::{PeerRegistry, Registry, Responder};
use gateway::transport::tls::Identity;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// The time at which every world begins.
pub(crate) fn beginning() -> UnixTime {
    UnixTime::from_rfc3339("2026-11-23T12:00:00Z").unwrap()
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// One key that signs.
pub(crate) struct Key {
    key: PrivateKey,
    pub(crate) pkcs8: Vec<u8>,
    pub(crate) id: KeyId,
}

impl Key {
    pub(crate) fn new() -> Self {
        let pkcs8 = PrivateKey::generate(KeyType::EcP256).unwrap().to_vec();
        let key = PrivateKey::from_pkcs8(&pkcs8).unwrap();
        let id = key.public_key().key_id();
        Self { key, pkcs8, id }
    }

    pub(crate) fn public(&self) -> &PublicKey {
        self.key.public_key()
    }
}

impl Signer for Key {
    fn sign<'a>(&'a self, _key: &'a KeyId, algorithm: SignatureAlgorithm, bytes: &'a [u8]) -> SignFuture<'a> {
        Box::pin(async move { self.key.sign(algorithm, bytes) })
    }

    fn public_key(&self, _key: &KeyId) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki(self.key.public_key().spki_der())
            .map_err(|_| KeyError::NotFound(self.id.clone()))
    }
}

/// A certification authority that answers OCSP itself.
pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    key: Key,
    serial: AtomicU64,
    begins: UnixTime,
}

/// A certificate with its key.
pub(crate) struct Party {
    pub(crate) certificate: Certificate,
    pub(crate) identity: Identity,
    pub(crate) key: Key,
}

impl Party {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.certificate.der().to_vec())
    }
}

impl Authority {
    /// Of the world's time.
    pub(crate) async fn new(name: &str) -> Self {
        Self::since(name, UnixTime::from_rfc3339("2026-11-01T00:00:00Z").unwrap()).await
    }

    /// Of the system's time, for those who look at no other clock.
    pub(crate) async fn now(name: &str) -> Self {
        Self::since(name, SystemClock.now() - 24 * HOUR).await
    }

    async fn since(name: &str, begins: UnixTime) -> Self {
        let key = Key::new();
        let subject = Name::parse_rfc4514(&format!("CN={name}")).unwrap();
        let serial = Serial::from_bytes(&[1]);
        let template = template(Profile::RootCa { path_len: None }, &subject, key.public(), &serial, begins);
        let certificate = issue::self_signed(&template, &key.id, &key).await.unwrap();
        Self { certificate, key, serial: AtomicU64::new(2), begins }
    }

    pub(crate) async fn issue(&self, profile: Profile, name: &str) -> Party {
        self.issue_for(profile, name, &[]).await
    }

    pub(crate) async fn issue_for(&self, profile: Profile, name: &str, alt_names: &[AltName]) -> Party {
        self.make(profile, name, self.begins + 2000 * HOUR, alt_names).await
    }

    pub(crate) async fn issue_until(&self, profile: Profile, name: &str, not_after: UnixTime) -> Party {
        self.make(profile, name, not_after, &[]).await
    }

    async fn make(&self, profile: Profile, name: &str, not_after: UnixTime, alt_names: &[AltName]) -> Party {
        let key = Key::new();
        let serial = Serial::from_bytes(&self.serial.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let subject = Name::parse_rfc4514(&format!("CN={name}")).unwrap();
        let template = Template {
            not_after,
            alt_names,
            ..template(profile, &subject, key.public(), &serial, self.begins)
        };
        let issuer = Issuer { certificate: &self.certificate, key: &self.key.id, signer: &self.key };
        let certificate = issue::issue(&template, &issuer).await.unwrap();
        let identity = Identity {
            chain: vec![CertificateDer::from(certificate.der().to_vec())],
            key: PrivatePkcs8KeyDer::from(key.pkcs8.clone()).into(),
        };
        Party { certificate, identity, key }
    }

    /// What this authority says of a certificate, from then on for an hour and a bit.
    pub(crate) async fn ocsp(
        &self,
        certificate: &Certificate,
        status: CertStatus,
        this_update: UnixTime,
    ) -> Bytes {
        self.ocsp_about(certificate, &self.certificate, status, this_update).await
    }

    /// The same about a certificate of another authority.
    pub(crate) async fn ocsp_about(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        status: CertStatus,
        this_update: UnixTime,
    ) -> Bytes {
        let responder = OcspSigner {
            certificate: self.certificate.clone(),
            key: self.key.id.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
        };
        let single = SingleResponse {
            cert_id: CertId::new(DigestAlgorithm::Sha1, certificate, issuer).unwrap(),
            status,
            this_update,
            next_update: Some(this_update + 2 * HOUR),
        };
        respond(&responder, &[single], None, this_update, &self.key).await.unwrap().into()
    }

    pub(crate) async fn good(&self, certificate: &Certificate) -> Bytes {
        self.ocsp(certificate, CertStatus::Good, beginning()).await
    }
}

fn template<'a>(
    profile: Profile,
    subject: &'a Name,
    public_key: &'a PublicKey,
    serial: &'a Serial,
    not_before: UnixTime,
) -> Template<'a> {
    Template {
        profile,
        subject,
        public_key,
        serial,
        not_before,
        not_after: not_before + 2000 * HOUR,
        alt_names: &[],
        ocsp_url: None,
        crl_url: None,
        issuer_url: None,
    }
}

/// A configuration of a few lines.
#[derive(Clone)]
pub(crate) struct Conf {
    pub(crate) number: u64,
    pub(crate) authorities: Vec<Certificate>,
    pub(crate) servers: Vec<(Certificate, ServerId, Vec<ClientId>)>,
    pub(crate) responders: Vec<Responder>,
}

impl PeerRegistry for Conf {
    fn snapshot(&self) -> Digest {
        digest(DigestAlgorithm::Sha256, &self.number.to_be_bytes())
    }

    fn server_of(&self, certificate: &Certificate) -> Option<ServerId> {
        self.servers
            .iter()
            .find(|(own, _, _)| own.der() == certificate.der())
            .map(|(_, server, _)| server.clone())
    }

    fn has_client(&self, certificate: &Certificate, client: &ClientId) -> bool {
        self.servers
            .iter()
            .any(|(own, _, clients)| own.der() == certificate.der() && clients.contains(client))
    }

    fn chain(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        at: UnixTime,
    ) -> Result<ValidChain, VerifyError> {
        chain::build(certificate, intermediates, &self.authorities, at)
    }

    fn responders(&self, _issuer: &Certificate) -> Vec<Responder> {
        self.responders.clone()
    }

    fn ocsp_freshness(&self) -> (Duration, bool) {
        (HOUR, true)
    }

    fn ocsp_interval(&self) -> Duration {
        HOUR / 3
    }
}

/// The configuration in force, which a test may change.
#[derive(Clone)]
pub(crate) struct InForce(pub(crate) Arc<ArcSwap<Conf>>);

impl InForce {
    pub(crate) fn new(conf: Conf) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(conf)))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Conf)) {
        let mut conf = Conf::clone(&self.0.load());
        conf.number += 1;
        change(&mut conf);
        self.0.store(Arc::new(conf));
    }

    pub(crate) fn now(&self) -> Arc<dyn PeerRegistry> {
        self.0.load_full()
    }

    pub(crate) fn registry(&self) -> Registry {
        let this = self.clone();
        Arc::new(move || Some(this.now()))
    }
}

pub(crate) fn server(code: &str) -> ServerId {
    ServerId::new(member(), code).unwrap()
}

pub(crate) fn member() -> MemberId {
    MemberId::new("DEMO", "GOV", "1001").unwrap()
}

pub(crate) fn client(subsystem: &str) -> ClientId {
    member().subsystem(subsystem).unwrap()
}

pub(crate) fn clock() -> (FixedClock, Arc<dyn Clock>) {
    let clock = FixedClock::new(beginning());
    (clock.clone(), Arc::new(clock))
}

/// Waits for what must happen, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("this takes too long")
}

/// A directory that is gone with its owner.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
