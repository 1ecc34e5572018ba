//! XML that keeps a parser busy, leads it elsewhere, or is none (T13): in the SOAP message of an information system, in
//! the answer of a service, in a peer's signature and hash chain.

use std::sync::Arc;

use gateway::message::transport::part;

use super::case::{Answer, Case, Evidence, Expected, serving};
use super::soap::{self, TEXT};
use crate::world::{Ask, Mode, RECORDS, World, envelope};

/// What becomes of a document: its declaration, its text without it.
type Change = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// Changes in the text of a document with this root element; each makes it something that nobody may read.
fn changes(root: &str) -> Vec<(String, Change)> {
    let mut changes: Vec<(String, Change)> = Vec::new();
    for (what, begin) in BEFORE {
        let whole = format!("{begin}<{root}");
        let old = format!("<{root}");
        changes.push(((*what).to_owned(), Box::new(move |text| text.replacen(&old, &whole, 1).into_bytes())));
    }
    for (what, begin) in FRONT {
        changes
            .push(((*what).to_owned(), Box::new(move |text| format!("{begin}{}", bare(text)).into_bytes())));
    }
    for (what, inner) in INSIDE {
        changes.push((format!("inside: {}", what.escape_debug()), inside(root, (*inner).to_owned())));
    }
    for (what, inner) in [
        ("300 levels", format!("{}{}", "<a>".repeat(300), "</a>".repeat(300))),
        ("10,000 levels", format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000))),
        ("50,000 levels that never end", "<a>".repeat(50_000)),
        ("5,000 attributes", format!("<a{}/>", numbered(5_000, |n| format!(" a{n}=''")))),
        ("5,000 namespaces", format!("<a{}/>", numbered(5_000, |n| format!(" xmlns:a{n}='u'")))),
        ("5,000 namespaces within each other", {
            format!("{}{}", numbered(5_000, |n| format!("<a xmlns:a{n}='u{n}'>")), "</a>".repeat(5_000))
        }),
    ] {
        changes.push((what.to_owned(), inside(root, inner)));
    }
    changes
        .push(("bytes that are no UTF-8".to_owned(), Box::new(|text| [text.as_bytes(), b"\xff"].concat())));
    changes.push((
        "an overlong character".to_owned(),
        Box::new(move |text| {
            let end = text.rfind("</").unwrap();
            [&text.as_bytes()[..end], b"\xc0\xbc", &text.as_bytes()[end..]].concat()
        }),
    ));
    changes.push((
        "UTF-32".to_owned(),
        Box::new(|text| text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()),
    ));
    changes.push((
        "UTF-16 with half a character".to_owned(),
        Box::new(|text| {
            let mut bytes = vec![0xfe, 0xff];
            bytes.extend(bare(text).encode_utf16().flat_map(u16::to_be_bytes));
            bytes.pop();
            bytes
        }),
    ));
    changes.push((
        "the end is missing".to_owned(),
        Box::new(|text| text.trim_end().as_bytes()[..text.trim_end().len() - 1].to_vec()),
    ));
    changes.push((
        "it stands twice".to_owned(),
        Box::new(|text| [bare(text), bare(text)].concat().into_bytes()),
    ));
    changes.push(("nothing".to_owned(), Box::new(|_| Vec::new())));
    changes
}

