//! The consumer's side of a case: what the recorded request makes our consumer's gateway send, and what the information
//! system gets for the recorded answer.
//!
//! The original's HTTP library has re-written some headers before they were signed (XROAD-FACTS 7.1). We sign them as
//! they came, so the recorded answer belongs to another request than ours. The request is then put again, as the library
//! has written it: byte for byte the recorded one is signed, and the recorded answer must be taken.

use bytes::Bytes;
use gateway::fault::soap;
use gateway::message::rest::RestRequest;
use gateway::message::transport::{Direction, header};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::compare::{body, fault_code, header_lines, lines, of_today, signed, soap_message};
use super::recording::{Case, Http, Parts, latin1};
use super::world::{World, read_message, said};
use super::{SideJudged, proof};

/// Puts the recorded request through our consumer's gateway.
pub(super) async fn judge(world: &World, case: &Case) -> Result<Option<SideJudged>, String> {
    let Some(raw) = case.file("client-request.http") else { return Ok(None) };
    let expected = case.http("client-response.http").ok_or("no answer to the client is recorded")?;
    let recorded = case.sent("request");
    let message_part =
        |sent: &Http| Parts::of(Direction::Request, case.protocol(), sent).message.map(|part| part.content);
    let recorded_part = recorded.as_ref().and_then(message_part);

    let mut answer = ask(world, case, &raw, recorded_part.as_ref()).await?;
    let sent = world.played.sent();
    let mut differences = Vec::new();
    sent_differs(world, case, sent.as_ref(), recorded.as_ref(), &mut differences).await;

    let part = sent.as_ref().and_then(message_part);
    if differences.is_empty() && part != recorded_part {
        let again = as_signed(case, recorded.as_ref()).ok_or("the recorded request cannot be put again")?;
        answer = ask(world, case, &again, recorded_part.as_ref()).await?;
        let sent = world.played.sent();
        let part = sent.as_ref().and_then(message_part);
        if part != recorded_part {
            differences.push("signs something else, the request being put again as it was signed".to_owned());
        }
    }
    let outcome = answer_differs(case, &answer, &expected, &mut differences);
    Ok(Some(SideJudged { outcome, differences }))
}

/// Sends a request to the door, with the recorded ids and the recorded answer in store.
async fn ask(world: &World, case: &Case, raw: &[u8], recorded: Option<&Bytes>) -> Result<Http, String> {
    let recorded = recorded.and_then(|part| RestRequest::parse(part.clone()).ok());
    let soap_id = || case.sent("request").and_then(|sent| sent.header("x-road-request-id"));
    let ids = recorded.map_or_else(
        || soap_id().into_iter().collect(),
        |request| {
            let prefix = format!("{}-", request.header.service.client().member().instance());
            let message_id = request.header.message_id.strip_prefix(&prefix).unwrap_or_default();
            let given =
                case.http("client-request.http").is_some_and(|given| given.header("x-road-id").is_some());
            let own = if given { Vec::new() } else { vec![message_id.to_owned()] };
            std::iter::once(request.request_id).chain(own).collect()
        },
    );
    world.played.prepare(ids, case.received("response"));
    let mut stream = TcpStream::connect(world.door).await.map_err(said)?;
    stream.write_all(raw).await.map_err(said)?;
    let answer = read_message(&mut stream, case.client_verb() == "HEAD").await.map_err(said)?;
    answer.ok_or_else(|| format!("{}: the door gave no answer", case.name))
}

/// The request as the original's HTTP library had written it when it was signed.
fn as_signed(case: &Case, recorded: Option<&Http>) -> Option<Vec<u8>> {
    let parts = Parts::of(Direction::Request, case.protocol(), recorded?);
    let request = RestRequest::parse(parts.signed()?.clone()).ok()?;
    let has_id = case.http("client-request.http")?.header("x-road-id").is_some();
    let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut raw =
        format!("{} {}{query} HTTP/1.1\r\nHost: again\r\n", request.verb.as_str(), request.path).into_bytes();
    for (name, value) in &request.headers {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("x-road-request-id") || (is("x-road-id") && !has_id) {
            continue;
        }
        for piece in [name, &b": "[..], value, b"\r\n"] {
            raw.extend_from_slice(piece);
        }
    }
    if let Some(body) = parts.body() {
        raw.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        raw.extend_from_slice(body);
    } else {
        raw.extend_from_slice(b"\r\n");
    }
    Some(raw)
}

