//! Signed directories: the original's samples, our own, and every way in which one can be wrong.
//!
//! ```text
//! authority --sign--> directory --+--> SignedDirectory::read -> verify -> Directory -> Entry::accept -> Part
//!      key, certificate           |
//!                                 +--> tampered, cut, signed by another, of another instance, ...
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod world;

use bytes::Bytes;
use cert_authority::algorithm::SignatureAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::error::VerifyError;
use cert_authority::keys::{KeyType, Signer};
use conf::directory::{Contents, Directory, File, PartKind, SignedDirectory};
use conf::error::{ConfError, DirectoryError};
use conf::version::Version;
use proptest::prelude::*;
use world::{Holder, Keys, conformance, judge, now, root};

const SHARED: &str = "/V6/20261123100000/shared-params.xml";
const PRIVATE: &str = "/V6/20261123100000/private-params.xml";

/// Takes a directory apart and believes it, as a client does.
fn verify(bytes: &[u8], certificates: &[Vec<u8>]) -> Result<Directory, ConfError> {
    SignedDirectory::read(bytes)?.verify("DEMO", certificates)
}

/// An authority with its key, and what it publishes.
struct Authority {
    keys: Keys,
    signer: Holder,
}

impl Authority {
    async fn new() -> Self {
        let mut keys = Keys::default();
        let signer = root(&mut keys, "CN=Configuration", KeyType::EcP256).await;
        Self { keys, signer }
    }

    fn certificates(&self) -> Vec<Vec<u8>> {
        vec![self.signer.certificate.der().to_vec()]
    }

    async fn publish(&self, files: &[File<'_>]) -> Vec<u8> {
        let contents =
            Contents { instance: "DEMO", version: Version::V6, expires: now() + world::DAY, files };
        let algorithm = SignatureAlgorithm::EcdsaSha256;
        let certificate = self.signer.certificate.der();
        contents.sign(&self.keys, &self.signer.key, algorithm, certificate).await.unwrap()
    }

    /// Signs any list, whatever stands in it.
    async fn sign_list(&self, list: &str) -> Vec<u8> {
        let signature =
            self.keys.sign(&self.signer.key, SignatureAlgorithm::EcdsaSha256, list.as_bytes()).await.unwrap();
        let own = String::from_utf8(self.publish(&[]).await).unwrap();
        let boundary = own.split("boundary=").nth(1).unwrap().lines().next().unwrap();
        let tail = own.split(&format!("\r\n--{boundary}\r\n")).nth(2).unwrap();
        let head = tail.split("\r\n\r\n").next().unwrap();
        use base64::Engine as _;
        let signature = base64::engine::general_purpose::STANDARD.encode(signature);
        format!(
            "Content-Type: multipart/related; boundary={boundary}\r\n\r\n--{boundary}\r\n\
             Content-Type: multipart/mixed; boundary=list\r\n\r\n{list}\r\n--{boundary}\r\n\
             {head}\r\n\r\n{signature}\r\n--{boundary}--\r\n"
        )
        .into_bytes()
    }

    /// The verdict on a list whose parts have these headers.
    async fn judge_parts(&self, parts: &[&str]) -> Result<Directory, ConfError> {
        let mut list = "--list\r\nExpire-date: 2026-11-23T11:00:00Z\r\nVersion: 6\r\n\r\n".to_owned();
        for part in parts {
            list.push_str(&format!("--list\r\n{part}\r\n\r\nAAAA\r\n"));
        }
        list.push_str("--list--\r\n");
        verify(&self.sign_list(&list).await, &self.certificates())
    }
}

fn part(identifier: &str, location: &str) -> String {
    format!(
        "Content-type: application/octet-stream\r\nContent-transfer-encoding: base64\r\n\
         Content-identifier: {identifier}\r\nContent-location: {location}\r\n\
         Hash-algorithm-id: http://www.w3.org/2001/04/xmlenc#sha512"
    )
}

fn file<'a>(kind: &'a PartKind, location: &'a str, bytes: &'a [u8]) -> File<'a> {
    File { kind, location, bytes }
}

