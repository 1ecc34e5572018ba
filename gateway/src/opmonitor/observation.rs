//! What the story of an exchange says of it on its way: a line a step.
//!
//! An observation is handed in when it is dropped, so that an exchange that is refused, fails or is given up has its record
//! too. Without monitoring nothing is gathered. Durations are measured, not subtracted: a clock that is set meanwhile
//! makes no exchange longer.
//!
//! Specification: PR-OPMON 2. Not here: what becomes of it (`recorder`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use conf::identifier::ServerId;
use conf::snapshot::GlobalConf;
use tokio::time::Instant;

use super::Shared;
use super::record::{Asked, ExchangeRecord, ServerType, Size};
use super::trace_context::{TraceContext, passed_on};
use crate::fault::Fault;
use crate::message::{Request, Response};

/// The steps of the two stories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the stories say what happens in them")]
pub enum Step {
    Read,
    Know,
    Route,
    Connect,
    Stream,
    Sign,
    Log,
    Release,
    Wait,
    Receive,
    Verify,
    Match,
    LogAnswer,
    Reply,
    Check,
    Trust,
    Authorise,
    Call,
}

impl Step {
    /// Its name in measurements and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Know => "know",
            Self::Route => "route",
            Self::Connect => "connect",
            Self::Stream => "stream",
            Self::Sign => "sign",
            Self::Log => "log",
            Self::Release => "release",
            Self::Wait => "wait",
            Self::Receive => "receive",
            Self::Verify => "verify",
            Self::Match => "match",
            Self::LogAnswer => "log answer",
            Self::Reply => "reply",
            Self::Check => "check",
            Self::Trust => "trust",
            Self::Authorise => "authorise",
            Self::Call => "call",
        }
    }
}

/// An exchange, as far as it has come.
pub struct Observation(Option<Box<Open>>);

/// An observation that somebody wants.
struct Open {
    to: Arc<Shared>,
    record: ExchangeRecord,
    began: Instant,
    steps: Vec<(Step, Duration)>,
    trace: Option<TraceContext>,
    peer: Option<ServerId>,
    answered: bool,
}

/// An observation that is complete.
#[derive(Debug)]
pub(super) struct Observed {
    /// The record.
    pub(super) record: ExchangeRecord,
    /// How it ended: `answered`, `fault`, or `given up` before either.
    pub(super) outcome: &'static str,
    /// The steps with their beginnings, from the beginning of all.
    pub(super) steps: Vec<(Step, Duration)>,
    /// How long it took.
    pub(super) took: Duration,
    /// The server on the other side, as authenticated.
    pub(super) peer: Option<ServerId>,
    /// What it is part of, while traces are exported.
    pub(super) trace: Option<TraceContext>,
}

impl Observation {
    /// Of an exchange that nobody observes.
    pub(super) const fn unwanted() -> Self {
        Self(None)
    }

    pub(super) fn begin(to: Arc<Shared>, side: ServerType, now: UnixTime) -> Self {
        let (record, steps) = (ExchangeRecord::new(side, now), Vec::with_capacity(16));
        Self(Some(Box::new(Open {
            to,
            record,
            began: Instant::now(),
            steps,
            trace: None,
            peer: None,
            answered: false,
        })))
    }

    /// A step begins, and the one before it has ended.
    pub fn step(&mut self, step: Step) {
        let Some(open) = &mut self.0 else { return };
        let at = open.began.elapsed();
        open.steps.push((step, at));
        let (now, record) = (open.record.request_in + at, &mut open.record);
        match (record.server_type, step) {
            (ServerType::Client, Step::Stream) | (ServerType::Producer, Step::Call) => {
                record.request_out = Some(now);
            }
            (ServerType::Client, Step::Receive) | (ServerType::Producer, Step::Stream) => {
                record.response_in = Some(now);
            }
            (ServerType::Client, Step::Reply) | (ServerType::Producer, Step::Release) => {
                record.response_out = Some(now);
            }
            _ => {}
        }
    }

