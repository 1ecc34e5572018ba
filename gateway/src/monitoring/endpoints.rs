//! Monitoring for people and their programs: JSON on the administration port, for any token.
//!
//! | path | what is answered |
//! |---|---|
//! | `/monitoring/exchanges` | records of exchanges, oldest first: `from`, `to` (RFC 3339; the last hour), `client`, `service`, `limit` |
//! | `/monitoring/health` | how the services have been doing in the last period |
//!
//! Records have the fields of X-Road's operational monitoring. `next`, when it is there, is the `from` of what is left. A
//! field that is not known is refused: left aside, it would show more than was asked for.
//!
//! Not here: the evidence of exchanges, which is for auditors ([`crate::auditor`]).

use std::time::Duration;

use cert_authority::clock::{Clock, UnixTime};
use conf::identifier::{ClientId, ServiceId};
use http::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;

use crate::admin::{Admin, AdminCall, AdminReply, Role};
use crate::metaservice::query::Query;
use crate::opmonitor::search::Search;
use crate::opmonitor::{Monitor, SearchError};

const ALL: &[Role] = &[Role::Operator, Role::Auditor];
/// Records of an answer, when nothing is said, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 10_000;
/// How far back an answer goes, when nothing is said.
const LATELY: Duration = Duration::from_secs(3600);

/// Why nothing is answered.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is no field {0}")]
    Unknown(String),
    #[error("{0} does not have its form")]
    Form(&'static str),
    #[error(transparent)]
    Search(#[from] SearchError),
}

/// Adds them to the administration port.
#[must_use]
pub fn endpoints(admin: Admin, monitor: &Monitor, clock: &Arc<dyn Clock>) -> Admin {
    let (here, clock) = (monitor.clone(), Arc::clone(clock));
    let admin = admin.endpoint(Method::GET, "/monitoring/exchanges", ALL, move |call| {
        let (here, now) = (here.clone(), clock.now());
        async move { exchanges(&here, &call, now).await.unwrap_or_else(|refusal| refuse(&refusal)) }
    });
    let here = monitor.clone();
    admin.endpoint(Method::GET, "/monitoring/health", ALL, move |_call| {
        let shown = here.statistics(|statistics, now| statistics.json(now));
        let off = || AdminReply::error(StatusCode::NOT_FOUND, "nothing is monitored here");
        let reply = shown.map_or_else(off, |shown| AdminReply::json(StatusCode::OK, &shown));
        async move { reply }
    })
}

async fn exchanges(monitor: &Monitor, call: &AdminCall, now: UnixTime) -> Result<AdminReply, Refusal> {
    let search = search(&call.query, now)?;
    let found = monitor.search(search).await?;
    let next = found
        .next
        .and_then(|next| i64::try_from(next).ok())
        .map(|next| UnixTime::from_secs(next).to_rfc3339());
    Ok(AdminReply::json(StatusCode::OK, &json!({ "records": found.records, "next": next })))
}

fn search(query: &str, now: UnixTime) -> Result<Search, Refusal> {
    let query = Query::read(query).map_err(|_| Refusal::Form("the query"))?;
    if let Some(name) =
        query.names().find(|name| !["from", "to", "client", "service", "limit"].contains(name))
    {
        return Err(Refusal::Unknown(name.to_owned()));
    }
    let limit = parsed(&query, "limit")?.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Refusal::Form("limit"));
    }
    Ok(Search {
        from: second(&query, "from")?.unwrap_or_else(|| seconds(now - LATELY)),
        to: second(&query, "to")?.unwrap_or_else(|| seconds(now)),
        client: parsed::<ClientId>(&query, "client")?,
        service: parsed::<ServiceId>(&query, "service")?,
        limit,
        ..Search::default()
    })
}

fn seconds(time: UnixTime) -> u64 {
    u64::try_from(time.as_secs()).unwrap_or(0)
}

fn second(query: &Query<'_>, name: &'static str) -> Result<Option<u64>, Refusal> {
    let time = text(query, name).map(|value| UnixTime::from_rfc3339(value).map_err(|_| Refusal::Form(name)));
    Ok(time.transpose()?.map(seconds))
}

fn parsed<T: std::str::FromStr>(query: &Query<'_>, name: &'static str) -> Result<Option<T>, Refusal> {
    text(query, name).map(|value| value.parse().map_err(|_| Refusal::Form(name))).transpose()
}

/// A field; an empty one is as good as none.
fn text<'a>(query: &'a Query<'_>, name: &str) -> Option<&'a str> {
    query.value(name).map(str::trim).filter(|value| !value.is_empty())
}

fn refuse(refusal: &Refusal) -> AdminReply {
    let status = match refusal {
        Refusal::Unknown(_) | Refusal::Form(_) => StatusCode::BAD_REQUEST,
        Refusal::Search(SearchError::Off) => StatusCode::NOT_FOUND,
        Refusal::Search(error) => {
            tracing::error!(%error, "records of exchanges");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    AdminReply::error(status, &refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    #[test]
    fn a_search_is_of_the_last_hour_unless_it_says_more() {
        let asked = search("", NOW).unwrap();
        assert_eq!((asked.from, asked.to, asked.limit), (996_400, 1_000_000, PAGE));
        let asked =
            search("from=1970-01-01T00:00:10Z&to=1970-01-01T00:00:20Z&limit=5&client=D/G/1/p", NOW).unwrap();
        assert_eq!((asked.from, asked.to, asked.limit), (10, 20, 5));
        assert_eq!(asked.client, "D/G/1/p".parse().ok());
        let asked = search("service=D/G/1/p/s", NOW).unwrap();
        assert_eq!(asked.service.unwrap().code(), "s");
    }

    #[test]
    fn what_is_not_known_or_has_not_its_form_is_refused() {
        for bad in
            ["clientt=D/G/1/p", "from=yesterday", "limit=0", "limit=10001", "limit=-1", "client=D", "a=%"]
        {
            assert!(search(bad, NOW).is_err(), "{bad}");
        }
    }
}
