//! Signatures that we make: verified by us, judged by xmlsec1 and by the XML Schemas, and attacked.

#[cfg(test)]
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, path::Path, process::Command, time::Duration};

    use bytes::Bytes;
    use cert_authority::{
        algorithm::DigestAlgorithm::Sha512, crypto::digest, error::VerifyError, keys::KeyType,
        ocsp::CertStatus, x509::issue::Profile,
    };
    use conf::snapshot::GlobalConf;
    use gateway::{
        evidence::{
            asic::{Container, TimeStamp, signature_of, stream, verify_container, write},
            signature::{SignatureBundle, SignatureError, TrustCache, sign, sign_batch, verify},
            timestamp,
        },
        message::digests::PartDigests,
    };

    use proptest::prelude::*;

    use crate::evidence_support::{World, block_on, configuration, conformance, now};

    const MESSAGE: &[u8] =
        b"POST\r\n/r1/EE/GOV/2002/registry/records\r\nX-Road-Client:EE/GOV/1001/portal\r\nx-road-id:1\r\n";
    const BODY: &[u8] = b"{\"a\": 1}";

    fn digests(parts: &[&[u8]]) -> PartDigests {
        let (message, attachments) = parts.split_first().unwrap();
        PartDigests {
            algorithm: Sha512,
            message: digest(Sha512, message),
            attachments: attachments.iter().map(|part| digest(Sha512, part)).collect(),
        }
    }

    fn signed(world: &World, parts: &[&[u8]]) -> SignatureBundle {
        block_on(sign(&digests(parts), &world.signing_key(), &world.keys, now())).unwrap()
    }

    fn judge(world: &World, parts: &[&[u8]], bundle: &SignatureBundle) -> Result<(), SignatureError> {
        let trust = TrustCache::default();
        verify((), &digests(parts), bundle, &world.conf, &trust, &world.member, now()).map(drop)
    }

    const KEYS: [KeyType; 3] = [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048];

    #[test]
    fn what_we_sign_verifies_with_every_kind_of_key() {
        for key_type in KEYS {
            for world in [World::new(key_type), World::with_intermediate(key_type)] {
                for parts in [&[MESSAGE][..], &[MESSAGE, BODY], &[MESSAGE, b"", b"3", b"4"]] {
                    let bundle = signed(&world, parts);
                    assert_eq!(bundle.hash_chain.is_some(), parts.len() > 1);
                    assert_eq!(judge(&world, parts, &bundle), Ok(()));
                }
            }
        }
    }

    #[test]
    fn a_batch_is_signed_once_and_each_message_verifies_by_itself() {
        let world = World::new(KeyType::EcP256);
        let messages: [&[&[u8]]; 5] = [&[b"a"], &[b"b", b"1"], &[b"c"], &[b"d", b"1", b"2"], &[b"e"]];
        let parts = messages.map(digests);
        let batch =
            block_on(sign_batch(&parts.each_ref(), &world.signing_key(), &world.keys, now())).unwrap();
        for (number, message) in messages.iter().enumerate() {
            for (other, bundle) in batch.iter().enumerate() {
                assert_eq!(bundle.signature_xml, batch[0].signature_xml);
                assert_eq!(judge(&world, message, bundle).is_ok(), number == other);
            }
        }
    }

    // -- judges ------------------------------------------------------------------------------------

    fn run(command: &mut Command) -> Result<(), String> {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn put(path: &Path, bytes: &[u8]) {
        #[expect(clippy::disallowed_methods, reason = "a directory of this test")]
        fs::write(path, bytes).unwrap();
    }

    /// xmlsec1's verdict; it believes the key in the signature, that is not what it is asked.
    fn xmlsec1(bundle: &SignatureBundle, message: &[u8]) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        put(&path("signatures.xml"), &bundle.signature_xml);
        put(&path("message"), message);
        put(&path("result"), bundle.hash_chain_result.as_deref().unwrap_or_default());
        run(Command::new("xmlsec1")
            .args(["--verify", "--insecure", "--enabled-key-data", "x509"])
            .args(["--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties"])
            .arg("--url-map:/message.xml")
            .arg(path("message"))
            .arg("--url-map:/sig-hashchainresult.xml")
            .arg(path("result"))
            .arg(path("signatures.xml")))
    }

    #[test]
    fn xmlsec1_verifies_our_signatures_and_notices_a_change() {
        for key_type in KEYS {
            let world = World::with_intermediate(key_type);
            for parts in [&[MESSAGE][..], &[MESSAGE, BODY]] {
                let mut bundle = signed(&world, parts);
                xmlsec1(&bundle, MESSAGE).unwrap();
                if parts.len() == 1 {
                    xmlsec1(&bundle, b"another").unwrap_err();
                }
                let text = String::from_utf8(bundle.signature_xml.to_vec()).unwrap();
                bundle.signature_xml = Bytes::from(text.replace("2026-02-03T", "2026-02-04T"));
                xmlsec1(&bundle, MESSAGE).unwrap_err();
            }
        }
    }

    #[test]
    fn our_documents_are_valid_under_the_xml_schemas() {
        let Some(schemas) = conformance("xroad-7.8.0/schemas") else {
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("document.xml");
        let validate = |schema: &str, document: &[u8]| {
            put(&file, document);
            run(Command::new("xmllint")
                .args(["--noout", "--nonet", "--schema"])
                .arg(schemas.join(schema))
                .arg(&file))
        };
        for world in [World::new(KeyType::EcP256), World::with_intermediate(KeyType::Rsa2048)] {
            let bundle = signed(&world, &[MESSAGE, BODY]);
            let stamped = timestamp::insert(&bundle.signature_xml, b"token").unwrap();
            for signature in [&bundle.signature_xml, &stamped] {
                validate("xades-schema.xsd", &unwrapped(signature)).unwrap();
            }
            validate("hashchain.xsd", &bundle.hash_chain.unwrap()).unwrap();
            validate("hashchain.xsd", &bundle.hash_chain_result.unwrap()).unwrap();
            validate("xades-schema.xsd", &bundle.signature_xml).unwrap_err();
        }
    }

    /// `ds:Signature` cut out of its wrapper, with the namespaces of the wrapper.
    fn unwrapped(signature: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(signature.to_vec()).unwrap();
        let (_, rest) = text.split_once("<asic:XAdESSignatures").unwrap();
        let (namespaces, rest) = rest.split_once('>').unwrap();
        let signature = rest.strip_suffix("</asic:XAdESSignatures>").unwrap();
        signature.replacen("<ds:Signature ", &format!("<ds:Signature{namespaces} "), 1).into_bytes()
    }

    // -- attacks -----------------------------------------------------------------------------------

    /// Our signature over message and body, its text changed.
    fn altered(world: &World, parts: &[&[u8]], change: impl Fn(&str) -> String) -> &'static str {
        let mut bundle = signed(world, parts);
        let text = String::from_utf8(bundle.signature_xml.to_vec()).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed, "nothing was changed");
        bundle.signature_xml = Bytes::from(changed);
        judge(world, parts, &bundle).map_err(|error| error.code()).expect_err("accepted")
    }

    /// The element with this start, whole.
    fn element<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        let from = text.find(start).unwrap();
        let to = text[from..].find(end).unwrap() + end.len();
        &text[from..from + to]
    }

    #[test]
    fn signature_wrapping_is_refused() {
        let world = World::with_intermediate(KeyType::EcP256);
        let attack = |change: &dyn Fn(&str) -> String| altered(&world, &[MESSAGE], change);
        let properties =
            |text: &str| element(text, "<xades:SignedProperties", "</xades:SignedProperties>").to_owned();

        // The signed properties moved aside, false ones in their place.
        let moved = |text: &str| {
            let original = properties(text);
            let forged =
                original.replace("2026-02-03T", "2020-02-03T").replace("\"signed-properties\"", "\"x\"");
            text.replace(&original, &forged)
                .replace("</ds:Object>", &format!("</ds:Object><ds:Object>{original}</ds:Object>"))
        };
        assert_eq!(attack(&moved), "malformed_signature");
        // The same identifier twice.
        let doubled = |text: &str| text.replace("Id=\"ocsp-response-1\"", "Id=\"signed-properties\"");
        assert_eq!(attack(&doubled), "malformed_signature");
        let by_other_name = |text: &str| text.replace("Id=\"ocsp-response-1\"", "ID=\"signed-properties\"");
        assert_eq!(attack(&by_other_name), "malformed_signature");
        let xml_id = |text: &str| text.replace("Id=\"ocsp-response-1\"", "xml:id=\"other\"");
        assert_eq!(attack(&xml_id), "malformed_signature");
        // Two signatures.
        let two = |text: &str| {
            let signature = element(text, "<ds:Signature Id", "</ds:Signature>").replace("Id=\"", "Id=\"x");
            text.replace("</asic:XAdES", &format!("{signature}</asic:XAdES"))
        };
        assert_eq!(attack(&two), "malformed_signature");
        // References to elsewhere, or to the whole document, or too many.
        for uri in ["file:///etc/passwd", "http://evil.test/", "", "#signature", "message.xml"] {
            let elsewhere = |text: &str| text.replace("URI=\"/message.xml\"", &format!("URI=\"{uri}\""));
            assert_eq!(attack(&elsewhere), "malformed_signature.invalid_reference", "{uri}");
        }
        let more = |text: &str| {
            let reference = element(text, "<ds:Reference Id=\"signature-reference-0\"", "</ds:Reference>");
            text.replace(reference, &(reference.to_owned() + &reference.replace("-0\"", "-2\"")))
        };
        assert_eq!(attack(&more), "malformed_signature");
        let none = |text: &str| {
            let reference = element(text, "<ds:Reference Id=\"signature-reference-0\"", "</ds:Reference>");
            text.replace(reference, "")
        };
        assert_eq!(attack(&none), "malformed_signature");
        let unsigned_properties = |text: &str| {
            let reference = element(text, "<ds:Reference Id=\"signature-reference-1\"", "</ds:Reference>");
            text.replace(reference, "")
        };
        assert_eq!(attack(&unsigned_properties), "malformed_signature");
    }

    #[test]
    fn transforms_algorithms_and_text_that_do_not_belong_there_are_refused() {
        let world = World::new(KeyType::EcP256);
        let attack = |from: &str, to: &str| altered(&world, &[MESSAGE], |text| text.replacen(from, to, 1));
        let transform = |uri: &str| {
            format!("URI=\"/message.xml\"><ds:Transforms><ds:Transform Algorithm=\"{uri}\"/></ds:Transforms>")
        };
        for uri in [
            "http://www.w3.org/TR/1999/REC-xpath-19991116",
            "http://www.w3.org/TR/1999/REC-xslt-19991116",
            "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
            "http://www.w3.org/2001/10/xml-exc-c14n#",
        ] {
            assert_eq!(attack("URI=\"/message.xml\">", &transform(uri)), "malformed_signature", "{uri}");
        }
        let method = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";
        for weak in [
            "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
            "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
            "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1",
            "none",
        ] {
            assert_eq!(attack(method, weak), "malformed_signature", "{weak}");
        }
        assert_eq!(
            attack(method, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"),
            "invalid_signature_value"
        );
        let sha1 = "http://www.w3.org/2000/09/xmldsig#sha1";
        assert_eq!(attack("http://www.w3.org/2001/04/xmlenc#sha512", sha1), "malformed_signature");
        let comments = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments";
        assert_eq!(
            attack("http://www.w3.org/TR/2001/REC-xml-c14n-20010315", comments),
            "malformed_signature"
        );
        assert_eq!(attack("<ds:Object>", "<!-- x --><ds:Object>"), "malformed_signature");
        assert_eq!(attack("2026-02-03T", "2026<!-- x -->-02-03T"), "malformed_signature");
        assert_eq!(attack("<ds:Object>", "<?x y?><ds:Object>"), "malformed_signature");
        assert_eq!(attack("<ds:Object>", "text<ds:Object>"), "malformed_signature");
        assert_eq!(attack("<ds:Object>", "<ds:Object><ds:Manifest/>"), "malformed_signature");
        assert_eq!(
            attack("http://uri.etsi.org/01903/v1.3.2#", "http://uri.etsi.org/01903/v1.1.1#"),
            "malformed_signature"
        );
        assert_eq!(attack("<asic:XAdES", "<!DOCTYPE x><asic:XAdES"), "invalid_xml");
        assert_eq!(attack("encoding=\"UTF-8\"", "encoding=\"UTF-7\""), "invalid_xml");
        assert_eq!(attack("<asic:XAdES", "&x;<asic:XAdES"), "invalid_xml");
        assert_eq!(attack("2026-02-03T", "&#50;026-02-04T"), "invalid_signature_value");
    }

    #[test]
    fn no_byte_of_what_is_signed_can_be_changed() {
        let world = World::new(KeyType::EcP256);
        let mut bundle = signed(&world, &[MESSAGE]);
        let original = bundle.signature_xml.to_vec();
        let text = String::from_utf8(original.clone()).unwrap();
        for (start, end) in [
            ("<ds:SignedInfo", "</ds:SignedInfo>"),
            ("<ds:X509Certificate", "</ds:X509Certificate>"),
            ("<xades:SignedProperties", "</xades:SignedProperties>"),
        ] {
            let from = text.find(start).unwrap();
            let length = element(&text, start, end).len();
            for at in (from..from + length).step_by(3) {
                // White space around base64 is no part of the certificate.
                if !original[at].is_ascii_whitespace() || start != "<ds:X509Certificate" {
                    let mut changed = original.clone();
                    changed[at] ^= 1;
                    bundle.signature_xml = Bytes::from(changed);
                    let verdict = judge(&world, &[MESSAGE], &bundle);
                    assert!(verdict.is_err(), "byte {at} of {:?}", &text[at..]);
                }
            }
        }
    }

    #[test]
    fn a_signature_without_its_parts_is_refused() {
        let world = World::with_intermediate(KeyType::EcP256);
        let cut = |start: &'static str, end: &'static str| {
            altered(&world, &[MESSAGE], move |text| text.replacen(element(text, start, end), "", 1))
        };
        for (start, end) in [
            ("<ds:SignedInfo", "</ds:SignedInfo>"),
            ("<ds:SignatureValue", "</ds:SignatureValue>"),
            ("<ds:KeyInfo", "</ds:KeyInfo>"),
            ("<ds:Object", "</ds:Object>"),
            ("<xades:SigningCertificate", "</xades:SigningCertificate>"),
            ("<xades:OCSPValues", "</xades:OCSPValues>"),
            ("<xades:RevocationValues", "</xades:RevocationValues>"),
            // The references to the intermediate certificate stay.
            ("<xades:CertificateValues", "</xades:CertificateValues>"),
            ("<xades:EncapsulatedX509Certificate", "</xades:EncapsulatedX509Certificate>"),
        ] {
            assert_eq!(cut(start, end), "malformed_signature", "{start}");
        }
        let attack = |from: &str, to: &str| altered(&world, &[MESSAGE], |text| text.replacen(from, to, 1));
        assert_eq!(attack("Id=\"encapsulated-cert-1\"", ""), "malformed_signature");
        let digest = |text: &str| {
            let reference =
                element(text, "<xades:CompleteCertificateRefs", "</xades:CompleteCertificateRefs>");
            let value = element(reference, "<ds:DigestValue>", "</ds:DigestValue>");
            text.replace(value, "<ds:DigestValue>AAAA</ds:DigestValue>")
        };
        assert_eq!(altered(&world, &[MESSAGE], digest), "malformed_signature");
    }

    #[test]
    fn every_part_must_be_the_one_that_was_signed() {
        let world = World::new(KeyType::EcP256);
        let with_body = signed(&world, &[MESSAGE, BODY]);
        let without = signed(&world, &[MESSAGE]);
        let code = |parts: &[&[u8]], bundle: &SignatureBundle| {
            judge(&world, parts, bundle).map_err(|error| error.code()).unwrap_err()
        };
        assert_eq!(code(&[MESSAGE, b"x"], &with_body), "malformed_signature.invalid_hash_chain");
        assert_eq!(code(&[BODY, MESSAGE], &with_body), "malformed_signature.invalid_hash_chain");
        assert_eq!(code(&[MESSAGE], &with_body), "malformed_signature.invalid_reference");
        assert_eq!(code(&[MESSAGE, BODY, b"x"], &with_body), "malformed_signature.hashchain_unused_inputs");
        assert_eq!(code(&[MESSAGE, BODY], &without), "malformed_signature");
        assert_eq!(code(&[b"x"], &without), "invalid_signature_value");
        let no_result = SignatureBundle { hash_chain_result: None, ..with_body.clone() };
        assert_eq!(code(&[MESSAGE, BODY], &no_result), "internal_error");
        let no_chain = SignatureBundle { hash_chain: None, ..with_body.clone() };
        assert_eq!(code(&[MESSAGE, BODY], &no_chain), "malformed_signature.invalid_reference");
        // The hash chain of another message of ours: it leads to its own result, which is not signed here.
        let other = signed(&world, &[MESSAGE, b"other"]);
        let mixed = SignatureBundle { signature_xml: with_body.signature_xml.clone(), ..other };
        assert_eq!(code(&[MESSAGE, b"other"], &mixed), "invalid_signature_value");
        let cut = SignatureBundle {
            signature_xml: with_body.signature_xml.slice(..with_body.signature_xml.len() - 10),
            ..with_body
        };
        assert_eq!(code(&[MESSAGE, BODY], &cut), "invalid_xml");
    }

    #[test]
    fn the_signer_must_be_the_sender_with_a_certificate_for_signing() {
        let world = World::new(KeyType::EcP256);
        let bundle = signed(&world, &[MESSAGE]);
        let trust = TrustCache::default();
        let other = "EE/GOV/1002".parse().unwrap();
        let judged = |conf, trust, member, at| {
            verify((), &digests(&[MESSAGE]), &bundle, conf, trust, member, at)
                .map(drop)
                .map_err(|error| error.code())
        };
        assert_eq!(judged(&world.conf, &trust, &world.member, now()), Ok(()));
        // What is remembered of the signer does not make it another's.
        assert_eq!(judged(&world.conf, &trust, &other, now()), Err("incorrect_certificate"));
        // Nor is it used with another configuration, or when the OCSP response has become too old.
        let stranger = World::new(KeyType::EcP256);
        assert_eq!(judged(&stranger.conf, &trust, &world.member, now()), Err("incorrect_certificate"));
        let fresh = Duration::from_secs(3600);
        assert_eq!(
            judged(&world.conf, &trust, &world.member, now() + fresh - Duration::from_secs(1)),
            Ok(())
        );
        assert_eq!(
            judged(&world.conf, &trust, &world.member, now() + fresh + Duration::from_secs(1)),
            Err("invalid_cert_path.incorrect_validation_info")
        );
        assert_eq!(
            judged(&world.conf, &trust, &world.member, now() - Duration::from_secs(100)),
            Err("invalid_cert_path.incorrect_validation_info")
        );

        let auth = World::build(KeyType::EcP256, false, Profile::Auth);
        let bundle = signed(&auth, &[MESSAGE]);
        assert_eq!(judge(&auth, &[MESSAGE], &bundle).unwrap_err().code(), "malformed_signature");
    }

    #[test]
    fn a_signature_with_another_certificate_of_the_same_key_is_refused() {
        // Both worlds certify a member of the same name; the certificate is put into the other's signature.
        let (world, other) = (World::new(KeyType::EcP256), World::new(KeyType::EcP256));
        let certificate = |bundle: &SignatureBundle| {
            let text = String::from_utf8(bundle.signature_xml.to_vec()).unwrap();
            element(&text, "<ds:X509Certificate>", "</ds:X509Certificate>").to_owned()
        };
        let theirs = certificate(&signed(&other, &[MESSAGE]));
        let mut bundle = signed(&world, &[MESSAGE]);
        let text = String::from_utf8(bundle.signature_xml.to_vec()).unwrap();
        bundle.signature_xml = Bytes::from(text.replace(&certificate(&bundle), &theirs));
        let verdict = judge(&other, &[MESSAGE], &bundle).unwrap_err();
        assert_eq!(verdict.code(), "malformed_signature", "{verdict}");
    }

    #[test]
    fn an_ocsp_response_that_proves_nothing_is_refused() {
        let world = World::new(KeyType::EcP256);
        let judged = |ocsp: &[Bytes]| {
            let key = world.signing_key_with(ocsp);
            let bundle = block_on(sign(&digests(&[MESSAGE]), &key, &world.keys, now())).unwrap();
            judge(&world, &[MESSAGE], &bundle).unwrap_err()
        };
        let revoked = CertStatus::Revoked { at: now(), reason: None };
        let status = |error| SignatureError::Status(error);
        assert_eq!(judged(&world.ocsp(revoked, now())), status(VerifyError::OcspRevoked));
        assert_eq!(judged(&world.ocsp(CertStatus::Unknown, now())), status(VerifyError::OcspUnknown));
        let old = now() - Duration::from_secs(3602);
        assert_eq!(judged(&world.ocsp(CertStatus::Good, old)), status(VerifyError::OcspTooOld));
        let future = now() + Duration::from_secs(62);
        assert_eq!(judged(&world.ocsp(CertStatus::Good, future)), status(VerifyError::OcspNotYetValid));
        let stranger = World::new(KeyType::EcP256);
        assert_eq!(judged(&stranger.ocsp(CertStatus::Good, now())), status(VerifyError::OcspMissing));
        let unreadable = judged(&[Bytes::from_static(b"no response")]);
        assert_eq!(unreadable.code(), "invalid_cert_path.incorrect_validation_info");
        let intermediate = World::with_intermediate(KeyType::EcP256);
        let leaf_only = &intermediate.ocsp(CertStatus::Good, now())[..1];
        let key = intermediate.signing_key_with(leaf_only);
        let bundle = block_on(sign(&digests(&[MESSAGE]), &key, &intermediate.keys, now())).unwrap();
        assert_eq!(judge(&intermediate, &[MESSAGE], &bundle), Err(status(VerifyError::OcspMissing)));
    }

    /// Digests say nothing of names: the body as the message, the message as its body.
    #[test]
    fn parts_under_each_other_s_name_are_refused() {
        let world = World::new(KeyType::EcP256);
        let mut bundle = signed(&world, &[MESSAGE, BODY]);
        let chain = String::from_utf8(bundle.hash_chain.unwrap().to_vec()).unwrap();
        let chain = chain.replace("/message.xml", "/x").replace("/attachment1", "/message.xml");
        bundle.hash_chain = Some(Bytes::from(chain.replace("/x", "/attachment1")));
        let refused = judge(&world, &[BODY, MESSAGE], &bundle).unwrap_err();
        assert_eq!(refused.code(), "malformed_signature.malformed_hash_chain");
    }

    // -- containers --------------------------------------------------------------------------------

    fn container(world: &World, parts: &[&[u8]], batch: bool) -> Vec<u8> {
        let bundle = signed(world, parts);
        let stamped = timestamp::Batch::new([
            timestamp::signature_digest(b"another signature"),
            timestamp::signature_digest(&bundle.signature_xml),
            timestamp::signature_digest(b"a third one"),
        ]);
        let (result, chain) = (stamped.result(), stamped.chain(1));
        let at = now() + Duration::from_secs(30);
        let token = match batch {
            true => world.stamp(&result, at),
            false => world.stamp(&timestamp::single(&bundle.signature_xml).unwrap(), at),
        };
        let timestamp = match batch {
            true => TimeStamp::Batch { token: &token, hash_chain_result: &result, hash_chain: &chain },
            false => TimeStamp::Single { token: &token },
        };
        let container = Container {
            message: parts[0],
            signature: &bundle,
            timestamp,
            attachments: parts[1..].iter().map(|part| -> Box<dyn Read> { Box::new(*part) }).collect(),
            logged_at: now(),
        };
        write(container, std::io::Cursor::new(Vec::new())).unwrap().into_inner()
    }

    #[test]
    fn a_container_that_we_write_is_valid_and_says_what_it_proves() {
        for world in [World::new(KeyType::EcP256), World::with_intermediate(KeyType::Rsa2048)] {
            for parts in [&[MESSAGE][..], &[MESSAGE, BODY]] {
                for batch in [false, true] {
                    let bytes = container(&world, parts, batch);
                    let report = verify_container(&bytes, &world.conf).unwrap();
                    assert!(report.valid, "{report:?}");
                    let json = serde_json::to_value(&report).unwrap();
                    assert_eq!(json["signer"], "EE/GOV/1001");
                    assert_eq!(json["signed_at"], "2026-02-03T04:05:06.789Z");
                    assert_eq!(json["timestamped_at"], "2026-02-03T04:05:36Z");
                    assert_eq!(json["tsa"], "C=EE,CN=TSA");
                    assert_eq!(json["ocsp_at"], "2026-02-03T04:05:06Z");
                    assert_eq!(json["parts"].as_array().unwrap().len(), parts.len());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Whatever the parts hold, also what looks like a part of a ZIP file. A message of white space alone counts as none.
        #[test]
        fn a_container_holds_the_bytes_that_were_put_into_it(
            message in "[ -~\r\n]{0,99}[!-~][ -~\r\n]{0,99}",
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..4),
            zip_in_zip in any::<bool>(),
        ) {
            let world = World::new(KeyType::EcP256);
            let mut parts: Vec<&[u8]> = vec![message.as_bytes()];
            let inner = container(&world, &[MESSAGE, BODY], false);
            parts.extend(bodies.iter().map(Vec::as_slice));
            parts.extend(zip_in_zip.then_some(&inner[..]));
            let bundle = signed(&world, &parts);
            let token = world.stamp(&timestamp::single(&bundle.signature_xml).unwrap(), now());
            let content = || Container {
                message: parts[0],
                signature: &bundle,
                timestamp: TimeStamp::Single { token: &token },
                attachments: parts[1..].iter().map(|part| -> Box<dyn Read> { Box::new(*part) }).collect(),
                logged_at: now(),
            };
            let written = write(content(), std::io::Cursor::new(Vec::new())).unwrap().into_inner();
            for bytes in [written, stream(content(), Vec::new()).unwrap()] {
                let read = signature_of(&bytes).unwrap();
                prop_assert_eq!(timestamp::remove(&read.signature_xml).unwrap(), &bundle.signature_xml);
                prop_assert_eq!(&read.hash_chain_result, &bundle.hash_chain_result);
                prop_assert_eq!(&read.hash_chain, &bundle.hash_chain);
                let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
                for (index, part) in parts.iter().enumerate() {
                    let name = if index == 0 { "message.xml".to_owned() } else { format!("attachment{index}") };
                    let mut content = Vec::new();
                    zip.by_name(&name).unwrap().read_to_end(&mut content).unwrap();
                    prop_assert_eq!(&content[..], *part, "{}", name);
                }
            }
        }
    }

    #[test]
    fn unzip_finds_our_container_sound_and_its_mimetype_first() {
        let world = World::new(KeyType::EcP256);
        let bytes = container(&world, &[MESSAGE, BODY], true);
        assert_eq!(&bytes[30..38], b"mimetype");
        assert_eq!(&bytes[38..69], b"application/vnd.etsi.asic-e+zip");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("container.asice");
        put(&file, &bytes);
        let output = Command::new("python3").args(["-m", "zipfile", "-t"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let names = archive.file_names().map(|name| name.unwrap().into_owned()).collect::<Vec<_>>();
        assert_eq!(
            names,
            [
                "mimetype",
                "message.xml",
                "META-INF/signatures.xml",
                "sig-hashchainresult.xml",
                "sig-hashchain.xml",
                "ts-hashchainresult.xml",
                "ts-hashchain.xml",
                "META-INF/manifest.xml",
                "META-INF/ASiCManifest.xml",
                "META-INF/timestamp.tst",
                "attachment1"
            ]
        );
        assert_eq!(archive.comment(), b"mimetype=application/vnd.etsi.asic-e+zip");
        assert_eq!(
            archive.by_name("message.xml").unwrap().last_modified().unwrap().to_string(),
            "2026-02-03 04:05:06"
        );
    }

    /// The container written anew, each entry changed by `change`.
    fn rewritten(bytes: &[u8], change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> Vec<u8> {
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            let name = entry.name().unwrap().into_owned();
            if let Some(data) = change(&name, data) {
                out.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
                std::io::Write::write_all(&mut out, &data).unwrap();
            }
        }
        out.finish().unwrap().into_inner()
    }

    #[test]
    fn an_altered_container_is_not_valid() {
        let world = World::new(KeyType::EcP256);
        let single = container(&world, &[MESSAGE, BODY], false);
        let batch = container(&world, &[MESSAGE, BODY], true);
        let judged = |bytes: &[u8], name: &str, change: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>| {
            let changed =
                rewritten(bytes, |entry, data| if entry == name { change(data) } else { Some(data) });
            let report = verify_container(&changed, &world.conf).unwrap();
            assert_eq!(report.valid, report.code.is_none());
            report.code.unwrap_or_default()
        };
        let same = |data: Vec<u8>| Some(data);
        let longer = |data: Vec<u8>| Some([data.as_slice(), b"x"].concat());
        let gone = |_: Vec<u8>| None;
        assert_eq!(judged(&single, "message.xml", &same), "");
        assert_eq!(judged(&single, "message.xml", &longer), "malformed_signature.invalid_hash_chain_ref");
        assert_eq!(judged(&single, "attachment1", &longer), "malformed_signature.invalid_hash_chain_ref");
        // A body that is left out: its digest is proven still.
        assert_eq!(judged(&single, "attachment1", &gone), "");
        assert_eq!(judged(&single, "mimetype", &longer), "asic_invalid_mime_type");
        assert_eq!(judged(&single, "mimetype", &gone), "asic_mime_type_not_found");
        assert_eq!(judged(&single, "sig-hashchain.xml", &gone), "asic_hash_chain_not_found");
        assert_eq!(judged(&single, "sig-hashchainresult.xml", &gone), "asic_hash_chain_result_not_found");
        assert_eq!(judged(&batch, "META-INF/signatures.xml", &longer), "invalid_xml");
        let space = |data: Vec<u8>| Some([data.as_slice(), b"\n"].concat());
        assert_eq!(judged(&batch, "META-INF/signatures.xml", &space), "malformed_signature");
        assert_eq!(judged(&batch, "META-INF/timestamp.tst", &gone), "malformed_signature");
        assert_eq!(judged(&batch, "ts-hashchainresult.xml", &space), "malformed_signature");
        assert_eq!(
            judged(&batch, "META-INF/timestamp.tst", &|_| Some(b" ".to_vec())),
            "asic_timestamp_not_found"
        );
        assert_eq!(judged(&batch, "META-INF/manifest.xml", &|_| Some(Vec::new())), "asic_manifest_not_found");
    }

    #[test]
    fn a_time_stamp_by_another_authority_is_not_believed() {
        let world = World::new(KeyType::EcP256);
        let bytes = container(&world, &[MESSAGE], false);
        let judged = |conf: &GlobalConf| verify_container(&bytes, conf).unwrap().code.unwrap();
        let stranger = World::new(KeyType::EcP256);
        assert_eq!(judged(&stranger.conf), "mlog.timestamp_signer_verification_failed");
        let other = configuration("EE", &stranger.certificate, Vec::new(), None, Some(&stranger.certificate));
        assert_eq!(judged(&other), "mlog.tsp_certificate_not_found");
        let none = configuration("EE", &stranger.certificate, Vec::new(), None, None);
        assert_eq!(judged(&none), "mlog.no_timestamping_provider_found");
    }
}
