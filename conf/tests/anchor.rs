//! Configuration anchors: read, written, compared.
#![expect(clippy::panic, reason = "a test that cannot be set up has failed")]

mod world;

use conf::anchor::{Anchor, AnchorSource, fingerprint};
use conf::error::{ConfError, XmlError};
use world::{conformance, judge, now};

fn anchor() -> Anchor {
    let source = |n: u8| AnchorSource {
        url: format!("http://192.0.2.{n}/internalconf?a=1&b=2"),
        certificates: vec![vec![n; 100], vec![n + 1; 3]],
    };
    Anchor { generated_at: Some(now()), instance: "DEMO".to_owned(), sources: vec![source(1), source(2)] }
}

fn reason(text: &str) -> XmlError {
    match Anchor::read(text.as_bytes()) {
        Err(ConfError::Malformed { what: "configuration anchor", reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read_again() {
    let anchor = anchor();
    assert_eq!(Anchor::read(anchor.write().as_bytes()).unwrap(), anchor);
    let undated = Anchor { generated_at: None, ..anchor };
    assert_eq!(Anchor::read(undated.write().as_bytes()).unwrap(), undated);
}

#[test]
fn what_is_written_is_valid_under_the_schema() {
    let Some(schemas) = conformance("schemas/globalconf") else { return };
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(anchor().write().as_bytes()).unwrap();
    let schema = schemas.join("v2/private-parameters.xsd");
    let arguments =
        ["--noout", "--nonet", "--schema", schema.to_str().unwrap(), file.path().to_str().unwrap()];
    judge("xmllint", &arguments).unwrap();
}

#[test]
fn conformance_anchors_are_read() {
    for (folder, file, instance, urls) in [
        (
            "global-configuration",
            "configuration-anchor1.xml",
            "EE",
            &[
                "http://www.bar.com/conf",
                "http://node-0x.example.com/internalconf",
                "http://node-1x.example.com/internalconf",
            ][..],
        ),
        ("global-configuration", "configuration-anchor2.xml", "EE", &["http://www.bar.com/conf2"][..]),
        (
            "signed-directories",
            "configuration-anchor1.xml",
            "EE",
            &[
                "http://www.bar.com/conf",
                "http://node-0x.example.com/internalconf",
                "http://node-1x.example.com/internalconf",
            ][..],
        ),
    ] {
        let Some(dir) = conformance(folder) else { return };
        let anchor = Anchor::read(&std::fs::read(dir.join(file)).unwrap()).unwrap();
        assert_eq!(anchor.instance, instance);
        let found: Vec<_> = anchor.sources.iter().map(|source| source.url.as_str()).collect();
        assert_eq!(found, urls, "{folder}/{file}");
        assert!(anchor.sources.iter().all(|source| !source.certificates.is_empty()));
    }
}

#[test]
fn the_fingerprint_is_what_openssl_says() {
    use std::io::Write as _;
    let text = anchor().write();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let output = std::process::Command::new("openssl")
        .args(["dgst", "-sha224", "-c"])
        .arg(file.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let said = said.split("= ").nth(1).unwrap().trim().to_uppercase();
    assert_eq!(fingerprint(text.as_bytes()), said);
    assert_eq!(said.len(), 28 * 3 - 1);
}

#[test]
fn broken_anchors_are_refused() {
    let good = anchor().write();
    assert!(matches!(reason(&good[..200]), XmlError::Syntax(_)));
    assert_eq!(
        reason(&good.replace("ns:configurationAnchor", "ns:anchor")),
        XmlError::Root("anchor".to_owned())
    );
    assert_eq!(reason(&good.replacen("?>", "?><!DOCTYPE a>", 1)), XmlError::Doctype);
    assert!(matches!(reason(&good.replace(">DEMO<", "> <")), XmlError::Value { .. }));
    assert!(matches!(
        reason(&good.replace("downloadURL", "url")),
        XmlError::Missing { missing: "downloadURL", .. }
    ));
    let empty = Anchor { sources: Vec::new(), ..anchor() };
    assert!(matches!(reason(&empty.write()), XmlError::Missing { missing: "source", .. }));
    let unsigned =
        Anchor { sources: vec![AnchorSource { url: "x".to_owned(), certificates: Vec::new() }], ..anchor() };
    assert!(matches!(reason(&unsigned.write()), XmlError::Missing { missing: "verificationCert", .. }));
    assert!(matches!(reason(&good.replace("2026-11-23T10:00:00Z", "yesterday")), XmlError::Value { .. }));
}
