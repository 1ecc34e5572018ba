//! Paths that rights and service could read in two ways (T18): at the consumer's door, and in a signed message.

use super::case::{Case, Evidence, Expected, asking, serving};
use crate::world::{Ask, PORTAL, RECORDS, World};

/// Service paths that lead somewhere else for somebody.
pub const HAZARDS: &[&str] = &[
    "/..",
    "/../",
    "/../x",
    "/./x",
    "/.",
    "/a/../b",
    "/a/../../b",
    "/a/./../b",
    "/a/..",
    "/a/.",
    "/%2e%2e/x",
    "/%2E%2E/x",
    "/%2e./x",
    "/.%2e/x",
    "/%2E/x",
    "/%2e",
    "/a/%2e%2e",
    "/..;/x",
    "/a/..;x=y/b",
    "/a/%2e%2e%3b/b",
    "/a/%2e%2e/%2e%2e/b",
    "/%2f",
    "/%2F",
    "/a%2fb",
    "/a%2Fb",
    "/%2f..%2f",
    "/..%2f",
    "/..%2F..%2Fx",
    "/%2e%2e%2fx",
    "/%2e%2e%2f%2e%2e%2fx",
    "/a%2f..%2fb",
    "/a%2f.%2fb",
    "/%2f%2fx",
    "/a//../b",
    "//..",
    "//../x",
    "/%5c",
    "/%5C",
    "/..%5c",
    "/..%5cx",
    "/%2e%2e%5cx",
    "/%5c..%5c",
    "/a%5cb",
    "/%00",
    "/a%00",
    "/a%00b",
    "/..%00/x",
    "/%00/../x",
    "/x%00.txt",
    "/%c0%ae%c0%ae/x",
    "/%c0%ae./x",
    "/%c0%af",
    "/%c1%9c",
    "/%e0%80%ae%e0%80%ae/x",
    "/%e0%80%af",
    "/%f0%80%80%af",
    "/%f8%80%80%80%af",
    "/%ff",
    "/%80",
    "/%c3",
    "/%ed%a0%80",
    "/%f4%90%80%80",
    "/a/%fe%ff/b",
];

/// Service paths that look odd, and mean one thing: decoded once they name no other place. The service sees them as
/// they were written.
pub const HARMLESS: &[&str] = &[
    "/%252e%252e/x",
    "/%252f",
    "/%255c",
    "/%2500",
    "/...",
    "/....",
    "/.../x",
    "/a;v=1/x",
    "/;/x",
    "/a//b",
    "//a",
    "/a/",
    "/%3f",
    "/a%3fb=c",
    "/%23",
    "/%25",
    "/%20",
    "/%0a",
    "/%0d%0aX:1",
    "/%7f",
    "/%e2%80%8b",
    "/%ef%bc%8f",
    "/%ef%bc%8e%ef%bc%8e/x",
    "/%e2%88%95",
    "/~root",
    "/*",
    "/**",
    "/$(id)",
    "/'or'1'='1",
    "/a?x=/../y",
    "/a?%2e%2e/",
    "/a?x=%00",
    "/a?b?c",
    "/a?",
];

/// What may not stand in a request target at all.
pub const CHARACTERS: &[&str] = &["/\\x", "/..\\x", "/a\"b", "/{x}", "/a|b", "/a^b"];

/// Targets that name no service.
const SHAPES: &[&str] = &[
    "/r1/DEMO/GOV/2002/registry",
    "/r1/DEMO/GOV/2002",
    "/r1/",
    "/r1/DEMO//2002/registry/records/x",
    "/r1//GOV/2002/registry/records/x",
    "/r1/DEMO/GOV/2002/registry/",
    "/r1/DEMO/GOV/2002/registry//x",
];

/// T18.
pub(super) async fn cases(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in HAZARDS {
        let ask = Ask::get(&format!("{RECORDS}{path}"));
        let expected = Expected::Code(400, "server.clientproxy.bad_request".to_owned());
        cases.push(
            Case::ask(format!("a client asks for {path}"), ask, expected)
                .because("X-Road passes it on, and decides on a normalised form of it"),
        );
        let mut message = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), path, None).await;
        message.replace(
            gateway::message::transport::part::REST_REQUEST,
            "/records/x\r\n",
            &format!("/records{path}\r\n"),
        );
        cases.push(Case::message(format!("a peer asks for {path}"), message, serving("access_denied")));
    }
    for path in HARMLESS {
        let ask = Ask::get(&format!("{RECORDS}{path}"));
        let expected = Expected::Passes(format!("GET /base{path} HTTP/1.1"));
        cases.push(Case::ask(format!("harmless: {path}"), ask, expected).leaves(Evidence::Exchange));
    }
    for path in CHARACTERS {
        let ask = Ask::get(&format!("{RECORDS}{path}"));
        let expected = Expected::Code(400, "server.clientproxy.bad_request".to_owned());
        cases.push(Case::ask(format!("characters: {path}"), ask, expected));
    }
    for path in ["/<x>", "/a`b", "/a%zz", "/a%", "/a%2", "/a%g0", "/a%2gb", "/a#b", "/%u002e%u002e/x"] {
        let target = format!("{RECORDS}{path}");
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\nX-Road-Client: {PORTAL}\r\n\r\n");
        cases.push(Case::plain(format!("no target of HTTP: {path}"), bytes, Expected::Bare(400)));
    }
    for path in ["/a?x=%zz", "/a?x=%", "/a?%2"] {
        let ask = Ask::get(&format!("{RECORDS}{path}"));
        let expected = Expected::Code(400, "server.clientproxy.bad_request".to_owned());
        cases.push(
            Case::ask(format!("an escape that is none: {path}"), ask, expected)
                .because("X-Road finds out at the provider, and says internal_error"),
        );
    }
    for target in SHAPES {
        cases.push(Case::ask(format!("no service: {target}"), Ask::get(target), asking("internal_error")));
    }
    cases
}
