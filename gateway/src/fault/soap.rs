//! Faults between gateways: SOAP 1.1, for REST exchanges too.
//!
//! A fault found before the message was taken apart is the whole answer (`text/xml`, HTTP 200); one found later
//! is the last part of a multipart answer.
//!
//! Specification: PR-MESS 2.5; SOAP 1.1, 4.4; PR-MESSTRANSP 3.

use bytes::Bytes;
use roxmltree::{Document, Node};

use super::Fault;

/// The content type of a fault, as whole answer and as part.
pub const CONTENT_TYPE: &str = "text/xml;charset=utf-8";

/// The longest fault that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Namespace declarations in a fault; real ones have two.
const MAX_NAMESPACES: usize = 64;

/// `=` between two `<`: attributes of an element, or text of the fault.
const MAX_ATTRIBUTES: usize = 1000;

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// The longest code that is believed to be one.
const MAX_CODE: usize = 256;

/// A fault as another gateway wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFault {
    /// Its code: visible ASCII, so that it can stand in a header.
    pub code: String,
    /// Its text.
    pub text: String,
    /// Its id, if it has one.
    pub detail: Option<String>,
    /// All of it, as it was written: what information systems that speak SOAP get.
    pub envelope: Bytes,
}

/// Why a received fault cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoapFaultError {
    /// It is longer than [`MAX_BYTES`].
    #[error("the fault is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// It is not well-formed XML in UTF-8; a document type is not accepted.
    #[error("the fault is not well-formed: {0}")]
    NotXml(String),
    /// It is XML, but no SOAP envelope with a fault in its body.
    #[error("the answer is neither a message nor a fault")]
    NotAFault,
    /// Its code cannot be a code.
    #[error("the fault has no usable code")]
    Code,
}

/// Writes a fault for another gateway, or for an information system that speaks SOAP. One that was received is handed on
/// as it came.
pub fn render(fault: &Fault) -> Bytes {
    if let Some(envelope) = fault.envelope() {
        return envelope.clone();
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><SOAP-ENV:Envelope xmlns:SOAP-ENV=\"{ENVELOPE}\"><SOAP-ENV:Body>\
         <SOAP-ENV:Fault><faultcode>{}</faultcode><faultstring>{}</faultstring><faultactor></faultactor><detail>\
         <faultDetail xmlns=\"\">{}</faultDetail></detail></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>",
        escape(&fault.code()),
        escape(fault.text()),
        escape(fault.id())
    )
    .into()
}

/// Reads a fault of another gateway.
///
/// # Errors
/// [`SoapFaultError`].
pub fn parse(bytes: &[u8]) -> Result<ReceivedFault, SoapFaultError> {
    if bytes.len() > MAX_BYTES {
        return Err(SoapFaultError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| SoapFaultError::NotXml(e.to_string()))?;
    // The parser's time grows with the square of the declarations in scope and of the attributes of an element.
    let attributes = text.split('<').map(|part| part.matches('=').count()).max().unwrap_or_default();
    if text.matches("xmlns").nth(MAX_NAMESPACES).is_some() || attributes > MAX_ATTRIBUTES {
        return Err(SoapFaultError::NotXml("too many declarations or attributes".to_owned()));
    }
    let document = Document::parse(text.trim_start_matches('\u{feff}'))
        .map_err(|e| SoapFaultError::NotXml(e.to_string()))?;
    let fault = Some(document.root_element())
        .filter(|root| root.has_tag_name((ENVELOPE, "Envelope")))
        .and_then(|envelope| child(envelope, |node| node.has_tag_name((ENVELOPE, "Body"))))
        .and_then(|body| child(body, |node| node.has_tag_name((ENVELOPE, "Fault"))))
        .ok_or(SoapFaultError::NotAFault)?;
    let field = |name: &str| child(fault, |node| node.tag_name().name() == name);
    let code = field("faultcode").map(content).unwrap_or_default().trim().to_owned();
    if code.is_empty() || code.len() > MAX_CODE || !code.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SoapFaultError::Code);
    }
    Ok(ReceivedFault {
        code,
        text: field("faultstring").map(content).unwrap_or_default(),
        detail: field("detail").and_then(|detail| detail.first_element_child()).map(content),
        envelope: Bytes::copy_from_slice(bytes),
    })
}

