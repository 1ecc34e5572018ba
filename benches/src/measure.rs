//! Micro-benchmarks: one hot step in a loop, its median and spread.
//!
//! A step is timed in batches of about a millisecond, so that the clock costs nothing; the batches' median is
//! the figure, and the tenth and ninetieth percentile say how noisy the machine was. Wall time of one thread.

use std::hint::black_box;
use std::time::Duration;

/// Time of one step in nanoseconds: median, tenth and ninetieth percentile over the batches.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Half of the batches were faster.
    pub median: f64,
    /// A tenth of the batches were faster.
    pub low: f64,
    /// A tenth of the batches were slower.
    pub high: f64,
}

/// Measures `step` for about `total`, after a warm-up of a tenth of it.
pub fn step<T>(total: Duration, mut step: impl FnMut() -> T) -> Step {
    let warm = now();
    let mut runs = 0_u32;
    while warm.elapsed() < total / 10 || runs == 0 {
        black_box(step());
        runs += 1;
    }
    let one = warm.elapsed() / runs;
    let batch = (1_000_000 / one.as_nanos().max(1)).clamp(1, 1_000_000);
    let mut batches = Vec::new();
    let begin = now();
    while begin.elapsed() < total || batches.len() < 5 {
        let start = now();
        for _ in 0..batch {
            black_box(step());
        }
        #[expect(
            clippy::as_conversions,
            reason = "a count of at most a million and nanoseconds of one batch"
        )]
        batches.push(start.elapsed().as_nanos() as f64 / batch as f64);
    }
    batches.sort_by(f64::total_cmp);
    let at = |tenths: usize| batches.get(batches.len() * tenths / 10).copied().unwrap_or_default();
    Step { median: at(5), low: at(1), high: at(9) }
}

/// Prints one line of the table: name, median, spread, steps a second.
pub fn report(name: &str, measured: Step) {
    println!(
        "{name:<52} {:>10.1} us   ({:.1} .. {:.1})   {:>12.0} /s",
        measured.median / 1000.0,
        measured.low / 1000.0,
        measured.high / 1000.0,
        1e9 / measured.median
    );
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
