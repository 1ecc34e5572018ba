//! One rule for all cases (R0 of the threat model): the answer is exactly the one expected, nothing reached the service,
//! the logs hold what they may hold, no text tells what is inside, and everything still runs.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use gateway::cli::output;
use gateway::config::{Format, Output};
use gateway::fault::REFUSED;
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

/// What the gateways of this process write about their work, as their operators would read it.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the lines that gateways write, from now on.
pub fn keep_lines() {
    static KEPT: OnceLock<()> = OnceLock::new();
    KEPT.get_or_init(|| {
        let settings = Output { level: "info".to_owned(), format: Format::Text };
        let lines = output::lines(&settings, || Kept);
        tracing::subscriber::set_global_default(lines).expect("nobody else listens");
    });
}

/// The lines since `mark`, and the mark for the next time.
pub(super) fn lines_since(mark: usize) -> (Vec<String>, usize) {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    (lines.get(mark..).unwrap_or_default().to_vec(), lines.len())
}

struct Kept;

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a line could be taken for another: it has an end inside of it, or what turns or hides text.
fn is_forged(line: &str) -> bool {
    let inside = line.strip_suffix('\n').unwrap_or(line);
    inside.chars().any(|c| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
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
    /// When it was written to last, as its file said before it was read.
    written: SystemTime,
    /// It was read twice since then, for files tell the time by ticks of some milliseconds.
    settled: bool,
}

impl Followed {
    fn begin(node: &Node) -> Self {
        let written = node.log_written();
        Self { next: node.log().len(), written, settled: false }
    }

    /// What was added since the last time. A log is read from its beginning, and thousands of cases add nothing to it.
    fn added(&mut self, node: &Node) -> Counts {
        let mut counts = Counts::default();
        let written = node.log_written();
        let unchanged = written == self.written;
        if unchanged && self.settled {
            return counts;
        }
        (self.written, self.settled) = (written, unchanged);
        let log = node.log();
        for sequence in self.next..log.len() {
            match log.get(sequence).expect("the log can be read").map(|stored| stored.record) {
                Some(Record::Request(_)) => counts.requests += 1,
                Some(Record::Response(_)) => counts.responses += 1,
                Some(Record::Outcome(outcome)) if outcome.outcome == Outcome::InDoubt => counts.in_doubt += 1,
                Some(Record::Outcome(_)) => counts.faults += 1,
                _ => {}
            }
        }
        self.next = log.len();
        counts
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
    /// What no line may hold, whatever it tells of.
    private: Vec<String>,
    lines: usize,
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
        let mut private = Vec::new();
        for node in [&world.consumer, &world.provider] {
            for holder in [&node.sign, &node.auth, &node.tls] {
                private.push(holder.key.id.to_string());
            }
        }
        secrets.extend_from_slice(&private);
        private.extend(
            [
                "Bearer",
                "a-token-of-an",
                "guess-",
                "a secret question",
                "the body of it",
                ".rs:",
                "panicked",
                "SELECT ",
            ]
            .map(str::to_owned),
        );
        Self {
            connections: world.service.connections(),
            calls: world.service.calls(),
            panics: PANICS.load(Ordering::SeqCst),
            consumer: Followed::begin(&world.consumer),
            provider: Followed::begin(&world.provider),
            secrets,
            private,
            lines: lines_since(0).1,
        }
    }

    /// Forgets what happened since the last case: what comes next is judged from here.
    pub fn from_here(&mut self, world: &World) {
        self.connections = world.service.connections();
        self.calls = world.service.calls();
        self.consumer = Followed::begin(&world.consumer);
        self.provider = Followed::begin(&world.provider);
        self.lines = lines_since(0).1;
    }

    /// Waits a little for the line that tells of a refusal: a connection may end before it is written.
    pub async fn told(&self, case: &Case) {
        for _ in 0..100 {
            if untold(&case.expected, &lines_since(self.lines).0).is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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
        wrong.extend(self.other_lines(case));
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

    /// Each refusal has its line, and no line holds what it must not.
    fn other_lines(&mut self, case: &Case) -> Vec<String> {
        let (lines, mark) = lines_since(self.lines);
        self.lines = mark;
        let mut wrong: Vec<String> = untold(&case.expected, &lines).into_iter().collect();
        for line in &lines {
            let refused = line.contains(REFUSED).then_some(&self.secrets).into_iter().flatten();
            let told = self.private.iter().chain(refused).find(|secret| line.contains(secret.as_str()));
            wrong.extend(told.map(|secret| format!("a line tells {secret:?}: {line}")));
            if is_forged(line) {
                wrong.push(format!("a line is more than one: {line:?}"));
            }
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
            Evidence::OnlyAsked => (consumer, provider) == (exchange, none),
            Evidence::Exchange => provider == exchange && (consumer == none || consumer == exchange),
        };
        (!fits).then(|| format!("logged are {consumer:?} and {provider:?}, not {:?}", case.evidence))
    }
}

/// What is missing of the line that tells of a refusal: who, and the code that was answered.
fn untold(expected: &Expected, lines: &[String]) -> Option<String> {
    let code = match expected {
        // By its status, or by what hyper says of its form.
        Expected::Bare(_) => "code=".to_owned(),
        Expected::Code(_, code) => format!("code=\"{code}\""),
        Expected::Closed => "code=".to_owned(),
        Expected::Verdict(_) | Expected::Passes(_) => return None,
    };
    let told =
        lines.iter().any(|line| line.contains(REFUSED) && line.contains("from=") && line.contains(&code));
    (!told).then(|| format!("no line of {REFUSED} tells from whom, and {code}: {lines:?}"))
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
