//! Certification authorities, with an OCSP responder and a time-stamping authority that can be made to misbehave.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::crypto::{PrivateKey, PublicKey};
use cert_authority::error::KeyError;
use cert_authority::http::{self as small_http, Body};
use cert_authority::keys::{KeyId, KeyType, SignFuture, Signer};
use cert_authority::ocsp::{self, CertId, CertStatus, SingleResponse};
use cert_authority::timestamp::{self, Stamper};
use cert_authority::x509::issue::{self, Issuer, Profile, Template};
use cert_authority::x509::{Certificate, Name, ObjectIdentifier, Serial};
use gateway::transport::tls::Identity;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;

use super::{TurnedClock, lock};

const HOUR: Duration = Duration::from_secs(3600);
/// How long an OCSP response may be believed in this network.
pub(crate) const FRESHNESS: Duration = Duration::from_secs(3600);

/// One key that signs.
pub struct Key {
    key: PrivateKey,
    /// As it is stored.
    pub pkcs8: Vec<u8>,
    /// Its name.
    pub id: KeyId,
}

impl Key {
    /// A fresh P-256 key.
    pub fn fresh() -> Self {
        let pkcs8 = PrivateKey::generate(KeyType::EcP256).unwrap().to_vec();
        let key = PrivateKey::from_pkcs8(&pkcs8).unwrap();
        let id = key.public_key().key_id();
        Self { key, pkcs8, id }
    }
}

impl Signer for Key {
    fn sign<'a>(&'a self, _key: &'a KeyId, algorithm: SignatureAlgorithm, bytes: &'a [u8]) -> SignFuture<'a> {
        Box::pin(async move { self.key.sign(algorithm, bytes) })
    }

    fn public_key(&self, _key: &KeyId) -> Result<PublicKey, KeyError> {
        Ok(self.key.public_key().clone())
    }
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Holder {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: Arc<Key>,
}

impl Holder {
    /// For TLS.
    pub fn identity(&self) -> Identity {
        Identity {
            chain: vec![CertificateDer::from(self.certificate.der().to_vec())],
            key: PrivatePkcs8KeyDer::from(self.key.pkcs8.clone()).into(),
        }
    }

    /// As the configuration names an authentication certificate.
    pub fn hash(&self) -> Vec<u8> {
        self.certificate.fingerprint(DigestAlgorithm::Sha256).as_ref().to_vec()
    }
}

/// A certification authority.
pub struct Authority {
    /// Its certificate.
    pub certificate: Certificate,
    key: Key,
    serial: AtomicU64,
    clock: TurnedClock,
    issued: Mutex<HashMap<Vec<u8>, Certificate>>,
}

impl Authority {
    /// A fresh one.
    pub async fn fresh(name: &str, clock: &TurnedClock) -> Self {
        let key = Key::fresh();
        let subject = Name::parse_rfc4514(&format!("CN={name}")).unwrap();
        let serial = Serial::from_bytes(&[1]);
        let begins = clock.now() - 24 * HOUR;
        let template = Template {
            profile: Profile::RootCa { path_len: None },
            subject: &subject,
            public_key: key.key.public_key(),
            serial: &serial,
            not_before: begins,
            not_after: begins + 20_000 * HOUR,
            alt_names: &[],
            ocsp_url: None,
            crl_url: None,
            issuer_url: None,
        };
        let certificate = issue::self_signed(&template, &key.id, &key).await.unwrap();
        Self { certificate, key, serial: AtomicU64::new(2), clock: clock.clone(), issued: Mutex::default() }
    }

    /// Issues a certificate that is good for long.
    pub async fn issue(&self, profile: Profile, subject: &str) -> Holder {
        self.issue_until(profile, subject, self.clock.now() + 2000 * HOUR).await
    }

    /// Issues a certificate that ends then.
    pub async fn issue_until(&self, profile: Profile, subject: &str, not_after: UnixTime) -> Holder {
        self.make(Arc::new(Key::fresh()), profile, subject, not_after).await
    }

    /// Issues a certificate for this key.
    pub async fn certify(&self, key: Arc<Key>, profile: Profile, subject: &str) -> Holder {
        self.make(key, profile, subject, self.clock.now() + 2000 * HOUR).await
    }

