//! Requests that somebody could understand in two ways: paths, methods, headers, framing. Made the same every time.

use std::collections::BTreeSet;

use integration::attacks::{CHARACTERS, CHUNKS, CODINGS, FIRST, HARMLESS, HAZARDS, HEADS, LENGTHS};

/// What a peer signs: a method, what follows the service code in the path, headers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signed {
    pub(crate) verb: String,
    pub(crate) path: String,
    /// Lines, each with its end.
    pub(crate) headers: String,
    pub(crate) body: Option<&'static [u8]>,
}

impl Signed {
    fn path(path: impl Into<String>) -> Self {
        Self { verb: "GET".to_owned(), path: path.into(), headers: String::new(), body: None }
    }
}

/// Pieces of paths that lead elsewhere for somebody: read once, twice, by other rules.
const PIECES: &[&str] = &[
    "/..;/",
    "/..;x=y/",
    "/.;/",
    "/%2e%2e;/",
    "/%2e;x/",
    "/;/../",
    "/;x/..;/",
    "/..%3b/",
    "/..%3bx/",
    "//",
    "///",
    "/./",
    "/../",
    "/.%2e/",
    "/%2E./",
    "/%252e%252e/",
    "/%25252e%25252e/",
    "/%c0%ae%c0%ae/",
    "/%e0%80%ae%e0%80%ae/",
    "/%uff0e%uff0e/",
    "/\u{ff0e}\u{ff0e}/",
    "/\u{2024}\u{2024}/",
    "/..\u{2215}",
    "/..%ef%bc%8f",
    "/..%5c",
    "/..\\",
    "/..%255c",
    "/..%2f",
    "/..%252f",
    "/%2e%2e%2f",
    "/%09../",
    "/..%09/",
    "/..%20/",
    "/%20../",
    "/..%0a/",
    "/..%0d%0a/",
    "/..%00/",
    "/..%23/",
    "/..%3f/",
    "/..?/",
    "/..#/",
    "/.../",
    "/....//",
    "/~/",
    "/*/",
    "/%2a/",
    "/..\u{0}/",
    "/.. /",
    "/..\t/",
];

/// Every path, each once.
pub(crate) fn paths() -> Vec<Signed> {
    let mut paths = BTreeSet::new();
    for listed in [HAZARDS, HARMLESS, CHARACTERS] {
        for path in listed {
            paths.insert((*path).to_owned());
            paths.insert(format!("/open{path}"));
        }
    }
    for piece in PIECES {
        for before in ["", "/open/x"] {
            for behind in ["", "shut", "open/x"] {
                paths.insert(format!("{before}{piece}{behind}"));
            }
        }
    }
    for byte in 0..=255_u8 {
        let c = char::from(byte);
        paths.insert(format!("/open/a%{byte:02x}b"));
        if byte < 0x80 {
            paths.insert(format!("/open/a{c}b"));
        }
        if byte < 0x80 && !c.is_ascii_alphanumeric() {
            paths.insert(format!("/open%{byte:02X}/shut"));
            paths.insert(format!("{c}/open/x"));
        }
    }
    for path in [
        "/open/x",
        "/shut/x",
        "/open",
        "/OPEN/x",
        "/open/x/",
        "/open/x?a=b",
        "/open/x?/../../shut",
        "/open/x?%2e%2e/%00",
    ] {
        paths.insert(path.to_owned());
    }
    // What ends a line ends the part's: the part says something else then, and is no path.
    paths.into_iter().filter(|path| !path.contains("\r\n")).map(Signed::path).collect()
}

