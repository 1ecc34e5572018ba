//! A witness over HTTP.
//!
//! ```text
//! POST /add-checkpoint                200 cosignatures | 400 403 404 409 (text/x.tlog.size) 422
//! GET  /<origin hash>/checkpoint      200 what was cosigned last | 404
//! ```
//! Specification: C2SP tlog-witness. Nobody is asked who they are: what counts is the signature on the checkpoint.
//!
//! Not here: what is cosigned ([`super::witness`]), TLS (a proxy's matter; nothing here is secret).

use std::sync::Arc;

use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use tokio::net::TcpListener;

use super::witness::{LONGEST_REQUEST, Refusal, Witness};
use crate::http::{Body, HttpError, read_body, respond, respond_text, serve};

const TEXT: &str = "text/plain; charset=utf-8";

/// Serves the witness until `shutdown` completes.
pub async fn run(listener: TcpListener, witness: Arc<Witness>, shutdown: impl Future<Output = ()>) {
    serve(listener, move |request| answer(Arc::clone(&witness), request), shutdown).await;
}

/// Answers one request.
pub async fn answer(witness: Arc<Witness>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if path == "/add-checkpoint" {
        if head.method != Method::POST {
            return respond_text(StatusCode::METHOD_NOT_ALLOWED, "POST is expected");
        }
        let body = match read_body(body, LONGEST_REQUEST).await {
            Ok(body) => body,
            Err(HttpError::TooLarge(_)) => {
                return respond_text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long");
            }
            Err(error) => return respond_text(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        return match witness.add_checkpoint(&body).await {
            Ok(cosignatures) => respond(StatusCode::OK, TEXT, cosignatures),
            Err(refusal) => refuse(&refusal),
        };
    }
    let origin = path.strip_prefix('/').and_then(|rest| rest.strip_suffix("/checkpoint"));
    match (origin, &head.method) {
        (Some(origin), &Method::GET) => match witness.last_of(origin).await {
            Some(note) => respond(StatusCode::OK, TEXT, note),
            None => respond_text(StatusCode::NOT_FOUND, "nothing of this log was cosigned here"),
        },
        _ => respond_text(StatusCode::NOT_FOUND, "there is nothing here"),
    }
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match refusal {
        Refusal::Conflict(size) => respond(status, "text/x.tlog.size", format!("{size}\n")),
        Refusal::Failed(reason) => {
            tracing::error!(reason, "a checkpoint could not be cosigned");
            respond_text(status, "the witness failed")
        }
        Refusal::Malformed(_) | Refusal::UnknownOrigin | Refusal::Unsigned | Refusal::Inconsistent => {
            tracing::warn!(%refusal, "a checkpoint was not cosigned");
            respond_text(status, &refusal.to_string())
        }
    }
}
