//! OCSP responses between gateways, on port 5577: each serves those of its own certificates, over plain HTTP, because a
//! response is signed and public.
//!
//! ```text
//! GET /?cert=<SHA-1 hex>&cert=...&cert_hash=<SHA-256 hex>&cert_hash=...
//! 200, multipart/related; type="application/ocsp-response": a part for each certificate, in order
//! ```
//!
//! Specification: PR-MESSTRANSP 2.2; XROAD-FACTS 2.9.
//!
//! Answers from memory only: it makes no call on behalf of whoever asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::http::{Client, Limits};
use cert_authority::x509::Certificate;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::body::OutgoingBody;
use super::door::{self, Answer, Handler, Protection, Received};
use super::ocsp_cache::OcspCache;
use super::{DoorLimits, PeerSettings};

/// Certificates asked for in one request at most: a leaf and its intermediates.
const MOST_CERTIFICATES: usize = 10;

/// The longest answer that we read.
const LONGEST_ANSWER: usize = 256 * 1024;

/// A line that no OCSP response contains by chance.
const BOUNDARY: &str = "xocsp7f1c2b9a4d6e0835";

/// Serves the responses of our own certificates until `stop` turns true.
pub async fn serve(
    listener: TcpListener,
    cache: Arc<OcspCache>,
    limits: DoorLimits,
    stop: watch::Receiver<bool>,
) {
    door::run("ocsp", listener, Protection::Plain, limits, Arc::new(Server(cache)), stop).await;
}

struct Server(Arc<OcspCache>);

impl Handler for Server {
    async fn handle(self: Arc<Self>, received: Received, answer: Answer) {
        let response = match received.head.method.as_str() {
            "HEAD" => Response::new(OutgoingBody::empty()),
            "GET" => match self.parts(received.head.path_and_query()) {
                Ok(parts) => multipart(&parts),
                Err(reason) => failure(reason),
            },
            _ => failure("only GET and HEAD are served here".to_owned()),
        };
        let _ = answer.send(response);
    }
}

impl Server {
    fn parts(&self, target: &str) -> Result<Vec<Bytes>, String> {
        let query = target.split_once('?').map_or("", |(_path, query)| query);
        let values = |name: &str| -> Vec<&str> {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .collect()
        };
        // A peer sends both names for the same certificates; the older one is the one that all know.
        let mut asked = values("cert");
        if asked.is_empty() {
            asked = values("cert_hash");
        }
        if asked.is_empty() {
            return Err("no certificate hash was given".to_owned());
        }
        if asked.len() > MOST_CERTIFICATES {
            return Err(format!("more than {MOST_CERTIFICATES} certificates were asked for"));
        }
        asked.into_iter().map(|hash| self.0.own_by_hex(hash).ok_or_else(|| unknown(hash))).collect()
    }
}

/// Repeats the hash only when it is one: what comes from outside does not go into an answer.
fn unknown(hash: &str) -> String {
    let shown = if hash.len() <= 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        hash
    } else {
        "(no hash)"
    };
    format!("no OCSP response for certificate {shown}")
}

fn multipart(parts: &[Bytes]) -> Response<OutgoingBody> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\ncontent-type: application/ocsp-response\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let mut response = Response::new(OutgoingBody::whole(body.into()));
    let content_type =
        format!("multipart/related; charset=UTF-8; type=\"application/ocsp-response\"; boundary={BOUNDARY}");
    if let Ok(value) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

fn failure(reason: String) -> Response<OutgoingBody> {
    let mut response = Response::new(OutgoingBody::whole(reason.into()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
    response
}

/// Why a peer's OCSP responses could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The call failed.
    #[error("cannot fetch OCSP responses from {host}: {reason}")]
    Call {
        /// From whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// The peer has none, or something else is wrong over there.
    #[error("{host} answered {status} when asked for OCSP responses")]
    Status {
        /// Who.
        host: String,
        /// What.
        status: u16,
    },
    /// The answer is not what was asked for.
    #[error("the OCSP responses of {0} cannot be read")]
    Malformed(String),
}

/// Fetches the responses for a peer's certificates from the peer itself, in their order. They are not judged here.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch(
    host: &str,
    certificates: &[Certificate],
    settings: &PeerSettings,
) -> Result<Vec<Bytes>, FetchError> {
    let mut query = String::new();
    for (name, algorithm) in [("cert", DigestAlgorithm::Sha1), ("cert_hash", DigestAlgorithm::Sha256)] {
        for certificate in certificates {
            let separator = if query.is_empty() { '?' } else { '&' };
            query.push_str(&format!("{separator}{name}={}", certificate.fingerprint(algorithm).hex()));
        }
    }
    let shown =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let url = format!("http://{shown}:{}/{query}", settings.ocsp_port);
    let (connect, total): (Duration, Duration) = settings.ocsp_timeouts;
    let limits = Limits { max_bytes: LONGEST_ANSWER, connect, total };
    let answer = Client::new()
        .get(&url, limits)
        .await
        .map_err(|error| FetchError::Call { host: host.to_owned(), reason: error.to_string() })?;
    if !answer.status.is_success() {
        return Err(FetchError::Status { host: host.to_owned(), status: answer.status.as_u16() });
    }
    let content_type =
        answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    read_multipart(content_type, &answer.body)
        .filter(|parts| parts.len() == certificates.len())
        .ok_or_else(|| FetchError::Malformed(host.to_owned()))
}

/// The bodies of the parts that are OCSP responses.
pub(crate) fn read_multipart(content_type: &str, body: &Bytes) -> Option<Vec<Bytes>> {
    let boundary = content_type.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let mut parts = Vec::new();
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.slice(find(body, opening.as_bytes())?.checked_add(opening.len())?..);
    while !rest.starts_with(b"--") {
        let end = find(&rest, delimiter.as_bytes())?;
        let part = rest.split_to(end);
        let head = find(&part, b"\r\n\r\n")?;
        let fields = part.get(..head)?.to_ascii_lowercase();
        if find(&fields, b"application/ocsp-response").is_some() {
            parts.push(part.slice(head.checked_add(4)?..));
        }
        rest = rest.slice(delimiter.len()..);
    }
    Some(parts)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_written_whatever_bytes_they_hold() {
        let parts =
            [Bytes::from_static(b"\0\r\n--jetty\r\n\r\n"), Bytes::from_static(b""), Bytes::from_static(b"x")];
        let mut written = Vec::new();
        for part in &parts {
            written.extend_from_slice(b"--b\r\nContent-Type: Application/OCSP-response\r\n\r\n");
            written.extend_from_slice(part);
            written.extend_from_slice(b"\r\n");
        }
        written.extend_from_slice(b"--b--\r\n");
        let read = read_multipart("multipart/related; boundary=\"b\"", &written.into()).unwrap();
        assert_eq!(read, parts);
    }

    #[test]
    fn answers_cut_short_or_without_boundary_are_refused() {
        let whole =
            Bytes::from_static(b"--b\r\ncontent-type: application/ocsp-response\r\n\r\nx\r\n--b--\r\n");
        assert!(read_multipart("multipart/related; boundary=b", &whole).is_some());
        for end in 0..whole.len() - 4 {
            assert!(read_multipart("multipart/related; boundary=b", &whole.slice(..end)).is_none(), "{end}");
        }
        assert!(read_multipart("multipart/related", &whole).is_none());
        assert!(read_multipart("multipart/related; boundary=", &whole).is_none());
    }
}
