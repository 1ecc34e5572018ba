//! The message log for programs: JSON on the administration port, with the token of an auditor.
//!
//! | path | what is answered |
//! |---|---|
//! | `/log/records` | a page of records and where the next begins: the fields of a search, `order`, `beyond`, `limit` |
//! | `/log/count` | how many records a search finds |
//! | `/log/record?number=N` | all that is known of one, but not what it contains |
//! | `/log/container?number=N` | its ASiC-E container |
//! | `/log/verdict?number=N` | whether that container is valid |
//! | `/log/readers?number=N`, or `message_id` | who has read about it |
//! | `/log/export?form=F` | what a search finds, as `jsonl`, `csv` or a `zip` of containers, however long it is |
//! | `/log/verify` | the verdict over the whole log, and its archives if they lie in a folder; `key`, `witness`: verifier keys by which checkpoints are believed |
//! | POST `/log/reconcile` | this log beside another one, whose JSON lines are the body; `from`, `until`, `between` and `and` (members) |
//!
//! A search has `from`, `until` (RFC 3339), `message_id`, `client`, `service`, `member`, `user_id`, `issue`, `role`
//! (`consumer`, `provider`), `state` (`stamped`, `pending`, `success`, `fault`, `in-doubt`) and `all` (time-stamps,
//! configurations and the like too). A field that is not known is refused: left aside, it would show more than was
//! asked for. An export says in `x-records` how many records it is about; those that have no container are listed in the ZIP
//! itself. When it cannot be made to its end, it is broken off.
//!
//! Each request says in `reason` why it reads; that is written into the log before anything is answered.
//!
//! Specification: THREATS T36. Not here: records as JSON ([`crate::audit::view`]), the pages (the module above).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cert_authority::clock::UnixTime;
use cert_authority::tlog::{Trust, VerifierKey};
use conf::identifier::MemberId;
use conf::snapshot::GlobalConf;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{PageError, exchange};
use crate::admin::{Admin, AdminCall, AdminReply, Role};
use crate::archive::encryption::Identities;
use crate::audit::{
    archives::Shelves,
    export,
    reconcile::{ReconcileError, Scope, read_lines, read_log, reconcile},
    register,
    verify::{Grounds, verify},
    view,
};
use crate::evidence::asic::{NotAZip, verify_container};
use crate::messagelog::{
    self, LogError, MessageLog,
    reader::{Condition, Filter, Order},
    record::{AccessRecord, Kind, Outcome},
};
use crate::metaservice::{outgoing, query::Query};

const AUDITORS: &[Role] = &[Role::Auditor];
/// Records of a page, when nothing is said, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;
/// Longest export of another log that is compared. The command compares longer ones.
const LONGEST_LINES: usize = 64 << 20;
/// The fields of a search.
const SEARCH: &[&str] = &[
    "from",
    "until",
    "message_id",
    "client",
    "service",
    "member",
    "user_id",
    "issue",
    "role",
    "state",
    "all",
];

/// Why a program gets nothing.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is no field {0}")]
    Unknown(String),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} does not have its form")]
    Form(&'static str),
    #[error("there is no such record")]
    NoRecord,
    #[error("{0}")]
    Removed(LogError),
    #[error("too long for this; the command exports it: passerelle-gateway log export")]
    TooLong,
    #[error("the log is being verified or compared already")]
    Busy,
    #[error("{0}")]
    NotCompared(String),
    #[error("it cannot be answered now")]
    Broken(String),
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Removed { .. } => Self::Removed(error),
            error => Self::Broken(error.to_string()),
        }
    }
}

impl From<PageError> for Refusal {
    fn from(error: PageError) -> Self {
        match error {
            PageError::NotFound(_) => Self::NoRecord,
            PageError::Field(name, _) => Self::Form(name),
            PageError::TooLong(_) => Self::TooLong,
            PageError::Log(error) => error.into(),
        }
    }
}

impl From<ReconcileError> for Refusal {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Log(error) => error.into(),
            error => Self::NotCompared(error.to_string()),
        }
    }
}

/// An answer, and what of it goes into the register.
struct Given {
    reply: AdminReply,
    action: &'static str,
    records: Vec<u64>,
    bodies: bool,
}

