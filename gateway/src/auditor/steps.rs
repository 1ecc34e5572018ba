//! An exchange as its steps: who handed what to whom, who signed it, and when.
//!
//! ```text
//!            system      own gateway      other gateway      service
//! consumer     ──asks──►  signs, logs ──sends──►
//!              ◄─────────  verifies, logs  ◄──answers──
//!
//!                      other gateway      own gateway       service
//! provider                 ──sends──►  verifies, logs  ──calls──►
//!                          ◄──answers──   signs, logs  ◄──────────
//! ```
//! Everything is told from the records alone; what they do not say is left out.

use cert_authority::clock::UnixTime;

use super::words::Words;
use crate::messagelog::{
    MessageRecord, Record, Role,
    reader::StoredRecord,
    record::{OutcomeRecord, TimestampRecord},
};

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The client's system, beside our gateway when we are the consumer.
    System,
    /// Our gateway.
    Own,
    /// The gateway of the other organisation.
    Peer,
    /// The service, beside our gateway when we are the provider.
    Service,
}

/// All lanes, from left to right, on the side that we are.
pub const fn lanes(role: Role) -> [Lane; 4] {
    match role {
        Role::Consumer => [Lane::System, Lane::Own, Lane::Peer, Lane::Service],
        Role::Provider => [Lane::System, Lane::Peer, Lane::Own, Lane::Service],
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who acts.
    pub from: Lane,
    /// On whom; the same for what somebody does alone.
    pub to: Lane,
    /// When, if the log knows.
    pub at: Option<UnixTime>,
    /// What.
    pub what: &'static str,
    /// More: what it is called, and what it is.
    pub details: Vec<(&'static str, String)>,
}

/// What the log holds of one exchange on one side.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request.
    pub request: StoredRecord,
    /// Its signed answer.
    pub response: Option<StoredRecord>,
    /// How it ended without one.
    pub outcome: Option<OutcomeRecord>,
    /// The time-stamps of request and answer.
    pub stamps: [Option<TimestampRecord>; 2],
}

impl Exchange {
    /// Request and answer.
    pub fn messages(&self) -> impl Iterator<Item = (&StoredRecord, &MessageRecord)> {
        let records = std::iter::once(&self.request).chain(&self.response);
        records.filter_map(|record| Some((record, record.record.message()?)))
    }

    /// Its steps, in their order.
    pub fn steps(&self, words: &'static Words) -> Vec<Step> {
        let Some(request) = self.request.record.message() else { return Vec::new() };
        let mut steps = Steps { words, all: Vec::new() };
        let response = self.response.as_ref();
        match request.role {
            Role::Consumer => {
                steps.between(Lane::System, Lane::Own, request.began, words.asks, asked(words, request));
                steps.signed(Lane::Own, words.signs_request, request, request.client.member().to_string());
                steps.logged(&self.request, words.logs_request);
                steps.between(Lane::Own, Lane::Peer, None, words.sends, peer(words, request));
                if let Some((record, message)) = response.and_then(|r| Some((r, r.record.message()?))) {
                    let signer = message.service.client().member().to_string();
                    steps.signed(Lane::Peer, words.signs_response, message, signer);
                    steps.between(
                        Lane::Peer,
                        Lane::Own,
                        message.began,
                        words.answer_arrives,
                        peer(words, message),
                    );
                    steps.logged(record, words.verifies_response);
                    steps.between(Lane::Own, Lane::System, None, words.answers, Vec::new());
                }
                steps.outcome(Lane::System, self.outcome.as_ref());
            }
            Role::Provider => {
                steps.signed(Lane::Peer, words.signs_request, request, request.client.member().to_string());
                steps.between(Lane::Peer, Lane::Own, request.began, words.arrives, asked(words, request));
                steps.logged(&self.request, words.verifies_request);
                steps.between(Lane::Own, Lane::Service, None, words.calls, Vec::new());
                if let Some((record, message)) = response.and_then(|r| Some((r, r.record.message()?))) {
                    steps.between(Lane::Service, Lane::Own, message.began, words.serves, Vec::new());
                    let signer = message.service.client().member().to_string();
                    steps.signed(Lane::Own, words.signs_response, message, signer);
                    steps.logged(record, words.logs_response);
                    steps.between(Lane::Own, Lane::Peer, None, words.answers, peer(words, message));
                }
                steps.outcome(Lane::Peer, self.outcome.as_ref());
            }
        }
        let [first, second] = &self.stamps;
        steps.stamped(self.request.sequence, first.as_ref());
        if let Some(response) = response {
            steps.stamped(response.sequence, second.as_ref());
        }
        steps.all
    }
}

/// The answer to a request among the records of its message id, and how it ended without one.
pub fn ending(request: u64, records: Vec<StoredRecord>) -> (Option<StoredRecord>, Option<OutcomeRecord>) {
    let (mut response, mut outcome) = (None, None);
    for stored in records {
        match &stored.record {
            Record::Response(message) if message.request == Some(request) => response = Some(stored),
            Record::Outcome(ended) if ended.request == request => outcome = Some(ended.clone()),
            _ => {}
        }
    }
    (response, outcome)
}

struct Steps {
    words: &'static Words,
    all: Vec<Step>,
}

impl Steps {
    fn between(
        &mut self,
        from: Lane,
        to: Lane,
        at: Option<UnixTime>,
        what: &'static str,
        details: Vec<(&'static str, String)>,
    ) {
        self.all.push(Step { from, to, at, what, details });
    }

    fn signed(&mut self, lane: Lane, what: &'static str, message: &MessageRecord, signer: String) {
        self.between(lane, lane, message.signed_at, what, vec![(self.words.signer, signer)]);
    }

    fn logged(&mut self, record: &StoredRecord, what: &'static str) {
        let number = vec![(self.words.record, record.sequence.to_string())];
        self.between(Lane::Own, Lane::Own, Some(record.time), what, number);
    }

    fn outcome(&mut self, to: Lane, outcome: Option<&OutcomeRecord>) {
        let Some(outcome) = outcome else { return };
        let code = outcome.fault_code.clone().map(|code| (self.words.state, code));
        let status = outcome.status.map(|status| ("HTTP", status.to_string()));
        self.between(Lane::Own, to, None, self.words.refused, code.into_iter().chain(status).collect());
    }

    fn stamped(&mut self, sequence: u64, stamp: Option<&TimestampRecord>) {
        let Some(stamp) = stamp else { return };
        let details =
            vec![(self.words.record, sequence.to_string()), (self.words.by, stamp.authority.clone())];
        self.between(Lane::Own, Lane::Own, Some(stamp.time), self.words.stamps, details);
    }
}

fn asked(words: &'static Words, message: &MessageRecord) -> Vec<(&'static str, String)> {
    let known = [
        (words.client, Some(message.client.to_string())),
        (words.service, Some(message.service.to_string())),
        (words.user, message.user_id.clone()),
        (words.issue, message.issue.clone()),
        (words.represented, message.represented_party.clone()),
        (words.purpose, message.circumstances.purpose.clone()),
        (words.agreement, message.circumstances.agreement.clone()),
        (words.jurisdiction, message.circumstances.jurisdiction.map(|digest| digest.hex())),
        (words.data_class, message.circumstances.data_class.clone()),
        (words.policy, message.circumstances.policy_decision.clone()),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn peer(words: &'static Words, message: &MessageRecord) -> Vec<(&'static str, String)> {
    message.peer_server.iter().map(|server| (words.server, server.to_string())).collect()
}
