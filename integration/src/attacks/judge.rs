//! One rule for all cases (R0 of the threat model): the answer is exactly the one expected, nothing reached the service,
//! the logs hold what they may hold, no text tells what is inside, and everything still runs.

use std::sync::atomic::{AtomicU64, Ordering};

use gateway::messagelog::Record;
use gateway::messagelog::record::Outcome;

use super::case::{Answer, Case, Evidence, Expected};
use crate::world::{Node, World};

/// What one process with two gateways, their services and this program may hold, in MiB; a debug build included.
pub const MEMORY: u64 = 384;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts panics from now on, wherever in the process they happen.
pub fn count_panics() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        told(panic);
    }));
}

/// Memory of this process, in MiB.
pub fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// How many records of each kind a log holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    requests: usize,
    responses: usize,
    faults: usize,
    in_doubt: usize,
}

/// A log, read as far as it was written.
struct Followed {
    next: u64,
    counts: Counts,
}

impl Followed {
    fn begin(node: &Node) -> Self {
        Self { next: node.log().len(), counts: Counts::default() }
    }

    /// What was added since the last time.
    fn added(&mut self, node: &Node) -> Counts {
        self.counts = Counts::default();
        let log = node.log();
        for sequence in self.next..log.len() {
            match log.get(sequence).expect("the log can be read").map(|stored| stored.record) {
                Some(Record::Request(_)) => self.counts.requests += 1,
                Some(Record::Response(_)) => self.counts.responses += 1,
                Some(Record::Outcome(outcome)) if outcome.outcome == Outcome::InDoubt => {
                    self.counts.in_doubt += 1;
                }
                Some(Record::Outcome(_)) => self.counts.faults += 1,
                _ => {}
            }
        }
        self.next = log.len();
        self.counts
    }
}

/// What must not move, as it stood last.
pub struct Judge {
    connections: u64,
    calls: u64,
    panics: u64,
    consumer: Followed,
    provider: Followed,
    secrets: Vec<String>,
}

impl Judge {
    /// Looks at a world as it is now.
    pub fn new(world: &World) -> Self {
        let mut secrets: Vec<String> =
            ["/tmp/", "/home/", "/usr/", "/proc/", ".rs:", "panicked", "backtrace", "SELECT ", "INSERT INTO"]
                .map(str::to_owned)
                .to_vec();
        secrets.push(world.folder.path().display().to_string());
        secrets.push(format!("{}:", world.service.host));
        for node in [&world.consumer, &world.provider] {
            for holder in [&node.sign, &node.auth, &node.tls] {
                secrets.push(holder.key.id.to_string());
            }
        }
        Self {
            connections: world.service.connections(),
            calls: world.service.calls(),
            panics: PANICS.load(Ordering::SeqCst),
            consumer: Followed::begin(&world.consumer),
            provider: Followed::begin(&world.provider),
            secrets,
        }
    }

    /// Forgets what happened since the last case: what comes next is judged from here.
    pub fn from_here(&mut self, world: &World) {
        self.connections = world.service.connections();
        self.calls = world.service.calls();
        self.consumer = Followed::begin(&world.consumer);
        self.provider = Followed::begin(&world.provider);
    }

    /// What is wrong with what came of a case; nothing is right.
    pub fn judge(&mut self, world: &World, case: &Case, answer: &Answer) -> Vec<String> {
        let mut wrong = Vec::new();
        wrong.extend(other_answer(&case.expected, answer));
        wrong.extend(self.other_service(world, case));
        wrong.extend(self.other_evidence(world, case));
        if !matches!(case.expected, Expected::Passes(_)) {
            let told = self.secrets.iter().find(|secret| answer.text.contains(secret.as_str()));
            wrong.extend(told.map(|secret| format!("the answer tells {secret:?}: {}", answer.text)));
        }
        let panics = PANICS.load(Ordering::SeqCst);
        if panics != self.panics {
            wrong.push(format!("{} panics", panics - self.panics));
            self.panics = panics;
        }
        if world.has_ended() {
            wrong.push("a gateway has ended".to_owned());
        }
        wrong
    }

    fn other_service(&mut self, world: &World, case: &Case) -> Option<String> {
        let (connections, calls) = (world.service.connections(), world.service.calls());
        let got = (connections - self.connections, calls - self.calls);
        (self.connections, self.calls) = (connections, calls);
        let last = world.service.last().first;
        let other_line = matches!(&case.expected, Expected::Passes(line) if *line != last);
        (got != (case.calls, case.calls) || other_line)
            .then(|| format!("the service got {} connections and {} calls: {last}", got.0, got.1))
    }

    fn other_evidence(&mut self, world: &World, case: &Case) -> Option<String> {
        let (consumer, provider) =
            (self.consumer.added(&world.consumer), self.provider.added(&world.provider));
        let (none, request) = (Counts::default(), Counts { requests: 1, ..Counts::default() });
        let exchange = Counts { responses: 1, ..request };
        let fits = match case.evidence {
            Evidence::None => (consumer, provider) == (none, none),
            Evidence::Refused => (consumer, provider) == (Counts { faults: 1, ..request }, none),
            Evidence::InDoubt => (consumer, provider) == (Counts { in_doubt: 1, ..request }, none),
            Evidence::Failed => {
                let (in_doubt, fault) = (Counts { in_doubt: 1, ..request }, Counts { faults: 1, ..request });
                (consumer, provider) == (in_doubt, fault)
            }
            Evidence::BothInDoubt => {
                let in_doubt = Counts { in_doubt: 1, ..request };
                (consumer, provider) == (in_doubt, in_doubt)
            }
            Evidence::Exchange => provider == exchange && (consumer == none || consumer == exchange),
        };
        (!fits).then(|| format!("logged are {consumer:?} and {provider:?}, not {:?}", case.evidence))
    }
}

/// How the answer differs from the expected one.
fn other_answer(expected: &Expected, answer: &Answer) -> Option<String> {
    let code = answer.code.as_deref();
    let fits = match expected {
        Expected::Bare(status) => {
            (answer.status, code, answer.answers, answer.closed) == (Some(*status), None, 1, true)
        }
        Expected::Code(status, wanted) => {
            (answer.status, code, answer.answers) == (Some(*status), Some(wanted.as_str()), 1)
        }
        Expected::Closed => answer.closed && answer.answers == 0 && answer.text.is_empty(),
        Expected::Verdict(wanted) => code == Some(wanted.as_str()),
        Expected::Passes(_) => (code, answer.answers) == (None, 1) && answer.status == Some(200),
    };
    (!fits).then(|| {
        let begin: String = answer.text.chars().take(300).collect();
        format!(
            "expected {expected}; got {:?} {code:?}, {} answers, closed: {}: {begin:?}",
            answer.status, answer.answers, answer.closed
        )
    })
}
