//! Parts made and read, with good and with bad input.

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use proptest::prelude::*;

use super::*;
use crate::message::header::RepresentedParty;

const TARGET: &str = "/r1/EE/BUSINESS/producer/sub/rest1";
const STRICT: PathRules = PathRules { encoded_slash: false, dot_segments: false };

fn headers<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<(Bytes, Bytes)> {
    pairs
        .into_iter()
        .map(|(n, v)| (Bytes::copy_from_slice(n.as_bytes()), Bytes::copy_from_slice(v)))
        .collect()
}

fn client() -> (&'static str, &'static [u8]) {
    ("X-Road-Client", b"EE/BUSINESS/consumer/sub")
}

fn ask(verb: &str, target: &str, pairs: &[(&str, &[u8])]) -> Result<RestRequest, MessageError> {
    let headers = headers(pairs.iter().copied());
    RestRequest::from_client(verb, target, &headers, "rid", || "fresh".to_owned(), STRICT)
}

fn get(target: &str) -> Result<RestRequest, MessageError> {
    ask("GET", target, &[client()])
}

fn with_header(name: &str, value: &[u8]) -> Result<RestRequest, MessageError> {
    ask("GET", TARGET, &[client(), (name, value)])
}

fn text(part: &Bytes) -> &str {
    std::str::from_utf8(part).unwrap()
}

#[test]
fn a_request_is_written_as_x_road_writes_it() {
    let request = ask(
        "POST",
        "/r1/EE/BUSINESS/producer/s%75b/rest1/a%20b?x=%C3%A4&y",
        &[
            ("Host", b"h"),
            client(),
            ("Accept", b"*/*"),
            ("CONNECTION", b"x"),
            ("X-Road-Request-Id", b"spoof"),
            ("X-Road-Request-Hash", b"spoof"),
            ("X-Road-UserId", b"u1"),
            ("X-Road-UserId", b"u2"),
            ("X-Road-Issue", b"i"),
        ],
    )
    .unwrap();
    assert_eq!(
        text(request.part()),
        "POST\r\n/r1/EE/BUSINESS/producer/s%75b/rest1/a%20b?x=%C3%A4&y\r\nX-Road-Client:EE/BUSINESS/consumer/sub\r\n\
         Accept:*/*\r\nX-Road-UserId:u1\r\nX-Road-UserId:u2\r\nX-Road-Issue:i\r\nx-road-request-id:rid\r\n\
         x-road-id:fresh\r\n"
    );
    assert_eq!(request.header.service.to_string(), "EE/BUSINESS/producer/sub/rest1");
    assert_eq!(request.header.client.to_string(), "EE/BUSINESS/consumer/sub");
    assert_eq!((request.service_path.raw(), request.query.as_deref()), ("/a%20b", Some("x=%C3%A4&y")));
    assert_eq!((request.header.message_id.as_str(), request.request_id.as_str()), ("fresh", "rid"));
    assert_eq!((request.header.user_id.as_deref(), request.header.issue.as_deref()), (Some("u1"), Some("i")));
    assert_eq!(RestRequest::parse(request.part().clone()), Ok(request));
}

#[test]
fn the_last_message_id_counts_and_no_other_is_made() {
    let request = ask("GET", TARGET, &[client(), ("X-Road-Id", b"a"), ("x-road-id", b"b")]).unwrap();
    assert_eq!(request.header.message_id, "b");
    assert!(!text(request.part()).contains("fresh"));
}

#[test]
fn header_bytes_are_latin1_in_http_and_utf8_in_the_part() {
    let request = with_header("X-L1", b"\xe4\xc3\xa4").unwrap();
    assert!(text(request.part()).contains("X-L1:\u{e4}\u{c3}\u{a4}\r\n"));
    let (_, value) = request.headers.iter().find(|(name, _)| name == "X-L1").unwrap();
    assert_eq!(value.as_ref(), b"\xe4\xc3\xa4");
}

#[test]
fn headers_of_a_part_are_slices_of_it() {
    let request = get(TARGET).unwrap();
    let range = request.part().as_ptr_range();
    for (name, value) in &request.headers {
        assert!(range.contains(&name.as_ptr()) && range.contains(&value.as_ptr()));
    }
}