/// The fields of a request besides `reason`: its own, and those of a search.
type Fields = [&'static [&'static str]; 2];
type Asked<'a> = &'a Query<'a>;
/// Answers; the last is the body.
type Answer = fn(&Api, Asked<'_>, &[u8]) -> Result<Given, Refusal>;

/// What answers.
#[derive(Clone)]
struct Api {
    log: MessageLog,
    /// The global configuration as it is kept: what containers are judged by.
    conf: PathBuf,
    /// Where the archives of the log lie.
    archives: Option<PathBuf>,
    /// Held by what reads the whole log: one at a time.
    whole: Arc<Semaphore>,
}

/// Adds all this to the administration port. `conf` is the folder of the global configuration, `archives` that of the
/// log's archives.
pub(super) fn endpoints(admin: Admin, log: &MessageLog, conf: PathBuf, archives: Option<PathBuf>) -> Admin {
    let api = Api { log: log.clone(), conf, archives, whole: Arc::new(Semaphore::new(1)) };
    let table: [(&'static str, Fields, Answer); 8] = [
        ("/log/records", [&["order", "beyond", "limit"], SEARCH], Api::records),
        ("/log/count", [&[], SEARCH], Api::count),
        ("/log/record", [&["number"], &[]], Api::record),
        ("/log/container", [&["number"], &[]], Api::container),
        ("/log/verdict", [&["number"], &[]], Api::verdict),
        ("/log/readers", [&["number", "message_id"], &[]], Api::readers),
        ("/log/export", [&["form"], SEARCH], Api::export),
        ("/log/verify", [&["key", "witness"], &[]], Api::verify),
    ];
    let compared = api.clone();
    let fields: Fields = [&["from", "until", "between", "and"], &[]];
    let admin =
        admin.endpoint_with_body(Method::POST, "/log/reconcile", AUDITORS, LONGEST_LINES, move |call| {
            compared.clone().answer(call, fields, Api::reconcile)
        });
    table.into_iter().fold(admin, |admin, (path, fields, answer)| {
        let api = api.clone();
        admin.endpoint(Method::GET, path, AUDITORS, move |call| api.clone().answer(call, fields, answer))
    })
}

impl Api {
    /// Makes an answer beside the runtime, notes it in the log, and only then gives it.
    async fn answer(self, call: AdminCall, fields: Fields, answer: Answer) -> AdminReply {
        let here = self.clone();
        let asked = format!("{}?{}", call.path, call.query);
        let made = tokio::task::spawn_blocking(move || {
            let query = Query::read(&call.query).map_err(|_| Refusal::Form("the query"))?;
            let known = |name: &str| name == "reason" || fields.iter().any(|some| some.contains(&name));
            if let Some(name) = query.names().find(|name| !known(name)) {
                return Err(Refusal::Unknown(name.to_owned()));
            }
            let reason = query.reason().ok_or(Refusal::Missing("reason"))?;
            Ok((answer(&here, &query, &call.body)?, call.token, reason))
        });
        let (given, who, reason) = match made.await {
            Ok(Ok(made)) => made,
            Ok(Err(refusal)) => return refuse(&refusal),
            Err(error) => return refuse(&Refusal::Broken(error.to_string())),
        };
        let access = AccessRecord {
            who,
            role: Some("auditor".to_owned()),
            action: given.action.to_owned(),
            query: asked,
            reason: Some(reason),
            records: given.records,
            bodies: given.bodies,
        };
        match register::note(&self.log, access).await {
            Ok(()) => given.reply,
            Err(error) => refuse(&error.into()),
        }
    }

    fn records(&self, query: Asked<'_>, _: &[u8]) -> Result<Given, Refusal> {
        let order = match text(query, "order") {
            None | Some("newest-first") => Order::NewestFirst,
            Some("oldest-first") => Order::OldestFirst,
            Some(_) => return Err(Refusal::Form("order")),
        };
        let limit = parsed(query, "limit")?.unwrap_or(PAGE);
        if !(1..=LONGEST_PAGE).contains(&limit) {
            return Err(Refusal::Form("limit"));
        }
        let reader = self.log.reader();
        let mut stamps = export::Stamps::new(&reader);
        let found = reader.find(&filter(query)?, order, parsed(query, "beyond")?, limit)?;
        let next = found.last().filter(|_| found.len() == limit).map(|record| record.sequence);
        let mut shown = Vec::with_capacity(found.len());
        for record in &found {
            shown.push(view::summary(record, stamps.of(record)?));
        }
        let records = found.iter().map(|record| record.sequence).collect();
        Ok(Given::json("list", records, &json!({ "records": shown, "beyond": next })))
    }

    fn count(&self, query: Asked<'_>, _: &[u8]) -> Result<Given, Refusal> {
        let count = self.log.reader().count(&filter(query)?)?;
        Ok(Given::json("count", Vec::new(), &json!({ "count": count })))
    }

    fn record(&self, query: Asked<'_>, _: &[u8]) -> Result<Given, Refusal> {
        let (number, reader) = (number(query)?, self.log.reader());
        let record = reader.get(number)?.ok_or(Refusal::NoRecord)?;
        let all = view::whole(&record, export::Stamps::new(&reader).of(&record)?);
        Ok(Given::json("show", vec![number], &all))
    }

    fn container(&self, query: Asked<'_>, _: &[u8]) -> Result<Given, Refusal> {
        let number = number(query)?;
        let (name, bytes) = exchange::container(&self.log.reader(), number)?;
        let reply = file(AdminReply::bytes("application/vnd.etsi.asic-e+zip", bytes.into()), &name);
        Ok(Given { reply, action: "export", records: vec![number], bodies: true })
    }

    fn verdict(&self, query: Asked<'_>, _: &[u8]) -> Result<Given, Refusal> {
        let number = number(query)?;
        let broken = |error: &dyn std::error::Error| Refusal::Broken(error.to_string());
        let conf = GlobalConf::load_dir(&self.conf).map_err(|error| broken(&error))?;
        let (_, bytes) = exchange::container(&self.log.reader(), number)?;
        let report = verify_container(&bytes, &conf).map_err(|error: NotAZip| broken(&error))?;
        let report = serde_json::to_value(&report).map_err(|error| broken(&error))?;
        Ok(Given::json("verify", vec![number], &report))
    }

    fn readers(&self, query: Asked<'_>, _: &[u8]) -> Result<Given, Refusal> {
        let reader = self.log.reader();
        let about = match (parsed(query, "number")?, text(query, "message_id")) {
            (Some(number), None) => vec![number],
            (None, Some(id)) => reader.by_message_id(id)?.iter().map(|record| record.sequence).collect(),
            _ => return Err(Refusal::Missing("number or message_id, one of both,")),
        };
        let readings = register::readings(&reader, &about)?;
        let readings: Vec<Value> = readings.iter().map(|(stored, _)| view::summary(stored, None)).collect();
        Ok(Given::json("readers", about, &json!({ "readings": readings })))
    }

    fn export(&self, query: Asked<'_>, _: &[u8]) -> Result<Given, Refusal> {
        let (form, kind, name) = match text(query, "form").unwrap_or("jsonl").parse() {
            Ok(form @ export::Form::Jsonl) => (form, "application/x-ndjson", "messages.jsonl"),
            Ok(form @ export::Form::Csv) => (form, "text/csv; charset=utf-8", "messages.csv"),
            Ok(form @ export::Form::Zip) => (form, "application/zip", "messages.zip"),
            Err(_) => return Err(Refusal::Form("form")),
        };
        let reader = self.log.reader();
        let records = export::numbers(&reader, &filter(query)?, form)?;
        // Nothing of it leaves before the reading is noted: only the reply takes it out.
        let numbers = records.clone();
        let chunks = outgoing::stream("an export", move |out| {
            form.write(&reader, &numbers, out).map(drop).map_err(io::Error::other)
        });
        let reply = file(AdminReply::stream(kind, chunks), name)
            .with(HeaderName::from_static("x-records"), records.len().into());
        Ok(Given { reply, action: "export", records, bodies: form == export::Form::Zip })
    }

    fn verify(&self, query: Asked<'_>, _: &[u8]) -> Result<Given, Refusal> {
        let _alone = self.whole.try_acquire().map_err(|_| Refusal::Busy)?;
        let conf = GlobalConf::load_dir(&self.conf).map_err(|error| Refusal::Broken(error.to_string()))?;
        let key: Option<VerifierKey> = parsed(query, "key")?;
        let witness: Option<VerifierKey> = parsed(query, "witness")?;
        let trust = key.map(|key| Trust {
            origin: key.name().to_owned(),
            log: vec![key],
            witnesses: witness.into_iter().collect(),
            quorum: 0,
        });
        let shelves = self.archives.clone().map(|folder| Shelves::open(vec![folder], Identities::none()));
        let shelves = shelves.transpose().map_err(Refusal::Broken)?;
        let log = self.log.config();
        let grounds = Grounds {
            conf: Some(&conf),
            trust: trust.as_ref(),
            expected: None,
            archives: shelves.as_ref(),
            kek: Some(&log.key_file),
        };
        let report = verify(log, grounds, &mut |_| ())?;
        let report = serde_json::to_value(&report).map_err(|error| Refusal::Broken(error.to_string()))?;
        Ok(Given::json("verify", Vec::new(), &report))
    }

    fn reconcile(&self, query: Asked<'_>, theirs: &[u8]) -> Result<Given, Refusal> {
        let between: Option<MemberId> = parsed(query, "between")?;
        let and: Option<MemberId> = parsed(query, "and")?;
        let between = match (between, and) {
            (Some(one), Some(other)) => Some((one.to_string(), other.to_string())),
            (None, None) => None,
            _ => return Err(Refusal::Missing("one of between and and")),
        };
        let scope = Scope { from: time(query, "from")?, until: time(query, "until")?, between };
        let _alone = self.whole.try_acquire().map_err(|_| Refusal::Busy)?;
        let theirs = read_lines("the body", theirs, &scope, true)?;
        let compared = reconcile(read_log(&self.log.reader(), &scope, false)?, theirs, &scope);
        let records = compared.differences.iter().flat_map(|difference| difference.first.clone()).collect();
        let compared = serde_json::to_value(&compared).map_err(|error| Refusal::Broken(error.to_string()))?;
        Ok(Given::json("reconcile", records, &compared))
    }
}

impl Given {
    fn json(action: &'static str, records: Vec<u64>, value: &Value) -> Self {
        Self { reply: AdminReply::json(StatusCode::OK, value), action, records, bodies: false }
    }
}

/// What a search asks for.
fn filter(query: Asked<'_>) -> Result<Filter, Refusal> {
    let role = match text(query, "role") {
        None => None,
        Some("consumer") => Some(messagelog::Role::Consumer),
        Some("provider") => Some(messagelog::Role::Provider),
        Some(_) => return Err(Refusal::Form("role")),
    };
    let state = match text(query, "state") {
        None => None,
        Some("stamped") => Some(Condition::Stamped),
        Some("pending") => Some(Condition::Pending),
        Some("success") => Some(Condition::Ended(Outcome::Success)),
        Some("fault") => Some(Condition::Ended(Outcome::Fault)),
        Some("in-doubt") => Some(Condition::Ended(Outcome::InDoubt)),
        Some(_) => return Err(Refusal::Form("state")),
    };
    let kinds =
        if query.has("all") { Vec::new() } else { vec![Kind::Request, Kind::Response, Kind::Outcome] };
    Ok(Filter {
        from: time(query, "from")?,
        until: time(query, "until")?,
        message_id: parsed(query, "message_id")?,
        client: parsed(query, "client")?,
        service: parsed(query, "service")?,
        member: parsed(query, "member")?,
        user_id: parsed(query, "user_id")?,
        issue: parsed(query, "issue")?,
        role,
        kinds,
        state,
    })
}

/// A field; an empty one is as good as none.
fn text<'a>(query: Asked<'a>, name: &str) -> Option<&'a str> {
    query.value(name).map(str::trim).filter(|value| !value.is_empty())
}

