//! Envelopes: what is read, what is refused, and where the request's hash goes.

use super::*;
use crate::message::multipart::{ContentType, PartHead};
use cert_authority::crypto::digest;

const SHA512: DigestAlgorithm = DigestAlgorithm::Sha512;

fn part(content: impl Into<bytes::Bytes>) -> Part {
    Part {
        head: PartHead::of(ContentType::parse("text/xml; charset=utf-8").unwrap()),
        content: content.into(),
    }
}

fn read(content: impl Into<bytes::Bytes>) -> Result<SoapRequest, SoapError> {
    SoapRequest::read(part(content), "exchange", None, "text/xml; charset=utf-8")
}

/// An envelope with these additional fields and this body.
fn envelope(fields: &str, body: &str) -> String {
    format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" \
         xmlns:id=\"http://x-road.eu/xsd/identifiers\" xmlns:r=\"http://x-road.eu/xsd/representation.xsd\">\n<e:Header>\n\t\
         <x:client id:objectType=\"SUBSYSTEM\"><id:xRoadInstance>EE</id:xRoadInstance>\
         <id:memberClass>GOV</id:memberClass><id:memberCode>1</id:memberCode>\
         <id:subsystemCode>sub</id:subsystemCode></x:client>\n\t\
         <x:service id:objectType=\"SERVICE\"><id:xRoadInstance>EE</id:xRoadInstance>\
         <id:memberClass>GOV</id:memberClass><id:memberCode>2</id:memberCode>\
         <id:subsystemCode>reg</id:subsystemCode><id:serviceCode>get</id:serviceCode>\
         <id:serviceVersion>v1</id:serviceVersion></x:service>\n\t\
         <x:id>m-1</x:id>\n\t<x:protocolVersion>4.0</x:protocolVersion>{fields}\n</e:Header>\
         <e:Body>{body}</e:Body></e:Envelope>"
    )
}

#[test]
fn a_header_says_who_asks_whom_for_what() {
    let fields = "<x:userId>U</x:userId><x:issue>I</x:issue><r:representedParty><r:partyClass>COM</r:partyClass>\
                  <r:partyCode>9</r:partyCode></r:representedParty><x:securityServer id:objectType=\"SERVER\">\
                  <id:xRoadInstance>EE</id:xRoadInstance><id:memberClass>GOV</id:memberClass>\
                  <id:memberCode>2</id:memberCode><id:serverCode>ss</id:serverCode></x:securityServer><other/>";
    let header = read(envelope(fields, "<get/>")).unwrap().header;
    assert_eq!(header.client.to_string(), "EE/GOV/1/sub");
    assert_eq!(header.service.to_string(), "EE/GOV/2/reg/get/v1");
    assert_eq!((header.message_id.as_str(), header.user_id.as_deref()), ("m-1", Some("U")));
    assert_eq!(header.issue.as_deref(), Some("I"));
    let party = header.represented_party.unwrap();
    assert_eq!((party.class.as_deref(), party.code.as_str()), (Some("COM"), "9"));
    assert_eq!(header.security_server.unwrap().to_string(), "EE/GOV/2/ss");
}

#[test]
fn what_is_signed_is_what_came() {
    for content in
        [envelope("", "<get/>").into_bytes(), [b"\xef\xbb\xbf", envelope("", "<get/>").as_bytes()].concat()]
    {
        assert_eq!(read(content.clone()).unwrap().part().content, content);
    }
}

#[test]
fn bad_messages_are_refused_each_for_its_reason() {
    let whole = envelope("", "<get/>");
    let central = envelope("<x:centralService/>", "<get/>");
    for (content, expected) in [
        (whole.replace("<e:Envelope", "<!DOCTYPE e [<!ENTITY a 'b'>]><e:Envelope"), Leaf::InvalidSoap),
        (whole.replace("m-1", "&undefined;"), Leaf::InvalidSoap),
        (whole.replace("</e:Body>", ""), Leaf::InvalidSoap),
        (whole.replace("schemas.xmlsoap.org", "www.w3.org"), Leaf::InvalidSoap),
        (format!("<?xml version=\"1.0\" encoding=\"UTF-7\"?>{whole}"), Leaf::InvalidSoap),
        (whole.replace("<x:id>m-1</x:id>", ""), Leaf::MissingHeaderField),
        (whole.replace("<x:id>m-1</x:id>", "<x:id/>"), Leaf::MissingHeaderField),
        (whole.replace("<x:id>m-1</x:id>", "<x:id>m-1</x:id><x:id>m-2</x:id>"), Leaf::DuplicateHeaderField),
        (whole.replace("4.0", "3.1"), Leaf::InvalidProtocolVersion),
        (whole.replace("\"SUBSYSTEM\"", "\"MEMBER\""), Leaf::InvalidXml),
        (
            whole.replace("<id:memberCode>1", "<id:memberCode>1</id:memberCode><id:memberCode>2"),
            Leaf::InvalidXml,
        ),
        (central, Leaf::InvalidXml),
        (whole.replace("<get/>", "<put/>"), Leaf::InconsistentHeaders),
        (whole.replace("<get/>", "<get/><get/>"), Leaf::InvalidBody),
        (whole.replace("<get/>", ""), Leaf::InvalidBody),
    ] {
        assert_ne!(content, whole);
        assert_eq!(read(content.clone()).unwrap_err().leaf(), expected, "{content}");
    }
}

