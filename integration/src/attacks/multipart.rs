//! The message as a multipart (T14): parts that are missing, doubled, out of order, renamed, and framing that is broken;
//! and content types that are read in two ways (T15). Every one is made from a signed message that the provider would
//! serve, or from an answer that the consumer would believe.
//!
//! What must come of an order of parts is said by [`order`], a model of X-Road's own reader, not by ours.

use std::sync::Arc;

use bytes::Bytes;
use gateway::message::transport::part;

use super::case::{Case, Expected, serving};
use crate::world::{BOUNDARY, Envelope, RECORDS, World};

/// What the service sees when a message is read all the same.
const SERVED: &str = "POST /base/x HTTP/1.1";
/// Its framing is broken.
const PARSING: &str = "service_failed.mime_parsing_failed";
/// It is not what it must be.
const TYPE: &str = "service_failed.invalid_content_type";

/// The parts of a request with a body, in their order.
const PARTS: [(&str, &str); 6] = [
    ("OCSP response", part::OCSP_RESPONSE),
    ("message", part::REST_REQUEST),
    ("body", part::REST_BODY),
    ("chain result", part::HASH_CHAIN_RESULT),
    ("chain", part::HASH_CHAIN),
    ("signature", part::SIGNATURE),
];

/// What X-Road's reader says of parts in this order; `None` when it finds nothing wrong with the order.
fn order(parts: &[(String, Bytes)]) -> Option<&'static str> {
    let (mut reached, mut known) = (0, false);
    for (media_type, content) in parts {
        let place = PARTS.iter().position(|(_, own)| own == media_type);
        if reached == PARTS.len() {
            return Some("service_failed.invalid_message");
        }
        match place {
            Some(0) if reached == 0 => known = true,
            Some(1) if reached == 0 && !content.starts_with(b"POST\r\n") => {
                return Some("service_failed.internal_error");
            }
            Some(1) if reached == 0 && !known => return Some("service_failed.ssl_authentication_failed"),
            Some(1) if reached == 0 => reached = 2,
            Some(place) if reached > 0 && place >= reached => reached = place + 1,
            _ => return Some("service_failed.invalid_content_type"),
        }
    }
    match reached {
        0 => Some("missing_rest"),
        reached if reached < PARTS.len() => Some("missing_signature"),
        _ => None,
    }
}

/// T14.
pub(super) async fn cases(world: &World) -> Vec<Case> {
    let good = good(world).await;
    let mut cases = Vec::new();
    orders(&good, &mut cases);
    ends(&good, &mut cases);
    delimiters(&good, &mut cases);
    heads(&good, &mut cases);
    cases
}

/// T15.
pub(super) async fn content_types(world: &World) -> Vec<Case> {
    let good = good(world).await;
    let mut cases = Vec::new();
    for (content_type, code) in CONTENT_TYPES {
        let name = format!("a peer sends {content_type:?}");
        let bytes = framed(&good, content_type, &good.body());
        cases.push(match *code {
            "" => Case::peer(name, bytes, Expected::Passes(SERVED.to_owned())),
            code => Case::peer(name, bytes, serving(code)),
        });
        let asked = match *code {
            "missing_rest" => "service_failed.missing_rest",
            code => code,
        };
        if !code.is_empty() {
            let content_type = (*content_type).to_owned();
            let change = move |envelope: &mut Envelope| envelope.headers[0].1.clone_from(&content_type);
            let change = Arc::new(change);
            let name = format!("a provider answers as {:?}", content_type_of(&change));
            let code = asked.trim_start_matches("service_failed.");
            let code =
                if code == "missing_rest" { code.to_owned() } else { format!("service_failed.{code}") };
            cases.push(Case::answered(name, move |plan| plan.envelope = change.clone(), &code));
        }
    }
    for (what, second) in
        [("the same", good.headers[0].1.as_str()), ("another", "multipart/mixed; boundary=other")]
    {
        let first = &good.headers[0].1;
        for (one, other) in [(first.as_str(), second), (second, first.as_str())] {
            let both = format!("{one}\r\nContent-Type: {other}");
            let name = format!("{what} Content-Type once more, {one:?} first");
            cases.push(Case::peer(name, framed(&good, &both, &good.body()), serving(PARSING)));
        }
    }
    cases
}