#[test]
fn optional_identifiers_are_read() {
    let request = ask(
        "GET",
        TARGET,
        &[
            client(),
            ("X-Road-Security-Server", b"EE/BUSINESS/producer/ss1"),
            ("X-Road-Represented-Party", b"COM/1%2F2"),
        ],
    )
    .unwrap();
    assert_eq!(request.header.security_server.unwrap().to_string(), "EE/BUSINESS/producer/ss1");
    let party = RepresentedParty { class: Some("COM".into()), code: "1/2".into() };
    assert_eq!(request.header.represented_party, Some(party));
    let code_only = with_header("X-Road-Represented-Party", b"12").unwrap().header.represented_party;
    assert_eq!(code_only, Some(RepresentedParty { class: None, code: "12".into() }));
}

#[test]
fn a_missing_a_doubled_and_a_malformed_client_are_refused() {
    let missing = ask("GET", TARGET, &[]).unwrap_err();
    assert_eq!(
        (missing.clone(), missing.leaf()),
        (MessageError::ClientMissing, Leaf::InvalidClientIdentifier)
    );

    for name in ["X-Road-Client", "x-road-client", "X-ROAD-CLIENT"] {
        let twice = with_header(name, b"EE/BUSINESS/consumer/sub").unwrap_err();
        assert_eq!((twice.clone(), twice.leaf()), (MessageError::ClientTwice, Leaf::DuplicateHeaderField));
    }

    for value in [
        "",
        "EE/BUSINESS",
        "/EE/BUSINESS/consumer",
        "EE/B/c/s/x",
        "EE/B/c%zz",
        "EE/B/c d",
        "EE/B//s",
        "EE/B/c/",
    ] {
        let malformed = ask("GET", TARGET, &[("X-Road-Client", value.as_bytes())]).unwrap_err();
        assert!(
            matches!(malformed, MessageError::Identifier { field: "client", .. }),
            "{value}: {malformed:?}"
        );
        assert_eq!(malformed.leaf(), Leaf::InternalError);
    }
}

#[test]
fn other_methods_are_refused() {
    for verb in ["get", "CONNECT", "", "GET "] {
        assert_eq!(ask(verb, TARGET, &[client()]), Err(MessageError::Verb), "{verb}");
    }
}

#[test]
fn a_path_that_names_no_service_is_refused() {
    for target in [
        "/r1",
        "/r1/",
        "/r1/EE/BUSINESS",
        "/r1/EE/B/p/s",
        "/r2/EE/B/p/s/x",
        "r1/EE/B/p/s/x",
        "//h/r1/E/B/p/s/x",
        "",
    ] {
        assert_eq!(get(target), Err(MessageError::PathShape), "{target}");
    }
    for target in ["/r1/EE/B/p/s/", "/r1/EE/B//s/x", "/r1/EE/B/p/%20/x"] {
        assert!(matches!(get(target), Err(MessageError::Identifier { field: "service", .. })), "{target}");
    }
}

#[test]
fn targets_with_bad_characters_and_escapes_are_refused() {
    for (tail, error) in [
        ("/a b", MessageError::TargetCharacter),
        ("/a#b", MessageError::TargetCharacter),
        ("/a\u{1}", MessageError::TargetCharacter),
        ("/a\"", MessageError::TargetCharacter),
        ("/a?b{c}", MessageError::TargetCharacter),
        ("/a\r\nX-Road-Client:EE/B/other", MessageError::HeaderCharacter),
        ("/%zz", MessageError::TargetEscape),
        ("/%4", MessageError::TargetEscape),
        ("/a?b=%", MessageError::TargetEscape),
        ("/a?b=%\u{e4}1", MessageError::TargetEscape),
    ] {
        let refused = get(&format!("{TARGET}{tail}")).unwrap_err();
        assert_eq!((refused.clone(), refused.http_status()), (error, Some(400)), "{tail:?}");
    }
}

