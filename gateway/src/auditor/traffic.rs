//! The page of a day's traffic: requests by hour and by service, as pictures that are tables, too.

use cert_authority::clock::UnixTime;
use maud::{Markup, html};

use super::session::Session;
use super::words::Words;
use super::{Auditor, PageError, Shown};
use crate::admin::Visit;
use crate::messagelog::traffic::Traffic;
use crate::metaservice::query::Query;

const HOURS: u32 = 24;
/// Services that are shown: those with the most requests.
const SERVICES: usize = 20;

impl Auditor {
    /// Counts the requests of a day: of the one asked for, or of today.
    pub(super) fn traffic(&self, session: &Session, visit: &Visit) -> Result<Shown, PageError> {
        let words = session.language.words();
        let query = Query::read(&visit.query).map_err(|error| PageError::Field("?", error.to_string()))?;
        let today = || self.clock.now().to_rfc3339().chars().take(10).collect();
        let day: String = query.value("day").filter(|day| !day.is_empty()).map_or_else(today, str::to_owned);
        let from = UnixTime::from_rfc3339(&format!("{day}T00:00:00Z"))
            .map_err(|_| PageError::Field(words.day, day.clone()))?;
        let counts = self.log.reader().traffic(from, HOURS)?;
        let content = html! {
            h1 { (words.traffic) }
            form.fields method="get" action="/audit/traffic" {
                div {
                    label for="day" { (words.day) }
                    input #day name="day" type="date" value=(day) required;
                }
                button { (words.show) }
            }
            (by_hour(&counts, words))
            (by_service(&counts, words))
        };
        Ok(Shown { content, title: words.traffic, action: "traffic", records: Vec::new() })
    }
}

fn by_hour(counts: &Traffic, words: &Words) -> Markup {
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

fn by_service(counts: &Traffic, words: &Words) -> Markup {
    const WIDTH: u64 = 300;
    let mut services: Vec<(String, u64)> =
        counts.services.iter().map(|(service, count)| (service.to_string(), *count)).collect();
    // The same everywhere, however the index orders them.
    services.sort_by(|(one, many), (other, few)| few.cmp(many).then_with(|| one.cmp(other)));
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
