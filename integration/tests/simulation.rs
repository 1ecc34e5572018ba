//! Two gateways over simulated disks, clocks and a simulated network: no seed breaks a promise; and a world that is broken
//! on purpose is found to be.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::atomic::{AtomicU64, Ordering};

use integration::simulation::{Outcome, Sabotage, Simulation};

/// Seeds of each run of the tests; the program `simulation` plays any number.
const SEEDS: u64 = 1000;

/// Plays seeds from this one on, on two threads.
fn play(sabotage: Sabotage, from: u64, seeds: u64) -> Vec<Outcome> {
    let next = AtomicU64::new(from);
    let work = || {
        let simulation = Simulation::new(sabotage).unwrap();
        let mut outcomes = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return outcomes;
            }
            outcomes.push(simulation.play(seed).unwrap());
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn no_seed_breaks_a_promise() {
    let outcomes = play(Sabotage::None, 0, SEEDS);
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.wrong.is_empty()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let answered: usize = outcomes.iter().map(|outcome| outcome.answered).sum();
    let unlike: std::collections::BTreeSet<u64> = outcomes.iter().map(|outcome| outcome.trace).collect();
    println!("{} seeds, {answered} exchanges answered", outcomes.len());
    assert_eq!(unlike.len(), outcomes.len(), "each seed is another story");
    assert!(answered > 2 * outcomes.len(), "only {answered} exchanges were answered");
}

#[test]
fn a_seed_is_the_same_story_each_time_whatever_the_keys() {
    let traces = || -> Vec<u64> {
        let simulation = Simulation::new(Sabotage::None).unwrap();
        (0..25).map(|seed| simulation.play(seed).unwrap().trace).collect()
    };
    assert_eq!(traces(), traces());
}

#[test]
fn a_broken_world_is_found() {
    for sabotage in [Sabotage::SyncsNothing, Sabotage::SyncsNoNames, Sabotage::Forgets] {
        let failed = play(sabotage, 0, 40).iter().filter(|outcome| !outcome.wrong.is_empty()).count();
        println!("{sabotage:?}: {failed} of 40 seeds fail");
        assert!(failed > 0, "{sabotage:?} is not found");
    }
}
