//! Heads from whole byte strings, cut at every place.

use super::*;

fn read(bytes: &[u8], step: usize) -> (Vec<Result<RequestHead, StatusCode>>, State) {
    let mut reader = Reader::new();
    for piece in bytes.chunks(step) {
        reader.follow(piece, &DoorLimits::default());
    }
    (reader.ready.into(), reader.state)
}

fn refused(bytes: &str) -> Option<StatusCode> {
    let (heads, _) = read(bytes.as_bytes(), bytes.len());
    heads.into_iter().next()?.err()
}

const TWO: &str = "\r\nPOST /r1/A%2Fb//c?x=%20 HTTP/1.1\r\nHost: h\r\nX-Road-Client:  A/B/C \r\nACCEPT: a\r\nx: 1\r\nX: 2\r\n\
    Transfer-Encoding: chunked\r\n\r\n4;a=b\r\nGET \r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nT: 1\r\n\r\n\
    PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /GET http://h:1/x?y HTTP/1.0\r\n\r\n";

#[test]
fn heads_keep_case_order_and_target_wherever_the_bytes_are_cut() {
    for step in 1..TWO.len() {
        let (heads, state) = read(TWO.as_bytes(), step);
        let heads: Vec<RequestHead> = heads.into_iter().map(Result::unwrap).collect();
        assert_eq!(heads.len(), 3, "pieces of {step}");
        assert_eq!(heads[0].target, "/r1/A%2Fb//c?x=%20");
        let names: Vec<&[u8]> = heads[0].headers.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, [&b"Host"[..], b"X-Road-Client", b"ACCEPT", b"x", b"X", b"Transfer-Encoding"]);
        assert_eq!(heads[0].header("x-road-client").unwrap(), "A/B/C");
        assert_eq!(heads[1].method, "PUT");
        assert_eq!((heads[2].target.as_str(), heads[2].path_and_query()), ("http://h:1/x?y", "/x?y"));
        assert_eq!(state, State::Head);
    }
}

#[test]
fn doubtful_framing_is_refused() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    for lines in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 9999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: a\r\n b\r\n",
        "X: a\nY: b\r\n",
        "Host: other\r\n",
        "Upgrade: foo/1\r\n",
        "X: \0\r\n",
    ] {
        assert_eq!(refused(&with(lines)), Some(StatusCode::BAD_REQUEST), "{lines:?}");
    }
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Some(StatusCode::BAD_REQUEST), "no Host");
    assert_eq!(
        refused("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Some(StatusCode::BAD_REQUEST)
    );
    assert_eq!(refused("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"), Some(StatusCode::BAD_REQUEST));
    assert_eq!(refused("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"), Some(StatusCode::BAD_REQUEST));
    for target in ["/a%zz", "/a%2", "/a%", "/%%20", "/a%+1"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(refused(&request), Some(StatusCode::BAD_REQUEST), "{target}");
    }
    assert_eq!(refused("GET /%aF%25?%zz HTTP/1.1\r\nHost: h\r\n\r\n"), None);
    assert_eq!(refused(&with("Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n")), None);
}

#[test]
fn oversized_heads_are_refused() {
    let long = "x".repeat(17 * 1024);
    let status = |text: String| refused(&text);
    let too_large = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n")), too_large);
    assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(200))), too_large);
    assert_eq!(
        status(format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "X: yyyyyyyyyyyy\r\n".repeat(5000))),
        too_large
    );
    assert_eq!(status(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")), Some(StatusCode::URI_TOO_LONG));
}

#[test]
fn nothing_is_read_as_a_request_behind_a_broken_chunk() {
    for chunk in ["x\r\n", "\r\n", "5\nabcde", "1\r\nab\r\n", "ffffffffffffffff\r\n", "0\r\nX\n", "1;\n"] {
        let text = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}GET /evil HTTP/1.1\r\nHost: h\r\n\r\n"
        );
        let (heads, state) = read(text.as_bytes(), text.len());
        assert_eq!((heads.len(), state), (1, State::Lost), "{chunk:?}");
    }
}

#[test]
fn a_body_whose_end_is_in_doubt_is_known() {
    let begin = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (end, is_clear) in [
        ("0\r\n\r\n", true),
        ("0\r\nT: 1\r\n\r\n", true),
        ("0\r\n\n", false),
        ("0\n\r\n", false),
        ("0\r\nT: 1\n\r\n", false),
    ] {
        let heads = Heads::new(&DoorLimits::default());
        heads.observe(begin.as_bytes());
        heads.observe(end.as_bytes());
        assert_eq!(!heads.is_body_in_doubt(), is_clear, "{end:?}");
    }
}