#[test]
fn path_hazards_are_refused_from_clients_and_read_from_peers() {
    for (tail, hazard) in [
        ("/a/../b", PathHazard::DotSegment),
        ("/a/%2e%2e/b", PathHazard::DotSegment),
        ("/a%2Fb", PathHazard::EncodedSlash),
        ("/a\\b", PathHazard::Backslash),
        ("/a%00", PathHazard::Nul),
    ] {
        let target = format!("{TARGET}{tail}");
        assert_eq!(get(&target), Err(MessageError::Path(hazard)));
        let part =
            format!("GET\r\n{target}\r\nX-Road-Client:EE/B/c\r\nx-road-id:i\r\nx-road-request-id:r\r\n");
        let read = RestRequest::parse(part.into()).unwrap();
        assert_eq!(read.service_path.check(STRICT), Err(hazard));
    }
    let lax = PathRules { encoded_slash: true, dot_segments: false };
    let allowed = RestRequest::from_client(
        "GET",
        &format!("{TARGET}/a%2Fb"),
        &headers([client()]),
        "r",
        String::new,
        lax,
    );
    assert_eq!(allowed, Err(MessageError::MessageIdEmpty));
    let allowed = RestRequest::from_client(
        "GET",
        &format!("{TARGET}/a%2Fb"),
        &headers([client()]),
        "r",
        || "i".into(),
        lax,
    );
    assert_eq!(allowed.unwrap().service_path.raw(), "/a%2Fb");
}

#[test]
fn a_slash_in_an_identifier_is_legal_and_a_control_character_is_not() {
    let request = get("/r1/EE/BUSINESS/prod%2Fucer/sub/rest1/x").unwrap();
    assert_eq!(request.header.service.client().member().code(), "prod/ucer");
    for escape in ["%0A", "%00", "%7F", "%E2%80%8B", "%EF%BB%BF"] {
        let target = format!("/r1/EE/BUSINESS/producer/s{escape}/rest1");
        assert_eq!(get(&target), Err(MessageError::IdentifierCharacter), "{escape}");
    }
}

#[test]
fn headers_that_could_become_two_are_refused() {
    for (name, value) in [
        ("X-A", b"a\r\nX-Road-Client: EE/B/other".as_slice()),
        ("X-A", b"a\nb"),
        ("X-A", b"a\rb"),
        ("X-A", b"a\0b"),
        ("X-A", b"a\x1bb"),
        ("X-A\r\nX-B", b"a"),
        ("X A", b"a"),
        ("", b"a"),
        ("X-\u{e4}", b"a"),
    ] {
        assert_eq!(with_header(name, value), Err(MessageError::HeaderCharacter), "{name:?}");
    }
    assert!(with_header("X-A", b"a\tb").is_ok());
}

#[test]
fn an_empty_message_id_is_refused() {
    assert_eq!(with_header("X-Road-Id", b""), Err(MessageError::MessageIdEmpty));
}

#[test]
fn too_large_a_head_is_refused() {
    let long = vec![b'a'; MAX_PART_BYTES];
    let refused = with_header("X-A", &long).unwrap_err();
    assert_eq!((refused.leaf(), refused.http_status()), (Leaf::InvalidRequest, Some(431)));
    let many = vec![("X-A", b"a".as_slice()); MAX_HEADERS + 1];
    assert_eq!(ask("GET", TARGET, &many), Err(MessageError::TooLarge));
    // Received, at the limit and one past it: of bytes, of headers.
    let good = format!("GET\r\n{TARGET}\r\nX-Road-Client:EE/B/c\r\nx-road-id:i\r\nx-road-request-id:r\r\n");
    let parse = |part: String| RestRequest::parse(part.into()).map(drop);
    let of = |bytes: usize| format!("{good}X-A:{}\r\n", "a".repeat(bytes - good.len() - "X-A:\r\n".len()));
    assert_eq!(parse(of(MAX_PART_BYTES)), Ok(()));
    assert_eq!(parse(of(MAX_PART_BYTES + 1)), Err(MessageError::TooLarge));
    let with = |headers: usize| format!("{good}{}", "X-A:a\r\n".repeat(headers - 3));
    assert_eq!(parse(with(MAX_HEADERS)), Ok(()));
    assert_eq!(parse(with(MAX_HEADERS + 1)), Err(MessageError::TooLarge));
}