async fn sent_differs(
    world: &World,
    case: &Case,
    sent: Option<&Http>,
    recorded: Option<&Http>,
    differences: &mut Vec<String>,
) {
    let (sent, recorded) = match (sent, recorded) {
        (None, None) => return,
        (Some(_), None) => return differences.push("sends a message".to_owned()),
        (None, Some(_)) => return differences.push("sends nothing".to_owned()),
        (Some(sent), Some(recorded)) => (sent, recorded),
    };
    let parts = |message| Parts::of(Direction::Request, case.protocol(), message);
    let (ours, theirs) = (parts(sent), parts(recorded));
    differences.extend(signed(case.protocol(), &ours, &theirs));
    if case.is_soap() && ours.signed() != theirs.signed() {
        differences.push("signs other bytes".to_owned());
    }
    if !case.name.starts_with("batch-") && ours.has_chain != theirs.has_chain {
        differences.push("has another form of signature".to_owned());
    }
    let told = |message: &Http| -> Vec<String> {
        [
            header::MESSAGE_TYPE,
            header::HASH_ALGORITHM,
            header::ORIGINAL_CONTENT_TYPE,
            header::ORIGINAL_SOAP_ACTION,
            header::REQUEST_ID,
        ]
        .iter()
        .map(|name| format!("{name}:{}", message.header(name).unwrap_or_default().to_ascii_lowercase()))
        .collect()
    };
    differences.extend(lines("sends headers", &told(sent), &told(recorded)));
    differences.extend(proof::problem(world, Direction::Request, case.protocol(), sent).await);
}

fn answer_differs(case: &Case, ours: &Http, recorded: &Http, differences: &mut Vec<String>) -> String {
    let status = |answer: &Http| answer.status().unwrap_or_default();
    let code = error_code(ours);
    let outcome =
        code.as_ref().map_or_else(|| status(ours).to_string(), |code| format!("{}: {code}", status(ours)));
    let recorded_code = error_code(recorded);
    let from_http = case.facts.error_code.is_none() && status(recorded) == 400 && recorded_code.is_none();
    if from_http && case.received("request").is_none() {
        // Refused by the original's HTTP library, in its own words: only the status is ours to match.
        if status(ours) != 400 {
            differences.push(format!("answers {outcome}"));
        }
        return outcome;
    }
    if (status(ours), &code) != (status(recorded), &recorded_code) {
        differences.push(format!("answers {outcome}"));
        return outcome;
    }
    let content_type = |answer: &Http| {
        answer.header("content-type").map(|value| value.to_ascii_lowercase().replace("; ", ";"))
    };
    if code.is_some() {
        if content_type(ours) != content_type(recorded) {
            differences.push(format!("answers {:?}", content_type(ours)));
        }
        differences.extend(lines("answers with fields", &fields(ours), &fields(recorded)));
        // The text of a fault is each release's own, but a peer's fault is handed on as it is.
        let relayed = case.received("response").is_some_and(|answer| {
            fault_code(&answer, &Parts::of(Direction::Response, case.protocol(), &answer)).is_some()
        });
        if relayed {
            differences.extend(body("answers with a body", Some(&ours.body), Some(&recorded.body)));
        }
        return outcome;
    }
    if case.is_soap() {
        differences.extend(soap_message("answers", ours, recorded));
        return outcome;
    }
    let kept = |answer: &Http| -> Vec<String> {
        let has_date = recorded.header("date").is_some();
        header_lines(answer).into_iter().filter(|line| has_date || !line.starts_with("date:")).collect()
    };
    if ours.start.split_once(' ').map(|(_, rest)| rest)
        != recorded.start.split_once(' ').map(|(_, rest)| rest)
    {
        differences.push(format!("answers {:?} instead of {:?}", ours.start, recorded.start));
    }
    differences.extend(lines("answers", &kept(ours), &kept(recorded)));
    differences.extend(body("answers with a body", Some(&ours.body), Some(&recorded.body)));
    outcome
}

/// The fields of a fault in JSON.
fn fields(answer: &Http) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    json.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

/// The code of an answer that is a fault.
fn error_code(answer: &Http) -> Option<String> {
    let header = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"x-road-error"));
    match header {
        Some((_, code)) => Some(of_today(&latin1(code))),
        None => soap::parse(&answer.body).ok().map(|fault| of_today(&fault.code)),
    }
}
