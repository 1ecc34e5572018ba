//! SOAP through two gateways: messages, attachments, faults, and what is refused on the way.

#[cfg(test)]
mod tests {
    use integration::world::{Ask, Mode, Reply, Wishes, World, envelope};

    const TEXT: &str = "text/xml; charset=utf-8";
    const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";

    /// What may be asked for, and how it is said.
    struct Soap {
        service: &'static str,
        version: &'static str,
        id: String,
        fields: &'static str,
        body: String,
    }

    impl Soap {
        fn new(id: &str) -> Self {
            let body =
                "<find xmlns=\"urn:people\"><name>é &lt; &#13;<![CDATA[<x>]]></name><!-- kept --></find>";
            let body = body.replace("find", "people");
            Self { service: "people", version: "v1", id: id.to_owned(), fields: "", body }
        }

        fn text(&self) -> String {
            let Self { service, version, id, fields, body } = self;
            envelope((service, version), id, fields, body)
        }

        /// The answer of a good service.
        fn answer(&self) -> String {
            self.text()
                .replace("people xmlns", "peopleResponse xmlns")
                .replace("</people>", "</peopleResponse>")
        }
    }

    fn post(content_type: &str, body: impl Into<Vec<u8>>) -> Ask {
        Ask::post("/", body.into()).without("X-Road-Client").header("Content-Type", content_type)
    }

    fn raw(status: &str, content_type: &str, body: &[u8]) -> Mode {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Mode::Raw([head.as_bytes(), body].concat())
    }

    /// A message with attachments: its content type, and its bytes.
    fn multipart(media_type: &str, envelope: &str, attachments: &[(&str, &[u8])]) -> (String, Vec<u8>) {
        let mut body =
            format!("--MIME\r\nContent-Type: {media_type}\r\nContent-ID: <root>\r\n\r\n{envelope}")
                .into_bytes();
        for (head, content) in attachments {
            body.extend(format!("\r\n--MIME\r\n{head}\r\n\r\n").into_bytes());
            body.extend_from_slice(content);
        }
        body.extend_from_slice(b"\r\n--MIME--\r\n");
        let plain = media_type.split(';').next().unwrap();
        (format!("multipart/related; type=\"{plain}\"; start=\"<root>\"; boundary=MIME"), body)
    }

    /// What stands between the delimiters of a multipart, whatever its boundary.
    fn parts(content_type: &str, body: &[u8]) -> Vec<Vec<u8>> {
        let boundary = content_type.split("boundary=").nth(1).unwrap().trim_matches('"');
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        let whole = [b"\r\n", body].concat();
        let mut parts = Vec::new();
        let mut rest = &whole[..];
        while let Some(at) = rest.windows(delimiter.len()).position(|window| window == delimiter) {
            parts.push(rest[..at].to_vec());
            rest = &rest[at + delimiter.len()..];
        }
        assert_eq!(rest, b"--\r\n");
        parts.remove(0);
        parts
    }

