//! The page of a day's traffic: requests by hour and by service, as pictures that are tables, too.

use std::collections::BTreeMap;
use std::time::Duration;

use cert_authority::clock::UnixTime;
use maud::{Markup, html};

use super::session::Session;
use super::words::Words;
use super::{Auditor, PageError, Shown};
use crate::admin::Visit;
use crate::messagelog::{
    reader::{Filter, Order, Reader},
    record::Kind,
};
use crate::metaservice::query::Query;

const DAY: u64 = 24 * 3600;
/// Requests that are counted; a page must not keep the log's disk busy for long.
const MOST: usize = 200_000;
/// Records that are read at once.
const AT_ONCE: usize = 1_000;
/// Services that are shown: those with the most requests.
const SERVICES: usize = 20;

/// What a day had.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    hours: [u64; 24],
    services: BTreeMap<String, u64>,
    /// There were more than are counted.
    cut: bool,
}

impl Auditor {
    /// Counts the requests of a day: of the one asked for, or of today.
    pub(super) fn traffic(&self, session: &Session, visit: &Visit) -> Result<Shown, PageError> {
        let words = session.language.words();
        let query = Query::read(&visit.query).map_err(|error| PageError::Field("?", error.to_string()))?;
        let today = || self.clock.now().to_rfc3339().chars().take(10).collect();
        let day: String = query.value("day").filter(|day| !day.is_empty()).map_or_else(today, str::to_owned);
        let from = UnixTime::from_rfc3339(&format!("{day}T00:00:00Z"))
            .map_err(|_| PageError::Field(words.day, day.clone()))?;
        let counts = count(&self.log.reader(), from)?;
        let content = html! {
            h1 { (words.traffic) }
            form.fields method="get" action="/audit/traffic" {
                div {
                    label for="day" { (words.day) }
                    input #day name="day" type="date" value=(day) required;
                }
                button { (words.show) }
            }
            @if counts.cut { p.problem role="status" { (words.cut) } }
            (by_hour(&counts, words))
            (by_service(&counts, words))
        };
        Ok(Shown { content, title: words.traffic, action: "traffic", records: Vec::new() })
    }
}

fn count(reader: &Reader, from: UnixTime) -> Result<Counts, PageError> {
    let filter = Filter {
        from: Some(from),
        until: Some(from + Duration::from_secs(DAY)),
        kinds: vec![Kind::Request],
        ..Filter::default()
    };
    let mut counts = Counts::default();
    let (mut beyond, mut counted) = (None, 0);
    loop {
        let found = reader.find(&filter, Order::OldestFirst, beyond, AT_ONCE)?;
        let more = found.len() == AT_ONCE;
        for record in &found {
            let hour = usize::try_from(record.time.since(from).as_secs() / 3600).unwrap_or(usize::MAX);
            if let Some(count) = counts.hours.get_mut(hour) {
                *count += 1;
            }
            if let Some(message) = record.record.message() {
                *counts.services.entry(message.service.to_string()).or_default() += 1;
            }
        }
        counted += found.len();
        beyond = found.last().map(|record| record.sequence);
        if !more || counted >= MOST {
            counts.cut = more;
            return Ok(counts);
        }
    }
}

fn by_hour(counts: &Counts, words: &Words) -> Markup {
    const HEIGHT: u64 = 160;
    let most = counts.hours.iter().copied().max().unwrap_or(0).max(1);
    let bars = counts.hours.iter().enumerate().map(|(hour, count)| (hour, *count, count * HEIGHT / most));
    html! {
        figure {
            figcaption { (words.by_hour) }
            svg viewBox="0 0 744 200" role="img" aria-label=(words.by_hour) {
                text.axis x="0" y="12" { (most) }
                @for (hour, count, height) in bars.clone() {
                    rect.bar x=(hour * 30 + 24) y=(20 + HEIGHT - height) width="22" height=(height) {
                        title { (format!("{hour:02} h : {count}")) }
                    }
                    text.axis x=(hour * 30 + 35) y="196" text-anchor="middle" { (format!("{hour:02}")) }
                }
            }
            details {
                summary { (words.as_table) }
                table {
                    tbody {
                        @for (hour, count, _) in bars {
                            tr { th scope="row" { (format!("{hour:02} h")) } td.count { (count) } }
                        }
                    }
                }
            }
        }
    }
}

fn by_service(counts: &Counts, words: &Words) -> Markup {
    const WIDTH: u64 = 300;
    let mut services: Vec<(&String, u64)> =
        counts.services.iter().map(|(name, count)| (name, *count)).collect();
    services.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most = services.first().map_or(1, |(_, count)| *count);
    html! {
        figure {
            figcaption { (words.by_service) }
            div.wide {
                table {
                    thead { tr { th scope="col" { (words.service) } th scope="col" { (words.requests) } td {} } }
                    tbody {
                        @for (name, count) in services.iter().take(SERVICES) {
                            tr {
                                th scope="row" { (name) }
                                td.count { (count) }
                                td {
                                    svg width=(WIDTH) height="14" aria-hidden="true" {
                                        rect.bar x="0" y="0" width=(count * WIDTH / most) height="14" {}
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
