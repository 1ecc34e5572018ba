//! The authority's door: what [`crate::authority::Publisher`] wrote, over HTTP.
//!
//! | address | file below the public folder |
//! |---|---|
//! | `/internalconf?version=6` | `V6/internalconf` |
//! | `/externalconf?version=6` | `V6/externalconf` |
//! | `/V6/<time>/shared-params.xml` | the same |
//!
//! Specification: PR-GCONF §2.7.
//!
//! Everything that leaves is signed, so the door needs no TLS and no login, and any web server can stand in its
//! place. It answers for these names only: no folder is listed, no other file is reached.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cert_authority::http::{self, Body};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

/// Serves the public folder until `shutdown` completes.
pub async fn serve(listener: TcpListener, public: PathBuf, shutdown: impl Future<Output = ()>) {
    let public: Arc<Path> = public.into();
    let handler = move |request: Request<Incoming>| {
        let public = Arc::clone(&public);
        async move { answer(&public, request.method(), request.uri()).await }
    };
    http::serve(listener, handler, shutdown).await;
}

async fn answer(public: &Path, method: &Method, uri: &hyper::Uri) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        return http::respond_text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    let Some(name) = file_of(uri.path(), uri.query()) else {
        return http::respond_text(StatusCode::NOT_FOUND, "not found");
    };
    match tokio::fs::read(public.join(name)).await {
        Ok(content) => http::respond(StatusCode::OK, "application/octet-stream", content),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            http::respond_text(StatusCode::NOT_FOUND, "not found")
        }
        Err(error) => {
            tracing::error!(%error, path = uri.path(), "cannot read a published file");
            http::respond_text(StatusCode::INTERNAL_SERVER_ERROR, "cannot be read")
        }
    }
}

/// The file that an address stands for, relative to the public folder.
fn file_of(path: &str, query: Option<&str>) -> Option<String> {
    match path {
        "/internalconf" | "/externalconf" => {
            let version = match query {
                // X-Road's default: a client that names no version is an old one.
                None | Some("") => "2",
                Some(query) => query.split('&').find_map(|pair| pair.strip_prefix("version="))?,
            };
            is_digits(version, 2).then(|| format!("V{version}{path}"))
        }
        _ => {
            let mut segments = path.strip_prefix('/')?.split('/');
            let (version, time, name) = (segments.next()?, segments.next()?, segments.next()?);
            let known = is_digits(version.strip_prefix('V')?, 2) && is_digits(time, 32) && is_part(name);
            (known && segments.next().is_none()).then(|| format!("{version}/{time}/{name}"))
        }
    }
}

fn is_digits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_part(name: &str) -> bool {
    name.ends_with(".xml")
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'.')
        && !name.contains("..")
        && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::file_of;

    #[test]
    fn addresses_lead_to_their_files() {
        for (path, query, file) in [
            ("/internalconf", Some("version=6"), "V6/internalconf"),
            ("/externalconf", Some("a=b&version=3"), "V3/externalconf"),
            ("/internalconf", None, "V2/internalconf"),
            (
                "/V6/20260203040506000000000/shared-params.xml",
                None,
                "V6/20260203040506000000000/shared-params.xml",
            ),
        ] {
            assert_eq!(file_of(path, query).as_deref(), Some(file), "{path} {query:?}");
        }
    }

    #[test]
    fn nothing_else_is_reached() {
        for (path, query) in [
            ("/", None),
            ("", None),
            ("/internalconf/", Some("version=6")),
            ("/internalconf", Some("version=")),
            ("/internalconf", Some("version=6/../../keys")),
            ("/internalconf", Some("version=600")),
            ("/internalconf", Some("versions=6")),
            ("/V6/../authority.toml", None),
            ("/V6/20260203/../../../keys/pin", None),
            ("/V6/20260203/..", None),
            ("/V6/20260203/.hidden.xml", None),
            ("/V6/20260203/%2e%2e%2fpin.xml", None),
            ("/V6/20260203/shared-params.xml/x", None),
            ("/V6//shared-params.xml", None),
            ("/V6/internalconf", None),
            ("//V6/20260203/shared-params.xml", None),
            ("/Vx/20260203/shared-params.xml", None),
        ] {
            assert_eq!(file_of(path, query), None, "{path} {query:?}");
        }
    }
}