/// Text for XML 1.0: markup is escaped, characters that XML cannot hold are left out.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => escaped.push(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            _ => escaped.push(c),
        }
    }
    escaped
}

fn child<'a, 'i>(parent: Node<'a, 'i>, wanted: impl Fn(&Node<'a, 'i>) -> bool) -> Option<Node<'a, 'i>> {
    parent.children().find(|node| node.is_element() && wanted(node))
}

fn content(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|text| text.text()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Leaf, Scope, Side};
    use super::*;

    fn fault() -> Fault {
        Fault::new(Leaf::NetworkError, "a < b & 'c' \u{e4}\u{0}")
            .within(Scope::ServiceFailed)
            .at(Side::ServerProxy)
            .identified("a7018741")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let received = parse(&render(&fault())).unwrap();
        assert_eq!(received.code, "server.serverproxy.service_failed.network_error");
        assert_eq!(received.text, "a < b & 'c' \u{e4}");
        assert_eq!(received.detail.as_deref(), Some("a7018741"));
        assert_eq!(Fault::relayed(received).http_status(), 500);
    }

    #[test]
    fn other_prefixes_whitespace_and_missing_fields_are_read() {
        let xml = format!(
            "\u{feff}<e:Envelope xmlns:e=\"{ENVELOPE}\">\n<e:Body>\n <e:Fault><faultcode> Client.X </faultcode></e:Fault></e:Body></e:Envelope>"
        );
        let expected = ReceivedFault {
            code: "Client.X".into(),
            text: String::new(),
            detail: None,
            envelope: xml.clone().into(),
        };
        assert_eq!(parse(xml.as_bytes()), Ok(expected));
    }

    #[test]
    fn deep_nesting_is_survived() {
        let deep = "<a>".repeat(10_000) + &"</a>".repeat(9_000);
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn what_would_cost_the_parser_long_is_refused_before_it() {
        let nested: String = (0..MAX_NAMESPACES + 1).map(|i| format!("<a xmlns:n{i}='u'>")).collect();
        let wide: String = (0..=MAX_ATTRIBUTES).map(|i| format!(" a{i}=''")).collect();
        for costly in [nested, format!("<a{wide}/>")] {
            let refused = parse(costly.as_bytes());
            let reason = "too many declarations or attributes".to_owned();
            assert_eq!(refused, Err(SoapFaultError::NotXml(reason)));
        }
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        let wrap = |inner: &str| {
            format!("<e:Envelope xmlns:e=\"{ENVELOPE}\"><e:Body>{inner}</e:Body></e:Envelope>").into_bytes()
        };
        let with_code = |code: &str| wrap(&format!("<e:Fault><faultcode>{code}</faultcode></e:Fault>"));
        assert_eq!(parse(&wrap("<answer/>")), Err(SoapFaultError::NotAFault));
        assert_eq!(parse(b"<Envelope><Body><Fault/></Body></Envelope>"), Err(SoapFaultError::NotAFault));
        assert_eq!(parse(&wrap("<e:Fault/>")), Err(SoapFaultError::Code));
        assert_eq!(parse(&with_code("a&#10;X-Injected: b")), Err(SoapFaultError::Code));
        assert_eq!(parse(&with_code("\u{e4}")), Err(SoapFaultError::Code));
        assert_eq!(parse(&with_code(&"a".repeat(257))), Err(SoapFaultError::Code));
        assert_eq!(parse(&vec![b' '; MAX_BYTES + 1]), Err(SoapFaultError::TooLong));
        for bad in [b"not xml".as_slice(), b"<a>\xff</a>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"] {
            assert!(matches!(parse(bad), Err(SoapFaultError::NotXml(_))), "{bad:?}");
        }
    }
}