    /// The code of an answer that is a fault.
    fn code(reply: &Reply) -> String {
        assert_eq!((reply.status, reply.header("Content-Type")), (200, Some("text/xml;charset=utf-8")));
        let text = reply.text();
        let code = text.split("<faultcode>").nth(1).unwrap_or_else(|| panic!("no fault: {text}"));
        code.split('<').next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_message_reaches_its_service_byte_for_byte_and_its_answer_names_it() {
        let world = World::start().await;
        let soap = Soap::new("soap-1");
        world.service.mode(raw("200 OK", TEXT, soap.answer().as_bytes()));
        let reply = world.ask(&post(TEXT, soap.text()).header("SOAPAction", "\"urn:find\"")).await;
        let asked = world.service.last();
        assert_eq!(asked.first, "POST /soap HTTP/1.1");
        assert_eq!(String::from_utf8_lossy(&asked.body), soap.text());
        assert_eq!(
            (asked.header("SOAPAction"), asked.header("Content-Type")),
            (Some("\"urn:find\""), Some(TEXT))
        );
        assert_eq!((reply.status, reply.header("Content-Type")), (200, Some(TEXT)));
        // The request's hash stands behind the id; nothing else is changed.
        let text = reply.text();
        let (before, rest) = text.split_once("\n    <x:requestHash").unwrap();
        let (hash, after) = rest.split_once("</x:requestHash>").unwrap();
        assert_eq!(format!("{before}{after}"), soap.answer());
        assert!(before.ends_with("<x:id>soap-1</x:id>"));
        assert!(hash.starts_with(" algorithmId=\"http://www.w3.org/2001/04/xmlenc#sha512\">"));
        for node in [&world.consumer, &world.provider] {
            assert_eq!(node.trace("soap-1"), ["request", "response"]);
            node.verifies("soap-1");
        }
    }

    #[tokio::test]
    async fn attachments_pass_both_ways_with_their_heads() {
        let world = World::start().await;
        let binary: Vec<u8> =
            (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let attachments: [(&str, &[u8]); 3] = [
            ("Content-Type: image/png\r\nContent-ID: <a1>\r\nContent-Transfer-Encoding: binary", &binary),
            ("Content-Type: text/plain\r\nContent-ID: <a2>\r\nX-Own: kept", b"--MIM\r\nE"),
            (
                "Content-Type: multipart/mixed; boundary=IN\r\nContent-ID:\r\n <a3>",
                b"--IN\r\n\r\nx\r\n--IN--\r\n",
            ),
        ];
        for (n, media_type) in
            ["text/xml; charset=UTF-8", "application/xop+xml; charset=UTF-8; type=\"text/xml\""]
                .iter()
                .enumerate()
        {
            let soap = Soap::new(&format!("attached-{n}"));
            let (content_type, body) = multipart(media_type, &soap.text(), &attachments);
            let (answer_type, answer) = multipart(media_type, &soap.answer(), &attachments[..1]);
            world.service.mode(raw("200 OK", &answer_type, &answer));
            let reply = world.ask(&post(&content_type, body)).await;

            let asked = world.service.last();
            let arrived = parts(asked.header("Content-Type").unwrap(), &asked.body);
            assert_eq!(arrived.len(), 4);
            assert!(arrived[0].ends_with(soap.text().as_bytes()));
            for (part, (head, content)) in arrived[1..].iter().zip(attachments) {
                let end = part.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
                assert_eq!(&part[end + 4..], content);
                let lower = String::from_utf8_lossy(&part[..end]).to_lowercase();
                for line in head.replace("\r\n ", " ").split("\r\n") {
                    assert!(lower.contains(&line.to_lowercase()), "{line} is not in {lower}");
                }
            }
            let answered = parts(reply.header("Content-Type").unwrap(), &reply.message.body);
            assert_eq!(answered.len(), 2);
            assert!(answered[1].ends_with(&binary));
            assert!(reply.header("Content-Type").unwrap().starts_with("multipart/related; type="));
            for node in [&world.consumer, &world.provider] {
                assert_eq!(node.trace(&soap.id), ["request", "response"]);
                node.verifies(&soap.id);
            }
        }
    }

    #[tokio::test]
    async fn what_the_protocol_does_not_know_passes_and_is_logged() {
        let world = World::start().await;
        let token = "<t:securityToken xmlns:t=\"http://x-road.eu/xsd/security-token.xsd\" \
                     tokenType=\"urn:ietf:params:oauth:token-type:jwt\">eyJ.eyJ.x_-</t:securityToken>";
        // Which attachment is meant by a name is for the information systems: signed is each of them, in its place.
        let include = |href: &str| {
            format!("<i:Include xmlns:i=\"http://www.w3.org/2004/08/xop/include\" href=\"{href}\"/>")
        };
        let named = "Content-Type: text/plain\r\nContent-ID: <a>";
        for (n, (href, attachments)) in [
            ("cid:a", vec![(named, &b"once"[..])]),
            ("cid:a", vec![(named, b"twice"), (named, b"again")]),
            ("cid:missing", vec![(named, b"another")]),
            ("cid:missing", vec![]),
        ]
        .into_iter()
        .enumerate()
        {
            let soap = Soap { fields: token, ..Soap::new(&format!("token-{n}")) };
            world.service.mode(raw("200 OK", TEXT, soap.answer().as_bytes()));
            let text = soap.text().replace("</people>", &format!("{}</people>", include(href)));
            let (content_type, body) = multipart(TEXT, &text, &attachments);
            let reply = world.ask(&post(&content_type, body)).await;
            assert!(reply.text().contains(token), "{}", reply.text());
            let asked = world.service.last();
            let parts = parts(asked.header("Content-Type").unwrap(), &asked.body);
            assert_eq!(parts.len(), 1 + attachments.len());
            assert!(parts[0].ends_with(text.as_bytes()));
            for node in [&world.consumer, &world.provider] {
                assert_eq!(node.trace(&soap.id), ["request", "response"]);
                node.verifies(&soap.id);
                let request = node.records(&soap.id)[0].sequence;
                let parts = node.log().export(request).unwrap().unwrap().parts;
                let logged = parts[0].as_ref().unwrap().read().unwrap();
                assert_eq!(String::from_utf8_lossy(&logged), text);
            }
        }
        let calls = world.service.calls();
        for href in ["http://127.0.0.1/x", "file:///etc/passwd", "", "x"] {
            let text =
                Soap::new("outside").text().replace("</people>", &format!("{}</people>", include(href)));
            let reply = world.ask(&post(TEXT, text)).await;
            assert_eq!(code(&reply), "client.invalid_soap", "{href}");
        }
        assert_eq!(world.service.calls(), calls);
    }

    #[tokio::test]
    async fn where_bodies_are_not_kept_no_body_of_soap_is() {
        let unkept = ("directory = \"log\"\n", "directory = \"log\"\nbodies = false\n".to_owned());
        let world = World::wish(Wishes { provider: vec![unkept], ..Wishes::default() }).await;
        let soap = Soap::new("unkept");
        let (content_type, body) = multipart(TEXT, &soap.text(), &[("Content-Type: text/plain", b"x")]);
        world.service.mode(raw("200 OK", TEXT, soap.answer().as_bytes()));
        assert_eq!(world.ask(&post(&content_type, body)).await.status, 200);
        for (node, kept) in [(&world.consumer, true), (&world.provider, false)] {
            node.verifies("unkept");
            for stored in node.records("unkept") {
                let parts = node.log().export(stored.sequence).unwrap().unwrap().parts;
                assert!(parts.iter().all(|part| part.is_some() == kept), "{:?}", stored.sequence);
            }
        }
        // Of REST the message part has no body, and stays.
        world.service.mode(Mode::Echo);
        world.ask(&Ask::post("/r1/DEMO/GOV/2002/registry/records/x", "body").id("rest")).await;
        let request = world.provider.records("rest")[0].sequence;
        let parts = world.provider.log().export(request).unwrap().unwrap().parts;
        assert_eq!(parts.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    }

    #[tokio::test]
    async fn a_large_envelope_passes_and_a_larger_one_is_refused() {
        let world = World::start().await;
        let soap = Soap::new("large");
        let filled =
            |length: usize| soap.text().replace("</people>", &format!("{}</people>", "x".repeat(length)));
        world.service.mode(raw("200 OK", TEXT, soap.answer().as_bytes()));
        let reply = world.ask(&post(TEXT, filled(9 << 20))).await;
        assert_eq!((reply.status, reply.header("Content-Type")), (200, Some(TEXT)));
        assert!(world.service.last().body == filled(9 << 20).as_bytes(), "it arrives as it was sent");
        for node in [&world.consumer, &world.provider] {
            assert_eq!(node.trace("large"), ["request", "response"]);
            node.verifies("large");
        }
        let calls = world.service.calls();
        assert_eq!(code(&world.ask(&post(TEXT, filled(10 << 20))).await), "client.invalid_soap");
        assert_eq!(world.service.calls(), calls);
    }

    #[tokio::test]
    async fn a_fault_of_the_service_is_handed_on_as_it_is_and_noted() {
        let world = World::start().await;
        let fault = format!(
            "<?xml version=\"1.0\"?><a:Envelope xmlns:a=\"{ENVELOPE}\"><a:Body><a:Fault><faultcode>a:Server</faultcode>\
             <faultstring>nobody of that name</faultstring><detail><own xmlns=\"urn:people\">7</own></detail>\
             </a:Fault></a:Body></a:Envelope>"
        );
        for (n, status) in ["200 OK", "500 Internal Server Error"].iter().enumerate() {
            let soap = Soap::new(&format!("fault-{n}"));
            world.service.mode(raw(status, TEXT, fault.as_bytes()));
            let reply = world.ask(&post(TEXT, soap.text())).await;
            assert_eq!((reply.status, reply.text()), (200, fault.clone()));
            for node in [&world.consumer, &world.provider] {
                assert_eq!(node.trace(&soap.id), ["request", "fault a:Server"]);
            }
        }
    }

    #[tokio::test]
    async fn a_message_that_is_no_good_is_refused_at_the_first_door() {
        let world = World::start().await;
        let good = Soap::new("bad").text();
        let (related, broken) = multipart(TEXT, &good, &[("Content-Type: text/plain", b"cut off")]);
        let broken = broken[..broken.len() - 12].to_vec();
        let (_, untyped) = multipart(TEXT, &good, &[("Content-ID: <a>", b"x")]);
        let doctype = good
            .replace("<s:Envelope", "<!DOCTYPE s [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><s:Envelope");
        let entities = good.replace("</people>", &format!("{}</people>", "&e;".repeat(1000)));
        let deep =
            good.replace("</people>", &format!("{}{}</people>", "<a>".repeat(5000), "</a>".repeat(5000)));
        let central = good.replace("<x:service ", "<x:centralService/><x:service ");
        let cases = [
            (post("application/json", good.clone()), "client.invalid_content_type"),
            (post("multipart/mixed; boundary=MIME", good.clone()), "client.invalid_content_type"),
            (post(TEXT, "").without("Content-Type"), "client.invalid_content_type"),
            (post(TEXT, ""), "client.invalid_soap"),
            (post(TEXT, "no XML"), "client.invalid_soap"),
            (post(TEXT, doctype), "client.invalid_soap"),
            (post(TEXT, entities), "client.invalid_soap"),
            (post(TEXT, deep), "client.invalid_soap"),
            (post(TEXT, good.replace("utf-8", "utf-7")), "client.invalid_soap"),
            (post(TEXT, central), "client.invalid_xml"),
            (post(TEXT, good.replace("<x:id>bad</x:id>", "")), "client.missing_header_field"),
            (post(TEXT, good.replace("4.0", "3.0")), "client.invalid_protocol_version"),
            (post(TEXT, good.clone()).header("SOAPAction", "no quotes"), "client.invalid_soap_action"),
            (post(&related, broken), "client.mime_parsing_failed"),
            (post(&related, untyped), "client.invalid_content_type"),
            (post("multipart/related", good.clone()), "client.invalid_content_type"),
            (post(TEXT, good.replace("portal", "nobody")), "server.clientproxy.unknown_member"),
            (post(TEXT, good.replace("registry", "nobody")), "server.clientproxy.unknown_member"),
            (post(TEXT, good.replace("portal", "pinned")), "server.clientproxy.ssl_authentication_failed"),
            (Ask::get("/").without("X-Road-Client"), "client.invalid_http_method"),
        ];
        for (ask, expected) in cases {
            let reply = world.ask(&ask).await;
            assert_eq!(code(&reply), expected, "{}", reply.text());
        }
        assert_eq!(world.service.calls(), 0);
        assert_eq!((world.consumer.messages(), world.provider.messages()), (0, 0));
        world.is_alive().await;
    }

    #[tokio::test]
    async fn what_the_provider_does_not_offer_in_soap_is_refused_there() {
        let world = World::start().await;
        let soap = |n: usize, service, version| {
            let body = format!("<{service}/>");
            Soap { service, version, body, ..Soap::new(&format!("refused-{n}")) }
        };
        let server = "<x:securityServer id:objectType=\"SERVER\"><id:xRoadInstance>DEMO</id:xRoadInstance>\
                      <id:memberClass>GOV</id:memberClass><id:memberCode>1001</id:memberCode>\
                      <id:serverCode>ss1</id:serverCode></x:securityServer>";
        let cases = [
            (soap(0, "nothing", ""), "server.serverproxy.unknown_service"),
            (soap(1, "people", ""), "server.serverproxy.unknown_service"),
            (soap(2, "people", "v2"), "server.serverproxy.unknown_service"),
            (soap(3, "records", ""), "server.serverproxy.service_type"),
            (soap(4, "shut", ""), "server.serverproxy.access_denied"),
            (
                Soap { fields: server, ..soap(5, "people", "v1") },
                "server.clientproxy.invalid_security_server",
            ),
        ];
        for (soap, expected) in cases {
            let reply = world.ask(&post(TEXT, soap.text())).await;
            assert_eq!(code(&reply), expected, "{}", soap.service);
            assert_eq!(world.provider.trace(&soap.id), Vec::<String>::new());
        }
        let reply = world.ask(&Ask::get("/r1/DEMO/GOV/2002/registry/shut/x").id("by-rest")).await;
        assert_eq!((reply.status, reply.error()), (500, Some("server.serverproxy.service_type")));
        assert_eq!(world.service.calls(), 0);
    }

    #[tokio::test]
    async fn an_answer_that_is_none_is_no_answer() {
        let world = World::start().await;
        let good = Soap::new("odd").answer();
        let served = |what: &str| format!("server.serverproxy.service_failed.{what}");
        let asked = |what: &str| format!("server.clientproxy.service_failed.{what}");
        let (related, broken) = multipart(TEXT, &good, &[("Content-Type: text/plain", b"cut off")]);
        let cases = [
            (raw("200 OK", "text/html", b"<html/>"), served("invalid_content_type")),
            (raw("404 Not Found", "text/html", b"<html/>"), served("http_error")),
            (raw("200 OK", TEXT, b""), served("invalid_soap")),
            (raw("200 OK", TEXT, good.replace("4.0", "9").as_bytes()), served("invalid_protocol_version")),
            (raw("200 OK", &related, &broken[..broken.len() - 12]), served("mime_parsing_failed")),
            (
                raw("200 OK", TEXT, good.replace(">odd<", ">other<").as_bytes()),
                asked("inconsistent_response"),
            ),
            (raw("200 OK", TEXT, good.replace(">U1<", ">U2<").as_bytes()), asked("inconsistent_response")),
            (raw("200 OK", TEXT, good.replace("portal", "other").as_bytes()), asked("inconsistent_response")),
            (Mode::Reset, served("io_error")),
            (Mode::CutShort, served("invalid_content_type")),
            (Mode::Silent, served("io_error")),
        ];
        for (mode, expected) in cases {
            let calls = world.service.calls();
            world.service.mode(mode);
            let reply = world.ask(&post(TEXT, Soap::new("odd").text())).await;
            assert_eq!(code(&reply), expected, "{}", reply.text());
            assert_eq!(world.service.calls(), calls + 1, "a service is asked once");
        }
        world.service.mode(Mode::Echo);
        world.is_alive().await;
    }
}
