//! Two organisations' logs of the same exchanges, side by side: what one has and the other has not, and what differs.
//!
//! ```text
//! a log's directory, or an export as JSON lines ──► messages ──► by query, transport, direction and side ──► differences
//! ```
//! What one logged as consumer the other logged as provider. Their clocks differ: a message counts when either of them
//! logged it in the period, and is looked for in all that the other has.
//!
//! Not here: whether a log is whole ([`super::verify`](mod@super::verify)); reconcile only logs that are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::Hasher;
use serde::Serialize;
use serde_json::Value;

use super::export::End;
use super::view;
use crate::evidence::timestamp::signature_digest;
use crate::messagelog::{LogError, Record, Role, audit::audit, reader::Reader, verify::Observer};

/// Why logs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A log is not whole: what it lacks would be laid at the other's door.
    #[error("{path} is not whole: {problem}")]
    NotWhole {
        /// Which.
        path: String,
        /// The first that is wrong.
        problem: String,
    },
    /// Messages of that time were removed from a log: it would seem not to have had them.
    #[error("{path} was cleaned of messages until {until}: compare from then on")]
    Cleaned {
        /// Which.
        path: String,
        /// When the first record behind them was logged.
        until: String,
    },
    /// An export cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// An export does not end with its closing line, or that does not fit what stands before it.
    #[error("{path}: {problem}")]
    NotClosed {
        /// Which.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A line of an export is not one.
    #[error("{path}, line {line}: not a record of an export")]
    Line {
        /// Which.
        path: String,
        /// From 1.
        line: usize,
    },
}

/// Which messages are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Logged at this time or later.
    pub from: Option<UnixTime>,
    /// Logged before this time.
    pub until: Option<UnixTime>,
    /// Only messages between these two members, as `INSTANCE/CLASS/MEMBER`.
    pub between: Option<(String, String)>,
}

/// What both call one message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// The id of the query.
    pub message_id: String,
    /// The id of this transport of it.
    pub request_id: String,
    /// `request` or `response`.
    pub kind: String,
    /// The side of the first log.
    pub role: &'static str,
}

/// A message, as one of them logged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    number: u64,
    time: UnixTime,
    /// Of the signature; then algorithm and digest of each part, as signed. Both sides log the same bytes.
    digests: Vec<String>,
}

/// All messages of a log.
pub type Messages = BTreeMap<Key, Vec<Entry>>;

/// Something that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The message.
    #[serde(flatten)]
    pub key: Key,
    /// What differs.
    pub what: What,
    /// The records of the first log.
    pub first: Vec<u64>,
    /// The records of the second.
    pub second: Vec<u64>,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The second does not have it.
    OnlyInFirst,
    /// The first does not have it.
    OnlyInSecond,
    /// They have it, but not with the same digests, or not as often.
    OtherDigests,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Messages that were compared.
    pub compared: u64,
    /// What is not the same.
    pub differences: Vec<Difference>,
}

/// Reads the messages of a log's directory, or of an export as JSON lines. `flip` is for the second of two.
///
/// # Errors
/// [`ReconcileError`].
pub fn read(path: &Path, scope: &Scope, flip: bool) -> Result<Messages, ReconcileError> {
    let mut found = Gathered { messages: Messages::new(), scope, flip, cleaned: false, cleaned_until: None };
    if path.is_dir() {
        let verdict = audit(path, &mut found)?;
        if let Some(problem) = verdict.findings.first() {
            let problem = problem.to_string();
            return Err(ReconcileError::NotWhole { path: path.display().to_string(), problem });
        }
        return found.taken(path.display().to_string());
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| ReconcileError::File { path: name.clone(), source })?;
    found.lines(&name, BufReader::new(file))?;
    Ok(found.messages)
}

/// Reads the messages of an export as JSON lines that is called `name`.
///
/// # Errors
/// [`ReconcileError`].
pub fn read_lines(name: &str, lines: &[u8], scope: &Scope, flip: bool) -> Result<Messages, ReconcileError> {
    let mut found = Gathered { messages: Messages::new(), scope, flip, cleaned: false, cleaned_until: None };
    found.lines(name, lines)?;
    Ok(found.messages)
}

/// Reads the messages of a log that is open. Whether it is whole is not judged.
///
/// # Errors
/// [`ReconcileError::Cleaned`], and those of the log.
pub fn read_log(reader: &Reader, scope: &Scope, flip: bool) -> Result<Messages, ReconcileError> {
    let mut found = Gathered { messages: Messages::new(), scope, flip, cleaned: false, cleaned_until: None };
    for (number, stored) in reader.each_of(0..reader.len()) {
        match stored {
            Ok(Some(stored)) => found.record(number, stored.time, &stored.record),
            Err(LogError::Removed { .. }) => found.removed(number),
            Ok(None) => break,
            Err(error) => return Err(error.into()),
        }
    }
    found.taken("the log".to_owned())
}

/// Compares two logs.
pub fn reconcile(mut first: Messages, mut second: Messages, scope: &Scope) -> Reconciled {
    let mut result = Reconciled::default();
    let keys: std::collections::BTreeSet<Key> = first.keys().chain(second.keys()).cloned().collect();
    for key in keys {
        let (ours, theirs) =
            (first.remove(&key).unwrap_or_default(), second.remove(&key).unwrap_or_default());
        if !ours.iter().chain(&theirs).any(|entry| scope.in_time(entry.time)) {
            continue;
        }
        result.compared = result.compared.saturating_add(1);
        let what = match (ours.is_empty(), theirs.is_empty()) {
            (_, true) => What::OnlyInFirst,
            (true, _) => What::OnlyInSecond,
            _ if digests(&ours) == digests(&theirs) => continue,
            _ => What::OtherDigests,
        };
        let numbers = |entries: &[Entry]| entries.iter().map(|entry| entry.number).collect();
        result.differences.push(Difference { key, what, first: numbers(&ours), second: numbers(&theirs) });
    }
    result
}

