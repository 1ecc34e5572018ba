//! Time-stamps: the original's samples, our authority's answers, and everything that is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use cert_authority::error::VerifyError;
use cert_authority::timestamp::{self, Token};
use cert_authority::x509::Certificate;

fn conformance(file: &str) -> Option<Vec<u8>> {
    let Some(dir) = std::env::var_os("CONFORMANCE_DIR") else {
        eprintln!("not run: CONFORMANCE_DIR is not set");
        return None;
    };
    Some(std::fs::read(PathBuf::from(dir).join("xroad-7.8.0").join(file)).expect("the sample is there"))
}

/// The time-stamping certificates of the configuration that the samples are judged with.
fn approved_in_samples() -> Vec<Certificate> {
    let xml = conformance("global-configuration/globalconf_good_v2/EE/shared-params.xml").unwrap();
    let xml = String::from_utf8(xml).unwrap();
    xml.split("<approvedTSA>")
        .skip(1)
        .map(|tsa| {
            let base64: String = tsa.split("<cert>").nth(1).unwrap().split('<').next().unwrap().into();
            let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64.trim());
            Certificate::from_pem(&pem).unwrap()
        })
        .collect()
}

#[test]
fn samples_of_the_original_get_its_verdicts() {
    let Some(data) = conformance("timestamps/stamped-data") else { return };
    let approved = approved_in_samples();
    let verdict = |file: &str, data: &[u8], approved: &[Certificate]| {
        let token = Token::from_der(conformance(file).unwrap()).unwrap();
        timestamp::verify(&token, data, approved, None).map(|valid| valid.gen_time().to_rfc3339())
    };
    assert_eq!(verdict("timestamps/valid", &data, &approved), Ok("2012-11-29T13:10:04Z".into()));
    assert_eq!(verdict("timestamps/invalid-signature", &data, &approved), Err(VerifyError::BadSignature));
    assert_eq!(verdict("timestamps/valid", &data[1..], &approved), Err(VerifyError::TimestampImprint));
    assert_eq!(verdict("timestamps/valid", &data, &[]), Err(VerifyError::TimestampUnknownTsa));
    let token = Token::from_response(&conformance("timestamps/tsp.response").unwrap()).unwrap();
    assert_eq!(token.gen_time().to_rfc3339(), "2014-05-06T08:28:49Z");
}
