//! Many exchanges at once: messages share signatures, and every one of them is evidence by itself on both sides.

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;
    use std::io::Cursor;
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;

    use gateway::audit::verify::{Grounds, verify};
    use gateway::evidence::asic::verify_container;
    use gateway::messagelog::MessageRecord;
    use gateway::messagelog::reader::{Filter, Order, StoredRecord};
    use gateway::metaservice::container::LoggedContainer;
    use integration::world::{Ask, Node, RECORDS, Wishes, World, soon};

    const AT_ONCE: usize = 48;

    /// Exchanges with and without bodies, all at once; their ids.
    async fn many(world: &Arc<World>, round: usize) -> Vec<String> {
        let asks: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let id = format!("batch-{round}-{number}");
                let path = format!("{RECORDS}/{number}");
                let ask = if number % 2 == 0 { Ask::get(&path) } else { Ask::post(&path, id.clone()) };
                let world = Arc::clone(world);
                tokio::spawn(async move {
                    let reply = world.ask(&ask.id(&id)).await;
                    assert_eq!((reply.status, reply.error()), (200, None), "{id}: {}", reply.text());
                    id
                })
            })
            .collect();
        let mut ids = Vec::new();
        for ask in asks {
            ids.push(ask.await.unwrap());
        }
        ids
    }

    fn message(stored: &StoredRecord) -> Option<&MessageRecord> {
        stored.record.message()
    }

    /// The messages of a log that its own organisation has signed, by their signature.
    fn signed_by(node: &Node, log: &Node) -> HashMap<Vec<u8>, Vec<StoredRecord>> {
        let mut batches = HashMap::<Vec<u8>, Vec<StoredRecord>>::new();
        let records = log.log().find(&Filter::default(), Order::OldestFirst, None, 100_000).unwrap();
        for stored in records {
            let Some(message) = message(&stored) else { continue };
            let sender = match stored.record.kind() {
                gateway::messagelog::record::Kind::Request => message.client.member(),
                _ => message.service.client().member(),
            };
            if *sender == node.id() {
                batches.entry(message.signature.to_vec()).or_default().push(stored);
            }
        }
        batches
    }

    fn largest(node: &Node, log: &Node) -> usize {
        signed_by(node, log).values().map(Vec::len).max().unwrap_or_default()
    }

    fn judge(command: &mut Command) -> Result<String, String> {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr))),
        }
    }

    /// The container of a message of a batch: complete by itself, for us and for xmlsec1 and signxml, which notice when
    /// the hash chain result is not the one that was signed.
    fn judge_container(holder: &Node, signer: &Node, sequence: u64) {
        let container = LoggedContainer::open(&holder.log(), sequence).unwrap();
        let bytes = container.write(Cursor::new(Vec::new())).unwrap().into_inner();
        let report = verify_container(&bytes, &holder.conf()).unwrap();
        assert!(report.valid, "{report:?}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("container.asice");
        let certificate = folder.path().join("signer.pem");
        put(&file, &bytes);
        put(&certificate, signer.sign.certificate.to_pem().as_bytes());
        judge(Command::new("unzip").arg("-q").arg(&file).arg("-d").arg(folder.path())).unwrap();
        let result = folder.path().join("sig-hashchainresult.xml");
        let xmlsec1 = || {
            judge(
                Command::new("xmlsec1")
                    .args(["--verify", "--insecure", "--enabled-key-data", "x509"])
                    .args(["--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties"])
                    .arg("--url-map:/sig-hashchainresult.xml")
                    .arg(&result)
                    .arg(folder.path().join("META-INF/signatures.xml")),
            )
        };
        xmlsec1().unwrap();
        let python = std::env::var_os("PASSERELLE_PYTHON").unwrap_or_else(|| {
            panic!("PASSERELLE_PYTHON must name a Python that has signxml: run integration/test.sh")
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges/container.py");
        judge(Command::new(python).arg(script).arg(&file).arg(&certificate)).unwrap();
        let signed = fs::read_to_string(&result).unwrap();
        put(&result, signed.replacen("STEP0", "STEP1", 1).as_bytes());
        xmlsec1().unwrap_err();
    }

    #[expect(clippy::disallowed_methods, reason = "a directory of this test")]
    fn put(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn exchanges_at_once_share_signatures_and_both_logs_verify_message_by_message() {
        let world = Arc::new(World::start().await);
        let mut ids = Vec::new();
        // How many are ready at the same time is the machine's to decide; in a few rounds some are.
        for round in 0..20 {
            ids.extend(many(&world, round).await);
            let batches = [&world.consumer, &world.provider].map(|node| largest(node, node));
            println!("round {round}: most messages under one signature, by side: {batches:?}");
            if batches.iter().all(|most| *most > 2) {
                break;
            }
        }
        for id in &ids {
            for node in [&world.consumer, &world.provider] {
                assert_eq!(node.trace(id), ["request", "response"], "{id}");
                node.verifies(id);
            }
        }
        let stamped = |node: &Node| {
            let mut all = signed_by(node, node).into_values().flatten();
            all.all(|stored| node.timestamp_of(stored.sequence).is_some())
        };
        soon("everything is stamped", || stamped(&world.consumer) && stamped(&world.provider)).await;
        for (holder, signer) in [
            (&world.consumer, &world.consumer),
            (&world.provider, &world.provider),
            (&world.consumer, &world.provider),
            (&world.provider, &world.consumer),
        ] {
            let batches = signed_by(signer, holder);
            let batch = batches.values().max_by_key(|batch| batch.len()).unwrap();
            assert!(batch.len() > 2, "no batch was made: {}", batch.len());
            for stored in [batch.first(), batch.last()].into_iter().flatten() {
                judge_container(holder, signer, stored.sequence);
            }
        }

        let mut world = Arc::into_inner(world).unwrap();
        world.stop().await;
        for node in [&world.consumer, &world.provider] {
            let conf = node.conf();
            let grounds = Grounds { conf: Some(&conf), ..Grounds::default() };
            let report = verify(&node.folder.join("log"), grounds, &mut |_| ()).unwrap();
            assert_eq!(report.problems, []);
            assert_eq!(report.signatures, u64::try_from(ids.len() * 2).unwrap());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_batches_are_off_no_two_messages_share_a_signature() {
        let off = vec![("[timestamping]\n", "[signing]\nbatch = false\n\n[timestamping]\n".to_owned())];
        let world = Arc::new(World::wish(Wishes { consumer: off.clone(), provider: off }).await);
        for round in 0..3 {
            many(&world, round).await;
        }
        for node in [&world.consumer, &world.provider] {
            assert_eq!(largest(node, node), 1);
        }
        Arc::into_inner(world).unwrap().stop().await;
    }
}
