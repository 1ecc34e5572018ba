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
//! | `/log/export?form=F` | what a search finds, as `jsonl`, `csv` or a `zip` of containers |
//!
//! A search has `from`, `until` (RFC 3339), `message_id`, `client`, `service`, `member`, `user_id`, `issue`, `role`
//! (`consumer`, `provider`), `state` (`stamped`, `pending`, `success`, `fault`, `in-doubt`) and `all` (time-stamps,
//! configurations and the like too). A field that is not known is refused: left aside, it would show more than was
//! asked for. An export says in `x-records` how many are in it, and in `x-left-out` how many have no container.
//!
//! Each request says in `reason` why it reads; that is written into the log before anything is answered.
//!
//! Specification: THREATS T36. Not here: records as JSON ([`crate::audit::view`]), the pages (the module above).

use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::path::PathBuf;

use cert_authority::clock::UnixTime;
use conf::snapshot::GlobalConf;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{PageError, exchange};
use crate::admin::{Admin, AdminCall, AdminReply, Role};
use crate::audit::{export, register, view};
use crate::evidence::asic::{NotAZip, verify_container};
use crate::messagelog::{
    self, LogError, LogStore as _, MessageLog, Record,
    reader::{Condition, Filter, Order},
    record::{AccessRecord, Kind, Outcome},
};
use crate::metaservice::query::Query;

const AUDITORS: &[Role] = &[Role::Auditor];
/// Records of a page, when nothing is said, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;
/// An export is made in memory: what is longer is asked for in pieces.
const LONGEST_EXPORT: u64 = 32 << 20;
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
    #[error("longer than {LONGEST_EXPORT} bytes: ask for a shorter period")]
    TooLong,
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
type Answer = fn(&Api, Asked<'_>) -> Result<Given, Refusal>;

/// What answers.
#[derive(Clone)]
struct Api {
    log: MessageLog,
    /// The global configuration as it is kept: what containers are judged by.
    conf: PathBuf,
}

/// Adds all this to the administration port. `conf` is the folder of the global configuration.
pub(super) fn endpoints(admin: Admin, log: &MessageLog, conf: PathBuf) -> Admin {
    let api = Api { log: log.clone(), conf };
    let table: [(&'static str, Fields, Answer); 7] = [
        ("/log/records", [&["order", "beyond", "limit"], SEARCH], Api::records),
        ("/log/count", [&[], SEARCH], Api::count),
        ("/log/record", [&["number"], &[]], Api::record),
        ("/log/container", [&["number"], &[]], Api::container),
        ("/log/verdict", [&["number"], &[]], Api::verdict),
        ("/log/readers", [&["number", "message_id"], &[]], Api::readers),
        ("/log/export", [&["form"], SEARCH], Api::export),
    ];
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
            Ok((answer(&here, &query)?, call.token, reason))
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
        match self.log.append(Record::Access(access), Vec::new()).await {
            Ok(_) => given.reply,
            Err(error) => refuse(&error.into()),
        }
    }

    fn records(&self, query: Asked<'_>) -> Result<Given, Refusal> {
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

    fn count(&self, query: Asked<'_>) -> Result<Given, Refusal> {
        let count = self.log.reader().count(&filter(query)?)?;
        Ok(Given::json("count", Vec::new(), &json!({ "count": count })))
    }

    fn record(&self, query: Asked<'_>) -> Result<Given, Refusal> {
        let (number, reader) = (number(query)?, self.log.reader());
        let record = reader.get(number)?.ok_or(Refusal::NoRecord)?;
        let all = view::whole(&record, export::Stamps::new(&reader).of(&record)?);
        Ok(Given::json("show", vec![number], &all))
    }

    fn container(&self, query: Asked<'_>) -> Result<Given, Refusal> {
        let number = number(query)?;
        let (name, bytes) = exchange::container(&self.log.reader(), number)?;
        let reply = file(AdminReply::bytes("application/vnd.etsi.asic-e+zip", bytes.into()), &name);
        Ok(Given { reply, action: "export", records: vec![number], bodies: true })
    }

    fn verdict(&self, query: Asked<'_>) -> Result<Given, Refusal> {
        let number = number(query)?;
        let broken = |error: &dyn std::error::Error| Refusal::Broken(error.to_string());
        let conf = GlobalConf::load_dir(&self.conf).map_err(|error| broken(&error))?;
        let (_, bytes) = exchange::container(&self.log.reader(), number)?;
        let report = verify_container(&bytes, &conf).map_err(|error: NotAZip| broken(&error))?;
        let report = serde_json::to_value(&report).map_err(|error| broken(&error))?;
        Ok(Given::json("verify", vec![number], &report))
    }

    fn readers(&self, query: Asked<'_>) -> Result<Given, Refusal> {
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

    fn export(&self, query: Asked<'_>) -> Result<Given, Refusal> {
        let (reader, filter) = (self.log.reader(), filter(query)?);
        let (mut out, mut left_out) = (Bounded::default(), 0);
        let (made, kind, name) = match text(query, "form").unwrap_or("jsonl") {
            "jsonl" => {
                (export::json_lines(&reader, &filter, &mut out), "application/x-ndjson", "messages.jsonl")
            }
            "csv" => (export::csv(&reader, &filter, &mut out), "text/csv; charset=utf-8", "messages.csv"),
            "zip" => {
                let made = export::containers(&reader, &filter, &mut out);
                let made = made.map(|(_, numbers, without)| {
                    left_out = without.len();
                    numbers
                });
                (made, "application/zip", "messages.zip")
            }
            _ => return Err(Refusal::Form("form")),
        };
        let records = match made {
            Ok(records) => records,
            Err(_) if out.full => return Err(Refusal::TooLong),
            Err(error) => return Err(Refusal::Broken(error.to_string())),
        };
        let reply = file(AdminReply::bytes(kind, out.bytes.into_inner().into()), name)
            .with(HeaderName::from_static("x-records"), records.len().into())
            .with(HeaderName::from_static("x-left-out"), left_out.into());
        Ok(Given { reply, action: "export", records, bodies: kind == "application/zip" })
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
        Refusal::Broken(error) => {
            tracing::error!(error, "the log's interface for programs");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    AdminReply::error(status, &refusal.to_string())
}

/// Bytes in memory, and not too many.
#[derive(Default)]
struct Bounded {
    bytes: Cursor<Vec<u8>>,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.bytes.position().saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if end > LONGEST_EXPORT {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_ends_where_it_would_grow_too_long() {
        let mut out = Bounded::default();
        let piece = vec![0; 1 << 20];
        for _ in 0..LONGEST_EXPORT >> 20 {
            out.write_all(&piece).unwrap();
        }
        assert!(!out.full);
        assert!(out.write_all(b"x").is_err() && out.full);
    }
}
