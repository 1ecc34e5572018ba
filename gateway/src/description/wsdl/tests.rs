//! A register's WSDL, and documents that lead astray.

use super::*;

const REGISTER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- <soap:address location="http://not.me"/> -->
<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:s12="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:http="http://schemas.xmlsoap.org/wsdl/http/"
    xmlns:xroad="http://x-road.eu/xsd/xroad.xsd" xmlns:tns="urn:register" targetNamespace="urn:register">
  <wsdl:types>
    <xsd:schema xmlns:xsd="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:register">
      <xsd:import namespace="http://x-road.eu/xsd/xroad.xsd" schemaLocation="http://127.0.0.1:1/xroad.xsd"/>
      <xsd:element name="find" type="xsd:string"/>
    </xsd:schema>
  </wsdl:types>
  <wsdl:message name="find"><wsdl:part name="body" element="tns:find"/></wsdl:message>
  <wsdl:portType name="register">
    <wsdl:operation name="find"><wsdl:input message="tns:find"/></wsdl:operation>
    <wsdl:operation name="change"><wsdl:input message="tns:find"/></wsdl:operation>
  </wsdl:portType>
  <wsdl:binding name="newer" type="tns:register">
    <s12:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="find"><xroad:version>v1</xroad:version></wsdl:operation>
    <wsdl:operation name="later"><xroad:version> v7 </xroad:version></wsdl:operation>
  </wsdl:binding>
  <wsdl:binding name="usual" type="tns:register">
    <s:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="find"><s:operation soapAction=""/><xroad:version>v1</xroad:version></wsdl:operation>
    <wsdl:operation name="find"><s:operation soapAction=""/><xroad:version>v2</xroad:version></wsdl:operation>
    <wsdl:operation name="change"><s:operation soapAction=""/><xroad:version/></wsdl:operation>
  </wsdl:binding>
  <wsdl:binding name="mail" type="tns:register">
    <s:binding transport="http://schemas.xmlsoap.org/soap/smtp"/>
    <wsdl:operation name="byMail"/>
  </wsdl:binding>
  <wsdl:binding name="plain" type="tns:register"><http:binding verb="GET"/></wsdl:binding>
  <wsdl:service name="register">
    <wsdl:port name="newer" binding="tns:newer"><s12:address location="http://twelve.example/"/></wsdl:port>
    <wsdl:port name="usual" binding="tns:usual"><s:address location = 'http://eleven.example/a?b=1&amp;c'  /></wsdl:port>
    <wsdl:port name="mail" binding="tns:mail"><s:address location="mailto:x@example.org"/></wsdl:port>
    <wsdl:port name="plain" binding="tns:plain"/>
  </wsdl:service>
</wsdl:definitions>
"#;

fn described(bytes: &[u8]) -> Vec<(String, String, String)> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let services = read(bytes).unwrap().services.into_iter();
    services.map(|service| (service.code, or_none(service.version), or_none(service.address))).collect()
}

fn refused(text: &str) -> DescriptionError {
    read(text.as_bytes()).unwrap_err()
}

#[test]
fn every_operation_over_http_is_a_service_once() {
    let expected = [
        ("find", "v1", "http://eleven.example/a?b=1&c"),
        ("find", "v2", "http://eleven.example/a?b=1&c"),
        ("change", "-", "http://eleven.example/a?b=1&c"),
        ("later", "v7", "http://twelve.example/"),
    ];
    let expected = expected.map(|(code, version, address)| (code.into(), version.into(), address.into()));
    assert_eq!(described(REGISTER.as_bytes()), expected);
}

#[test]
fn addresses_are_replaced_and_every_other_byte_is_as_it_was() {
    let changed = with_address(REGISTER.as_bytes(), "http://example.org/'x'?a&\"b\"<").unwrap();
    let written = "http://example.org/&apos;x&apos;?a&amp;&quot;b&quot;&lt;";
    let expected = REGISTER
        .replace("http://eleven.example/a?b=1&amp;c", written)
        .replace("mailto:x@example.org", written);
    assert_eq!(String::from_utf8(changed.clone()).unwrap(), expected);
    assert_eq!(described(&changed)[0].2, "http://example.org/'x'?a&\"b\"<");
}

#[test]
fn the_changed_document_is_well_formed_to_xmllint() {
    let changed = with_address(REGISTER.as_bytes(), "http://example.org/?a&b").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.wsdl");
    cert_authority::durable::write(&path, &changed).unwrap();
    let query = "//*[local-name()='address']/@location";
    let judged = std::process::Command::new("xmllint")
        .arg("--nonet")
        .args(["--xpath", query])
        .arg(&path)
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    let told = String::from_utf8(judged.stdout).unwrap();
    assert_eq!(told.matches("http://example.org/?a&amp;b").count(), 2, "{told}");
    assert_eq!(told.matches("http://twelve.example/").count(), 1, "{told}");
}

#[test]
fn every_encoding_that_messages_may_have_comes_back_in_itself() {
    let latin = REGISTER.replace("UTF-8", "ISO-8859-1").replace("name=\"register\"", "name=\"registré\"");
    let latin: Vec<u8> = latin.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let utf16: Vec<u8> = format!("\u{feff}{}", REGISTER.replace("UTF-8", "UTF-16"))
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let marked = [b"\xef\xbb\xbf", REGISTER.as_bytes()].concat();
    for bytes in [latin, utf16, marked] {
        assert_eq!(described(&bytes), described(REGISTER.as_bytes()));
        assert_eq!(
            with_address(&bytes, "http://eleven.example/a?b=1&c").map(|changed| changed.len() > 100),
            Ok(true)
        );
        assert_eq!(
            described(&with_address(&bytes, "http://new.example").unwrap())[0].2,
            "http://new.example"
        );
    }
    assert_eq!(read(b"<a>\xff</a>").unwrap_err(), DescriptionError::Encoding);
    assert_eq!(read(b"<?xml version='1.0' encoding='UTF-7'?><a/>").unwrap_err(), DescriptionError::Encoding);
    let unfit = REGISTER.replace("UTF-8", "ISO-8859-1");
    assert_eq!(with_address(unfit.as_bytes(), "http://\u{20ac}").unwrap_err(), DescriptionError::Encoding);
}

