//! OCSP: recorded answers, our responder's answers, and everything that is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use cert_authority::clock::UnixTime;
use cert_authority::ocsp::{self, Policy, Response};
use cert_authority::x509::Certificate;

fn recorded(file: &str) -> Option<Vec<u8>> {
    let Some(dir) = std::env::var_os("CONFORMANCE_DIR") else {
        eprintln!("not run: CONFORMANCE_DIR is not set");
        return None;
    };
    Some(
        std::fs::read(PathBuf::from(dir).join("xroad-7.3.2-recorded").join(file))
            .expect("the sample is there"),
    )
}

#[test]
fn recorded_responses_are_good_at_their_time() {
    let Some(responder) = recorded("certs/ocsp-responder.pem") else { return };
    let certificate = |file: &str| {
        let pem = String::from_utf8(recorded(&format!("certs/{file}.pem")).unwrap()).unwrap();
        Certificate::from_pem(&pem).unwrap()
    };
    let responder = Certificate::from_pem(&String::from_utf8(responder).unwrap()).unwrap();
    for (name, issuer) in [
        ("consumer-auth", "root-ca"),
        ("consumer-sign", "root-ca"),
        ("consumer2-sign", "sub-ca"),
        ("producer-sign", "root-ca"),
        ("producer2-sign", "sub-ca"),
        ("sub-ca", "root-ca"),
    ] {
        let response = Response::from_der(recorded(&format!("ocsp/{name}.der")).unwrap()).unwrap();
        let policy = Policy { responders: std::slice::from_ref(&responder), ..Policy::default() };
        let at: UnixTime = response.produced_at();
        let verdict = ocsp::verify(&response, &certificate(name), &certificate(issuer), &policy, at);
        assert!(verdict.is_ok(), "{name}: {verdict:?}");
    }
}
