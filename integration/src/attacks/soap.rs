//! SOAP of an information system that says two things, or leads elsewhere (T42).

use super::case::{Case, Evidence, Expected};
use crate::world::{Ask, World, envelope};

pub(super) const TEXT: &str = "text/xml; charset=utf-8";

/// What an information system posts.
pub(super) fn post(content_type: &str, body: impl Into<Vec<u8>>) -> Ask {
    Ask::post("/", body.into()).without("X-Road-Client").header("Content-Type", content_type)
}

fn code(code: &str) -> Expected {
    Expected::Code(200, code.to_owned())
}

/// T42.
pub(super) async fn cases(_world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for action in [
        "no-quotes",
        "\"",
        "\"half",
        "half\"",
        "'single'",
        "\"a b\"",
        "\"a\"b\"",
        "\"%2\"",
        "\"{a}\"",
        "\"a\\b\"",
        "\"\u{e9}\"",
        "\"a\", \"b\"",
    ] {
        let ask = post(TEXT, good()).header("SOAPAction", action);
        cases.push(Case::ask(format!("SOAPAction: {action}"), ask, code("client.invalid_soap_action")));
    }
    for (what, from, to, expected) in CHANGED {
        let text = good();
        assert!(text.contains(from), "{from} is not in the envelope");
        cases.push(Case::ask(*what, post(TEXT, text.replacen(from, to, 1)), code(expected)));
    }
    for href in [
        "http://127.0.0.1/x",
        "https://example.org/x",
        "file:///etc/passwd",
        "ftp://x/",
        "//x",
        "/x",
        "x",
        "",
        "CID:a",
        "cid",
        "data:,x",
        "jar:file:///x!/y",
        "#x",
    ] {
        let include = format!(
            "<people><i:Include xmlns:i=\"http://www.w3.org/2004/08/xop/include\" href=\"{href}\"/></people>"
        );
        let ask = post(TEXT, good().replace("<people/>", &include));
        cases.push(Case::ask(format!("included: {href:?}"), ask, code("client.invalid_soap")));
    }
    for (content_type, expected) in [
        ("application/json", "client.invalid_content_type"),
        ("application/soap+xml", "client.invalid_content_type"),
        ("text/html", "client.invalid_content_type"),
        ("text/plain", "client.invalid_content_type"),
        ("application/x-www-form-urlencoded", "client.invalid_content_type"),
        ("multipart/form-data; boundary=a", "client.invalid_content_type"),
        ("multipart/mixed; boundary=a", "client.invalid_content_type"),
        ("multipart/related", "client.invalid_content_type"),
        ("multipart/related; boundary=\"\"", "client.invalid_content_type"),
        ("multipart/related; boundary=a; boundary=b", "client.mime_parsing_failed"),
        ("multipart/related; boundary*=utf-8''a", "client.mime_parsing_failed"),
        ("text/xml; charset=utf-8; charset=utf-7", "client.mime_parsing_failed"),
        ("text", "client.mime_parsing_failed"),
        ("", "client.mime_parsing_failed"),
    ] {
        cases.push(Case::ask(
            format!("Content-Type: {content_type}"),
            post(content_type, good()),
            code(expected),
        ));
    }
    for verb in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND"] {
        if verb != "HEAD" {
            let ask = Ask::with(verb, "/").without("X-Road-Client");
            cases.push(Case::ask(format!("{verb} /"), ask, code("client.invalid_http_method")));
        }
    }
    for (what, service, version, expected) in [
        ("a service that nobody offers", "nothing", "", "server.serverproxy.unknown_service"),
        ("a service without its version", "people", "", "server.serverproxy.unknown_service"),
        ("a service in another version", "people", "v2", "server.serverproxy.unknown_service"),
        ("a service in other letters", "People", "v1", "server.serverproxy.unknown_service"),
        ("a service of REST", "records", "", "server.serverproxy.service_type"),
        ("a service without rights", "shut", "", "server.serverproxy.access_denied"),
    ] {
        let text = envelope((service, version), "refused", "", &format!("<{service}/>"));
        cases.push(Case::ask(what, post(TEXT, text), code(expected)).leaves(Evidence::Refused));
    }
    cases
}

fn good() -> String {
    envelope(("people", "v1"), "soap", "", "<people/>")
}

