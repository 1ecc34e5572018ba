//! OCSP: recorded answers, our own answers, and everything that is refused.
//!
//! ```text
//! root ── leaf            asked about
//!      ── responder       EKU OCSPSigning
//!      ── bystander       no EKU
//! other root ── impostor  EKU OCSPSigning, but of another house
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::UnixTime;
use cert_authority::error::{PkiError, VerifyError};
use cert_authority::keys::KeyType;
use cert_authority::ocsp::{
    self, CertId, CertStatus, ErrorStatus, GoodStatus, Policy, Request, Responder, Response, SingleResponse,
};
use cert_authority::x509::issue::Profile;
use cert_authority::x509::{Certificate, Serial};
use support::{DAY, Holder, World, now, openssl_ok, text};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

struct House {
    world: World,
    root: Holder,
    leaf: Holder,
    responder: Holder,
}

impl House {
    async fn new() -> Self {
        let world = World::new();
        let root = world.root(KeyType::EcP256, "CN=Root", None).await;
        let leaf = world.issue(&root, Profile::Sign, "CN=Leaf").await;
        let responder = world.issue(&root, Profile::Ocsp, "CN=Responder").await;
        Self { world, root, leaf, responder }
    }

    fn good(&self) -> SingleResponse {
        SingleResponse {
            cert_id: self.id(DigestAlgorithm::Sha1),
            status: CertStatus::Good,
            this_update: now(),
            next_update: Some(now() + HOUR),
        }
    }

    fn id(&self, algorithm: DigestAlgorithm) -> CertId {
        CertId::new(algorithm, &self.leaf.certificate, &self.root.certificate).unwrap()
    }

    async fn signed_by(&self, who: &Holder, singles: &[SingleResponse], at: UnixTime) -> Vec<u8> {
        let responder = Responder {
            certificate: who.certificate.clone(),
            key: who.key.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
        };
        ocsp::respond(&responder, singles, None, at, &self.world.keys).await.unwrap()
    }

    fn judge(&self, response: &[u8], policy: &Policy<'_>) -> Result<GoodStatus, VerifyError> {
        let response = Response::from_der(response.to_vec()).unwrap();
        ocsp::verify(&response, &self.leaf.certificate, &self.root.certificate, policy, now())
    }

    /// The verdict on a response by the delegated responder.
    async fn verdict(&self, singles: &[SingleResponse]) -> Result<GoodStatus, VerifyError> {
        self.judge(&self.signed_by(&self.responder, singles, now()).await, &Policy::default())
    }
}

#[tokio::test]
async fn a_fresh_answer_by_a_delegated_responder_is_good() {
    let house = House::new().await;
    let good = house.verdict(&[house.good()]).await.unwrap();
    assert_eq!(good.this_update(), now());
    assert_eq!(good.next_update(), Some(now() + HOUR));
    assert_eq!(good.produced_at(), now());
}

#[tokio::test]
async fn certificates_are_named_with_any_digest() {
    let house = House::new().await;
    for algorithm in DigestAlgorithm::ALL {
        let single = SingleResponse { cert_id: house.id(algorithm), ..house.good() };
        assert!(house.verdict(&[single]).await.is_ok(), "{algorithm:?}");
    }
}

#[tokio::test]
async fn the_issuer_itself_and_listed_responders_may_answer() {
    let house = House::new().await;
    let by_issuer = house.signed_by(&house.root, &[house.good()], now()).await;
    assert!(house.judge(&by_issuer, &Policy::default()).is_ok());

    let other = house.world.root(KeyType::EcP256, "CN=Other Root", None).await;
    let impostor = house.world.issue(&other, Profile::Ocsp, "CN=Impostor").await;
    let response = house.signed_by(&impostor, &[house.good()], now()).await;
    let listed = [impostor.certificate];
    assert!(house.judge(&response, &Policy { responders: &listed, ..Policy::default() }).is_ok());
    assert_eq!(house.judge(&response, &Policy::default()), Err(VerifyError::OcspUnauthorizedResponder));
}