/// Between the declaration and the root element.
const BEFORE: &[(&str, &str)] = &[
    ("a document type", "<!DOCTYPE x>"),
    ("an empty document type", "<!DOCTYPE x []>"),
    ("a document type of the network", "<!DOCTYPE x SYSTEM \"http://127.0.0.1/x.dtd\">"),
    ("a public document type", "<!DOCTYPE x PUBLIC \"-//x\" \"http://127.0.0.1/x.dtd\">"),
    ("an entity", "<!DOCTYPE x [<!ENTITY e 'x'>]>"),
    ("an entity from a file", "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"),
    ("an entity from the network", "<!DOCTYPE x [<!ENTITY e SYSTEM 'http://169.254.169.254/'>]>"),
    ("a parameter entity", "<!DOCTYPE x [<!ENTITY % p SYSTEM 'http://127.0.0.1/'> %p;]>"),
    (
        "a billion laughs",
        "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>]>",
    ),
    ("an entity of itself", "<!DOCTYPE x [<!ENTITY a '&a;'>]>"),
    ("an attribute list", "<!DOCTYPE x [<!ATTLIST x Id CDATA 'signature'>]>"),
    ("a document type in small letters", "<!doctype x>"),
    ("a document type behind a comment", "<!-- x --><!DOCTYPE x>"),
    ("a document type over two lines", "<!DOCTYPE\n x\n []>"),
    ("text before the root", "text"),
    ("an element before the root", "<a/>"),
    ("a second declaration", "<?xml version=\"1.0\"?>"),
    ("CDATA before the root", "<![CDATA[x]]>"),
    ("an entity before the root", "&amp;"),
];

/// In place of the declaration.
const FRONT: &[(&str, &str)] = &[
    ("a blank before the declaration", " <?xml version=\"1.0\"?>"),
    ("a line before the declaration", "\r\n<?xml version=\"1.0\"?>"),
    ("a NUL in front", "\0"),
    ("UTF-7", "<?xml version=\"1.0\" encoding=\"UTF-7\"?>"),
    ("UTF-7 in front", "+ADw-!DOCTYPE x+AD4-"),
    ("UCS-4", "<?xml version=\"1.0\" encoding=\"ISO-10646-UCS-4\"?>"),
    ("EBCDIC", "<?xml version=\"1.0\" encoding=\"IBM037\"?>"),
    ("Shift_JIS", "<?xml version=\"1.0\" encoding=\"Shift_JIS\"?>"),
    ("an unheard-of encoding", "<?xml version=\"1.0\" encoding=\"x-unheard-of\"?>"),
    ("an empty encoding", "<?xml version=\"1.0\" encoding=\"\"?>"),
    ("an encoding without its end", "<?xml version=\"1.0\" encoding=\"UTF-8?>"),
    ("two encodings", "<?xml version=\"1.0\" encoding=\"UTF-8\" encoding=\"UTF-7\"?>"),
    ("UTF-16 that is none", "<?xml version=\"1.0\" encoding=\"UTF-16\"?>"),
    ("a declaration without a version", "<?xml encoding=\"UTF-8\"?>"),
    ("a declaration in capitals", "<?XML version=\"1.0\"?>"),
];

/// As the first thing inside the root element.
const INSIDE: &[(&str, &str)] = &[
    ("&e;", "&e;"),
    ("&;", "&;"),
    ("& alone", "& "),
    ("&amp without end", "&amp"),
    ("&#0;", "&#0;"),
    ("&#x0;", "&#x0;"),
    ("&#8;", "&#8;"),
    ("&#xFFFE;", "&#xFFFE;"),
    ("&#xD800;", "&#xD800;"),
    ("&#x110000;", "&#x110000;"),
    ("&#99999999999999999999;", "&#99999999999999999999;"),
    ("&#-1;", "&#-1;"),
    ("&#x;", "&#x;"),
    ("a NUL", "\0"),
    ("an escape character", "\u{1b}"),
    ("a vertical tab", "\u{b}"),
    ("U+FFFE", "\u{fffe}"),
    ("an element that is not ended", "<a>"),
    ("an end without a beginning", "</a>"),
    ("ends in another order", "<a><b></a></b>"),
    ("an attribute twice", "<a b='1' b='2'/>"),
    ("an attribute twice by two prefixes", "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>"),
    ("an attribute without quotes", "<a b=1/>"),
    ("an attribute without value", "<a b/>"),
    ("a bracket in an attribute", "<a b='<'/>"),
    ("a prefix that nobody declared", "<nobody:a/>"),
    ("an attribute's prefix that nobody declared", "<a nobody:b=''/>"),
    ("another xml prefix", "<a xmlns:xml='urn:x'/>"),
    ("an xmlns prefix", "<a xmlns:xmlns='urn:x'/>"),
    ("the namespace of xmlns", "<a xmlns:b='http://www.w3.org/2000/xmlns/'/>"),
    ("a prefix for no namespace", "<a xmlns:b=''/>"),
    ("a namespace declared twice", "<a xmlns='urn:x' xmlns='urn:y'/>"),
    ("a prefix declared twice", "<a xmlns:b='urn:x' xmlns:b='urn:y'/>"),
    ("a comment with hyphens", "<!-- a -- b -->"),
    ("a comment without end", "<!-- "),
    ("CDATA without end", "<![CDATA["),
    ("the end of CDATA", "]]>"),
    ("an instruction called xml", "<?xml x?>"),
    ("an instruction whose name does not end", "<?a$b?>"),
    ("an instruction without end", "<?x "),
    ("a document type", "<!DOCTYPE x>"),
    ("an entity declaration", "<!ENTITY e 'x'>"),
    ("a name that is a number", "<1/>"),
    ("a name with a bracket", "<a<b/>"),
    ("two colons", "<a:b:c xmlns:a='u'/>"),
];

