//! The auditor's pages: the message log in a browser, in French and in English.
//!
//! ```text
//! /audit/           search          /audit/exchange?record=N    the steps of an exchange, and who read about it
//! /audit/traffic    by hour, service   POST /audit/verify       the same, with the verdict over its containers
//! /audit/login      a token, a reason  /audit/container?record=N    an ASiC-E container
//! ```
//! | part | what it is |
//! |---|---|
//! | [`session`] | who was let in |
//! | [`words`] | both languages |
//! | [`search`], [`exchange`], [`traffic`] | a page each |
//! | [`steps`] | what an exchange consists of |
//! | [`layout`] | what all pages share |
//! | [`api`] | the same for programs, as JSON |
//!
//! The pages need no script and load nothing from elsewhere; the content security policy forbids both. Whatever is
//! shown is written into the log as an access record before it is shown: who, what, which records, why.
//!
//! Specification: THREATS T36. Programs show their token with each request instead: [`api`].

pub mod api;
pub mod exchange;
pub mod layout;
pub mod search;
pub mod session;
pub mod steps;
pub mod traffic;
pub mod words;

use std::path::PathBuf;
use std::sync::Arc;

use cert_authority::clock::Clock;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use maud::Markup;

use crate::admin::{Admin, AdminReply, Replying, Role, Site, TokenError, Tokens, Visit};
use crate::audit::register;
use crate::messagelog::{LogError, MessageLog, record::AccessRecord};
use crate::metaservice::query::Query;
use session::{COOKIE, Session, Sessions};
use words::Language;

const PREFIX: &str = "/audit/";
const STYLE: &str = include_str!("style.css");
/// Nothing but our own style; no script, no frame, no form to anywhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The site.
pub struct Auditor {
    tokens: Tokens,
    sessions: Sessions,
    log: MessageLog,
    clock: Arc<dyn Clock>,
    /// The global configuration as it is kept: what containers are judged by.
    conf: PathBuf,
    /// Where the archives of the log lie.
    archives: Option<PathBuf>,
}

/// What a page shows, and what of that goes into the register.
struct Shown {
    content: Markup,
    title: &'static str,
    action: &'static str,
    records: Vec<u64>,
}

