//! Endpoints: a method and a pattern of paths.
//!
//! ```text
//! *     any characters but a slash, as many as there are
//! **    any characters
//! \*    an asterisk      \\   a backslash
//! ```
//!
//! Specification: X-Road 7.8, path patterns of REST endpoints. Decided is the decoded path
//! ([`ServicePath::decided`]); `%2F` in a pattern stands for an encoded slash.
//!
//! # Compatibility
//! As in X-Road `*` takes all it can get and gives nothing back: `/a*b` matches no path. And `**` takes no line end,
//! and as little as it can: a path with a line end that would match in another way only is denied.
//! Stricter: many services take several slashes for one, so a path that holds them must match in both readings. With
//! `/a/*/b` allowed, X-Road lets `/a//b` through, and the service answers for `/a/b`. Servlets read `/a/;x/b` so, too.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use crate::message::rest::{ServicePath, Verb};

/// A method, or all, and a pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The method; `None` for every one.
    pub verb: Option<Verb>,
    /// The paths.
    pub path: PathGlob,
}

impl Endpoint {
    /// Whether a request goes here.
    pub fn matches(&self, verb: Verb, path: &ServicePath) -> bool {
        let path = path.decided();
        self.verb.is_none_or(|own| own == verb)
            && self.path.matches(path)
            && (!path.contains("//") && !path.contains("/;") || self.path.matches(&merged(path)))
    }

    /// Whether it takes the other's method, and the other's pattern as if it were a path: X-Road's way to tell what of a
    /// service somebody may call.
    pub fn includes(&self, other: &Self) -> bool {
        self.verb.is_none_or(|own| other.verb == Some(own)) && self.path.matches(&other.path.0.pattern)
    }
}

/// A pattern of paths, read once; the clones share it.
#[derive(Clone, PartialEq, Eq)]
pub struct PathGlob(Arc<Glob>);

#[derive(PartialEq, Eq)]
struct Glob {
    pattern: String,
    /// What stands between the `**`.
    pieces: Vec<Vec<Token>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `*`
    Segment,
}

impl PathGlob {
    /// Reads a pattern. Every text is one.
    pub fn new(pattern: &str) -> Self {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        let mut characters = pattern.chars().peekable();
        while let Some(c) = characters.next() {
            let token = match (c, characters.peek().copied()) {
                ('\\', Some(escaped @ ('*' | '\\'))) => {
                    characters.next();
                    Token::Literal(escaped)
                }
                ('*', Some('*')) => {
                    while characters.next_if_eq(&'*').is_some() {}
                    pieces.push(std::mem::take(&mut piece));
                    continue;
                }
                ('*', _) => Token::Segment,
                ('%', Some('2')) if next_is_encoded_slash(&mut characters) => {
                    Token::Literal(ServicePath::ENCODED_SLASH)
                }
                (c, _) => Token::Literal(c),
            };
            piece.push(token);
        }
        pieces.push(piece);
        Self(Arc::new(Glob { pattern: pattern.to_owned(), pieces }))
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        let Some((first, rest)) = self.0.pieces.split_first() else { return false };
        let Some(after) = prefix(first, path) else { return false };
        let Some((last, middle)) = rest.split_last() else { return after.is_empty() };
        // Each piece is taken as early as it can be: that leaves the most to the pieces after it.
        let mut path = after;
        for piece in middle {
            let Some(after) = gaps(path).find_map(|from| prefix(piece, from)) else { return false };
            path = after;
        }
        gaps(path).any(|from| prefix(last, from).is_some_and(str::is_empty))
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.pattern)
    }
}

impl fmt::Debug for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathGlob({:?})", self.0.pattern)
    }
}

/// As it is read by those who take several slashes for one, and nothing for a segment that is parameters alone.
fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for segment in path.split_inclusive('/') {
        let is_nothing = segment == "/" || segment.starts_with(';');
        if !is_nothing {
            merged.push_str(segment);
        } else if segment.ends_with('/') && !merged.ends_with('/') {
            merged.push('/');
        }
    }
    merged
}

/// After a `%`: whether `2F` follows; it is taken then.
fn next_is_encoded_slash(characters: &mut Peekable<Chars<'_>>) -> bool {
    let mut ahead = characters.clone();
    let is_slash = ahead.next() == Some('2') && ahead.next().is_some_and(|c| c.eq_ignore_ascii_case(&'f'));
    if is_slash {
        *characters = ahead;
    }
    is_slash
}

/// What follows the piece when the path begins with it.
fn prefix<'p>(piece: &[Token], path: &'p str) -> Option<&'p str> {
    piece.iter().try_fold(path, |rest, token| match token {
        Token::Literal(c) => rest.strip_prefix(*c),
        Token::Segment => rest.get(rest.find('/').unwrap_or(rest.len())..),
    })
}

