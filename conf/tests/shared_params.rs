//! Shared, private and optional parameters: what we write is valid under the original's schemas and is read
//! again; what a schema refuses is refused.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up has failed")]

mod world;

use std::path::Path;
use std::time::Duration;

use cert_authority::keys::KeyType;
use cert_authority::x509::issue::Profile;
use conf::anchor::{Anchor, AnchorSource};
use conf::error::{ConfError, IdentifierError, XmlError};
use conf::identifier::MemberId;
use conf::optional_parts::{
    read_fetch_interval, read_monitoring, read_next_update, write_fetch_interval, write_monitoring,
    write_next_update,
};
use conf::private_params::{ManagementService, PrivateParams};
use conf::shared_params::{
    AcmeServer, CaInfo, CostType, CsrFormat, GlobalGroup, Maintenance, Member, OcspResponder, Server,
    SharedParams, Subsystem,
};
use conf::version::Version;
use proptest::prelude::*;
use world::{Keys, conformance, issued, judge, root, shared_params};

const WRITTEN: [Version; 4] = [Version::V3, Version::V4, Version::V5, Version::V6];

/// A model in which every field has something.
async fn full() -> SharedParams {
    let mut keys = Keys::default();
    let ca = root(&mut keys, "CN=Root, O=Demo, C=EE", KeyType::EcP256).await;
    let sub_ca = issued(&mut keys, &ca, "CN=Sub, O=Demo, C=EE", Profile::SubCa { path_len: None }).await;
    let ocsp = issued(&mut keys, &sub_ca, "CN=OCSP, O=Demo, C=EE", Profile::Ocsp).await;
    let mut model = shared_params("DEMO", &ca.certificate, "Basic");
    model.sources[0].external_certificates = vec![vec![1, 2, 3]];
    let approved = &mut model.approved_cas[0];
    approved.authentication_only = true;
    approved.intermediates = vec![CaInfo {
        certificate: sub_ca.certificate.clone(),
        ocsp: vec![OcspResponder {
            url: "http://ocsp.example/sub?a=1&b=2".to_owned(),
            certificate: Some(ocsp.certificate),
            cost: Some(CostType::Paid),
        }],
    }];
    approved.default_csr_format = Some(CsrFormat::Pem);
    approved.acme = Some(AcmeServer {
        directory_url: "https://acme.example/".to_owned(),
        ip_address: Some("192.0.2.1".to_owned()),
        authentication_profile: Some("5".to_owned()),
        signing_profile: Some("6".to_owned()),
    });
    model.approved_tsas[0].cost = Some(CostType::Undefined);
    let member = MemberId::new("DEMO", "GOV", "1001 <&> \u{f5}").unwrap();
    let portal = member.subsystem("portal").unwrap();
    model.members = vec![
        Member {
            id: member.clone(),
            name: "Ministry \"of\" <Tests> & more".to_owned(),
            subsystems: vec![
                Subsystem { id: portal.clone(), name: Some("Portal".to_owned()) },
                Subsystem { id: member.subsystem("bare").unwrap(), name: None },
            ],
        },
        Member {
            id: MemberId::new("DEMO", "GOV", "2").unwrap(),
            name: "Two".to_owned(),
            subsystems: Vec::new(),
        },
    ];
    model.servers = vec![Server {
        owner: member.clone(),
        code: "ss1".to_owned(),
        address: Some("192.0.2.2".to_owned()),
        auth_cert_hashes: vec![vec![7; 32], vec![8; 32]],
        clients: vec![portal.clone(), model.members[1].id.clone().into()],
        maintenance: Some(Maintenance { message: Some("Back soon".to_owned()) }),
    }];
    model.global_groups = vec![GlobalGroup {
        code: "users".to_owned(),
        description: String::new(),
        members: vec![portal, member.into()],
    }];
    model
}

/// What is left of a model in an older version.
fn as_version(mut model: SharedParams, version: Version) -> SharedParams {
    for ca in &mut model.approved_cas {
        if version < Version::V6 {
            ca.default_csr_format = None;
            for info in std::iter::once(&mut ca.top).chain(&mut ca.intermediates) {
                info.ocsp.iter_mut().for_each(|ocsp| ocsp.cost = None);
            }
        }
        if let Some(acme) = ca.acme.as_mut().filter(|_| version < Version::V4) {
            acme.authentication_profile = None;
            acme.signing_profile = None;
        }
    }
    if version < Version::V6 {
        model.approved_tsas.iter_mut().for_each(|tsa| tsa.cost = None);
    }
    if version < Version::V5 {
        model.members.iter_mut().flat_map(|m| &mut m.subsystems).for_each(|subsystem| subsystem.name = None);
        model.servers.iter_mut().for_each(|server| server.maintenance = None);
    }
    model
}

