//! The keys that sign are in a process of their own: a whole ecosystem whose gateways have keys for TLS only.
//!
//! ```text
//! consumer ── socket ── signer (sign, witness)          provider ── socket ── signer (sign, checkpoint)
//!     └── cosigns the provider's checkpoints ◄────────────┘
//! ```
//! Not here: strangers, broken frames and wrong PINs (`cert-authority/tests/signer.rs`).

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::Arc;
    use std::time::Duration;

    use cert_authority::clock::{Clock, SystemClock};
    use cert_authority::durable;
    use cert_authority::tlog::witness::origin_hash;
    use cert_authority::tlog::{Checkpoint, Note, VerifierKey};
    use conf::snapshot::GlobalConf;
    use gateway::messagelog::{Config, service};
    use integration::demo::client;
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, ORGANISATIONS, Organisation, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::{Programs, Running};
    use integration::ledger::{Findings, Ledger, Load, compare};
    use integration::memory;
    use tempfile::TempDir;
    use tokio::time::{Instant, sleep, timeout};

    const PATIENCE: Duration = Duration::from_secs(60);
    const SIGNER: &str = "socket = \"signer.sock\"\n\n[hardening]\nconfine = \"required\"\n";
    const ORIGIN: &str = "gateway.example/DEMO/GOV/2002/ss2";

    fn signer_folder(layout: &Layout, side: &Organisation) -> PathBuf {
        layout.folder(side.folder).join("signer")
    }

    /// Moves the keys that sign out of the gateway's folder into that of its signer.
    fn move_keys(layout: &Layout, side: &Organisation) {
        let (from, to) = (layout.folder(side.folder).join("keys"), signer_folder(layout, side).join("keys"));
        fs::create_dir_all(&to).unwrap();
        let files: Vec<PathBuf> = fs::read_dir(&from).unwrap().flatten().map(|entry| entry.path()).collect();
        for description in files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "toml")) {
            if fs::read_to_string(description).unwrap().contains("usage = \"sign\"") {
                for kind in ["key.pem", "cert.pem", "toml"] {
                    let file = description.with_extension(kind);
                    durable::write_secret(to.join(file.file_name().unwrap()), &fs::read(&file).unwrap())
                        .unwrap();
                    fs::remove_file(&file).unwrap();
                }
            }
        }
        durable::write_secret(to.join("pin"), &fs::read(from.join("pin")).unwrap()).unwrap();
        durable::write(signer_folder(layout, side).join("signer.toml"), SIGNER.as_bytes()).unwrap();
        let settings = "[keys]\nsigner = \"signer/signer.sock\"\n\n[signing]\ntimeout = \"3 s\"\n";
        configure(layout, side, |text| format!("{settings}\n{text}"));
    }

    fn configure(layout: &Layout, side: &Organisation, change: impl FnOnce(String) -> String) {
        let path = layout.folder(side.folder).join("gateway.toml");
        let text = change(fs::read_to_string(&path).unwrap());
        durable::write(&path, text.as_bytes()).unwrap();
    }

    fn start_signer(programs: &Programs, layout: &Layout, side: &Organisation) -> Running {
        let folder = signer_folder(layout, side);
        programs.start(&folder, "output.log", "passerelle-signer", &["serve"]).unwrap()
    }

    fn run(programs: &Programs, folder: &Path, program: &str, arguments: &[&str]) -> String {
        programs.run(folder, program, arguments).unwrap().trim().to_owned()
    }

    /// `keys verifier`, once the signer is there to be asked.
    async fn verifier(programs: &Programs, layout: &Layout, side: &Organisation) -> String {
        let socket = signer_folder(layout, side).join("signer.sock");
        let up = async {
            while std::os::unix::net::UnixStream::connect(&socket).is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, up).await.unwrap();
        run(programs, &layout.folder(side.folder), "passerelle-gateway", &["keys", "verifier"])
    }

    /// The private number of a key that signs, read by openssl.
    fn scalar(layout: &Layout, side: &Organisation) -> [u8; 32] {
        let keys = signer_folder(layout, side).join("keys");
        let mut descriptions = fs::read_dir(&keys).unwrap().flatten().map(|entry| entry.path());
        let of_sign = |path: &PathBuf| {
            path.extension().is_some_and(|kind| kind == "toml")
                && fs::read_to_string(path).unwrap().contains("usage = \"sign\"")
        };
        let key = descriptions.find(of_sign).unwrap().with_extension("key.pem");
        let output = Command::new("openssl")
            .args(["pkey", "-outform", "DER", "-passin"])
            .arg(format!("file:{}", keys.join("pin").display()))
            .arg("-in")
            .arg(key)
            .output()
            .unwrap();
        // ECPrivateKey: version 1, then the number.
        let begins = [0x02, 0x01, 0x01, 0x04, 0x20];
        let der = output.stdout;
        let at = der.windows(begins.len()).position(|window| window == begins).unwrap() + begins.len();
        der[at..at + 32].try_into().unwrap()
    }

    async fn ask(layout: &Layout, id: &str) -> client::Reply {
        let path = format!("/r1/{}/records/declarations", PROVIDER.client());
        let client = CONSUMER.client();
        let headers =
            [("X-Road-Client", client.as_str()), ("X-Road-Id", id), ("Content-Type", "application/json")];
        client::send(layout.http(&CONSUMER), "POST", &path, &headers, "{\"declaration\":1}").await.unwrap()
    }

    /// A request that the consumer's signer does not sign.
    async fn is_refused(layout: &Layout, id: &str) {
        let refused = ask(layout, id).await;
        let code = refused.header("x-road-error");
        assert_eq!(code, "server.clientproxy.cannot_create_signature", "{id}: {refused:?}");
    }

    /// One of the consumer's measurements.
    async fn measured(layout: &Layout, name: &str) -> f64 {
        let token = fs::read_to_string(layout.folder(CONSUMER.folder).join("operator.token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let headers = [("Authorization", bearer.as_str())];
        let reply =
            client::send(layout.administration(&CONSUMER), "GET", "/metrics", &headers, "").await.unwrap();
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }

    /// Waits until `/health` says so; gives what else it says.
    async fn health(layout: &Layout, side: &Organisation, well: bool) -> String {
        let since = Instant::now();
        loop {
            let reply = client::send(layout.administration(side), "GET", "/health", &[], "").await.unwrap();
            let told = String::from_utf8_lossy(&reply.body).into_owned();
            if reply.status.is_success() == well {
                return told;
            }
            assert!(since.elapsed() < PATIENCE, "{}: {told}\n{}", side.folder, output(layout, side));
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the witness holds a checkpoint over so many records of the provider; it bears the words of both.
    async fn is_cosigned(layout: &Layout, keys: &[VerifierKey; 2], records: usize) {
        let witness = format!("127.0.0.1:{}", layout.port(35)).parse().unwrap();
        let path = format!("/{}/checkpoint", origin_hash(ORIGIN));
        let since = Instant::now();
        loop {
            let reply = client::send(witness, "GET", &path, &[], "").await.unwrap();
            let told = String::from_utf8_lossy(&reply.body).into_owned();
            if reply.status.is_success() {
                let note = Note::parse(&reply.body).unwrap();
                let sizes = keys.each_ref().map(|key| Checkpoint::open(&note, ORIGIN, [key]).unwrap().size());
                if sizes.iter().all(|size| *size >= u64::try_from(records).unwrap()) {
                    return;
                }
            }
            assert!(since.elapsed() < PATIENCE, "{records} records: {told}\n{}", output(layout, &PROVIDER));
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The end of what a gateway has written.
    fn output(layout: &Layout, side: &Organisation) -> String {
        let text = fs::read_to_string(layout.folder(side.folder).join("output.log")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    async fn answered(ledger: &Ledger, more: usize) {
        let before = ledger.answered();
        let waiting = async {
            while ledger.answered() < before + more {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{} answers", ledger.answered() - before));
    }

    fn log(layout: &Layout, side: &Organisation) -> Config {
        let folder = layout.folder(side.folder);
        Config { key_file: folder.join("keys/log.key"), ..Config::new(folder.join("log")) }
    }

    fn evidence(layout: &Layout, ids: &[String]) -> Findings {
        let mut all = Findings::default();
        for side in &ORGANISATIONS {
            let conf = GlobalConf::load_dir(layout.folder(side.folder).join("globalconf")).unwrap();
            all.add(compare(side.folder, &log(layout, side), &conf, ids));
        }
        all
    }

    /// Nothing of a request that was not signed is in the provider's log: it has not left.
    fn never_arrived(layout: &Layout, ids: &[&str]) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let reader = service::read_only(&log(layout, &PROVIDER), &clock).unwrap();
        for id in ids {
            assert_eq!(reader.by_message_id(id).unwrap().len(), 0, "{id} was forwarded");
        }
    }

    /// Everything on disk: gateways without keys that sign, signers with them, the consumer a witness of the provider.
    async fn made(base: u16) -> (TempDir, Programs, Layout, [Option<Running>; 2], [VerifierKey; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        let layout = init(&programs, &folder.path().join("demo"), base, "p256", &Narrator::silent()).unwrap();
        for side in &ORGANISATIONS {
            move_keys(&layout, side);
        }
        for (side, usage) in [(&PROVIDER, "checkpoint"), (&CONSUMER, "witness")] {
            run(&programs, &signer_folder(&layout, side), "passerelle-signer", &["create", "--usage", usage]);
        }
        let signers = [CONSUMER, PROVIDER].map(|side| Some(start_signer(&programs, &layout, &side)));
        configure(&layout, &PROVIDER, |text| format!("{text}\n[log.checkpoints]\norigin = \"{ORIGIN}\"\n"));
        let log_key = verifier(&programs, &layout, &PROVIDER).await;
        let address = format!("127.0.0.1:{}", layout.port(35));
        let witness = format!(
            "\n[witness]\nname = \"consumer.example/witness\"\nlisten = \"{address}\"\n\n\
             [[witness.log]]\norigin = \"{ORIGIN}\"\nkeys = [\"{log_key}\"]\n"
        );
        configure(&layout, &CONSUMER, |text| text + &witness);
        let witness_key = verifier(&programs, &layout, &CONSUMER).await;
        let checkpoints = format!(
            "quorum = 1\n\n[[log.checkpoints.witness]]\nurl = \"http://{address}\"\nkey = \"{witness_key}\"\n"
        );
        configure(&layout, &PROVIDER, |text| text + &checkpoints);
        let keys = [log_key, witness_key].map(|key| key.parse().unwrap());
        (folder, programs, layout, signers, keys)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn gateways_without_a_key_that_signs_exchange_through_signers_that_may_be_killed() {
        let (folder, programs, layout, [mut of_consumer, _of_provider], keys) = made(19_400).await;
        let listed = run(&programs, &layout.folder(CONSUMER.folder), "passerelle-gateway", &["keys", "list"]);
        assert_eq!(
            listed.lines().count(),
            4,
            "auth and tls here, sign and witness with the signer: {listed}"
        );
        let mut ecosystem = Ecosystem::start(programs.clone(), layout.clone()).await.unwrap();
        let ledger = Arc::new(Ledger::create(&folder.path().join("ledger")).unwrap());
        let driver = Load::declarations(&layout, 8).start(&ledger);
        answered(&ledger, 50).await;

        let signer = of_consumer.as_ref().unwrap().id();
        for (line, value) in [("Seccomp", "2"), ("NoNewPrivs", "1")] {
            let threads = memory::of_threads(signer, line).unwrap();
            assert!(threads.len() > 2 && threads.iter().all(|one| one == value), "{line}: {threads:?}");
        }

        let [in_file, reversed, in_use] = memory::p256_forms(&scalar(&layout, &CONSUMER));
        let needles: [&[u8]; 3] = [&in_file, &reversed, &in_use];
        let gateway = ecosystem.process(CONSUMER.folder).unwrap().id();
        match (memory::hits(gateway, &needles), memory::hits(signer, &needles)) {
            (Ok(of_gateway), Ok(of_signer)) => {
                println!("the key that signs: gateway {of_gateway:?}, signer {of_signer:?}");
                assert_eq!(of_gateway, [0, 0, 0], "a key that signs is in the gateway's memory");
                assert!(of_signer[2] > 0, "what is searched so is found where it is");
            }
            (of_gateway, of_signer) => {
                println!("the memory was not searched, that needs root");
                for refused in [of_gateway.err(), of_signer.err()] {
                    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
                }
            }
        }

        // What waits while a signature is on its way there and back shares the next one.
        let signatures = measured(&layout, "passerelle_signatures_total").await;
        let messages = measured(&layout, "passerelle_signed_messages_total").await;
        println!("{messages} messages signed by {signatures} signatures");
        assert!(signatures > 0.0 && messages > signatures, "no message has shared a signature");

        // kill -9 under load; started again within two seconds nobody is refused for it but who was just being signed for.
        for _ in 0..3 {
            of_consumer.take().unwrap().kill();
            of_consumer = Some(start_signer(&programs, &layout, &CONSUMER));
            answered(&ledger, 50).await;
        }
        let restarted = ledger.refused();
        println!("three times killed and started again: {restarted} not answered");

        // It stays away for a while.
        of_consumer.take().unwrap().kill();
        let told = health(&layout, &CONSUMER, false).await;
        assert!(told.contains("the signer is away"), "{told}");
        is_refused(&layout, "while-it-was-away").await;
        of_consumer = Some(start_signer(&programs, &layout, &CONSUMER));
        health(&layout, &CONSUMER, true).await;
        answered(&ledger, 50).await;

        // It hangs.
        of_consumer.as_ref().unwrap().freeze().unwrap();
        is_refused(&layout, "while-it-hung").await;
        health(&layout, &CONSUMER, false).await;
        of_consumer.as_ref().unwrap().thaw().unwrap();
        health(&layout, &CONSUMER, true).await;
        answered(&ledger, 50).await;
        assert!(ask(&layout, "afterwards").await.status.is_success());
        driver.stop().await;

        // Checkpoints of the provider, signed by its signer, cosigned through the consumer's: /health wants a quorum of 1.
        health(&layout, &PROVIDER, true).await;
        is_cosigned(&layout, &keys, ledger.ids().len() * 2).await;
        ecosystem.alive().unwrap();
        ecosystem.stop().unwrap();
        never_arrived(&layout, &["while-it-was-away", "while-it-hung"]);
        let ids = ledger.ids();
        let found = evidence(&layout, &ids);
        println!("{} answered, {} not, {} records verified", ids.len(), ledger.refused(), found.verified);
        assert!(found.missing.is_empty(), "{:#?}", found.missing.iter().take(20).collect::<Vec<_>>());
        assert_eq!(found.verified, ids.len() * 4, "request and answer, on both sides");
    }
}
