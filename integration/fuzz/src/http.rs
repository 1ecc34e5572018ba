//! What stands around messages in HTTP: request heads, queries, trace contexts, paths of tiles, path patterns.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gateway::access::endpoint::PathGlob;
use gateway::fuzzing::{self, Heads};
use gateway::message::multipart::ContentType;
use gateway::message::rest::{PathRules, ServicePath};
use gateway::opmonitor::trace_context::{TraceContext, among, passed_on};
use gateway::transparency::TilePath;
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::line;

/// Heads of requests beside hyper, on a whole connection: each request that hyper reads is refused, or is read the same.
/// The first byte says how the bytes are cut.
pub fn request_head(data: &[u8]) {
    let Some((first, connection)) = data.split_first() else { return };
    let step = usize::from(*first).max(1);
    let heads = Arc::new(Heads::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (ours, theirs) = (Arc::clone(&heads), Arc::clone(&seen));
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (heads, seen) = (Arc::clone(&ours), Arc::clone(&theirs));
            async move {
                let (parts, body) = request.into_parts();
                let taken = heads.take(&parts);
                let whole = body.collect().await.is_ok();
                seen.lock().unwrap().push((parts, taken, whole));
                Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
            }
        });
        let serving =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let feeding = async {
            for piece in connection.chunks(step) {
                heads.observe(piece);
                if client.write_all(piece).await.is_err() {
                    break;
                }
            }
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut Vec::new()).await;
        };
        let _ = tokio::join!(serving, feeding);
    });
    let mut refused = false;
    for (read, ours, whole) in seen.lock().unwrap().drain(..) {
        match ours {
            Ok(head) if !refused => {
                assert_eq!(head.method, read.method.as_str());
                assert!(head.headers.len() == read.headers.len());
                let target = read.uri.path_and_query().map(|target| target.as_str());
                if head.target.starts_with('/') {
                    // hyper cuts a fragment off, which no request target has.
                    assert_eq!(head.target.split('#').next(), target, "two targets of one request");
                }
                if whole && heads.is_body_in_doubt() {
                    refused = true;
                }
            }
            // After a refusal the door closes: what hyper makes of the rest is never asked.
            _ => refused = true,
        }
    }
}

/// The query of a request.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(named) = fuzzing::query(text) else { return };
    assert!(named.len() <= text.split('&').count());
}

/// W3C trace context: header names and values, a line each.
pub fn trace_context(data: &[u8]) {
    let headers: Vec<(Bytes, Bytes)> = data
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((Bytes::copy_from_slice(&line[..colon]), Bytes::copy_from_slice(&line[colon + 1..])))
        })
        .collect();
    let _ = among(&headers);
    let given = passed_on(&headers);
    let context = TraceContext::of(&headers).unwrap();
    assert_eq!(context.parent.is_some(), !given.is_empty());
    // What is told onwards is read again as what it was.
    let told: Vec<_> = context.headers().map(|(name, value)| (name.into(), Bytes::from(value))).collect();
    let again = TraceContext::of(&told).unwrap();
    assert_eq!(
        (again.trace, again.parent, again.sampled),
        (context.trace, Some(context.span), context.sampled)
    );
    assert_eq!(again.state, context.state);
}

/// The path of a tile: one tile has one.
pub fn tile_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(path) = TilePath::parse(text) {
        assert!(path.width <= 256 && path.width > 0 && path.level.is_none_or(|level| level < 64));
    }
}

/// A pattern in a line, then a path: the same verdict as by trying all there is; with a line end in it, never a kinder one.
pub fn path_pattern(data: &[u8]) {
    let Some((pattern, path)) = line(data) else { return };
    let Ok(path) = std::str::from_utf8(path) else { return };
    let glob = PathGlob::new(pattern);
    assert_eq!(glob.to_string(), pattern);
    let verdict = glob.matches(path);
    if pattern.len() <= 24 && path.len() <= 24 && !pattern.contains('%') {
        let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
        let ends = |c: &char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let all = tries(&pattern, &path);
        assert!(verdict == all || all && path.iter().any(ends), "{glob} {path:?}");
    }
}

/// Whether the pattern can be read as this path; every way is tried.
fn tries(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['\\', escaped @ ('*' | '\\'), rest @ ..] => path.first() == Some(escaped) && tries(rest, &path[1..]),
        ['*', '*', rest @ ..] => {
            let more = rest.iter().take_while(|c| **c == '*').count();
            let ends = |c: &char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            let most = path.iter().position(ends).unwrap_or(path.len());
            (0..=most).any(|taken| tries(&rest[more..], &path[taken..]))
        }
        // Takes all it can get, and gives nothing back.
        ['*', rest @ ..] => tries(rest, &path[path.iter().position(|c| *c == '/').unwrap_or(path.len())..]),
        [c, rest @ ..] => path.first() == Some(c) && tries(rest, &path[1..]),
    }
}

/// A path in the form that rights are decided on; decided again it is the same.
pub fn service_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = ServicePath::new(text);
    assert_eq!(path.raw(), text);
    let all = PathRules { encoded_slash: true, dot_segments: true };
    if path.check(PathRules::default()).is_ok() {
        assert!(path.check(all).is_ok());
        assert!(!path.decided().contains(['\\', ServicePath::ENCODED_SLASH]), "{:?}", path.decided());
        assert!(!path.decided().split('/').any(|segment| segment == "." || segment == ".."));
    }
    if path.check(all).is_ok() {
        assert!(!path.decided().split('/').any(|segment| segment == "." || segment == ".."));
    }
}

/// A content type; written with its own boundary it means the same.
pub fn content_type(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(parsed) = ContentType::parse(text) else { return };
    assert_eq!(parsed.as_str(), text.trim_matches([' ', '\t']));
    let _ = (parsed.media_type(), parsed.parameter("type"));
    if let Ok(boundary) = parsed.boundary() {
        let again = ContentType::parse(&parsed.with_boundary(&boundary)).unwrap();
        assert_eq!(again.boundary().unwrap().as_str(), boundary.as_str());
        assert_eq!(again.media_type(), parsed.media_type());
    }
}
