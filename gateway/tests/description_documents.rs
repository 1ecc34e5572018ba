//! Documents as they are found: written by hand or by a generator. xmllint counts what we count.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::process::Command;

use gateway::description::{openapi, wsdl};
use proptest::prelude::*;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/descriptions").join(name)
}

fn document(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn endpoints(name: &str) -> Vec<String> {
    openapi::read(&document(name)).unwrap().endpoints.iter().map(ToString::to_string).collect()
}

fn xmllint(document: &[u8], query: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("document.wsdl");
    cert_authority::durable::write(&path, document).unwrap();
    let judged = Command::new("xmllint").arg("--nonet").args(["--xpath", query]).arg(&path).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    String::from_utf8(judged.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_document_in_yaml_with_everything_that_people_write_is_read() {
    assert_eq!(
        endpoints("permits.yaml"),
        [
            "GET /applications",
            "POST /applications",
            "GET /applications/*",
            "PUT /applications/*",
            "PATCH /applications/*",
            "DELETE /applications/*",
            "HEAD /applications/*/drawings/*.pdf",
            "GET /applications/*/drawings/*.pdf",
            "GET /search(kind=*)",
            "OPTIONS /health",
            "TRACE /health",
        ]
    );
    let shown = openapi::without_hosts(&document("permits.yaml")).unwrap();
    let expected = String::from_utf8(document("permits.yaml"))
        .unwrap()
        .replace("https://permits.apps.internal:8443/permits/v2", "\"/permits/v2\"")
        .replace("'https://permits-test.apps.internal/permits/v2'", "\"/permits/v2\"");
    assert_eq!(String::from_utf8(shown).unwrap(), expected);
}

#[test]
fn a_document_in_json_as_a_machine_writes_it_is_read() {
    assert_eq!(
        endpoints("statistics.json"),
        [
            "GET /tables",
            "GET /tables/*",
            "DELETE /tables/*",
            "GET /archive/tables/*",
            "DELETE /archive/tables/*",
            "PUT /tables/*/cells/*",
            "GET /tables/*/cells/*",
            "DELETE /tables/*/cells/*",
            "GET /",
            "POST /größe/*",
        ]
    );
    let shown = openapi::without_hosts(&document("statistics.json")).unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    let mut expected: serde_json::Value = serde_json::from_slice(&document("statistics.json")).unwrap();
    *expected.pointer_mut("/servers/2/url").unwrap() = "/api/v1".into();
    assert_eq!(shown, expected);
}

#[test]
fn a_wsdl_as_a_generator_writes_it_is_read_as_xmllint_reads_it() {
    let tax = document("tax.wsdl");
    let services = wsdl::read(&tax).unwrap().services;
    let found: Vec<_> = services.iter().map(|each| (each.code.as_str(), each.version.as_deref())).collect();
    assert_eq!(found, [("debtOf", Some("v1")), ("declare", Some("v3"))]);
    assert!(
        services
            .iter()
            .all(|each| each.address.as_deref() == Some("https://tax.internal.example/Tax.asmx?a=1&b=2"))
    );

    let in_soap = "//*[local-name()='binding'][*[namespace-uri()='http://schemas.xmlsoap.org/wsdl/soap/']]";
    let counted = xmllint(&tax, &format!("count({in_soap}/*[local-name()='operation'])"));
    assert_eq!(counted, services.len().to_string());

    let changed = wsdl::with_address(&tax, "http://example.org/xroad").unwrap();
    let addresses = |namespace: &str| {
        let query = format!("//*[local-name()='address' and namespace-uri()='{namespace}']/@location");
        xmllint(&changed, &query).lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let ours = "location=\"http://example.org/xroad\"";
    assert_eq!(addresses("http://schemas.xmlsoap.org/wsdl/soap/"), [ours, ours]);
    let theirs = "location=\"https://tax.internal.example/Tax.asmx\"";
    assert_eq!(addresses("http://schemas.xmlsoap.org/wsdl/soap12/"), [theirs]);
    assert_eq!(addresses("http://schemas.xmlsoap.org/wsdl/http/"), [theirs]);
}

/// A document with some of its bytes in another place, left out or overwritten.
fn damaged(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let document = document(name);
    let cuts =
        prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4), 1..6);
    (cuts, prop::collection::vec(any::<u8>(), 1..5)).prop_map(move |(cuts, noise)| {
        let mut bytes = document.clone();
        for (from, to, how) in cuts {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 200));
            let piece: Vec<u8> = bytes.get(from..to).unwrap().to_vec();
            match how {
                0 => drop(bytes.splice(from..to, [])),
                1 => drop(bytes.splice(from..from, piece)),
                2 => drop(bytes.splice(from..to, noise.iter().copied())),
                _ => drop(bytes.splice(to..to, noise.iter().copied())),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn a_damaged_wsdl_is_refused_or_read_and_never_more_than_that(bytes in damaged("tax.wsdl")) {
        let read = wsdl::read(&bytes);
        if let Ok(changed) = wsdl::with_address(&bytes, "http://a/?b&'c\"") {
            let again = wsdl::read(&changed);
            prop_assert_eq!(read.is_ok(), again.is_ok());
            let names = |read: wsdl::Wsdl| read.services.into_iter().map(|s| (s.code, s.version)).collect::<Vec<_>>();
            prop_assert_eq!(read.ok().map(names), again.ok().map(names));
        } else {
            prop_assert!(read.is_err());
        }
    }

    #[test]
    fn a_damaged_openapi_document_is_refused_or_read_and_shown_without_hosts(
        bytes in prop_oneof![damaged("permits.yaml"), damaged("statistics.json")]
    ) {
        let read = openapi::read(&bytes);
        if let Ok(shown) = openapi::without_hosts(&bytes) {
            let again = openapi::read(&shown).unwrap();
            prop_assert_eq!(read.unwrap().endpoints, again.endpoints);
            prop_assert_eq!(openapi::without_hosts(&shown).unwrap(), shown);
        }
    }
}