    /// The headers that came with the request: they may say which trace it is part of.
    pub fn came_with(&mut self, headers: &[(Bytes, Bytes)]) {
        if let Some(open) = self.0.as_mut().filter(|open| open.to.exports_traces()) {
            open.trace = TraceContext::of(headers);
        }
    }

    /// What is to be told onwards about the trace: that our own span is the parent of what follows, or, where we make none,
    /// what came.
    pub fn trace(&self, came: &[(Bytes, Bytes)]) -> Vec<(&'static str, String)> {
        let trace = self.0.as_ref().and_then(|open| open.trace.as_ref());
        trace.map_or_else(|| passed_on(came), |trace| trace.headers().collect())
    }

    /// What is asked, of a request that could be read, for a service that is `described` by OpenAPI, or not.
    pub fn asked(&mut self, request: &Request, described: bool, conf: &GlobalConf, own: &ServerId) {
        let Some(open) = &mut self.0 else { return };
        let header = request.header();
        let (method, path) = match request {
            Request::Rest(request) => (Some(request.verb.as_str()), Some(request.service_path.decided())),
            Request::Soap(_) => (None, None),
        };
        let provider = open.record.server_type == ServerType::Producer;
        // A gateway that makes no spans of its own hands on those of REST in the message.
        if let (Some(trace), Request::Rest(request)) = (&mut open.trace, request)
            && trace.parent.is_none()
        {
            *trace = TraceContext::of(&request.headers).unwrap_or_else(|| trace.clone());
        }
        open.record.asked = Some(Asked {
            protocol: request.protocol(),
            described,
            client: header.client.clone(),
            service: header.service.clone(),
            message_id: header.message_id.clone(),
            request_id: request.request_id().to_owned(),
            user_id: header.user_id.clone(),
            issue: header.issue.clone(),
            represented_party: header.represented_party.clone(),
            method,
            path: path.filter(|_| provider).map(|path| path.replace('\0', "%2F")),
        });
        open.record.request = Some(Size { message: length(request.part().content), ..Size::default() });
        let address = address(conf, own);
        *(if provider { &mut open.record.service_address } else { &mut open.record.client_address }) =
            address;
    }

    /// The gateway on the other side.
    pub fn peer(&mut self, conf: &GlobalConf, peer: &ServerId) {
        let Some(open) = self.0.as_mut().filter(|open| open.peer.as_ref() != Some(peer)) else { return };
        open.peer = Some(peer.clone());
        let provider = open.record.server_type == ServerType::Producer;
        let address = address(conf, peer);
        *(if provider { &mut open.record.client_address } else { &mut open.record.service_address }) =
            address;
    }

    /// How long the request is, with all that follows it.
    pub fn request(&mut self, size: Size) {
        if let Some(open) = &mut self.0 {
            open.record.request = Some(size);
        }
    }

    /// The answer, and how long it is. It is no success when its status is one of an error, as with X-Road.
    pub fn response(&mut self, response: &Response, size: Size) {
        let Some(open) = &mut self.0 else { return };
        open.record.response = Some(size);
        open.record.status = match response {
            Response::Rest(response) => Some(response.status),
            Response::Soap(_) => None,
        };
    }

    /// It ended with an answer.
    pub fn answered(&mut self) {
        if let Some(open) = &mut self.0 {
            open.answered = true;
            open.record.succeeded = open.record.status.is_none_or(|status| !(400..=599).contains(&status));
        }
    }

    /// It ended with a fault.
    pub fn failed(&mut self, fault: &Fault) {
        if let Some(open) = &mut self.0 {
            open.record.fault = Some((fault.code(), fault.text().to_owned()));
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { to, mut record, began, steps, trace, peer, answered } = *open;
        let took = began.elapsed();
        let now = record.request_in + took;
        record.response_out.get_or_insert(now);
        let outcome = match &record.fault {
            Some(_) => "fault",
            None if answered => "answered",
            None => "given up",
        };
        to.take(Observed { record, outcome, steps, took, peer, trace });
    }
}

fn address(conf: &GlobalConf, server: &ServerId) -> Option<String> {
    conf.server(server)?.address.clone()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
