//! Certificates, keys, the signer's socket, OCSP, time-stamps, PEM.

use std::sync::OnceLock;

use bytes::Bytes;
use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::crypto::{EcdsaForm, PrivateKey, PublicKey, ecdsa_der_to_raw, ecdsa_raw_to_der};
use cert_authority::error::VerifyError;
use cert_authority::fuzzing;
use cert_authority::x509::request::CertificateRequest;
use cert_authority::x509::{Certificate, Name, Serial, chain};
use cert_authority::{ocsp, pem, timestamp};
use tokio::runtime::{Builder, Runtime};

use crate::world;

/// X.509: kept byte for byte, also through PEM; never its own issuer by a signature that it does not have.
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = Certificate::from_der(data) else { return };
    assert_eq!(certificate.der(), data);
    assert_eq!(Certificate::from_pem(&certificate.to_pem()).as_ref(), Ok(&certificate));
    assert!(data.windows(certificate.tbs_der().len()).any(|window| window == certificate.tbs_der()));
    let _ = (certificate.subject().rfc2253(), certificate.issuer().rfc2253(), certificate.serial().hex());
    let _ = (certificate.key_usage(), certificate.extended_key_usage(), certificate.subject_alt_names());
    let _ = (certificate.fingerprint(DigestAlgorithm::Sha256), certificate.key_hash_sha1());
    let _ = (certificate.is_self_signed(), certificate.public_key().key_id());
    static ROOT: OnceLock<Certificate> = OnceLock::new();
    let root = ROOT.get_or_init(|| world::recorded_certificate("root-ca"));
    let several = [root.clone(), certificate.clone()];
    let _ = chain::build(&certificate, &several, &several, certificate.not_before());
    // Of what leads to the root, every byte counts.
    if chain::build(&certificate, &[], std::slice::from_ref(root), certificate.not_before()).is_ok() {
        let known = [
            "consumer-sign",
            "producer-sign",
            "consumer-auth",
            "producer-auth",
            "ocsp-responder",
            "sub-ca",
            "root-ca",
        ];
        static KNOWN: OnceLock<Vec<Certificate>> = OnceLock::new();
        let known =
            KNOWN.get_or_init(|| known.iter().map(|name| world::recorded_certificate(name)).collect());
        assert!(known.contains(&certificate), "a certificate that the root has not issued");
    }
}

/// PKCS#10.
pub fn certificate_request(data: &[u8]) {
    let Ok(request) = CertificateRequest::from_der(data) else { return };
    assert_eq!(request.der(), data);
    assert_eq!(CertificateRequest::from_pem(&request.to_pem()).unwrap().der(), data);
    let _ = (request.subject().rfc2253(), request.public_key().check_strength());
}