fn content_type_of(change: &Arc<impl Fn(&mut Envelope)>) -> String {
    let mut envelope = Envelope::new(Vec::new());
    change(&mut envelope);
    envelope.headers[0].1.clone()
}

/// Content types, and the code that each gets; none when it is read as it is meant.
const CONTENT_TYPES: &[(&str, &str)] = &[
    ("multipart/mixed; boundary=xtopRogue; boundary=other", PARSING),
    ("multipart/mixed; boundary=other; boundary=xtopRogue", PARSING),
    ("multipart/mixed; boundary=xtopRogue; boundary=xtopRogue", PARSING),
    ("multipart/mixed; boundary=xtopRogue; Boundary=other", PARSING),
    ("multipart/mixed; BOUNDARY=other; boundary=xtopRogue", PARSING),
    ("multipart/mixed; boundary=xtopRogue; boundary=\"other\"", PARSING),
    ("multipart/mixed; boundary*=utf-8''xtopRogue", PARSING),
    ("multipart/mixed; boundary*=utf-8''other; boundary=xtopRogue", PARSING),
    ("multipart/mixed; boundary=xtopRogue; boundary*=utf-8''other", PARSING),
    ("multipart/mixed; boundary*0=xtop; boundary*1=Rogue", PARSING),
    ("multipart/mixed; boundary*0*=xtop; boundary*1*=Rogue", PARSING),
    ("multipart/mixed; boundary=xtopRogue; filename*=utf-8''x", PARSING),
    ("multipart/mixed; boundary=\"xtopRogue", PARSING),
    ("multipart/mixed; boundary=xtopRogue\"", PARSING),
    ("multipart/mixed; boundary=\"xtopRogue\"x", PARSING),
    ("multipart/mixed; boundary=\"xtopRogue\" boundary=other", PARSING),
    ("multipart/mixed; boundary=xtopRogue boundary=other", PARSING),
    ("multipart/mixed; boundary=xtopRogue (a comment)", PARSING),
    ("multipart/mixed; boundary=xtopRogue, multipart/mixed; boundary=other", PARSING),
    ("multipart/mixed; boundary=xtop Rogue", PARSING),
    ("multipart/mixed; boundary =xtopRogue", PARSING),
    ("multipart/mixed; boundary= xtopRogue", PARSING),
    ("multipart/mixed; boundary", PARSING),
    ("multipart/mixed; boundary=", PARSING),
    ("multipart/mixed; =xtopRogue", PARSING),
    ("multipart/mixed; boundary:xtopRogue", PARSING),
    ("multipart/mixed boundary=xtopRogue", PARSING),
    ("multipart /mixed; boundary=xtopRogue", PARSING),
    ("multipart; boundary=xtopRogue", PARSING),
    ("", PARSING),
    ("multipart/mixed", TYPE),
    ("multipart/mixed; boundary=\"\"", TYPE),
    ("multipart/mixed; boundary=\"xtopRogue \"", TYPE),
    ("multipart/related; boundary=xtopRogue", TYPE),
    ("multipart/form-data; boundary=xtopRogue", TYPE),
    ("multipart/mixed+x; boundary=xtopRogue", TYPE),
    ("application/json; boundary=xtopRogue", TYPE),
    ("text/plain; boundary=xtopRogue", TYPE),
    ("multipart/mixed; boundary=other", "missing_rest"),
    ("multipart/mixed; boundary='xtopRogue'", "missing_rest"),
    ("multipart/mixed; boundary=XTOPROGUE", "missing_rest"),
    ("multipart/mixed; boundary=--xtopRogue", "missing_rest"),
    ("multipart/mixed; boundary=\"xtopRogue\"", ""),
    ("multipart/mixed; boundary=\"xtop\\Rogue\"", ""),
    ("MULTIPART/MIXED; BOUNDARY=xtopRogue", ""),
    ("multipart/mixed;;boundary=xtopRogue;", ""),
    ("multipart/mixed;boundary=xtopRogue;charset=x", ""),
];

async fn good(world: &World) -> Envelope {
    let target = format!("{RECORDS}/x");
    world.rogue.request(&world.trust, "POST", &target, "spoilt", Some(b"the body of it")).await
}

