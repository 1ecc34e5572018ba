//! What is compared, and what may differ: see XROAD-FACTS 7. Ids are made equal beforehand, so they are compared, too.

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use gateway::fault::soap;
use gateway::message::Protocol;
use gateway::message::multipart::{ContentType, Event, Limits, Part, Reader};
use gateway::message::transport::is_whole_fault;
use roxmltree::Document;

use super::recording::{Http, Parts, latin1};

/// Headers whose names, and a few of their values, the original's HTTP library writes in its own way before they are
/// signed (7.1).
const NORMALISED: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "cookie",
];

/// Headers of one connection; who makes it writes them anew.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "transfer-encoding",
    "user-agent",
    "accept-encoding",
];

/// A code in the spelling of 7.8: `Server.ClientProxy.IOError` is `server.clientproxy.io_error`.
pub(super) fn of_today(code: &str) -> String {
    let mut spelled = String::new();
    for (n, piece) in code.split('.').enumerate() {
        if n > 0 {
            spelled.push('.');
        }
        let is_side = n == 1 && matches!(piece, "ClientProxy" | "ServerProxy");
        let mut before: Option<char> = None;
        let mut rest = piece.chars().peekable();
        while let Some(c) = rest.next() {
            let begins_word = c.is_ascii_uppercase()
                && before.is_some_and(|before| {
                    before.is_ascii_lowercase() || rest.peek().is_some_and(char::is_ascii_lowercase)
                });
            if begins_word && !is_side {
                spelled.push('_');
            }
            spelled.push(c.to_ascii_lowercase());
            before = Some(c);
        }
    }
    spelled
}

/// The code of a transport message that is a fault, or ends in one.
pub(super) fn fault_code(message: &Http, parts: &Parts) -> Option<String> {
    let content_type = message.header("content-type").unwrap_or_default();
    let fault = if is_whole_fault(&content_type) { Some(&message.body) } else { parts.fault.as_ref() };
    fault
        .map(|fault| soap::parse(fault).map_or_else(|error| error.to_string(), |fault| of_today(&fault.code)))
}

/// The lines of a message part, but for what the original's HTTP library writes in its own way.
pub(super) fn part_lines(part: &Bytes) -> Vec<String> {
    let text = String::from_utf8_lossy(part);
    let lines = text.split("\r\n").map(|line| match line.split_once(':') {
        Some((name, _)) if NORMALISED.contains(&name.to_ascii_lowercase().as_str()) => {
            line.to_ascii_lowercase()
        }
        _ => line.to_owned(),
    });
    lines.collect()
}

/// The headers of a message on the client's or the service's leg, but for those of the connection and their order among
/// each other.
pub(super) fn header_lines(message: &Http) -> Vec<String> {
    let mut lines: Vec<(String, String)> = message
        .headers
        .iter()
        .map(|(name, value)| (latin1(name).to_ascii_lowercase(), latin1(value)))
        .filter(|(name, _)| !FRAMING.contains(&name.as_str()))
        .map(|(name, value)| {
            let value =
                if name == "content-type" { value.replace("; ", ";").to_ascii_lowercase() } else { value };
            (name, value)
        })
        .collect();
    lines.sort_by(|(a, _), (b, _)| a.cmp(b));
    lines.into_iter().map(|(name, value)| format!("{name}:{value}")).collect()
}

