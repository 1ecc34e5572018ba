//! The judge of recorded exchanges: X-Road's own messages, put through our gateways.
//!
//! ```text
//! client-request.http ──► door ─ consumer::serve ──► captured: is it transport-request?
//! client-response.http =? ◄──────────┘          ◄── transport-response.*
//!
//! transport-request.* ──► provider::serve ──► service: is it provider-request.http?
//! transport-response =? ◄────────┘        ◄── provider-response.http
//! ```
//! Both sides of each case are judged at the time of its recording, by the code that serves in a gateway: the door, the
//! two stories, the log, the calls of services. Only what stands between the gateways is played.
//!
//! | part | what it is |
//! |---|---|
//! | `recording` | the recorded cases, as files |
//! | `world` | two gateways, a configuration that fits the recordings, a service |
//! | `provider`, `consumer` | one side of one case: what is seen, and how it differs |
//! | `compare` | what may differ: XROAD-FACTS 7 |
//! | `proof` | whether what we have sent verifies |
//! | [`stricter`] | where we differ on purpose |

mod compare;
mod consumer;
mod proof;
mod provider;
mod recording;
pub mod stricter;
mod world;

use std::fmt;
use std::path::Path;

use recording::Case;
use stricter::STRICTER;
use world::World;

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides as recorded.
    AsRecorded,
    /// Otherwise, and listed so.
    Stricter(&'static str),
    /// Otherwise.
    Wrong,
}

/// One case, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, verdict, seen } = self;
        match verdict {
            Verdict::AsRecorded => write!(f, "as recorded  {name}: {seen}"),
            Verdict::Stricter(reason) => write!(f, "stricter     {name}: {seen} ({reason})"),
            Verdict::Wrong => write!(f, "WRONG        {name}: {seen}"),
        }
    }
}

/// All cases of a folder, judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of their recording.
    pub cases: Vec<Judged>,
}

impl Report {
    /// How many cases came to a verdict that fits.
    pub fn count(&self, fits: impl Fn(&Verdict) -> bool) -> usize {
        self.cases.iter().filter(|case| fits(&case.verdict)).count()
    }

    /// Cases that are as recorded, or stricter on purpose.
    pub fn right(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::AsRecorded | Verdict::Stricter(_)))
    }

    /// Cases that are stricter on purpose.
    pub fn stricter(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Stricter(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (right, all, stricter) = (self.right(), self.cases.len(), self.stricter());
        writeln!(f, "{stricter} stricter than recorded, each for its reason")?;
        write!(f, "{right} of {all}")
    }
}

/// Judges every case of a folder of recorded exchanges; `told` gets each as it comes.
///
/// # Errors
/// In words: the folder cannot be read, or the gateways cannot be set up.
pub async fn judge(folder: &Path, mut told: impl FnMut(&Judged)) -> Result<Report, String> {
    let cases = recording::cases(folder)?;
    let world = World::new(folder, &cases).await?;
    let mut report = Report::default();
    for case in &cases {
        let judged = judge_case(&world, case).await?;
        told(&judged);
        report.cases.push(judged);
    }
    Ok(report)
}

async fn judge_case(world: &World, case: &Case) -> Result<Judged, String> {
    let name = case.name.clone();
    world.turn_to(case.at).await?;
    let sides = [
        ("provider", provider::judge(world, case).await?),
        ("consumer", consumer::judge(world, case).await?),
    ];
    let mut shown = Vec::new();
    let mut differences = Vec::new();
    for (side, judged) in sides {
        let Some(judged) = judged else { continue };
        shown.push(format!("{side} {}", judged.outcome));
        differences.extend(judged.differences.into_iter().map(|difference| format!("{side} {difference}")));
    }
    let listed = STRICTER.iter().find(|stricter| stricter.case == name);
    let (verdict, seen) = match (differences.is_empty(), listed) {
        (true, None) if shown.is_empty() => (Verdict::Wrong, "nothing recorded".to_owned()),
        (true, None) => (Verdict::AsRecorded, shown.join("; ")),
        (true, Some(_)) => {
            (Verdict::Wrong, format!("listed as stricter, but as recorded: {}", shown.join("; ")))
        }
        (false, listed) => {
            let seen = differences.join("; ");
            let verdict =
                listed.filter(|listed| listed.seen == seen).map(|listed| Verdict::Stricter(listed.reason));
            (verdict.unwrap_or(Verdict::Wrong), seen)
        }
    };
    Ok(Judged { name, verdict, seen })
}

/// One side of a case.
struct SideJudged {
    /// In a word.
    outcome: String,
    /// What is not as recorded.
    differences: Vec<String>,
}
