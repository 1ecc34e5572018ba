//! Messages that wait for the same key: signed together, each verified by its own parts; and what happens when one
//! gives up, when the key fails, and when the waiting ones do not belong together.

#[cfg(test)]
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
    use cert_authority::crypto::{PublicKey, digest};
    use cert_authority::error::KeyError;
    use cert_authority::keys::{KeyId, KeyType, SignFuture, Signer};
    use gateway::evidence::signature::{
        SignatureBundle, SignatureError, SigningKey, TrustCache, sign_batch, verify,
    };
    use gateway::exchange::ports::MessageSigner as _;
    use gateway::message::digests::PartDigests;
    use gateway::signing::{BatchSigner, Settings};
    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;

    use crate::evidence_support::{World, now};

    /// What waits for its own signatures cannot be made inside of a runtime.
    fn outside<T: Send>(make: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(make).join().unwrap())
    }

    /// A key on a device that signs only when it is let, and counts.
    struct Device {
        world: World,
        permits: Semaphore,
        begun: AtomicUsize,
        fails: AtomicBool,
        panics: AtomicBool,
    }

    impl Device {
        fn new(permits: usize) -> Arc<Self> {
            Arc::new(Self {
                world: outside(|| World::new(KeyType::EcP256)),
                permits: Semaphore::new(permits),
                begun: AtomicUsize::new(0),
                fails: AtomicBool::new(false),
                panics: AtomicBool::new(false),
            })
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }

        async fn has_begun(&self, signatures: usize) {
            while self.begun() < signatures {
                tokio::task::yield_now().await;
            }
        }
    }

    impl Signer for Device {
        fn sign<'a>(
            &'a self,
            key: &'a KeyId,
            algorithm: SignatureAlgorithm,
            to_be_signed: &'a [u8],
        ) -> SignFuture<'a> {
            Box::pin(async move {
                self.begun.fetch_add(1, Ordering::SeqCst);
                self.permits.acquire().await.unwrap().forget();
                assert!(!self.panics.swap(false, Ordering::SeqCst), "the device is torn out");
                if self.fails.load(Ordering::SeqCst) {
                    return Err(KeyError::Crypto("the device says no"));
                }
                self.world.keys.sign(key, algorithm, to_be_signed).await
            })
        }

        fn public_key(&self, key: &KeyId) -> Result<PublicKey, KeyError> {
            self.world.keys.public_key(key)
        }
    }

    /// A gateway's signer over the device.
    struct Signers {
        device: Arc<Device>,
        signer: Arc<BatchSigner>,
        key: Arc<SigningKey>,
    }

    type Signed = JoinHandle<Result<SignatureBundle, SignatureError>>;

    impl Signers {
        fn new(permits: usize, settings: Settings) -> Self {
            let device = Device::new(permits);
            let key = Arc::new(outside(|| device.world.signing_key()));
            let signer = Arc::new(BatchSigner::new(device.clone(), settings));
            Self { device, signer, key }
        }

        fn sign(&self, digests: PartDigests) -> Signed {
            self.sign_with(digests, &self.key)
        }

        fn sign_with(&self, digests: PartDigests, key: &Arc<SigningKey>) -> Signed {
            let (signer, key) = (Arc::clone(&self.signer), Arc::clone(key));
            tokio::spawn(async move { signer.sign(&digests, &key, now()).await })
        }

        fn judge(&self, digests: &PartDigests, bundle: &SignatureBundle) -> Result<(), SignatureError> {
            let World { conf, member, .. } = &self.device.world;
            verify((), digests, bundle, conf, &TrustCache::default(), member, now()).map(drop)
        }
    }

    fn most(most: usize) -> Settings {
        Settings { most: NonZeroUsize::new(most).unwrap(), ..Settings::default() }
    }

    /// Of one, two and three parts in turn.
    fn message(number: usize, algorithm: DigestAlgorithm) -> PartDigests {
        let part = |part: usize| digest(algorithm, format!("{number}.{part}").as_bytes());
        PartDigests { algorithm, message: part(0), attachments: (1..=number % 3).map(part).collect() }
    }

    fn messages(count: usize) -> Vec<PartDigests> {
        (0..count).map(|number| message(number, DigestAlgorithm::Sha512)).collect()
    }

    async fn all(signed: Vec<Signed>) -> Vec<Result<SignatureBundle, SignatureError>> {
        let mut results = Vec::new();
        for task in signed {
            results.push(tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap());
        }
        results
    }

    #[tokio::test]
    async fn messages_that_wait_for_a_slow_key_share_its_next_signatures() {
        let signers = Signers::new(0, most(64));
        let parts = messages(101);
        let mut signed = vec![signers.sign(parts[0].clone())];
        signers.device.has_begun(1).await;
        signed.extend(parts[1..].iter().map(|parts| signers.sign(parts.clone())));
        tokio::task::yield_now().await;
        signers.device.permits.add_permits(100);
        let bundles = all(signed).await;
        assert_eq!(signers.device.begun(), 3, "one alone, 64 together, then the other 36");
        for (parts, bundle) in parts.iter().zip(&bundles) {
            assert_eq!(signers.judge(parts, bundle.as_ref().unwrap()), Ok(()));
        }
        let signature = |index: usize| &bundles[index].as_ref().unwrap().signature_xml;
        assert_eq!(signature(1), signature(64));
        assert_ne!(signature(64), signature(65));
        assert_eq!(signature(65), signature(100));
    }

    #[tokio::test]
    async fn a_message_that_is_alone_has_no_batch_form() {
        let signers = Signers::new(100, Settings::default());
        for parts in messages(6) {
            let bundle = all(vec![signers.sign(parts.clone())]).await.remove(0).unwrap();
            assert_eq!(signers.judge(&parts, &bundle), Ok(()));
            let alone =
                gateway::evidence::signature::sign(&parts, &signers.key, &signers.device.world.keys, now());
            let alone = alone.await.unwrap();
            assert_eq!(bundle.hash_chain, alone.hash_chain);
            assert_eq!(bundle.hash_chain_result, alone.hash_chain_result);
            let chain = bundle.hash_chain.unwrap_or_default();
            assert!(!String::from_utf8_lossy(&chain).contains("HashValue"), "a part of somebody else");
        }
        assert_eq!(signers.device.begun(), 6);
    }

    #[tokio::test]
    async fn without_batches_each_message_has_a_signature_of_its_own() {
        let signers = Signers::new(0, Settings { batch: false, ..Settings::default() });
        let parts = messages(9);
        let signed: Vec<Signed> = parts.iter().map(|parts| signers.sign(parts.clone())).collect();
        signers.device.has_begun(9).await;
        signers.device.permits.add_permits(9);
        for (parts, bundle) in parts.iter().zip(all(signed).await) {
            assert_eq!(signers.judge(parts, &bundle.unwrap()), Ok(()));
        }
        assert_eq!(signers.device.begun(), 9);
    }

    #[tokio::test]
    async fn a_batch_holds_no_more_than_the_settings_allow() {
        for (most_messages, signatures) in [(1, 13), (2, 7), (5, 4), (12, 2), (100, 2)] {
            let signers = Signers::new(0, most(most_messages));
            let mut signed = vec![signers.sign(message(0, DigestAlgorithm::Sha512))];
            signers.device.has_begun(1).await;
            signed.extend(messages(12).into_iter().map(|parts| signers.sign(parts)));
            tokio::task::yield_now().await;
            signers.device.permits.add_permits(100);
            assert!(all(signed).await.iter().all(Result::is_ok));
            assert_eq!(signers.device.begun(), signatures, "at most {most_messages}");
        }
    }

    #[tokio::test]
    async fn a_key_that_fails_fails_each_message_of_the_batch_and_can_be_asked_again() {
        let signers = Signers::new(0, Settings::default());
        signers.device.fails.store(true, Ordering::SeqCst);
        let mut signed = vec![signers.sign(message(0, DigestAlgorithm::Sha512))];
        signers.device.has_begun(1).await;
        signed.extend(messages(5).into_iter().map(|parts| signers.sign(parts)));
        tokio::task::yield_now().await;
        signers.device.permits.add_permits(100);
        let said = SignatureError::Signing(KeyError::Crypto("the device says no"));
        assert_eq!(all(signed).await, vec![Err(said); 6]);
        assert_eq!(signers.device.begun(), 2);

        signers.device.fails.store(false, Ordering::SeqCst);
        let parts = message(7, DigestAlgorithm::Sha512);
        let bundle = all(vec![signers.sign(parts.clone())]).await.remove(0).unwrap();
        assert_eq!(signers.judge(&parts, &bundle), Ok(()));
    }

    #[tokio::test]
    async fn a_device_that_does_not_answer_fails_its_batch_in_time_and_is_asked_again_for_the_next() {
        for batch in [true, false] {
            let timeout = Duration::from_millis(50);
            let signers = Signers::new(0, Settings { batch, timeout, ..Settings::default() });
            let signed = vec![signers.sign(message(0, DigestAlgorithm::Sha512))];
            signers.device.has_begun(1).await;
            let said = SignatureError::Signing(KeyError::Crypto("the key did not sign in time"));
            assert_eq!(all(signed).await, [Err(said)]);
            signers.device.permits.add_permits(1);
            let parts = message(7, DigestAlgorithm::Sha512);
            let bundle = all(vec![signers.sign(parts.clone())]).await.remove(0).unwrap();
            assert_eq!(signers.judge(&parts, &bundle), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_device_that_panics_fails_all_that_wait_and_the_next_message_is_signed() {
        let signers = Signers::new(0, Settings::default());
        signers.device.panics.store(true, Ordering::SeqCst);
        let mut signed = vec![signers.sign(message(0, DigestAlgorithm::Sha512))];
        signers.device.has_begun(1).await;
        signed.extend(messages(5).into_iter().map(|parts| signers.sign(parts)));
        tokio::task::yield_now().await;
        signers.device.permits.add_permits(100);
        for result in all(signed).await {
            assert!(matches!(result, Err(SignatureError::Signing(_))), "{result:?}");
        }
        let parts = message(7, DigestAlgorithm::Sha512);
        let bundle = all(vec![signers.sign(parts.clone())]).await.remove(0).unwrap();
        assert_eq!(signers.judge(&parts, &bundle), Ok(()));
    }

    #[tokio::test]
    async fn whoever_gives_up_takes_only_its_own_message_out_of_the_batch() {
        let signers = Signers::new(0, Settings::default());
        let first = signers.sign(message(0, DigestAlgorithm::Sha512));
        signers.device.has_begun(1).await;
        let parts = messages(7);
        let mut signed: Vec<Signed> = parts.iter().map(|parts| signers.sign(parts.clone())).collect();
        tokio::task::yield_now().await;
        // One before its batch is made, the first one while the device signs for it.
        signed.remove(3).abort();
        first.abort();
        tokio::task::yield_now().await;
        signers.device.permits.add_permits(1);
        signers.device.has_begun(2).await;
        // And one while its batch is being signed.
        signed.remove(4).abort();
        tokio::task::yield_now().await;
        signers.device.permits.add_permits(1);
        let bundles = all(signed).await;
        for (number, bundle) in [0, 1, 2, 4, 6].into_iter().zip(&bundles) {
            assert_eq!(signers.judge(&parts[number], bundle.as_ref().unwrap()), Ok(()), "{number}");
        }
        assert_eq!((bundles.len(), signers.device.begun()), (5, 2));
    }

    #[tokio::test]
    async fn nobody_signs_for_those_who_have_all_gone() {
        let signers = Signers::new(0, Settings::default());
        let first = signers.sign(message(0, DigestAlgorithm::Sha512));
        signers.device.has_begun(1).await;
        let gone: Vec<Signed> = messages(5).into_iter().map(|parts| signers.sign(parts)).collect();
        tokio::task::yield_now().await;
        for task in gone {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        signers.device.permits.add_permits(100);
        assert!(all(vec![first]).await[0].is_ok());
        let parts = message(7, DigestAlgorithm::Sha512);
        assert!(all(vec![signers.sign(parts)]).await[0].is_ok());
        assert_eq!(signers.device.begun(), 2, "the first, and the last one");
    }

    #[tokio::test]
    async fn other_certificates_and_other_digests_are_not_of_the_same_batch_and_keep_their_turn() {
        let signers = Signers::new(0, Settings::default());
        // The same key with fresh OCSP responses, as after they were renewed.
        let renewed = Arc::new(outside(|| signers.device.world.signing_key()));
        let sha256 = || message(2, DigestAlgorithm::Sha256);
        let sha512 = || message(2, DigestAlgorithm::Sha512);
        let first = signers.sign(sha512());
        signers.device.has_begun(1).await;
        let signed = vec![
            signers.sign(sha512()),
            signers.sign_with(sha512(), &renewed),
            signers.sign(sha256()),
            signers.sign(sha512()),
            signers.sign(sha256()),
            signers.sign_with(sha512(), &renewed),
        ];
        tokio::task::yield_now().await;
        signers.device.permits.add_permits(100);
        let bundles: Vec<_> = all(signed).await.into_iter().map(Result::unwrap).collect();
        assert!(all(vec![first]).await[0].is_ok());
        let digests = [sha512(), sha512(), sha256(), sha512(), sha256(), sha512()];
        for (digests, bundle) in digests.iter().zip(&bundles) {
            assert_eq!(signers.judge(digests, bundle), Ok(()));
        }
        for (one, other) in [(0, 3), (1, 5), (2, 4)] {
            assert_eq!(bundles[one].signature_xml, bundles[other].signature_xml);
        }
        assert_eq!(signers.device.begun(), 4, "the first, and three batches");
    }

    #[tokio::test]
    async fn every_message_of_a_batch_of_any_size_is_proven_by_its_own_parts_only() {
        let (world, key) = outside(|| {
            let world = World::new(KeyType::EcP256);
            let key = world.signing_key();
            (world, key)
        });
        let trust = TrustCache::default();
        let judge = |digests: &PartDigests, bundle: &SignatureBundle| {
            let verdict = verify((), digests, bundle, &world.conf, &trust, &world.member, now());
            verdict.map(drop).map_err(|error| error.code())
        };
        let mut foreign: Option<SignatureBundle> = None;
        let mut judged = 0;
        for size in 1..=130 {
            let parts: Vec<PartDigests> =
                (0..size).map(|number| message(1000 * size + number, DigestAlgorithm::Sha512)).collect();
            let borrowed: Vec<&PartDigests> = parts.iter().collect();
            let bundles = sign_batch(&borrowed, &key, &world.keys, now()).await.unwrap();
            assert_eq!(bundles.len(), size);
            for (number, (digests, bundle)) in parts.iter().zip(&bundles).enumerate() {
                assert_eq!(judge(digests, bundle), Ok(()), "{number} of {size}");
                judged += 1;
                if size > 1 {
                    // The chain of another message of the same batch, and this chain for another message.
                    let other = (number + 1) % size;
                    judge(digests, &bundles[other]).expect_err("by the chain of another");
                    judge(&parts[other], bundle).expect_err("another message by this chain");
                }
                if let (Some(foreign), true) = (&foreign, bundle.hash_chain.is_some()) {
                    // Chain, or chain and result, of another batch; and the signature of another batch.
                    let chain = foreign.hash_chain.clone();
                    let result = foreign.hash_chain_result.clone();
                    judge(digests, &SignatureBundle { hash_chain: chain.clone(), ..bundle.clone() })
                        .expect_err("by a foreign chain");
                    judge(
                        digests,
                        &SignatureBundle {
                            hash_chain: chain,
                            hash_chain_result: result.clone(),
                            ..bundle.clone()
                        },
                    )
                    .expect_err("by a foreign chain and result");
                    judge(digests, &SignatureBundle { hash_chain_result: result, ..bundle.clone() })
                        .expect_err("by a foreign result");
                    let signature_xml = foreign.signature_xml.clone();
                    judge(digests, &SignatureBundle { signature_xml, ..bundle.clone() })
                        .expect_err("by a foreign signature");
                }
            }
            foreign = bundles.into_iter().rev().find(|bundle| bundle.hash_chain.is_some()).or(foreign);
        }
        assert_eq!(judged, 130 * 131 / 2);
    }
}