/// Everything that can follow a `**` which begins here.
fn gaps(path: &str) -> impl Iterator<Item = &str> {
    let line_end = path.find(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
    let limit = line_end.unwrap_or(path.len());
    path.char_indices()
        .map(|(at, _)| at)
        .chain([path.len()])
        .take_while(move |at| *at <= limit)
        .filter_map(|at| path.get(at..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_in_x_road() {
        for (pattern, path, expected) in [
            ("**", "", true),
            ("**", "/a/b/c", true),
            ("***", "/any/thing/*", true),
            ("/*/", "/a/", true),
            ("/*/", "/a/b/", false),
            ("", "", true),
            ("", "/", false),
            ("/", "/", true),
            (".^$+{[]|()", ".^$+{[]|()", true),
            ("**/bar/**", "a/b/c/bar/e/f", true),
            ("**/bar/**", "a/b/c/foo/e/f", false),
            ("**/bar/**", "/barn/bar/", true),
            ("**\\*", "/what/ever*", true),
            ("**\\*", "/what/ever!", false),
            ("simple", "simple", true),
            ("simple", "prefix.simple.suffix", false),
            ("**/*/**", "something/bar/else", true),
            ("**/*/**", "//", true),
            ("**/*/**", "something/else", false),
            ("\\A", "\\A", true),
            ("\\*", "*", true),
            ("\\*", "\\*", false),
            ("\\\\", "\\", true),
            ("aa\\", "aa\\", true),
            ("/a/**", "/a", false),
            ("/a/**", "/a/", true),
            ("/a*", "/ab", true),
            ("/a*b", "/ab", false),
            ("/a**b", "/ab/cb", true),
            ("**a", "/b/a", true),
            ("**aa", "/aaa", true),
            ("**/*.json", "/a.json", false),
            ("/\u{e4}*", "/\u{e4}\u{f6}", true),
            ("**", "/a\nb", false),
            ("/*", "/a\nb", true),
        ] {
            assert_eq!(PathGlob::new(pattern).matches(path), expected, "{pattern:?} on {path:?}");
        }
    }

    #[test]
    fn an_encoded_slash_is_not_a_slash() {
        let encoded = ServicePath::new("/a%2Fb");
        assert!(PathGlob::new("/a%2fb").matches(encoded.decided()));
        assert!(PathGlob::new("/*").matches(encoded.decided()));
        assert!(!PathGlob::new("/a/b").matches(encoded.decided()));
        assert!(!PathGlob::new("/a%2Fb").matches(ServicePath::new("/a%252Fb").decided()));
        assert!(PathGlob::new("/a%2").matches("/a%2"));
    }

    #[test]
    fn an_endpoint_is_a_method_and_a_path() {
        let endpoint = Endpoint { verb: Some(Verb::Get), path: PathGlob::new("/a b/*") };
        let path = ServicePath::new("/a%20b/1");
        assert!(endpoint.matches(Verb::Get, &path));
        assert!(!endpoint.matches(Verb::Head, &path));
        assert!(!endpoint.matches(Verb::Get, &ServicePath::new("/a%20b/1/2")));
        let any = Endpoint { verb: None, ..endpoint };
        assert!(any.matches(Verb::Delete, &path));
    }

    #[test]
    fn many_wildcards_take_no_time() {
        let glob = PathGlob::new(&"**a".repeat(1000));
        assert!(!glob.matches(&format!("{}b", "a".repeat(8000))));
    }

    /// The definition, in the plainest form.
    fn plainly(pattern: &[char], path: &[char]) -> bool {
        match pattern {
            [] => path.is_empty(),
            ['*', '*', '*', ..] => plainly(&pattern[1..], path),
            ['*', '*', rest @ ..] => (0..=path.len()).any(|at| plainly(rest, &path[at..])),
            ['*', rest @ ..] => {
                plainly(rest, &path[path.iter().position(|c| *c == '/').unwrap_or(path.len())..])
            }
            [c, rest @ ..] => path.first() == Some(c) && plainly(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "([ab/]|\\*\\*?){0,7}", path in "[ab/]{0,10}") {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = plainly(&characters(&pattern), &characters(&path));
            prop_assert_eq!(PathGlob::new(&pattern).matches(&path), expected);
        }
    }

    #[test]
    fn a_path_with_empty_segments_matches_only_if_it_does_so_without_them_too() {
        for (pattern, path, expected) in [
            ("/a/*/b", "/a/x/b", true),
            ("/a/*/b", "/a//b", false),
            ("/a/*/b", "/a/;x/b", false),
            ("/a/**", "/a/;x//b", true),
            ("/a/*", "/a/", true),
            ("/a/*", "/a//", false),
            ("/a/*/*", "/a//b", false),
            ("/a/**", "/a//b", true),
            ("**", "//", true),
            ("/a/b", "/a//b", false),
        ] {
            let endpoint = Endpoint { verb: None, path: PathGlob::new(pattern) };
            assert_eq!(endpoint.matches(Verb::Get, &ServicePath::new(path)), expected, "{pattern} {path}");
        }
    }
}