/// Envelopes that say too little, too much, or two things.
const CHANGED: &[(&str, &str, &str, &str)] = &[
    ("no client", "x:client ", "x:other ", "client.invalid_soap"),
    ("no id", "<x:id>soap</x:id>", "", "client.missing_header_field"),
    ("an empty id", "<x:id>soap</x:id>", "<x:id></x:id>", "client.missing_header_field"),
    ("two ids", "<x:id>soap</x:id>", "<x:id>soap</x:id><x:id>other</x:id>", "client.duplicate_header_field"),
    (
        "two users",
        "<x:userId>U1</x:userId>",
        "<x:userId>U1</x:userId><x:userId>U2</x:userId>",
        "client.duplicate_header_field",
    ),
    (
        "no version of the protocol",
        "<x:protocolVersion>4.0</x:protocolVersion>",
        "",
        "client.missing_header_field",
    ),
    (
        "two versions of the protocol",
        "<x:protocolVersion>4.0</x:protocolVersion>",
        "<x:protocolVersion>4.0</x:protocolVersion><x:protocolVersion>4.0</x:protocolVersion>",
        "client.duplicate_header_field",
    ),
    ("version 3", ">4.0<", ">3.1<", "client.invalid_protocol_version"),
    ("version 5", ">4.0<", ">5.0<", "client.invalid_protocol_version"),
    ("version 40", ">4.0<", ">40<", "client.invalid_protocol_version"),
    ("a version in words", ">4.0<", ">four<", "client.invalid_protocol_version"),
    ("an empty version", ">4.0<", "><", "client.invalid_protocol_version"),
    ("a central service", "<x:service ", "<x:centralService/><x:service ", "client.invalid_xml"),
    ("a client of another kind", "\"SUBSYSTEM\"", "\"MEMBER\"", "client.invalid_xml"),
    ("a client of an unheard-of kind", "\"SUBSYSTEM\"", "\"KING\"", "client.invalid_xml"),
    ("a client of no kind", " id:objectType=\"SUBSYSTEM\"", "", "client.invalid_xml"),
    (
        "a client with two codes",
        "<id:memberCode>1001",
        "<id:memberCode>1</id:memberCode><id:memberCode>1001",
        "client.invalid_xml",
    ),
    ("a client without a class", "<id:memberClass>GOV</id:memberClass>", "", "client.invalid_xml"),
    (
        "a client with something more",
        "<id:memberClass>GOV",
        "<id:other/><id:memberClass>GOV",
        "client.invalid_xml",
    ),
    ("another service in the body", "<people/>", "<closed/>", "client.inconsistent_headers"),
    ("two services in the body", "<people/>", "<people/><people/>", "client.invalid_body"),
    ("nothing in the body", "<people/>", "", "client.invalid_body"),
    ("text in the body", "<people/>", "people", "client.invalid_body"),
    ("no body", "<s:Body><people/></s:Body>", "", "client.missing_body"),
    ("two bodies", "<s:Body>", "<s:Body><other/></s:Body><s:Body>", "client.duplicate_header_field"),
    (
        "SOAP 1.2",
        "http://schemas.xmlsoap.org/soap/envelope/",
        "http://www.w3.org/2003/05/soap-envelope",
        "client.invalid_soap",
    ),
    ("another root", "s:Envelope ", "s:Letter ", "client.invalid_soap"),
    (
        "another namespace of X-Road",
        "http://x-road.eu/xsd/xroad.xsd",
        "http://x-road.eu/xsd/other.xsd",
        "client.missing_header_field",
    ),
    (
        "a client that is not ours",
        "<id:memberCode>1001",
        "<id:memberCode>2002",
        "server.clientproxy.unknown_member",
    ),
    ("a client that nobody knows", "portal", "nobody", "server.clientproxy.unknown_member"),
    ("a provider that nobody knows", "registry", "nobody", "server.clientproxy.unknown_member"),
    (
        "a client with a certificate, in the clear",
        "portal",
        "pinned",
        "server.clientproxy.ssl_authentication_failed",
    ),
    ("a control character in the id", "<x:id>soap", "<x:id>so\u{86}ap", "client.invalid_xml"),
    (
        "a server of another provider",
        "<x:userId>",
        "<x:securityServer id:objectType=\"SERVER\"><id:xRoadInstance>DEMO</id:xRoadInstance><id:memberClass>GOV</id:memberClass><id:memberCode>1001</id:memberCode><id:serverCode>ss1</id:serverCode></x:securityServer><x:userId>",
        "server.clientproxy.invalid_security_server",
    ),
];
