//! Two gateways of one identity on one log in PostgreSQL, behind a client that spreads its requests over both: the one
//! that leads is killed (kill -9) under load, again and again. Every exchange that was answered has its evidence, once;
//! another leads within 10 s, time-stamps, archives and makes checkpoints; the log verifies, with its archives.
//!
//! The programs are the real ones, in processes of their own. `PASSERELLE_KILLS` sets the number of kills. Not here: a
//! PostgreSQL that is killed, paused or full (tests of the log).

#[cfg(test)]
#[path = "../../gateway/tests/postgres_support/mod.rs"]
mod postgres_support;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::Duration;

    use cert_authority::durable;
    use conf::snapshot::GlobalConf;
    use gateway::messagelog::Config;
    use integration::demo::client;
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::{Programs, Running};
    use integration::ledger::{Findings, Ledger, Load, compare};
    use tokio::time::{Instant, sleep};

    use super::postgres_support::Cluster;

    const KILLS: usize = 3;
    /// Answers between two kills, at least.
    const BETWEEN: usize = 20;
    /// What another node may take to lead.
    const TAKE_OVER: Duration = Duration::from_secs(10);
    /// The longest wait for anything else.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// What a node says when it begins to lead.
    const LEADS: &str = "this node leads the message log";

    /// How often; another number by environment variable.
    fn kills() -> usize {
        let wanted = std::env::var_os("PASSERELLE_KILLS").and_then(|text| text.to_str()?.parse().ok());
        wanted.unwrap_or(KILLS)
    }

    /// A gateway of the consumer.
    struct Node {
        folder: PathBuf,
        http: SocketAddr,
        administration: SocketAddr,
        process: Option<Running>,
    }

    impl Node {
        async fn start(&mut self, programs: &Programs) {
            let started = programs.start(&self.folder, "output.log", "passerelle-gateway", &["serve"]);
            self.process = Some(started.unwrap());
            let began = Instant::now();
            loop {
                let health = client::send(self.administration, "GET", "/health", &[], "").await;
                if health.is_ok_and(|reply| reply.status.is_success()) {
                    return;
                }
                self.process.as_mut().unwrap().alive().unwrap();
                assert!(began.elapsed() < PATIENCE, "{} is not ready", self.folder.display());
                sleep(Duration::from_millis(20)).await;
            }
        }

        fn kill(&mut self) {
            self.process.take().unwrap().kill();
        }

        /// How often it has begun to lead.
        fn leads(&self) -> usize {
            let said = std::fs::read_to_string(self.folder.join("output.log")).unwrap_or_default();
            said.matches(LEADS).count()
        }
    }

    /// Who leads, as far as the nodes have said.
    struct Lead {
        begun: [usize; 2],
        now: usize,
    }

    impl Lead {
        /// Looks who has begun to lead since the last look.
        fn look(&mut self, nodes: &[Node; 2]) -> bool {
            let begun = [nodes[0].leads(), nodes[1].leads()];
            let changed = begun != self.begun;
            if let Some(leader) = (0..2).find(|node| begun[*node] > self.begun[*node]) {
                self.now = leader;
            }
            self.begun = begun;
            changed
        }
    }

    /// The consumer's settings, with its log in this database, signed checkpoints, and archives in a folder of both nodes.
    fn with_database(settings: &str, cluster: &Cluster, archives: &Path) -> String {
        format!(
            "{settings}\n[log.postgres]\nport = {}\nuser = \"postgres\"\ndatabase = \"postgres\"\n\
             [log.checkpoints]\norigin = \"gateway.example/log\"\n[timestamping]\ninterval = \"1 s\"\n\
             [archive]\ndirectory = \"{}\"\nevery = \"1 s\"\n",
            cluster.database().port,
            archives.display()
        )
    }

    /// A second gateway beside the consumer's: the same settings, keys and certificates, other ports.
    fn second(layout: &Layout) -> Node {
        let (first, folder) = (layout.folder(CONSUMER.folder), layout.directory.join("consumer-2"));
        copy(&first, &folder, &["keys", "certificates"]);
        let port = |offset| SocketAddr::from(([127, 0, 0, 1], layout.port(offset)));
        let (http, administration) = (port(40), port(44));
        let mut settings = std::fs::read_to_string(first.join("gateway.toml")).unwrap();
        for (from, to) in [
            (layout.http(&CONSUMER), http),
            (layout.https(&CONSUMER), port(41)),
            (layout.administration(&CONSUMER), administration),
            (layout.peer(&CONSUMER), SocketAddr::from(([127, 0, 0, 12], layout.port(2)))),
            (layout.peer_ocsp(&CONSUMER), SocketAddr::from(([127, 0, 0, 12], layout.port(3)))),
        ] {
            assert!(settings.contains(&from.to_string()));
            settings = settings.replace(&from.to_string(), &to.to_string());
        }
        durable::write(folder.join("gateway.toml"), settings.as_bytes()).unwrap();
        Node { folder, http, administration, process: None }
    }

    fn copy(from: &Path, to: &Path, names: &[&str]) {
        std::fs::create_dir_all(to).unwrap();
        for name in names {
            let status = std::process::Command::new("cp").arg("-a").arg(from.join(name)).arg(to).status();
            assert!(status.unwrap().success());
        }
    }

    /// Waits until so many are answered more.
    async fn answered(ledger: &Ledger, more: usize) {
        let (began, before) = (Instant::now(), ledger.answered());
        while ledger.answered() < before + more {
            assert!(began.elapsed() < PATIENCE, "{} answers in {PATIENCE:?}", ledger.answered() - before);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills the one that leads, waits for the other to lead, and starts the first again; gives how long nobody led.
    async fn replace_leader(nodes: &mut [Node; 2], lead: &mut Lead, programs: &Programs) -> Duration {
        lead.look(nodes);
        let leader = lead.now;
        nodes[leader].kill();
        let down = Instant::now();
        while !lead.look(nodes) {
            assert!(down.elapsed() < TAKE_OVER, "nobody leads {TAKE_OVER:?} after the leader was killed");
            sleep(Duration::from_millis(20)).await;
        }
        let taken = down.elapsed();
        assert_eq!(lead.now, 1 - leader);
        nodes[leader].start(programs).await;
        taken
    }

    /// Waits until the leader has done what only the leader does: a time-stamp and a checkpoint more. Archives come when
    /// they come: reading for them takes long on a busy machine.
    async fn leader_works(cluster: &Cluster) {
        let count = |kind| -> u64 {
            let query = format!("SELECT count(*) FROM passerelle_log.record WHERE kind = {kind}");
            cluster.value(&query).parse().unwrap()
        };
        let (began, before) = (Instant::now(), [count(4), count(5)]);
        while count(4) == before[0] || count(5) == before[1] {
            assert!(began.elapsed() < PATIENCE, "the leader does nothing");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the logs of both organisations lack of what the ledger knows.
    fn evidence(layout: &Layout, cluster: &Cluster, ids: &[String]) -> Findings {
        let mut all = Findings::default();
        for (side, postgres) in [(CONSUMER.folder, Some(cluster.database())), (PROVIDER.folder, None)] {
            let folder = layout.folder(side);
            let conf = GlobalConf::load_dir(folder.join("globalconf")).unwrap();
            let key_file = folder.join("keys/log.key");
            let log = Config { key_file, postgres, ..Config::new(folder.join("log")) };
            all.add(compare(side, &log, &conf, ids));
        }
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answered_exchanges_have_their_evidence_once_however_often_the_leader_is_killed() {
        let cluster = Cluster::start_for(Duration::from_secs(300 + 40 * u64::try_from(kills()).unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        let demo = folder.path().join("demo");
        let layout = init(&programs, &demo, 19_200, "p256", &Narrator::silent()).unwrap();
        let first = layout.folder(CONSUMER.folder);
        let settings = std::fs::read_to_string(first.join("gateway.toml")).unwrap();
        programs.run(&first, "passerelle-gateway", &["keys", "create", "--usage", "checkpoint"]).unwrap();
        let archives = folder.path().join("archives");
        std::fs::create_dir(&archives).unwrap();
        let settings = with_database(&settings, &cluster, &archives);
        durable::write(first.join("gateway.toml"), settings.as_bytes()).unwrap();
        let mut ecosystem = Ecosystem::start(programs.clone(), layout.clone()).await.unwrap();
        // It has made the log, and the key that each node has.
        ecosystem.kill(CONSUMER.folder).unwrap();
        let (http, administration) = (layout.http(&CONSUMER), layout.administration(&CONSUMER));
        let mut nodes = [Node { folder: first, http, administration, process: None }, second(&layout)];
        for node in &mut nodes {
            node.start(&programs).await;
        }
        let mut lead = Lead { begun: [0, 0], now: 0 };
        let began = Instant::now();
        // The one before the kill said it first.
        while nodes[0].leads() + nodes[1].leads() < 2 {
            assert!(began.elapsed() < PATIENCE, "nobody leads");
            sleep(Duration::from_millis(20)).await;
        }
        lead.begun = [1, 0];
        lead.look(&nodes);

        let ledger = Arc::new(Ledger::create(&folder.path().join("ledger")).unwrap());
        let (doors, pause) = (vec![nodes[0].http, nodes[1].http], Duration::from_millis(150));
        let load = Load { doors, pause, ..Load::declarations(&layout, 6) };
        let driver = load.start(&ledger);
        let mut slowest = Duration::ZERO;
        for kill in 0..kills() {
            leader_works(&cluster).await;
            answered(&ledger, BETWEEN).await;
            // Not always at the same step of an exchange: just after an answer.
            sleep(Duration::from_micros(u64::try_from(kill * 977 % 13_000).unwrap())).await;
            slowest = slowest.max(replace_leader(&mut nodes, &mut lead, &programs).await);
        }
        leader_works(&cluster).await;
        answered(&ledger, BETWEEN).await;
        driver.stop().await;
        for node in &mut nodes {
            assert!(node.process.take().unwrap().stop(PATIENCE), "it had to be killed");
        }
        ecosystem.stop().unwrap();

        let (ids, folder) = (ledger.ids(), &nodes[0].folder);
        let found = evidence(&layout, &cluster, &ids);
        let key = programs.run(folder, "passerelle-gateway", &["keys", "verifier"]).unwrap();
        let key = key.split_whitespace().last().unwrap().to_owned();
        let verified = programs.run(folder, "passerelle-gateway", &["log", "verify", "--key", &key]).unwrap();
        println!(
            "{} kills of the leader; {} exchanges answered, {} requests not; slowest take-over {slowest:.2?}; {} records \
             verified; {:.1?} in all\n{verified}",
            kills(),
            ids.len(),
            ledger.refused(),
            found.verified,
            began.elapsed(),
        );
        assert!(found.missing.is_empty(), "{} findings: {:#?}", found.missing.len(), found.missing);
        assert_eq!(found.verified, ids.len() * 4, "request and answer, on both sides");
        assert!(verified.ends_with("nothing is wrong\n"), "{verified}");
        assert!(!verified.contains(" 0 messages, "), "nobody has time-stamped: {verified}");
        assert!(verified.contains(" valid\n"), "the archives were not judged: {verified}");
        assert!(!verified.contains(" 0 of 0 valid"), "nobody has archived: {verified}");
    }
}
