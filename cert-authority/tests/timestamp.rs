//! Time-stamps: the original's samples, our own tokens, and everything that is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::UnixTime;
use cert_authority::crypto::digest;
use cert_authority::error::{PkiError, VerifyError};
use cert_authority::keys::KeyType;
use cert_authority::timestamp::{self, Failure, Request, Stamper, Token};
use cert_authority::x509::issue::Profile;
use cert_authority::x509::{Certificate, ObjectIdentifier};
use support::{DAY, Holder, World, now, openssl_ok, text};

const DATA: &[u8] = b"what was there";
const NONCE: &[u8] = &[0x81, 2, 3];

struct House {
    world: World,
    root: Holder,
    tsa: Holder,
}

impl House {
    async fn new() -> Self {
        let world = World::new();
        let root = world.root(KeyType::EcP256, "CN=Root", None).await;
        let tsa = world.issue(&root, Profile::Tsa, "CN=TSA").await;
        Self { world, root, tsa }
    }

    async fn respond(&self, who: &Holder, request: &Request, at: UnixTime) -> Vec<u8> {
        let stamper = Stamper {
            certificate: who.certificate.clone(),
            intermediates: Vec::new(),
            key: who.key.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
            policy: ObjectIdentifier::new_unwrap("1.2.3.4.1"),
        };
        timestamp::stamp(request, &stamper, &[0xfe, 1], at, &self.world.keys).await.unwrap()
    }

    async fn token(&self, who: &Holder, request: &Request) -> Token {
        Token::from_response(&self.respond(who, request, now()).await).unwrap()
    }
}

fn request(imprint_algorithm: DigestAlgorithm) -> Request {
    Request {
        imprint_algorithm,
        imprint: digest(imprint_algorithm, DATA).as_ref().to_vec(),
        nonce: Some(NONCE.to_vec()),
        certificates: false,
        policy: None,
    }
}

fn sha512() -> Request {
    request(DigestAlgorithm::Sha512)
}

#[tokio::test]
async fn our_tokens_are_valid_with_and_without_certificates() {
    let house = House::new().await;
    let approved = [house.root.certificate.clone(), house.tsa.certificate.clone()];
    for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha384, DigestAlgorithm::Sha512] {
        for certificates in [false, true] {
            let request = Request { certificates, ..request(algorithm) };
            let token = house.token(&house.tsa, &request).await;
            let valid = timestamp::verify(&token, DATA, &approved, Some(NONCE)).unwrap();
            assert_eq!(valid.gen_time(), now());
            assert_eq!(valid.tsa(), &house.tsa.certificate);
            assert_eq!(valid.policy().to_string(), "1.2.3.4.1");
            assert_eq!(valid.serial(), [0, 0xfe, 1]);
            let certificate = house.tsa.certificate.der();
            let carried = token.der().windows(certificate.len()).any(|bytes| bytes == certificate);
            assert_eq!(carried, certificates);
            assert!(Token::from_der(token.der().clone()).is_ok());
        }
    }
}

#[tokio::test]
async fn a_token_for_another_request_is_refused() {
    let house = House::new().await;
    let approved = [house.tsa.certificate.clone()];
    let token = house.token(&house.tsa, &sha512()).await;
    let judge = |data: &[u8], nonce: Option<&[u8]>| {
        timestamp::verify(&token, data, &approved, nonce).map(|valid| valid.gen_time())
    };
    assert_eq!(judge(b"other data", Some(NONCE)), Err(VerifyError::TimestampImprint));
    assert_eq!(judge(DATA, Some(&[1])), Err(VerifyError::TimestampNonce));
    assert_eq!(judge(DATA, None), Ok(now()));
    let without = house.token(&house.tsa, &Request { nonce: None, ..sha512() }).await;
    let verdict = timestamp::verify(&without, DATA, &approved, Some(NONCE));
    assert_eq!(verdict.unwrap_err(), VerifyError::TimestampNonce);
}

