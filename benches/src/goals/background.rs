//! G6: how long answers take while everything that a gateway does besides is forced each second.
//!
//! | forced each second | how |
//! |---|---|
//! | time-stamping of what was logged | `timestamping.interval` |
//! | archives of what is time-stamped | `archive.every` |
//! | OCSP responses about the peer's certificates | `peers.revocations` |
//! | a new global configuration | the authority publishes, both gateways fetch |
//! | new settings | `gateway.toml` of both is written |
//!
//! Beside a pair of gateways where none of this happens while it is measured. Both stand at once; rounds alternate.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use integration::demo::layout::ORGANISATIONS;

use super::network::{self, Change};
use super::{Bound, Place, Row, Scale, Section, figure, median};
use crate::chain::{Case, SMALL};
use crate::process;
use crate::report::Figures;

/// Fewer connections than keep two cores busy: what is asked is how long answers take, not how many there are.
const CASE: Case = Case { name: "GET 1 KB, 8 connections", connections: 8, ..SMALL };

const QUIET: [Change; 2] = [
    ("every = \"2 s\"", "every = \"45 s\""),
    ("[doors]\n", "[timestamping]\ninterval = \"1 h\"\n\n[doors]\n"),
];
const QUIET_AUTHORITY: [Change; 1] = [("every = \"5 s\"", "every = \"60 s\"")];
const BUSY: [Change; 3] = [
    ("every = \"2 s\"", "every = \"1 s\""),
    (
        "[doors]\n",
        "[timestamping]\ninterval = \"1 s\"\n\n[archive]\ndirectory = \"archives\"\nevery = \"1 s\"\n\n[doors]\n",
    ),
    ("[peers]\n", "[peers]\nrevocations = \"1 s\"\n"),
];
const BUSY_AUTHORITY: [Change; 1] = [("every = \"5 s\"", "every = \"1 s\"")];

/// Measures.
///
/// # Errors
/// In words: a program that could not be started, a request that failed.
pub async fn measure(scale: &Scale, place: &Place) -> Result<Section, String> {
    let folder = place.directory.join("background");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let start = |name: &str, ports, gateways: &'static [Change], authority: &'static [Change]| {
        let folder = folder.join(name);
        async move {
            network::start(&place.programs, &folder, place.ports + ports, "p256", gateways, authority).await
        }
    };
    let mut quiet = start("quiet", 200, &QUIET, &QUIET_AUTHORITY).await?;
    let mut busy = start("busy", 250, &BUSY, &BUSY_AUTHORITY).await?;
    let settings: Vec<PathBuf> =
        ORGANISATIONS.iter().map(|one| busy.layout.folder(one.folder).join("gateway.toml")).collect();
    let chains = [network::chain(&mut quiet), network::chain(&mut busy)];
    // Long enough that each second's work falls into it several times.
    let duration = Duration::from_secs(scale.seconds.max(3));
    for chain in &chains {
        chain.run(&CASE, Duration::from_secs(1)).await?;
    }
    let mut rounds: Vec<[Figures; 2]> = Vec::new();
    for _ in 0..scale.rounds {
        let [calm, disturbed] = &chains;
        let calm = calm.run(&CASE, duration).await?;
        let disturbed = tokio::select! {
            figures = disturbed.run(&CASE, duration) => figures?,
            failed = write_each_second(&settings) => return Err(failed),
        };
        rounds.push([calm, disturbed]);
    }
    let archives = busy.layout.folder("consumer").join("archives");
    let made = fs::read_dir(&archives).map_err(|error| error.to_string())?.count();
    for mut ecosystem in [quiet, busy] {
        ecosystem.alive()?;
        ecosystem.stop()?;
    }
    fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if made == 0 {
        return Err("no archive was made: nothing was forced".to_owned());
    }
    let middle =
        |of: &dyn Fn(&[Figures; 2]) -> f64| figure(median(&rounds.iter().map(of).collect::<Vec<_>>()));
    let row = Row {
        goal: "G6",
        what: "p99 with everything forced each second beside the quiet p99, 8 connections".to_owned(),
        bound: Bound::AtMost(1.2),
        floor: String::new(),
        baseline: format!("{} us", middle(&|[quiet, _]| quiet.p99)),
        ours: format!("{} us", middle(&|[_, busy]| busy.p99)),
        ratios: rounds.iter().map(|[quiet, busy]| busy.p99 / quiet.p99).collect(),
    };
    let details = format!(
        "Quiet: {} exchanges a second, p50 {} us; with everything forced: {}, p50 {} us; {made} archives were made.\n",
        middle(&|[quiet, _]| quiet.rate),
        middle(&|[quiet, _]| quiet.p50),
        middle(&|[_, busy]| busy.rate),
        middle(&|[_, busy]| busy.p50),
    );
    Ok(Section { rows: vec![row], details })
}

/// Writes the settings anew each second; ends only when that fails.
async fn write_each_second(files: &[PathBuf]) -> String {
    let mut texts = Vec::new();
    for file in files {
        match fs::read_to_string(file) {
            Ok(text) => texts.push((file, text)),
            Err(error) => return format!("{}: {error}", file.display()),
        }
    }
    for time in 0_u64.. {
        for (file, text) in &texts {
            if let Err(error) = process::write(file, format!("{text}\n# {time}\n").as_bytes()) {
                return format!("{}: {error}", file.display());
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    String::new()
}
