//! Project Wycheproof's vectors, through the functions that certificates, messages and logs are judged with.
//!
//! Every vector of the families that this project has is put to them. A vector counts as *accepted* or
//! *refused* where its verdict is clear and ours is the same, as *either* where its authors leave the verdict open, and as
//! *policy* where what it uses is not believed here at all, valid or not; the reason stands beside. Anything else is
//! wrong, and there is none. The counts are fixed, so that none of them can shrink unseen.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use cert_authority::algorithm::SignatureAlgorithm as A;
    use cert_authority::crypto::{EcdsaForm, PublicKey, aead};
    use cert_authority::error::VerifyError;
    use wycheproof::{HashFunction, Mgf, TestResult};

    // What is not believed here, valid or not.
    const DIGEST: &str = "digest other than SHA-256, SHA-384 and SHA-512";
    const CURVE: &str = "curve other than P-256 and P-384";
    const KIND: &str = "kind of key, or a key that is bound to its padding";
    const MASK: &str = "another digest in the mask than over the message";
    const SALT: &str = "salt of another length than the digest";
    const SIZES: &str = "key other than 256 or nonce other than 96 bits";
    const SHORT: &str = "RSA key below 2048 bits";

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Counted {
        Accepted,
        Refused,
        EitherAccepted,
        EitherRefused,
        Policy(&'static str),
    }

    /// How many came out how; every wrong one by its number.
    #[derive(Default)]
    struct Counts {
        counted: BTreeMap<Counted, usize>,
        wrong: Vec<String>,
    }

    impl Counts {
        fn put(&mut self, name: &dyn Debug, id: usize, expected: TestResult, accepted: bool) {
            use Counted as C;
            let counted = match (expected, accepted) {
                (TestResult::Valid, true) => C::Accepted,
                (TestResult::Invalid, false) => C::Refused,
                (TestResult::Acceptable, true) => C::EitherAccepted,
                (TestResult::Acceptable, false) => C::EitherRefused,
                (TestResult::Valid, false) | (TestResult::Invalid, true) => {
                    self.wrong.push(format!("{name:?} {id}: {expected:?}, but accepted: {accepted}"));
                    return;
                }
            };
            *self.counted.entry(counted).or_default() += 1;
        }

        fn put_policy(&mut self, reason: &'static str) {
            *self.counted.entry(Counted::Policy(reason)).or_default() += 1;
        }

        fn must_be(&self, family: &str, expected: &[(Counted, usize)]) {
            println!("{family}: {} vectors", self.counted.values().sum::<usize>() + self.wrong.len());
            for (counted, number) in &self.counted {
                println!("  {number:6} {counted:?}");
            }
            assert_eq!(self.wrong, Vec::<String>::new(), "{family}: wrong");
            assert_eq!(self.counted, expected.iter().copied().collect(), "{family}: other counts");
        }
    }

    /// Verifies, and tells a signature that is bad from a key or an algorithm that is not believed.
    fn judge(
        key: &PublicKey,
        algorithm: A,
        form: EcdsaForm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, &'static str> {
        match key.verify(algorithm, form, message, signature) {
            Ok(()) => Ok(true),
            Err(VerifyError::BadSignature) => Ok(false),
            Err(VerifyError::WeakKey(_)) => Err(SHORT),
            Err(VerifyError::UnsupportedAlgorithm(why)) if why.starts_with("curve") => Err(CURVE),
            Err(VerifyError::UnsupportedAlgorithm(why)) if why.starts_with("key of algorithm") => Err(KIND),
            Err(other) => panic!("an error that verification does not have: {other}"),
        }
    }

    /// What is good under an algorithm that we do not have must not be believed under any that we have. (Some of the bad ones
    /// are bad only because they are good under another algorithm.)
    fn nothing_accepts(
        key: &PublicKey,
        form: EcdsaForm,
        expected: TestResult,
        message: &[u8],
        signature: &[u8],
    ) {
        for algorithm in A::ALL {
            let verdict = key.verify(algorithm, form, message, signature);
            assert!(expected == TestResult::Invalid || verdict.is_err(), "{algorithm:?}");
        }
    }

    #[test]
    fn ecdsa_in_both_encodings() {
        use wycheproof::ecdsa::{TestGroupTypeId, TestName, TestSet};
        let (mut der, mut raw) = (Counts::default(), Counts::default());
        for name in TestName::all() {
            for group in TestSet::load(name).unwrap().test_groups {
                let (counts, form) = match group.test_type {
                    TestGroupTypeId::Ecdsa | TestGroupTypeId::EcdsaBitcoin => (&mut der, EcdsaForm::Der),
                    TestGroupTypeId::EcdsaP1363 => (&mut raw, EcdsaForm::Raw),
                };
                let key = PublicKey::from_spki(&group.der).unwrap();
                let algorithm = match group.hash {
                    HashFunction::Sha2_256 => Some(A::EcdsaSha256),
                    HashFunction::Sha2_384 => Some(A::EcdsaSha384),
                    HashFunction::Sha2_512 => Some(A::EcdsaSha512),
                    _ => None,
                };
                for test in group.tests {
                    match algorithm.map(|a| judge(&key, a, form, &test.msg, &test.sig)) {
                        Some(Ok(accepted)) => counts.put(&name, test.tc_id, test.result, accepted),
                        Some(Err(policy)) => counts.put_policy(policy),
                        None => {
                            nothing_accepts(&key, form, test.result, &test.msg, &test.sig);
                            counts.put_policy(DIGEST);
                        }
                    }
                }
            }
        }
        der.must_be(
            "ECDSA, DER",
            &[
                (Counted::Accepted, 1004),
                (Counted::Refused, 1552),
                (Counted::Policy(CURVE), 7808),
                (Counted::Policy(DIGEST), 11991),
            ],
        );
        raw.must_be(
            "ECDSA, r and s as in XML",
            &[
                (Counted::Accepted, 838),
                (Counted::Refused, 354),
                (Counted::Policy(CURVE), 3995),
                (Counted::Policy(DIGEST), 2361),
            ],
        );
    }

    #[test]
    fn rsa_with_the_padding_of_pkcs_1_version_1_5() {
        use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
        let mut counts = Counts::default();
        for name in TestName::all() {
            for group in TestSet::load(name).unwrap().test_groups {
                let key = PublicKey::from_spki(&group.der).unwrap();
                let algorithm = match group.hash {
                    HashFunction::Sha2_256 => Some(A::RsaPkcs1Sha256),
                    HashFunction::Sha2_384 => Some(A::RsaPkcs1Sha384),
                    HashFunction::Sha2_512 => Some(A::RsaPkcs1Sha512),
                    _ => None,
                };
                for test in group.tests {
                    match algorithm.map(|a| judge(&key, a, EcdsaForm::Der, &test.msg, &test.sig)) {
                        Some(Ok(accepted)) => counts.put(&name, test.tc_id, test.result, accepted),
                        Some(Err(policy)) => counts.put_policy(policy),
                        None => {
                            nothing_accepts(&key, EcdsaForm::Der, test.result, &test.msg, &test.sig);
                            counts.put_policy(DIGEST);
                        }
                    }
                }
            }
        }
        // Open are signatures whose padding leaves the NULL of the digest's algorithm out; we want it.
        counts.must_be(
            "RSA, PKCS #1 1.5",
            &[
                (Counted::Accepted, 89),
                (Counted::Refused, 3005),
                (Counted::EitherRefused, 12),
                (Counted::Policy(DIGEST), 3096),
            ],
        );
    }

    #[test]
    fn rsa_pss() {
        use wycheproof::rsa_pss_verify::{TestName, TestSet};
        let mut counts = Counts::default();
        for name in TestName::all() {
            for group in TestSet::load(name).unwrap().test_groups {
                let key = PublicKey::from_spki(&group.der).unwrap();
                let (algorithm, len) = match group.hash {
                    HashFunction::Sha2_256 => (Some(A::RsaPssSha256), 32),
                    HashFunction::Sha2_384 => (Some(A::RsaPssSha384), 48),
                    HashFunction::Sha2_512 => (Some(A::RsaPssSha512), 64),
                    _ => (None, 0),
                };
                let outside = match algorithm {
                    None => Some(DIGEST),
                    Some(_) if group.mgf != Mgf::Mgf1 || group.mgf_hash.as_ref() != Some(&group.hash) => {
                        Some(MASK)
                    }
                    Some(_) if group.salt_size != len => Some(SALT),
                    Some(_) => None,
                };
                for test in group.tests {
                    match (outside, algorithm) {
                        (None, Some(algorithm)) => {
                            match judge(&key, algorithm, EcdsaForm::Der, &test.msg, &test.sig) {
                                Ok(accepted) => counts.put(&name, test.tc_id, test.result, accepted),
                                Err(policy) => counts.put_policy(policy),
                            }
                        }
                        (reason, _) => {
                            nothing_accepts(&key, EcdsaForm::Der, test.result, &test.msg, &test.sig);
                            counts.put_policy(reason.unwrap_or_default());
                        }
                    }
                }
            }
        }
        counts.must_be(
            "RSA, PSS",
            &[
                (Counted::Accepted, 514),
                (Counted::Refused, 274),
                (Counted::Policy(MASK), 430),
                (Counted::Policy(DIGEST), 1291),
                (Counted::Policy(KIND), 398),
                (Counted::Policy(SALT), 590),
            ],
        );
    }

    #[test]
    fn ed25519_of_signed_notes() {
        use wycheproof::eddsa::{TestName, TestSet};
        let mut counts = Counts::default();
        for name in TestName::all() {
            for group in TestSet::load(name).unwrap().test_groups {
                let key = PublicKey::from_spki(&group.der).unwrap();
                for test in group.tests {
                    match judge(&key, A::Ed25519, EcdsaForm::Der, &test.msg, &test.sig) {
                        Ok(accepted) => counts.put(&name, test.tc_id, test.result, accepted),
                        Err(policy) => counts.put_policy(policy),
                    }
                }
            }
        }
        // The other kind is Ed448.
        counts.must_be(
            "EdDSA",
            &[(Counted::Accepted, 88), (Counted::Refused, 63), (Counted::Policy(KIND), 87)],
        );
    }

    #[test]
    fn aes_256_gcm_opens_and_seals() {
        use wycheproof::aead::{TestName, TestSet};
        let mut counts = Counts::default();
        for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
            for test in group.tests {
                let ours = (<&[u8; 32]>::try_from(&test.key[..]), <[u8; 12]>::try_from(&test.nonce[..]));
                let (Ok(key), Ok(nonce)) = ours else {
                    counts.put_policy(SIZES);
                    continue;
                };
                let key = aead::Key::new(key).unwrap();
                let mut data = [&test.ct[..], &test.tag].concat();
                let opened = key.open(nonce, &test.aad, &mut data).map(|plain| plain.to_vec());
                let mut sealed = test.pt.to_vec();
                let tag = key.seal(nonce, &test.aad, &mut sealed).unwrap();
                let same = sealed == test.ct[..] && tag == test.tag[..];
                assert_eq!(opened.is_ok(), same, "{}: opening and sealing differ", test.tc_id);
                assert!(opened.is_err() || opened.unwrap() == test.pt[..], "{}", test.tc_id);
                counts.put(&TestName::AesGcm, test.tc_id, test.result, same);
            }
        }
        counts.must_be(
            "AES-GCM",
            &[(Counted::Accepted, 39), (Counted::Refused, 27), (Counted::Policy(SIZES), 250)],
        );
    }
}
