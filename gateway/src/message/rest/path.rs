//! The path of a service: what follows the service code in a request's path.
//!
//! Rights are decided on its decoded form, the service gets its raw form. So that both mean one thing, whatever
//! another reader could take otherwise is a hazard: dot segments (also `..;x`, which servlets read as `..`), encoded
//! slashes, backslashes, NUL, bytes that are no UTF-8.
//!
//! Specification: RFC 3986, 3.3 and 5.2.4. Threat T18.
//!
//! # Compatibility
//! X-Road passes all of these on, and decides on a normalised form of them. Here they are refused; encoded slashes and
//! dot segments may be allowed.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a service path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathHazard {
    /// A segment is `.` or `..`, written plainly or escaped.
    #[error("the service path holds a dot segment")]
    DotSegment,
    /// Dot segments lead above the service.
    #[error("the service path leads above the service")]
    AboveRoot,
    /// `%2F`.
    #[error("the service path holds an encoded slash")]
    EncodedSlash,
    /// `\` or `%5C`.
    #[error("the service path holds a backslash")]
    Backslash,
    /// `%00`.
    #[error("the service path holds a NUL character")]
    Nul,
    /// Escapes that are not UTF-8.
    #[error("the service path is not UTF-8")]
    NotUtf8,
}

/// What of the hazards an operator lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathRules {
    /// Whether `%2F` may stand in a service path.
    pub encoded_slash: bool,
    /// Whether `.` and `..` may: rights are then decided on the path that they lead to.
    pub dot_segments: bool,
}

/// A service path in both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePath {
    raw: String,
    decided: String,
    hazard: Option<PathHazard>,
    encoded_slash: bool,
    dot_segments: bool,
}

impl ServicePath {
    /// What stands for an encoded slash in the decoded form. No path that passes [`Self::check`] holds it otherwise.
    pub const ENCODED_SLASH: char = '\0';

    /// Takes the raw path, whose escapes are well-formed: empty, or beginning with a slash.
    pub fn new(raw: &str) -> Self {
        let mut path = Self {
            raw: raw.to_owned(),
            decided: String::new(),
            hazard: None,
            encoded_slash: false,
            dot_segments: false,
        };
        let segments: Vec<_> = raw.split('/').map(|segment| path.decode(segment)).collect();
        path.decided = if path.dot_segments { path.lead(&segments) } else { segments.join("/") };
        path
    }

    /// As it came, and as the service gets it.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The decoded form, on which rights are decided; an encoded slash is [`Self::ENCODED_SLASH`], and dot segments
    /// have led where they lead.
    pub fn decided(&self) -> &str {
        &self.decided
    }

    /// Refuses a path that could be read in two ways.
    ///
    /// # Errors
    /// [`PathHazard`].
    pub fn check(&self, rules: PathRules) -> Result<(), PathHazard> {
        match self.hazard {
            Some(hazard) => Err(hazard),
            None if self.dot_segments && !rules.dot_segments => Err(PathHazard::DotSegment),
            None if self.encoded_slash && !rules.encoded_slash => Err(PathHazard::EncodedSlash),
            None => Ok(()),
        }
    }