#[tokio::test]
async fn a_responder_without_the_right_purpose_or_validity_is_refused() {
    let house = House::new().await;
    let bystander = house.world.issue(&house.root, Profile::Auth, "CN=Bystander").await;
    let late = |template: &mut cert_authority::x509::issue::Template<'_>| template.not_after = now() - DAY;
    let expired = house.world.issue_with(&house.root, Profile::Ocsp, "CN=Old", KeyType::EcP256, late).await;
    for who in [bystander, expired, house.leaf.clone()] {
        let response = house.signed_by(&who, &[house.good()], now()).await;
        let verdict = house.judge(&response, &Policy::default());
        assert_eq!(verdict, Err(VerifyError::OcspUnauthorizedResponder), "{:?}", who.certificate.subject());
    }
}

#[tokio::test]
async fn an_answer_at_the_wrong_time_is_refused() {
    let house = House::new().await;
    let at = |this_update, next_update| SingleResponse { this_update, next_update, ..house.good() };
    let edge = now() - HOUR;
    assert!(house.verdict(&[at(edge, None)]).await.is_ok());
    assert_eq!(house.verdict(&[at(edge - SECOND, None)]).await, Err(VerifyError::OcspTooOld));
    assert!(house.verdict(&[at(now() + 60 * SECOND, None)]).await.is_ok());
    assert_eq!(house.verdict(&[at(now() + 61 * SECOND, None)]).await, Err(VerifyError::OcspNotYetValid));
    let passed = at(now() - 60 * SECOND, Some(now() - SECOND));
    assert_eq!(house.verdict(std::slice::from_ref(&passed)).await, Err(VerifyError::OcspExpired));
    let response = house.signed_by(&house.responder, &[passed], now()).await;
    assert!(house.judge(&response, &Policy { next_update: false, ..Policy::default() }).is_ok());
    let from_tomorrow = house.signed_by(&house.responder, &[house.good()], now() + DAY).await;
    assert_eq!(house.judge(&from_tomorrow, &Policy::default()), Err(VerifyError::OcspNotYetValid));
}

#[tokio::test]
async fn revoked_and_unknown_are_not_good() {
    let house = House::new().await;
    let with = |status| SingleResponse { status, ..house.good() };
    for reason in [None, Some(1)] {
        let revoked = with(CertStatus::Revoked { at: now() - DAY, reason });
        assert_eq!(house.verdict(&[revoked]).await, Err(VerifyError::OcspRevoked));
    }
    assert_eq!(house.verdict(&[with(CertStatus::Unknown)]).await, Err(VerifyError::OcspUnknown));
}

#[tokio::test]
async fn an_altered_answer_is_refused() {
    let house = House::new().await;
    let revoked = CertStatus::Revoked { at: now(), reason: None };
    let response = house.signed_by(&house.responder, &[house.good()], now()).await;
    let id = house.id(DigestAlgorithm::Sha1);
    // The status follows the CertID: good [0] becomes unknown [2], then the other way round.
    let place =
        response.windows(id.der().len()).position(|bytes| bytes == id.der()).unwrap() + id.der().len();
    let mut altered = response.clone();
    assert_eq!(altered[place], 0x80);
    altered[place] = 0x82;
    assert_eq!(house.judge(&altered, &Policy::default()), Err(VerifyError::BadSignature));

    let single = SingleResponse { status: revoked, ..house.good() };
    let other = house.signed_by(&house.responder, &[single], now()).await;
    assert_eq!(house.judge(&other, &Policy::default()), Err(VerifyError::OcspRevoked));
}

