//! The query of a request, as forms are encoded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Longest reason for reading, in characters; what is beyond is left away.
const LONGEST_REASON: usize = 300;

/// Names and values.
#[derive(Debug, Default)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// The query is no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query of the request is malformed")]
pub(crate) struct Malformed;

impl<'a> Query<'a> {
    /// Reads what stands behind the question mark.
    pub(crate) fn read(raw: &'a str) -> Result<Self, Malformed> {
        let fields = raw.split('&').filter(|field| !field.is_empty());
        let pair = |field: &'a str| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            Ok((decode(name)?, decode(value)?))
        };
        fields.map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The value of a parameter; of one given twice the first.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// The same, its name in whatever case.
    pub(crate) fn value_of_any_case(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }

    /// The names, as often as they are given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// `reason`: why somebody reads the log. None when it says nothing.
    pub(crate) fn reason(&self) -> Option<String> {
        let said = self.value("reason").unwrap_or_default().trim();
        let kept: String = said.chars().take(LONGEST_REASON).collect();
        Some(kept).filter(|reason| !reason.is_empty())
    }

    /// Whether a parameter is there, with whatever value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Malformed> {
    let mut escapes = text.as_bytes().split(|&byte| byte == b'%').skip(1);
    if !escapes.all(
        |escape| matches!(escape, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()),
    ) {
        return Err(Malformed);
    }
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().map_err(|_| Malformed);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| Malformed)?;
    Ok(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_a_form() {
        let query = Query::read("&a=1&b&c=x%20y+z%2B&a=2&%C3%A4=%26").unwrap();
        assert_eq!(query.value("a"), Some("1"));
        assert_eq!(query.value("b"), Some(""));
        assert_eq!(query.value("c"), Some("x y z+"));
        assert_eq!(query.value("ä"), Some("&"));
        assert!(query.has("b") && !query.has("d") && !query.has("B"));
        assert!(!Query::read("").unwrap().has(""));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for broken in ["a=%", "a=%2", "a=%zz", "%=1", "a=%ff", "a=+%c3"] {
            assert_eq!(Query::read(broken).err(), Some(Malformed), "{broken}");
        }
    }
}