/// Why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
enum PageError {
    /// There is no such page, or no such message.
    #[error("not found")]
    NotFound(&'static str),
    /// A field does not have its form.
    #[error("{0}: {1}")]
    Field(&'static str, String),
    /// Too long for a page.
    #[error("record {0} is too long")]
    TooLong(u64),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Auditor {
    /// Pages about a log for those whose token has the role of an auditor. `conf` is the folder of the global
    /// configuration.
    #[must_use]
    pub fn new(tokens: Tokens, log: MessageLog, clock: Arc<dyn Clock>, conf: PathBuf) -> Self {
        let sessions = Sessions::new(tokens.clone(), Arc::clone(&clock));
        Self { sessions, tokens, log, clock, conf, archives: None }
    }

    /// The log's archives lie in this folder; they are judged with the log.
    #[must_use]
    pub fn with_archives(self, archives: Option<PathBuf>) -> Self {
        Self { archives, ..self }
    }

    /// Shows the log on an administration port: to people as pages, to programs as JSON.
    #[must_use]
    pub fn on(self, admin: Admin) -> Admin {
        api::endpoints(admin, &self.log, self.conf.clone(), self.archives.clone()).site(Arc::new(self))
    }

    async fn answer(self: Arc<Self>, visit: Visit) -> AdminReply {
        let path = visit.path.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        if path == "style.css" {
            return AdminReply::bytes("text/css; charset=utf-8", STYLE.into());
        }
        let asked = Query::read(&visit.query).ok().and_then(|query| Language::by_tag(query.value("lang")?));
        if let Some(language) = asked {
            self.sessions.speak(visit.cookie.as_deref(), language);
        }
        let Some(session) = self.sessions.of(visit.cookie.as_deref()) else {
            let language = asked.unwrap_or_else(|| Language::preferred(visit.language.as_deref()));
            return match (&visit.method, path.as_str()) {
                (&Method::POST, "login") => self.login(&visit, language),
                (&Method::GET, "login") => page(StatusCode::OK, layout::login(language, None)),
                _ => to("/audit/login"),
            };
        };
        match (&visit.method, path.as_str()) {
            (&Method::GET, "login") => to(PREFIX),
            (&Method::POST, "leave") => {
                if !of_this_session(&session, &visit) {
                    return refused(&session, StatusCode::FORBIDDEN, session.language.words().bad_form, "");
                }
                self.sessions.end(visit.cookie.as_deref());
                to("/audit/login")
            }
            (&Method::POST, "verify") if !of_this_session(&session, &visit) => {
                refused(&session, StatusCode::FORBIDDEN, session.language.words().bad_form, "")
            }
            (&Method::POST, "verify") => self.read(session, visit, Self::verify).await,
            (&Method::GET, "") => self.read(session, visit, Self::search).await,
            (&Method::GET, "exchange") => self.read(session, visit, Self::exchange).await,
            (&Method::GET, "traffic") => self.read(session, visit, Self::traffic).await,
            (&Method::GET, "container") => self.container(session, visit).await,
            _ => refused(&session, StatusCode::NOT_FOUND, session.language.words().no_page, ""),
        }
    }

    /// Lets somebody in who shows an auditor's token and says why.
    fn login(&self, visit: &Visit, language: Language) -> AdminReply {
        let words = language.words();
        let again = |status, why| page(status, layout::login(language, Some(why)));
        let body = std::str::from_utf8(&visit.body).unwrap_or_default();
        let form = Query::read(body).unwrap_or_default();
        let shown = format!("Bearer {}", form.value("token").unwrap_or_default().trim());
        let token = match self.tokens.admit(visit.address, Some(&shown.into_bytes().into())) {
            Ok(token) => token,
            Err(TokenError::TooManyFailures) => return again(StatusCode::TOO_MANY_REQUESTS, words.too_many),
            Err(_) => {
                tracing::warn!(address = %visit.address, "auditor's page: no valid token");
                return again(StatusCode::UNAUTHORIZED, words.wrong_token);
            }
        };
        if token.role != Role::Auditor {
            tracing::warn!(token = token.name, "auditor's page: not with this token's role");
            return again(StatusCode::FORBIDDEN, words.no_right);
        }
        let Some(reason) = form.reason() else {
            return again(StatusCode::BAD_REQUEST, words.reason_missing);
        };
        tracing::info!(token = token.name, "auditor's page: a session begins");
        let cookie = self.sessions.begin(token, reason, language).and_then(|secret| {
            let cookie = format!("{COOKIE}={secret}; Path={PREFIX}; HttpOnly; SameSite=Strict");
            HeaderValue::try_from(cookie).ok()
        });
        match cookie {
            Some(cookie) => to(PREFIX).with(header::SET_COOKIE, cookie),
            None => again(StatusCode::INTERNAL_SERVER_ERROR, words.failed),
        }
    }

    /// Makes a page beside the runtime, notes in the log what it shows, and only then shows it.
    async fn read(
        self: Arc<Self>,
        session: Session,
        visit: Visit,
        make: fn(&Self, &Session, &Visit) -> Result<Shown, PageError>,
    ) -> AdminReply {
        let (here, reader, asked) = (Arc::clone(&self), session.clone(), asked_for(&visit));
        let fields = if visit.method == Method::GET { visit.query.clone() } else { String::new() };
        let made = tokio::task::spawn_blocking(move || make(&here, &reader, &visit)).await;
        let shown = match made {
            Ok(Ok(shown)) => shown,
            Ok(Err(error)) => return not_shown(&session, &error),
            Err(error) => return broken(&session, &error),
        };
        match self.note(&session, shown.action, asked, shown.records, false).await {
            Ok(()) => page(StatusCode::OK, layout::page(&session, shown.title, &fields, &shown.content)),
            Err(error) => broken(&session, &error),
        }
    }

    async fn container(self: Arc<Self>, session: Session, visit: Visit) -> AdminReply {
        let (here, asked) = (Arc::clone(&self), asked_for(&visit));
        let made = tokio::task::spawn_blocking(move || {
            let number = exchange::number(&visit.query)?;
            exchange::container(&here.log.reader(), number).map(|(name, bytes)| (number, name, bytes))
        });
        let (number, name, bytes) = match made.await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return not_shown(&session, &error),
            Err(error) => return broken(&session, &error),
        };
        if let Err(error) = self.note(&session, "export", asked, vec![number], true).await {
            return broken(&session, &error);
        }
        let reply = AdminReply::bytes("application/vnd.etsi.asic-e+zip", bytes.into());
        // The name is one of ASCII characters without quotes, by its making.
        match HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
            Ok(disposition) => reply.with(header::CONTENT_DISPOSITION, disposition),
            Err(_) => reply,
        }
    }

    async fn note(
        &self,
        session: &Session,
        action: &str,
        query: String,
        records: Vec<u64>,
        bodies: bool,
    ) -> Result<(), LogError> {
        let access = AccessRecord {
            who: session.token.name.clone(),
            role: Some("auditor".to_owned()),
            action: action.to_owned(),
            query,
            reason: Some(session.reason.clone()),
            records,
            bodies,
        };
        register::note(&self.log, access).await
    }
}

impl Site for Auditor {
    fn prefix(&self) -> &'static str {
        PREFIX
    }

