//! The page that finds messages.

use cert_authority::clock::UnixTime;
use maud::{Markup, html};

use super::session::Session;
use super::words::{Words, instant};
use super::{Auditor, PageError, Shown};
use crate::admin::Visit;
use crate::audit::view;
use crate::messagelog::{
    LogError, MessageRecord, Record, Role,
    reader::{Condition, Filter, Order, StoredRecord},
    record::{Kind, Outcome, TimestampRecord},
};
use crate::metaservice::query::Query;

/// A line of the table.
struct Row {
    record: StoredRecord,
    /// Itself, or the request whose outcome it is.
    message: Option<MessageRecord>,
    stamped: bool,
}

/// Messages on a page.
const PAGE: usize = 50;

impl Auditor {
    /// Finds messages, the last one first.
    pub(super) fn search(&self, session: &Session, visit: &Visit) -> Result<Shown, PageError> {
        let words = session.language.words();
        let query = Query::read(&visit.query).map_err(|error| PageError::Field("?", error.to_string()))?;
        let filter = filter(&query, words)?;
        let before = field(&query, "before", words.number)?;
        let reader = self.log.reader();
        let found = reader.find(&filter, Order::NewestFirst, before, PAGE)?;
        let mut rows = Vec::with_capacity(found.len());
        let mut last: Option<TimestampRecord> = None;
        for record in found {
            if let Record::Outcome(outcome) = &record.record {
                // Client and service stand in its request.
                let request = match reader.get(outcome.request) {
                    Err(LogError::Removed { .. }) => None,
                    request => request?,
                };
                rows.push(Row {
                    message: request.and_then(|r| r.record.message().cloned()),
                    stamped: false,
                    record,
                });
                continue;
            }
            // Neighbours share their time-stamp.
            if last.as_ref().is_none_or(|stamp| stamp.position(record.sequence).is_none()) {
                last = reader.timestamp_of(record.sequence)?;
            }
            let (message, stamped) = (record.record.message().cloned(), last.is_some());
            rows.push(Row { message, stamped, record });
        }
        let records = rows.iter().map(|row| row.record.sequence).collect();
        let content = html! {
            h1 { (words.search) }
            (form(&query, words))
            (table(&rows, words))
            @if let (PAGE.., Some(oldest)) = (rows.len(), rows.last()) {
                p { a href=(older(&visit.query, oldest.record.sequence)) rel="next" { (words.older) } }
            }
        };
        Ok(Shown { content, title: words.search, action: "list", records })
    }
}

/// What the fields of the form ask for.
fn filter(query: &Query<'_>, words: &'static Words) -> Result<Filter, PageError> {
    let role = match query.value("role").unwrap_or_default() {
        "" => None,
        "consumer" => Some(Role::Consumer),
        "provider" => Some(Role::Provider),
        other => return Err(PageError::Field(words.role, other.to_owned())),
    };
    let state = match query.value("state").unwrap_or_default() {
        "" => None,
        wanted => {
            let known = states(words).into_iter().find(|(name, ..)| *name == wanted);
            let (_, _, state) = known.ok_or_else(|| PageError::Field(words.state, wanted.to_owned()))?;
            Some(state)
        }
    };
    // How an exchange ended is a record of its own.
    let kinds = match state {
        Some(Condition::Ended(_)) => vec![Kind::Outcome],
        _ => vec![Kind::Request, Kind::Response],
    };
    Ok(Filter {
        from: time(query, "from", words.from)?,
        until: time(query, "until", words.until)?,
        message_id: field(query, "id", words.message_id)?,
        client: field(query, "client", words.client)?,
        service: field(query, "service", words.service)?,
        member: field(query, "member", words.member)?,
        user_id: field(query, "user", words.user)?,
        issue: field(query, "issue", words.issue)?,
        role,
        kinds,
        state,
    })
}

/// The states that can be asked for: in the address, in words, for the log.
const fn states(words: &Words) -> [(&'static str, &'static str, Condition); 5] {
    [
        ("stamped", words.stamped, Condition::Stamped),
        ("pending", words.waiting, Condition::Pending),
        ("success", words.ended_well, Condition::Ended(Outcome::Success)),
        ("fault", words.ended_badly, Condition::Ended(Outcome::Fault)),
        ("in-doubt", words.in_doubt, Condition::Ended(Outcome::InDoubt)),
    ]
}