/// The request whose body is this, of this type; after its answer the connection ends.
fn framed(good: &Envelope, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "POST / HTTP/1.1\r\nHost: peer\r\nConnection: close\r\nContent-Length: {}\r\nContent-Type: {content_type}\r\n",
        body.len()
    );
    for (name, value) in good.headers.iter().skip(1) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// A body with another piece in place of one that stands in it once.
fn with(body: &[u8], from: &str, to: &[u8]) -> Vec<u8> {
    let at = body.windows(from.len()).position(|window| window == from.as_bytes()).expect("it is there");
    [&body[..at], to, &body[at + from.len()..]].concat()
}

/// Bodies that end too early, or too late.
fn ends(good: &Envelope, cases: &mut Vec<Case>) {
    let (content_type, body) = (&good.headers[0].1, good.body());
    let mut add = |name: String, body: &[u8], expected: Expected| {
        cases.push(
            Case::peer(name, framed(good, content_type, body), expected)
                .because("X-Road takes a message without its last delimiter; here it counts as cut off"),
        );
    };
    let passes = || Expected::Passes(SERVED.to_owned());
    for missing in 1..=17 {
        // The last line is CRLF, two hyphens, boundary, two hyphens, CRLF; what follows it is nobody's.
        let expected = if missing <= 2 { passes() } else { serving(PARSING) };
        add(format!("the last {missing} bytes are missing"), &body[..body.len() - missing], expected);
    }
    for (name, media_type) in &PARTS[2..] {
        let head = format!("content-type: {media_type}\r\n\r\n");
        let at = body.windows(head.len()).position(|window| window == head.as_bytes()).unwrap();
        for more in [0, 5, head.len() - 2, head.len(), head.len() + 7] {
            add(format!("cut off {more} bytes into {name}"), &body[..at + more], serving(PARSING));
        }
    }
    add("bytes behind the last delimiter".to_owned(), &[&body, &b"behind"[..]].concat(), passes());
    add("bytes before the first delimiter".to_owned(), &[&b"before\r\n"[..], &body].concat(), passes());
    add("many bytes behind".to_owned(), &[&body[..], &vec![b'x'; 9000]].concat(), serving(PARSING));
    let before = [vec![b'x'; 9000], b"\r\n".to_vec(), body.clone()].concat();
    add("many bytes before".to_owned(), &before, serving(PARSING));
    add("nothing at all".to_owned(), b"", serving("missing_rest"));
    add(
        "the last delimiter alone".to_owned(),
        format!("--{BOUNDARY}--\r\n").as_bytes(),
        serving("missing_rest"),
    );
}

/// Delimiters that are almost some.
fn delimiters(good: &Envelope, cases: &mut Vec<Case>) {
    let (content_type, body) = (&good.headers[0].1, good.body());
    let mut add = |name: String, body: &[u8], expected: Expected| {
        cases.push(Case::peer(name, framed(good, content_type, body), expected));
    };
    for (place, (name, media_type)) in PARTS.iter().enumerate().skip(1) {
        let whole = format!("\r\n--{BOUNDARY}\r\ncontent-type: {media_type}");
        let behind = format!("\r\ncontent-type: {media_type}");
        let delimiter = |text: String| with(&body, &whole, format!("{text}{behind}").as_bytes());
        add(
            format!("letters behind the delimiter of {name}"),
            &delimiter(format!("\r\n--{BOUNDARY}x")),
            serving(PARSING),
        );
        add(
            format!("one hyphen behind the delimiter of {name}"),
            &delimiter(format!("\r\n--{BOUNDARY}-")),
            serving(PARSING),
        );
        add(
            format!("blanks behind the delimiter of {name}"),
            &delimiter(format!("\r\n--{BOUNDARY} \t")),
            Expected::Passes(SERVED.to_owned()),
        );
        if place == 5 {
            add(
                "a line feed before the delimiter of the signature".to_owned(),
                &delimiter(format!("\n--{BOUNDARY}")),
                serving("missing_signature"),
            );
            add(
                "one hyphen before the delimiter of the signature".to_owned(),
                &delimiter(format!("\r\n-{BOUNDARY}")),
                serving("missing_signature"),
            );
        }
    }
    let spoilt = |more: &str| with(&body, "the body of it", more.as_bytes());
    add(
        "a delimiter in the body".to_owned(),
        &spoilt(&format!("the body\r\n--{BOUNDARY}\r\n\r\nof it")),
        serving(TYPE),
    );
    add(
        "a delimiter with more behind it in the body".to_owned(),
        &spoilt(&format!("the body\r\n--{BOUNDARY}2\r\n\r\nof it")),
        serving(PARSING),
    );
    add(
        "the last delimiter in the body".to_owned(),
        &spoilt(&format!("the body\r\n--{BOUNDARY}--\r\n\r\nof it")),
        serving("missing_signature"),
    );
    let feeds = String::from_utf8_lossy(&body).replace("\r\n--", "\n--");
    add("line feeds before all delimiters".to_owned(), feeds.as_bytes(), serving("missing_rest"));
}

