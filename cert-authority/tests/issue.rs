//! What an authority makes: certificates, requests, revocation lists; openssl judges each of them.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use cert_authority::{
        authority::{Application, Authority, Policy, Reason, Status},
        clock::{Clock, FixedClock},
        error::{KeyError, PkiError, Refusal, VerifyError},
        keys::{KeyId, KeyType, Pin, SignFuture, Signer, software::SoftwareKeys},
        x509::{
            AltName, Certificate, Name, Serial, chain,
            issue::{Issuer, Profile, issue},
            oid,
            request::{self, CertificateRequest},
        },
    };

    use crate::support::{DAY, Holder, Memory, PIN, World, now, openssl, openssl_ok, template, text};

    const ROOT: &str = "CN=Demo CA,O=Demo Authority,C=EE";

    fn authority(
        world: &World,
        root: &Holder,
        store: &Memory,
        clock: &FixedClock,
        policy: Policy,
    ) -> Authority {
        let keys = SoftwareKeys::open(world.dir.path().join("keys"), &Pin::new(PIN)).unwrap();
        let (store, clock) = (Box::new(store.clone()), Arc::new(clock.clone()));
        Authority::open(root.certificate.clone(), Arc::new(keys), store, clock, policy).unwrap()
    }

    fn shown(world: &World, certificate: &Certificate) -> String {
        let path = world.file("shown.pem", certificate.to_pem());
        openssl_ok(["x509", "-in", text(&path), "-noout", "-text", "-nameopt", "RFC2253"])
    }

    async fn world_with_root() -> (World, Holder) {
        let world = World::new();
        let root = world.root(KeyType::EcP256, ROOT, None).await;
        (world, root)
    }

    #[tokio::test]
    async fn a_signing_certificate_is_for_non_repudiation_only() {
        let (world, root) = world_with_root().await;
        let subject = "serialNumber=1001,businessCategory=GOV,CN=Statistics,O=Statistics,C=EE";
        let made = world
            .issue_with(&root, Profile::Sign, subject, KeyType::Rsa2048, |t| {
                t.ocsp_url = Some("http://127.0.0.1:7000/ocsp");
                t.crl_url = Some("http://127.0.0.1:7000/crl");
                t.issuer_url = Some("http://127.0.0.1:7000/ca.pem");
            })
            .await
            .certificate;
        let text = shown(&world, &made);
        assert!(text.contains("Key Usage: critical\n                Non Repudiation\n"), "{text}");
        assert!(text.contains("OCSP - URI:http://127.0.0.1:7000/ocsp"));
        assert!(text.contains("CA Issuers - URI:http://127.0.0.1:7000/ca.pem"));
        assert!(text.contains("CA:FALSE") && !text.contains("Extended Key Usage"));
        let usage = made.key_usage().unwrap();
        assert!(usage.non_repudiation() && !usage.digital_signature() && !usage.key_cert_sign());
        assert_eq!(made.ocsp_urls(), ["http://127.0.0.1:7000/ocsp"]);
        assert_eq!(made.crl_urls(), ["http://127.0.0.1:7000/crl"]);
        assert_eq!(made.issuer_urls(), ["http://127.0.0.1:7000/ca.pem"]);
        assert_eq!(made.subject().business_category(), Some("GOV"));
        assert_eq!(made.subject().serial_number(), Some("1001"));
        assert_eq!(made.issuer().rfc2253(), ROOT);
        assert_eq!(made.issuer().der(), root.certificate.subject().der());
        assert_eq!(made.authority_key_id(), root.certificate.subject_key_id());
        // 0xfe010203: the first bit is set and the number positive all the same.
        assert_eq!(made.serial().to_string(), "4261478915");
        assert!(text.contains("4261478915"));
    }

    #[tokio::test]
    async fn an_authentication_certificate_is_for_tls_on_both_sides() {
        let (world, root) = world_with_root().await;
        let made = world.issue(&root, Profile::Auth, "CN=ss1.example,O=GOV,C=EE").await.certificate;
        let text = shown(&world, &made);
        assert!(text.contains("Digital Signature, Key Encipherment, Key Agreement"), "{text}");
        assert!(text.contains("TLS Web Client Authentication, TLS Web Server Authentication"));
        assert!(made.allows_eku(&oid::CLIENT_AUTH) && made.allows_eku(&oid::SERVER_AUTH));
        assert!(made.subject_alt_names().is_empty());
    }

    #[tokio::test]
    async fn responders_and_stampers_are_made_as_their_standards_want() {
        let (world, root) = world_with_root().await;
        let ocsp = world.issue(&root, Profile::Ocsp, "CN=OCSP").await.certificate;
        assert!(shown(&world, &ocsp).contains("OCSP Signing") && ocsp.allows_eku(&oid::OCSP_SIGNING));
        assert!(shown(&world, &ocsp).contains("OCSP No Check"));
        let tsa = world.issue(&root, Profile::Tsa, "CN=TSA").await.certificate;
        assert!(shown(&world, &tsa).contains("Extended Key Usage: critical\n                Time Stamping"));
        assert!(tsa.extended_key_usage_critical() && !ocsp.extended_key_usage_critical());
    }

    #[tokio::test]
    async fn a_tls_certificate_carries_the_names_of_its_server() {
        let (world, root) = world_with_root().await;
        let names = [AltName::Dns("gateway.example".into()), AltName::Ip("127.0.0.11".parse().unwrap())];
        let set = |t: &mut cert_authority::x509::issue::Template<'_>| t.alt_names = &[];
        assert!(
            world
                .issue_with(&root, Profile::Tls, "CN=x", KeyType::EcP256, set)
                .await
                .certificate
                .subject_alt_names()
                .is_empty()
        );
        let key = world.key(KeyType::EcP256);
        let (subject, public) = (Name::parse_rfc4514("CN=gateway").unwrap(), world.public(&key));
        let mut template = template(Profile::Tls, &subject, &public);
        template.alt_names = &names;
        let issuer = Issuer { certificate: &root.certificate, key: &root.key, signer: &world.keys };
        let made = issue(&template, &issuer).await.unwrap();
        assert_eq!(made.subject_alt_names(), names);
        assert!(shown(&world, &made).contains("DNS:gateway.example, IP Address:127.0.0.11"));
    }

    /// A signer that answers with another key's signature.
    struct Confused<'a>(&'a SoftwareKeys, KeyId);

    impl Signer for Confused<'_> {
        fn sign<'a>(
            &'a self,
            _: &'a KeyId,
            algorithm: cert_authority::algorithm::SignatureAlgorithm,
            to_be_signed: &'a [u8],
        ) -> SignFuture<'a> {
            self.0.sign(&self.1, algorithm, to_be_signed)
        }

        fn public_key(&self, key: &KeyId) -> Result<cert_authority::crypto::PublicKey, KeyError> {
            self.0.public_key(key)
        }
    }

    #[tokio::test]
    async fn a_certificate_signed_with_the_wrong_key_is_not_handed_out() {
        let (world, root) = world_with_root().await;
        let other = world.key(KeyType::EcP256);
        let (subject, public) = (Name::parse_rfc4514("CN=x").unwrap(), world.public(&other));
        let confused = Confused(&world.keys, other);
        let issuer = Issuer { certificate: &root.certificate, key: &root.key, signer: &confused };
        let made = issue(&template(Profile::Sign, &subject, &public), &issuer).await;
        assert_eq!(made, Err(VerifyError::BadSignature.into()));
        let leaf = world.issue(&root, Profile::Sign, "CN=leaf").await;
        let issuer = Issuer { certificate: &leaf.certificate, key: &leaf.key, signer: &world.keys };
        let made = issue(&template(Profile::Sign, &subject, &public), &issuer).await;
        assert_eq!(made, Err(VerifyError::NotACa.into()));
    }

    #[tokio::test]
    async fn a_request_of_ours_is_verified_by_openssl_and_one_of_openssl_by_us() {
        let world = World::new();
        let subject = Name::parse_rfc4514("CN=ss1,serialNumber=DEMO/ss1/GOV,O=Ministry\\, the,C=FI").unwrap();
        for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
            let key = world.key(key_type);
            let names = [AltName::Dns("ss1.example".into())];
            let made = request::build(&subject, &names, &key, &world.keys).await.unwrap();
            let path = world.file("request.pem", made.to_pem());
            let said = openssl_ok(["req", "-in", text(&path), "-verify", "-noout", "-text"]);
            assert!(said.contains("DNS:ss1.example"), "{said}");
            let read = CertificateRequest::from_pem(&made.to_pem()).unwrap();
            assert_eq!((read.subject(), read.public_key()), (&subject, &world.public(&key)));
        }
        let (key, out) = (world.file("k.pem", ""), world.dir.path().join("r.der"));
        openssl_ok([
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            text(&key),
            "-subj",
            "/C=EE/CN=x",
            "-outform",
            "DER",
            "-out",
            text(&out),
        ]);
        let read = CertificateRequest::from_der(&std::fs::read(out).unwrap()).unwrap();
        assert_eq!(read.subject().rfc2253(), "CN=x,C=EE");
    }

    #[tokio::test]
    async fn a_request_without_a_valid_proof_of_possession_is_refused() {
        let world = World::new();
        let key = world.key(KeyType::EcP256);
        let subject = Name::parse_rfc4514("CN=Mallory").unwrap();
        let good = request::build(&subject, &[], &key, &world.keys).await.unwrap();
        let at = good.der().windows(7).position(|w| w == b"Mallory").unwrap();
        let mut renamed = good.der().to_vec();
        renamed[at..at + 7].copy_from_slice(b"Alicent");
        assert_eq!(CertificateRequest::from_der(&renamed), Err(VerifyError::BadSignature.into()));
        let confused = Confused(&world.keys, world.key(KeyType::EcP256));
        let stolen = request::build(&subject, &[], &key, &confused).await;
        assert_eq!(stolen, Err(VerifyError::BadSignature.into()));
        for cut in [0, 10, good.der().len() - 1] {
            let result = CertificateRequest::from_der(&good.der()[..cut]);
            assert!(matches!(result, Err(PkiError::Decode { .. })), "{cut}");
        }
        let trailing = CertificateRequest::from_der(&[good.der(), b"x"].concat());
        assert!(matches!(trailing, Err(PkiError::Decode { .. })));
        assert!(CertificateRequest::from_pem("-----BEGIN X-----\n-----END X-----\n").is_err());
    }

    #[tokio::test]
    async fn a_request_for_a_short_key_is_refused() {
        let world = World::new();
        let (key, out) = (world.file("k.pem", ""), world.dir.path().join("r.der"));
        openssl_ok([
            "req",
            "-new",
            "-newkey",
            "rsa:1024",
            "-nodes",
            "-keyout",
            text(&key),
            "-subj",
            "/CN=x",
            "-outform",
            "DER",
            "-out",
            text(&out),
        ]);
        let read = CertificateRequest::from_der(&std::fs::read(out).unwrap());
        assert_eq!(read, Err(VerifyError::WeakKey("RSA of 1024 bits".into()).into()));
    }

    #[tokio::test]
    async fn an_authority_issues_revokes_and_remembers() {
        let (world, root) = world_with_root().await;
        let (store, clock) = (Memory::default(), FixedClock::new(now()));
        let ca = authority(&world, &root, &store, &clock, Policy::default());
        let (key, other) = (world.key(KeyType::EcP256), world.key(KeyType::EcP256));
        let subject = Name::parse_rfc4514("CN=member,O=GOV,C=EE").unwrap();
        let request = request::build(&subject, &[], &key, &world.keys).await.unwrap();
        let one = ca.issue(&Application::of_request(Profile::Sign, &request)).await.unwrap();
        let public = world.public(&other);
        let application =
            Application { profile: Profile::Auth, subject: &subject, public_key: &public, alt_names: &[] };
        let two = ca.issue(&application).await.unwrap();
        assert_ne!(one.serial(), two.serial());
        assert_eq!(one.serial().as_bytes().len(), 16);
        assert_eq!(one.not_before(), now() - Duration::from_mins(5));
        // It does not outlive the root, which ends in ten days.
        assert_eq!(one.not_after(), root.certificate.not_after());
        assert!(chain::build(&one, &[], std::slice::from_ref(&root.certificate), now()).is_ok());

        assert_eq!(ca.status(one.serial()), Status::Good);
        clock.advance(DAY);
        ca.revoke(one.serial(), Reason::KeyCompromise).unwrap();
        let again = ca.revoke(one.serial(), Reason::Superseded);
        assert_eq!(again, Err(Refusal::AlreadyRevoked(one.serial().hex()).into()));
        let unknown = Serial::from_bytes(&[7]);
        assert_eq!(ca.revoke(&unknown, Reason::Unspecified), Err(Refusal::UnknownSerial("07".into()).into()));

        let reopened = authority(&world, &root, &store, &clock, Policy::default());
        for ca in [&ca, &reopened] {
            assert!(matches!(
                ca.status(one.serial()),
                Status::Revoked(r) if r.reason == Reason::KeyCompromise && r.at == clock.now()
            ));
            assert_eq!(ca.status(two.serial()), Status::Good);
            assert_eq!(ca.status(&unknown), Status::Unknown);
            assert_eq!(ca.records().len(), 2);
        }
    }

    #[tokio::test]
    async fn a_revocation_list_is_believed_by_openssl_and_names_the_revoked() {
        for key_type in [KeyType::EcP384, KeyType::Rsa2048] {
            let world = World::new();
            let root = world.root(key_type, ROOT, None).await;
            let (store, clock) = (Memory::default(), FixedClock::new(now()));
            let ca = authority(&world, &root, &store, &clock, Policy::default());
            let key = world.key(KeyType::EcP256);
            let (subject, public) = (Name::parse_rfc4514("CN=x").unwrap(), world.public(&key));
            let application = Application {
                profile: Profile::Sign,
                subject: &subject,
                public_key: &public,
                alt_names: &[],
            };
            let (good, bad) = (ca.issue(&application).await.unwrap(), ca.issue(&application).await.unwrap());
            let empty = ca.crl().await.unwrap();
            ca.revoke(bad.serial(), Reason::CessationOfOperation).unwrap();
            let list = ca.crl().await.unwrap();

            let anchor = world.file("ca.pem", root.certificate.to_pem());
            let show = |der: &[u8]| {
                let path = world.file("list.crl", der);
                openssl_ok([
                    "crl",
                    "-inform",
                    "DER",
                    "-in",
                    text(&path),
                    "-CAfile",
                    text(&anchor),
                    "-noout",
                    "-text",
                ])
            };
            let said = show(&empty);
            assert!(said.contains("verify OK") && said.contains("No Revoked Certificates"), "{said}");
            let said = show(&list);
            assert!(
                said.contains("verify OK") && said.contains(&bad.serial().hex().to_uppercase()),
                "{said}"
            );
            assert!(
                said.contains("Cessation Of Operation")
                    && !said.contains(&good.serial().hex().to_uppercase())
            );
            assert!(said.contains("X509v3 CRL Number: \n                2"), "{said}");

            let pem = cert_authority::pem::encode("X509 CRL", &list);
            let crl = world.file("list.pem", pem);
            let at = now().as_secs().to_string();
            let verify = |certificate: &Certificate| {
                let leaf = world.file("leaf.pem", certificate.to_pem());
                openssl([
                    "verify",
                    "-crl_check",
                    "-attime",
                    &at,
                    "-CRLfile",
                    text(&crl),
                    "-CAfile",
                    text(&anchor),
                    text(&leaf),
                ])
                .status
                .success()
            };
            assert!(verify(&good) && !verify(&bad));
        }
    }

    #[tokio::test]
    async fn an_authority_refuses_what_its_policy_and_its_certificate_do_not_allow() {
        let world = World::new();
        let root = world.root(KeyType::EcP256, ROOT, Some(0)).await;
        let (store, clock) = (Memory::default(), FixedClock::new(now()));
        let policy = Policy { key_types: vec![KeyType::EcP256], ..Policy::default() };
        let ca = authority(&world, &root, &store, &clock, policy);
        let (good, rsa) =
            (world.public(&world.key(KeyType::EcP256)), world.public(&world.key(KeyType::Rsa2048)));
        let subject = Name::parse_rfc4514("CN=x").unwrap();
        let itself = Name::parse_rfc4514(&ROOT.to_uppercase()).unwrap();
        for (profile, subject, public_key) in [
            (Profile::Sign, &subject, &rsa),
            (Profile::SubCa { path_len: None }, &subject, &good),
            (Profile::RootCa { path_len: None }, &subject, &good),
            (Profile::Sign, &itself, &good),
        ] {
            let application = Application { profile, subject, public_key, alt_names: &[] };
            let result = ca.issue(&application).await;
            assert!(matches!(result, Err(PkiError::Refused(Refusal::Policy(_)))), "{profile:?} {result:?}");
        }
        clock.advance(20 * DAY);
        let application =
            Application { profile: Profile::Sign, subject: &subject, public_key: &good, alt_names: &[] };
        assert_eq!(ca.issue(&application).await, Err(VerifyError::Expired.into()));
        assert!(store.events.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_authority_is_not_opened_with_a_leaf_or_without_its_key() {
        let (world, root) = world_with_root().await;
        let leaf = world.issue(&root, Profile::Auth, "CN=leaf").await;
        let open = |certificate: &Certificate, keys: SoftwareKeys| {
            let clock = Arc::new(FixedClock::new(now()));
            let store = Box::new(Memory::default());
            Authority::open(certificate.clone(), Arc::new(keys), store, clock, Policy::default()).err()
        };
        let elsewhere = || World::new().keys;
        assert_eq!(open(&leaf.certificate, elsewhere()), Some(VerifyError::NotACa.into()));
        let missing = KeyError::NotFound(root.key.clone());
        assert_eq!(open(&root.certificate, elsewhere()), Some(missing.into()));
    }

    #[tokio::test]
    async fn two_processes_with_one_store_see_what_the_other_did() {
        let (world, root) = world_with_root().await;
        let (store, clock) = (Memory::default(), FixedClock::new(now()));
        let serving = authority(&world, &root, &store, &clock, Policy::default());
        let by_hand = authority(&world, &root, &store, &clock, Policy::default());
        let (subject, public) =
            (Name::parse_rfc4514("CN=x").unwrap(), world.public(&world.key(KeyType::EcP256)));
        let application =
            Application { profile: Profile::Sign, subject: &subject, public_key: &public, alt_names: &[] };
        let made = by_hand.issue(&application).await.unwrap();
        assert_eq!(serving.status(made.serial()), Status::Unknown);
        let revision = serving.refresh().unwrap();
        assert_eq!(serving.status(made.serial()), Status::Good);
        serving.crl().await.unwrap();
        by_hand.revoke(made.serial(), Reason::Superseded).unwrap();
        by_hand.crl().await.unwrap();
        // The other's revocation and its list's number are taken in before the next list is made.
        serving.crl().await.unwrap();
        assert!(matches!(serving.status(made.serial()), Status::Revoked(_)));
        assert_eq!(serving.refresh().unwrap(), revision + 1);
        let again = serving.revoke(made.serial(), Reason::Superseded);
        assert_eq!(again, Err(Refusal::AlreadyRevoked(made.serial().hex()).into()));
    }

    #[tokio::test]
    async fn an_authority_serves_several_tasks() {
        let (world, root) = world_with_root().await;
        let clock = FixedClock::new(now());
        let ca = Arc::new(authority(&world, &root, &Memory::default(), &clock, Policy::default()));
        let public = world.public(&world.key(KeyType::EcP256));
        let tasks = (0..8).map(|i| {
            let (ca, public) = (Arc::clone(&ca), public.clone());
            tokio::spawn(async move {
                let subject = Name::parse_rfc4514(&format!("CN=task {i}")).unwrap();
                let application = Application {
                    profile: Profile::Sign,
                    subject: &subject,
                    public_key: &public,
                    alt_names: &[],
                };
                ca.issue(&application).await.unwrap()
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(ca.status(task.await.unwrap().serial()), Status::Good);
        }
    }
}