/// How `ours` differs from what was recorded, in lines.
pub(super) fn lines(what: &str, ours: &[String], recorded: &[String]) -> Option<String> {
    if ours == recorded {
        return None;
    }
    let only = |these: &[String], others: &[String]| -> Vec<String> {
        these.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    let (more, less) = (only(ours, recorded), only(recorded, ours));
    Some(match (more.is_empty(), less.is_empty()) {
        (true, true) => format!("{what} in another order"),
        (false, true) => format!("{what} also {more:?}"),
        (true, false) => format!("{what} without {less:?}"),
        (false, false) => format!("{what} {more:?} instead of {less:?}"),
    })
}

/// How a body differs.
pub(super) fn body(what: &str, ours: Option<&Bytes>, recorded: Option<&Bytes>) -> Option<String> {
    let length =
        |body: Option<&Bytes>| body.map_or_else(|| "none".to_owned(), |body| format!("{} bytes", body.len()));
    (ours != recorded).then(|| format!("{what} of {} instead of {}", length(ours), length(recorded)))
}

/// How what is signed differs: of REST in lines; of SOAP in what an XML parser sees, because the original writes an
/// answer anew (7.13), and in its attachments.
pub(super) fn signed(protocol: Protocol, ours: &Parts, recorded: &Parts) -> Vec<String> {
    match protocol {
        Protocol::Rest => {
            let part = |parts: &Parts| parts.signed().map(part_lines).unwrap_or_default();
            lines("signs", &part(ours), &part(recorded))
                .into_iter()
                .chain(body("signs a body", ours.body(), recorded.body()))
                .collect()
        }
        Protocol::Soap => {
            let part = |parts: &Parts| parts.signed().map(|part| xml_lines(part)).unwrap_or_default();
            let attached = |parts: &Parts| parts.attachments.iter().flat_map(mime_lines).collect::<Vec<_>>();
            lines("signs", &part(ours), &part(recorded))
                .into_iter()
                .chain(lines("signs attachments", &attached(ours), &attached(recorded)))
                .collect()
        }
    }
}

/// How a SOAP message on the client's or the service's leg differs from what was recorded.
pub(super) fn soap_message(what: &str, ours: &Http, recorded: &Http) -> Option<String> {
    lines(what, &soap_lines(ours), &soap_lines(recorded))
}

/// A SOAP message in lines: content type but for charset and boundary, envelope, attachments.
fn soap_lines(message: &Http) -> Vec<String> {
    let content_type = message.header("content-type").unwrap_or_default();
    let Ok(parsed) = ContentType::parse(&content_type) else { return vec![content_type] };
    let mut found = vec![parsed.media_type().to_owned()];
    found.extend(["type", "start", "start-info"].map(|name| format!("{name}={:?}", parsed.parameter(name))));
    let Ok(mut reader) = Reader::of_type("multipart/related", &content_type, Limits::default()) else {
        found.extend(xml_lines(&message.body));
        return found;
    };
    reader.push(message.body.clone());
    let mut part: Option<Part> = None;
    let mut is_envelope = true;
    while let Ok(event) = reader.pull() {
        match event {
            Event::PartHead(head) => part = Some(Part { head, content: Bytes::new() }),
            Event::Data(data) => {
                part.iter_mut().for_each(|part| part.content = [&part.content[..], &data].concat().into());
            }
            Event::PartEnd => {
                let Some(part) = part.take() else { continue };
                if is_envelope {
                    found.extend(xml_lines(&part.content));
                } else {
                    found.extend(mime_lines(&part));
                }
                is_envelope = false;
            }
            Event::End => found.push("the end".to_owned()),
            Event::NeedMore => break,
        }
        if found.last().is_some_and(|line| line == "the end") {
            break;
        }
    }
    found
}

/// An attachment: its headers in some order, and the digest of its bytes.
fn mime_lines(part: &Part) -> Vec<String> {
    let content_type = part.head.content_type.as_ref().map_or("", ContentType::as_str);
    let mut found: Vec<String> =
        part.head.headers.iter().map(|(name, value)| format!("{}:{value}", name.to_lowercase())).collect();
    found.sort();
    found.insert(0, format!("content-type:{content_type}"));
    found.push(format!(
        "{} bytes, {}",
        part.content.len(),
        digest(DigestAlgorithm::Sha256, &part.content).hex()
    ));
    found
}

/// A document as a parser sees it: elements with their attributes, text, comments. White space around the request's hash
/// and at the end, and processing instructions, are the original's own.
fn xml_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| latin1(bytes));
    let text = text.trim_start_matches('\u{feff}');
    let Ok(document) = Document::parse(text) else { return vec![text.to_owned()] };
    let mut found: Vec<String> = Vec::new();
    for node in document.root_element().descendants() {
        if node.is_element() {
            let name = node.tag_name();
            let mut attributes: Vec<_> = node
                .attributes()
                .map(|attribute| {
                    format!("{:?}", (attribute.namespace(), attribute.name(), attribute.value()))
                })
                .collect();
            attributes.sort();
            let depth = node.ancestors().count();
            found.push(format!("{depth} {:?} {} {}", name.namespace(), name.name(), attributes.join(" ")));
        } else if node.is_comment() {
            found.push(format!("comment {:?}", node.text()));
        } else if let Some(text) = node.text().filter(|text| node.is_text() && !text.trim().is_empty()) {
            found.push(text.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_older_releases_are_spelled_as_today() {
        for (old, today) in [
            ("Server.ClientProxy.InternalError", "server.clientproxy.internal_error"),
            ("Server.ServerProxy.ServiceFailed.IOError", "server.serverproxy.service_failed.io_error"),
            ("Server.ServerProxy.MissingSoap", "server.serverproxy.missing_soap"),
            ("Client.X", "client.x"),
            ("server.serverproxy.unknown_service", "server.serverproxy.unknown_service"),
        ] {
            assert_eq!(of_today(old), today);
        }
    }

    #[test]
    fn lines_that_differ_are_told() {
        let line = |text: &str| text.to_owned();
        assert_eq!(lines("x", &[line("a")], &[line("a")]), None);
        assert_eq!(lines("x", &[line("a"), line("b")], &[line("a")]), Some(line("x also [\"b\"]")));
        assert_eq!(
            lines("x", &[line("b"), line("a")], &[line("a"), line("b")]),
            Some(line("x in another order"))
        );
    }
}
