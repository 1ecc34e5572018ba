//! What an information system that speaks REST is answered when its exchange failed.
//!
//! ```text
//! HTTP/1.1 500
//! X-Road-Error: server.serverproxy.unknown_service
//! Content-Type: application/json;charset=utf-8
//!
//! {"type":"server.serverproxy.unknown_service","message":"…","detail":"<id>"}
//! ```
//!
//! Specification: PR-REST 4.6; XML as X-Road writes it where `Accept` asks for it.

use bytes::Bytes;
use serde::Serialize;

use super::Fault;
use super::soap::escape;

/// The header that carries the code.
pub const ERROR_HEADER: &str = "X-Road-Error";

/// An answer, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestFault {
    /// The HTTP status.
    pub status: u16,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The value of [`ERROR_HEADER`].
    pub code: String,
    /// The body.
    pub body: Bytes,
}

/// Writes a fault in the form that the values of the request's `Accept` headers ask for.
pub fn render<'a>(fault: &Fault, accept: impl IntoIterator<Item = &'a [u8]>) -> RestFault {
    let form = Form::wanted(accept);
    let code = fault.code();
    let body = match form {
        Form::Json => json(&code, fault.text(), fault.id()),
        Form::ApplicationXml | Form::TextXml => xml(&code, fault.text(), fault.id()),
    };
    RestFault { status: fault.http_status(), content_type: form.content_type(), code, body: body.into() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    ApplicationXml,
    TextXml,
}

impl Form {
    /// The first XML type that is named decides, whatever its weight; without one it is JSON.
    fn wanted<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> Self {
        accept
            .into_iter()
            .flat_map(|value| value.split(|&byte| byte == b','))
            .filter_map(|range| range.split(|&byte| byte == b';').next())
            .find_map(|range| match range.trim_ascii().to_ascii_lowercase().as_slice() {
                b"application/xml" => Some(Self::ApplicationXml),
                b"text/xml" | b"text/*" => Some(Self::TextXml),
                _ => None,
            })
            .unwrap_or(Self::Json)
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json;charset=utf-8",
            Self::ApplicationXml => "application/xml;charset=utf-8",
            Self::TextXml => "text/xml;charset=utf-8",
        }
    }
}

fn json(code: &str, text: &str, id: &str) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'a str,
        message: &'a str,
        detail: &'a str,
    }
    // Strings always can be written.
    serde_json::to_string(&Body { r#type: code, message: text, detail: id }).unwrap_or_default()
}

fn xml(code: &str, text: &str, id: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><error><type>{}</type><message>{}</message>\
         <detail>{}</detail></error>",
        escape(code),
        escape(text),
        escape(id)
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Leaf, Side};
    use super::*;

    fn fault(text: &str) -> Fault {
        Fault::new(Leaf::UnknownService, text).at(Side::ServerProxy).identified("1d-2")
    }

    #[test]
    fn json_is_written_as_x_road_writes_it() {
        let answer = render(&fault("No \"x\"\n\u{e4}"), []);
        assert_eq!((answer.status, answer.content_type), (500, "application/json;charset=utf-8"));
        assert_eq!(answer.code, "server.serverproxy.unknown_service");
        assert_eq!(
            std::str::from_utf8(&answer.body).unwrap(),
            "{\"type\":\"server.serverproxy.unknown_service\",\"message\":\"No \\\"x\\\"\\n\u{e4}\",\"detail\":\"1d-2\"}"
        );
    }

    #[test]
    fn xml_is_written_where_it_is_asked_for() {
        let answer = render(&fault("a<b & \u{1}c"), [b"application/xml".as_slice()]);
        assert_eq!(answer.content_type, "application/xml;charset=utf-8");
        let text = std::str::from_utf8(&answer.body).unwrap();
        let document = roxmltree::Document::parse(text).unwrap();
        let texts: Vec<_> = document
            .root_element()
            .children()
            .map(|child| (child.tag_name().name(), child.text().unwrap()))
            .collect();
        assert_eq!(
            texts,
            [("type", "server.serverproxy.unknown_service"), ("message", "a<b & c"), ("detail", "1d-2")]
        );
    }

    #[test]
    fn accept_decides_the_form() {
        for (accept, form) in [
            (vec![], Form::Json),
            (vec!["text/html"], Form::Json),
            (vec!["*/*"], Form::Json),
            (vec!["text/*"], Form::TextXml),
            (vec!["TEXT/XML;q=0.1"], Form::TextXml),
            (vec!["text/html, application/xml;q=0.9"], Form::ApplicationXml),
            (vec!["application/json", "text/xml"], Form::TextXml),
        ] {
            assert_eq!(Form::wanted(accept.iter().map(|a| a.as_bytes())), form, "{accept:?}");
        }
    }
}
