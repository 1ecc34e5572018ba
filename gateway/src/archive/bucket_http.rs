//! HTTP to an object store, on the TLS stack that everything here uses.
//!
//! A connection for each request: archives are few and long. Whoever is silent for longer than is allowed is given up.
//!
//! Not here: what is asked ([`super::bucket`]).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cert_authority::{crypto::tls_provider, x509::Certificate};
use http::{HeaderValue, Method, Uri, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Asks a store.
#[derive(Clone)]
pub(super) struct Connector {
    tls: TlsConnector,
    patience: Duration,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Connector {
    /// Believes stores whose certificate leads to one of these.
    pub(super) fn new(authorities: &[Certificate], patience: Duration) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            let der = CertificateDer::from(authority.der().to_vec());
            roots.add(der).map_err(|error| format!("an authority of the object store: {error}"))?;
        }
        let config = ClientConfig::builder_with_provider(tls_provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), patience })
    }

    async fn send(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let failed = |error: hyper::Error| HttpError::new(HttpErrorKind::Interrupted, error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // It ends when the answer is read or dropped.
        tokio::spawn(connection);
        let response = timeout(self.patience, sender.send_request(request)).await.map_err(silent)?;
        let (parts, body) = response.map_err(failed)?.into_parts();
        let body = Patient { body, patience: self.patience, silence: Box::pin(sleep(self.patience)) };
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = request.uri().clone();
        let refused = |reason: String| HttpError::new(HttpErrorKind::Request, std::io::Error::other(reason));
        let host = uri.host().ok_or_else(|| refused(format!("{uri} names no host")))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        to_origin_form(&mut request, &uri).map_err(refused)?;
        let stream = timeout(CONNECT.min(self.patience), TcpStream::connect((host.as_str(), port)));
        let stream = stream.await.map_err(silent)?;
        let stream = stream.map_err(|error| HttpError::new(HttpErrorKind::Connect, error))?;
        if !secure {
            return self.send(stream, request).await;
        }
        let name = ServerName::try_from(host).map_err(|error| refused(error.to_string()))?;
        let stream = timeout(CONNECT.min(self.patience), self.tls.connect(name, stream));
        let stream = stream.await.map_err(silent)?;
        self.send(stream.map_err(|error| HttpError::new(HttpErrorKind::Connect, error))?, request).await
    }
}

fn silent(error: tokio::time::error::Elapsed) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, error)
}

/// As a server wants the request; the end of an upload, only where there is no object of that name.
fn to_origin_form(request: &mut HttpRequest, uri: &Uri) -> Result<(), String> {
    let authority = uri.authority().ok_or("no authority")?.as_str();
    let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| format!("{path} is no path"))?;
    let completes =
        uri.query().is_some_and(|query| query.split('&').any(|part| part.starts_with("uploadId=")));
    if request.method() == Method::POST && completes {
        // Stores that do not know the condition pass over it.
        request.headers_mut().insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    Ok(())
}

/// An answer whose sender may not be silent for long.
struct Patient {
    body: Incoming,
    patience: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Body for Patient {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let until = Instant::now() + self.patience;
            self.silence.as_mut().reset(until);
            let failed = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            return Poll::Ready(frame.map(|frame| frame.map_err(failed)));
        }
        let error = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        self.silence
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(HttpError::new(HttpErrorKind::Timeout, error()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