#[test]
fn received_parts_that_are_no_requests_are_refused() {
    let part = |lines: &str| {
        RestRequest::parse(format!("GET\r\n{TARGET}\r\n{lines}").into())
            .map(|request| request.header.message_id)
    };
    let good = "X-Road-Client:EE/B/c\r\nx-road-id:i\r\nx-road-request-id:r\r\n";
    assert_eq!(part(good), Ok("i".into()));
    assert_eq!(part(&good.replace("\r\n", "\n")), Ok("i".into()));
    assert_eq!(part(&format!("{good}Connection:x\r\n")), Err(MessageError::SkippedHeader("connection")));
    assert_eq!(part(&format!("{good}HOST:x\r\n")), Err(MessageError::SkippedHeader("host")));
    assert_eq!(part(&format!("{good}\r\n")), Err(MessageError::Line));
    assert_eq!(part(&format!("{good}nocolon\r\n")), Err(MessageError::Line));
    assert_eq!(part("x-road-id:i\r\nx-road-request-id:r\r\n"), Err(MessageError::ClientMissing));
    assert_eq!(
        part("X-Road-Client:EE/B/c\r\nx-road-id:i\r\n"),
        Err(MessageError::HeaderMissing("x-road-request-id"))
    );
    assert_eq!(
        part("X-Road-Client:EE/B/c\r\nx-road-request-id:r\r\n"),
        Err(MessageError::HeaderMissing("x-road-id"))
    );
    assert_eq!(part(&format!("{good}X-Road-Client:EE/B/d\r\n")), Ok("i".into()));
    assert_eq!(RestRequest::parse(Bytes::new()), Err(MessageError::Line));
    assert_eq!(RestRequest::parse(Bytes::from_static(b"GET\r\n")), Err(MessageError::Line));
    assert_eq!(RestRequest::parse(Bytes::from_static(b"\xff")), Err(MessageError::NotUtf8));
}

#[test]
fn a_response_is_written_as_x_road_writes_it() {
    let request = get(TARGET).unwrap();
    let answer = headers([
        ("Content-Type", b"text/plain; charset=utf-8".as_slice()),
        ("Content-Length", b"1"),
        ("Server", b"s"),
        ("Date", b"d"),
        ("X-Road-Service", b"EE/BUSINESS/producer/sub/own"),
        ("X-Road-Id", b"own"),
        ("X-Road-Client", b"own"),
        ("X-Road-Request-Id", b"own"),
        ("X-Road-Request-Hash", b"own"),
        ("X-Road-Error", b"own"),
        ("X-L1", b"\xe4"),
    ]);
    let response = RestResponse::from_service(200, b"\xc4", &answer, &request, "aGFzaA==").unwrap();
    assert_eq!(
        text(response.part()),
        "200\r\n\u{c4}\r\nContent-Type:text/plain; charset=utf-8\r\nDate:d\r\n\
         X-Road-Service:EE/BUSINESS/producer/sub/own\r\nX-Road-Error:own\r\nX-L1:\u{e4}\r\nx-road-id:fresh\r\n\
         x-road-client:EE/BUSINESS/consumer/sub\r\nx-road-service:EE/BUSINESS/producer/sub/rest1\r\n\
         x-road-request-id:rid\r\nx-road-request-hash:aGFzaA==\r\n"
    );
    assert_eq!((response.status, response.reason.as_ref()), (200, b"\xc4".as_slice()));
    assert_eq!(response.service.as_ref(), Some(&request.header.service));
    assert_eq!(response.client.as_ref(), Some(&request.header.client));
    assert_eq!(response.request_id.as_deref(), Some("rid"));
    assert_eq!(RestResponse::parse(response.part().clone()), Ok(response));
}

