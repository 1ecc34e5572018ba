//! `Content-Type`, taken apart strictly: two readers of one value must never see two boundaries.
//!
//! Specification: RFC 9110, 5.6.6 and 8.3.1; RFC 2046, 5.1.1. Threat T15.

use super::{Boundary, MultipartError};
use crate::message::text::is_token;

/// A media type with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    text: String,
    media_type: String,
    parameters: Vec<(String, String)>,
}

impl ContentType {
    /// Takes a value apart.
    ///
    /// # Errors
    /// [`MultipartError::ContentType`]: whatever the grammar does not know, a parameter given twice, an extended
    /// parameter (`name*=`).
    pub fn parse(value: &str) -> Result<Self, MultipartError> {
        let bad = |why| MultipartError::ContentType(why);
        let (media_type, mut rest) = value.split_at(value.find(';').unwrap_or(value.len()));
        let media_type = media_type.trim_matches([' ', '\t']).to_ascii_lowercase();
        // X-Road has a type of three pieces: signature/bdoc-1.0/ts.
        if !media_type.contains('/') || !media_type.split('/').all(is_token) {
            return Err(bad("no media type"));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        while let Some(parameter) = rest.strip_prefix(';') {
            let parameter = parameter.trim_start_matches([' ', '\t']);
            if parameter.is_empty() || parameter.starts_with(';') {
                rest = parameter;
                continue;
            }
            let (name, after) = parameter.split_once('=').ok_or_else(|| bad("a parameter without value"))?;
            let name = name.to_ascii_lowercase();
            if !is_token(&name) || name.contains('*') {
                return Err(bad("a parameter's name"));
            }
            if parameters.iter().any(|(earlier, _)| *earlier == name) {
                return Err(bad("a parameter given twice"));
            }
            let (text, after) = parameter_value(after).ok_or_else(|| bad("a parameter's value"))?;
            parameters.push((name, text));
            rest = after.trim_start_matches([' ', '\t']);
        }
        if !rest.is_empty() {
            return Err(bad("characters at its end"));
        }
        Ok(Self { text: value.trim_matches([' ', '\t']).to_owned(), media_type, parameters })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Written anew, with another boundary.
    pub fn with_boundary(&self, boundary: &Boundary) -> String {
        let mut text = self.media_type.clone();
        let kept = self.parameters.iter().filter(|(name, _)| name != "boundary");
        for (name, value) in kept {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str(&format!("; {name}=\"{quoted}\""));
        }
        let boundary = boundary.as_str();
        let is_token = boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'+_-.".contains(&byte));
        match is_token {
            true => text.push_str(&format!("; boundary={boundary}")),
            false => text.push_str(&format!("; boundary=\"{boundary}\"")),
        }
        text
    }

    /// `type/subtype`, in lower case.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The value of a parameter; the name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The boundary of a multipart type.
    ///
    /// # Errors
    /// [`MultipartError::Boundary`] when there is none, or none that RFC 2046 allows.
    pub fn boundary(&self) -> Result<Boundary, MultipartError> {
        self.parameter("boundary").and_then(Boundary::new).ok_or(MultipartError::Boundary)
    }
}

/// The value at the beginning of `text`, a token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find([';', ' ', '\t']).unwrap_or(text.len()));
        return is_token(token).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        let c = match c {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => characters.next()?.1,
            c => c,
        };
        if c.is_control() && c != '\t' {
            return None;
        }
        value.push(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary(value: &str) -> Result<String, MultipartError> {
        ContentType::parse(value)?.boundary().map(|boundary| boundary.as_str().to_owned())
    }

    #[test]
    fn a_boundary_that_is_no_token_is_written_in_quotation_marks() {
        for value in ["xtopAbc", "a b", "a=b?(c)", "'+_-."] {
            let own = Boundary::new(value).unwrap();
            let written = ContentType::parse("multipart/mixed; x=y").unwrap().with_boundary(&own);
            assert_eq!(boundary(&written), Ok(value.to_owned()), "{written}");
            assert_eq!(written.contains("boundary=\""), value.contains(['=', ' ']), "{written}");
        }
    }

    #[test]
    fn values_in_use_are_read() {
        for value in [
            "multipart/mixed; charset=UTF-8; boundary=xtopAbc",
            "Multipart/Mixed;BOUNDARY=\"xtopAbc\";charset=utf-8",
            " multipart/mixed ; boundary=xtopAbc ; ",
            "multipart/mixed;; boundary=\"xtop\\Abc\"",
        ] {
            assert_eq!(boundary(value), Ok("xtopAbc".into()), "{value}");
            assert_eq!(ContentType::parse(value).unwrap().media_type(), "multipart/mixed");
        }
    }

    #[test]
    fn a_boundary_given_twice_or_extended_is_refused() {
        for value in [
            "multipart/mixed; boundary=a; boundary=b",
            "multipart/mixed; boundary=a; Boundary=a",
            "multipart/mixed; boundary*=utf-8''a",
            "multipart/mixed; boundary*0=a; boundary*1=b",
        ] {
            assert!(matches!(boundary(value), Err(MultipartError::ContentType(_))), "{value}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_know_is_refused() {
        for value in [
            "",
            "multipart",
            "multipart/",
            "multipart//mixed; boundary=a",
            "multipart/mixed boundary=a",
            "multipart/mixed; boundary =a",
            "multipart/mixed; boundary= a",
            "multipart/mixed; boundary",
            "multipart/mixed; boundary=a b=c",
            "multipart/mixed; boundary=\"a",
            "multipart/mixed; boundary=\"a\"b",
            "multipart/mixed; boundary=\"a\u{0}\"",
            "multipart/mixed; boundary=a\u{e4}",
            "multi part/mixed; boundary=a",
        ] {
            assert!(matches!(boundary(value), Err(MultipartError::ContentType(_))), "{value:?}");
        }
    }

    #[test]
    fn a_boundary_that_cannot_be_one_is_refused() {
        for value in [
            "multipart/mixed".to_owned(),
            "multipart/mixed; boundary=\"\"".to_owned(),
            "multipart/mixed; boundary=\"a \"".to_owned(),
            "multipart/mixed; boundary=\"a\u{e4}\"".to_owned(),
            "multipart/mixed; boundary=\"a<b\"".to_owned(),
            format!("multipart/mixed; boundary={}", "a".repeat(71)),
        ] {
            assert_eq!(boundary(&value), Err(MultipartError::Boundary), "{value}");
        }
        assert!(boundary(&format!("multipart/mixed; boundary={}", "a".repeat(70))).is_ok());
    }
}