#[tokio::test]
async fn a_published_directory_is_verified_and_its_files_are_taken() {
    for (key_type, algorithm) in [
        (KeyType::EcP256, SignatureAlgorithm::EcdsaSha256),
        (KeyType::EcP384, SignatureAlgorithm::EcdsaSha384),
        (KeyType::Rsa2048, SignatureAlgorithm::RsaPkcs1Sha512),
    ] {
        let mut keys = Keys::default();
        let signer = root(&mut keys, "CN=Configuration", key_type).await;
        let files = [
            file(&PartKind::PrivateParameters, PRIVATE, b"private"),
            file(&PartKind::SharedParameters, SHARED, b"shared"),
            file(&PartKind::OcspNextUpdate, "/V6/20261123100000/nextupdate-params.xml", b"next"),
        ];
        let expires = now() + world::DAY;
        let contents = Contents { instance: "DEMO", version: Version::V6, expires, files: &files };
        let bytes = contents.sign(&keys, &signer.key, algorithm, signer.certificate.der()).await.unwrap();

        let directory = verify(&bytes, &[vec![1, 2, 3], signer.certificate.der().to_vec()]).unwrap();
        assert_eq!(directory.instance(), "DEMO");
        assert_eq!(directory.version(), Version::V6);
        assert_eq!(directory.expires(), expires);
        assert_eq!(directory.entries().len(), 3);
        let entry = directory.entry(&PartKind::SharedParameters).unwrap();
        assert_eq!(entry.location(), SHARED);
        assert_eq!(entry.file_name(), "shared-params.xml");
        let part = entry.accept(Bytes::from_static(b"shared")).unwrap();
        assert_eq!((part.kind(), part.version()), (&PartKind::SharedParameters, Version::V6));
        assert_eq!(part.bytes().as_ref(), b"shared");
    }
}

#[tokio::test]
async fn openssl_verifies_what_we_sign() {
    let authority = Authority::new().await;
    let bytes = authority.publish(&[file(&PartKind::SharedParameters, SHARED, b"shared")]).await;
    let text = String::from_utf8(bytes).unwrap();
    let inner = text.split("boundary=").nth(2).unwrap().lines().next().unwrap();
    let end = format!("--{inner}--\r\n");
    let signed = &text[text.find(&format!("--{inner}\r\n")).unwrap()..text.find(&end).unwrap() + end.len()];
    let signature = text.rsplit("\r\n\r\n").next().unwrap().lines().next().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    use base64::Engine as _;
    use std::io::Write as _;
    let write =
        |name: &str, bytes: &[u8]| std::fs::File::create(path(name)).unwrap().write_all(bytes).unwrap();
    write("signed", signed.as_bytes());
    write("signature", &base64::engine::general_purpose::STANDARD.decode(signature).unwrap());
    write("certificate", authority.signer.certificate.to_pem().as_bytes());
    judge("openssl", &["x509", "-noout", "-pubkey", "-in", &path("certificate"), "-out", &path("key")])
        .unwrap();
    judge(
        "openssl",
        &["dgst", "-sha256", "-verify", &path("key"), "-signature", &path("signature"), &path("signed")],
    )
    .unwrap();
}

#[tokio::test]
async fn one_changed_byte_anywhere_in_the_signed_part_is_found() {
    let authority = Authority::new().await;
    let good = authority.publish(&[file(&PartKind::SharedParameters, SHARED, b"shared")]).await;
    let text = String::from_utf8(good.clone()).unwrap();
    let start = text.find("Expire-date").unwrap();
    let end = text.find("Signature-Algorithm-Id").unwrap();
    let mut refused = 0;
    for position in start..text[..end].rfind("==").unwrap() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        assert!(verify(&bad, &authority.certificates()).is_err(), "byte {position} changed");
        refused += 1;
    }
    assert!(refused > 300);
    let bad = text.replace("Version: 6", "Version: 5");
    assert_eq!(
        verify(bad.as_bytes(), &authority.certificates()),
        Err(ConfError::Signature(VerifyError::BadSignature))
    );
}

#[tokio::test]
async fn a_signature_by_another_key_is_refused() {
    let authority = Authority::new().await;
    let other = Authority::new().await;
    let bytes = other.publish(&[]).await;
    assert!(matches!(
        verify(&bytes, &authority.certificates()),
        Err(ConfError::UnknownVerificationCertificate { .. })
    ));
    // The other one claims our certificate.
    let claimed = Authority {
        keys: other.keys,
        signer: Holder { key: other.signer.key, certificate: authority.signer.certificate },
    };
    let bytes = claimed.publish(&[]).await;
    assert_eq!(verify(&bytes, &claimed.certificates()), Err(ConfError::Signature(VerifyError::BadSignature)));
}

