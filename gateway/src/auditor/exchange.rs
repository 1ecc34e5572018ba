//! The page of one exchange: its steps, who signed what and when, who has read about it, and the verdict.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::io::Cursor;

use conf::snapshot::GlobalConf;
use maud::{Markup, html};

use super::session::Session;
use super::steps::{Exchange, Lane, Step, ending, lanes};
use super::words::{Words, instant};
use super::{Auditor, PageError, Shown, search};
use crate::admin::Visit;
use crate::audit::register::{self, Reading};
use crate::evidence::asic::{NotAZip, Report, verify_container};
use crate::messagelog::{
    MessageRecord, Record, Role,
    reader::{Reader, StoredRecord},
};
use crate::metaservice::container::{ContainerError, LoggedContainer};
use crate::metaservice::query::Query;

/// Bodies longer than this are not handled in memory.
const LONGEST: u64 = 64 << 20;
/// Readings on a page; older ones are on the next.
const READINGS: usize = 50;

/// A verdict over the container of one record, or why there is none.
type Verdict = (u64, Result<Report, &'static str>);

impl Auditor {
    /// Shows an exchange.
    pub(super) fn exchange(&self, session: &Session, visit: &Visit) -> Result<Shown, PageError> {
        let readings_before = readings_before(&visit.query)?;
        self.shown(session, number(&visit.query)?, readings_before, "show", |_, _| Ok(Vec::new()))
    }

    /// Shows an exchange, and judges its containers.
    pub(super) fn verify(&self, session: &Session, visit: &Visit) -> Result<Shown, PageError> {
        let body = std::str::from_utf8(&visit.body).unwrap_or_default();
        self.shown(session, number(body)?, None, "verify", |reader, exchange| {
            let words = session.language.words();
            let conf = GlobalConf::load_dir(&self.conf).map_err(|error| {
                tracing::error!(%error, "auditor's page: the configuration cannot be read");
                PageError::Field(words.failed, String::new())
            })?;
            exchange.messages().map(|(record, _)| verdict(reader, record, &conf, words)).collect()
        })
    }

    fn shown(
        &self,
        session: &Session,
        number: u64,
        readings_before: Option<u64>,
        action: &'static str,
        judge: impl FnOnce(&Reader, &Exchange) -> Result<Vec<Verdict>, PageError>,
    ) -> Result<Shown, PageError> {
        let words = session.language.words();
        let reader = self.log.reader();
        let exchange = gather(&reader, number)?;
        let verdicts = judge(&reader, &exchange)?;
        let records: Vec<u64> = exchange.messages().map(|(record, _)| record.sequence).collect();
        let readings = register::latest(&reader, &records, readings_before, READINGS)?;
        let content = html! {
            (about(&exchange, words))
            h2 #steps { (words.steps) }
            (drawing(&exchange, words))
            (actions(session, &exchange, words))
            @for (number, verdict) in &verdicts { (judged(*number, verdict, words)) }
            h2 { (words.parts) }
            @for (record, message) in exchange.messages() { (parts(record, message, words)) }
            h2 #readers { (words.readers) }
            (readers(exchange.request.sequence, &readings, readings_before.is_some(), words))
        };
        Ok(Shown { content, title: words.exchange, action, records })
    }
}

/// The number of the record that is asked for.
pub(super) fn number(fields: &str) -> Result<u64, PageError> {
    let query = Query::read(fields).map_err(|_| PageError::NotFound("record"))?;
    query.value("record").and_then(|text| text.parse().ok()).ok_or(PageError::NotFound("record"))
}

/// Where the readings on the page before have ended.
fn readings_before(fields: &str) -> Result<Option<u64>, PageError> {
    let query = Query::read(fields).map_err(|_| PageError::NotFound("record"))?;
    let before = query.value("readings_before").map(str::parse);
    before.transpose().map_err(|_| PageError::NotFound("record"))
}

/// The container of a message: its file's name, its bytes.
pub(super) fn container(reader: &Reader, number: u64) -> Result<(String, Vec<u8>), PageError> {
    let container = LoggedContainer::open(reader, number).map_err(|error| match error {
        ContainerError::Log(error) => PageError::Log(error),
        _ => PageError::NotFound("container"),
    })?;
    if container.length_of_bodies() > LONGEST {
        return Err(PageError::TooLong(number));
    }
    let bytes = container.write(Cursor::new(Vec::new())).map_err(|error| {
        PageError::Log(crate::messagelog::LogError::io("a container cannot be made", &error))
    })?;
    Ok((container.file_name(), bytes.into_inner()))
}

/// All that the log has of the exchange that a record belongs to.
fn gather(reader: &Reader, number: u64) -> Result<Exchange, PageError> {
    let nothing = || PageError::NotFound("record");
    let record = reader.get(number)?.ok_or_else(nothing)?;
    let request = match &record.record {
        Record::Request(_) => record,
        Record::Response(message) => reader.get(message.request.ok_or_else(nothing)?)?.ok_or_else(nothing)?,
        Record::Outcome(outcome) => reader.get(outcome.request)?.ok_or_else(nothing)?,
        _ => return Err(nothing()),
    };
    let id = request.record.message().ok_or_else(nothing)?.message_id.clone();
    let (response, outcome) = ending(request.sequence, reader.by_message_id(&id)?);
    let answered = match &response {
        Some(response) => reader.timestamp_of(response.sequence)?,
        None => None,
    };
    let stamps = [reader.timestamp_of(request.sequence)?, answered];
    Ok(Exchange { request, response, outcome, stamps })
}

fn verdict(
    reader: &Reader,
    record: &StoredRecord,
    conf: &GlobalConf,
    words: &'static Words,
) -> Result<Verdict, PageError> {
    let judged = match container(reader, record.sequence) {
        Ok((_, bytes)) => verify_container(&bytes, conf).map_err(|NotAZip| words.failed),
        Err(PageError::TooLong(_)) => Err(words.too_long),
        Err(PageError::NotFound(_)) => Err(words.waiting),
        Err(error) => return Err(error),
    };
    Ok((record.sequence, judged))
}

fn about(exchange: &Exchange, words: &Words) -> Markup {
    html! {
        @if let Some(message) = exchange.request.record.message() {
            h1 { (words.exchange) " " code { (message.message_id) } }
            dl.about {
                dt { (words.client) } dd { (message.client) }
                dt { (words.service) } dd { (message.service) }
                dt { (words.role) } dd { (search::role(message.role, words)) }
            }
        }
    }
}

/// Four lanes; each step lies between two of them, or in one.
fn drawing(exchange: &Exchange, words: &'static Words) -> Markup {
    let lanes =
        exchange.request.record.message().map(|message| lanes(message.role)).unwrap_or(lanes(Role::Consumer));
    let name = |lane: &Lane| match lane {
        Lane::System => words.lane_system,
        Lane::Own => words.lane_own,
        Lane::Peer => words.lane_peer,
        Lane::Service => words.lane_service,
    };
    let place = |lane: Lane| lanes.iter().position(|known| *known == lane).map_or(1, |place| place + 1);
    let places = |step: &Step| (place(step.from), place(step.to));
    html! {
        div.wide {
            div.lanes aria-hidden="true" { @for lane in &lanes { span { (name(lane)) } } }
            ol.steps aria-labelledby="steps" {
                @for step in exchange.steps(words) {
                    @let (from, to) = places(&step);
                    @let way = match from.cmp(&to) { Less => "right", Greater => "left", Equal => "alone" };
                    li class=(format!("{way} lane-{}-{}", from.min(to), from.max(to))) {
                        p { strong { (step.what) } @if let Some(at) = step.at { " " time { (instant(at)) } } }
                        @if !step.details.is_empty() {
                            dl { @for (name, value) in &step.details { dt { (name) } dd { (value) } } }
                        }
                    }
                }
            }
        }
    }
}

fn actions(session: &Session, exchange: &Exchange, words: &Words) -> Markup {
    html! {
        form.actions method="post" action="/audit/verify" {
            input type="hidden" name="form" value=(session.form);
            input type="hidden" name="record" value=(exchange.request.sequence);
            button { (words.verify) }
            @for (record, _) in exchange.messages() {
                a href=(format!("/audit/container?record={}", record.sequence)) {
                    (words.download) " · " (search::kind(&record.record, words))
                }
            }
        }
    }
}

fn judged(number: u64, verdict: &Result<Report, &'static str>, words: &Words) -> Markup {
    let report = match verdict {
        Ok(report) => report,
        Err(why) => {
            return html! { section.verdict { h2 { (words.verdict) " · " (words.record) " " (number) } p { (why) } } };
        }
    };
    let facts = [
        (words.signer, &report.signer),
        (words.signed_at, &report.signed_at),
        (words.ocsp_at, &report.ocsp_at),
        (words.stamped_at, &report.timestamped_at),
        (words.by, &report.tsa),
    ];
    html! {
        section.verdict role="status" {
            h2 { (words.verdict) " · " (words.record) " " (number) }
            @if report.valid {
                p.valid { "✓ " (words.valid) }
            } @else {
                p.invalid { "✗ " (words.not_valid) " " code { (report.code.as_deref().unwrap_or_default()) } }
                p { (report.message) }
            }
            dl.about {
                @for (name, value) in facts { @if let Some(value) = value { dt { (name) } dd { (value) } } }
                @for part in &report.parts {
                    dt { (part.name) }
                    dd { (part.algorithm) " " code { (part.digest) } @if !part.present { " · " (words.not_kept) } }
                }
            }
        }
    }
}

fn parts(record: &StoredRecord, message: &MessageRecord, words: &Words) -> Markup {
    html! {
        h3 { (search::kind(&record.record, words)) " · " (words.record) " " (record.sequence) }
        div.wide {
            table {
                tbody {
                    @for part in &message.parts {
                        tr {
                            th scope="row" { (part.media_type) }
                            td.count { (part.length) " " (words.length) }
                            td { (part.digest.algorithm().name()) " " code { (part.digest.hex()) } }
                            td { (if part.stored.is_some() { words.kept } else { words.not_kept }) }
                        }
                    }
                }
            }
        }
    }
}

fn readers(request: u64, readings: &[Reading], further: bool, words: &Words) -> Markup {
    if readings.is_empty() {
        let nobody = if further { words.no_more_readers } else { words.no_readers };
        return html! { p { (nobody) } };
    }
    html! {
        div.wide {
            table {
                thead { tr { @for head in [words.time, words.who, words.action, words.reason] { th scope="col" { (head) } } } }
                tbody {
                    @for (stored, access) in readings {
                        tr {
                            td.time { (instant(stored.time)) }
                            td { (access.who) }
                            td { (access.action) }
                            td { (access.reason.as_deref().unwrap_or_default()) }
                        }
                    }
                }
            }
        }
        @if let (READINGS, Some((last, _))) = (readings.len(), readings.last()) {
            p {
                a href=(format!("/audit/exchange?record={request}&readings_before={}#readers", last.sequence)) rel="next" {
                    (words.older)
                }
            }
        }
    }
}