/// Heads of parts that are none.
fn heads(good: &Envelope, cases: &mut Vec<Case>) {
    let (content_type, body) = (&good.headers[0].1, good.body());
    let mut add = |name: String, body: &[u8], expected: Expected| {
        cases.push(Case::peer(name, framed(good, content_type, body), expected));
    };
    for (name, media_type) in PARTS {
        let head = format!("content-type: {media_type}\r\n\r\n");
        let spoilt = |to: String| with(&body, &head, to.as_bytes());
        let plain = format!("content-type: {media_type}\r\n");
        add(format!("{name} without a head"), &spoilt("\r\n".to_owned()), serving(TYPE));
        add(
            format!("{name} with an empty type"),
            &spoilt("content-type:\r\n\r\n".to_owned()),
            serving(PARSING),
        );
        for (what, line) in [
            ("a line that is folded", "x: a\r\n b\r\n"),
            ("a line without a colon", "nonsense\r\n"),
            ("a name with a blank", "x y: a\r\n"),
            ("a line without a name", ": a\r\n"),
            ("its type twice", plain.as_str()),
            ("another type as well", "Content-Type: text/plain\r\n"),
            ("a NUL", "x: \0\r\n"),
            ("an escape character", "x: \u{1b}[2J\r\n"),
            ("a bare line feed", "x: a\nb: c\r\n"),
            ("a bare carriage return", "x: a\rb: c\r\n"),
        ] {
            add(format!("{name} with {what}"), &spoilt(format!("{plain}{line}\r\n")), serving(PARSING));
        }
        let long = format!("{plain}x: {}\r\n\r\n", "a".repeat(9000));
        add(format!("{name} with a head of 9,000 bytes"), &spoilt(long), serving(PARSING));
        let harmless = format!("x-own: 1\r\nCONTENT-TYPE: {media_type}; a=b\r\n\r\n");
        add(format!("{name} with more in its head"), &spoilt(harmless), Expected::Passes(SERVED.to_owned()));
    }
}

/// All orders that one move makes: a part removed, doubled, exchanged with another, named as another.
fn orders(good: &Envelope, cases: &mut Vec<Case>) {
    let mut add = |name: String, change: &dyn Fn(&mut Envelope)| {
        let mut envelope = good.clone();
        change(&mut envelope);
        if let Some(code) = order(&envelope.parts) {
            cases.push(Case::message(name, envelope, serving(code)));
        }
    };
    for (one, (name, _)) in PARTS.iter().enumerate() {
        add(format!("no {name}"), &|e| drop(e.parts.remove(one)));
        add(format!("two of {name}"), &|e| e.parts.insert(one, e.parts[one].clone()));
        add(format!("{name} once more at the end"), &|e| e.parts.push(e.parts[one].clone()));
        add(format!("{name} as an unknown part"), &|e| e.parts[one].0 = "application/unheard-of".to_owned());
        add(format!("nothing behind {name}"), &|e| e.parts.truncate(one + 1));
        add(format!("an unknown part before {name}"), &|e| {
            e.parts.insert(one, ("application/unheard-of".to_owned(), "x".into()));
        });
        for (other, (with, media_type)) in PARTS.iter().enumerate() {
            if one < other {
                add(format!("{name} and {with} exchanged"), &|e| e.parts.swap(one, other));
            }
            if one != other {
                add(format!("{name} moved to {with}"), &|e| {
                    let part = e.parts.remove(one);
                    e.parts.insert(other, part);
                });
                add(format!("{name} named as {with}"), &|e| e.parts[one].0 = (*media_type).to_owned());
            }
        }
    }
}