#[tokio::test]
async fn an_expired_directory_is_refused_from_the_second_on() {
    let authority = Authority::new().await;
    let directory = verify(&authority.publish(&[]).await, &authority.certificates()).unwrap();
    let expires = directory.expires();
    assert_eq!(directory.check_expiry(expires), Ok(()));
    let late = UnixTime::from_millis(expires.as_millis() + 1);
    assert_eq!(
        directory.check_expiry(late),
        Err(ConfError::Expired { instance: "DEMO".to_owned(), at: expires })
    );
}

#[tokio::test]
async fn a_file_with_another_hash_is_refused() {
    let authority = Authority::new().await;
    let bytes = authority.publish(&[file(&PartKind::SharedParameters, SHARED, b"shared")]).await;
    let directory = verify(&bytes, &authority.certificates()).unwrap();
    let entry = &directory.entries()[0];
    assert_eq!(
        entry.accept(Bytes::from_static(b"Shared")),
        Err(ConfError::HashMismatch { location: SHARED.to_owned() })
    );
    assert!(entry.matches(b"shared"));
}

#[tokio::test]
async fn a_missing_part_is_told() {
    let authority = Authority::new().await;
    let bytes = authority.publish(&[file(&PartKind::SharedParameters, SHARED, b"shared")]).await;
    let directory = verify(&bytes, &authority.certificates()).unwrap();
    assert_eq!(
        directory.entry(&PartKind::PrivateParameters),
        Err(ConfError::MissingPart { instance: "DEMO".to_owned(), part: "PRIVATE-PARAMETERS".to_owned() })
    );
}

#[tokio::test]
async fn a_part_of_another_instance_is_refused() {
    let authority = Authority::new().await;
    let verdict = authority.judge_parts(&[&part("SHARED-PARAMETERS; instance='EE'", SHARED)]).await;
    let other = ConfError::OtherInstance { expected: "DEMO".to_owned(), found: "EE".to_owned() };
    assert_eq!(verdict, Err(other));
    let verdict = authority.judge_parts(&[&part("SHARED-PARAMETERS", SHARED)]).await;
    assert!(matches!(verdict, Err(ConfError::Directory(DirectoryError::MissingHeader(_)))));
    for quoted in ["'DEMO'", "\"DEMO\"", "DEMO"] {
        let part = part(&format!("SHARED-PARAMETERS; instance={quoted}"), SHARED);
        assert!(authority.judge_parts(&[&part]).await.is_ok(), "{quoted}");
    }
}

#[tokio::test]
async fn a_doubled_part_is_refused() {
    let authority = Authority::new().await;
    let shared = part("SHARED-PARAMETERS; instance='DEMO'", SHARED);
    let again = part("SHARED-PARAMETERS; instance='DEMO'", "/V6/1/other.xml");
    let verdict = authority.judge_parts(&[&shared, &again]).await;
    assert_eq!(verdict, Err(ConfError::DuplicatePart("shared-params.xml".to_owned())));
    let verdict = authority.judge_parts(&[&part("A", "/1/a.xml"), &part("B", "/2/A.xml")]).await;
    assert_eq!(verdict, Err(ConfError::DuplicatePart("A.xml".to_owned())));
}

#[tokio::test]
async fn a_location_that_leads_elsewhere_is_refused() {
    let authority = Authority::new().await;
    for location in [
        "/V6/../shared-params.xml",
        "/V6/%2e%2e/shared-params.xml",
        "/V6/..%2fshared-params.xml",
        "/V6/./shared-params.xml",
        "//evil.example/shared-params.xml",
        "http://evil.example/shared-params.xml",
        "shared-params.xml",
        "/V6\\..\\shared-params.xml",
        "/V6/shared-params.xml?x=1",
        "/V6/%00",
        "/V6/%FF",
        "/V6/",
    ] {
        let verdict = authority.judge_parts(&[&part("SHARED-PARAMETERS; instance='DEMO'", location)]).await;
        assert_eq!(verdict, Err(ConfError::UnsafeName(location.to_owned())), "{location}");
    }
}

