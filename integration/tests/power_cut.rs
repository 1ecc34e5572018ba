//! A power cut of either gateway's machine, again and again, under load: what was answered before it is in the log that
//! the machine finds when it starts again, and verifies. A gateway that answers before its evidence is durable does
//! not get through.
//!
//! The logs lie on file systems of their own (see [`integration::power_cut`]). `PASSERELLE_CUTS` raises the number of
//! cuts. Where no image can be mounted `PASSERELLE_POWER_CUT=no` leaves these tests out, and they say so; without it
//! they fail there.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use cert_authority::clock::{Clock, SystemClock};
    use conf::snapshot::GlobalConf;
    use gateway::messagelog::{Config, MessageLog};
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;
    use integration::ledger::{Findings, Ledger, Load, compare};
    use integration::power_cut::Volume;
    use tempfile::TempDir;
    use tokio::time::{Instant, sleep};

    const CUTS: usize = 6;
    /// Cuts of one network.
    const EACH: usize = 12;
    /// Answers between two cuts, at least.
    const BETWEEN: usize = 20;
    /// The longest wait for the answers between two cuts.
    const PATIENCE: Duration = Duration::from_secs(20);
    const SIDES: [&str; 2] = [CONSUMER.folder, PROVIDER.folder];

    /// How often; by environment variable more often.
    fn cuts() -> usize {
        let wanted = std::env::var_os("PASSERELLE_CUTS").and_then(|text| text.to_str()?.parse().ok());
        wanted.unwrap_or(CUTS).max(CUTS)
    }

    fn left_out() -> bool {
        let out = std::env::var_os("PASSERELLE_POWER_CUT").is_some_and(|value| value == "no");
        if out {
            println!("NOT RUN: PASSERELLE_POWER_CUT=no");
        }
        out
    }

    /// A network under load whose logs lie on volumes of their own.
    struct Scene {
        // The processes go first, then the volumes, then the folder.
        ecosystem: Ecosystem,
        volumes: [Volume; 2],
        folder: TempDir,
        layout: Layout,
        ledger: Arc<Ledger>,
    }

    impl Scene {
        async fn start(programs: Programs, base: u16) -> Self {
            // On a disk: an image in memory would take several hundred megabytes of it.
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let directory = folder.path().join("demo");
            let layout = init(&programs, &directory, base, "p256", &Narrator::silent()).unwrap();
            let volumes = SIDES
                .map(|side| Volume::make(folder.path(), side, &layout.folder(side).join("log")).unwrap());
            let ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
            let ledger = Arc::new(Ledger::create(&folder.path().join("ledger")).unwrap());
            Self { ecosystem, volumes, folder, layout, ledger }
        }

        async fn answered(&self, more: usize) {
            let (began, before) = (Instant::now(), self.ledger.answered());
            while self.ledger.answered() < before + more {
                assert!(
                    began.elapsed() < PATIENCE,
                    "{} answers in {PATIENCE:?}",
                    self.ledger.answered() - before
                );
                sleep(Duration::from_millis(2)).await;
            }
        }

        /// Cuts the power of a side's machine, and compares what its disk has with all answers from `since` on. The
        /// machine itself goes on, as if nothing had been: the cut is made in a copy.
        fn cut(&mut self, side: usize, since: usize) -> Findings {
            let name = SIDES[side];
            let process = self.ecosystem.process(name).unwrap();
            process.freeze().unwrap();
            // What was answered until now, by a gateway that does nothing more.
            let ids = self.ledger.ids();
            let copy = self.volumes[side].cut(self.folder.path(), "cut");
            self.ecosystem.process(name).unwrap().thaw().unwrap();
            started_again(&self.layout, name, copy.unwrap().path(), &ids[since..])
        }
    }

    /// A log opened as a gateway does when its machine starts, and then compared.
    fn started_again(layout: &Layout, side: &str, log: &Path, ids: &[String]) -> Findings {
        let folder = layout.folder(side);
        let conf = GlobalConf::load_dir(folder.join("globalconf")).unwrap();
        let config = Config { key_file: folder.join("keys/log.key"), ..Config::new(log) };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        match MessageLog::open(config.clone(), clock) {
            Ok(log) => drop(log),
            Err(error) => {
                return Findings {
                    missing: vec![format!("{side}: cannot start again: {error}")],
                    verified: 0,
                };
            }
        }
        compare(side, &config, &conf, ids)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_answered_before_a_power_cut_is_in_the_log_after_it() {
        if left_out() {
            return;
        }
        // Once: whoever works at the source meanwhile does not change what is tested.
        let programs = Programs::locate().unwrap();
        let (began, mut cuts_made, mut total) = (Instant::now(), 0, Totals::default());
        while cuts_made < cuts() {
            // A new network now and then: the volumes have room for so many cuts.
            let here = (cuts() - cuts_made).min(EACH);
            total.add(several_cuts(programs.clone(), here).await);
            cuts_made += here;
            println!("{cuts_made} of {} cuts; {:.0?}", cuts(), began.elapsed());
        }
        println!(
            "{cuts_made} cuts; {} exchanges answered, {} requests not; {} records verified after cuts; {:.1?} in all",
            total.answered,
            total.refused,
            total.verified,
            began.elapsed(),
        );
    }

    #[derive(Default)]
    struct Totals {
        answered: usize,
        refused: usize,
        verified: usize,
    }

    impl Totals {
        fn add(&mut self, other: Self) {
            self.answered += other.answered;
            self.refused += other.refused;
            self.verified += other.verified;
        }
    }

    async fn several_cuts(programs: Programs, cuts: usize) -> Totals {
        let mut scene = Scene::start(programs, 18_900).await;
        let driver = Load::declarations(&scene.layout, 8).start(&scene.ledger);
        let (mut since, mut verified) = ([0; 2], 0);
        for cut in 0..cuts {
            let side = cut % 2;
            scene.answered(BETWEEN).await;
            // Not always at the same step of an exchange: just after an answer.
            sleep(Duration::from_micros(u64::try_from(cut * 977 % 13_000).unwrap())).await;
            let answered = scene.ledger.answered();
            let found = scene.cut(side, since[side]);
            assert!(found.missing.is_empty(), "cut {cut}, {}: {:#?}", SIDES[side], found.missing);
            assert!(found.verified >= (answered - since[side]) * 2, "request and answer of each");
            (since[side], verified) = (answered, verified + found.verified);
        }
        driver.stop().await;
        let (answered, refused) = (scene.ledger.answered(), scene.ledger.refused());
        scene.ecosystem.stop().unwrap();
        Totals { answered, refused, verified }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gateway_that_answers_before_the_sync_is_caught() {
        if left_out() {
            return;
        }
        let programs = Programs::locate().unwrap().answering_before_sync().unwrap();
        let mut scene = Scene::start(programs, 19_000).await;
        let driver = Load::declarations(&scene.layout, 8).start(&scene.ledger);
        for side in [0, 1] {
            scene.answered(BETWEEN).await;
            let answered = scene.ledger.answered();
            let found = scene.cut(side, 0);
            let lost = found.missing.iter().filter(|finding| finding.ends_with("0 request records")).count();
            println!(
                "{}: of {answered} answered exchanges {lost} have no evidence after the cut",
                SIDES[side]
            );
            assert!(lost > 0, "{:#?}", found.missing);
        }
        driver.stop().await;
        scene.ecosystem.stop().unwrap();
    }
}
