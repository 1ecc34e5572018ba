//! The call to the organisation's own service, over HTTP or HTTPS.
//!
//! The request target is put together by hand and written as it is: base path, raw service path, raw query. It is the
//! one that the rights were decided on, so no library may improve it. One request makes one call: no redirect is
//! followed, nothing is tried again, no cookie is kept, and no coding is asked for or undone.
//!
//! Specification: PR-REST 4.4; XROAD-FACTS 2.2, 2.12, 7 no. 4, 5, 6; THREATS T18, T22, T35.
//!
//! # Compatibility
//! X-Road collapses repeated slashes of the path and unpacks gzip and deflate answers; here bytes pass unchanged. Bytes
//! that HTTP does not allow in a target (raw UTF-8 and a few marks) are percent-encoded, as X-Road does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::body::{IncomingBody, OutgoingBody, Pace};
use super::fastest::{ReachError, reach};
use super::io::Stream;
use super::link::{Idle, Link, LinkAnswer, SendFailure, keep_alive};
use super::read_ahead::ReadAhead;
use super::{ServiceSettings, is_framing};

/// What may not stand in a request target as it is.
const UNFIT: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'#').add(b'{').add(b'}');

/// Why a call to a service failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Its address is no http or https URL, or has a query.
    #[error("the service's address is not usable: {0}")]
    Address(String),
    /// Its TLS settings are not usable.
    #[error("the service's TLS settings are not usable: {0}")]
    TlsSettings(String),
    /// The call itself cannot be written as HTTP.
    #[error("the call cannot be written: {0}")]
    Unwritable(&'static str),
    /// Nobody could be reached. Nothing has been sent.
    #[error(transparent)]
    Unreachable(#[from] ReachError),
    /// TLS failed: its certificate is not the one expected, most often. Nothing has been sent.
    #[error("TLS with the service failed: {0}")]
    Tls(String),
    /// It did not answer in time.
    #[error("the service did not answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke before an answer came.
    #[error("the connection to the service broke: {0}")]
    Broken(String),
    /// What came is no HTTP answer.
    #[error("the service's answer is not HTTP: {0}")]
    Malformed(String),
}

/// A service that can be called: its address, its TLS, and the connections that are kept to it.
#[derive(Debug)]
pub struct Service {
    scheme: Scheme,
    authority: Authority,
    base_path: String,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    settings: ServiceSettings,
    idle: Arc<Idle<Link>>,
}

/// One call.
#[derive(Debug)]
pub struct ServiceCall<'a> {
    /// The method, as the consumer wrote it.
    pub method: &'a str,
    /// What follows the service code in the request, raw: empty, or beginning with a slash.
    pub path: &'a str,
    /// The query, raw, without the question mark.
    pub query: Option<&'a str>,
    /// The headers, in order. Those that belong to a connection are left out.
    pub headers: &'a [(Bytes, Bytes)],
    /// The body; `None` when there is none, or none is to be sent (GET, HEAD, DELETE, OPTIONS, TRACE).
    pub body: Option<OutgoingBody>,
}

/// What the service answered.
#[derive(Debug)]
pub struct ServiceAnswer {
    /// The status.
    pub status: u16,
    /// The reason phrase as received, empty too.
    pub reason: Bytes,
    /// Names as the service wrote them, in its order; values without the blanks around them. All of them: what is not
    /// passed on is for the message to decide.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Whether the answer has a body at all, be it empty (a signed answer tells the two apart).
    pub has_body: bool,
    /// The body.
    pub body: IncomingBody,
}