fn inside(root: &str, inner: String) -> Change {
    let root = format!("<{root}");
    Box::new(move |text| {
        let at = text.find(&root).unwrap();
        let at = at + text[at..].find('>').unwrap() + 1;
        format!("{}{inner}{}", &text[..at], &text[at..]).into_bytes()
    })
}

/// Without its declaration.
fn bare(text: &str) -> &str {
    match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or("", |(_, rest)| rest).trim_start(),
        None => text,
    }
}

fn numbered(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

/// T13.
pub(super) async fn cases(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let good = envelope(("people", "v1"), "xml", "", "<people/>");
    for (what, change) in changes("s:Envelope") {
        let ask = soap::post(TEXT, change(&good));
        let expected = Expected::Code(200, "client.invalid_soap".to_owned());
        cases.push(Case::ask(format!("a client's message: {what}"), ask, expected));
        cases.push(answer(&what, &change(&envelope(("people", "v1"), "xml", "", "<peopleResponse/>"))));
    }
    let message =
        world.rogue.request(&world.trust, "POST", &format!("{RECORDS}/x"), "xml", Some(b"body")).await;
    for (media_type, code) in [
        (part::SIGNATURE, "invalid_xml"),
        (part::HASH_CHAIN, "malformed_signature.malformed_hash_chain"),
        (part::HASH_CHAIN_RESULT, "malformed_signature.malformed_hash_chain"),
    ] {
        let text = String::from_utf8(message.parts[message.place(media_type)].1.to_vec()).unwrap();
        let root = bare(&text).trim_start_matches('<').split([' ', '>']).next().unwrap();
        for (what, change) in changes(root) {
            let mut message = message.clone();
            message.change(media_type, |part| *part = change(std::str::from_utf8(part).unwrap()));
            // What is well-formed and too deep is no signature.
            let code = match (code, what.as_str()) {
                ("invalid_xml", "300 levels" | "10,000 levels") => "malformed_signature",
                (code, _) => code,
            };
            let name = format!("{root} of a peer: {what}");
            cases.push(Case::message(name, message, serving(&format!("signature_verification.{code}"))));
        }
    }
    cases
}

/// The service is called, and answers so.
fn answer(what: &str, bytes: &[u8]) -> Case {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: {}\r\n\r\n", bytes.len());
    let answer = Arc::new([head.as_bytes(), bytes].concat());
    let good: Ask = soap::post(TEXT, envelope(("people", "v1"), "xml", "", "<people/>"));
    let mut case = Case::doing(
        format!("a service's answer: {what}"),
        move |world| {
            let (answer, good) = (Arc::clone(&answer), good.clone());
            Box::pin(async move {
                world.service.mode(Mode::Raw(answer.to_vec()));
                let reply = world.ask(&good).await;
                world.service.mode(Mode::Echo);
                Answer::of_reply(Some(reply))
            })
        },
        Expected::Code(200, "server.serverproxy.service_failed.invalid_soap".to_owned()),
    )
    .leaves(Evidence::BothInDoubt);
    case.calls = 1;
    case
}
