//! Work on many things on all cores, whose results are taken in the order of the things.
//!
//! ```text
//! things ──► one after the other to each core ──► work ──► results, taken in the same turn
//! ```
//! Memory does not grow with their number: each core has at most two things before it and two results behind it.

use std::{
    num::NonZero,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
};

const AHEAD: usize = 2;

/// Does `work` with each thing on all cores, and gives the results to `take` in their order. The things are made on a
/// thread of their own; an error of `take` ends all.
pub(crate) fn in_order<T: Send, R: Send, E>(
    things: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (begin, waiting): (SyncSender<T>, Receiver<T>) = mpsc::sync_channel(AHEAD);
            let (done, end) = mpsc::sync_channel(AHEAD);
            let work = &work;
            // Nobody takes results any more once one was an error.
            scope.spawn(move || waiting.into_iter().all(|thing| done.send(work(thing)).is_ok()));
            begins.push(begin);
            ends.push(end);
        }
        scope.spawn(move || {
            let mut turns = begins.iter().cycle().zip(things);
            turns.all(|(begin, thing)| begin.send(thing).is_ok())
        });
        for end in ends.iter().cycle() {
            // Its worker has no more to do, so nobody behind it has. If it panicked, so does the scope.
            let Ok(result) = end.recv() else { break };
            take(result)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_things_however_long_each_takes() {
        for count in [0_u64, 1, 7, 100] {
            let mut taken = Vec::new();
            let work = |n: u64| {
                thread::sleep(Duration::from_micros(n * 7 % 5 * 100));
                n * n
            };
            in_order(0..count, work, |result| {
                taken.push(result);
                Ok::<(), ()>(())
            })
            .unwrap();
            assert_eq!(taken, (0..count).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_it_although_more_things_would_come() {
        let ended = in_order(0_u64.., |n| n, |n| if n < 50 { Ok(()) } else { Err(n) });
        assert_eq!(ended, Err(50));
    }

    #[test]
    #[should_panic(expected = "scoped thread")]
    fn a_worker_that_panics_is_not_taken_for_the_end() {
        let work = |n: u64| if n == 5 { panic!("at five") } else { n };
        let _ = in_order(0_u64..10, work, |_| Ok::<(), ()>(()));
    }
}
