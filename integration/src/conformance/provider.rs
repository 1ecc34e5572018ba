//! The provider's side of a case: what the recorded message makes our provider do.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use gateway::exchange::ports::{Agreed, Leaving, Peer};
use gateway::exchange::provider::{self, PeerCall, Reply};
use gateway::fault::Fault;
use gateway::message::multipart::Boundary;
use gateway::message::transport::Direction;
use gateway::message::{Beside, Protocol};

use super::compare::{body, fault_code, header_lines, lines, of_today, signed, soap_message};
use super::recording::{Case, Http, Parts};
use super::world::{Gathered, InMemory, World};
use super::{SideJudged, proof};

/// Puts the recorded message through our provider's gateway.
pub(super) async fn judge(world: &World, case: &Case) -> Result<Option<SideJudged>, String> {
    let Some(message) = case.received("request") else { return Ok(None) };
    world.service.prepare(case.file("provider-response.http").unwrap_or_default());
    let kept = Arc::new(Mutex::new(Answered::Nothing));
    let call = PeerCall {
        method: message.start.split(' ').next().unwrap_or_default().to_owned(),
        version: message.header("x-proxy-version"),
        peer: Peer {
            address: String::new(),
            certificates: vec![Bytes::copy_from_slice(world.shown.der())],
            agreed: Agreed::default(),
        },
        message_type: message.header("x-road-message-type"),
        content_type: message.header("content-type").unwrap_or_default(),
        hash_algorithm: message.header("x-hash-algorithm"),
        trace: Vec::new(),
        beside: Beside {
            request_id: message.header("x-road-request-id"),
            content_type: message.header("x-original-content-type"),
            action: message.header("x-original-soapaction"),
        },
        body: InMemory::boxed(message.body),
    };
    provider::serve(&world.provider, call, Box::new(KeptReply(Arc::clone(&kept)))).await;
    let answered =
        std::mem::replace(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner), Answered::Nothing);
    let asked = world.service.asked();

    let recorded = case.sent("response").ok_or_else(|| format!("{}: no answer is recorded", case.name))?;
    let mut differences = Vec::new();
    let outcome = answer_differs(world, case, &answered, &recorded, &mut differences).await?;
    service_differs(case, &asked, case.http("provider-request.http").as_ref(), &mut differences);
    Ok(Some(SideJudged { outcome, differences }))
}

async fn answer_differs(
    world: &World,
    case: &Case,
    answered: &Answered,
    recorded: &Http,
    differences: &mut Vec<String>,
) -> Result<String, String> {
    let recorded_parts = Parts::of(Direction::Response, case.protocol(), recorded);
    let expected = fault_code(recorded, &recorded_parts);
    let (code, parts) = match answered {
        Answered::Nothing => (Some("nothing".to_owned()), Parts::default()),
        Answered::Whole(code) => (Some(of_today(code)), Parts::default()),
        Answered::Parts(message) => {
            let parts = Parts::of(Direction::Response, case.protocol(), message);
            (fault_code(message, &parts), parts)
        }
    };
    match (&code, &expected) {
        (None, None) => {
            if parts.message.is_none() || recorded_parts.message.is_none() {
                return Err("an answer without a message part".to_owned());
            }
            differences.extend(signed(case.protocol(), &parts, &recorded_parts));
        }
        (Some(ours), expected) if Some(ours) != expected.as_ref() => {
            differences.push(format!("answers {ours}"))
        }
        (Some(_), _) => {}
        (None, Some(expected)) => differences.push(format!("answers, where {expected} is recorded")),
    }
    if code.is_none()
        && let Answered::Parts(message) = answered
    {
        differences.extend(proof::problem(world, Direction::Response, case.protocol(), message).await);
    }
    Ok(code.map_or_else(|| "answers".to_owned(), |code| format!("refuses: {code}")))
}

fn service_differs(case: &Case, asked: &[Http], recorded: Option<&Http>, differences: &mut Vec<String>) {
    let (ours, recorded) = match (asked, recorded) {
        ([], None) => return,
        ([], Some(_)) => return differences.push("does not call the service".to_owned()),
        ([_, ..], None) => return differences.push("calls the service".to_owned()),
        ([ours], Some(recorded)) => (ours, recorded),
        ([_, _, ..], Some(_)) => return differences.push("calls the service more than once".to_owned()),
    };
    if ours.start != recorded.start {
        differences.push(format!("asks {:?} instead of {:?}", ours.start, recorded.start));
    }
    match case.protocol() {
        Protocol::Rest => {
            differences.extend(lines("asks", &header_lines(ours), &header_lines(recorded)));
            differences.extend(body("asks with a body", Some(&ours.body), Some(&recorded.body)));
        }
        Protocol::Soap => {
            let action = |message: &Http| message.header("soapaction").unwrap_or_default();
            if action(ours) != action(recorded) {
                differences.push(format!("asks with the action {:?}", action(ours)));
            }
            differences.extend(soap_message("asks", ours, recorded));
        }
    }
}

/// What our provider has answered.
enum Answered {
    Nothing,
    Whole(String),
    Parts(Http),
}

struct KeptReply(Arc<Mutex<Answered>>);

impl KeptReply {
    fn keep(kept: &Mutex<Answered>, answered: Answered) {
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = answered;
    }
}

impl Reply for KeptReply {
    fn whole(self: Box<Self>, fault: &Fault) {
        Self::keep(&self.0, Answered::Whole(fault.code()));
    }

    fn begin(self: Box<Self>, boundary: &Boundary, _: Option<&str>) -> Box<dyn Leaving> {
        let content_type = (Bytes::from("content-type"), Bytes::from(boundary.content_type()));
        let kept = self.0;
        Gathered::boxed(move |body| {
            let message = Http { start: "HTTP/1.1 200 OK".to_owned(), headers: vec![content_type], body };
            Self::keep(&kept, Answered::Parts(message));
        })
    }
}
