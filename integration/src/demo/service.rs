//! The demo's information system: a small register of municipalities behind the provider's gateway.
//!
//! Public data (Québec's municipal codes, 2021 census). It knows nothing of X-Road: plain HTTP, as any
//! system behind a gateway. Bodies are read to their end and never kept, whatever their size.
//!
//! | request | answer |
//! |---|---|
//! | `GET /municipalities` | all of them |
//! | `GET /municipalities/CODE` | one, or 404 |
//! | `POST /declarations` | a receipt with length of the body that arrived |
//! | `POST /plans` | SOAP: the header of the request, and the length of what arrived with it |
//! | `GET /bytes/N` | N bytes, streamed; for measurements |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// `service.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
}

#[derive(Debug, Serialize)]
struct Municipality {
    code: &'static str,
    name: &'static str,
    region: &'static str,
    population_2021: u32,
}

const REGISTER: &[Municipality] = &[
    Municipality { code: "66023", name: "Montréal", region: "Montréal", population_2021: 1_762_949 },
    Municipality { code: "23027", name: "Québec", region: "Capitale-Nationale", population_2021: 549_459 },
    Municipality { code: "65005", name: "Laval", region: "Laval", population_2021: 438_366 },
    Municipality { code: "81017", name: "Gatineau", region: "Outaouais", population_2021: 291_041 },
    Municipality { code: "58227", name: "Longueuil", region: "Montérégie", population_2021: 254_483 },
    Municipality { code: "43027", name: "Sherbrooke", region: "Estrie", population_2021: 172_950 },
    Municipality { code: "25213", name: "Lévis", region: "Chaudière-Appalaches", population_2021: 149_683 },
    Municipality {
        code: "94068",
        name: "Saguenay",
        region: "Saguenay–Lac-Saint-Jean",
        population_2021: 144_723,
    },
    Municipality { code: "37067", name: "Trois-Rivières", region: "Mauricie", population_2021: 139_163 },
    Municipality { code: "64008", name: "Terrebonne", region: "Lanaudière", population_2021: 119_944 },
];

/// Serves until the process is stopped.
///
/// # Errors
/// A settings file that cannot be read, an address that cannot be bound.
pub async fn serve(settings: &Path) -> Result<(), String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", settings.display());
    let text = std::fs::read_to_string(settings).map_err(|error| named(&error))?;
    let settings: Settings = toml::from_str(&text).map_err(|error| named(&error))?;
    let listener =
        TcpListener::bind(settings.listen).await.map_err(|error| format!("{}: {error}", settings.listen))?;
    tracing::info!(address = %settings.listen, "listening");
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "connection");
            }
        });
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, body) = request.into_parts();
    let (received, beginning) = drain(body).await?;
    let path = head.uri.path();
    let answer = match (&head.method, path.split('/').skip(1).collect::<Vec<_>>().as_slice()) {
        (&Method::GET, ["municipalities"]) => json(StatusCode::OK, &REGISTER),
        (&Method::GET, ["municipalities", code]) => match REGISTER.iter().find(|one| one.code == *code) {
            Some(one) => json(StatusCode::OK, one),
            None => json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": "no such municipality" })),
        },
        (&Method::POST, ["declarations"]) => {
            json(StatusCode::OK, &serde_json::json!({ "accepted": true, "received_bytes": received }))
        }
        (&Method::POST, ["plans"]) => plan(&String::from_utf8_lossy(&beginning), received),
        (&Method::GET, ["bytes", count]) => match count.parse() {
            Ok(count) => zeros(count),
            Err(_) => json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": "not a number" })),
        },
        _ => json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": "no such resource" })),
    };
    Ok(answer)
}

/// Reads a body to its end; gives its length and its first 64 KiB.
async fn drain(mut body: Incoming) -> Result<(u64, Vec<u8>), hyper::Error> {
    const KEPT: usize = 64 << 10;
    let (mut received, mut beginning) = (0_u64, Vec::new());
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            received = received.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            let wanted = KEPT.saturating_sub(beginning.len()).min(data.len());
            beginning.extend_from_slice(data.get(..wanted).unwrap_or_default());
        }
    }
    Ok((received, beginning))
}

/// The answer to a plan that was deposited: as a SOAP service must, it gives the header of the request back.
fn plan(request: &str, received: u64) -> Answer {
    let Some((prefix, head)) = soap_head(request) else {
        return xml(StatusCode::BAD_REQUEST, "<error>no SOAP</error>".to_owned());
    };
    xml(
        StatusCode::OK,
        format!(
            "{head}<{prefix}:Body><depositPlanResponse xmlns=\"urn:register\"><received>{received}</received>\
             </depositPlanResponse></{prefix}:Body></{prefix}:Envelope>"
        ),
    )
}

/// The prefix of SOAP's elements, and the envelope up to the end of its header.
fn soap_head(request: &str) -> Option<(&str, &str)> {
    let (before, _) = request.split_once(":Envelope")?;
    let (_, prefix) = before.rsplit_once('<')?;
    let begin = before.len().checked_sub(prefix.len())?.checked_sub(1)?;
    let end = format!("</{prefix}:Header>");
    let end = request.find(&end)?.checked_add(end.len())?;
    Some((prefix, request.get(begin..end)?))
}

fn xml(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)).boxed());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/xml; charset=utf-8"));
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(text)).boxed());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json;charset=utf-8"));
    answer
}

fn zeros(count: u64) -> Answer {
    const CHUNK: u64 = 65_536;
    let whole = Bytes::from_static(&[b'0'; 65_536]);
    let chunks = stream::iter(0..count.div_ceil(CHUNK)).map(move |index| {
        let length = usize::try_from((count - index * CHUNK).min(CHUNK)).unwrap_or_default();
        Ok::<_, Infallible>(Frame::data(whole.slice(..length)))
    });
    let mut answer = Response::new(BodyExt::boxed(StreamBody::new(chunks)));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/octet-stream"));
    answer.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from(count));
    answer
}