    async fn make(&self, key: Arc<Key>, profile: Profile, subject: &str, not_after: UnixTime) -> Holder {
        let serial = Serial::from_bytes(&self.serial.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let subject = Name::parse_rfc4514(subject).unwrap();
        let template = Template {
            profile,
            subject: &subject,
            public_key: key.key.public_key(),
            serial: &serial,
            not_before: self.clock.now() - 12 * HOUR,
            not_after,
            alt_names: &[],
            ocsp_url: None,
            crl_url: None,
            issuer_url: None,
        };
        let issuer = Issuer { certificate: &self.certificate, key: &self.key.id, signer: &self.key };
        let certificate = issue::issue(&template, &issuer).await.unwrap();
        lock(&self.issued).insert(certificate.serial().as_bytes().to_vec(), certificate.clone());
        Holder { certificate, key }
    }

    /// A response about anything, in the name of a responder (this authority, where none is given), with the key of
    /// either.
    pub async fn respond_as(
        &self,
        responder: Option<&Holder>,
        singles: &[SingleResponse],
        produced_at: UnixTime,
    ) -> Bytes {
        let (certificate, key) = match responder {
            Some(holder) => (&holder.certificate, holder.key.as_ref()),
            None => (&self.certificate, &self.key),
        };
        let responder = ocsp::Responder {
            certificate: certificate.clone(),
            key: key.id.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
        };
        ocsp::respond(&responder, singles, None, produced_at, key).await.unwrap().into()
    }

    fn issued(&self, serial: &[u8]) -> Option<Certificate> {
        let wanted = Serial::from_bytes(serial);
        lock(&self.issued).get(wanted.as_bytes()).cloned()
    }

    /// A response signed by this authority about a certificate of `issuer`.
    pub async fn respond(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        status: CertStatus,
        this_update: UnixTime,
    ) -> Bytes {
        let responder = ocsp::Responder {
            certificate: self.certificate.clone(),
            key: self.key.id.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
        };
        let single = SingleResponse {
            cert_id: CertId::new(DigestAlgorithm::Sha1, certificate, issuer).unwrap(),
            status,
            this_update,
            next_update: Some(this_update + FRESHNESS),
        };
        ocsp::respond(&responder, &[single], None, this_update, &self.key).await.unwrap().into()
    }
}

/// What the responder says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspMode {
    /// The truth.
    Good,
    /// It is revoked.
    Revoked,
    /// It is not known.
    Unknown,
    /// It was good, long ago.
    TooOld,
    /// It will be good.
    Future,
    /// It is good, says somebody who is not entitled to say so.
    WrongSigner,
    /// Nothing.
    Down,
}

/// What the time-stamping authority does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TsaMode {
    /// It stamps.
    Good,
    /// It is down.
    Down,
    /// It stamps something else.
    WrongImprint,
    /// It repeats another nonce.
    WrongNonce,
    /// It is not the one of the configuration.
    Unapproved,
    /// Its clock is so many seconds ahead.
    Apart(i64),
    /// It rejects whatever it is asked for.
    Rejecting,
    /// It answers with something else.
    Rubbish,
    /// It answers without end: 200 MB.
    Endless,
}

/// The trust services, served over HTTP.
pub struct Trust {
    /// The approved authority.
    pub ca: Arc<Authority>,
    /// An authority that nobody approved.
    pub other: Arc<Authority>,
    /// The approved stamper.
    pub tsa: Holder,
    clock: TurnedClock,
    address: String,
    state: Arc<State>,
}

struct State {
    ca: Arc<Authority>,
    other: Arc<Authority>,
    clock: TurnedClock,
    stamper: Holder,
    unapproved: Holder,
    ocsp: Mutex<HashMap<Vec<u8>, OcspMode>>,
    tsa: Mutex<TsaMode>,
    ocsp_calls: AtomicU64,
    tsa_calls: AtomicU64,
}

impl Trust {
    /// Starts them at a host.
    pub async fn start(host: Ipv4Addr, clock: &TurnedClock) -> Self {
        let ca = Arc::new(Authority::fresh("Approved CA", clock).await);
        let other = Arc::new(Authority::fresh("Other CA", clock).await);
        let tsa = ca.issue(Profile::Tsa, "CN=Stamps").await;
        let state = Arc::new(State {
            ca: Arc::clone(&ca),
            other: Arc::clone(&other),
            clock: clock.clone(),
            stamper: tsa.clone(),
            unapproved: other.issue(Profile::Tsa, "CN=Stamps").await,
            ocsp: Mutex::default(),
            tsa: Mutex::new(TsaMode::Good),
            ocsp_calls: AtomicU64::new(0),
            tsa_calls: AtomicU64::new(0),
        });
        let listener = TcpListener::bind((host, 8888)).await.unwrap();
        let served = Arc::clone(&state);
        let handler = move |request: Request<Incoming>| {
            let state = Arc::clone(&served);
            async move { state.answer(request).await }
        };
        tokio::spawn(small_http::serve(listener, handler, std::future::pending()));
        Self { ca, other, tsa, clock: clock.clone(), address: format!("http://{host}:8888"), state }
    }

    /// Where OCSP is asked.
    pub fn ocsp_url(&self) -> String {
        format!("{}/ocsp", self.address)
    }

    /// Where time-stamps are asked for.
    pub fn tsa_url(&self) -> String {
        format!("{}/tsa", self.address)
    }