fn digests(entries: &[Entry]) -> Vec<&[String]> {
    let mut all: Vec<_> = entries.iter().map(|entry| entry.digests.as_slice()).collect();
    all.sort_unstable();
    all
}

impl Scope {
    fn in_time(&self, time: UnixTime) -> bool {
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }

    /// Whether a message between this client and this service counts.
    fn covers(&self, client: &str, service: &str) -> bool {
        let of = |name: &str, member: &str| {
            name.strip_prefix(member).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.between.as_ref().is_none_or(|(one, other)| {
            (of(client, one) && of(service, other)) || (of(client, other) && of(service, one))
        })
    }
}

struct Gathered<'a> {
    messages: Messages,
    scope: &'a Scope,
    flip: bool,
    /// Messages were removed up to here; the next record says when that was.
    cleaned: bool,
    cleaned_until: Option<UnixTime>,
}

impl Gathered<'_> {
    /// The messages, unless some of the time in question were removed.
    fn taken(self, path: String) -> Result<Messages, ReconcileError> {
        let until = self.cleaned_until.filter(|until| self.scope.from.is_none_or(|from| from < *until));
        match until {
            Some(until) => Err(ReconcileError::Cleaned { path, until: until.to_rfc3339() }),
            None => Ok(self.messages),
        }
    }

    /// An export, to its closing line.
    fn lines(&mut self, name: &str, mut from: impl BufRead) -> Result<(), ReconcileError> {
        let not_closed = |problem: String| ReconcileError::NotClosed { path: name.to_owned(), problem };
        let (mut hasher, mut records) = (Hasher::new(DigestAlgorithm::Sha256), 0_u64);
        let mut text = Vec::new();
        let mut next = |text: &mut Vec<u8>| {
            text.clear();
            let read = from.read_until(b'\n', text);
            read.map_err(|source| ReconcileError::File { path: name.to_owned(), source })
        };
        for line in 1.. {
            if next(&mut text)? == 0 {
                let before = "its last line is not that of a whole export: it was cut off, or made by an older version";
                return Err(not_closed(before.to_owned()));
            }
            let wrong = || ReconcileError::Line { path: name.to_owned(), line };
            let record: Value = serde_json::from_slice(&text).map_err(|_| wrong())?;
            if let Some(End { records: said, sha256 }) = End::of(&record) {
                if said != records || sha256 != hasher.finish().hex() {
                    let problem =
                        format!("it has {records} records, and is not the export of {said} that it was");
                    return Err(not_closed(problem));
                }
                if next(&mut text)? != 0 {
                    return Err(not_closed("something stands behind its closing line".to_owned()));
                }
                return Ok(());
            }
            self.line(&record).ok_or_else(wrong)?;
            hasher.update(&text);
            records = records.saturating_add(1);
        }
        Ok(())
    }

    fn side(&self, consumer: bool) -> &'static str {
        view::role_name(if consumer == self.flip { Role::Provider } else { Role::Consumer })
    }

    /// A line of an export; none when it is not one.
    fn line(&mut self, record: &Value) -> Option<()> {
        let text = |name: &str| record.get(name).and_then(Value::as_str);
        let kind = text("kind")?;
        if kind != "request" && kind != "response" {
            return Some(());
        }
        let consumer = match text("role")? {
            "consumer" => true,
            "provider" => false,
            _ => return None,
        };
        let parts = record.get("parts")?.as_array()?.iter().map(|part| {
            let text = |name: &str| part.get(name).and_then(Value::as_str);
            Some(format!("{} {}", text("algorithm")?, text("digest")?))
        });
        let signature = text("signature_sha512").map(str::to_owned);
        let entry = Entry {
            number: record.get("number")?.as_u64()?,
            time: UnixTime::from_rfc3339(text("time")?).ok()?,
            digests: std::iter::once(signature).chain(parts).collect::<Option<_>>()?,
        };
        let key = Key {
            message_id: text("message_id")?.to_owned(),
            request_id: text("request_id")?.to_owned(),
            kind: kind.to_owned(),
            role: self.side(consumer),
        };
        if self.scope.covers(text("client")?, text("service")?) {
            self.messages.entry(key).or_default().push(entry);
        }
        Some(())
    }
}

impl Observer for Gathered<'_> {
    fn removed(&mut self, _sequence: u64) {
        self.cleaned = true;
    }

    fn record(&mut self, sequence: u64, time: UnixTime, record: &Record) {
        if std::mem::take(&mut self.cleaned) {
            self.cleaned_until = self.cleaned_until.max(Some(time));
        }
        let Some(message) = record.message() else { return };
        if !self.scope.covers(&message.client.to_string(), &message.service.to_string()) {
            return;
        }
        let digest = |part: &crate::messagelog::Part| {
            format!("{} {}", part.digest.algorithm().name(), part.digest.hex())
        };
        let key = Key {
            message_id: message.message_id.clone(),
            request_id: message.request_id.clone(),
            kind: view::kind_name(record.kind()).to_owned(),
            role: self.side(message.role == Role::Consumer),
        };
        let signature = signature_digest(&message.signature).hex();
        let digests = std::iter::once(signature).chain(message.parts.iter().map(digest)).collect();
        let entry = Entry { number: sequence, time, digests };
        self.messages.entry(key).or_default().push(entry);
    }
}