/// Distinguished names, as DER and as text; a text that was written reads as the same name.
pub fn name(data: &[u8]) {
    if let Ok(name) = Name::from_der(data) {
        let _ = name.rfc2253();
        assert!(name.same_as(&name));
        assert_eq!(Name::from_der(name.der()).as_ref(), Ok(&name));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Serial::from_hex(text);
    if let Ok(name) = Name::parse_rfc4514(text) {
        let written = name.rfc2253();
        let again = Name::parse_rfc4514(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert!(again.same_as(&name), "{written}");
        assert_eq!(again.rfc2253(), written);
    }
}

/// A request for an OCSP response.
pub fn ocsp_request(data: &[u8]) {
    let Ok(request) = ocsp::Request::from_der(data) else { return };
    let written = request.to_der().unwrap();
    let again = ocsp::Request::from_der(&written).unwrap();
    assert_eq!(again.to_der().unwrap(), written);
}

/// An OCSP response; none is believed but the one that was recorded.
pub fn ocsp_response(data: &[u8]) {
    let Ok(response) = ocsp::Response::from_der(data.to_vec()) else { return };
    assert_eq!(response.der(), data);
    static KNOWN: OnceLock<(Certificate, Certificate, Bytes)> = OnceLock::new();
    let (leaf, issuer, recorded) = KNOWN.get_or_init(|| {
        let path = world::conformance().join("xroad-7.3.2-recorded/ocsp/consumer-sign.der");
        let (leaf, issuer) =
            (world::recorded_certificate("consumer-sign"), world::recorded_certificate("root-ca"));
        (leaf, issuer, std::fs::read(path).unwrap().into())
    });
    let policy = ocsp::Policy::default();
    if ocsp::verify(&response, leaf, issuer, &policy, response.produced_at()).is_ok() {
        let original = ocsp::Response::from_der(recorded.clone()).unwrap();
        assert_eq!(response.produced_at(), original.produced_at(), "a response that nobody has signed");
        assert_eq!(response.responses(), original.responses(), "a response that nobody has signed");
    }
}

/// A request for a time-stamp.
pub fn timestamp_request(data: &[u8]) {
    let Ok(request) = timestamp::Request::from_der(data) else { return };
    let written = request.to_der().unwrap();
    assert_eq!(timestamp::Request::from_der(&written).unwrap().to_der().unwrap(), written);
}

/// A time-stamp, alone and in an answer, CMS inside; verified over the data of the conformance token.
pub fn timestamp_token(data: &[u8]) {
    let _ = timestamp::Token::from_response(data);
    let Ok(token) = timestamp::Token::from_der(data.to_vec()) else { return };
    assert_eq!(token.der(), data);
    static DATA: OnceLock<Vec<u8>> = OnceLock::new();
    let stamped = DATA.get_or_init(|| {
        std::fs::read(world::conformance().join("xroad-7.8.0/timestamps/stamped-data")).unwrap_or_default()
    });
    let _ = timestamp::verify(&token, stamped, world::global_conf().tsa_certificates(), None);
}

/// Public keys, and signatures in both forms of ECDSA: nothing random verifies.
pub fn public_key(data: &[u8]) {
    let (spki, signature) =
        data.split_at(data.len().min(usize::from(data.first().copied().unwrap_or(0)) + 2));
    let _ = PublicKey::from_spki(signature);
    for spki in [data, spki] {
        let Ok(key) = PublicKey::from_spki(spki) else { continue };
        assert_eq!(key.spki_der(), spki);
        let _ = (key.key_type(), key.check_strength(), key.key_id());
        for algorithm in SignatureAlgorithm::ALL {
            for form in [EcdsaForm::Der, EcdsaForm::Raw] {
                let _: Result<(), VerifyError> = key.verify(algorithm, form, b"message", signature);
            }
        }
    }
    for width in [32, 48] {
        if let Ok(raw) = ecdsa_der_to_raw(width, data) {
            assert_eq!(ecdsa_raw_to_der(width, &raw).as_deref(), Ok(data), "two encodings of one signature");
        }
    }
    let _ = SignatureAlgorithm::from_identifier_der(data);
}

/// Private keys in PKCS#8.
pub fn private_key(data: &[u8]) {
    if let Ok(key) = PrivateKey::from_pkcs8(data) {
        let _ = key.public_key().key_id();
    }
}

/// What comes over a signer's socket, in either direction: frames are what they were cut from, requests are written in one
/// way only, and what was read and written again reads the same.
pub fn signer_frames(data: &[u8]) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Builder::new_current_thread().enable_time().build().unwrap());
    let (frames, is_whole) = runtime.block_on(fuzzing::signer_frames(data));
    let written = frames.iter().map(|frame| runtime.block_on(fuzzing::signer_frame(frame)).unwrap());
    let written: Vec<u8> = written.flatten().collect();
    assert!(data.starts_with(&written) && (!is_whole || written == data));
    for frame in &frames {
        if let Some(request) = fuzzing::signer_request(frame) {
            assert_eq!(request, *frame, "two forms of one request");
        }
        if let Some(reply) = fuzzing::signer_reply(frame) {
            assert_eq!(fuzzing::signer_reply(&reply), Some(reply));
        }
        if let Some(keys) = fuzzing::signer_keys(frame.get(1..).unwrap_or_default()) {
            assert_eq!(fuzzing::signer_keys(&keys), Some(keys));
        }
    }
}

/// PEM: what was decoded and encoded decodes to the same.
pub fn pem_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(all) = pem::decode_all("block", "CERTIFICATE", text) else { return };
    let written: String = all.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
    assert_eq!(pem::decode_all("block", "CERTIFICATE", &written), Ok(all));
}
