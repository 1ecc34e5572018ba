//! Identifiers: their three written forms, and what is refused in each.
//!
//! The table of conformance/identifiers holds what the original's own tests expect of each file.

use conf::error::{IdentifierError, XmlError};
use conf::identifier::{
    ClientId, GlobalGroupId, LocalGroupId, MemberId, ServerId, ServiceId, decode_segment, encode_segment,
    read_document,
};
use proptest::prelude::*;

/// The result of reading a document, whatever it holds.
type Read = fn(&[u8]) -> Result<String, IdentifierError>;

const CLIENT: Read = |bytes| read_document(bytes, ClientId::read_xml).map(|id| id.to_string());
const SERVICE: Read = |bytes| {
    read_document(bytes, ServiceId::read_xml)
        .map(|id| format!("{} {} {}", id.client(), id.code(), id.version().unwrap_or("-")))
};
const SERVER: Read = |bytes| read_document(bytes, ServerId::read_xml).map(|id| id.to_string());
const GLOBAL_GROUP: Read = |bytes| read_document(bytes, GlobalGroupId::read_xml).map(|id| id.to_string());
const LOCAL_GROUP: Read = |bytes| read_document(bytes, LocalGroupId::read_xml).map(|id| id.to_string());

#[test]
fn conformance_identifiers_are_judged_as_the_original_judges_them() {
    let Some(dir) = std::env::var_os("CONFORMANCE_DIR") else {
        eprintln!("not run: CONFORMANCE_DIR is unset");
        return;
    };
    let dir = std::path::Path::new(&dir).join("xroad-7.8.0/identifiers");
    let table: [(&str, Read, Result<&str, IdentifierError>); 9] = [
        ("clientid-subsystem.xml", CLIENT, Ok("EE/COMPANY/FOOBAR/SUBSYSTEM")),
        ("clientid.xml", CLIENT, Ok("EE/COMPANY/FOOBAR")),
        ("globalgroupid.xml", GLOBAL_GROUP, Ok("EE/perearstid")),
        ("invalid-clientid-member.xml", CLIENT, Err(IdentifierError::SubsystemRedundant)),
        ("invalid-clientid-subsystem.xml", CLIENT, Err(IdentifierError::SubsystemMissing)),
        ("localgroupid.xml", LOCAL_GROUP, Ok("lokaalgrupp")),
        ("securityserverid.xml", SERVER, Ok("EE/BUSINESS/123456789/bambi")),
        ("serviceid-version.xml", SERVICE, Ok("EE/BUSINESS/JODA getState v1")),
        ("serviceid.xml", SERVICE, Ok("EE/BUSINESS/JODA getState -")),
    ];
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, table.iter().map(|row| row.0.to_owned()).collect::<Vec<_>>());
    for (file, read, expected) in table {
        let bytes = std::fs::read(dir.join(file)).unwrap();
        assert_eq!(read(&bytes), expected.map(str::to_owned), "{file}");
    }
}

#[test]
fn an_identifier_element_of_another_kind_is_refused() {
    let client = r#"<c xmlns:id="http://x-road.eu/xsd/identifiers" id:objectType="SERVER">
        <id:xRoadInstance>EE</id:xRoadInstance><id:memberClass>GOV</id:memberClass><id:memberCode>1</id:memberCode></c>"#;
    assert_eq!(CLIENT(client.as_bytes()), Err(IdentifierError::ObjectType("SERVER".to_owned())));
    let untyped = client.replace("id:objectType=\"SERVER\"", "objectType=\"MEMBER\"");
    assert_eq!(CLIENT(untyped.as_bytes()), Err(IdentifierError::NoObjectType));
    let unqualified = client
        .replace("SERVER", "MEMBER")
        .replace("<id:memberCode>1</id:memberCode>", "<memberCode>1</memberCode>");
    assert!(
        matches!(CLIENT(unqualified.as_bytes()), Err(IdentifierError::Xml(error)) if matches!(*error, XmlError::Missing { missing: "memberCode", .. }))
    );
    let blank = client.replace("SERVER", "MEMBER").replace(">1<", ">  <");
    assert_eq!(CLIENT(blank.as_bytes()), Err(IdentifierError::Blank("member code")));
}

#[test]
fn a_client_header_has_three_or_four_segments() {
    assert_eq!(ClientId::parse_encoded("EE/GOV/1001").unwrap().subsystem(), None);
    assert_eq!(ClientId::parse_encoded("EE/GOV/1001/portal").unwrap().subsystem(), Some("portal"));
    for (text, found) in [("EE/GOV", 2), ("EE/GOV/1/s/x", 5), ("/EE/GOV/1/s", 5)] {
        assert_eq!(
            ClientId::parse_encoded(text),
            Err(IdentifierError::SegmentCount { kind: "a client", found }),
            "{text}"
        );
    }
    for (text, part) in
        [("EE/GOV/1/", "subsystem code"), ("/GOV/1", "instance"), ("EE/%20/1", "member class")]
    {
        assert_eq!(ClientId::parse_encoded(text), Err(IdentifierError::Blank(part)), "{text}");
    }
    assert!(ServiceId::parse_encoded("EE/GOV/1001/records").is_err());
    assert!(ServiceId::parse_encoded("EE/GOV/1001/portal/records").is_ok());
    assert!(ServerId::parse_encoded("EE/GOV/1001/ss1/x").is_err());
}