#[tokio::test]
async fn only_an_approved_certificate_for_time_stamping_is_believed() {
    let house = House::new().await;
    let token = house.token(&house.tsa, &sha512()).await;
    let verdict = |token: &Token, approved: &[Certificate]| {
        timestamp::verify(token, DATA, approved, Some(NONCE)).map(|_| ())
    };
    let unknown = Err(VerifyError::TimestampUnknownTsa);
    assert_eq!(verdict(&token, &[]), unknown);
    let other = house.world.root(KeyType::EcP256, "CN=Other Root", None).await;
    let stranger = house.world.issue(&other, Profile::Tsa, "CN=TSA").await;
    assert_eq!(verdict(&token, &[stranger.certificate]), unknown);

    // Same issuer, same serial number, even the same name: but another key, or another certificate of the key.
    let namesake = house.world.issue(&house.root, Profile::Tsa, "CN=TSA").await;
    assert_eq!(verdict(&token, &[namesake.certificate]), Err(VerifyError::BadSignature));

    let server = house.world.issue(&house.root, Profile::Tls, "CN=Server").await;
    let token = house.token(&server, &sha512()).await;
    let refused = Err(VerifyError::WrongKeyUsage("time-stamping"));
    assert_eq!(verdict(&token, &[server.certificate]), refused);
}

#[tokio::test]
async fn the_time_must_lie_in_the_authoritys_validity_and_near_the_present() {
    let house = House::new().await;
    let approved = [house.tsa.certificate.clone()];
    for at in [now() - 20 * DAY, now() + 20 * DAY] {
        let token = Token::from_response(&house.respond(&house.tsa, &sha512(), at).await).unwrap();
        let verdict = timestamp::verify(&token, DATA, &approved, Some(NONCE));
        assert_eq!(verdict.unwrap_err(), VerifyError::TimestampTime);
    }
    let token = house.token(&house.tsa, &sha512()).await;
    let valid = timestamp::verify(&token, DATA, &approved, Some(NONCE)).unwrap();
    let minute = Duration::from_secs(60);
    let stale = Err(VerifyError::TimestampTime);
    assert_eq!(valid.check_fresh(now() + minute, minute), Ok(()));
    assert_eq!(valid.check_fresh(now() - minute, minute), Ok(()));
    assert_eq!(valid.check_fresh(now() + 2 * minute, minute), stale);
    assert_eq!(valid.check_fresh(now() - 2 * minute, minute), stale);
}

#[tokio::test]
async fn no_altered_byte_changes_what_is_proven() {
    let house = House::new().await;
    let approved = [house.tsa.certificate.clone()];
    let der = house.token(&house.tsa, &sha512()).await.der().to_vec();
    let mut without_effect = 0;
    for place in 0..der.len() {
        let mut altered = der.clone();
        altered[place] ^= 1;
        let Ok(token) = Token::from_der(altered) else { continue };
        if let Ok(valid) = timestamp::verify(&token, DATA, &approved, Some(NONCE)) {
            assert_eq!(valid.gen_time(), now(), "byte {place}");
            assert_eq!(valid.serial(), [0, 0xfe, 1], "byte {place}");
            assert_eq!(valid.policy().to_string(), "1.2.3.4.1", "byte {place}");
            without_effect += 1;
        }
    }
    // Versions and the list of digest algorithms outside of what is signed say nothing that is used.
    assert!(without_effect < 30, "{without_effect} bytes may be altered");
}

#[tokio::test]
async fn a_token_with_two_signers_or_none_is_refused() {
    let house = House::new().await;
    let der = house.token(&house.tsa, &sha512()).await.der().to_vec();
    // The last element of SignedData is the set of signers; ContentInfo, [0] and SignedData have two length bytes each.
    let info = |signers: &[&[u8]]| {
        let set = wrap(0x31, &signers.concat());
        let (before, _) = split_signers(&der);
        let data = wrap(0x30, &[before, &set].concat());
        let oid = &der[4..15];
        wrap(0x30, &[oid, &wrap(0xa0, &data)].concat())
    };
    let (_, signer) = split_signers(&der);
    assert_eq!(info(&[signer]), der, "the token was taken apart rightly");
    for signers in [vec![], vec![signer, signer]] {
        assert!(matches!(Token::from_der(info(&signers)), Err(PkiError::Inspect { .. })));
    }
}

/// What comes before the set of signers inside SignedData, and the one signer in the set.
fn split_signers(token: &[u8]) -> (&[u8], &[u8]) {
    let data = content(&content(token)[11..]);
    let data = content(data);
    // The set begins where its own length reaches exactly to the end.
    let place = (0..data.len())
        .rev()
        .find(|place| {
            data[*place] == 0x31 && header(&data[*place..]).is_some_and(|(_, end)| end == data.len() - place)
        })
        .unwrap();
    (&data[..place], content(&data[place..]))
}