impl Service {
    /// A service at `url`; `tls` is needed when it begins with `https` ([`super::tls::service_client`]).
    ///
    /// # Errors
    /// [`ServiceError::Address`], [`ServiceError::TlsSettings`].
    pub fn new(
        url: &str,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
        settings: &ServiceSettings,
    ) -> Result<Self, ServiceError> {
        let address = || ServiceError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_invalid| address())?;
        let scheme = uri.scheme().cloned().ok_or_else(address)?;
        let authority = uri.authority().cloned().ok_or_else(address)?;
        if authority.as_str().contains('@') || authority.host().is_empty() || url.contains(['?', '#']) {
            return Err(address());
        }
        let tls = match (scheme.as_str(), tls) {
            ("http", _) => None,
            ("https", Some(tls)) => Some(tls),
            ("https", None) => {
                return Err(ServiceError::TlsSettings("none are given for an https address".to_owned()));
            }
            _ => return Err(address()),
        };
        Ok(Self {
            scheme,
            authority,
            base_path: uri.path().trim_end_matches('/').to_owned(),
            tls,
            timeout,
            settings: settings.clone(),
            idle: Arc::new(Idle::new(settings.idle_connections, settings.idle)),
        })
    }

    /// Calls the service, once.
    ///
    /// # Errors
    /// [`ServiceError`]; from `Timeout` on the service may have done what it was asked to.
    pub async fn call(&self, call: ServiceCall<'_>) -> Result<ServiceAnswer, ServiceError> {
        let is_head = call.method == "HEAD";
        let mut request = self.request(call)?;
        let (link, answer) = loop {
            let (mut link, kept) = match self.idle.take().await {
                Some(link) => (link, true),
                None => (self.connect().await?, false),
            };
            match link.exchange(request, Some(self.timeout)).await {
                Ok(answer) if answer.status < 200 => {
                    // 101 would give the connection away to another protocol.
                    return Err(ServiceError::Malformed(format!("{} is no last answer", answer.status)));
                }
                Ok(answer) => break (link, answer),
                Err(SendFailure::Unsent(unsent)) if kept => request = *unsent,
                Err(SendFailure::Unsent(_)) => return Err(ServiceError::Broken("closed at once".to_owned())),
                Err(SendFailure::Late) => return Err(ServiceError::Timeout(self.timeout)),
                Err(SendFailure::Broken(error)) => return Err(broken(&error)),
            }
        };
        Ok(self.answer(link, answer, is_head))
    }

    fn answer(&self, link: Link, answer: LinkAnswer, is_head: bool) -> ServiceAnswer {
        let LinkAnswer { status, reason, headers, incoming, reusable } = answer;
        let pace = Pace { pause: Some(self.timeout), least_rate: None };
        let body = self.idle.lend(link, reusable, incoming, pace);
        let has_body = !is_head && !matches!(status, 100..=199 | 204 | 205 | 304);
        ServiceAnswer { status, reason, headers, has_body, body }
    }

    async fn connect(&self) -> Result<Link, ServiceError> {
        let host = self.authority.host();
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = self.authority.port_u16().unwrap_or(usual);
        let stream = reach(host, port, self.settings.connect_timeout).await?;
        // The address that the name has led to just now, not the name: nothing has been sent yet.
        let address = stream.peer_addr().map_err(|error| ServiceError::Broken(error.to_string()))?;
        if self.settings.forbids(address) {
            return Err(ServiceError::Address("it leads to where no service is called".to_owned()));
        }
        keep_alive(&stream).map_err(|error| ServiceError::Broken(error.to_string()))?;
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let tls = |reason: String| ServiceError::Tls(reason);
                let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(bare).map_err(|error| tls(error.to_string()))?;
                let handshake = TlsConnector::from(Arc::clone(config)).connect(name, ReadAhead::from(stream));
                let stream = timeout(self.settings.handshake_timeout, handshake)
                    .await
                    .map_err(|_elapsed| tls("the handshake takes too long".to_owned()))?
                    .map_err(|error| tls(error.to_string()))?;
                Stream::Tls(Box::new(stream.into()))
            }
        };
        Link::open(stream).await.map_err(|error| broken(&error))
    }

    fn request(&self, call: ServiceCall<'_>) -> Result<Request<OutgoingBody>, ServiceError> {
        let method = Method::from_bytes(call.method.as_bytes())
            .map_err(|_invalid| ServiceError::Unwritable("its method"))?;
        // A service may refuse a request of these methods that does not say how long it is (411).
        let says_nothing = call.body.is_none() && matches!(call.method, "POST" | "PUT" | "PATCH");
        let mut request = Request::new(call.body.unwrap_or_else(OutgoingBody::empty));
        *request.method_mut() = method;
        *request.uri_mut() = self.target(call.path, call.query)?;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(self.authority.as_str());
        headers.insert(header::HOST, host.map_err(|_invalid| ServiceError::Unwritable("its host"))?);
        if says_nothing {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        for (name, value) in call.headers {
            let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(value.clone()))
            else {
                return Err(ServiceError::Unwritable("a header"));
            };
            if !is_framing(&name) && name != header::HOST && name != header::EXPECT {
                headers.append(name, value);
            }
        }
        Ok(request)
    }

    /// Base path, service path and query in origin form, joined by a single slash.
    fn target(&self, path: &str, query: Option<&str>) -> Result<Uri, ServiceError> {
        let mut target = self.base_path.clone();
        if !path.is_empty() && !path.starts_with('/') {
            target.push('/');
        }
        target.push_str(path);
        if target.is_empty() {
            target.push('/');
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        let written = utf8_percent_encode(&target, UNFIT).to_string();
        let target = PathAndQuery::from_maybe_shared(Bytes::from(written))
            .map_err(|_invalid| ServiceError::Unwritable("its path"))?;
        Ok(Uri::from(target))
    }

    /// The address called, for logs.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.base_path)
    }
}

fn broken(error: &hyper::Error) -> ServiceError {
    if error.is_parse() {
        ServiceError::Malformed(error.to_string())
    } else {
        ServiceError::Broken(error.to_string())
    }
}

impl AsMut<Self> for Link {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(url: &str) -> Result<Service, ServiceError> {
        Service::new(url, None, Duration::from_secs(1), &ServiceSettings::default())
    }

    fn target(base: &str, path: &str, query: Option<&str>) -> String {
        service(base).unwrap().target(path, query).unwrap().to_string()
    }

    #[test]
    fn target_is_joined_by_one_slash_and_otherwise_left_alone() {
        assert_eq!(target("http://s", "", None), "/");
        assert_eq!(target("http://s/base/", "/a//b/../%2F%2e;x", Some("")), "/base/a//b/../%2F%2e;x?");
        assert_eq!(target("http://s/base", "", Some("q=%20+'()")), "/base?q=%20+'()");
        assert_eq!(target("http://s/base", "/ä b\"", Some("x={}")), "/base/%C3%A4%20b%22?x=%7B%7D");
        assert_eq!(target("http://s", "//host/x", None), "//host/x");
    }

    #[test]
    fn addresses_that_mislead_are_refused() {
        for url in
            ["ftp://s/", "s", "/x", "http://user@s/", "http://s/?q", "http://s/#f", "http:///x", "https://s/"]
        {
            assert!(service(url).is_err(), "{url}");
        }
    }
}
