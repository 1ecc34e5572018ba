//! What is compared, and what may differ: see XROAD-FACTS 7. Ids are made equal beforehand, so they are compared, too.

use bytes::Bytes;
use gateway::fault::soap;
use gateway::message::transport::is_whole_fault;

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