    /// From now on this is said of a certificate.
    pub fn say(&self, certificate: &Certificate, mode: OcspMode) {
        lock(&self.state.ocsp).insert(certificate.serial().as_bytes().to_vec(), mode);
    }

    /// From now on the time-stamping authority does this.
    pub fn stamp(&self, mode: TsaMode) {
        *lock(&self.state.tsa) = mode;
    }

    /// How often the responder was asked.
    pub fn ocsp_calls(&self) -> u64 {
        self.state.ocsp_calls.load(Ordering::SeqCst)
    }

    /// How often the time-stamping authority was asked.
    pub fn tsa_calls(&self) -> u64 {
        self.state.tsa_calls.load(Ordering::SeqCst)
    }

    /// A good response for a certificate of the approved authority, made now.
    pub async fn ocsp(&self, certificate: &Certificate) -> Bytes {
        self.ca.respond(certificate, &self.ca.certificate, CertStatus::Good, self.clock.now()).await
    }

    /// The response that a mode gives.
    ///
    /// # Panics
    /// For [`OcspMode::Down`].
    pub async fn ocsp_as(&self, certificate: &Certificate, mode: OcspMode) -> Bytes {
        self.state.response(certificate, mode).await.expect("a responder that is down gives no response")
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let body = small_http::read_body(request.into_body(), 64 * 1024).await.unwrap_or_default();
        let down = || small_http::respond_text(StatusCode::SERVICE_UNAVAILABLE, "down");
        if path == "/tsa" {
            self.tsa_calls.fetch_add(1, Ordering::SeqCst);
            let mode = *lock(&self.tsa);
            return match self.stamp(&body, mode).await {
                Some(answer) => small_http::respond(StatusCode::OK, timestamp::RESPONSE_TYPE, answer),
                None => down(),
            };
        }
        self.ocsp_calls.fetch_add(1, Ordering::SeqCst);
        let asked = ocsp::Request::from_der(&body).ok();
        let certificate = asked.and_then(|asked| self.ca.issued(asked.cert_ids.first()?.serial()));
        let Some(certificate) = certificate else { return down() };
        let mode = lock(&self.ocsp).get(certificate.serial().as_bytes()).copied().unwrap_or(OcspMode::Good);
        match self.response(&certificate, mode).await {
            Some(answer) => small_http::respond(StatusCode::OK, ocsp::RESPONSE_TYPE, answer),
            None => down(),
        }
    }

    async fn response(&self, certificate: &Certificate, mode: OcspMode) -> Option<Bytes> {
        let now = self.clock.now();
        let (signer, status, at) = match mode {
            OcspMode::Good => (&self.ca, CertStatus::Good, now),
            OcspMode::Revoked => (&self.ca, CertStatus::Revoked { at: now, reason: None }, now),
            OcspMode::Unknown => (&self.ca, CertStatus::Unknown, now),
            OcspMode::TooOld => (&self.ca, CertStatus::Good, now - FRESHNESS - HOUR),
            OcspMode::Future => (&self.ca, CertStatus::Good, now + HOUR),
            OcspMode::WrongSigner => (&self.other, CertStatus::Good, now),
            OcspMode::Down => return None,
        };
        Some(signer.respond(certificate, &self.ca.certificate, status, at).await)
    }

    async fn stamp(&self, body: &[u8], mode: TsaMode) -> Option<Vec<u8>> {
        let mut request = timestamp::Request::from_der(body).ok()?;
        let holder = match mode {
            TsaMode::Down => return None,
            // PKIStatusInfo with the status "rejection", and no token.
            TsaMode::Rejecting => return Some(vec![0x30, 5, 0x30, 3, 2, 1, 2]),
            TsaMode::Rubbish => return Some(b"<html>".to_vec()),
            TsaMode::Endless => return Some(vec![0; 200_000_000]),
            TsaMode::Unapproved => &self.unapproved,
            TsaMode::Good | TsaMode::WrongImprint | TsaMode::WrongNonce | TsaMode::Apart(_) => &self.stamper,
        };
        if mode == TsaMode::WrongImprint {
            request.imprint.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        }
        if mode == TsaMode::WrongNonce {
            request.nonce = Some(vec![1, 2, 3]);
        }
        let stamper = Stamper {
            certificate: holder.certificate.clone(),
            intermediates: Vec::new(),
            key: holder.key.id.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
            policy: ObjectIdentifier::new_unwrap("1.2.3.4"),
        };
        let serial = self.tsa_calls.load(Ordering::SeqCst).to_be_bytes();
        let now = self.clock.now();
        let apart = if let TsaMode::Apart(seconds) = mode { seconds } else { 0 };
        let now = UnixTime::from_millis(now.as_millis() + apart * 1000);
        timestamp::stamp(&request, &stamper, &serial, now, holder.key.as_ref()).await.ok()
    }
}