fn field<T: std::str::FromStr>(
    query: &Query<'_>,
    name: &str,
    label: &'static str,
) -> Result<Option<T>, PageError> {
    let Some(value) = query.value(name).map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    value.parse().map(Some).map_err(|_| PageError::Field(label, value.to_owned()))
}

/// As browsers give it, `2026-11-23T14:05`, with or without seconds; UTC.
fn time(query: &Query<'_>, name: &str, label: &'static str) -> Result<Option<UnixTime>, PageError> {
    let Some(value) = query.value(name).map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let seconds = if value.len() == "2026-11-23T14:05".len() { ":00" } else { "" };
    let parsed = UnixTime::from_rfc3339(&format!("{value}{seconds}Z"));
    parsed.map(Some).map_err(|_| PageError::Field(label, value.to_owned()))
}

fn form(query: &Query<'_>, words: &Words) -> Markup {
    let value = |name| query.value(name).unwrap_or_default();
    let fields = [
        ("id", words.message_id, "text", ""),
        ("client", words.client, "text", "DEMO/GOV/1001/portal"),
        ("service", words.service, "text", "DEMO/GOV/2002/registry/records"),
        ("member", words.member, "text", "DEMO/GOV/1001"),
        ("user", words.user_asked, "text", ""),
        ("issue", words.issue_asked, "text", ""),
        ("from", words.from, "datetime-local", ""),
        ("until", words.until, "datetime-local", ""),
    ];
    html! {
        form.fields method="get" action="/audit/" role="search" {
            @for (name, label, kind, example) in fields {
                div {
                    label for=(name) { (label) }
                    input id=(name) name=(name) type=(kind) value=(value(name)) placeholder=(example) maxlength="1024";
                }
            }
            div {
                label for="role" { (words.role) }
                select #role name="role" {
                    @for (name, label) in [("", words.any), ("consumer", words.consumer), ("provider", words.provider)] {
                        option value=(name) selected[value("role") == name] { (label) }
                    }
                }
            }
            div {
                label for="state" { (words.state) }
                select #state name="state" {
                    option value="" { (words.any) }
                    @for (name, label, _) in states(words) {
                        option value=(name) selected[value("state") == name] { (label) }
                    }
                }
            }
            button { (words.search) }
        }
    }
}

fn table(rows: &[Row], words: &Words) -> Markup {
    if rows.is_empty() {
        return html! { p role="status" { (words.nothing) } };
    }
    html! {
        div.wide {
            table {
                caption { (words.found) }
                thead {
                    tr {
                        @for head in [words.number, words.time, words.role, words.kind, words.message_id, words.client,
                                      words.service, words.length, words.state] {
                            th scope="col" { (head) }
                        }
                    }
                }
                tbody {
                    @for Row { record, message, stamped } in rows {
                        @if let Some(message) = message {
                            tr {
                                td.count { (record.sequence) }
                                td.time { (instant(record.time)) }
                                td { (role(message.role, words)) }
                                td { (kind(&record.record, words)) }
                                td {
                                    a href=(format!("/audit/exchange?record={}", record.sequence)) {
                                        (message.message_id)
                                    }
                                }
                                td { (message.client) }
                                td { (message.service) }
                                td.count {
                                    @if record.record.message().is_some() { (view::length(message)) }
                                }
                                td.state { (state(&record.record, *stamped, words)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn older(query: &str, before: u64) -> String {
    let fields = query.split('&').filter(|field| !field.is_empty() && !field.starts_with("before="));
    let fields: Vec<&str> = fields.collect();
    format!("/audit/?{}{}before={before}", fields.join("&"), if fields.is_empty() { "" } else { "&" })
}

/// Our role in a message.
pub(super) const fn role(role: Role, words: &Words) -> &'static str {
    match role {
        Role::Consumer => words.consumer,
        Role::Provider => words.provider,
    }
}

/// Which way a message went.
pub(super) const fn kind(record: &Record, words: &Words) -> &'static str {
    match record {
        Record::Response(_) => words.response,
        Record::Outcome(_) => words.ending,
        _ => words.request,
    }
}

/// What is known of how it went.
fn state(record: &Record, stamped: bool, words: &Words) -> String {
    let Record::Outcome(outcome) = record else {
        return if stamped { words.stamped } else { words.waiting }.to_owned();
    };
    let ended = states(words).into_iter().find(|(.., state)| *state == Condition::Ended(outcome.outcome));
    let said = ended.map(|(_, said, _)| said).unwrap_or_default();
    match &outcome.fault_code {
        Some(code) => format!("{said} · {code}"),
        None => said.to_owned(),
    }
}
