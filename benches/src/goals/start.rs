//! G13: from the moment when a gateway has opened its keys to its first signed answer, with an empty log and with a full one.
//!
//! Opening keys is slow by intention (the key of a key file is derived from the PIN), so it does not count: the gateway says
//! when it is done with it, in the lines about its work, and the first answer is timed by the same clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cert_authority::clock::SystemClock;
use gateway::messagelog::{Config, MessageLog};
use integration::demo::client;
use integration::demo::ecosystem::Ecosystem;
use integration::demo::layout::CONSUMER;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::network::{self, PREFIX};
use super::{Bound, Place, Row, Scale, Section, figure, median};
use crate::filled::Filling;

/// What the gateway says when its keys are open.
const OPENED: &str = "keys are open";

/// Measures.
///
/// # Errors
/// In words: a program that could not be started; a gateway that says nothing of its keys.
pub async fn measure(scale: &Scale, place: &Place) -> Result<Section, String> {
    let folder = place.directory.join("start");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut ecosystem =
        network::start(&place.programs, &folder.join("ecosystem"), place.ports + 360, "p256", &[], &[])
            .await?;
    answer(&ecosystem).await?;
    let empty = starts(&mut ecosystem, scale.rounds).await?;
    ecosystem.kill(CONSUMER.folder)?;
    let own = ecosystem.layout.folder(CONSUMER.folder);
    let config = Config { key_file: own.join("keys/log.key"), ..Config::new(own.join("log")) };
    let log = MessageLog::open(config, Arc::new(SystemClock)).map_err(|error| error.to_string())?;
    Filling::USUAL.append(&log, 0, scale.records, |_| {}).await;
    drop(log);
    ecosystem.restart(CONSUMER.folder).await?;
    // What was added has no time-stamps yet: they are made first, once.
    tokio::time::sleep(Duration::from_secs(5)).await;
    answer(&ecosystem).await?;
    let full = starts(&mut ecosystem, scale.rounds).await?;
    ecosystem.alive()?;
    ecosystem.stop()?;
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let row = |what: String, limit: f64, times: &[f64]| Row {
        goal: "G13",
        what,
        bound: Bound::AtMost(1.0),
        floor: String::new(),
        baseline: format!("{limit} ms"),
        ours: format!("{} ms", figure(median(times))),
        ratios: times.iter().map(|time| time / limit).collect(),
    };
    Ok(Section {
        rows: vec![
            row(
                "from keys unlocked to the first signed answer, new log, beside 30 ms".to_owned(),
                30.0,
                &empty,
            ),
            row(format!("the same with {} records, beside 50 ms", scale.records), 50.0, &full),
        ],
        details: String::new(),
    })
}

/// Milliseconds of each start.
async fn starts(ecosystem: &mut Ecosystem, rounds: usize) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        ecosystem.halt(CONSUMER.folder)?;
        let since = now();
        ecosystem.launch(CONSUMER.folder)?;
        let answered = first_answer(ecosystem).await?;
        let opened = opened(ecosystem, since)?;
        times.push(answered.duration_since(opened).map_err(|error| error.to_string())?.as_secs_f64() * 1e3);
    }
    Ok(times)
}

async fn first_answer(ecosystem: &Ecosystem) -> Result<SystemTime, String> {
    let mut last = String::new();
    for _ in 0..30_000 {
        match answer(ecosystem).await {
            Ok(()) => return Ok(now()),
            Err(reason) => last = reason,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(format!("no answer in 30 s: {last}"))
}

async fn answer(ecosystem: &Ecosystem) -> Result<(), String> {
    let headers = [("X-Road-Client", "DEMO/GOV/1001/portal")];
    let path = format!("{PREFIX}/bytes/10");
    let reply = client::send(network::door(&ecosystem.layout), "GET", &path, &headers, "").await?;
    if reply.status.is_success() { Ok(()) } else { Err(format!("{}: {:?}", reply.status, reply.body)) }
}

/// When the gateway that was started since then said that its keys are open.
fn opened(ecosystem: &mut Ecosystem, since: SystemTime) -> Result<SystemTime, String> {
    let process = ecosystem.process(CONSUMER.folder).ok_or("the consumer's gateway does not run")?;
    let text = std::fs::read_to_string(process.log()).map_err(|error| error.to_string())?;
    let mut times = text.lines().filter(|line| line.contains(OPENED)).filter_map(|line| {
        let time = OffsetDateTime::parse(line.split_whitespace().next()?, &Rfc3339).ok()?;
        Some(SystemTime::from(time))
    });
    times.rfind(|time| *time >= since).ok_or_else(|| format!("the gateway did not say that its {OPENED}"))
}

#[expect(clippy::disallowed_methods, reason = "the gateway's lines bear the machine's own time")]
fn now() -> SystemTime {
    SystemTime::now()
}
