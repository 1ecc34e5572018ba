//! Characters that no header, target or identifier may hold (T16), in each place where one could stand.

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use gateway::message::transport::part;

use super::case::{Case, Evidence, Expected, asking, serving};
use crate::world::{Ask, Envelope, Mode, PORTAL, RECORDS, World};

/// Headers that X-Road reads, and some that it carries.
const HEADERS: [&str; 9] = [
    "X-Road-Client",
    "X-Road-Id",
    "X-Road-UserId",
    "X-Road-Issue",
    "X-Road-Represented-Party",
    "X-Road-Security-Server",
    "X-Road-Request-Id",
    "Content-Type",
    "X-Own",
];

/// Every control character but the tab, which may stand in a header.
fn controls() -> impl Iterator<Item = u8> {
    (0..0x20).filter(|byte| *byte != b'\t').chain([0x7f])
}

/// T16.
pub(super) async fn cases(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for control in controls() {
        for name in HEADERS {
            let mut bytes =
                format!("GET {RECORDS}/x HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n").into_bytes();
            if name != "X-Road-Client" {
                bytes.extend_from_slice(format!("X-Road-Client: {PORTAL}\r\n").as_bytes());
            }
            bytes.extend_from_slice(format!("{name}: {PORTAL}").as_bytes());
            bytes.push(control);
            bytes.extend_from_slice(b"x\r\n\r\n");
            cases.push(Case::plain(format!("{control:#04x} in {name}"), bytes, Expected::Bare(400)));
        }
        let mut bytes = format!("GET {RECORDS}/x").into_bytes();
        bytes.push(control);
        let rest =
            format!("y HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nX-Road-Client: {PORTAL}\r\n\r\n");
        bytes.extend_from_slice(rest.as_bytes());
        cases.push(Case::plain(format!("{control:#04x} in the target"), bytes, Expected::Bare(400)));
    }
    identifiers(&mut cases);
    signed(world, &mut cases).await;
    answers(&mut cases);
    cases
}

/// Identifiers of information systems that hold what nobody sees, or what another reader splits.
fn identifiers(cases: &mut Vec<Case>) {
    for escape in ["%00", "%0a", "%0d%0a", "%1b", "%7f", "%c2%85", "%e2%80%8b", "%ef%bb%bf"] {
        let target = format!("/r1/DEMO/GOV/2002/registry/rec{escape}ords/x");
        let expected = Expected::Code(400, "server.clientproxy.bad_request".to_owned());
        cases.push(Case::ask(format!("{escape} in the service code"), Ask::get(&target), expected));
        let client = format!("DEMO/GOV/1001/por{escape}tal");
        let ask = Ask::get(&format!("{RECORDS}/x")).client(&client);
        cases.push(Case::ask(format!("{escape} in the client"), ask, asking("unknown_member")));
    }
    for (name, value) in [
        ("X-Road-Client", "DEMO/GOV/1001/%zz"),
        ("X-Road-Client", "DEMO/GOV/1001/%"),
        ("X-Road-Client", "DEMO/GOV/1001/%ff"),
        ("X-Road-Client", "DEMO/GOV/1001/a b"),
        ("X-Road-Client", "DEMO/GOV/1001/a\\b"),
        ("X-Road-Client", "DEMO/GOV"),
        ("X-Road-Client", "DEMO/GOV/1001/portal/x"),
        ("X-Road-Client", ""),
        ("X-Road-Client", "///"),
        ("X-Road-Security-Server", "DEMO/GOV/2002"),
        ("X-Road-Security-Server", "DEMO/GOV/2002/%zz"),
        ("X-Road-Represented-Party", "a/b/c"),
        ("X-Road-Represented-Party", "%ff"),
    ] {
        let ask = Ask::get(&format!("{RECORDS}/x"));
        let ask = if name == "X-Road-Client" { ask.client(value) } else { ask.header(name, value) };
        cases.push(Case::ask(format!("{name}: {value}"), ask, asking("internal_error")));
    }
}