    fn visit(self: Arc<Self>, visit: Visit) -> Replying {
        Box::pin(async move {
            let reply = self.answer(visit).await;
            let fixed = [
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::REFERRER_POLICY, "no-referrer"),
                (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            ];
            fixed
                .into_iter()
                .fold(reply, |reply, (name, value)| reply.with(name, HeaderValue::from_static(value)))
        })
    }
}

/// For the register: the page, and what it was asked.
fn asked_for(visit: &Visit) -> String {
    let body = std::str::from_utf8(&visit.body).unwrap_or_default();
    let fields = if visit.method == Method::POST { body } else { &visit.query };
    // The secret of the form is of no use to a reader of the register.
    let fields: Vec<&str> = fields.split('&').filter(|field| !field.starts_with("form=")).collect();
    format!("{}?{}", visit.path, fields.join("&"))
}

/// Whether a form was sent by a page of this session.
fn of_this_session(session: &Session, visit: &Visit) -> bool {
    let body = std::str::from_utf8(&visit.body).unwrap_or_default();
    Query::read(body).is_ok_and(|form| form.value("form") == Some(session.form.as_str()))
}

fn page(status: StatusCode, page: Markup) -> AdminReply {
    AdminReply { status, ..AdminReply::bytes("text/html; charset=utf-8", page.into_string().into()) }
}

fn to(path: &'static str) -> AdminReply {
    let reply = AdminReply { status: StatusCode::SEE_OTHER, ..AdminReply::bytes("text/plain", "".into()) };
    reply.with(header::LOCATION, HeaderValue::from_static(path))
}

fn refused(session: &Session, status: StatusCode, why: &'static str, what: &str) -> AdminReply {
    page(status, layout::page(session, why, "", &layout::problem(why, what)))
}

fn not_shown(session: &Session, error: &PageError) -> AdminReply {
    let words = session.language.words();
    match error {
        PageError::NotFound(_) => refused(session, StatusCode::NOT_FOUND, words.no_record, ""),
        PageError::Field(name, value) => {
            refused(session, StatusCode::BAD_REQUEST, words.bad_field, &format!("{name} {value}"))
        }
        PageError::TooLong(number) => {
            refused(session, StatusCode::PAYLOAD_TOO_LARGE, words.too_long, &number.to_string())
        }
        PageError::Log(LogError::Removed { sequence, .. }) => {
            refused(session, StatusCode::GONE, words.removed, &sequence.to_string())
        }
        PageError::Log(error) => broken(session, error),
    }
}

/// What is wrong with the log is for its operators, in their own log.
fn broken(session: &Session, error: &dyn std::error::Error) -> AdminReply {
    tracing::error!(%error, "auditor's page");
    refused(session, StatusCode::INTERNAL_SERVER_ERROR, session.language.words().failed, "")
}
