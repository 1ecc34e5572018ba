//! Every pair of key and digest that is accepted, with openssl on the other side; and what is refused.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use cert_authority::{
        algorithm::{DigestAlgorithm, SignatureAlgorithm as A},
        crypto::{
            EcdsaForm, Hasher, PrivateKey, PublicKey, aead, constant_time_eq, digest, digest_parts,
            ecdsa_der_to_raw, random_array, tls_provider,
        },
        error::{KeyError, VerifyError},
        keys::KeyType,
    };

    use crate::support::{World, openssl_ok, text};

    const MESSAGE: &[u8] = b"the bytes that were signed";

    fn public_key(world: &World, key: &str) -> PublicKey {
        let out = world.dir.path().join("public.der");
        openssl_ok(["pkey", "-in", key, "-pubout", "-outform", "DER", "-out", text(&out)]);
        PublicKey::from_spki(&std::fs::read(out).unwrap()).unwrap()
    }

    fn sign(world: &World, key: &str, options: &[&str]) -> Vec<u8> {
        let (message, out) = (world.file("message", MESSAGE), world.dir.path().join("signature"));
        let fixed = ["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", text(&message), "-out", text(&out)];
        openssl_ok(fixed.into_iter().chain(options.iter().copied()));
        std::fs::read(out).unwrap()
    }

    fn generate(world: &World, name: &str, options: &[&str]) -> String {
        let path = world.dir.path().join(name);
        openssl_ok(["genpkey", "-out", text(&path)].into_iter().chain(options.iter().copied()));
        text(&path).to_owned()
    }

    #[test]
    fn every_curve_with_every_digest_made_by_openssl_verifies_as_der_and_raw() {
        let world = World::new();
        for (curve, width) in [("P-256", 32), ("P-384", 48)] {
            let options = ["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")];
            let key = generate(&world, curve, &options);
            let public = public_key(&world, &key);
            for (name, algorithm, other) in [
                ("sha256", A::EcdsaSha256, A::EcdsaSha384),
                ("sha384", A::EcdsaSha384, A::EcdsaSha512),
                ("sha512", A::EcdsaSha512, A::EcdsaSha256),
            ] {
                let der = sign(&world, &key, &["-digest", name]);
                let raw = ecdsa_der_to_raw(width, &der).unwrap();
                assert_eq!(raw.len(), 2 * width);
                for (form, signature) in [(EcdsaForm::Der, &der), (EcdsaForm::Raw, &raw)] {
                    let verify = |a, message: &[u8]| public.verify(a, form, message, signature);
                    assert_eq!(verify(algorithm, MESSAGE), Ok(()), "{curve} {name} {form:?}");
                    assert_eq!(verify(algorithm, b"other bytes"), Err(VerifyError::BadSignature));
                    assert_eq!(verify(other, MESSAGE), Err(VerifyError::BadSignature));
                    let mut changed = signature.clone();
                    *changed.last_mut().unwrap() ^= 1;
                    assert_eq!(
                        public.verify(algorithm, form, MESSAGE, &changed),
                        Err(VerifyError::BadSignature)
                    );
                }
                let swapped = public.verify(algorithm, EcdsaForm::Raw, MESSAGE, &der);
                assert_eq!(swapped, Err(VerifyError::BadSignature));
                assert!(matches!(
                    public.verify(A::RsaPkcs1Sha256, EcdsaForm::Der, MESSAGE, &der),
                    Err(VerifyError::UnsupportedAlgorithm(_))
                ));
            }
        }
    }

    #[test]
    fn rsa_of_both_paddings_made_by_openssl_verifies() {
        let world = World::new();
        let key = generate(&world, "rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        let public = public_key(&world, &key);
        assert_eq!(public.key_type(), Some(KeyType::Rsa2048));
        let pss = ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"];
        for (name, pkcs1, with_pss) in [
            ("sha256", A::RsaPkcs1Sha256, A::RsaPssSha256),
            ("sha384", A::RsaPkcs1Sha384, A::RsaPssSha384),
            ("sha512", A::RsaPkcs1Sha512, A::RsaPssSha512),
        ] {
            let signature = sign(&world, &key, &["-digest", name]);
            assert_eq!(public.verify(pkcs1, EcdsaForm::Raw, MESSAGE, &signature), Ok(()));
            assert_eq!(
                public.verify(with_pss, EcdsaForm::Raw, MESSAGE, &signature),
                Err(VerifyError::BadSignature)
            );
            let signature = sign(&world, &key, &[&["-digest", name][..], &pss].concat());
            assert_eq!(public.verify(with_pss, EcdsaForm::Der, MESSAGE, &signature), Ok(()));
            assert_eq!(
                public.verify(with_pss, EcdsaForm::Der, b"other bytes", &signature),
                Err(VerifyError::BadSignature)
            );
        }
    }

    #[test]
    fn short_rsa_keys_and_odd_curves_are_refused_with_the_reason() {
        let world = World::new();
        let key = generate(&world, "short", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
        let signature = sign(&world, &key, &["-digest", "sha256"]);
        assert_eq!(
            public_key(&world, &key).verify(A::RsaPkcs1Sha256, EcdsaForm::Der, MESSAGE, &signature),
            Err(VerifyError::WeakKey("RSA of 1024 bits".into()))
        );
        let options = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
        let key = generate(&world, "p521", &options);
        let signature = sign(&world, &key, &["-digest", "sha512"]);
        assert_eq!(
            public_key(&world, &key).verify(A::EcdsaSha512, EcdsaForm::Der, MESSAGE, &signature),
            Err(VerifyError::UnsupportedAlgorithm("curve 1.3.132.0.35".into()))
        );
    }

    #[test]
    fn what_we_sign_verifies_with_openssl() {
        let world = World::new();
        for (key_type, digest, options) in [
            (KeyType::EcP256, "sha256", &[][..]),
            (KeyType::EcP384, "sha384", &[]),
            (KeyType::Rsa2048, "sha512", &[]),
            (KeyType::Rsa3072, "sha512", &[]),
        ] {
            let pkcs8 = PrivateKey::generate(key_type).unwrap();
            let key = PrivateKey::from_pkcs8(&pkcs8).unwrap();
            assert_eq!(key.public_key().key_type(), Some(key_type));
            let signature = key.sign(key_type.default_algorithm(), MESSAGE).unwrap();
            let (message, signature) = (world.file("m", MESSAGE), world.file("s", signature));
            let public = world.file("p.der", key.public_key().spki_der());
            let fixed = [
                "pkeyutl",
                "-verify",
                "-rawin",
                "-pubin",
                "-keyform",
                "DER",
                "-inkey",
                text(&public),
                "-in",
                text(&message),
                "-sigfile",
                text(&signature),
                "-digest",
                digest,
            ];
            openssl_ok(fixed.into_iter().chain(options.iter().copied()));
        }
    }

    #[test]
    fn every_rsa_algorithm_signs_and_ec_keys_sign_with_their_own_digest_only() {
        let rsa = PrivateKey::from_pkcs8(&PrivateKey::generate(KeyType::Rsa2048).unwrap()).unwrap();
        let p256 = PrivateKey::from_pkcs8(&PrivateKey::generate(KeyType::EcP256).unwrap()).unwrap();
        for algorithm in A::ALL {
            if algorithm.is_ecdsa() {
                assert!(matches!(rsa.sign(algorithm, MESSAGE), Err(KeyError::Unsupported(_))));
            } else {
                let signature = rsa.sign(algorithm, MESSAGE).unwrap();
                assert_eq!(rsa.public_key().verify(algorithm, EcdsaForm::Der, MESSAGE, &signature), Ok(()));
            }
            assert_eq!(p256.sign(algorithm, MESSAGE).is_ok(), algorithm == A::EcdsaSha256);
        }
    }

    #[test]
    fn keys_that_are_no_keys_are_refused() {
        let pkcs8 = PrivateKey::generate(KeyType::EcP256).unwrap();
        assert!(PrivateKey::from_pkcs8(&pkcs8[..pkcs8.len() - 1]).is_err());
        assert!(PrivateKey::from_pkcs8(&[&pkcs8[..], &[0]].concat()).is_err());
        assert!(PrivateKey::from_pkcs8(b"").is_err());
        let public = PrivateKey::from_pkcs8(&pkcs8).unwrap().public_key().clone();
        assert!(PublicKey::from_spki(&[public.spki_der(), &[0]].concat()).is_err());
        assert!(PublicKey::from_spki(&public.spki_der()[..40]).is_err());
        // The curve says P-384, the point is one of P-256.
        let p384 = PrivateKey::from_pkcs8(&PrivateKey::generate(KeyType::EcP384).unwrap()).unwrap();
        let head = &p384.public_key().spki_der()[..20];
        let mut mixed = [head, &[0x03, 0x42, 0], public.key_bytes()].concat();
        mixed[1] = u8::try_from(mixed.len() - 2).unwrap();
        let mixed = PublicKey::from_spki(&mixed).unwrap();
        assert!(matches!(mixed.check_strength(), Err(VerifyError::UnsupportedAlgorithm(_))));
    }

    #[test]
    fn digests_are_the_published_ones_in_one_piece_and_in_parts() {
        for (algorithm, abc) in [
            (DigestAlgorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (DigestAlgorithm::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            (DigestAlgorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            assert_eq!(digest(algorithm, b"abc").hex(), abc);
            assert_eq!(digest_parts(algorithm, &[b"a", b"", b"bc"]).hex(), abc);
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"ab");
            let mut copy = hasher.clone();
            copy.update(b"c");
            assert_eq!(copy.finish().hex(), abc);
        }
        assert_eq!(digest(DigestAlgorithm::Sha512, b"").as_ref().len(), 64);
        assert!(digest(DigestAlgorithm::Sha384, b"").base64().starts_with("OLBgp1Gs"));
    }

    #[test]
    fn sealed_data_opens_only_unchanged_and_in_its_place() {
        let key = aead::Key::new(&random_array().unwrap()).unwrap();
        let mut data = b"personal data".to_vec();
        let tag = key.seal([1; 12], b"frame 1", &mut data).unwrap();
        assert_ne!(data, b"personal data");
        data.extend(tag);
        assert_eq!(key.open([1; 12], b"frame 1", &mut data.clone()).unwrap(), b"personal data");
        assert!(key.open([2; 12], b"frame 1", &mut data.clone()).is_err());
        assert!(key.open([1; 12], b"frame 2", &mut data.clone()).is_err());
        let mut changed = data.clone();
        changed[0] ^= 1;
        assert!(key.open([1; 12], b"frame 1", &mut changed).is_err());
        assert!(key.open([1; 12], b"frame 1", &mut [0; 3]).is_err());
    }

    #[test]
    fn comparison_and_provider_are_there() {
        assert!(constant_time_eq(b"same", b"same"));
        assert!(!constant_time_eq(b"same", b"sane") && !constant_time_eq(b"same", b"sam"));
        assert!(!tls_provider().cipher_suites.is_empty());
    }
}
