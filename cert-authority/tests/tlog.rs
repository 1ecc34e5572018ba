//! A log, a witness with its own key and folder, and openssl as the judge of what they sign.
//!
//! ```text
//!   Log (leaves in memory) ── add-checkpoint ──► Witness ── one file a log ──► disk
//! ```

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, fs, path::PathBuf, sync::Arc, time::Duration};

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use cert_authority::{
        clock::{Clock, FixedClock},
        durable,
        http::{Client, Limits},
        keys::{KeyType, Pin, inventory::Usage, software::SoftwareKeys},
        tlog::{
            Checkpoint, Hash, InclusionProof, Note, NoteSigner, Signature, SignatureType, Trust, VerifierKey,
            door,
            inclusion::InclusionError,
            note::NoteError,
            proof::{self, HashReader, ProofError, leaf_hash, node_hash},
            witness::{
                AddCheckpoint, KnownLog, Refusal, Witness, WitnessError, origin_hash, read_cosignature,
            },
        },
    };

    use proptest::prelude::*;

    use crate::support::{PIN, now, openssl_ok, text};

    const ORIGIN: &str = "gateway.example/log";
    const WITNESS: &str = "witness.example/w1";

    struct World {
        dir: tempfile::TempDir,
        keys: Arc<SoftwareKeys>,
        log: NoteSigner,
        cosigner: NoteSigner,
        clock: FixedClock,
    }

    struct Leaves(Vec<Hash>);

    impl HashReader for Leaves {
        type Error = Infallible;

        fn hash(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
            if level == 0 {
                return Ok(self.0[usize::try_from(index).unwrap()]);
            }
            Ok(node_hash(&self.hash(level - 1, 2 * index)?, &self.hash(level - 1, 2 * index + 1)?))
        }
    }

    fn leaves(count: u64, salt: u8) -> Leaves {
        Leaves((0..count).map(|i| leaf_hash(&[i.to_be_bytes().as_slice(), &[salt]].concat())).collect())
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let keys = Arc::new(SoftwareKeys::open(dir.path().join("keys"), &Pin::new(PIN)).unwrap());
            let signer = |name, kind, usage| {
                let id = keys.create(KeyType::Ed25519, usage, name, None, now()).unwrap();
                NoteSigner::new(name, kind, id, keys.clone()).unwrap()
            };
            let log = signer(ORIGIN, SignatureType::Ed25519, Usage::Checkpoint);
            let cosigner = signer(WITNESS, SignatureType::Cosignature, Usage::Witness);
            Self { dir, log, cosigner, clock: FixedClock::new(now()), keys }
        }

        fn directory(&self) -> PathBuf {
            self.dir.path().join("witness")
        }

        fn witness(&self) -> Result<Witness, WitnessError> {
            let known = KnownLog { origin: ORIGIN.into(), keys: vec![self.log.verifier().clone()] };
            let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
            Witness::open(self.cosigner.clone(), &self.directory(), vec![known], clock)
        }

        async fn note(&self, checkpoint: &Checkpoint) -> Note {
            let signature = self.log.sign(&checkpoint.to_string(), now()).await.unwrap();
            Note::new(checkpoint.to_string(), vec![signature]).unwrap()
        }

        /// The request for the first `size` of these leaves after `old` of them were cosigned.
        async fn request(&self, leaves: &Leaves, old: u64, size: u64) -> AddCheckpoint {
            let root = proof::root(leaves, size).unwrap();
            let note = self.note(&Checkpoint::new(ORIGIN, size, root).unwrap()).await;
            AddCheckpoint { old, proof: proof::consistency(leaves, old, size).unwrap().unwrap(), note }
        }
    }

    async fn ask(witness: &Witness, request: &AddCheckpoint) -> Result<String, Refusal> {
        witness.add_checkpoint(request.to_string().as_bytes()).await
    }

    #[tokio::test]
    async fn what_goes_on_is_cosigned_and_remembered_over_a_restart() {
        let world = World::new();
        let tree = leaves(100, 0);
        let mut witness = world.witness().unwrap();
        assert_eq!(witness.last_of(&origin_hash(ORIGIN)).await, None);
        let mut old = 0;
        for size in [0, 1, 7, 7, 64, 100] {
            world.clock.advance(Duration::from_secs(1));
            let request = world.request(&tree, old, size).await;
            let answer = ask(&witness, &request).await.unwrap();
            let key = world.cosigner.verifier();
            let cosignature = read_cosignature(answer.as_bytes(), request.note.text(), key).unwrap();
            let (seconds, _) = cosignature.timestamped().unwrap();
            assert_eq!(i64::try_from(seconds).unwrap(), world.clock.now().as_secs());
            // What it shows carries both signatures, before and after a restart.
            for _ in 0..2 {
                let shown = witness.last_of(&origin_hash(ORIGIN)).await.unwrap();
                let shown = Note::parse(shown.as_bytes()).unwrap();
                assert_eq!(shown.text(), request.note.text());
                assert_eq!(shown.verify([world.log.verifier(), key]).unwrap().len(), 2);
                witness = world.witness().unwrap();
            }
            old = size;
        }
    }

    #[tokio::test]
    async fn a_rolled_back_log_and_a_fork_are_refused_also_after_a_restart() {
        let world = World::new();
        let (tree, fork) = (leaves(50, 0), leaves(60, 1));
        for restarted in [false, true] {
            let witness = world.witness().unwrap();
            if !restarted {
                ask(&witness, &world.request(&tree, 0, 40).await).await.unwrap();
            }
            // Back to 30: whatever it says came before.
            let mut back = world.request(&tree, 30, 30).await;
            assert_eq!(ask(&witness, &back).await, Err(Refusal::Conflict(40)));
            back.old = 40;
            assert!(matches!(ask(&witness, &back).await, Err(Refusal::Malformed(_))));
            back.old = 0;
            assert_eq!(ask(&witness, &back).await, Err(Refusal::Conflict(40)));
            // Another history of the same length, and a longer one.
            let forked = world.request(&fork, 40, 40).await;
            assert_eq!(ask(&witness, &forked).await, Err(Refusal::Inconsistent));
            let forked = world.request(&fork, 40, 60).await;
            assert_eq!(ask(&witness, &forked).await, Err(Refusal::Inconsistent));
            let shown = witness.last_of(&origin_hash(ORIGIN)).await.unwrap();
            assert!(shown.starts_with(&format!("{ORIGIN}\n40\n")), "{shown}");
        }
        // What is right is still cosigned.
        ask(&world.witness().unwrap(), &world.request(&tree, 40, 50).await).await.unwrap();
    }

    #[tokio::test]
    async fn every_other_bad_request_has_its_refusal_and_changes_nothing() {
        let world = World::new();
        let tree = leaves(20, 0);
        let witness = world.witness().unwrap();
        ask(&witness, &world.request(&tree, 0, 10).await).await.unwrap();
        let good = world.request(&tree, 10, 20).await;
        let text = good.to_string();

        let root = proof::root(&tree, 20).unwrap();
        let other = Checkpoint::new("other.example/log", 20, root).unwrap();
        let foreign = AddCheckpoint { note: world.note(&other).await, ..good.clone() };
        assert_eq!(ask(&witness, &foreign).await, Err(Refusal::UnknownOrigin));

        let stranger = world.keys.create(KeyType::Ed25519, Usage::Checkpoint, "", None, now()).unwrap();
        let stranger = NoteSigner::new(ORIGIN, SignatureType::Ed25519, stranger, world.keys.clone()).unwrap();
        let signature = stranger.sign(good.note.text(), now()).await.unwrap();
        let strange = Note::new(good.note.text(), vec![signature.clone()]).unwrap();
        let strange = AddCheckpoint { note: strange, ..good.clone() };
        assert_eq!(ask(&witness, &strange).await, Err(Refusal::Unsigned), "signed by somebody else");
        let changed = text.replace("\n20\n", "\n21\n");
        assert_eq!(witness.add_checkpoint(changed.as_bytes()).await, Err(Refusal::Unsigned));

        let mut long = good.clone();
        long.proof.push([0; 32]);
        assert_eq!(ask(&witness, &long).await, Err(Refusal::Inconsistent));
        long.proof.clear();
        assert_eq!(ask(&witness, &long).await, Err(Refusal::Inconsistent));
        let empty = Checkpoint::new(ORIGIN, 0, [9; 32]).unwrap();
        let empty = AddCheckpoint { old: 0, proof: Vec::new(), note: world.note(&empty).await };
        let fresh = tempfile::tempdir().unwrap();
        let known = KnownLog { origin: ORIGIN.into(), keys: vec![world.log.verifier().clone()] };
        let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
        let new = Witness::open(world.cosigner.clone(), fresh.path(), vec![known], clock).unwrap();
        assert_eq!(ask(&new, &empty).await, Err(Refusal::Inconsistent), "an empty tree with leaves");
        let first = AddCheckpoint { old: 0, proof: vec![[1; 32]], ..world.request(&tree, 0, 20).await };
        assert_eq!(ask(&new, &first).await, Err(Refusal::Inconsistent), "a proof from nothing");

        for bad in [
            String::new(),
            "\n\n".to_owned(),
            text.replace("old 10", "old 010"),
            text.replace("old 10", "old"),
            text.replace("old 10", "new 10"),
            text.replace("old 10", "old -1"),
            text.replacen("old 10\n", "old 10\n\n", 1),
            text.replacen("old 10\n", "old 10\nAAAA\n", 1),
            text.replacen("old 10\n", &format!("old 10\n{}", format!("{}=\n", "A".repeat(43)).repeat(64)), 1),
            text.replace("\u{2014} ", "- "),
            text.trim_end().to_owned(),
        ] {
            let refused = witness.add_checkpoint(bad.as_bytes()).await;
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{bad:.80}: {refused:?}");
        }
        // Signatures by strangers beside ours do not matter, and are not kept.
        let mut with_stranger = good.clone();
        with_stranger.note.add(signature);
        ask(&witness, &with_stranger).await.unwrap();
        let shown = witness.last_of(&origin_hash(ORIGIN)).await.unwrap();
        assert_eq!(Note::parse(shown.as_bytes()).unwrap().signatures().len(), 2);
    }

    #[tokio::test]
    async fn of_many_at_once_no_two_are_cosigned_from_the_same_state() {
        let world = World::new();
        let tree = leaves(40, 0);
        let witness = Arc::new(world.witness().unwrap());
        let mut asked = tokio::task::JoinSet::new();
        for size in 1..=40 {
            let (witness, request) = (Arc::clone(&witness), world.request(&tree, 0, size).await);
            asked.spawn(async move { ask(&witness, &request).await });
        }
        let answers = asked.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the directory is taken away, not written")]
    async fn what_cannot_be_kept_is_not_cosigned_and_what_was_kept_is_not_forgotten() {
        let world = World::new();
        let tree = leaves(20, 0);
        let witness = world.witness().unwrap();
        ask(&witness, &world.request(&tree, 0, 5).await).await.unwrap();
        let moved = world.dir.path().join("elsewhere");
        fs::rename(world.directory(), &moved).unwrap();
        let request = world.request(&tree, 5, 10).await;
        assert!(matches!(ask(&witness, &request).await, Err(Refusal::Failed(_))));
        fs::rename(&moved, world.directory()).unwrap();
        ask(&witness, &request).await.unwrap();

        let file = world.directory().join(origin_hash(ORIGIN));
        let whole = fs::read_to_string(&file).unwrap();
        for damaged in
            ["", "x", &whole[..40], &whole.replace("\n10\n", "\n9\n"), &whole.replace(ORIGIN, "other")]
        {
            durable::write(&file, damaged.as_bytes()).unwrap();
            assert!(matches!(world.witness(), Err(WitnessError::Damaged { .. })), "{damaged:.30}");
        }
        durable::write(&file, whole.as_bytes()).unwrap();
        assert!(world.witness().is_ok());
    }

    #[tokio::test]
    async fn openssl_agrees_with_the_signature_of_the_log_and_of_the_witness() {
        let world = World::new();
        let tree = leaves(9, 0);
        let request = world.request(&tree, 0, 9).await;
        let answer = ask(&world.witness().unwrap(), &request).await.unwrap();
        let path = |name: &str| world.dir.path().join(name);
        let judge = |key: &VerifierKey, message: &str, signature: &[u8]| {
            let encoded = key.to_string().splitn(3, '+').nth(2).unwrap().to_owned();
            let key = STANDARD.decode(encoded).unwrap();
            let head = hex::decode("302a300506032b6570032100").unwrap();
            durable::write(path("key.der"), &[head.as_slice(), &key[1..]].concat()).unwrap();
            durable::write(path("message"), message.as_bytes()).unwrap();
            durable::write(path("signature"), signature).unwrap();
            let (key, message, signature) = (path("key.der"), path("message"), path("signature"));
            let fixed = ["pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", text(&key)];
            openssl_ok(fixed.into_iter().chain(["-in", text(&message), "-sigfile", text(&signature)]));
        };
        let bytes = |line: &str| {
            let encoded = line.rsplit(' ').next().unwrap();
            STANDARD.decode(encoded).unwrap()
        };
        let line = request.note.to_string().lines().last().unwrap().to_owned();
        judge(world.log.verifier(), request.note.text(), &bytes(&line)[4..]);
        let cosignature = bytes(answer.trim_end());
        let message = format!("cosignature/v1\ntime {}\n{}", now().as_secs(), request.note.text());
        judge(world.cosigner.verifier(), &message, &cosignature[12..]);
    }

    #[tokio::test]
    async fn a_cosignature_of_another_text_or_by_another_witness_is_not_taken() {
        let world = World::new();
        let tree = leaves(9, 0);
        let request = world.request(&tree, 0, 9).await;
        let answer = ask(&world.witness().unwrap(), &request).await.unwrap();
        let key = world.cosigner.verifier();
        let other = world.request(&tree, 0, 8).await;
        let read = |answer: &str, text: &str, key| read_cosignature(answer.as_bytes(), text, key);
        assert!(matches!(read(&answer, other.note.text(), key), Err(NoteError::BadSignature(_))));
        assert_eq!(read(&answer, request.note.text(), world.log.verifier()), Err(NoteError::Unsigned));
        for bad in ["", "\n", "nothing\n", answer.trim_end()] {
            assert!(read(bad, request.note.text(), key).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_proof_that_stands_by_itself_convinces_only_whom_it_should() {
        let world = World::new();
        let tree = leaves(20, 0);
        let mut note = world.request(&tree, 0, 20).await.note;
        let content = [7_u64.to_be_bytes().as_slice(), &[0]].concat();
        let path = proof::inclusion(&tree, 7, 20).unwrap().unwrap();
        let answer = ask(&world.witness().unwrap(), &world.request(&tree, 0, 20).await).await.unwrap();
        let key = world.cosigner.verifier();
        note.add(read_cosignature(answer.as_bytes(), note.text(), key).unwrap());
        let proof = InclusionProof { index: 7, path, note };
        let text = proof.to_string();
        let trust = Trust {
            origin: ORIGIN.into(),
            log: vec![world.log.verifier().clone()],
            witnesses: vec![key.clone()],
            quorum: 1,
        };
        assert_eq!(InclusionProof::parse(&text), Ok(proof.clone()));
        assert_eq!(proof.verify(&content, &trust).unwrap().size(), 20);
        let extra = InclusionProof::parse(&text.replace("index 7", "extra AAAA\nindex 7")).unwrap();
        assert!(extra.verify(&content, &trust).is_ok());
        assert_eq!(proof.verify(b"other", &trust), Err(ProofError::Invalid.into()));
        let moved = InclusionProof { index: 6, ..proof.clone() };
        assert_eq!(moved.verify(&content, &trust), Err(ProofError::Invalid.into()));
        let other = Trust { origin: "other".into(), ..trust.clone() };
        assert!(matches!(proof.verify(&content, &other), Err(InclusionError::Checkpoint(_))));
        let strict = Trust { quorum: 2, ..trust.clone() };
        let refused = proof.verify(&content, &strict);
        assert_eq!(refused, Err(InclusionError::Quorum { found: 1, needed: 2 }));
        let nobody = Trust { log: Vec::new(), ..trust.clone() };
        assert!(matches!(proof.verify(&content, &nobody), Err(InclusionError::Checkpoint(_))));
        for bad in [
            String::new(),
            text.replace("@v1", "@v2"),
            text.replace("index 7", "index 07"),
            text.replace("index 7", "index"),
            text.replace("index 7", "extra !\nindex 7"),
            text.replace("index 7\n", "index 7\nAAAA\n"),
            text.replace("\n\n", "\n"),
            text.trim_end().to_owned(),
            text.replace("index 7\n", &format!("index 7\n{}", format!("{}=\n", "A".repeat(43)).repeat(64))),
        ] {
            assert!(InclusionProof::parse(&bad).is_err(), "{bad:.60}");
        }
    }

    #[tokio::test]
    async fn the_door_speaks_the_protocol_of_witnesses() {
        let world = World::new();
        let tree = leaves(30, 0);
        let witness = Arc::new(world.witness().unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(door::run(listener, witness, std::future::pending()));
        let limits =
            Limits { max_bytes: 1 << 20, connect: Duration::from_secs(5), total: Duration::from_secs(10) };
        let client = Client::new();
        let add = format!("{url}/add-checkpoint");
        let post =
            async |body: String| client.post(&add, "text/plain", Bytes::from(body), limits).await.unwrap();
        let monitor = format!("{url}/{}/checkpoint", origin_hash(ORIGIN));
        assert_eq!(client.get(&monitor, limits).await.unwrap().status, 404);
        let request = world.request(&tree, 0, 12).await;
        let answer = post(request.to_string()).await;
        assert_eq!(answer.status, 200);
        let key = world.cosigner.verifier();
        read_cosignature(&answer.body, request.note.text(), key).unwrap();
        let shown = client.get(&monitor, limits).await.unwrap();
        assert_eq!(shown.status, 200);
        assert_eq!(Note::parse(&shown.body).unwrap().text(), request.note.text());
        let conflict = post(world.request(&tree, 0, 13).await.to_string()).await;
        assert_eq!((conflict.status.as_u16(), &conflict.body[..]), (409, &b"12\n"[..]));
        assert_eq!(conflict.headers["content-type"], "text/x.tlog.size");
        let forked = world.request(&leaves(30, 1), 12, 30).await;
        assert_eq!(post(forked.to_string()).await.status, 422);
        let unsigned = request.to_string().replace("\n12\n", "\n13\n");
        assert_eq!(post(unsigned).await.status, 403);
        assert_eq!(post("old 0\n".to_owned()).await.status, 400);
        assert_eq!(post(request.to_string().replace(ORIGIN, "else.example/log")).await.status, 404);
        assert_eq!(post("x".repeat(1 << 19)).await.status, 413);
        assert_eq!(client.get(&add, limits).await.unwrap().status, 405);
        assert_eq!(client.get(&url, limits).await.unwrap().status, 404);
    }
    prop_compose! {
        fn any_note()(
            origin in "[!-~\u{e9}][ -~\u{e9}]{0,30}",
            size in 0..1_u64 << 63,
            root in any::<[u8; 32]>(),
            signatures in prop::collection::vec(("[!-*,-~]{1,20}", prop::collection::vec(any::<u8>(), 5..80)), 1..5),
        ) -> (Checkpoint, Note) {
            let checkpoint = Checkpoint::new(&origin, size, root).unwrap();
            let lines = signatures
                .iter()
                .map(|(name, bytes)| Signature::parse(&format!("\u{2014} {name} {}", STANDARD.encode(bytes))).unwrap());
            let note = Note::new(checkpoint.to_string(), lines.collect()).unwrap();
            (checkpoint, note)
        }
    }

    proptest! {
        #[test]
        fn notes_checkpoints_requests_and_proofs_are_read_as_they_were_written(
            (checkpoint, note) in any_note(),
            old in 0..1_u64 << 63,
            proof in prop::collection::vec(any::<[u8; 32]>(), 0..63),
        ) {
            prop_assert_eq!(&Checkpoint::parse(&checkpoint.to_string()).unwrap(), &checkpoint);
            let text = note.to_string();
            prop_assert_eq!(&Note::parse(text.as_bytes()).unwrap(), &note);
            prop_assert_eq!(Note::parse(text.as_bytes()).unwrap().to_string(), text);
            let request = AddCheckpoint { old, proof: proof.clone(), note: note.clone() };
            prop_assert_eq!(&AddCheckpoint::parse(request.to_string().as_bytes()).unwrap(), &request);
            let inclusion = InclusionProof { index: old, path: proof, note };
            prop_assert_eq!(&InclusionProof::parse(&inclusion.to_string()).unwrap(), &inclusion);
        }
    }
}
