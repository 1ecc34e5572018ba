//! The TLS configurations of the gateway, and the rules by which certificates are accepted in a handshake.
//!
//! | connection | who is accepted in the handshake | who judges then |
//! |---|---|---|
//! | peer door (5500) | a certificate registered in the configuration | [`super::auth_trust`], for each message |
//! | call to a peer | anybody who holds the key of the certificate shown | [`super::auth_trust`], before each message |
//! | front door (HTTPS) | anybody, with or without a certificate | the pinned certificates of the client |
//! | call to a service | the pinned certificate, or a path to the roots given | nobody else |
//!
//! TLS 1.3, and 1.2 with AEAD suites. A peer's name is never looked at: its identity is its registered certificate.
//! A resumed session skips every verifier here, so none of them is the last word (XROAD-FACTS 6).
//! New keys make a new configuration: connections made before keep theirs, its session tickets end with it.
//!
//! Specification: RFC 8446, RFC 5246; XROAD-FACTS 2.10. # Compatibility: the CBC suites that X-Road 7 offers by default do
//! not exist here; such a peer must be given an AEAD suite (`xroad-tls-ciphers`), or be met over OpenSSL ([`peers`]).

use std::convert::identity;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, InconsistentKeys,
    RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use zeroize::Zeroize as _;

use super::handshake::{ClientTls, ServerTls};
#[cfg(feature = "legacy-tls")]
use super::legacy_tls;