/// Methods, and headers that frame a message or change what is asked.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn heads() -> Vec<Signed> {
    let mut heads = Vec::new();
    for verb in [
        "GET",
        "get",
        "Get",
        "GET ",
        " GET",
        "GET\t",
        "G\tET",
        "GET\0",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "PRI",
        "BREW",
        "",
        "GET /shut HTTP/1.1",
        "GET\n",
        "GET\r",
    ] {
        for path in ["/open/x", "/open/x/notes", "/shut/x"] {
            for body in [None, Some(&b"a body"[..])] {
                heads.push(Signed { verb: verb.to_owned(), body, ..Signed::path(path) });
            }
        }
    }
    let hidden = "GET /shut HTTP/1.1";
    for line in [
        "Host:evil\r\n",
        "Host: evil\r\nHost: other\r\n",
        "X-Forwarded-Host:evil\r\n",
        "Content-Length:0\r\n",
        "Content-Length:3\r\n",
        "Content-Length:300\r\n",
        "Content-Length:6\r\nContent-Length:0\r\n",
        "content-length: 6, 6\r\n",
        "Content-Length:-1\r\n",
        "Transfer-Encoding:chunked\r\n",
        "Transfer-Encoding:identity\r\n",
        "transfer-encoding:gzip, chunked\r\n",
        "Transfer-Encoding:xchunked\r\n",
        "Transfer-Encoding:chunked\r\nContent-Length:3\r\n",
        "Transfer_Encoding:chunked\r\n",
        "Content_Length:3\r\n",
        "TE:trailers\r\nTrailer:X\r\n",
        "Connection:close\r\n",
        "Connection:keep-alive, Content-Length\r\n",
        "Connection:X-Road-Id\r\n",
        "Connection:upgrade\r\nUpgrade:websocket\r\n",
        "Connection:upgrade, HTTP2-Settings\r\nUpgrade:h2c\r\nHTTP2-Settings:AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Upgrade:h2c\r\n",
        "Keep-Alive:timeout=1\r\n",
        "Proxy-Connection:keep-alive\r\n",
        "Proxy-Authorization:Basic eA==\r\n",
        "Expect:100-continue\r\n",
        "Expect:nonsense\r\n",
        "Range:bytes=0-1\r\n",
        "Max-Forwards:0\r\n",
        "X: a\r\n b\r\n",
        "X:a\n b\r\n",
        "X:a\nContent-Length:0\r\n",
        "X:a\rContent-Length:0\r\n",
        "X:a\0b\r\n",
        "X\0:a\r\n",
        "X Y:a\r\n",
        "X :a\r\n",
        " X:a\r\n",
        ":a\r\n",
        "X\r\n",
        "X(:a\r\n",
        "X\u{e9}:a\r\n",
        "X:\u{e9}\r\n",
        "X:\u{a0}\u{feff}\r\n",
        "X:a\x0b\x0cb\r\n",
        "X:a\x7fb\r\n",
        "\r\n",
        "\n",
    ] {
        for (verb, body) in
            [("GET", None), ("POST", Some(&b"a body"[..])), ("POST", Some(b"")), ("POST", None)]
        {
            let path = if verb == "POST" { "/open/x/notes" } else { "/open/x" };
            heads.push(Signed {
                verb: verb.to_owned(),
                headers: line.to_owned(),
                body,
                ..Signed::path(path)
            });
        }
    }
    // A request within a body, and within the head.
    for body in [
        &b"GET /shut HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"0\r\n\r\nGET /shut HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\n\r\n",
        b"0\r\n\r\n",
    ] {
        let verb = "POST".to_owned();
        heads.push(Signed { verb, body: Some(body), ..Signed::path("/open/x/notes") });
    }
    for end in ["\r\n\r\n", "\n\n", "\r\r", "\n"] {
        let headers = format!("X:a{end}{hidden}\r\n");
        heads.push(Signed { headers, ..Signed::path("/open/x") });
    }
    heads
}

/// Stands in [`bytes`] for a message id of as many letters.
pub(crate) const ID: &str = "IDIDIDID";

/// What an information system may write, byte by byte, to a service whose path is `target`. Each has a second request
/// where another reading would find it.
pub(crate) fn bytes(target: &str, client: &str) -> Vec<String> {
    let head = format!("Host: gateway\r\nX-Road-Client: {client}\r\nX-Road-Id: {ID}\r\n");
    let hidden = format!(
        "GET {target}/open/hidden HTTP/1.1\r\nHost: gateway\r\nX-Road-Client: {client}\r\nX-Road-Id: {ID}-hidden\r\n\
         Connection: close\r\n\r\n"
    );
    let post = format!("POST {target}/open/x/notes HTTP/1.1\r\n{head}");
    let inside = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let mut all = Vec::new();
    for coding in CODINGS {
        all.push(format!("{post}{coding}\r\n0\r\n\r\n{hidden}"));
        all.push(format!("{post}Content-Length: 5\r\n{coding}\r\n0\r\n\r\n{hidden}"));
        all.push(format!("{post}{coding}Content-Length: 4\r\n\r\n{inside}"));
    }
    for length in LENGTHS {
        all.push(format!("{post}{length}\r\nhello{hidden}"));
    }
    for (_, lines) in HEADS {
        all.push(format!("{post}{lines}Content-Length: 0\r\n\r\n{hidden}"));
    }
    for (_, chunks) in CHUNKS {
        all.push(format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunks}{hidden}"));
    }
    for (_, first) in FIRST {
        let first = first.replace("{t}", &format!("{target}/open/x"));
        all.push(format!("{first}{head}\r\n{hidden}"));
    }
    let get = |form: &str| format!("GET {form} HTTP/1.1\r\n{head}\r\n{hidden}");
    for form in [
        "http://evil{t}/open/x",
        "HTTP://evil{t}/open/x",
        "http://evil:80{t}/open/x",
        "http://user@evil{t}/open/x",
        "https://evil{t}/open/x",
        "//evil{t}/open/x",
        "/{t}/open/x",
        "evil:80",
        "*",
        "{t}/open/x#fragment",
        "{t}/open/x?a#b",
        "?{t}/open/x",
        "/..{t}/open/x",
        "/.{t}/open/x",
        "/%2e{t}/open/x",
        "/x/..{t}/open/x",
    ] {
        all.push(get(&form.replace("{t}", target)));
    }
    // Good ones, framed in every good way.
    all.push(format!("{post}Content-Length: 5\r\n\r\nhello{hidden}"));
    all.push(format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{hidden}"));
    all.push(format!(
        "{post}Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nX: trailer\r\n\r\n{hidden}"
    ));
    all.push(format!("{post}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello{hidden}"));
    all.push(format!("\r\n\r\n{post}Content-Length: 0\r\n\r\n{hidden}"));
    all.push(get(&format!("{target}/open/x")));
    all
}