    fn decode<'a>(&mut self, segment: &'a str) -> Cow<'a, str> {
        let Ok(decoded) = percent_decode_str(segment).decode_utf8() else {
            self.hazard.get_or_insert(PathHazard::NotUtf8);
            return Cow::Borrowed(segment);
        };
        if decoded.contains('\0') {
            self.hazard.get_or_insert(PathHazard::Nul);
        }
        if decoded.contains('\\') {
            self.hazard.get_or_insert(PathHazard::Backslash);
        }
        if is_dots(&decoded) {
            self.dot_segments = true;
        } else if is_dots(without_parameters(&decoded)) {
            self.hazard.get_or_insert(PathHazard::DotSegment);
        }
        if decoded.contains('/') {
            self.encoded_slash = true;
            if decoded.split('/').map(without_parameters).any(is_dots) {
                self.hazard.get_or_insert(PathHazard::DotSegment);
            }
            return Cow::Owned(decoded.replace('/', "\0"));
        }
        decoded
    }

    /// Where the dot segments lead (RFC 3986, 5.2.4). The first segment is empty: what stands before the first slash.
    fn lead(&mut self, segments: &[Cow<'_, str>]) -> String {
        let mut led: Vec<&str> = Vec::new();
        for segment in segments {
            match &**segment {
                "." => {}
                ".." if led.len() > 1 => {
                    // Who takes two slashes for one is led elsewhere.
                    if led.pop() == Some("") {
                        self.hazard.get_or_insert(PathHazard::DotSegment);
                    }
                }
                ".." => {
                    self.hazard.get_or_insert(PathHazard::AboveRoot);
                }
                segment => led.push(segment),
            }
        }
        if segments.last().is_some_and(|last| is_dots(last)) {
            led.push("");
        }
        led.join("/")
    }
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// What servlets take a segment for: they cut off what follows a semicolon first, and look for dots then.
fn without_parameters(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: PathRules = PathRules { encoded_slash: false, dot_segments: false };
    const LAX: PathRules = PathRules { encoded_slash: true, dot_segments: true };

    #[test]
    fn harmless_paths_pass_and_are_decoded_once() {
        for (raw, decided) in [
            ("", ""),
            ("/", "/"),
            ("/a%20b/%C3%A4/c%25d", "/a b/\u{e4}/c%d"),
            ("/a//b;v=1/+/...", "/a//b;v=1/+/..."),
            ("/;..;/...;x", "/;..;/...;x"),
            ("/%252e%252e/x", "/%2e%2e/x"),
            ("/\u{e4}", "/\u{e4}"),
        ] {
            let path = ServicePath::new(raw);
            assert_eq!((path.check(STRICT), path.decided(), path.raw()), (Ok(()), decided, raw));
        }
    }

    #[test]
    fn hazards_are_refused_whatever_the_rules() {
        for (raw, hazard) in [
            ("/a%2f..%2Fb", PathHazard::DotSegment),
            ("/a%2f.", PathHazard::DotSegment),
            ("/a//../b", PathHazard::DotSegment),
            ("/..", PathHazard::AboveRoot),
            ("/a/../../b", PathHazard::AboveRoot),
            ("/%2e%2e/b", PathHazard::AboveRoot),
            ("/a/..;/b", PathHazard::DotSegment),
            ("/a/..;x=y", PathHazard::DotSegment),
            ("/a/.%2e%3bx/b", PathHazard::DotSegment),
            ("/.;/b", PathHazard::DotSegment),
            ("/a%2f..;x%2fb", PathHazard::DotSegment),
            ("/a\\b", PathHazard::Backslash),
            ("/a%5Cb", PathHazard::Backslash),
            ("/a%5c..%5c", PathHazard::Backslash),
            ("/a%00b", PathHazard::Nul),
            ("/%ff", PathHazard::NotUtf8),
            ("/%c0%ae%c0%ae/x", PathHazard::NotUtf8),
        ] {
            let path = ServicePath::new(raw);
            assert_eq!((path.check(STRICT), path.check(LAX)), (Err(hazard), Err(hazard)), "{raw}");
        }
    }

    #[test]
    fn an_encoded_slash_passes_only_where_it_is_allowed_and_stays_apart() {
        let path = ServicePath::new("/a%2Fb/c%2f");
        assert_eq!(path.check(STRICT), Err(PathHazard::EncodedSlash));
        assert_eq!(path.check(LAX), Ok(()));
        assert_eq!(path.decided(), "/a\0b/c\0");
    }

    #[test]
    fn dot_segments_pass_only_where_they_are_allowed_and_are_decided_where_they_lead() {
        for (raw, decided) in [
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/c", "/c"),
            ("/a/.%2e/c", "/c"),
            ("/./b", "/b"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
        ] {
            let path = ServicePath::new(raw);
            assert_eq!(path.check(STRICT), Err(PathHazard::DotSegment), "{raw}");
            assert_eq!((path.check(LAX), path.decided(), path.raw()), (Ok(()), decided, raw));
        }
    }
}