#[test]
fn answers_that_no_part_can_carry_are_refused() {
    let request = get(TARGET).unwrap();
    let answer = |status, reason: &[u8], value: &[u8]| {
        RestResponse::from_service(status, reason, &headers([("X-A", value)]), &request, "aGFzaA==").err()
    };
    assert_eq!(answer(200, b"", b""), None);
    assert_eq!(answer(99, b"", b""), Some(MessageError::Status));
    assert_eq!(answer(1000, b"", b""), Some(MessageError::Status));
    assert_eq!(answer(200, b"a\r\nX-B:1", b""), Some(MessageError::HeaderCharacter));
    assert_eq!(answer(200, b"", b"a\r\nX-B:1"), Some(MessageError::HeaderCharacter));
}

#[test]
fn received_parts_that_are_no_responses_are_refused() {
    let part = |text: &str| RestResponse::parse(text.to_owned().into()).map(|response| response.status);
    assert_eq!(part("200\r\n\r\nx-road-id:i\r\nx-road-request-hash:h\r\n"), Ok(200));
    assert_eq!(part("200\r\n\r\nx-road-request-hash:h\r\n"), Err(MessageError::HeaderMissing("x-road-id")));
    assert_eq!(
        part("200\r\n\r\nx-road-id:\r\nx-road-request-hash:h\r\n"),
        Err(MessageError::HeaderMissing("x-road-id"))
    );
    assert_eq!(part("200\r\n\r\nx-road-id:i\r\n"), Err(MessageError::HeaderMissing("x-road-request-hash")));
    for status in ["", "+20", "20", "2000", "abc", "-20"] {
        let text = format!("{status}\r\nOK\r\nx-road-id:i\r\nx-road-request-hash:h\r\n");
        assert_eq!(part(&text), Err(MessageError::Status), "{status}");
    }
}

#[test]
fn the_request_hash_is_over_digests_when_there_is_a_body() {
    let sha512 = DigestAlgorithm::Sha512;
    let without = PartDigests::of_message(sha512, b"part");
    assert_eq!(request_hash(&without), digest(sha512, b"part").base64());
    let with = without.clone().with_attachment(digest(sha512, b"body"));
    let both = [digest(sha512, b"part"), digest(sha512, b"body")];
    let both: Vec<u8> = both.iter().flat_map(|digest| digest.as_ref().to_vec()).collect();
    assert_eq!(request_hash(&with), digest(sha512, &both).base64());
}

proptest! {
    #[test]
    fn what_is_made_is_read_again(
        names in prop::collection::vec("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", 0..8),
        values in prop::collection::vec(prop::collection::vec(prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(9)], 0..30), 8),
        path in "(/[A-Za-z0-9._~+;:@!$&'()*,=-]{0,5}){0,4}",
        query in proptest::option::of("[A-Za-z0-9?/&=+\\[\\]-]{0,20}"),
    ) {
        let target = query.map_or_else(|| format!("{TARGET}{path}"), |query| format!("{TARGET}{path}?{query}"));
        let mut sent: Vec<_> = names.iter().zip(&values)
            .map(|(name, value)| (Bytes::from(name.clone()), Bytes::from(value.clone())))
            .filter(|(name, _)| !name.to_ascii_lowercase().starts_with(b"x-road"))
            .collect();
        sent.extend(headers([client()]));
        let made = RestRequest::from_client("PUT", &target, &sent, "r", || "i".to_owned(), STRICT);
        // Servlets read a segment up to its semicolon.
        let hazard = path.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")));
        if hazard {
            prop_assert!(matches!(made, Err(MessageError::Path(PathHazard::DotSegment | PathHazard::AboveRoot))));
        } else {
            let made = made.unwrap();
            prop_assert_eq!(RestRequest::parse(made.part().clone()), Ok(made.clone()));
            let skipped = |name: &Bytes| ["te", "host", "server", "expect", "trailer", "upgrade"].iter()
                .any(|skipped| name.eq_ignore_ascii_case(skipped.as_bytes()));
            sent.retain(|(name, _)| !skipped(name));
            prop_assert_eq!(&made.headers[..sent.len()], &sent[..]);
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(part in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = RestRequest::parse(part.clone().into());
        let _ = RestResponse::parse(part.into());
    }
}