#[tokio::test]
async fn an_answer_about_another_certificate_is_refused() {
    let house = House::new().await;
    static OTHER_SERIAL: LazyLock<Serial> = LazyLock::new(|| Serial::from_bytes(&[7]));
    let world = &house.world;
    let sibling = world.issue_with(&house.root, Profile::Sign, "CN=Sibling", KeyType::EcP256, |template| {
        template.serial = &OTHER_SERIAL;
    });
    let sibling = sibling.await;
    let sibling = CertId::new(DigestAlgorithm::Sha1, &sibling.certificate, &house.root.certificate).unwrap();
    let other_root = world.root(KeyType::EcP256, "CN=Other Root", None).await;
    let namesake =
        CertId::new(DigestAlgorithm::Sha1, &house.leaf.certificate, &other_root.certificate).unwrap();
    for cert_id in [sibling, namesake] {
        let single = SingleResponse { cert_id, ..house.good() };
        assert_eq!(
            house.verdict(std::slice::from_ref(&single)).await,
            Err(VerifyError::OcspOtherCertificate)
        );
        // Only the first answer counts, whatever else is there.
        let ours_second = house.verdict(&[single.clone(), house.good()]).await;
        assert_eq!(ours_second, Err(VerifyError::OcspOtherCertificate));
        assert!(house.verdict(&[house.good(), single]).await.is_ok());
    }
    assert_eq!(house.verdict(&[]).await, Err(VerifyError::OcspOtherCertificate));
}

#[tokio::test]
async fn what_is_no_response_is_not_read() {
    let house = House::new().await;
    let response = house.signed_by(&house.responder, &[house.good()], now()).await;
    let is_decode = |bytes: &[u8]| matches!(Response::from_der(bytes.to_vec()), Err(PkiError::Decode { .. }));
    for length in 0..response.len() {
        assert!(is_decode(&response[..length]), "cut at {length}");
    }
    assert!(is_decode(&[response.as_slice(), &[0]].concat()));
    assert!(is_decode(b"garbage"));
    for (status, name) in [
        (ErrorStatus::MalformedRequest, "malformedRequest"),
        (ErrorStatus::InternalError, "internalError"),
        (ErrorStatus::TryLater, "tryLater"),
        (ErrorStatus::Unauthorized, "unauthorized"),
    ] {
        let error = Response::from_der(ocsp::refusal(status).to_vec()).unwrap_err();
        assert_eq!(error, VerifyError::OcspStatus(name.into()).into());
    }
}

#[tokio::test]
async fn nonces_have_1_to_128_bytes() {
    let house = House::new().await;
    let request =
        |length| Request { cert_ids: vec![house.id(DigestAlgorithm::Sha1)], nonce: Some(vec![0xab; length]) };
    for length in [1, 128] {
        let request = request(length);
        assert_eq!(Request::from_der(&request.to_der().unwrap()), Ok(request));
    }
    for length in [0, 129] {
        assert!(Request::from_der(&request(length).to_der().unwrap()).is_err(), "{length}");
    }
}

#[tokio::test]
async fn openssl_and_we_read_each_others_requests() {
    let house = House::new().await;
    let world = &house.world;
    let issuer = world.file("issuer.pem", house.root.certificate.to_pem());
    let leaf = world.file("leaf.pem", house.leaf.certificate.to_pem());
    let theirs = world.dir.path().join("theirs.der");
    openssl_ok([
        "ocsp",
        "-sha256",
        "-issuer",
        text(&issuer),
        "-cert",
        text(&leaf),
        "-nonce",
        "-reqout",
        text(&theirs),
    ]);
    let read = Request::from_der(&std::fs::read(&theirs).unwrap()).unwrap();
    assert_eq!(read.cert_ids, [house.id(DigestAlgorithm::Sha256)]);
    assert!(read.nonce.is_some());

    let ours = world.file("ours.der", Request::new(house.id(DigestAlgorithm::Sha1)).to_der().unwrap());
    let said = openssl_ok(["ocsp", "-reqin", text(&ours), "-req_text"]);
    assert!(said.contains("Hash Algorithm: sha1"), "{said}");
    assert!(said.to_lowercase().contains("serial number: fe010203"), "{said}");
    assert!(!said.contains("Nonce"), "{said}");
}

fn recorded(file: &str) -> Option<Vec<u8>> {
    let Some(dir) = std::env::var_os("CONFORMANCE_DIR") else {
        eprintln!("not run: CONFORMANCE_DIR is not set");
        return None;
    };
    let path = PathBuf::from(dir).join("xroad-7.3.2-recorded").join(file);
    Some(std::fs::read(path).expect("the sample is there"))
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
        let at = response.produced_at();
        let verdict = ocsp::verify(&response, &certificate(name), &certificate(issuer), &policy, at);
        assert!(verdict.is_ok(), "{name}: {verdict:?}");
    }
}