fn malformed(reason: XmlError) -> ConfError {
    ConfError::Malformed { what: "shared-params.xml", reason }
}

fn validate(schema: &Path, text: &str) -> Result<(), String> {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    judge(
        "xmllint",
        &["--noout", "--nonet", "--schema", schema.to_str().unwrap(), file.path().to_str().unwrap()],
    )
}

#[tokio::test]
async fn each_version_is_written_and_read_again() {
    let model = full().await;
    for version in WRITTEN {
        let text = model.write(version).unwrap();
        let read = SharedParams::read(text.as_bytes(), version).unwrap();
        assert_eq!(read, as_version(model.clone(), version), "{version:?}");
        assert_eq!(model.write(version).unwrap(), text, "the same model gives the same bytes");
    }
    assert_eq!(model.write(Version::V2), Err(ConfError::UnsupportedVersion("2".to_owned())));
}

#[tokio::test]
async fn what_is_written_is_valid_under_the_schemas() {
    let Some(schemas) = conformance("schemas") else { return };
    let model = full().await;
    let client = model.members[0].subsystems[0].id.clone();
    for version in WRITTEN {
        let schema = schemas.join(format!("globalconf/v{}/shared-parameters.xsd", version.number()));
        validate(&schema, &model.write(version).unwrap()).unwrap();
    }
    let older = model.write(Version::V6).unwrap();
    assert!(
        validate(&schemas.join("globalconf/v3/shared-parameters.xsd"), &older).is_err(),
        "xmllint judges"
    );
    let private = PrivateParams {
        instance: "DEMO".to_owned(),
        anchors: vec![Anchor {
            generated_at: Some(world::now()),
            instance: "EE".to_owned(),
            sources: vec![AnchorSource { url: "http://x/".to_owned(), certificates: vec![vec![1], vec![2]] }],
        }],
        management: ManagementService {
            auth_cert_registration_address: "https://conf.example:4001/".to_owned(),
            auth_cert_registration_certificate: Some(vec![3]),
            provider: client.clone(),
        },
        timestamping_interval: Duration::from_secs(60),
    };
    let text = private.write();
    validate(&schemas.join("globalconf/v3/private-parameters.xsd"), &text).unwrap();
    assert_eq!(PrivateParams::read(text.as_bytes(), Version::V6).unwrap(), private);

    validate(&schemas.join("monitoring-conf.xsd"), &write_monitoring(None)).unwrap();
    let text = write_monitoring(Some(&client));
    validate(&schemas.join("monitoring-conf.xsd"), &text).unwrap();
    assert_eq!(read_monitoring(text.as_bytes()).unwrap(), Some(client));
    let text = write_next_update(false);
    validate(&schemas.join("ocsp-nextupdate-conf.xsd"), &text).unwrap();
    assert!(!read_next_update(text.as_bytes()).unwrap());
    let text = write_fetch_interval(Duration::from_secs(500));
    validate(&schemas.join("ocsp-fetchinterval-conf.xsd"), &text).unwrap();
    assert_eq!(read_fetch_interval(text.as_bytes()).unwrap(), Duration::from_secs(500));
}

#[tokio::test]
async fn what_does_not_hold_together_is_not_written() {
    let mut model = full().await;
    let stranger = MemberId::new("DEMO", "GOV", "stranger").unwrap();
    model.servers[0].clients.push(stranger.clone().into());
    let reason = XmlError::DanglingReference("DEMO/GOV/stranger".to_owned());
    assert_eq!(model.write(Version::V6), Err(ConfError::Malformed { what: "shared parameters", reason }));
    model.servers.clear();
    model.members.push(model.members[0].clone());
    assert!(matches!(
        model.write(Version::V6),
        Err(ConfError::Malformed { reason: XmlError::DuplicateId(_), .. })
    ));
    model.members = vec![Member { id: stranger, name: String::new(), subsystems: Vec::new() }];
    assert!(model.write(Version::V6).is_ok());
    model.settings.member_classes.clear();
    assert!(matches!(
        model.write(Version::V6),
        Err(ConfError::Malformed { reason: XmlError::DanglingReference(_), .. })
    ));
    model.members.clear();
    model.sources.clear();
    assert!(matches!(
        model.write(Version::V6),
        Err(ConfError::Malformed { reason: XmlError::Missing { missing: "source", .. }, .. })
    ));
}