/// Longer chains of certificates are refused (THREATS T37).
pub(super) const LONGEST_CHAIN: usize = 10;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Whether a certificate is registered in the configuration that is in force now.
pub type Registered = Arc<dyn Fn(&CertificateDer<'_>) -> bool + Send + Sync>;

/// A certificate with its intermediates, and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate, then its intermediates; the root stays out.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// How a service's certificate is judged.
#[derive(Clone, Debug)]
pub enum ServiceTrust {
    /// Its certificate is exactly one of these; name and validity do not matter then.
    Pinned(Vec<CertificateDer<'static>>),
    /// Its certificate leads to one of these roots, is valid and carries the name called.
    Roots(Arc<RootCertStore>),
}

/// TLS with other gateways, in both directions.
#[derive(Debug)]
pub struct PeerTls {
    /// Of the peer door.
    pub server: ServerTls,
    /// Of calls to peers.
    pub client: ClientTls,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Key and certificate do not fit, or are of a kind that TLS does not know.
    #[error(transparent)]
    Rustls(#[from] Error),
    /// The same, as OpenSSL says it.
    #[cfg(feature = "legacy-tls")]
    #[error(transparent)]
    OpenSsl(#[from] openssl::error::ErrorStack),
    /// It is not in this program.
    #[error("this program was built without the feature legacy-tls")]
    NoLegacy,
}

/// TLS with other gateways; `legacy` for those that have CBC suites only (see `legacy_tls`).
///
/// # Errors
/// [`TlsError`].
pub fn peers(identity: Identity, registered: &Registered, legacy: bool) -> Result<PeerTls, TlsError> {
    if legacy {
        return legacy_peers(&identity, registered);
    }
    let server = peer_server(identity.clone(), Arc::clone(registered))?;
    Ok(PeerTls { server: server.into(), client: peer_client(identity)?.into() })
}

#[cfg(feature = "legacy-tls")]
fn legacy_peers(identity: &Identity, registered: &Registered) -> Result<PeerTls, TlsError> {
    let server = ServerTls::Legacy(legacy_tls::Server::new(identity, Arc::clone(registered))?);
    Ok(PeerTls { server, client: ClientTls::Legacy(legacy_tls::Client::new(identity)?) })
}

#[cfg(not(feature = "legacy-tls"))]
const fn legacy_peers(_identity: &Identity, _registered: &Registered) -> Result<PeerTls, TlsError> {
    Err(TlsError::NoLegacy)
}

/// The configuration of the peer door.
///
/// # Errors
/// When key and certificate do not fit, or are of a kind that TLS does not know.
pub fn peer_server(identity: Identity, registered: Registered) -> Result<ServerConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(RegisteredOnly { registered, provider: Arc::clone(&provider) });
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&VERSIONS)?
        .with_client_cert_verifier(verifier);
    Ok(server.with_cert_resolver(shown(identity)?))
}

/// The configuration of calls to peers.
///
/// # Security
/// The far end has proved to hold the key of the certificate that it showed, nothing more: ask
/// [`super::auth_trust`] before the first byte is sent.
///
/// # Errors
/// As [`peer_server`].
pub fn peer_client(identity: Identity) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(AnyServer { provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(shown(identity)?);
    config.enable_sni = false;
    Ok(config)
}

/// The configuration of the information systems' HTTPS door.
///
/// # Errors
/// As [`peer_server`].
pub fn front_server(identity: Identity) -> Result<ServerConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(AnyClient { provider: Arc::clone(&provider) });
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&VERSIONS)?
        .with_client_cert_verifier(verifier);
    Ok(server.with_cert_resolver(shown(identity)?))
}

/// The configuration of calls to a service; `identity` is what we show when the service asks for a certificate.
///
/// # Errors
/// As [`peer_server`]; also when there are no roots.
pub fn service_client(trust: &ServiceTrust, identity: Option<Identity>) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        ServiceTrust::Pinned(pins) => {
            Arc::new(PinnedServer { pins: pins.clone(), provider: Arc::clone(&provider) })
        }
        ServiceTrust::Roots(roots) => {
            WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match identity {
        Some(identity) => Ok(builder.with_client_cert_resolver(shown(identity)?)),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// What we show in a handshake. The bytes of the key are overwritten: rustls has made its own of them.
fn shown(identity: Identity) -> Result<Arc<SingleCertAndKey>, Error> {
    let Identity { chain, mut key } = identity;
    let signing = cert_authority::crypto::tls_signing_key(&key);
    key.zeroize();
    let certified = CertifiedKey::new(chain, signing?);
    match certified.keys_match() {
        // A kind of key that rustls cannot compare.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified.into())),
        Err(error) => Err(error),
    }
}

fn provider() -> Arc<CryptoProvider> {
    cert_authority::crypto::tls_provider()
}

/// The two signature checks are the same for every verifier: the far end holds the key of the certificate it shows.
/// `$refused` turns what is wrong with one into what the far end is told.
macro_rules! verify_handshake_signatures {
    ($refused:expr) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(
                message,
                certificate,
                signed,
                &self.provider.signature_verification_algorithms,
            )
            .map_err($refused)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(
                message,
                certificate,
                signed,
                &self.provider.signature_verification_algorithms,
            )
            .map_err($refused)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

/// A stranger who shows the certificate of a registered server without its key is told what one is told whose certificate
/// is not registered: nobody learns which certificates are (THREATS T46).
fn alike(_wrong: Error) -> Error {
    CertificateError::ApplicationVerificationFailure.into()
}

/// Peer door: the certificate must be registered.
struct RegisteredOnly {
    registered: Registered,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for RegisteredOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegisteredOnly")
    }
}

impl ClientCertVerifier for RegisteredOnly {
    /// None: with the certificates of all authorities of all instances the list would be long, and peers do not need it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= LONGEST_CHAIN || !(self.registered)(leaf) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    verify_handshake_signatures!(alike);
}

/// Front door: any certificate, or none.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= LONGEST_CHAIN {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    verify_handshake_signatures!(identity);
}

/// Calls to peers: any certificate, judged right afterwards.
#[derive(Debug)]
struct AnyServer {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.len() >= LONGEST_CHAIN {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    verify_handshake_signatures!(identity);
}

/// Calls to a service with pinned certificates.
#[derive(Debug)]
struct PinnedServer {
    pins: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pins.iter().any(|pin| pin == leaf) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    verify_handshake_signatures!(identity);
}