#[test]
fn a_bad_escape_is_refused() {
    for text in ["EE/GOV/%", "EE/GOV/%4", "EE/GOV/%XY", "EE/GOV/%%41", "EE/GOV/%+1"] {
        assert_eq!(ClientId::parse_encoded(text), Err(IdentifierError::BadEscape), "{text}");
        assert_eq!(text.parse::<ClientId>(), Err(IdentifierError::BadEscape), "{text}");
    }
    assert_eq!(ClientId::parse_encoded("EE/GOV/%FF"), Err(IdentifierError::NotUtf8));
}

#[test]
fn what_must_be_escaped_is_refused_unescaped() {
    for c in [' ', '"', '#', '<', '>', '?', '[', '\\', ']', '^', '`', '{', '|', '}', '\u{e4}', '\r', '\0'] {
        assert_eq!(decode_segment(&format!("a{c}b")), Err(IdentifierError::BadCharacter(c)), "{c:?}");
    }
    let stays = "AZaz09-._~!$'()*,;&=@:+";
    assert_eq!(decode_segment(stays).unwrap(), stays);
    assert_eq!(encode_segment(stays), stays);
}

#[test]
fn an_encoded_slash_stays_inside_its_segment() {
    let id = ClientId::parse_encoded("EE/GOV/1%2F2/a%2fb").unwrap();
    assert_eq!(id.member().code(), "1/2");
    assert_eq!(id.subsystem(), Some("a/b"));
    assert_eq!(id.encoded(), "EE/GOV/1%2F2/a%2Fb");
    assert_eq!(id.to_string(), "EE/GOV/1%2F2/a%2Fb", "or it would read as another identifier");
}

#[test]
fn for_people_letters_stay_letters() {
    let id: ClientId = "EE/GOV/Põhja 7/andmed".parse().unwrap();
    assert_eq!(id.to_string(), "EE/GOV/Põhja 7/andmed");
    assert_eq!(id.encoded(), "EE/GOV/P%C3%B5hja%207/andmed");
    assert_eq!(MemberId::new("EE", "GOV", "a\nb").unwrap().to_string(), "EE/GOV/a%0Ab");
}

#[test]
fn nobody_registers_a_character_that_others_could_misread() {
    for c in ['%', ':', ';', '/', '\\', '\0', '\n', '\u{7f}', '\u{85}', '\u{200b}', '\u{feff}'] {
        let id = MemberId::new("EE", "GOV", format!("a{c}b")).unwrap();
        let expected = IdentifierError::NotRegistrable { part: "member code", character: c };
        assert_eq!(id.check_registrable(), Err(expected), "{c:?}");
        assert_eq!(ClientId::parse_encoded(&ClientId::from(id.clone()).encoded()).unwrap(), id.into());
    }
    assert_eq!("EE/GOV/1001/portal".parse::<ClientId>().unwrap().check_registrable(), Ok(()));
    assert_eq!("EE/GOV/Õ 1/x-y_z.1".parse::<ClientId>().unwrap().check_registrable(), Ok(()));
}

fn segment() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("not blank", |text| !text.chars().all(char::is_whitespace))
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(
        instance in segment(), class in segment(), code in segment(), subsystem in segment(), service in segment(),
    ) {
        let member = MemberId::new(instance, class, code).unwrap();
        let client = member.subsystem(subsystem).unwrap();
        let server = ServerId::new(member.clone(), service.clone()).unwrap();
        let service = ServiceId::new(client.clone(), service, None).unwrap();

        prop_assert_eq!(&ClientId::parse_encoded(&client.encoded()).unwrap(), &client);
        prop_assert_eq!(&client.to_string().parse::<ClientId>().unwrap(), &client);
        prop_assert_eq!(&ServiceId::parse_encoded(&service.encoded()).unwrap(), &service);
        prop_assert_eq!(&service.to_string().parse::<ServiceId>().unwrap(), &service);
        prop_assert_eq!(&server.to_string().parse::<ServerId>().unwrap(), &server);
        let json = serde_json::to_string(&member).unwrap();
        prop_assert_eq!(serde_json::from_str::<MemberId>(&json).unwrap(), member);
    }

    #[test]
    fn reading_never_panics_and_one_text_is_one_identifier(text in "[a-c/%0-9A-F ]{0,24}") {
        if let Ok(id) = ClientId::parse_encoded(&text) {
            prop_assert_eq!(ClientId::parse_encoded(&id.encoded()).unwrap(), id);
        }
        if let Ok(id) = text.parse::<ClientId>() {
            prop_assert_eq!(id.to_string().parse::<ClientId>().unwrap(), id);
        }
    }
}