#[tokio::test]
async fn a_file_name_that_could_be_one_of_ours_is_refused() {
    let authority = Authority::new().await;
    for name in
        ["shared-params.xml", "Private-Params.xml", "shared-params.xml.metadata", ".hidden", "a b.xml"]
    {
        let foreign = part("SOMETHING", &format!("/V6/1/{name}"));
        let verdict = authority.judge_parts(&[&foreign]).await;
        assert_eq!(verdict, Err(ConfError::UnsafeName(name.to_owned())), "{name}");
    }
    let named = format!("{}\r\nContent-file-name: ../../x", part("SOMETHING", "/V6/1/x.xml"));
    let verdict = authority.judge_parts(&[&named]).await;
    assert_eq!(verdict, Err(ConfError::UnsafeName("../../x".to_owned())));
    assert!(authority.judge_parts(&[&part("SOMETHING", "/V6/1/something.xml")]).await.is_ok());
}

#[tokio::test]
async fn what_a_list_must_have_is_asked_for() {
    let authority = Authority::new().await;
    let shared = part("SHARED-PARAMETERS; instance='DEMO'", SHARED);
    for (without, missing) in [
        ("Content-type: application/octet-stream\r\n", "Content-Type"),
        ("Content-transfer-encoding: base64\r\n", "Content-Transfer-Encoding"),
        ("Content-location: /V6/20261123100000/shared-params.xml\r\n", "Content-location"),
    ] {
        let verdict = authority.judge_parts(&[&shared.replace(without, "")]).await;
        assert_eq!(verdict, Err(DirectoryError::MissingHeader(missing).into()), "{missing}");
    }
    let twice = format!("Content-location: /other.xml\r\n{shared}");
    let verdict = authority.judge_parts(&[&twice]).await;
    assert_eq!(verdict, Err(DirectoryError::RepeatedHeader("Content-location").into()));
    let weak = shared.replace("2001/04/xmlenc#sha512", "2000/09/xmldsig#sha1");
    let verdict = authority.judge_parts(&[&weak]).await;
    assert!(matches!(
        verdict,
        Err(ConfError::Directory(DirectoryError::WrongHeader { name: "Hash-algorithm-id", .. }))
    ));
    let verdict = verify(
        &authority
            .sign_list("--list\r\nVersion: 7\r\nExpire-date: 2026-11-23T11:00:00Z\r\n\r\n--list--\r\n")
            .await,
        &authority.certificates(),
    );
    assert_eq!(verdict, Err(ConfError::UnsupportedVersion("7".to_owned())));
}

#[tokio::test]
async fn a_broken_envelope_is_refused() {
    let authority = Authority::new().await;
    let text = String::from_utf8(authority.publish(&[]).await).unwrap();
    let outer = text.split("boundary=").nth(1).unwrap().lines().next().unwrap();
    let signed_end = text.find("Content-Transfer-Encoding").unwrap();
    let cut = |at: usize| SignedDirectory::read(&text.as_bytes()[..at]).err();
    assert_eq!(cut(0), Some(DirectoryError::MissingHeader("Content-Type")));
    assert_eq!(cut(80), Some(DirectoryError::Framing("no delimiter")));
    assert!(cut(signed_end).is_some());
    assert_eq!(cut(text.len() - outer.len() - 8), Some(DirectoryError::Framing("not closed")));
    let three = text.replace(&format!("--{outer}--"), &format!("--{outer}\r\n\r\nmore\r\n--{outer}--"));
    assert_eq!(
        SignedDirectory::read(three.as_bytes()).err(),
        Some(DirectoryError::Framing("more than two parts"))
    );
    let huge = vec![b'\n'; 2 << 20];
    assert_eq!(SignedDirectory::read(&huge).err(), Some(DirectoryError::TooLarge));
}