/// Lengths of the header and of the whole element.
fn header(der: &[u8]) -> Option<(usize, usize)> {
    let (first, size) = (usize::from(*der.get(1)?), der.len());
    let (header, length) = match first {
        0..=0x7f => (2, first),
        0x81 => (3, usize::from(*der.get(2)?)),
        0x82 => (4, usize::from(*der.get(2)?) * 256 + usize::from(*der.get(3)?)),
        _ => return None,
    };
    (header + length <= size).then_some((header, header + length))
}

fn content(der: &[u8]) -> &[u8] {
    let (header, end) = header(der).unwrap();
    &der[header..end]
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match content.len() {
        0..=0x7f => vec![length[1]],
        0x80..=0xff => vec![0x81, length[1]],
        _ => vec![0x82, length[0], length[1]],
    };
    [&[tag], length.as_slice(), content].concat()
}

#[tokio::test]
async fn a_refusal_and_garbage_are_no_token() {
    let house = House::new().await;
    let rejected = |response: &[u8]| match Token::from_response(response) {
        Err(PkiError::Verify(VerifyError::TimestampRejected(why))) => why,
        other => panic!("{other:?}"),
    };
    for (failure, why) in [
        (Failure::BadAlgorithm, "rejection, badAlg"),
        (Failure::BadRequest, "rejection, badRequest"),
        (Failure::UnacceptedPolicy, "rejection, unacceptedPolicy"),
        (Failure::SystemFailure, "rejection, systemFailure"),
    ] {
        assert_eq!(rejected(&timestamp::reject(failure).unwrap()), why);
    }
    let sha1 = request(DigestAlgorithm::Sha1);
    assert_eq!(rejected(&house.respond(&house.tsa, &sha1, now()).await), "rejection, badAlg");
    let policy = Some(ObjectIdentifier::new_unwrap("1.2.3.4.2").into());
    let response = house.respond(&house.tsa, &Request { policy, ..sha512() }, now()).await;
    assert_eq!(rejected(&response), "rejection, unacceptedPolicy");

    let response = house.respond(&house.tsa, &sha512(), now()).await;
    for length in 0..response.len() {
        assert!(Token::from_response(&response[..length]).is_err(), "cut at {length}");
    }
    assert!(Token::from_response(b"<html>").is_err());
    assert!(Token::from_der(response).is_err(), "a response is no token");
}

#[tokio::test]
async fn openssl_reads_our_requests_and_we_its() {
    let house = House::new().await;
    let ours = house.world.file("ours.tsq", Request { certificates: true, ..sha512() }.to_der().unwrap());
    let said = openssl_ok(["ts", "-query", "-in", text(&ours), "-text"]);
    assert!(said.contains("sha512") && said.contains("Nonce: 0x810203"), "{said}");
    assert!(said.contains("Certificate required: yes"), "{said}");

    let data = house.world.file("data", DATA);
    let theirs = house.world.dir.path().join("theirs.tsq");
    openssl_ok(["ts", "-query", "-data", text(&data), "-sha512", "-cert", "-out", text(&theirs)]);
    let read = Request::from_der(&std::fs::read(&theirs).unwrap()).unwrap();
    assert_eq!(read, Request { nonce: read.nonce.clone(), certificates: true, ..sha512() });
    assert!(read.nonce.is_some());
}

#[test]
fn malformed_requests_are_refused() {
    let good = sha512().to_der().unwrap();
    assert_eq!(Request::from_der(&good), Ok(sha512()));
    let short = Request { imprint: vec![1; 20], ..sha512() }.to_der().unwrap();
    let long_nonce = Request { nonce: Some(vec![1; 65]), ..sha512() }.to_der().unwrap();
    for bad in [&good[..good.len() - 1], b"garbage", b"", &short, &long_nonce] {
        assert!(Request::from_der(bad).is_err());
    }
}

fn conformance(file: &str) -> Option<Vec<u8>> {
    let Some(dir) = std::env::var_os("CONFORMANCE_DIR") else {
        eprintln!("not run: CONFORMANCE_DIR is not set");
        return None;
    };
    let path = PathBuf::from(dir).join("xroad-7.8.0").join(file);
    Some(std::fs::read(path).expect("the sample is there"))
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
