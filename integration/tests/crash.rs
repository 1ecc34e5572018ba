//! kill -9 of either gateway, again and again, under load: every exchange that was answered has its evidence on both
//! sides, once, and it verifies.
//!
//! The programs are the real ones, in processes of their own; the ledger of what was answered is kept outside them.
//! `PASSERELLE_KILLS` raises the number of kills. Not here: what a power cut takes with it (`power_cut.rs`).

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use cert_authority::clock::{Clock, SystemClock};
    use conf::snapshot::GlobalConf;
    use gateway::evidence::signature::TrustCache;
    use gateway::messagelog::record::Record;
    use gateway::messagelog::{Config, service};
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;
    use integration::ledger::{Findings, Ledger, Load, compare};
    use tempfile::TempDir;
    use tokio::time::{Instant, sleep};

    const KILLS: usize = 100;
    /// Answers between two kills, at least.
    const BETWEEN: usize = 20;
    /// Exchanges a second while both gateways are up, at least.
    const RATE: f64 = 50.0;
    /// The longest wait for the answers between two kills: whoever needs longer has not come back.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// How often; by environment variable more often.
    fn kills() -> usize {
        let wanted = std::env::var_os("PASSERELLE_KILLS").and_then(|text| text.to_str()?.parse().ok());
        wanted.unwrap_or(KILLS).max(KILLS)
    }

    fn made(base: u16) -> (TempDir, Programs, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        let layout = init(&programs, &folder.path().join("demo"), base, "p256", &Narrator::silent()).unwrap();
        (folder, programs, layout)
    }

    /// The log of a side, and the configuration that it knew last.
    fn log_of(layout: &Layout, side: &str) -> (Config, GlobalConf) {
        let folder = layout.folder(side);
        let conf = GlobalConf::load_dir(folder.join("globalconf")).unwrap();
        (Config { key_file: folder.join("keys/log.key"), ..Config::new(folder.join("log")) }, conf)
    }

    /// What both logs lack of what the ledger knows.
    fn evidence(layout: &Layout, ids: &[String]) -> Findings {
        let mut all = Findings::default();
        for side in [CONSUMER.folder, PROVIDER.folder] {
            let (log, conf) = log_of(layout, side);
            all.add(compare(side, &log, &conf, ids));
        }
        all
    }

    /// Waits for so many answers more.
    async fn answered(ledger: &Ledger, more: usize) -> Result<(), String> {
        let (began, before) = (Instant::now(), ledger.answered());
        while ledger.answered() < before + more {
            if began.elapsed() > PATIENCE {
                return Err(format!("{} answers in {PATIENCE:?}", ledger.answered() - before));
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answered_exchanges_have_their_evidence_however_often_a_gateway_is_killed() {
        let began = Instant::now();
        let (folder, programs, layout) = made(18_500);
        let mut ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
        let ledger = Arc::new(Ledger::create(&folder.path().join("ledger")).unwrap());
        let driver = Load::declarations(&layout, 8).start(&ledger);
        answered(&ledger, BETWEEN).await.unwrap();

        let (mut up, mut answers, mut slowest) = (Duration::ZERO, 0, Duration::ZERO);
        for kill in 0..kills() {
            let (window, before) = (Instant::now(), ledger.answered());
            answered(&ledger, BETWEEN).await.unwrap_or_else(|few| panic!("before kill {kill}: {few}"));
            // Not always at the same step of an exchange: just after an answer.
            sleep(Duration::from_micros(u64::try_from(kill * 977 % 13_000).unwrap())).await;
            up += window.elapsed();
            answers += ledger.answered() - before;
            let victim = if kill % 2 == 0 { CONSUMER.folder } else { PROVIDER.folder };
            ecosystem.kill(victim).unwrap();
            let down = Instant::now();
            ecosystem.restart(victim).await.unwrap_or_else(|why| panic!("kill {kill}: {why}"));
            slowest = slowest.max(down.elapsed());
        }
        answered(&ledger, BETWEEN).await.unwrap();
        driver.stop().await;
        ecosystem.stop().unwrap();

        let ids = ledger.ids();
        let rate = f64::from(u32::try_from(answers).unwrap()) / up.as_secs_f64();
        let found = evidence(&layout, &ids);
        println!(
            "{} kills; {} exchanges answered, {} requests not; {rate:.0} a second while both gateways were up; slowest \
             restart {slowest:.2?}; {} records verified; {:.1?} in all",
            kills(),
            ids.len(),
            ledger.refused(),
            found.verified,
            began.elapsed(),
        );
        assert!(
            found.missing.is_empty(),
            "{} findings: {:#?}",
            found.missing.len(),
            found.missing.iter().take(20).collect::<Vec<_>>()
        );
        assert_eq!(found.verified, ids.len() * 4, "request and answer, on both sides");
        assert!(rate >= RATE, "{rate:.0} exchanges a second are no load");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_comparison_finds_what_a_log_lacks_has_twice_or_has_changed() {
        let (folder, programs, layout) = made(18_600);
        let ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
        let ledger = Arc::new(Ledger::create(&folder.path().join("ledger")).unwrap());
        let driver = Load::declarations(&layout, 2).start(&ledger);
        answered(&ledger, 5).await.unwrap();
        driver.stop().await;
        ecosystem.stop().unwrap();
        let ids = ledger.ids();
        assert_eq!(evidence(&layout, &ids).missing, Vec::<String>::new());

        let invented = evidence(&layout, &["never-sent".to_owned()]);
        let missing = ["consumer", "provider"]
            .map(|side| ["request", "response"].map(|kind| format!("{side} never-sent: 0 {kind} records")));
        assert_eq!(invented.missing, missing.concat());

        let (log, conf) = log_of(&layout, "provider");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let reader = service::read_only(&log, &clock).unwrap();
        let (first, second) = (&ids[0], &ids[1]);
        let mut twice = reader.by_message_id(first).unwrap();
        twice.push(twice[0].clone());
        let mut changed = reader.by_message_id(first).unwrap();
        let other = reader.by_message_id(second).unwrap();
        for (record, other) in changed.iter_mut().zip(&other) {
            let (Record::Request(message), Record::Request(other)) = (&mut record.record, &other.record)
            else {
                continue;
            };
            // The chain, too: messages of one batch share the signature.
            message.signature = other.signature.clone();
            message.hash_chain = other.hash_chain.clone();
            message.hash_chain_result = other.hash_chain_result.clone();
        }
        for (records, said) in [
            (twice, "provider a: 2 request records"),
            (changed, "provider a: request does not verify"),
            (Vec::new(), "provider a: 0 request records"),
        ] {
            let mut findings = Findings::default();
            findings.exchange("provider", "a", &records, &conf, &TrustCache::default());
            assert!(findings.missing[0].starts_with(said), "{:?}", findings.missing);
        }

        // The disk has changed one byte in the middle of what was written.
        let segment = log.directory.join("segments/00000001.seg");
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[16 << 10] ^= 1;
        let file = std::fs::File::options().write(true).open(&segment).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[16 << 10..=16 << 10], 16 << 10).unwrap();
        let damaged = compare("provider", &log, &conf, &ids);
        assert!(damaged.missing.iter().any(|finding| finding.contains("damaged")), "{:#?}", damaged.missing);
    }
}