fn parsed<T: std::str::FromStr>(query: Asked<'_>, name: &'static str) -> Result<Option<T>, Refusal> {
    text(query, name).map(|value| value.parse().map_err(|_| Refusal::Form(name))).transpose()
}

fn time(query: Asked<'_>, name: &'static str) -> Result<Option<UnixTime>, Refusal> {
    text(query, name).map(|value| UnixTime::from_rfc3339(value).map_err(|_| Refusal::Form(name))).transpose()
}

fn number(query: Asked<'_>) -> Result<u64, Refusal> {
    parsed(query, "number")?.ok_or(Refusal::Missing("number"))
}

/// As a file of this name, which is of ASCII characters without quotes.
fn file(reply: AdminReply, name: &str) -> AdminReply {
    match HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        Ok(value) => reply.with(header::CONTENT_DISPOSITION, value),
        Err(_) => reply,
    }
}

/// What is wrong with the log is for its operators, in their own log.
fn refuse(refusal: &Refusal) -> AdminReply {
    let status = match refusal {
        Refusal::Unknown(_) | Refusal::Missing(_) | Refusal::Form(_) => StatusCode::BAD_REQUEST,
        Refusal::NoRecord => StatusCode::NOT_FOUND,
        Refusal::Removed(_) => StatusCode::GONE,
        Refusal::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::NotCompared(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Broken(error) => {
            tracing::error!(error, "the log's interface for programs");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    AdminReply::error(status, &refusal.to_string())
}
