//! The signature of a batch is verified once: what is remembered, for whom, for how long, and what it can never become.

#[cfg(test)]
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use cert_authority::{
        algorithm::DigestAlgorithm::Sha512, clock::UnixTime, crypto::digest, keys::KeyType, ocsp::CertStatus,
    };
    use gateway::{
        evidence::signature::{Facts, SignatureBundle, SigningKey, TrustCache, sign_batch, verify},
        message::digests::PartDigests,
    };

    use crate::evidence_support::{World, block_on, now};

    /// Of one and two parts in turn.
    fn message(number: usize) -> PartDigests {
        let part = |part: usize| digest(Sha512, format!("{number}.{part}").as_bytes());
        PartDigests { algorithm: Sha512, message: part(0), attachments: (1..=number % 2).map(part).collect() }
    }

    /// The messages from `first` on, and their bundles.
    fn batch(
        world: &World,
        key: &SigningKey,
        first: usize,
        size: usize,
    ) -> Vec<(PartDigests, SignatureBundle)> {
        let parts: Vec<PartDigests> = (first..first + size).map(message).collect();
        let borrowed: Vec<&PartDigests> = parts.iter().collect();
        let bundles = block_on(sign_batch(&borrowed, key, &world.keys, now())).unwrap();
        parts.into_iter().zip(bundles).collect()
    }

    /// What is said of a message at a time: the facts, or the code and the words of the refusal.
    fn judge(
        world: &World,
        trust: &TrustCache,
        (digests, bundle): &(PartDigests, SignatureBundle),
        at: UnixTime,
    ) -> Result<Facts, (&'static str, String)> {
        verify((), digests, bundle, &world.conf, trust, &world.member, at)
            .map(|verified| verified.facts().clone())
            .map_err(|error| (error.code(), error.to_string()))
    }

    /// All that facts say.
    fn said(facts: Result<Facts, (&'static str, String)>) -> Result<String, (&'static str, String)> {
        facts.map(|facts| {
            let Facts { certificate, member, signing_time, ocsp_produced_at, covered } = facts;
            format!("{} {member} {signing_time:?} {ocsp_produced_at:?} {covered:?}", certificate.serial())
        })
    }

    fn flipped(bytes: &Bytes, at: usize) -> Bytes {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    }

    #[test]
    fn the_signature_of_a_batch_is_verified_once_and_the_facts_are_the_same() {
        for world in [World::new(KeyType::EcP256), World::with_intermediate(KeyType::Rsa2048)] {
            let key = world.signing_key();
            let trust = TrustCache::default();
            for (round, batches, first) in [(1, 1, 0), (2, 2, 100)] {
                for message in batch(&world, &key, first, 32) {
                    let cold = said(judge(&world, &TrustCache::default(), &message, now()));
                    assert!(cold.is_ok(), "{cold:?}");
                    assert_eq!(said(judge(&world, &trust, &message, now())), cold);
                }
                assert_eq!(trust.shared_verifications(), round * 31);
                assert_eq!(trust.remembered_batches(), batches);
            }
        }
    }

    #[test]
    fn a_message_that_was_signed_alone_is_not_remembered() {
        let world = World::new(KeyType::EcP256);
        let key = world.signing_key();
        let trust = TrustCache::default();
        for number in 0..4 {
            let alone = batch(&world, &key, number, 1).remove(0);
            assert!(judge(&world, &trust, &alone, now()).is_ok());
            assert!(judge(&world, &trust, &alone, now()).is_ok());
        }
        assert_eq!((trust.shared_verifications(), trust.remembered_batches()), (0, 0));
    }

    /// Whatever one byte is changed: what is remembered leads to the same verdict as what is not.
    #[test]
    fn one_byte_that_differs_anywhere_is_judged_as_if_nothing_were_remembered() {
        let world = World::new(KeyType::EcP256);
        let messages = batch(&world, &world.signing_key(), 0, 5);
        let trust = TrustCache::default();
        let (digests, bundle) = messages[3].clone();
        let same = |changed: (PartDigests, SignatureBundle), hit: bool, what: String| {
            // Some changes may be made to a signature that is still right: then that one is remembered.
            judge(&world, &trust, &messages[0], now()).unwrap();
            let before = trust.shared_verifications();
            let warm = said(judge(&world, &trust, &changed, now()));
            assert_eq!(trust.shared_verifications() - before, u64::from(hit), "{what}");
            assert_eq!(warm, said(judge(&world, &TrustCache::default(), &changed, now())), "{what}");
            warm
        };
        let signature = &bundle.signature_xml;
        for at in (0..signature.len()).step_by(11).chain(signature.len() - 30..signature.len()) {
            let signature_xml = flipped(signature, at);
            let changed = (digests.clone(), SignatureBundle { signature_xml, ..bundle.clone() });
            let _ = same(changed, false, format!("byte {at} of the signature"));
        }
        let result = bundle.hash_chain_result.clone().unwrap();
        for at in 0..result.len() {
            let hash_chain_result = Some(flipped(&result, at));
            let changed = (digests.clone(), SignatureBundle { hash_chain_result, ..bundle.clone() });
            let verdict = same(changed, false, format!("byte {at} of the result"));
            assert!(verdict.is_err(), "byte {at} of the result: it is not the one that was signed");
        }
        let chain = bundle.hash_chain.clone().unwrap();
        for at in 0..chain.len() {
            let hash_chain = Some(flipped(&chain, at));
            let changed = (digests.clone(), SignatureBundle { hash_chain, ..bundle.clone() });
            let _ = same(changed, true, format!("byte {at} of the chain"));
        }
        let longer = Bytes::from([signature.as_ref(), b"\n"].concat());
        let changed = SignatureBundle { signature_xml: longer, ..bundle.clone() };
        same((digests.clone(), changed), false, "a line end behind".to_owned()).unwrap();
        for missing in [
            SignatureBundle { hash_chain: None, ..bundle.clone() },
            SignatureBundle { hash_chain_result: None, ..bundle.clone() },
            SignatureBundle { hash_chain: None, hash_chain_result: None, ..bundle.clone() },
        ] {
            let hit = missing.hash_chain_result.is_some();
            same((digests.clone(), missing), hit, "a part that is missing".to_owned()).unwrap_err();
        }
        for other in [&messages[0].0, &messages[1].0, &message(77)] {
            same((other.clone(), bundle.clone()), true, "other parts".to_owned()).unwrap_err();
        }
        same((digests, bundle), true, "nothing changed".to_owned()).unwrap();
    }

    #[test]
    fn it_holds_for_the_same_member_configuration_and_time_only() {
        let world = World::new(KeyType::EcP256);
        let messages = batch(&world, &world.signing_key(), 0, 2);
        let trust = TrustCache::default();
        judge(&world, &trust, &messages[0], now()).unwrap();
        let refused = |member: &str| {
            let (digests, bundle) = &messages[1];
            let verdict = verify((), digests, bundle, &world.conf, &trust, &member.parse().unwrap(), now());
            verdict.unwrap_err().code()
        };
        assert_eq!(refused("EE/GOV/1002"), "incorrect_certificate");
        assert_eq!(refused("EE/COM/1001"), "incorrect_certificate");
        assert_eq!(refused("FI/GOV/1001"), "incorrect_certificate");
        assert_eq!(trust.shared_verifications(), 0);

        // For an earlier time, and when the OCSP response has become too old, it is as if nothing were remembered.
        let hour = Duration::from_secs(3600);
        for at in [now() - Duration::from_secs(100), now() + hour + Duration::from_secs(1)] {
            let warm = said(judge(&world, &trust, &messages[1], at));
            assert_eq!(warm, said(judge(&world, &TrustCache::default(), &messages[1], at)));
            assert_eq!(warm.unwrap_err().0, "invalid_cert_path.incorrect_validation_info");
        }
        assert_eq!(trust.shared_verifications(), 0);

        // For a while it is known, and after a minute looked at again.
        let trust = TrustCache::default();
        judge(&world, &trust, &messages[0], now()).unwrap();
        judge(&world, &trust, &messages[1], now() + Duration::from_secs(60)).unwrap();
        assert_eq!(trust.shared_verifications(), 1);
        judge(&world, &trust, &messages[1], now() + Duration::from_secs(61)).unwrap();
        assert_eq!(trust.shared_verifications(), 1);

        // Another configuration empties it, and does not know the signer.
        let stranger = World::new(KeyType::EcP256);
        let (digests, bundle) = &messages[1];
        let verdict = verify((), digests, bundle, &stranger.conf, &trust, &world.member, now());
        assert_eq!(verdict.unwrap_err().code(), "incorrect_certificate");
        assert_eq!((trust.shared_verifications(), trust.remembered_batches()), (1, 0));
    }

    #[test]
    fn what_was_not_verified_to_its_end_is_never_remembered() {
        let world = World::new(KeyType::EcP256);
        let key = world.signing_key();
        let good = batch(&world, &key, 0, 3).remove(1);
        let (digests, bundle) = &good;
        let with = |signature_xml: &str| {
            let signature_xml = Bytes::from(signature_xml.to_owned());
            (digests.clone(), SignatureBundle { signature_xml, ..bundle.clone() })
        };
        let text = String::from_utf8(bundle.signature_xml.to_vec()).unwrap();
        let at = text.find("<ds:SignatureValue").unwrap() + 50;
        let value = String::from_utf8(flipped(&bundle.signature_xml, at).to_vec()).unwrap();
        let ocsp = |status| world.signing_key_with(&world.ocsp(status, now()));
        let revoked = CertStatus::Revoked { at: now(), reason: None };
        let stranger = World::new(KeyType::EcP256);
        let wrong = [
            with(&value),
            with(&text.replace("2026-02-03T", "2026-02-04T")),
            with(&text.replace("</asic:XAdESSignatures>", "")),
            (message(9), bundle.clone()),
            (digests.clone(), SignatureBundle { hash_chain: None, ..bundle.clone() }),
            batch(&world, &ocsp(revoked), 0, 3).remove(1),
            batch(&world, &ocsp(CertStatus::Unknown), 0, 3).remove(1),
            batch(&world, &world.signing_key_with(&stranger.ocsp(CertStatus::Good, now())), 0, 3).remove(1),
            batch(&stranger, &stranger.signing_key(), 0, 3).remove(1),
        ];
        let trust = TrustCache::default();
        for (number, message) in wrong.iter().enumerate() {
            for _ in 0..2 {
                judge(&world, &trust, message, now()).expect_err("accepted");
                let remembered = (trust.remembered_batches(), trust.shared_verifications());
                assert_eq!(remembered, (0, 0), "case {number}");
            }
        }
        judge(&world, &trust, &good, now()).unwrap();
        assert_eq!(trust.remembered_batches(), 1);
    }

    #[test]
    fn revocation_and_fresh_ocsp_responses_empty_it() {
        let world = World::new(KeyType::EcP256);
        let old = batch(&world, &world.signing_key(), 0, 3);
        let trust = TrustCache::default();
        judge(&world, &trust, &old[0], now()).unwrap();
        judge(&world, &trust, &old[1], now()).unwrap();
        assert_eq!((trust.remembered_batches(), trust.shared_verifications()), (1, 1));

        // The next response for the same certificate: what came with the old one is judged anew.
        let at = now() + Duration::from_secs(10);
        let renewed = world.signing_key_with(&world.ocsp(CertStatus::Good, at));
        let fresh = batch(&world, &renewed, 10, 3);
        judge(&world, &trust, &fresh[0], at).unwrap();
        assert_eq!(trust.remembered_batches(), 1, "the fresh one");
        judge(&world, &trust, &old[2], at).unwrap();
        assert_eq!((trust.remembered_batches(), trust.shared_verifications()), (2, 1));

        // A message that proves the certificate to be revoked.
        let at = now() + Duration::from_secs(20);
        let revoked = CertStatus::Revoked { at, reason: None };
        let last = world.signing_key_with(&world.ocsp(revoked, at));
        let refused = judge(&world, &trust, &batch(&world, &last, 20, 2)[0], at).unwrap_err();
        assert_eq!(refused.0, "invalid_cert_path.cert_validation");
        assert_eq!((trust.remembered_batches(), trust.shared_verifications()), (0, 1));
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let world = World::new(KeyType::EcP256);
        let key = world.signing_key();
        let trust = TrustCache::default();
        let mut most = 0;
        for number in 0..600 {
            let messages = batch(&world, &key, 2 * number, 2);
            for message in &messages {
                judge(&world, &trust, message, now()).unwrap();
            }
            most = most.max(trust.remembered_batches());
        }
        assert_eq!((most, trust.shared_verifications()), (256, 600));

        // A signature that carries more than it needs is verified, but not kept.
        let trust = TrustCache::default();
        let responses = world.ocsp(CertStatus::Good, now());
        let many: Vec<Bytes> = responses.iter().cycle().take(100).cloned().collect();
        let large = batch(&world, &world.signing_key_with(&many), 0, 2);
        assert!(large[0].1.signature_xml.len() > 32 << 10);
        for message in &large {
            judge(&world, &trust, message, now()).unwrap();
        }
        assert_eq!((trust.remembered_batches(), trust.shared_verifications()), (0, 0));
    }
}