#[test]
fn document_types_and_entities_are_refused() {
    let body = REGISTER.split_once("?>").unwrap().1;
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>";
    let reading = "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>";
    let remote = "<!DOCTYPE x SYSTEM \"http://127.0.0.1:1/x.dtd\">";
    for doctype in [bomb, reading, remote] {
        assert_eq!(refused(&format!("{doctype}{body}")), DescriptionError::DocumentType);
    }
    let entity = refused(&REGISTER.replace("name=\"usual\"", "name=\"&usual;\""));
    assert!(matches!(entity, DescriptionError::Malformed(_)), "{entity}");
}

#[test]
fn imports_are_not_followed_not_even_in_a_circle() {
    let with = |import: &str| REGISTER.replace("  <wsdl:types>", &format!("  {import}\n  <wsdl:types>"));
    let itself = with("<wsdl:import namespace=\"urn:register\" location=\"register.wsdl\"/>");
    assert_eq!(described(itself.as_bytes()), described(REGISTER.as_bytes()));

    let other = with("<wsdl:import namespace=\"urn:other\" location=\"http://127.0.0.1:1/other.wsdl\"/>");
    let elsewhere = other.replace("binding=\"tns:usual\"", "xmlns:o=\"urn:other\" binding=\"o:usual\"");
    let expected = DescriptionError::Elsewhere {
        place: "the binding usual".to_owned(),
        reference: "http://127.0.0.1:1/other.wsdl".to_owned(),
    };
    assert_eq!(refused(&elsewhere), expected);
}

#[test]
fn a_port_that_leads_nowhere_is_told() {
    for reference in ["tns:nosuch", "usual", "o:usual"] {
        let text = REGISTER.replace("binding=\"tns:usual\"", &format!("binding=\"{reference}\""));
        assert_eq!(refused(&text), DescriptionError::Reference(reference.to_owned()));
    }
    let nameless = REGISTER.replace("operation name=\"later\"", "operation");
    let missing = DescriptionError::Malformed("operation without name".to_owned());
    assert_eq!(read(nameless.as_bytes()).unwrap_err(), missing);
}

#[test]
fn what_is_no_wsdl_1_1_is_refused() {
    for (text, told) in [
        ("<description xmlns='http://www.w3.org/ns/wsdl'/>", "description of http://www.w3.org/ns/wsdl"),
        ("<definitions/>", "definitions of no namespace"),
        ("<html/>", "html of no namespace"),
    ] {
        let expected = DescriptionError::Version { expected: "WSDL 1.1", found: told.to_owned() };
        assert_eq!(refused(text), expected);
    }
    for text in ["", "openapi: 3.0.0", "<a>", "<a></b>"] {
        assert!(matches!(refused(text), DescriptionError::Malformed(_)), "{text}");
    }
    assert!(read(b"<definitions xmlns='http://schemas.xmlsoap.org/wsdl/'/>").unwrap().services.is_empty());
}

#[test]
fn what_would_keep_the_parser_busy_is_refused() {
    let definitions = |inside: &str| {
        format!("<definitions xmlns='http://schemas.xmlsoap.org/wsdl/'>{inside}</definitions>")
    };
    let deep = definitions(&format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000)));
    let attributes: String = (0..300).map(|n| format!(" a{n}=''")).collect();
    let namespaces: String = (0..10_001).map(|n| format!("<a xmlns:n{n}='urn:{n}'/>")).collect();
    for text in [deep, definitions(&format!("<a{attributes}/>")), definitions(&namespaces)] {
        let error = read(text.as_bytes()).unwrap_err();
        assert!(matches!(error, DescriptionError::TooInvolved(_)), "{error}");
        assert_eq!(with_address(text.as_bytes(), "x").unwrap_err(), error);
    }
    let huge = vec![b' '; super::super::LIMITS.max_bytes + 1];
    assert!(matches!(read(&huge).unwrap_err(), DescriptionError::TooLarge(_)));
    assert!(matches!(with_address(&huge, "x").unwrap_err(), DescriptionError::TooLarge(_)));
}

#[test]
fn many_ports_with_many_operations_are_refused() {
    let operations: String = (0..1000).map(|n| format!("<operation name='o{n}'/>")).collect();
    let ports: String = (0..1000).map(|n| format!("<port name='p{n}' binding='t:b'/>")).collect();
    let text = format!(
        "<definitions xmlns='http://schemas.xmlsoap.org/wsdl/' xmlns:s='http://schemas.xmlsoap.org/wsdl/soap/' \
         targetNamespace='urn:t' xmlns:t='urn:t'><binding name='b'>\
         <s:binding transport='http://schemas.xmlsoap.org/soap/http'/>{operations}</binding>\
         <service>{ports}</service></definitions>"
    );
    let expected = DescriptionError::TooInvolved("too many operations".to_owned());
    assert_eq!(read(text.as_bytes()).unwrap_err(), expected);
}
