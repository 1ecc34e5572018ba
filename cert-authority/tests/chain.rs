//! Paths from a certificate to a trusted one, with openssl as the second judge; and every way to fail.
//!
//! ```text
//! root ── sub ── leaf        other root (same key kind, other key)
//!   └──── direct leaf
//! ```

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use cert_authority::{
        clock::UnixTime,
        error::{PkiError, VerifyError},
        keys::KeyType,
        x509::{
            Certificate, Name,
            chain::{self, ValidChain},
            issue::Profile,
            oid,
        },
    };

    use crate::support::{DAY, Holder, World, now, openssl, text};

    const ROOT: &str = "CN=Root CA,O=Test,C=EE";

    async fn root_and_sub(world: &World) -> (Holder, Holder) {
        let root = world.root(KeyType::EcP256, ROOT, None).await;
        let sub = world.issue(&root, Profile::SubCa { path_len: None }, "CN=Sub CA,O=Test,C=EE").await;
        (root, sub)
    }

    fn build(leaf: &Holder, between: &[&Holder], anchors: &[&Holder]) -> Result<ValidChain, VerifyError> {
        let take = |holders: &[&Holder]| holders.iter().map(|h| h.certificate.clone()).collect::<Vec<_>>();
        chain::build(&leaf.certificate, &take(between), &take(anchors), now())
    }

    /// Whether `openssl verify` accepts the path at [`now`].
    fn openssl_accepts(world: &World, leaf: &Holder, between: &[&Holder], anchor: &Holder) -> bool {
        let untrusted: String = between.iter().map(|h| h.certificate.to_pem()).collect();
        let (leaf, anchor) = (leaf.certificate.to_pem(), anchor.certificate.to_pem());
        let (leaf, anchor) = (world.file("leaf.pem", leaf), world.file("anchor.pem", anchor));
        let at = now().as_secs().to_string();
        let mut arguments = vec!["verify", "-x509_strict", "-attime", &at, "-CAfile", text(&anchor)];
        let untrusted = world.file("untrusted.pem", untrusted);
        if !between.is_empty() {
            arguments.extend(["-untrusted", text(&untrusted)]);
        }
        arguments.push(text(&leaf));
        let output = openssl(arguments);
        // Shown where a test fails.
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }

    #[tokio::test]
    async fn a_leaf_is_led_through_its_intermediate_to_the_root() {
        let world = World::new();
        let (root, sub) = root_and_sub(&world).await;
        let leaf = world.issue(&sub, Profile::Sign, "CN=member,C=EE").await;
        let direct = world.issue(&root, Profile::Sign, "CN=direct,C=EE").await;
        // Others lie about that have nothing to do with it.
        let found = build(&leaf, &[&direct, &leaf, &sub, &root], &[&direct, &root]).unwrap();
        assert_eq!(found.leaf(), &leaf.certificate);
        assert_eq!(found.intermediates(), std::slice::from_ref(&sub.certificate));
        assert_eq!(found.anchor(), &root.certificate);
        let pairs: Vec<_> = found.pairs().collect();
        assert_eq!(pairs, [(&leaf.certificate, &sub.certificate), (&sub.certificate, &root.certificate)]);
        assert!(openssl_accepts(&world, &leaf, &[&sub], &root));
        let found = build(&direct, &[], &[&root]).unwrap();
        assert!(found.intermediates().is_empty() && found.issuer() == &root.certificate);
        assert!(openssl_accepts(&world, &direct, &[], &root));
    }

    #[tokio::test]
    async fn every_kind_of_key_issues_every_other() {
        let world = World::new();
        for root_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
            let root = world.root(root_type, ROOT, None).await;
            for leaf_type in [KeyType::EcP384, KeyType::Rsa2048] {
                let leaf = world.issue_with(&root, Profile::Auth, "CN=x", leaf_type, |_| ()).await;
                assert!(build(&leaf, &[], &[&root]).is_ok());
                assert!(openssl_accepts(&world, &leaf, &[], &root), "{root_type} {leaf_type}");
            }
        }
    }

    #[tokio::test]
    async fn a_missing_intermediate_and_an_unknown_root_leave_the_issuer_unknown() {
        let world = World::new();
        let (root, sub) = root_and_sub(&world).await;
        let leaf = world.issue(&sub, Profile::Sign, "CN=member,C=EE").await;
        let stranger = world.root(KeyType::EcP256, "CN=Other CA,C=EE", None).await;
        assert_eq!(build(&leaf, &[], &[&root]), Err(VerifyError::UnknownIssuer));
        assert_eq!(build(&leaf, &[&sub], &[&stranger]), Err(VerifyError::UnknownIssuer));
        assert_eq!(build(&leaf, &[&sub], &[]), Err(VerifyError::UnknownIssuer));
        assert!(!openssl_accepts(&world, &leaf, &[], &root));
    }

    #[tokio::test]
    async fn a_root_of_the_same_name_with_another_key_has_not_issued_it() {
        let world = World::new();
        let (root, namesake) =
            (world.root(KeyType::EcP256, ROOT, None).await, world.root(KeyType::EcP256, ROOT, None).await);
        let leaf = world.issue(&root, Profile::Sign, "CN=member,C=EE").await;
        assert_eq!(build(&leaf, &[], &[&namesake]), Err(VerifyError::BadSignature));
        assert!(build(&leaf, &[], &[&namesake, &root]).is_ok());
        assert!(!openssl_accepts(&world, &leaf, &[], &namesake));
    }

    #[tokio::test]
    async fn expired_and_not_yet_valid_certificates_are_refused() {
        let world = World::new();
        let (root, sub) = root_and_sub(&world).await;
        let make = async |by: &Holder, from: UnixTime, to: UnixTime, profile| {
            let set = |t: &mut cert_authority::x509::issue::Template<'_>| {
                (t.not_before, t.not_after) = (from, to);
            };
            world.issue_with(by, profile, "CN=timed,C=EE", KeyType::EcP256, set).await
        };
        let second = Duration::from_secs(1);
        for (from, to, expected) in [
            (now() - 2 * DAY, now() - second, Err(VerifyError::Expired)),
            (now() + second, now() + DAY, Err(VerifyError::NotYetValid)),
            (now(), now() + second, Ok(())),
            (now() - second, now(), Ok(())),
        ] {
            let leaf = make(&sub, from, to, Profile::Sign).await;
            assert_eq!(build(&leaf, &[&sub], &[&root]).map(|_| ()), expected);
            // openssl counts the last second of a validity as after it; RFC 5280 §4.1.2.5 as within.
            if to != now() {
                assert_eq!(openssl_accepts(&world, &leaf, &[&sub], &root), expected.is_ok());
            }
        }
        let old = make(&root, now() - 2 * DAY, now() - DAY, Profile::SubCa { path_len: None }).await;
        let leaf = world.issue(&old, Profile::Sign, "CN=member,C=EE").await;
        assert_eq!(build(&leaf, &[&old], &[&root]), Err(VerifyError::Expired));
    }

    #[tokio::test]
    async fn a_leaf_cannot_issue() {
        let world = World::new();
        let root = world.root(KeyType::EcP256, ROOT, None).await;
        let leaf = world.issue(&root, Profile::Auth, "CN=ss1,C=EE").await;
        // The leaf's key signs a certificate that names it as the issuer: made under a CA certificate of
        // the same name and key, which is then left out.
        let template_name = Name::parse_rfc4514("CN=ss1,C=EE").unwrap();
        let public = world.public(&leaf.key);
        let template = crate::support::template(Profile::RootCa { path_len: None }, &template_name, &public);
        let pretender =
            cert_authority::x509::issue::self_signed(&template, &leaf.key, &world.keys).await.unwrap();
        let pretender = Holder { certificate: pretender, key: leaf.key.clone() };
        let victim = world.issue(&pretender, Profile::Sign, "CN=victim,C=EE").await;
        assert_eq!(build(&victim, &[&leaf], &[&root]), Err(VerifyError::NotACa));
        assert_eq!(build(&victim, &[], &[&leaf]), Err(VerifyError::NotACa));
        assert!(!openssl_accepts(&world, &victim, &[&leaf], &root));
    }

    #[tokio::test]
    async fn a_path_longer_than_a_ca_allows_is_refused() {
        let world = World::new();
        let root = world.root(KeyType::EcP256, ROOT, Some(1)).await;
        let ca = Profile::SubCa { path_len: None };
        let one = world.issue(&root, ca, "CN=One").await;
        let two = world.issue(&one, ca, "CN=Two").await;
        let near = world.issue(&one, Profile::Sign, "CN=near").await;
        let far = world.issue(&two, Profile::Sign, "CN=far").await;
        assert!(build(&near, &[&one], &[&root]).is_ok());
        assert_eq!(build(&far, &[&one, &two], &[&root]), Err(VerifyError::PathTooLong));
        assert!(!openssl_accepts(&world, &far, &[&one, &two], &root));

        let zero = world.issue(&root, Profile::SubCa { path_len: Some(0) }, "CN=Zero").await;
        let below = world.issue(&zero, ca, "CN=Below").await;
        let leaf = world.issue(&below, Profile::Sign, "CN=leaf").await;
        assert_eq!(build(&leaf, &[&zero, &below], &[&root]), Err(VerifyError::PathTooLong));
    }

    #[tokio::test]
    async fn a_heap_of_certificates_of_one_name_does_not_keep_us_busy() {
        let world = World::new();
        let mut top = world.root(KeyType::EcP256, "CN=Loop", None).await;
        let leaf = world.issue(&top, Profile::Sign, "CN=leaf").await;
        let mut heap = vec![top.certificate.clone()];
        for _ in 0..12 {
            top = world.issue(&top, Profile::SubCa { path_len: None }, "CN=Loop").await;
            heap.push(top.certificate.clone());
        }
        let anchor = world.root(KeyType::EcP256, "CN=Anchor", None).await;
        assert!(chain::build(&leaf.certificate, &heap, &[anchor.certificate], now()).is_err());
    }

    #[tokio::test]
    async fn a_weak_or_odd_key_and_an_unknown_critical_extension_are_refused() {
        let world = World::new();
        for (name, options, expected) in [
            ("weak", &["-newkey", "rsa:1024"][..], VerifyError::WeakKey("RSA of 1024 bits".into())),
            (
                "odd",
                &["-newkey", "ed25519"],
                VerifyError::UnsupportedAlgorithm("Ed25519 but for signed notes".into()),
            ),
            (
                "critical",
                &["-newkey", "rsa:2048", "-addext", "1.2.3.4=critical,DER:0500"],
                VerifyError::UnknownCriticalExtension("1.2.3.4".into()),
            ),
            (
                "constrained",
                &["-newkey", "rsa:2048", "-addext", "nameConstraints=critical,permitted;DNS:example"],
                VerifyError::UnknownCriticalExtension("2.5.29.30".into()),
            ),
        ] {
            let certificate = by_openssl(&world, name, options);
            let at = certificate.not_before();
            let anchors = [certificate.clone()];
            assert_eq!(chain::build(&certificate, &[], &anchors, at), Err(expected), "{name}");
        }
    }

    #[test]
    fn a_sha1_signature_is_refused() {
        let world = World::new();
        let certificate = by_openssl(&world, "sha1", &["-newkey", "rsa:2048", "-sha1"]);
        let result =
            chain::build(&certificate, &[], std::slice::from_ref(&certificate), certificate.not_before());
        assert!(matches!(result, Err(VerifyError::UnsupportedAlgorithm(_))), "{result:?}");
    }

    #[tokio::test]
    async fn bytes_that_are_no_certificate_are_refused() {
        let world = World::new();
        let root = world.root(KeyType::EcP256, ROOT, None).await;
        let der = root.certificate.der();
        for cut in [0, 1, 4, 50, der.len() - 1] {
            assert!(Certificate::from_der(&der[..cut]).is_err(), "{cut}");
        }
        assert!(Certificate::from_der(&[der, &[0]].concat()).is_err());
        assert!(Certificate::from_pem("no pem").is_err());
        let two = format!("{0}{0}", root.certificate.to_pem());
        assert!(matches!(Certificate::from_pem(&two), Err(PkiError::Decode { .. })));
        assert_eq!(Certificate::pems(&two).unwrap().len(), 2);
        // Whatever single byte is turned over, nobody panics, and nothing false is believed.
        let anchors = std::slice::from_ref(&root.certificate);
        for i in 0..der.len() {
            let mut changed = der.to_vec();
            changed[i] ^= 0x41;
            if let Ok(certificate) = Certificate::from_der(&changed) {
                assert!(chain::build(&certificate, &[], anchors, now()).is_err(), "byte {i}");
            }
        }
    }

    /// A self-signed certificate with something about it that we do not make.
    fn by_openssl(world: &World, name: &str, options: &[&str]) -> Certificate {
        let (key, out) = (world.file("key.pem", ""), world.dir.path().join(format!("{name}.pem")));
        let subject = format!("/CN={name}");
        let fixed = ["req", "-x509", "-nodes", "-keyout", text(&key), "-subj", &subject, "-out", text(&out)];
        crate::support::openssl_ok(fixed.into_iter().chain(options.iter().copied()));
        Certificate::from_pem(&std::fs::read_to_string(out).unwrap()).unwrap()
    }

    // ------------------------------------------------------------------ certificates of the original

    #[expect(clippy::disallowed_methods, reason = "the one setting that tests read from the environment")]
    fn recorded(name: &str) -> Option<Certificate> {
        let Ok(root) = std::env::var("CONFORMANCE_DIR") else {
            eprintln!("not run: CONFORMANCE_DIR is not set");
            return None;
        };
        let path = PathBuf::from(root).join("xroad-7.3.2-recorded/certs").join(format!("{name}.pem"));
        Some(Certificate::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    #[test]
    fn recorded_certificates_are_read_and_lead_to_their_root() {
        let (Some(root), Some(sub)) = (recorded("root-ca"), recorded("sub-ca")) else { return };
        let at = root.not_before() + DAY;
        let anchors = [root.clone()];
        for (name, through_sub) in [
            ("consumer-sign", false),
            ("producer-sign", false),
            ("consumer-auth", false),
            ("producer-auth", false),
            ("consumer2-sign", true),
            ("producer2-sign", true),
            ("ocsp-responder", false),
        ] {
            let leaf = recorded(name).unwrap();
            let found = chain::build(&leaf, std::slice::from_ref(&sub), &anchors, at).unwrap();
            assert_eq!(found.intermediates().len(), usize::from(through_sub), "{name}");
            let usage = leaf.key_usage().unwrap();
            assert_eq!(usage.non_repudiation(), name.ends_with("sign"));
            assert_eq!(leaf.allows_eku(&oid::CLIENT_AUTH), name.ends_with("auth"));
            assert_eq!(leaf.allows_eku(&oid::OCSP_SIGNING), name == "ocsp-responder");
            assert!(!leaf.is_ca());
        }
        assert_eq!(root.subject().rfc2253(), "CN=Recording Root CA,O=Recording PKI,C=EE");
        assert!(root.is_self_signed() && root.is_ca() && !sub.is_self_signed());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the one setting that tests read from the environment")]
    fn certificates_of_recorded_configurations_are_read_and_kept_byte_for_byte() {
        let Ok(root) = std::env::var("CONFORMANCE_DIR") else {
            eprintln!("not run: CONFORMANCE_DIR is not set");
            return;
        };
        let mut folders = vec![PathBuf::from(root).join("xroad-7.8.0/global-configuration")];
        let mut read = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "xml") {
                    let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                    for base64 in text.split("cert>").filter(|t| t.trim_start().starts_with("MII")) {
                        let base64 = base64.split('<').next().unwrap();
                        let pem =
                            format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
                        let certificate = Certificate::from_pem(&pem).unwrap();
                        let again = Certificate::from_pem(&certificate.to_pem()).unwrap();
                        assert_eq!(again, certificate);
                        assert!(!certificate.subject().rfc2253().is_empty());
                        read += 1;
                    }
                }
            }
        }
        assert!(read >= 10, "{read}");
    }
}