/// The verdict of the original's own tests on each sample, at the time of the sample; where it has none, the
/// reason is told.
#[test]
fn conformance_directories_are_judged_as_the_original_judges_them() {
    let Some(dir) = conformance("signed-directories") else { return };
    let certificate = sample_certificate(&dir);
    let missing_hash = DirectoryError::MissingHeader("Verification-certificate-hash");
    let not_closed = DirectoryError::MissingSignature;
    let table: [(&str, Result<&[&str], ConfError>); 7] = [
        // Hand-made, read by no test of the original: no certificate hash, invalid signature.
        ("conf1.txt", Err(missing_hash.into())),
        // The original's generator makes it, its other tests read what it lists.
        ("test-conf-detached.txt", Ok(&["/private-params.xml"])),
        ("test-conf-invalid-signature.txt", Err(ConfError::Signature(VerifyError::BadSignature))),
        // The original goes on to the missing date; there is no signature to begin with.
        ("test-conf-malformed.txt", Err(not_closed.into())),
        ("test-conf-missing-date.txt", Err(DirectoryError::MissingExpireDate.into())),
        ("test-conf-missing-signature.txt", Err(ConfError::Signature(VerifyError::BadSignature))),
        ("test-conf-simple.txt", Ok(&["/private-params.xml", "/shared-params.xml", "/foo.xml"])),
    ];
    let mut samples: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    samples.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    assert_eq!(samples.len(), table.len());
    for (name, expected) in table {
        let bytes = std::fs::read(dir.join(name)).unwrap();
        let verdict = SignedDirectory::read(&bytes)
            .map_err(ConfError::from)
            .and_then(|directory| directory.verify("EE", std::slice::from_ref(&certificate)));
        let found = verdict.as_ref().map_err(Clone::clone).map(|directory| {
            directory.entries().iter().map(|entry| entry.location().to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(
            found,
            expected.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            "{name}"
        );
        // The files beside the list are the ones that it lists.
        let files = dir.join(name.trim_end_matches(".txt")).join("EE");
        for entry in verdict.iter().flat_map(Directory::entries) {
            let file = files.join(entry.location().trim_start_matches('/'));
            assert!(entry.matches(&std::fs::read(&file).unwrap()), "{}", file.display());
        }
    }
    let bytes = std::fs::read(dir.join("test-conf-simple.txt")).unwrap();
    let directory = SignedDirectory::read(&bytes).unwrap();
    assert!(matches!(directory.verify("EE", &[]), Err(ConfError::UnknownVerificationCertificate { .. })));
    let directory = directory.verify("EE", &[certificate]).unwrap();
    assert_eq!(directory.version(), Version::V2);
    assert!(directory.check_expiry(UnixTime::from_rfc3339("2026-05-20T17:42:55Z").unwrap()).is_ok());
    assert!(directory.check_expiry(now()).is_err());
}

/// The samples are signed with the key of a certificate that is found in another sample.
fn sample_certificate(dir: &std::path::Path) -> Vec<u8> {
    use base64::Engine as _;
    let signature = std::fs::read_to_string(dir.parent().unwrap().join("signatures/batch-sig.xml")).unwrap();
    let start = signature.find("MIIDhzCCAm+gAwIBAgIBBDANBgkqhk").unwrap();
    let text: String =
        signature[start..].split('<').next().unwrap().replace("&#13;", "").split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn whatever_is_published_is_listed_and_nothing_else_fits() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let authority = runtime.block_on(Authority::new());
    let kinds =
        [PartKind::SharedParameters, PartKind::PrivateParameters, PartKind::Other("LOCAL-PART".to_owned())];
    let part = (prop::collection::vec(any::<u8>(), 0..2000), "(/[a-zA-Z0-9_-]{1,12}){1,4}\\.xml");
    let parts = prop::collection::vec(part, 3);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    runner
        .run(&parts, |parts| {
            let files: Vec<_> = kinds
                .iter()
                .zip(&parts)
                .map(|(kind, (bytes, location))| File { kind, location, bytes })
                .collect();
            let published = runtime.block_on(authority.publish(&files));
            let directory = verify(&published, &authority.certificates()).unwrap();
            prop_assert_eq!(directory.entries().len(), files.len());
            for (entry, file) in directory.entries().iter().zip(&files) {
                prop_assert_eq!((entry.kind(), entry.location()), (file.kind, file.location));
                prop_assert!(entry.matches(file.bytes));
                prop_assert!(!entry.matches(&[file.bytes, b"x"].concat()));
                let part = entry.accept(Bytes::copy_from_slice(file.bytes)).unwrap();
                prop_assert_eq!(&part.bytes()[..], file.bytes);
            }
            Ok(())
        })
        .unwrap();
}
