//! Keys in another process: what comes over the socket is what the keys would have signed; strangers, broken frames and a
//! signer that is away are met with an error, never with a wait without end.

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use cert_authority::algorithm::SignatureAlgorithm;
    use cert_authority::clock::{Clock as _, SystemClock};
    use cert_authority::crypto::EcdsaForm;
    use cert_authority::durable;
    use cert_authority::error::KeyError;
    use cert_authority::keys::inventory::Usage;
    use cert_authority::keys::remote::{RemoteSigner, Vault, serve};
    use cert_authority::keys::software::SoftwareKeys;
    use cert_authority::keys::{KeyId, KeyType, Pin, Signer};
    use cert_authority::tlog::{NoteSigner, SignatureType};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A signer with a key for each usage that it may have.
    struct World {
        folder: TempDir,
        sign: KeyId,
        checkpoint: KeyId,
        running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            durable::write_secret(folder.path().join("pin"), b"1234").unwrap();
            let keys = SoftwareKeys::open(folder.path().join("keys"), &Pin::new("1234")).unwrap();
            let make =
                |kind, usage| keys.create(kind, usage, "test", Some("EE/GOV/1"), SystemClock.now()).unwrap();
            let sign = make(KeyType::EcP256, Usage::Sign);
            let checkpoint = make(KeyType::Ed25519, Usage::Checkpoint);
            Self { folder, sign, checkpoint, running: None }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn vault(&self) -> Result<Vault, KeyError> {
            Vault::open(self.path("keys"), self.path("pin"))
        }

        fn start_for(&mut self, callers: Vec<u32>) {
            let vault = Arc::new(self.vault().unwrap());
            let _ = std::fs::remove_file(self.path("socket"));
            let listener = UnixListener::bind(self.path("socket")).unwrap();
            let (stop, stopped) = oneshot::channel();
            let task = tokio::spawn(serve(listener, vault, callers, async move {
                let _ = stopped.await;
            }));
            self.running = Some((stop, task));
        }

        fn start(&mut self) {
            self.start_for(vec![rustix::process::geteuid().as_raw()]);
        }

        /// Stops it as a crash would: every connection breaks, the socket stays behind.
        async fn stop(&mut self) {
            let (stop, task) = self.running.take().unwrap();
            stop.send(()).unwrap();
            task.await.unwrap();
        }

        async fn connect(&self) -> Result<RemoteSigner, KeyError> {
            RemoteSigner::connect(self.path("socket"), LIMIT).await
        }

        /// What the signer sends back to these bytes, until it hangs up.
        async fn answer_to(&self, bytes: &[u8]) -> Vec<u8> {
            let mut stream = UnixStream::connect(self.path("socket")).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
            answer
        }
    }

    async fn signs(signer: &RemoteSigner, key: &KeyId, text: &[u8]) {
        let signature = signer.sign(key, SignatureAlgorithm::EcdsaSha256, text).await.unwrap();
        let public = signer.public_key(key).unwrap();
        public.verify(SignatureAlgorithm::EcdsaSha256, EcdsaForm::Der, text, &signature).unwrap();
    }

    #[tokio::test]
    async fn it_tells_its_keys_and_signs_with_them_for_many_at_once() {
        let mut world = World::new();
        world.start();
        let signer = Arc::new(world.connect().await.unwrap());
        let entries = signer.entries();
        let usages: Vec<Usage> = entries.iter().map(|entry| entry.key.usage).collect();
        assert!(usages.len() == 2 && usages.contains(&Usage::Sign) && usages.contains(&Usage::Checkpoint));
        assert!(entries.iter().all(|entry| entry.key.member.as_deref() == Some("EE/GOV/1")));
        let tasks: Vec<_> = (0..40_u8)
            .map(|n| {
                let (signer, key) = (Arc::clone(&signer), world.sign.clone());
                tokio::spawn(async move { signs(&signer, &key, &[n; 300]).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn checkpoints_are_signed_through_it() {
        let mut world = World::new();
        world.start();
        let signer: Arc<dyn Signer> = Arc::new(world.connect().await.unwrap());
        let name = "gateway.example";
        for kind in [SignatureType::Ed25519, SignatureType::Cosignature] {
            let notes = NoteSigner::new(name, kind, world.checkpoint.clone(), Arc::clone(&signer)).unwrap();
            let text = format!("{name}\n1\n{}\n", "A".repeat(43) + "=");
            let signature = notes.sign(&text, SystemClock.now()).await.unwrap();
            notes.verifier().verify(&text, &signature).unwrap();
        }
    }

    #[tokio::test]
    async fn a_key_that_comes_is_known_after_asking_again() {
        let mut world = World::new();
        world.start();
        let signer = world.connect().await.unwrap();
        assert!(!signer.refresh().await.unwrap());
        let keys = SoftwareKeys::open(world.path("keys"), &Pin::new("1234")).unwrap();
        let new = keys.create(KeyType::EcP256, Usage::Sign, "", None, SystemClock.now()).unwrap();
        assert_eq!(signer.public_key(&new), Err(KeyError::NotFound(new.clone())));
        assert!(signer.refresh().await.unwrap());
        signs(&signer, &new, b"with the new key").await;
    }

    #[tokio::test]
    async fn what_a_key_cannot_do_and_a_key_that_is_not_there_are_refused() {
        let mut world = World::new();
        world.start();
        let signer = world.connect().await.unwrap();
        let refused = signer.sign(&world.sign, SignatureAlgorithm::RsaPssSha256, b"x").await;
        assert!(matches!(refused, Err(KeyError::Unsupported(_))), "{refused:?}");
        let strange: KeyId = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let absent = signer.sign(&strange, SignatureAlgorithm::EcdsaSha256, b"x").await;
        assert_eq!(absent, Err(KeyError::NotFound(strange)));
        // Longer than what is ever signed.
        let long = signer.sign(&world.sign, SignatureAlgorithm::EcdsaSha256, &vec![0; 70_000]).await;
        assert!(matches!(long, Err(KeyError::Unsupported(_))), "{long:?}");
        signs(&signer, &world.sign, b"small").await;
    }

    #[tokio::test]
    async fn a_signer_that_was_restarted_is_found_again() {
        let mut world = World::new();
        world.start();
        let signer = Arc::new(world.connect().await.unwrap());
        signs(&signer, &world.sign, b"before").await;
        world.stop().await;
        // Asked for while nobody listens, made by the signer that comes.
        let (asking, key) = (Arc::clone(&signer), world.sign.clone());
        let meanwhile = tokio::spawn(async move { signs(&asking, &key, b"meanwhile").await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!meanwhile.is_finished());
        world.start();
        meanwhile.await.unwrap();
        signs(&signer, &world.sign, b"after").await;
    }

    #[tokio::test]
    async fn while_a_signer_is_away_signatures_fail_soon_and_then_at_once() {
        let mut world = World::new();
        world.start();
        let signer = world.connect().await.unwrap();
        world.stop().await;
        let away = signer.sign(&world.sign, SignatureAlgorithm::EcdsaSha256, b"x").await;
        assert!(matches!(away, Err(KeyError::Signer(_))), "{away:?}");
        let begun = Instant::now();
        for _ in 0..100 {
            assert!(matches!(signer.refresh().await, Err(KeyError::Signer(_))));
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "100 times: {:?}", begun.elapsed());
        assert_eq!(signer.entries().len(), 2, "what was known stays known");
        world.start();
        signs(&signer, &world.sign, b"after").await;
    }

    #[tokio::test]
    async fn a_signature_that_was_not_waited_for_is_not_taken_for_another() {
        let mut world = World::new();
        world.start();
        let signer = world.connect().await.unwrap();
        for n in 0..200_u8 {
            let text = [n; 100];
            let sign = signer.sign(&world.sign, SignatureAlgorithm::EcdsaSha256, &text);
            // Given up at the first wait: the question has left, its answer comes.
            let _ = futures_util::FutureExt::now_or_never(sign);
            signs(&signer, &world.sign, &[n; 101]).await;
        }
    }

    #[tokio::test]
    async fn a_signer_that_does_not_answer_is_waited_for_no_longer_than_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _silent = UnixListener::bind(&socket).unwrap();
        let begun = Instant::now();
        let limit = Duration::from_millis(200);
        let late = RemoteSigner::connect(&socket, limit).await.err();
        assert!(matches!(late, Some(KeyError::Signer(_))), "{late:?}");
        assert!(begun.elapsed() >= limit, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn strangers_are_hung_up_on_without_a_word() {
        let mut world = World::new();
        let somebody_else = rustix::process::geteuid().as_raw() + 1;
        world.start_for(vec![somebody_else]);
        let refused = world.connect().await.err();
        assert!(matches!(refused, Some(KeyError::Signer(_))), "{refused:?}");
        let mut stream = UnixStream::connect(world.path("socket")).await.unwrap();
        let mut answer = Vec::new();
        // The connection may be reset, for what was sent was never read.
        let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty(), "{answer:?}");
    }

    #[tokio::test]
    async fn frames_that_are_too_long_or_of_no_form_end_the_connection_and_nothing_else() {
        let mut world = World::new();
        world.start();
        let signer = world.connect().await.unwrap();
        let framed = |body: &[u8]| {
            let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
            frame.extend_from_slice(body);
            frame
        };
        // Lengths that are never read are hung up on at once.
        for length in [64 * 1024 + 1, u32::MAX] {
            assert_eq!(world.answer_to(&length.to_be_bytes()).await, b"", "{length}");
        }
        // What is no request is told so, and is the last.
        for body in [&b""[..], b"\x00", b"\x01\x00", b"\x02", &[2; 20], &[0xff; 1000]] {
            let answer = world.answer_to(&framed(body)).await;
            assert_eq!(answer.get(4..6), Some(&[2_u8, 4][..]), "{body:?}: {answer:?}");
        }
        signs(&signer, &world.sign, b"nobody else has noticed").await;
    }

    #[tokio::test]
    async fn what_is_signed_may_be_as_long_as_a_request_and_no_byte_longer() {
        let mut world = World::new();
        world.start();
        let signer = world.connect().await.unwrap();
        // Behind the kind of the request, the key and the algorithm.
        let longest = vec![7; 64 * 1024 - 22];
        signs(&signer, &world.sign, &longest).await;
        let longer = vec![7; longest.len() + 1];
        let refused = signer.sign(&world.sign, SignatureAlgorithm::EcdsaSha256, &longer).await;
        assert!(matches!(refused, Err(KeyError::Unsupported(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn connections_beyond_the_most_wait_until_one_ends() {
        const MOST: usize = 64;
        let mut world = World::new();
        world.start();
        let mut held = Vec::new();
        for _ in 0..MOST - 1 {
            held.push(UnixStream::connect(world.path("socket")).await.unwrap());
        }
        let the_last = world.connect().await.unwrap();
        let soon = Duration::from_millis(300);
        let beyond = RemoteSigner::connect(world.path("socket"), soon).await.err();
        assert!(matches!(beyond, Some(KeyError::Signer(_))), "{beyond:?}");
        held.pop();
        signs(&world.connect().await.unwrap(), &world.sign, b"in its place").await;
        signs(&the_last, &world.sign, b"meanwhile").await;
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_hung_up_on() {
        let mut world = World::new();
        world.start();
        for begun in [&b"\0"[..], b"\0\0\0\x02\x01"] {
            assert_eq!(world.answer_to(begun).await, b"");
        }
    }

    #[test]
    fn a_wrong_pin_keys_open_to_others_and_keys_for_tls_are_refused() {
        let world = World::new();
        durable::write_secret(world.path("pin"), b"4321").unwrap();
        assert_eq!(world.vault().err(), Some(KeyError::WrongPin));
        durable::write_secret(world.path("pin"), b"1234").unwrap();
        let open = |mode| std::fs::set_permissions(world.path("pin"), std::fs::Permissions::from_mode(mode));
        open(0o640).unwrap();
        assert!(matches!(world.vault().err(), Some(KeyError::Permissions { .. })));
        open(0o600).unwrap();
        assert!(world.vault().is_ok());
        let keys = SoftwareKeys::open(world.path("keys"), &Pin::new("1234")).unwrap();
        keys.create(KeyType::EcP256, Usage::Auth, "", None, SystemClock.now()).unwrap();
        assert!(matches!(world.vault().err(), Some(KeyError::Unsupported(_))));
    }
}
