//! What is served over HTTP, by path.
//!
//! | path | method | |
//! |---|---|---|
//! | `/ocsp` | POST | an OCSP request |
//! | `/ocsp/<base64>` | GET | the same in the path (RFC 6960 A.1) |
//! | `/tsa` | POST | a time-stamp request |
//! | `/crl`, `/crl/root` | GET | revocation list of the issuing authority, of the root above it |
//! | `/ca.pem`, `/ocsp.pem`, `/tsa.pem` | GET | certificates |
//!
//! Paths are compared as they came: a base64 text may hold `//`, which must not be merged.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::crl::Lists;
use super::responder::Responder;
use super::stamping::Stamping;
use crate::error::PkiError;
use crate::http::{Body, HttpError, read_body, respond, respond_text};
use crate::{ocsp, timestamp};

/// The longest request that is read, in bytes; real ones have some hundred.
const MAX_REQUEST: usize = 4 * 1024;
const PEM: &str = "application/x-pem-file";

/// All that is served.
pub(super) struct Services {
    pub(super) responder: Responder,
    pub(super) stamping: Stamping,
    pub(super) lists: Lists,
    pub(super) authorities_pem: String,
    pub(super) responders_pem: String,
    pub(super) stamper_pem: String,
}

/// Answers one HTTP request.
pub(super) async fn answer(services: Arc<Services>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let response = match path.as_str() {
        "/ocsp" | "/ocsp/" => match post(request, ocsp::REQUEST_TYPE).await {
            Ok(body) => respond(StatusCode::OK, ocsp::RESPONSE_TYPE, services.responder.answer(&body).await),
            Err(refusal) => *refusal,
        },
        "/tsa" => match post(request, timestamp::REQUEST_TYPE).await {
            Ok(body) => stamp(&services, &body).await,
            Err(refusal) => *refusal,
        },
        "/crl" => list(&request, services.lists.issuing().await.map(Some)),
        "/crl/root" => list(&request, services.lists.root().await),
        "/ca.pem" => get(&request, PEM, || services.authorities_pem.clone()),
        "/ocsp.pem" => get(&request, PEM, || services.responders_pem.clone()),
        "/tsa.pem" => get(&request, PEM, || services.stamper_pem.clone()),
        other => match other.strip_prefix("/ocsp/") {
            Some(text) if request.method() == Method::GET => ocsp_in_path(&services, text).await,
            _ => respond_text(StatusCode::NOT_FOUND, "not found"),
        },
    };
    tracing::debug!(path, status = response.status().as_u16(), "answered");
    response
}

/// The body of a POST, or the response that refuses it.
async fn post(request: Request<Incoming>, media_type: &str) -> Result<Bytes, Box<Response<Body>>> {
    let refuse = |status, line| Err(Box::new(respond_text(status, line)));
    if request.method() != Method::POST {
        let mut response = respond_text(StatusCode::METHOD_NOT_ALLOWED, "POST a request here");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Err(Box::new(response));
    }
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if !given.eq_ignore_ascii_case(media_type) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &format!("Content-Type must be {media_type}"));
    }
    match read_body(request.into_body(), MAX_REQUEST).await {
        Ok(body) => Ok(body),
        Err(HttpError::TooLarge(_)) => refuse(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long"),
        Err(HttpError::Timeout(_)) => refuse(StatusCode::REQUEST_TIMEOUT, "the request did not come in time"),
        Err(_) => refuse(StatusCode::BAD_REQUEST, "the request was cut short"),
    }
}

async fn ocsp_in_path(services: &Services, text: &str) -> Response<Body> {
    if text.len() > MAX_REQUEST * 2 {
        return respond_text(StatusCode::URI_TOO_LONG, "the request is too long");
    }
    let base64: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    // What is no base64 is no request either; the responder says so in its own words.
    let request = STANDARD.decode(base64).unwrap_or_default();
    if request.len() > MAX_REQUEST {
        return respond_text(StatusCode::URI_TOO_LONG, "the request is too long");
    }
    respond(StatusCode::OK, ocsp::RESPONSE_TYPE, services.responder.answer(&request).await)
}

async fn stamp(services: &Services, body: &[u8]) -> Response<Body> {
    match services.stamping.answer(body).await {
        Ok(answer) => respond(StatusCode::OK, timestamp::RESPONSE_TYPE, answer),
        Err(error) => trouble(&error),
    }
}

fn list(request: &Request<Incoming>, list: Result<Option<Bytes>, PkiError>) -> Response<Body> {
    match list {
        Ok(Some(list)) => get(request, "application/pkix-crl", || list),
        Ok(None) => respond_text(StatusCode::NOT_FOUND, "not found"),
        Err(error) => trouble(&error),
    }
}

fn get<B: Into<Bytes>>(
    request: &Request<Incoming>,
    media_type: &'static str,
    body: impl FnOnce() -> B,
) -> Response<Body> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond(StatusCode::OK, media_type, body());
    }
    let mut response = respond_text(StatusCode::METHOD_NOT_ALLOWED, "GET only");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn trouble(error: &PkiError) -> Response<Body> {
    tracing::error!(%error, "cannot answer");
    respond_text(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
}