/// A message whose sender has signed what no gateway would write.
async fn signed(world: &World, cases: &mut Vec<Case>) {
    const WRITTEN: &[(&str, &str, &str, &str)] = &[
        ("a line feed alone", "x-road-id:", "x-own:a\nb:c\r\nx-road-id:", ""),
        ("a carriage return alone", "x-road-id:", "x-own:a\rb:c\r\nx-road-id:", ""),
        ("a line without a colon", "x-road-id:", "nonsense\r\nx-road-id:", "service_failed.internal_error"),
        ("a line without a name", "x-road-id:", ":a\r\nx-road-id:", "service_failed.bad_request"),
        ("a name with a blank", "x-road-id:", "x y:a\r\nx-road-id:", "service_failed.bad_request"),
        ("an empty line", "x-road-id:", "\r\nx-road-id:", "service_failed.internal_error"),
        ("a NUL", "x-road-id:", "x-own:\0\r\nx-road-id:", "service_failed.bad_request"),
        ("an escape character", "x-road-id:", "x-own:\u{1b}[2J\r\nx-road-id:", "service_failed.bad_request"),
        ("a length", "x-road-id:", "Content-Length:0\r\nx-road-id:", "service_failed.internal_error"),
        (
            "a coding",
            "x-road-id:",
            "Transfer-Encoding:chunked\r\nx-road-id:",
            "service_failed.internal_error",
        ),
        ("a host", "x-road-id:", "Host:other\r\nx-road-id:", "service_failed.internal_error"),
        ("a connection", "x-road-id:", "Connection:close\r\nx-road-id:", "service_failed.internal_error"),
        ("an upgrade", "x-road-id:", "Upgrade:h2c\r\nx-road-id:", "service_failed.internal_error"),
        ("a trailer", "x-road-id:", "Trailer:x\r\nx-road-id:", "service_failed.internal_error"),
        ("TE", "x-road-id:", "TE:trailers\r\nx-road-id:", "service_failed.internal_error"),
        ("no last line end", "characters\r\n", "characters", "service_failed.internal_error"),
        ("no client", "X-Road-Client:", "X-Other:", "service_failed.invalid_client_identifier"),
        ("a method of its own", "GET\r\n", "HACK\r\n", "service_failed.internal_error"),
        ("a method in lower case", "GET\r\n", "get\r\n", "service_failed.internal_error"),
        ("two lines for the target", "/x\r\n", "/x\r\n/y\r\n", "service_failed.internal_error"),
        ("a blank in the target", "/x\r\n", "/x y\r\n", "service_failed.bad_request"),
        ("a version behind the target", "/x\r\n", "/x HTTP/1.1\r\n", "service_failed.bad_request"),
        ("a fragment", "/x\r\n", "/x#y\r\n", "service_failed.bad_request"),
        ("an absolute target", "/r1/DEMO", "http://other/r1/DEMO", "service_failed.internal_error"),
        ("another protocol", "/r1/DEMO", "/r2/DEMO", "service_failed.internal_error"),
        ("no service", "/registry/records/x", "/registry", "service_failed.internal_error"),
    ];
    for (what, from, to, code) in WRITTEN {
        let message = written(world, from, to).await;
        let name = format!("signed by a peer: {what}");
        cases.push(match *code {
            "" => Case::message(name, message, Expected::Passes("GET /base/x HTTP/1.1".to_owned())).because(
                "as X-Road reads it, it ends the line: two headers, both signed, and no line end in a value",
            ),
            code => Case::message(name, message, serving(code))
                .because("X-Road has no code for it, or carries it on"),
        });
    }
}

/// A message with a good signature over something that the gateway's own builder does not write.
pub(super) async fn written(world: &World, from: &str, to: &str) -> Envelope {
    let target = format!("{RECORDS}/x");
    let request = |spoilt: Option<Vec<u8>>| {
        let target = target.clone();
        async move {
            let signatory = &world.rogue.signatory;
            let spoil = move |digests: &mut gateway::message::digests::PartDigests| {
                if let Some(spoilt) = &spoilt {
                    digests.message = digest(DigestAlgorithm::Sha512, spoilt);
                }
            };
            world
                .rogue
                .request_signed(&world.trust, "GET", &target, "characters", None, signatory, spoil)
                .await
        }
    };
    let mut spoilt = request(None).await;
    spoilt.replace(part::REST_REQUEST, from, to);
    let content = spoilt.parts[spoilt.place(part::REST_REQUEST)].1.to_vec();
    let mut signed = request(Some(content.clone())).await;
    signed.change(part::REST_REQUEST, |part| *part = content);
    signed
}

/// A service that answers with what no header may hold: it was called, and nobody is told how it ended.
fn answers(cases: &mut Vec<Case>) {
    for (what, head) in [
        ("a NUL in a header", "HTTP/1.1 200 OK\r\nX: a\0b\r\n"),
        ("a bare carriage return in a header", "HTTP/1.1 200 OK\r\nX: a\rb\r\n"),
        ("an escape character in a header", "HTTP/1.1 200 OK\r\nX: a\u{1b}b\r\n"),
        ("a folded header", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n"),
        ("a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\n"),
        ("a name with a blank", "HTTP/1.1 200 OK\r\nX Y: a\r\n"),
        ("a blank before the colon", "HTTP/1.1 200 OK\r\nX : a\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n"),
        ("a length of letters", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n"),
        ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n"),
        ("no status", "HTTP/1.1 OK\r\n"),
        ("a status of four digits", "HTTP/1.1 2000 OK\r\n"),
        ("a status of letters", "HTTP/1.1 abc OK\r\n"),
        ("another protocol", "ICY 200 OK\r\n"),
        ("an upgrade", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n"),
        ("a NUL in the reason", "HTTP/1.1 200 O\0K\r\n"),
    ] {
        let bytes = format!("{head}\r\nbody").into_bytes();
        let doing = move |world: &World| {
            world.service.mode(Mode::Raw(bytes.clone()));
        };
        cases.push(
            Case::served(format!("a service answers with {what}"), doing, "io_error")
                .leaves(Evidence::BothInDoubt),
        );
    }
}
