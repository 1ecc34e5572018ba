//! Administration: a listener of its own, on the loopback address unless told otherwise.
//!
//! | path | who | what |
//! |---|---|---|
//! | `/health` | anybody | 200 `{"status":"ok"}`, or 503 with the reasons |
//! | `/metrics` | any token | Prometheus text |
//! | whatever is plugged in with [`Admin::endpoint`] | the roles it names | JSON, or bytes |
//! | the pages of a [`Site`] | it lets people in by itself | pages |
//!
//! A caller shows a token: `Authorization: Bearer <token>`. The settings hold only the SHA-256 hashes (`tokens.rs`).
//! The Host header must name this listener, so that no web page can reach it through a browser.
//!
//! Specification: THREATS T36, T44.
//!
//! Holds no business of its own: what can be asked is given to it by whoever wires the gateway.

mod health;
pub mod measurements;
mod metrics;
mod tokens;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::transport::DoorLimits;
use crate::transport::body::OutgoingBody;
use crate::transport::door::{self, Answer, Handler, Protection, Received};

pub use health::Health;
pub use metrics::{Metrics, MetricsError};
pub use tokens::{Role, Token, TokenError, Tokens};

/// The longest body of an administrative request.
const LONGEST_BODY: usize = 64 * 1024;

/// An administrative request that has been let in.
#[derive(Debug)]
pub struct AdminCall {
    /// The name of the token that was shown, for the audit trail.
    pub token: String,
    /// Its role.
    pub role: Role,
    /// The path, raw.
    pub path: String,
    /// The query, raw, without the question mark.
    pub query: String,
    /// The body.
    pub body: Bytes,
}

/// A request for a page, by whomever: nobody has been let in yet.
#[derive(Debug)]
pub struct Visit {
    /// Where it comes from.
    pub address: IpAddr,
    /// The method.
    pub method: Method,
    /// The path, raw.
    pub path: String,
    /// The query, raw, without the question mark.
    pub query: String,
    /// `Cookie`.
    pub cookie: Option<String>,
    /// `Accept-Language`.
    pub language: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Pages for people's browsers, below one path.
pub trait Site: Send + Sync {
    /// The beginning of all their paths; ends in a slash.
    fn prefix(&self) -> &'static str;
    /// Answers, also when it lets nobody in.
    fn visit(self: Arc<Self>, visit: Visit) -> Replying;
}

/// What is answered.
#[derive(Debug)]
pub struct AdminReply {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: ReplyBody,
    /// Whatever headers it has besides.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// All of it.
    Whole(Bytes),
    /// It is made while it leaves. An error breaks the answer off: what was sent is not the whole body.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl AdminReply {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: StatusCode, value: &Value) -> Self {
        Self { status, ..Self::bytes("application/json", value.to_string().into()) }
    }

    /// A refusal or failure, in words.
    #[must_use]
    pub fn error(status: StatusCode, message: &str) -> Self {
        Self::json(status, &json!({ "error": message }))
    }

    /// Anything else.
    #[must_use]
    pub fn bytes(content_type: &'static str, body: Bytes) -> Self {
        Self { status: StatusCode::OK, content_type, body: ReplyBody::Whole(body), headers: Vec::new() }
    }

    /// What is made while it leaves.
    #[must_use]
    pub fn stream(content_type: &'static str, chunks: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { body: ReplyBody::Stream(chunks), ..Self::bytes(content_type, Bytes::new()) }
    }

    /// With a header more.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A reply in the making.
pub type Replying = Pin<Box<dyn Future<Output = AdminReply> + Send>>;

/// Who may call it, its longest body, and what answers.
struct Endpoint {
    roles: &'static [Role],
    longest: usize,
    handler: Arc<dyn Fn(AdminCall) -> Replying + Send + Sync>,
}

/// The administration of a gateway.
pub struct Admin {
    tokens: Tokens,
    hosts: Arc<ArcSwap<Vec<String>>>,
    health: Health,
    endpoints: HashMap<&'static str, HashMap<Method, Endpoint>>,
    /// By the beginning of the path, which ends in a slash.
    below: Vec<(&'static str, HashMap<Method, Endpoint>)>,
    site: Option<Arc<dyn Site>>,
    metrics: Option<Metrics>,
}

impl Admin {
    /// With these tokens; `hosts` are the names that the Host header may bear, without port (`localhost`, `127.0.0.1`,
    /// `[::1]`). Both may be exchanged while it runs.
    #[must_use]
    pub fn new(tokens: Tokens, hosts: Arc<ArcSwap<Vec<String>>>, health: Health) -> Self {
        let (endpoints, below) = (HashMap::new(), Vec::new());
        Self { tokens, hosts, health, endpoints, below, site: None, metrics: None }
    }

    /// Serves `path` (exactly) to whoever holds a token with one of `roles`.
    #[must_use]
    pub fn endpoint<F, R>(
        self,
        method: Method,
        path: &'static str,
        roles: &'static [Role],
        handler: F,
    ) -> Self
    where
        F: Fn(AdminCall) -> R + Send + Sync + 'static,
        R: Future<Output = AdminReply> + Send + 'static,
    {
        self.endpoint_with_body(method, path, roles, LONGEST_BODY, handler)
    }

