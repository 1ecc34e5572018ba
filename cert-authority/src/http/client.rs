//! The HTTP client: one connection a question, everything bounded.
//!
//! Specification: RFC 9112; RFC 8446 through rustls.
//!
//! It never trusts what the operating system trusts: `https` works only with the roots or the certificates that were given.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::HttpError;
use crate::crypto;

/// What a question may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest body accepted, in bytes.
    pub max_bytes: usize,
    /// Time for the connection, TLS included.
    pub connect: Duration,
    /// Time for the whole question, the connection included.
    pub total: Duration,
}

impl Default for Limits {
    /// 64 KiB, 20 s to connect, 60 s in all: right for OCSP responses and time-stamps.
    fn default() -> Self {
        Self { max_bytes: 64 * 1024, connect: Duration::from_secs(20), total: Duration::from_secs(60) }
    }
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status; nothing but the transport was judged, a 500 is an answer too.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`Limits::max_bytes`] long.
    pub body: Bytes,
}

impl Response {
    /// The media type without its parameters, in lower case; empty if there is none.
    #[must_use]
    pub fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

/// Asks questions over HTTP. Cheap to clone.
#[derive(Clone, Default)]
pub struct Client {
    tls: Option<TlsConnector>,
}

impl Client {
    /// A client for `http://` only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that accepts `https` servers whose certificate leads to one of `roots` and names the host asked for.
    ///
    /// # Errors
    /// [`HttpError::Tls`] if a root cannot be used.
    pub fn with_roots(roots: &[CertificateDer<'_>]) -> Result<Self, HttpError> {
        let provider = crypto::tls_provider();
        let mut store = rustls::RootCertStore::empty();
        for root in roots {
            store.add(root.clone().into_owned()).map_err(|error| HttpError::Tls(error.to_string()))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
            .build()
            .map_err(|error| HttpError::Tls(error.to_string()))?;
        Self::with_verifier(provider, verifier)
    }

    /// A client that accepts exactly these `https` server certificates, whatever they say about issuer, host and time.
    ///
    /// # Errors
    /// [`HttpError::Tls`] if the TLS library cannot be set up.
    pub fn with_pinned(certificates: &[CertificateDer<'_>]) -> Result<Self, HttpError> {
        let provider = crypto::tls_provider();
        let pinned = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let verifier = Arc::new(PinnedVerifier { pinned, provider: Arc::clone(&provider) });
        Self::with_verifier(provider, verifier)
    }

    /// A client that speaks TLS by a configuration of the caller's.
    #[must_use]
    pub fn with_tls(config: Arc<rustls::ClientConfig>) -> Self {
        Self { tls: Some(TlsConnector::from(config)) }
    }

    fn with_verifier(
        provider: Arc<CryptoProvider>,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, HttpError> {
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| HttpError::Tls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        // A resumed session would pass by the verifier.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// GET.
    ///
    /// # Errors
    /// Every [`HttpError`]; a status other than 200 is none.
    pub async fn get(&self, url: &str, limits: Limits) -> Result<Response, HttpError> {
        self.ask(Method::GET, url, None, limits).await
    }

    /// POST of a whole body.
    ///
    /// # Errors
    /// Every [`HttpError`]; a status other than 200 is none.
    pub async fn post(
        &self,
        url: &str,
        content_type: &'static str,
        body: Bytes,
        limits: Limits,
    ) -> Result<Response, HttpError> {
        self.ask(Method::POST, url, Some((content_type, body)), limits).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<(&'static str, Bytes)>,
        limits: Limits,
    ) -> Result<Response, HttpError> {
        let target = Target::parse(url)?;
        let question = async {
            let tcp = tokio::time::timeout(limits.connect, self.connect(&target));
            match tcp.await.map_err(|_| HttpError::Timeout("connection"))?? {
                Connection::Plain(stream) => exchange(stream, method, &target, body, limits.max_bytes).await,
                Connection::Tls(stream) => exchange(stream, method, &target, body, limits.max_bytes).await,
            }
        };
        tokio::time::timeout(limits.total, question).await.map_err(|_| HttpError::Timeout("answer"))?
    }

    async fn connect(&self, target: &Target) -> Result<Connection, HttpError> {
        let refused = |error: std::io::Error| HttpError::Connect {
            address: format!("{}:{}", target.host, target.port),
            reason: error.to_string(),
        };
        let host = target.host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((host, target.port)).await.map_err(refused)?;
        tcp.set_nodelay(true).map_err(refused)?;
        if !target.secure {
            return Ok(Connection::Plain(tcp));
        }
        let Some(tls) = &self.tls else {
            return Err(HttpError::Tls("no certificates to trust were given".into()));
        };
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| HttpError::Url(format!("host {host}")))?;
        let stream = tls.connect(name, tcp).await.map_err(|error| HttpError::Tls(error.to_string()))?;
        Ok(Connection::Tls(Box::new(stream)))
    }
}

enum Connection {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// An absolute URL, taken apart once.
struct Target {
    secure: bool,
    host: String,
    port: u16,
    authority: HeaderValue,
    path: Uri,
}

impl Target {
    fn parse(url: &str) -> Result<Self, HttpError> {
        let wrong = || HttpError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        // Credentials in a URL would end up in the Host header and in logs.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            secure,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            path: path.parse().map_err(|_| wrong())?,
        })
    }
}

async fn exchange<S>(
    stream: S,
    method: Method,
    target: &Target,
    body: Option<(&'static str, Bytes)>,
    max_bytes: usize,
) -> Result<Response, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| HttpError::Protocol(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;

    let mut request = Request::new(Full::new(Bytes::new()));
    *request.method_mut() = method;
    *request.uri_mut() = target.path.clone();
    let headers = request.headers_mut();
    headers.insert(HOST, target.authority.clone());
    headers.insert(USER_AGENT, HeaderValue::from_static("Passerelle"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some((content_type, body)) = body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        *request.body_mut() = Full::new(body);
    }

    // The connection is driven here, not in a task of its own: when the question is dropped, so is the connection.
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, max_bytes).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                HttpError::TooLarge(max_bytes)
            } else {
                HttpError::Protocol(error.to_string())
            }
        })?;
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
    };
    tokio::pin!(answer, connection);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            result = &mut answer => return result,
            // What the connection ends with, the answer will say.
            _ = &mut connection, if open => open = false,
        }
    }
}

/// Accepts the certificates it was given, and nothing else.
#[derive(Debug)]
struct PinnedVerifier {
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref()) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
