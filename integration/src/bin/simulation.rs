//! Plays seeds of the simulation of two gateways, and prints those that fail.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use integration::simulation::{Sabotage, Simulation};

/// Plays seeds of the simulation of two gateways.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Prints what happens, with the time in milliseconds.
    #[arg(long)]
    told: bool,
    /// Breaks the world, to see whether that is found: syncs-nothing, syncs-no-names, forgets.
    #[arg(long)]
    sabotage: Option<String>,
}

/// What all threads have come to.
#[derive(Default)]
struct Progress {
    next: AtomicU64,
    played: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    over: AtomicBool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let sabotage = match arguments.sabotage.as_deref() {
        None => Sabotage::None,
        Some("syncs-nothing") => Sabotage::SyncsNothing,
        Some("syncs-no-names") => Sabotage::SyncsNoNames,
        Some("forgets") => Sabotage::Forgets,
        Some(other) => {
            eprintln!("there is no sabotage {other}");
            return ExitCode::FAILURE;
        }
    };
    let progress = Progress::default();
    let began = tokio::time::Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs.max(1))
            .map(|_| scope.spawn(|| work(&arguments, sabotage, &progress)))
            .collect();
        scope.spawn(|| {
            let mut told = began;
            while !progress.over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                if told.elapsed() > Duration::from_secs(60) {
                    told = tokio::time::Instant::now();
                    tell(&progress, began.elapsed());
                }
            }
        });
        for worker in workers {
            if !matches!(worker.join(), Ok(Ok(()))) {
                progress.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        progress.over.store(true, Ordering::Relaxed);
    });
    tell(&progress, began.elapsed());
    if progress.failed.load(Ordering::Relaxed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(arguments: &Arguments, sabotage: Sabotage, progress: &Progress) -> Result<(), ()> {
    let said = |error: String| eprintln!("the simulation cannot be made: {error}");
    let mut simulation = Simulation::new(sabotage).map_err(said)?;
    simulation.told = arguments.told;
    loop {
        let number = progress.next.fetch_add(1, Ordering::Relaxed);
        if number >= arguments.seeds {
            return Ok(());
        }
        let outcome = simulation.play(arguments.from + number).map_err(said)?;
        progress.played.fetch_add(1, Ordering::Relaxed);
        progress.answered.fetch_add(u64::try_from(outcome.answered).unwrap_or(0), Ordering::Relaxed);
        if arguments.told {
            println!("seed {}, trace {:016x}", outcome.seed, outcome.trace);
        }
        if !outcome.wrong.is_empty() {
            progress.failed.fetch_add(1, Ordering::Relaxed);
            println!("seed {} FAILS; again with --from {} --seeds 1 --told", outcome.seed, outcome.seed);
            outcome.wrong.iter().for_each(|wrong| println!("  {wrong}"));
        }
    }
}

fn tell(progress: &Progress, took: Duration) {
    let played = progress.played.load(Ordering::Relaxed);
    let (answered, failed) =
        (progress.answered.load(Ordering::Relaxed), progress.failed.load(Ordering::Relaxed));
    let minutes = took.as_secs_f64() / 60.0;
    let rate = f64::from(u32::try_from(played).unwrap_or(u32::MAX)) / minutes.max(1e-9);
    println!(
        "{played} seeds in {minutes:.1} min, {rate:.0} a minute; {answered} exchanges answered; {failed} seeds failed"
    );
}
