//! Who a message in a container says it is from: the member whose signature it must bear.
//!
//! Specification: X-Road's REST and SOAP message protocols. Reads what is needed for this question only;
//! messages in flight are read by [`crate::message`].

use conf::identifier::{ClientId, MemberId, ServiceId};
use roxmltree::Node;

use crate::evidence::xml::{self, Limits};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const XROAD: &str = "http://x-road.eu/xsd/xroad.xsd";

/// The client of a request, the owner of the service of an answer.
pub(super) fn sender(message: &[u8]) -> Result<MemberId, String> {
    let is_xml = message.trim_ascii_start().starts_with(b"<") || message.starts_with(b"\xef\xbb\xbf");
    let sender = if is_xml { soap(message)? } else { rest(message)? };
    Ok(sender.member().clone())
}

/// REST: an answer begins with its status, a request with its verb; of a header given twice the last
/// counts.
fn rest(message: &[u8]) -> Result<ClientId, String> {
    let text = std::str::from_utf8(message).map_err(|_| "the message is not text".to_owned())?;
    let is_answer = text.starts_with(|first: char| ('1'..='9').contains(&first));
    let name = if is_answer { "x-road-service" } else { "x-road-client" };
    let value = text
        .split("\r\n")
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .filter(|(header, _)| header.eq_ignore_ascii_case(name))
        .last()
        .map(|(_, value)| value)
        .ok_or_else(|| format!("the message has no {name}"))?;
    let identifier = if is_answer {
        ServiceId::parse_encoded(value).map(|service| service.client().clone())
    } else {
        ClientId::parse_encoded(value)
    };
    identifier.map_err(|error| error.to_string())
}

/// SOAP: an answer has a body element whose name ends with `Response`.
fn soap(message: &[u8]) -> Result<ClientId, String> {
    let document = xml::parse(message, Limits::MESSAGE).map_err(|error| error.to_string())?;
    let envelope = document.root_element();
    let child = |parent: Node<'_, '_>, namespace: &str, name: &str| {
        parent.children().find(|node| node.has_tag_name((namespace, name))).map(|node| node.id())
    };
    let find = |parent, namespace: &str, name: &str| {
        child(parent, namespace, name)
            .and_then(|id| document.get_node(id))
            .ok_or_else(|| format!("the message has no {name}"))
    };
    let body = find(envelope, SOAP, "Body")?;
    let header = find(envelope, SOAP, "Header")?;
    let is_answer =
        body.first_element_child().is_some_and(|element| element.tag_name().name().ends_with("Response"));
    let identifier = if is_answer {
        ServiceId::read_xml(find(header, XROAD, "service")?).map(|service| service.client().clone())
    } else {
        ClientId::read_xml(find(header, XROAD, "client")?)
    };
    identifier.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_of_a_rest_message_is_the_last_one_named() {
        let request = b"GET\r\n/r1/A/B/c/d/e\r\nX-Road-Client:A/B/one/s\r\nx-road-client:A/B/two/s\r\n";
        assert_eq!(sender(request).unwrap().code(), "two");
        let answer = b"200\r\nOK\r\nx-road-client:A/B/one/s\r\nx-road-service:A/B/three/s/svc\r\n";
        assert_eq!(sender(answer).unwrap().code(), "three");
        assert!(sender(b"GET\r\n/\r\n").is_err());
    }
}
