//! HTTP: requests that two readers could frame in two ways (T17).
//!
//! Each carries a second, good request in the place where the other reading would find it: at the plain door one of the
//! usual client, at the peer door a signed message. Were it served, the service would be called.

use super::case::{Case, Expected, asking, serving};
use crate::world::{RECORDS, World};

/// One refusal, and the end: nothing behind it is read.
const REFUSED: Expected = Expected::Bare(400);

/// A door, seen by somebody who smuggles.
struct Door {
    name: &'static str,
    /// The beginning of a request that is served, up to the headers that frame it.
    head: String,
    /// A whole good request.
    hidden: Vec<u8>,
    case: fn(String, Vec<u8>, Expected) -> Case,
    /// What it says when a body breaks that it has begun to read.
    broken: fn() -> Expected,
}

async fn doors(world: &World) -> [Door; 2] {
    let good =
        format!("{RECORDS}/hidden HTTP/1.1\r\nHost: gateway\r\nX-Road-Client: DEMO/GOV/1001/portal\r\n");
    let message =
        world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/hidden"), "hidden", None).await;
    let mut headers = "POST / HTTP/1.1\r\nHost: peer\r\n".to_owned();
    for (name, value) in &message.headers {
        headers.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut hidden = message.clone();
    hidden.headers.push(("connection".to_owned(), "close".to_owned()));
    [
        Door {
            name: "http",
            head: format!("POST {good}"),
            hidden: format!("GET {good}Connection: close\r\n\r\n").into_bytes(),
            case: |name, bytes, expected| Case::plain(name, bytes, expected),
            broken: || asking("io_error"),
        },
        Door {
            name: "peers",
            head: headers,
            hidden: hidden.bytes(),
            case: |name, bytes, expected| Case::peer(name, bytes, expected),
            broken: || serving("service_failed.io_error"),
        },
    ]
}

impl Door {
    /// A request with these framing headers (each with its line end), and this behind its head.
    fn request(&self, framing: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{}{framing}\r\n", self.head).into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    fn refused(&self, what: &str, framing: &str, body: &[u8]) -> Case {
        (self.case)(format!("{}: {what}", self.name), self.request(framing, body), REFUSED)
    }

    /// The hidden request behind an empty chunked body.
    fn behind_chunks(&self) -> Vec<u8> {
        [b"0\r\n\r\n", self.hidden.as_slice()].concat()
    }

    /// The hidden request inside a chunk.
    fn inside_chunk(&self) -> Vec<u8> {
        let size = format!("{:x}\r\n", self.hidden.len());
        [size.as_bytes(), &self.hidden, b"\r\n0\r\n\r\n"].concat()
    }
}

/// Ways to write `Transfer-Encoding: chunked` that somebody takes for it, and somebody else does not.
pub const CODINGS: &[&str] = &[
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding\t: chunked\r\n",
    " Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding\r\n: chunked\r\n",
    "X: x\nTransfer-Encoding: chunked\r\n",
    "X: x\rTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: ,chunked\r\n",
    "Transfer-Encoding: chunked,\r\n",
    "Transfer-Encoding: chunked;q=1\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding: 'chunked'\r\n",
    "Transfer-Encoding: chunk\r\n",
    "Transfer-Encoding: chun ked\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "Transfer-Encoding: \x0cchunked\r\n",
    "Transfer-Encoding: chunked\x0b\r\n",
    "Transfer-Encoding: \0chunked\r\n",
    "Transfer-Encoding: \u{a0}chunked\r\n",
    "Transfer-Encoding: \u{feff}chunked\r\n",
    "Transfer-Encoding:\r\n",
    "Transfer-Encoding: cow\r\n",
];

/// Ways to write a length that somebody reads otherwise.
pub const LENGTHS: &[&str] = &[
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 0\r\n",
    "Content-Length: 0\r\nContent-Length: 5\r\n",
    "Content-Length: 0\r\ncontent-length: 5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: 0, 5\r\n",
    "Content-Length: 5,\r\n",
    "Content-Length: ,5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: -5\r\n",
    "Content-Length: -0\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length: 5.0\r\n",
    "Content-Length: 5e0\r\n",
    "Content-Length: 1 2\r\n",
    "Content-Length: 1_0\r\n",
    "Content-Length: 5;\r\n",
    "Content-Length: \"5\"\r\n",
    "Content-Length: five\r\n",
    "Content-Length:\r\n",
    "Content-Length: \x0b5\r\n",
    "Content-Length: 5\x0c\r\n",
    "Content-Length: \0\r\n",
    "Content-Length: \u{0665}\r\n",
    "Content-Length : 5\r\n",
    "Content-Length\t: 5\r\n",
    " Content-Length: 5\r\n",
    "Content-Length:\r\n 5\r\n",
    "X: x\nContent-Length: 5\r\n",
    "X: x\rContent-Length: 5\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: 99999999999999999999999999999999\r\n",
];

/// Heads that are not framed twice, but in doubt all the same.
pub const HEADS: &[(&str, &str)] = &[
    ("a line that is folded", "X: a\r\n b\r\n"),
    ("a line that is folded with a tab", "X: a\r\n\tb\r\n"),
    ("a bare line feed between lines", "X: a\nY: b\r\n"),
    ("a bare carriage return in a value", "X: a\rb\r\n"),
    ("a NUL in a value", "X: a\0b\r\n"),
    ("a NUL in a name", "X\0: a\r\n"),
    ("a line without a colon", "nonsense\r\n"),
    ("a line without a name", ": a\r\n"),
    ("a name with a blank", "X Y: a\r\n"),
    ("a name with a bracket", "X(: a\r\n"),
    ("a name beyond ASCII", "X\u{e9}: a\r\n"),
    ("a second host", "Host: other\r\n"),
    ("an upgrade that the connection does not name", "Upgrade: h2c\r\n"),
    ("an upgrade to a WebSocket that the connection does not name", "Upgrade: websocket\r\n"),
];

/// Chunks that are none, each with the good request behind it. `{}` stands for a chunk of five bytes.
pub const CHUNKS: &[(&str, &str)] = &[
    ("a size of letters", "xyz\r\nhello\r\n0\r\n\r\n"),
    ("an empty size", "\r\nhello\r\n0\r\n\r\n"),
    ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
    ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size with a blank before it", " 5\r\nhello\r\n0\r\n\r\n"),
    ("a size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("a size with a point", "5.0\r\nhello\r\n0\r\n\r\n"),
    ("a size of 17 digits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a size of 20 digits", "FFFFFFFFFFFFFFFFFFFB\r\nhello\r\n0\r\n\r\n"),
    ("a size ended by a bare line feed", "5\nhello\r\n0\r\n\r\n"),
    ("a size ended by a bare carriage return", "5\rhello\r\n0\r\n\r\n"),
    ("data longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
    ("data shorter than its size", "6\r\nhello\r\n0\r\n\r\n"),
    ("data ended by a bare line feed", "5\r\nhello\n0\r\n\r\n"),
    ("data ended by nothing", "5\r\nhello0\r\n\r\n"),
    ("data ended by a bare carriage return", "5\r\nhello\r0\r\n\r\n"),
    ("an extension with a bare line feed", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("a last chunk ended by a bare line feed", "5\r\nhello\r\n0\n\r\n"),
    ("an end of a bare line feed", "5\r\nhello\r\n0\r\n\n"),
];

/// First lines that are none.
pub const FIRST: &[(&str, &str)] = &[
    ("no version", "GET {t}\r\n"),
    ("a version of the future", "GET {t} HTTP/3.0\r\n"),
    ("HTTP/2.0 without its preface", "GET {t} HTTP/2.0\r\n"),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n"),
    ("two blanks", "GET  {t} HTTP/1.1\r\n"),
    ("a tab", "GET\t{t} HTTP/1.1\r\n"),
    ("a blank in the target", "GET {t} x HTTP/1.1\r\n"),
    ("a bare line feed", "GET {t} HTTP/1.1\n"),
    ("a bare carriage return", "GET {t} HTTP/1.1\r"),
    ("no method", " {t} HTTP/1.1\r\n"),
    ("a method with a colon", "GE:T {t} HTTP/1.1\r\n"),
    ("a NUL in the target", "GET {t}\0 HTTP/1.1\r\n"),
    ("a fragment", "GET {t}#x HTTP/1.1\r\n"),
    ("a bad escape", "GET {t}%zz HTTP/1.1\r\n"),
    ("CONNECT", "CONNECT gateway:80 HTTP/1.1\r\n"),
];

/// T17.
pub(super) async fn smuggling(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for door in doors(world).await {
        let alone = Expected::Passes("GET /base/hidden HTTP/1.1".to_owned());
        let name = format!("{}: what is hidden below would be served", door.name);
        cases.push((door.case)(name, door.hidden.clone(), alone));
        for coding in CODINGS {
            let what = coding.escape_debug();
            let length = |body: &[u8]| format!("Content-Length: {}\r\n{coding}", body.len());
            let body = door.behind_chunks();
            cases.push(door.refused(&format!("{what} after the length"), &length(&body), &body));
            let body = door.inside_chunk();
            let framing = format!("{coding}Content-Length: 4\r\n");
            cases.push(door.refused(&format!("{what} before a short length"), &framing, &body));
            cases.push(door.refused(&format!("{what} alone"), coding, &door.behind_chunks()));
        }
        let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
        cases.push(door.refused("a length and chunks", both, &door.behind_chunks()));
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n";
        cases.push(door.refused("chunks and no length", both, &door.inside_chunk()));
        for length in LENGTHS {
            let body = [b"hello", door.hidden.as_slice()].concat();
            cases.push(door.refused(&length.escape_debug().to_string(), length, &body));
        }
        for (what, lines) in HEADS {
            cases.push(door.refused(what, lines, &door.hidden));
        }
        cases.extend(first_lines(&door));
        for (what, body) in CHUNKS {
            let body = [body.as_bytes(), &door.hidden].concat();
            let bytes = door.request("Transfer-Encoding: chunked\r\n", &body);
            let code = (door.broken)();
            cases.push((door.case)(format!("{}: {what}", door.name), bytes, code));
        }
    }
    cases
}

fn first_lines(door: &Door) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, line) in FIRST {
        let mut bytes = line.replace("{t}", RECORDS).into_bytes();
        bytes.extend_from_slice(b"Host: gateway\r\n\r\n");
        bytes.extend_from_slice(&door.hidden);
        cases.push((door.case)(format!("{}: {what}", door.name), bytes, REFUSED));
    }
    let old = door.head.replace("HTTP/1.1", "HTTP/1.0");
    let mut bytes = format!("{old}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    bytes.extend(door.behind_chunks());
    cases.push((door.case)(format!("{}: chunks in HTTP/1.0", door.name), bytes, REFUSED));
    let nameless = door.head.replace("Host: gateway\r\n", "").replace("Host: peer\r\n", "");
    let mut bytes = format!("{nameless}\r\n").into_bytes();
    bytes.extend_from_slice(&door.hidden);
    cases.push((door.case)(format!("{}: no host", door.name), bytes, REFUSED));
    cases
}
