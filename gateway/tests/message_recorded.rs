//! REST exchanges recorded from the original, X-Road 7.3.2: what it signed, we sign; what it sent, we read.
//!
//! Where ours is stricter, or its HTTP library had a hand in the result, the case stands in a list with the reason.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use cert_authority::algorithm::DigestAlgorithm;
    use cert_authority::crypto::digest;
    use gateway::fault::{Fault, Leaf, Side, rest, soap};
    use gateway::message::Protocol;
    use gateway::message::digests::PartDigests;
    use gateway::message::rest::{
        MessageError, PathHazard, PathRules, RestRequest, RestResponse, request_hash,
    };
    use gateway::message::transport::{Direction, Incoming, Item, TransportError, part};

    const STRICT: PathRules = PathRules { encoded_slash: false, dot_segments: false };
    const LAX: PathRules = PathRules { encoded_slash: true, dot_segments: true };

    /// Requests that the original passes on and we refuse.
    const STRICTER: [(&str, MessageError, &str); 5] = [
        (
            "rest-client-twice",
            MessageError::ClientTwice,
            "which of two clients asks would be the reader's choice (T07)",
        ),
        (
            "rest-get-dot-segments",
            MessageError::Path(PathHazard::DotSegment),
            "two readings of one path (T18)",
        ),
        (
            "rest-get-dot-encoded",
            MessageError::Path(PathHazard::DotSegment),
            "two readings of one path (T18)",
        ),
        (
            "rest-get-encoded-slash",
            MessageError::Path(PathHazard::EncodedSlash),
            "two readings of one path (T18)",
        ),
        (
            "rest-get-lowercase-escape",
            MessageError::Path(PathHazard::EncodedSlash),
            "two readings of one path (T18)",
        ),
    ];

    /// Headers whose names, and a few of their values, the original's HTTP library writes in its own way before they
    /// are signed.
    const NORMALISED: [&str; 8] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-type",
        "cookie",
    ];

    /// Answers whose coding the original's HTTP library undoes; we pass bytes on as they are.
    const UNPACKED: [&str; 1] = ["rest-answer-deflate"];

    /// A recorded case.
    struct Case {
        name: String,
        folder: PathBuf,
        facts: serde_json::Value,
    }

    /// A recorded part.
    struct RecordedPart {
        media_type: String,
        content: Bytes,
        sha512: String,
    }

    /// The head of a recorded HTTP message, and what follows it.
    struct Http {
        start: String,
        headers: Vec<(Bytes, Bytes)>,
        body: Vec<u8>,
    }

    impl Case {
        fn file(&self, name: &str) -> Option<Vec<u8>> {
            fs::read(self.folder.join(name)).ok()
        }

        fn http(&self, name: &str) -> Option<Http> {
            self.file(name).map(|bytes| http(&bytes))
        }

        fn parts(&self, direction: &str) -> Vec<RecordedPart> {
            let body = self.file(&format!("transport-{direction}.body")).unwrap_or_default();
            let parts = self.facts[format!("{direction}_parts")].as_array().cloned().unwrap_or_default();
            let number = |value: &serde_json::Value| usize::try_from(value.as_u64().unwrap()).unwrap();
            parts
                .iter()
                .map(|part| {
                    let (offset, length) = (number(&part["offset"]), number(&part["length"]));
                    RecordedPart {
                        media_type: part["content_type"]
                            .as_str()
                            .unwrap()
                            .split(';')
                            .next()
                            .unwrap()
                            .to_owned(),
                        content: Bytes::copy_from_slice(&body[offset..offset + length]),
                        sha512: part["sha512"].as_str().unwrap().to_owned(),
                    }
                })
                .collect()
        }

        fn part(&self, direction: &str, media_type: &str) -> Option<Bytes> {
            let mut parts = self.parts(direction).into_iter();
            parts.find(|part| part.media_type == media_type).map(|part| part.content)
        }
    }

    /// The recorded cases whose names begin so; SOAP ones left out. None where the data is not at hand.
    fn cases(prefixes: &[&str]) -> Option<Vec<Case>> {
        #[expect(clippy::disallowed_methods, reason = "where the data lies is told by the environment")]
        let Ok(directory) = std::env::var("CONFORMANCE_DIR") else {
            println!("not run: CONFORMANCE_DIR is not set");
            return None;
        };
        let mut cases: Vec<Case> = fs::read_dir(Path::new(&directory).join("xroad-7.3.2-recorded"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("case.json").is_file())
            .map(|folder| Case {
                name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
                facts: serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap(),
                folder,
            })
            .filter(|case| prefixes.iter().any(|prefix| case.name.starts_with(prefix)))
            .filter(|case| !case.name.contains("soap") || case.name == "rest-error-soap-service")
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        Some(cases)
    }

    fn http(bytes: &[u8]) -> Http {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let mut lines =
            bytes[..end].split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
        let headers = lines
            .map(|line| {
                let colon = line.iter().position(|&byte| byte == b':').unwrap();
                (
                    Bytes::copy_from_slice(&line[..colon]),
                    Bytes::copy_from_slice(line[colon + 1..].trim_ascii()),
                )
            })
            .collect();
        Http { start, headers, body: bytes[end + 4..].to_vec() }
    }

    fn header<'a>(http: &'a Http, name: &str) -> Option<&'a str> {
        let found = http.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| std::str::from_utf8(value).unwrap())
    }

    /// Method and path with query, the way a door hands them over.
    fn request_line(http: &Http) -> (&str, &str) {
        let mut words = http.start.split(' ');
        let (verb, target) = (words.next().unwrap(), words.next().unwrap());
        let target = target.strip_prefix("http://").map_or(target, |rest| &rest[rest.find('/').unwrap()..]);
        (verb, target)
    }

    fn from_client(
        http: &Http,
        ids: Option<&RestRequest>,
        rules: PathRules,
    ) -> Result<RestRequest, MessageError> {
        let (verb, target) = request_line(http);
        let request_id = ids.map_or("request-id", |recorded| recorded.request_id.as_str());
        let message_id =
            || ids.map_or_else(|| "message-id".to_owned(), |recorded| recorded.header.message_id.clone());
        RestRequest::from_client(verb, target, &http.headers, request_id, message_id, rules)
    }

    /// The lines of a part, but for what the original's HTTP library writes in its own way.
    fn lines(part: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(part).unwrap();
        let lines = text.split("\r\n").map(|line| match line.split_once(':') {
            Some((name, _)) if NORMALISED.contains(&name.to_ascii_lowercase().as_str()) => {
                line.to_ascii_lowercase()
            }
            _ => line.to_owned(),
        });
        lines.collect()
    }

    #[test]
    fn what_is_signed_of_a_request_is_what_the_original_signed() {
        let Some(cases) = cases(&["rest-", "batch-"]) else { return };
        let (mut equal, mut stricter, mut all) = (0, 0, 0);
        for case in cases {
            let Some(recorded) = case.part("request", part::REST_REQUEST) else { continue };
            all += 1;
            let ids = RestRequest::parse(recorded.clone()).unwrap();
            let sent = case.http("client-request.http").unwrap();
            let made = match STRICTER.iter().find(|(name, ..)| *name == case.name) {
                None => from_client(&sent, Some(&ids), STRICT).unwrap(),
                Some((_, refusal, reason)) => {
                    assert_eq!(
                        from_client(&sent, Some(&ids), STRICT).as_ref(),
                        Err(refusal),
                        "{}",
                        case.name
                    );
                    println!("{}: stricter: {reason}", case.name);
                    stricter += 1;
                    let Ok(made) = from_client(&sent, Some(&ids), LAX) else { continue };
                    made
                }
            };
            assert_eq!(lines(made.part()), lines(&recorded), "{}", case.name);
            equal += 1;
        }
        println!("{equal} of {all} parts as recorded, {stricter} refused by default");
        assert_eq!((equal, stricter, all), (EQUAL_REQUESTS, STRICTER.len(), ALL_REQUESTS));
    }

    #[test]
    fn what_is_signed_of_an_answer_is_what_the_original_signed() {
        let Some(cases) = cases(&["rest-", "batch-"]) else { return };
        let (mut equal, mut all) = (0, 0);
        for case in cases {
            let Some(recorded) = case.part("response", part::REST_RESPONSE) else { continue };
            all += 1;
            let request = RestRequest::parse(case.part("request", part::REST_REQUEST).unwrap()).unwrap();
            let response = RestResponse::parse(recorded.clone()).unwrap();
            let answer = case.http("provider-response.http").unwrap();
            let answer = if answer.start.contains(" 100") { http(&answer.body) } else { answer };
            let mut words = answer.start.splitn(3, ' ').skip(1);
            let status = words.next().unwrap().parse().unwrap();
            let reason = words.next().unwrap_or_default().as_bytes();
            let made =
                RestResponse::from_service(status, reason, &answer.headers, &request, &response.request_hash)
                    .unwrap();
            let mut expected = lines(&recorded);
            let mut written = lines(made.part());
            if UNPACKED.contains(&case.name.as_str()) {
                written.retain(|line| !line.starts_with("content-encoding:"));
                expected.retain(|line| !line.starts_with("content-encoding:"));
            }
            assert_eq!(written, expected, "{}", case.name);
            equal += 1;
        }
        println!("{equal} of {all} parts as recorded");
        assert_eq!((equal, all), (ALL_RESPONSES, ALL_RESPONSES));
    }

    /// The items of a message, and its digests in base64.
    fn take_apart(
        case: &Case,
        direction: Direction,
        piece: usize,
    ) -> (Vec<Item>, Result<Vec<String>, TransportError>) {
        let name = if direction == Direction::Request { "request" } else { "response" };
        let head = case.http(&format!("transport-{name}.head")).unwrap();
        let body = Bytes::from(case.file(&format!("transport-{name}.body")).unwrap());
        let mut items = Vec::new();
        let mut run = || {
            let content_type = header(&head, "content-type").unwrap();
            let protocol = if case.name.starts_with("batch-soap") { Protocol::Soap } else { Protocol::Rest };
            let mut incoming = Incoming::new(direction, protocol, content_type, DigestAlgorithm::Sha512)?;
            for at in (0..body.len()).step_by(piece) {
                incoming.push(body.slice(at..body.len().min(at + piece)));
                loop {
                    match incoming.pull()? {
                        Item::NeedMore | Item::End => break,
                        item => items.push(item),
                    }
                }
            }
            let digests = incoming.finish()?;
            Ok(digests.all().map(|digest| STANDARD.encode(digest)).collect())
        };
        let digests = run();
        (items, digests)
    }

    fn is_multipart(case: &Case, name: &str) -> bool {
        let head = case.http(&format!("transport-{name}.head"));
        head.is_some_and(|head| {
            header(&head, "content-type").is_some_and(|value| value.starts_with("multipart/"))
        })
    }

    #[test]
    fn every_message_between_the_gateways_is_taken_apart() {
        let Some(cases) = cases(&["rest-", "batch-"]) else { return };
        let (mut requests, mut responses, mut with_fault) = (0, 0, 0);
        for case in &cases {
            for (direction, name) in [(Direction::Request, "request"), (Direction::Response, "response")] {
                if !is_multipart(case, name) {
                    continue;
                }
                let recorded = case.parts(name);
                let (items, digests) = take_apart(case, direction, 1000);
                if let Some(fault) = recorded.iter().find(|part| part.media_type == part::FAULT) {
                    assert_eq!(items.last(), Some(&Item::Fault(fault.content.clone())), "{}", case.name);
                    assert!(digests.is_err());
                    with_fault += 1;
                    continue;
                }
                let digests = digests.unwrap_or_else(|error| panic!("{} {name}: {error}", case.name));
                let hashed = [part::REST_REQUEST, part::REST_RESPONSE, part::REST_BODY];
                let expected: Vec<&String> = recorded
                    .iter()
                    .filter(|part| hashed.contains(&part.media_type.as_str()))
                    .map(|part| &part.sha512)
                    .collect();
                assert_eq!(digests.iter().collect::<Vec<_>>(), expected, "{} {name}", case.name);
                let contents =
                    |kind: &str| recorded.iter().find(|part| part.media_type == kind).map(|p| &p.content);
                for item in items {
                    match item {
                        Item::Signature(content) => assert_eq!(Some(&content), contents(part::SIGNATURE)),
                        Item::HashChain(content) => assert_eq!(Some(&content), contents(part::HASH_CHAIN)),
                        Item::HashChainResult(content) => {
                            assert_eq!(Some(&content), contents(part::HASH_CHAIN_RESULT));
                        }
                        Item::OcspResponse(content) => {
                            assert_eq!(Some(&content), contents(part::OCSP_RESPONSE))
                        }
                        _ => {}
                    }
                }
                *(if direction == Direction::Request { &mut requests } else { &mut responses }) += 1;
            }
        }
        println!("{requests} requests, {responses} answers, {with_fault} answers that end in a fault");
        assert_eq!((requests, responses, with_fault), (ALL_REQUESTS, UNBROKEN_RESPONSES, FAULTS_AS_PART));
    }

    #[test]
    fn the_request_hash_of_every_answer_is_that_of_its_request() {
        let Some(cases) = cases(&["rest-", "batch-"]) else { return };
        let mut all = 0;
        for case in cases {
            let Some(response) = case.part("response", part::REST_RESPONSE) else { continue };
            let response = RestResponse::parse(response).unwrap();
            let parts = case.parts("request");
            let content =
                |kind: &str| parts.iter().find(|part| part.media_type == kind).map(|part| &part.content);
            let mut digests =
                PartDigests::of_message(DigestAlgorithm::Sha512, content(part::REST_REQUEST).unwrap());
            if let Some(body) = content(part::REST_BODY) {
                digests = digests.with_attachment(digest(DigestAlgorithm::Sha512, body));
            }
            assert_eq!(response.request_hash, request_hash(&digests), "{}", case.name);
            all += 1;
        }
        assert_eq!(all, ALL_RESPONSES);
    }

    /// Requests that are refused when they are read: case, our code. The recorded one is the same, in the
    /// spelling of its release, or there is a reason.
    const REFUSED: [(&str, Leaf, Option<&str>); 10] = [
        ("rest-error-client-bad-escape", Leaf::InternalError, None),
        ("rest-error-client-empty", Leaf::InternalError, None),
        ("rest-error-client-five-segments", Leaf::InternalError, None),
        ("rest-error-client-leading-slash", Leaf::InternalError, None),
        ("rest-error-client-space", Leaf::InternalError, None),
        ("rest-error-client-two-segments", Leaf::InternalError, None),
        (
            "rest-error-path-bad-escape",
            Leaf::BadRequest,
            Some("the original's HTTP library answers a bare 400; ours is a 400 with a code"),
        ),
        ("rest-error-path-few-segments", Leaf::InternalError, None),
        ("rest-error-security-server-bad", Leaf::InternalError, None),
        ("rest-lowercase-verb", Leaf::InternalError, None),
    ];

    /// `Server.ClientProxy.InternalError` in the spelling of 7.8.
    fn of_today(code: &str) -> String {
        let mut spelled = String::new();
        for (n, piece) in code.split('.').enumerate() {
            if n > 0 {
                spelled.push('.');
            }
            for (at, c) in piece.char_indices() {
                if at > 0 && c.is_ascii_uppercase() && !matches!(piece, "ClientProxy" | "ServerProxy") {
                    spelled.push('_');
                }
                spelled.push(c.to_ascii_lowercase());
            }
        }
        spelled
    }

    #[test]
    fn requests_that_the_original_refuses_are_refused_with_its_code() {
        let Some(cases) = cases(&["rest-"]) else { return };
        let mut right = 0;
        for case in cases {
            let Some((_, leaf, deviation)) = REFUSED.iter().find(|(name, ..)| *name == case.name) else {
                continue;
            };
            let refused = from_client(&case.http("client-request.http").unwrap(), None, STRICT).unwrap_err();
            assert_eq!(refused.leaf(), *leaf, "{}: {refused}", case.name);
            let fault = Fault::new(refused.leaf(), refused.to_string()).at(Side::ClientProxy);
            match deviation {
                None => assert_eq!(fault.code(), of_today(case.facts["error_code"].as_str().unwrap())),
                Some(reason) => println!("{}: {reason}", case.name),
            }
            let status = refused.http_status().unwrap_or_else(|| fault.http_status());
            assert_eq!(u64::from(status), case.facts["client_status"].as_u64().unwrap(), "{}", case.name);
            right += 1;
        }
        println!("{right} of {} refused as recorded", REFUSED.len());
        assert_eq!(right, REFUSED.len());
    }

    #[test]
    fn faults_of_the_peer_reach_the_client_as_the_original_hands_them_on() {
        let Some(cases) = cases(&["rest-", "altered-"]) else { return };
        let (mut whole, mut last_parts) = (0, 0);
        for case in cases {
            let Some(transport_code) = case.facts["transport_error_code"].as_str() else { continue };
            let (Some(received), is_whole) = (match case.part("response", part::FAULT) {
                Some(fault) => (Some(fault), false),
                None if is_multipart(&case, "response") => continue,
                None => (case.file("transport-response.body").map(Bytes::from), true),
            }) else {
                continue;
            };
            let received = soap::parse(&received).unwrap();
            assert_eq!(received.code, transport_code, "{}", case.name);
            let fault = Fault::relayed(received).at(Side::ClientProxy).identified("ours");

            // What we would have written is what was written.
            let written = if is_whole { case.file("transport-response.body") } else { None };
            if let Some(written) = written.filter(|_| !case.name.starts_with("altered-response")) {
                assert_eq!(soap::render(&fault), written, "{}", case.name);
            }

            let client = case.http("client-response.http").unwrap();
            let request = case.http("client-request.http").unwrap();
            let accept = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"accept"));
            let answer = rest::render(&fault, accept.map(|(_, value)| value.as_ref()));
            assert_eq!(Some(answer.code.as_str()), header(&client, rest::ERROR_HEADER), "{}", case.name);
            assert_eq!(Some(answer.content_type), header(&client, "content-type"), "{}", case.name);
            assert_eq!(
                u64::from(answer.status),
                case.facts["client_status"].as_u64().unwrap(),
                "{}",
                case.name
            );
            let body = String::from_utf8(client.body).unwrap();
            assert!(body.contains(std::str::from_utf8(&answer.body).unwrap()), "{}: {body}", case.name);
            *(if is_whole { &mut whole } else { &mut last_parts }) += 1;
        }
        println!("{whole} whole faults, {last_parts} faults as last part");
        assert_eq!((whole, last_parts), FAULTS);
    }

    /// Altered requests that are refused while they are taken apart, or when their message part is read: our code
    /// below `server.serverproxy`. The recorded one is the same in the spelling of its release, or there is a reason.
    const ALTERED_REQUESTS: [(&str, &str, Option<&str>); 10] = [
        ("altered-request-content-type", "service_failed.invalid_content_type", None),
        ("altered-request-multipart-related", "service_failed.invalid_content_type", None),
        ("altered-request-extra-part", "service_failed.invalid_message", None),
        ("altered-request-ocsp-last", "service_failed.invalid_message", None),
        ("altered-request-order", "service_failed.invalid_content_type", None),
        ("altered-request-two-bodies", "service_failed.invalid_content_type", None),
        ("altered-request-message-empty", "service_failed.internal_error", None),
        ("altered-request-message-skipped-header", "service_failed.internal_error", None),
        (
            "altered-request-message-no-client",
            "service_failed.invalid_client_identifier",
            Some(
                "who asks must be known before anything is judged; the original looks at the signature first",
            ),
        ),
        (
            "altered-request-message-no-request-id",
            "service_failed.internal_error",
            Some("every part has the header; the original looks at the signature first"),
        ),
    ];

    /// Why a request is refused on its way to the signature, if it is.
    fn refusal_of_request(case: &Case) -> Option<String> {
        let scope = "service_failed.";
        match take_apart(case, Direction::Request, 100).1 {
            Err(error) if error.is_service_failure() => {
                return Some(format!("{scope}{}", error.leaf().wire()));
            }
            Err(error) => return Some(error.leaf().wire().to_owned()),
            Ok(_) => {}
        }
        let message = case.part("request", part::REST_REQUEST)?;
        RestRequest::parse(message).err().map(|error| format!("{scope}{}", error.leaf().wire()))
    }

    #[test]
    fn altered_requests_are_refused_where_the_original_refuses_them() {
        let Some(cases) = cases(&["altered-request"]) else { return };
        let (mut refused, mut passed) = (0, 0);
        for case in cases {
            let recorded = of_today(case.facts["transport_error_code"].as_str().unwrap_or_default());
            match (refusal_of_request(&case), ALTERED_REQUESTS.iter().find(|(name, ..)| *name == case.name)) {
                (Some(code), Some((_, expected, deviation))) => {
                    assert_eq!(code, *expected, "{}", case.name);
                    match deviation {
                        None => assert_eq!(format!("server.serverproxy.{code}"), recorded, "{}", case.name),
                        Some(reason) => println!("{}: {reason}", case.name),
                    }
                    refused += 1;
                }
                (None, None) => passed += 1,
                (code, expected) => {
                    panic!("{}: {code:?}, recorded {recorded}, listed {expected:?}", case.name)
                }
            }
        }
        println!("{refused} refused here, {passed} left for the signature and the later checks");
        assert_eq!((refused, passed), (ALTERED_REQUESTS.len(), ALTERED_PASSED));
    }

    // How many there are, so that none goes missing unseen.
    const ALL_REQUESTS: usize = 111;
    const EQUAL_REQUESTS: usize = 110;
    const ALL_RESPONSES: usize = 102;
    const UNBROKEN_RESPONSES: usize = 100;
    const FAULTS_AS_PART: usize = 6;
    const FAULTS: (usize, usize) = (32, 8);
    const ALTERED_PASSED: usize = 23;
}