    /// The same for what has a long body: at most `longest` bytes, which are held in memory.
    #[must_use]
    pub fn endpoint_with_body<F, R>(
        mut self,
        method: Method,
        path: &'static str,
        roles: &'static [Role],
        longest: usize,
        handler: F,
    ) -> Self
    where
        F: Fn(AdminCall) -> R + Send + Sync + 'static,
        R: Future<Output = AdminReply> + Send + 'static,
    {
        let handler = Arc::new(move |call| -> Replying { Box::pin(handler(call)) });
        self.endpoints.entry(path).or_default().insert(method, Endpoint { roles, longest, handler });
        self
    }

    /// Serves every path that begins with `prefix`, which ends in a slash, and has no endpoint of its own.
    #[must_use]
    pub fn endpoints_below<F, R>(
        mut self,
        method: Method,
        prefix: &'static str,
        roles: &'static [Role],
        handler: F,
    ) -> Self
    where
        F: Fn(AdminCall) -> R + Send + Sync + 'static,
        R: Future<Output = AdminReply> + Send + 'static,
    {
        let handler = Arc::new(move |call| -> Replying { Box::pin(handler(call)) });
        let endpoint = Endpoint { roles, longest: LONGEST_BODY, handler };
        self.below.push((prefix, HashMap::from([(method, endpoint)])));
        self
    }

    /// Serves the pages of a site.
    #[must_use]
    pub fn site(mut self, site: Arc<dyn Site>) -> Self {
        self.site = Some(site);
        self
    }

    /// Serves `/metrics` to any token, and keeps the measurements tidy while it serves.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics.clone()), ..self }.endpoint(
            Method::GET,
            "/metrics",
            &[Role::Operator, Role::Auditor],
            move |_call| {
                let text = metrics.render();
                async move { AdminReply::bytes("text/plain; version=0.0.4; charset=utf-8", text.into()) }
            },
        )
    }

    /// Serves until `stop` turns true; then lets what is under way finish.
    pub async fn serve(mut self, listener: TcpListener, limits: DoorLimits, stop: watch::Receiver<bool>) {
        let metrics = self.metrics.take();
        let door = door::run("admin", listener, Protection::Plain, limits, Arc::new(self), stop);
        match metrics {
            Some(metrics) => tokio::select! {
                () = door => {}
                () = metrics.keep_tidy() => {}
            },
            None => door.await,
        }
    }

    async fn reply(&self, received: Received) -> AdminReply {
        let Received { head, mut body, caller } = received;
        if !self.is_addressed(head.header("host")) {
            return AdminReply::error(
                StatusCode::FORBIDDEN,
                "this host name is not one of the administration port",
            );
        }
        let target = head.path_and_query();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == "/health" {
            return self.health.reply();
        }
        let method = Method::from_bytes(head.method.as_bytes()).unwrap_or_default();
        if let Some(site) = self.site.as_ref().filter(|site| path.starts_with(site.prefix())) {
            let text =
                |name| head.header(name).and_then(|value| Some(std::str::from_utf8(value).ok()?.to_owned()));
            let (cookie, language) = (text("cookie"), text("accept-language"));
            let (path, query) = (path.to_owned(), query.to_owned());
            let body = match body.collect(LONGEST_BODY).await {
                Ok(body) => body,
                Err(error) => return AdminReply::error(StatusCode::BAD_REQUEST, &error.to_string()),
            };
            let address = caller.address.ip();
            return Arc::clone(site)
                .visit(Visit { address, method, path, query, cookie, language, body })
                .await;
        }
        let token = match self.tokens.admit(caller.address.ip(), head.header("authorization")) {
            Ok(token) => token,
            Err(TokenError::Missing | TokenError::Unknown) => {
                tracing::warn!(address = %caller.address, path, "administration: no valid token");
                return AdminReply::error(StatusCode::UNAUTHORIZED, "a valid token is needed");
            }
            Err(TokenError::TooManyFailures) => {
                return AdminReply::error(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many failed attempts, wait a little",
                );
            }
        };
        let below =
            || self.below.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, methods)| methods);
        let Some(methods) = self.endpoints.get(path).or_else(below) else {
            return AdminReply::error(StatusCode::NOT_FOUND, "there is nothing here");
        };
        let Some(Endpoint { roles, longest, handler }) = methods.get(&method) else {
            return AdminReply::error(StatusCode::METHOD_NOT_ALLOWED, "not with this method");
        };
        let allowed = roles.contains(&token.role);
        tracing::info!(token = token.name, role = ?token.role, %method, path, allowed, "administration");
        if !allowed {
            return AdminReply::error(StatusCode::FORBIDDEN, "not with this token's role");
        }
        let (path, query) = (path.to_owned(), query.to_owned());
        match body.collect(*longest).await {
            Ok(body) => handler(AdminCall { token: token.name, role: token.role, path, query, body }).await,
            Err(error) => AdminReply::error(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    fn is_addressed(&self, host: Option<&Bytes>) -> bool {
        let Some(host) = host.and_then(|host| std::str::from_utf8(host).ok()) else { return false };
        let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = port.map_or(host, |(name, _)| name);
        self.hosts.load().iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl Handler for Admin {
    async fn handle(self: Arc<Self>, received: Received, answer: Answer) {
        let reply = self.reply(received).await;
        let mut response = Response::new(match reply.body {
            ReplyBody::Whole(body) => OutgoingBody::whole(body),
            ReplyBody::Stream(chunks) => OutgoingBody::chunks(chunks),
        });
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.extend(reply.headers.into_iter().map(|(name, value)| (Some(name), value)));
        if reply.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let _ = answer.send(response);
    }
}