#[test]
fn documents_that_keep_a_parser_busy_are_refused_at_once() {
    let many = |count: usize, what: &dyn Fn(usize) -> String| (0..count).map(what).collect::<String>();
    let attributes = format!("<get{}/>", many(1_000_000, &|n| format!(" a{n}=''")));
    let deep = format!("<get>{}{}</get>", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let namespaces = many(2000, &|n| format!("<a xmlns:a{n}='u{n}'>")) + &"</a>".repeat(2000);
    let nodes = format!("<get>{}</get>", "<b/>".repeat(1_100_000));
    for body in [attributes, deep, format!("<get>{namespaces}</get>"), nodes, " ".repeat(MAX_ENVELOPE_BYTES)]
    {
        assert_eq!(read(envelope("", &body)).unwrap_err().leaf(), Leaf::InvalidSoap);
    }
}

#[test]
fn another_type_of_content_is_refused() {
    let other =
        Part { head: PartHead::of(ContentType::parse("text/html").unwrap()), ..part(envelope("", "<get/>")) };
    assert_eq!(SoapRequest::read(other, "", None, "").unwrap_err().leaf(), Leaf::InvalidContentType);
}

#[test]
fn the_action_is_empty_or_a_uri_in_quotation_marks() {
    for good in [None, Some(""), Some("\"\""), Some("\"urn:a#b\""), Some("\"http://a/b?c=%20\"")] {
        assert_eq!(check_action(good), Ok(()), "{good:?}");
    }
    for bad in ["urn:a", "\"", "\"a", "\"a b\"", "\"a\"b\"", "\"a%2\"", "\"a{}\""] {
        assert_eq!(check_action(Some(bad)), Err(SoapError::Action), "{bad}");
    }
}

#[test]
fn the_hash_stands_behind_the_id_and_nothing_else_is_changed() {
    let hash = digest(SHA512, b"request");
    let element = format!(
        "<x:requestHash algorithmId=\"http://www.w3.org/2001/04/xmlenc#sha512\">{}</x:requestHash>",
        hash.base64()
    );
    let answer = |content: String| {
        let answer = SoapResponse::from_service(part(content), "text/xml", SHA512, &hash).unwrap();
        assert_eq!(answer.request_hash, Some(hash.base64()));
        String::from_utf8(answer.part().content.to_vec()).unwrap()
    };
    let asked = envelope("", "<getResponse>&#13;<![CDATA[<]]><!-- c --><e/></getResponse>");
    let expected = asked.replace("m-1</x:id>", &format!("m-1</x:id>\n\t{element}"));
    assert_eq!(answer(asked.clone()), expected);
    // One that the service has put there is taken out, with the white space before it.
    let old = "\n\t<x:requestHash algorithmId=\"x\">Zm9v</x:requestHash>";
    assert_eq!(answer(asked.replace("m-1</x:id>", &format!("m-1</x:id>{old}"))), expected);
    assert_eq!(answer(asked.replace("\n\t<x:id>", &format!("{old}\n\t<x:id>"))), expected);
    let behind = format!("</x:protocolVersion>{old}\n");
    assert_eq!(answer(asked.replace("</x:protocolVersion>\n", &behind)), expected);
}

#[test]
fn the_hash_declares_its_prefix_where_nothing_around_it_does() {
    let hash = digest(SHA512, b"request");
    let own = |id: &str| envelope("", "<getResponse/>").replace("<x:id>m-1</x:id>", id);
    for (id, begin) in [
        ("<n:id xmlns:n='http://x-road.eu/xsd/xroad.xsd'>m</n:id>", "<n:requestHash xmlns:n="),
        ("<id xmlns='http://x-road.eu/xsd/xroad.xsd'>m</id>", "<requestHash xmlns="),
        ("<x:id xmlns:x='http://x-road.eu/xsd/xroad.xsd'>m</x:id>", "<x:requestHash algorithmId="),
    ] {
        let answer = SoapResponse::from_service(part(own(id)), "text/xml", SHA512, &hash).unwrap();
        assert_eq!(answer.request_hash, Some(hash.base64()));
        let text = String::from_utf8(answer.part().content.to_vec()).unwrap();
        assert!(text.contains(&format!("{id}\n\t{begin}")), "{text}");
    }
}

#[test]
fn an_answer_keeps_its_encoding() {
    let hash = digest(SHA512, b"request");
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>{}",
        envelope("", "<getResponse>é</getResponse>")
    );
    let latin1: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let answer = SoapResponse::from_service(part(latin1), "text/xml", SHA512, &hash).unwrap();
    assert!(answer.part().content.windows(3).any(|bytes| bytes == b">\xe9<"));
    assert_eq!(answer.request_hash, Some(hash.base64()));
}
