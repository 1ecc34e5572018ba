//! TLS over OpenSSL, for the traffic with other gateways that have CBC suites only: X-Road 7's default.
//!
//! # Security
//! CBC suites of TLS 1.2 are refused everywhere else: their padding has been attacked again and again, and the code that
//! withstands is hard to write. Here they are the last that is chosen, below TLS 1.3 and AEAD suites. OpenSSL is C. It is
//! compiled in with the feature `legacy-tls` only, and used with `[dangerous] legacy_tls = true` only.
//!
//! Whom to believe is decided as with rustls: the far end proves to hold the key of the certificate that it shows, and
//! [`super::auth_trust`] judges that certificate for each message; the peer door lets in registered ones only. There are
//! no sessions to resume.
//!
//! Specification: XROAD-FACTS 2.10.

use std::fmt;
use std::io;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::x509::{X509, X509Ref};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::door::TlsPeer;
use super::io::Stream;
use super::tls::{Identity, LONGEST_CHAIN, Registered};

/// Of TLS 1.2, best first. The last three are X-Road's.
const SUITES: &str = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
     ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:\
     ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:DHE-RSA-AES256-SHA256";

/// Answers handshakes.
pub struct Server(SslContext);

/// Begins handshakes.
pub struct Client(SslContext);

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("legacy_tls::Server")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("legacy_tls::Client")
    }
}

impl Server {
    /// Lets in registered certificates.
    ///
    /// # Errors
    /// When key and certificate do not fit, or are of a kind that TLS does not know.
    pub fn new(identity: &Identity, registered: Registered) -> Result<Self, ErrorStack> {
        let mut context = context(identity)?;
        let shown = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        context.set_verify_callback(shown, move |_, store| {
            let depth = usize::try_from(store.error_depth()).unwrap_or(usize::MAX);
            match store.current_cert().filter(|_| depth < LONGEST_CHAIN).map(X509Ref::to_der) {
                // The certificate itself is looked at last, when its chain is.
                Some(Ok(der)) => depth > 0 || registered(&CertificateDer::from(der)),
                Some(Err(_)) | None => false,
            }
        });
        Ok(Self(context.build()))
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(Stream, TlsPeer)> {
        let mut stream = SslStream::new(Ssl::new(&self.0)?, stream)?;
        Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
        secured(stream)
    }
}

impl Client {
    /// Believes whoever holds the key of the certificate that it shows: it is judged right afterwards.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn new(identity: &Identity) -> Result<Self, ErrorStack> {
        let mut context = context(identity)?;
        context.set_verify_callback(SslVerifyMode::PEER, |_, store| {
            usize::try_from(store.error_depth()).is_ok_and(|depth| depth < LONGEST_CHAIN)
        });
        Ok(Self(context.build()))
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<(Stream, TlsPeer)> {
        let mut stream = SslStream::new(Ssl::new(&self.0)?, stream)?;
        Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
        secured(stream)
    }
}

fn context(identity: &Identity) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls())?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_cipher_list(SUITES)?;
    context.set_options(
        SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_TICKET
            | SslOptions::NO_COMPRESSION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_mode(SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER);
    let mut chain = identity.chain.iter().map(|der| X509::from_der(der));
    if let Some(own) = chain.next() {
        context.set_certificate(own?.as_ref())?;
    }
    for issuer in chain {
        context.add_extra_chain_cert(issuer?)?;
    }
    context.set_private_key(PKey::private_key_from_der(identity.key.secret_der())?.as_ref())?;
    context.check_private_key()?;
    Ok(context)
}

fn secured(stream: SslStream<TcpStream>) -> io::Result<(Stream, TlsPeer)> {
    let peer = shown(stream.ssl())?;
    Ok((Stream::Legacy(Box::new(stream)), peer))
}

/// Reads a finished handshake.
fn shown(ssl: &SslRef) -> Result<TlsPeer, ErrorStack> {
    let own = ssl.peer_certificate().map(|own| own.to_der()).transpose()?;
    let mut certificates: Vec<Vec<u8>> = own.into_iter().collect();
    // A server's view of the chain is without the certificate itself, a client's with it.
    for issuer in ssl.peer_cert_chain().into_iter().flatten() {
        let der = issuer.to_der()?;
        if !certificates.contains(&der) {
            certificates.push(der);
        }
    }
    Ok(TlsPeer {
        certificates: certificates.into_iter().map(CertificateDer::from).collect(),
        version: ssl.version_str().replace('.', "_"),
        suite: ssl.current_cipher().and_then(|suite| suite.standard_name()).unwrap_or_default().to_owned(),
        group: None,
    })
}