#[tokio::test]
async fn a_document_of_a_later_version_is_refused() {
    let model = full().await;
    for (written, read) in [
        (Version::V6, Version::V5),
        (Version::V5, Version::V4),
        (Version::V4, Version::V3),
        (Version::V3, Version::V2),
    ] {
        let text = model.write(written).unwrap();
        assert!(SharedParams::read(text.as_bytes(), read).is_err(), "{written:?} as {read:?}");
    }
}

#[tokio::test]
async fn bad_documents_are_refused_each_for_its_reason() {
    let model = full().await;
    let good = model.write(Version::V6).unwrap();
    let judge = |text: &str| SharedParams::read(text.as_bytes(), Version::V6).map(|_| ()).unwrap_err();
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        judge(&good.replace(from, to))
    };
    assert!(matches!(
        judge(&good[..good.len() / 2]),
        ConfError::Malformed { reason: XmlError::Syntax(_), .. }
    ));
    assert!(matches!(judge(""), ConfError::Malformed { reason: XmlError::Syntax(_), .. }));
    assert_eq!(judge("<conf/>"), malformed(XmlError::Root("conf".to_owned())));
    let doctype = good.replacen("?>", "?><!DOCTYPE conf [<!ENTITY x \"y\">]>", 1);
    assert_eq!(judge(&doctype), malformed(XmlError::Doctype));
    assert_eq!(
        SharedParams::read(b"\xff\xfe<conf/>", Version::V6).unwrap_err(),
        malformed(XmlError::NotUtf8)
    );
    assert_eq!(
        changed("<owner>id1</owner>", "<owner>id9</owner>"),
        malformed(XmlError::DanglingReference("id9".to_owned()))
    );
    assert_eq!(changed("id=\"id2\"", "id=\"id1\""), malformed(XmlError::DuplicateId("id1".to_owned())));
    assert_eq!(
        changed("<instanceIdentifier>DEMO</instanceIdentifier>", ""),
        malformed(XmlError::Missing { missing: "instanceIdentifier", parent: "conf".to_owned() })
    );
    assert_eq!(
        changed("<serverCode>ss1</serverCode>", "<serverCode>ss1</serverCode><evil/>"),
        malformed(XmlError::Unexpected { element: "evil".to_owned(), parent: "securityServer".to_owned() })
    );
    assert_eq!(
        changed("<memberCode>2</memberCode>", "<memberCode> </memberCode>"),
        malformed(XmlError::Identifier(IdentifierError::Blank("member code")))
    );
    for (from, to, element) in [
        ("<ocspFreshnessSeconds>3600<", "<ocspFreshnessSeconds>-1<", "ocspFreshnessSeconds"),
        ("<authenticationOnly>true<", "<authenticationOnly>yes<", "authenticationOnly"),
        ("<costType>PAID<", "<costType>CHEAP<", "costType"),
        ("<cert>MI", "<cert>*I", "cert"),
        ("<cert>MI", "<cert>AA", "cert"),
    ] {
        let found = changed(from, to);
        assert!(
            matches!(&found, ConfError::Malformed { reason: XmlError::Value { element: e, .. }, .. } if e == element),
            "{found}"
        );
    }
    let extra = good.replace("</ns:conf>", "<ns:later>x</ns:later></ns:conf>");
    assert!(SharedParams::read(extra.as_bytes(), Version::V6).is_ok(), "the schemas allow more at the end");
}

