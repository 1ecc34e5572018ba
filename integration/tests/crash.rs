//! kill -9 of either gateway, again and again, under load: every exchange that was answered has its evidence on both
//! sides, once, and it verifies.
//!
//! The programs are the real ones, in processes of their own; the ledger of what was answered is kept outside them.
//! `PASSERELLE_KILLS` raises the number of kills. Once over TCP, once with QUIC between the gateways. Not here: what a power
//! cut takes with it (`power_cut.rs`).

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use cert_authority::clock::{Clock, SystemClock};
    use cert_authority::durable;
    use conf::snapshot::GlobalConf;
    use gateway::evidence::signature::TrustCache;
    use gateway::messagelog::record::Record;
    use gateway::messagelog::{Config, service};
    use integration::demo::client;
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;
    use integration::ledger::{Findings, Ledger, Load, compare};
    use tempfile::TempDir;
    use tokio::time::{Instant, sleep};

    const KILLS: usize = 100;
    /// The same over QUIC.
    const KILLS_OVER_QUIC: usize = 20;
    /// Answers between two kills, at least.
    const BETWEEN: usize = 20;
    /// The longest wait for the answers between two kills: whoever needs longer has not come back.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// How often; by environment variable more often.
    fn kills(least: usize) -> usize {
        let wanted = std::env::var_os("PASSERELLE_KILLS").and_then(|text| text.to_str()?.parse().ok());
        wanted.unwrap_or(least).max(least)
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

    /// Has both gateways speak QUIC, each at its address between gateways, and the authority tell so.
    fn speak_quic(layout: &Layout) {
        let change = |file: PathBuf, from: &str, to: &str| {
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains(from), "{} has no {from:?}", file.display());
            durable::write(&file, text.replacen(from, to, 1).as_bytes()).unwrap();
        };
        for organisation in [CONSUMER, PROVIDER] {
            let address = layout.peer(&organisation);
            let (ip, port) = (address.ip(), address.port());
            let quic = format!(
                "[quic]\nlisten = \"{ip}:{port}\"\nwait = \"5 s\"\nretry = \"1 s\"\n\n[administration]\n"
            );
            change(layout.folder(organisation.folder).join("gateway.toml"), "[administration]\n", &quic);
            let server = format!("code = \"{}\"\n", organisation.server);
            change(
                layout.folder("authority").join("authority.toml"),
                &server,
                &format!("{server}quic = {port}\n"),
            );
        }
    }

    /// How many answers the consumer's gateway has had over QUIC since its start.
    async fn over_quic(layout: &Layout) -> u64 {
        let token = fs::read_to_string(layout.folder(CONSUMER.folder).join("operator.token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let headers = [("Authorization", bearer.as_str())];
        let reply = client::send(layout.administration(&CONSUMER), "GET", "/metrics", &headers, "").await;
        let reply = reply.unwrap();
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(reply.status.is_success(), "{text}");
        let answers = text.lines().find_map(|line| line.strip_prefix("passerelle_quic_answers_total "));
        answers.map_or(0, |count| count.parse().unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answered_exchanges_have_their_evidence_however_often_a_gateway_is_killed() {
        let (folder, programs, layout) = made(18_500);
        let over_quic = killed_again_and_again(&folder, programs, &layout, kills(KILLS)).await;
        assert_eq!(over_quic, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn so_they_have_when_gateways_speak_quic() {
        let (folder, programs, layout) = made(18_550);
        speak_quic(&layout);
        let kills = kills(KILLS_OVER_QUIC);
        let over_quic = killed_again_and_again(&folder, programs, &layout, kills).await;
        // Those between two kills of the consumer, but for the few in the moments when no connection is there.
        let least = u64::try_from(kills * BETWEEN / 2).unwrap();
        assert!(
            over_quic >= least,
            "{over_quic} of the exchanges went over QUIC, {least} would be half of the fewest"
        );
    }

    /// Gives how many answers came over QUIC, as far as a gateway lived to tell.
    async fn killed_again_and_again(
        folder: &TempDir,
        programs: Programs,
        layout: &Layout,
        kills: usize,
    ) -> u64 {
        let began = Instant::now();
        let mut ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
        let ledger = Arc::new(Ledger::create(&folder.path().join("ledger")).unwrap());
        let driver = Load::declarations(layout, 8).start(&ledger);
        answered(&ledger, BETWEEN).await.unwrap();

        let (mut up, mut answers, mut slowest) = (Duration::ZERO, 0, Duration::ZERO);
        let mut quic = 0;
        for kill in 0..kills {
            let (window, before) = (Instant::now(), ledger.answered());
            answered(&ledger, BETWEEN).await.unwrap_or_else(|few| panic!("before kill {kill}: {few}"));
            let victim = if kill % 2 == 0 { CONSUMER.folder } else { PROVIDER.folder };
            if victim == CONSUMER.folder {
                quic += over_quic(layout).await;
            }
            // Not always at the same step of an exchange: just after an answer.
            sleep(Duration::from_micros(u64::try_from(kill * 977 % 13_000).unwrap())).await;
            up += window.elapsed();
            answers += ledger.answered() - before;
            ecosystem.kill(victim).unwrap();
            let down = Instant::now();
            ecosystem.restart(victim).await.unwrap_or_else(|why| panic!("kill {kill}: {why}"));
            slowest = slowest.max(down.elapsed());
        }
        answered(&ledger, BETWEEN).await.unwrap();
        driver.stop().await;
        quic += over_quic(layout).await;
        ecosystem.stop().unwrap();

        let ids = ledger.ids();
        let rate = f64::from(u32::try_from(answers).unwrap()) / up.as_secs_f64();
        let found = evidence(layout, &ids);
        println!(
            "{kills} kills; {} exchanges answered, {} requests not; {quic} over QUIC; {rate:.0} a second while both gateways \
             were up; slowest restart {slowest:.2?}; {} records verified; {:.1?} in all",
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
        assert!(
            ledger.refused() >= kills,
            "{kills} kills met {} requests: there was no load",
            ledger.refused()
        );
        quic
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
        let mut bytes = fs::read(&segment).unwrap();
        bytes[16 << 10] ^= 1;
        let file = fs::File::options().write(true).open(&segment).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[16 << 10..=16 << 10], 16 << 10).unwrap();
        let damaged = compare("provider", &log, &conf, &ids);
        assert!(damaged.missing.iter().any(|finding| finding.contains("damaged")), "{:#?}", damaged.missing);
    }
}