#[test]
fn conformance_optional_parts_are_judged_as_the_original_judges_them() {
    let Some(dir) = conformance("global-configuration") else { return };
    type Judge = fn(&[u8]) -> Option<String>;
    let monitoring: Judge = |bytes| read_monitoring(bytes).ok().map(|id| format!("{id:?}"));
    let next_update: Judge = |bytes| read_next_update(bytes).ok().map(|verify| verify.to_string());
    let interval: Judge = |bytes| read_fetch_interval(bytes).ok().map(|time| time.as_secs().to_string());
    let client = format!("{:?}", Some("fdev/GOV/66655666".parse::<conf::identifier::ClientId>().unwrap()));
    let table: [(&str, Judge, Option<&str>); 9] = [
        ("empty-fetchinterval-params.xml", interval, None),
        ("empty-monitoring-params.xml", monitoring, Some("None")),
        ("empty-nextupdate-params.xml", next_update, None),
        ("invalid-fetchinterval-params.xml", interval, None),
        ("invalid-monitoring-params.xml", monitoring, None),
        ("invalid-nextupdate-params.xml", next_update, None),
        ("valid-fetchinterval-params.xml", interval, Some("500")),
        ("valid-monitoring-params.xml", monitoring, Some(&client)),
        ("valid-nextupdate-params.xml", next_update, Some("false")),
    ];
    let samples = std::fs::read_dir(&dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with("-params.xml"));
    assert_eq!(samples.count(), table.len());
    for (name, read, expected) in table {
        let found = read(&std::fs::read(dir.join(name)).unwrap());
        assert_eq!(found.as_deref(), expected, "{name}");
    }
}

#[test]
fn a_fetch_interval_is_at_least_a_minute() {
    let text = write_fetch_interval(Duration::from_secs(1));
    assert_eq!(read_fetch_interval(text.as_bytes()).unwrap(), Duration::from_secs(60));
}

/// Configurations of members in the thousands are read in a time that grows with their length only.
#[tokio::test]
async fn ten_thousand_members_are_written_and_read() {
    let mut model = full().await;
    model.members = (0..10_000)
        .map(|n| {
            let id = MemberId::new("DEMO", "GOV", n.to_string()).unwrap();
            let subsystems = vec![Subsystem { id: id.subsystem("a").unwrap(), name: None }];
            Member { id, name: format!("Member {n}"), subsystems }
        })
        .collect();
    model.servers[0].owner = model.members[0].id.clone();
    model.servers[0].clients = model.members.iter().map(|member| member.subsystems[0].id.clone()).collect();
    model.global_groups.clear();
    let text = model.write(Version::V6).unwrap();
    assert!(text.len() > 3 << 20);
    assert_eq!(SharedParams::read(text.as_bytes(), Version::V6).unwrap(), model);
}

/// Any text that XML can hold. (What it cannot hold, no identifier that is registered holds either.)
fn text() -> impl Strategy<Value = String> {
    "[ -~\u{a0}-\u{2fff}\u{10000}-\u{10ffff}]{0,16}[!-~\u{c0}-\u{17f}]"
}

#[tokio::test]
async fn whatever_its_texts_hold_a_model_is_read_as_it_was_written() {
    let model = full().await;
    let texts = prop::collection::vec(text(), 12);
    let bytes = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 3);
    let hours = 1..100_000u64;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    runner
        .run(&(texts, bytes, hours), |(texts, bytes, hours)| {
            let mut model = model.clone();
            let mut texts = texts.into_iter();
            let mut next = || texts.next().unwrap();
            model.sources[0].address = next();
            model.sources[0].internal_certificates = bytes.clone();
            model.approved_cas[0].name = next();
            model.approved_cas[0].certificate_profile = next().trim().to_owned();
            model.approved_cas[0].intermediates[0].ocsp[0].url = next().trim().to_owned();
            model.approved_tsas[0].name = next();
            model.members[0].name = next();
            model.members[0].subsystems[0].name = Some(next());
            model.members[1].id = MemberId::new("DEMO", "GOV", next()).unwrap();
            model.servers[0].clients[1] = model.members[1].id.clone().into();
            model.servers[0].code = next();
            model.servers[0].auth_cert_hashes = bytes;
            model.servers[0].maintenance = Some(Maintenance { message: Some(next()) });
            model.global_groups[0].description = next();
            model.settings.ocsp_freshness = Duration::from_secs(hours);
            for version in WRITTEN {
                let written = model.write(version).unwrap();
                let read = SharedParams::read(written.as_bytes(), version).unwrap();
                prop_assert_eq!(&read, &as_version(model.clone(), version));
                prop_assert_eq!(read.write(version).unwrap(), written);
            }
            Ok(())
        })
        .unwrap();
}
