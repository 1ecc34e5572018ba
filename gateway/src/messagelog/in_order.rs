//! Work on many things on all cores, whose results are taken in the order of the things.
//!
//! ```text
//! things ──► whichever core is free ──► work ──► results, taken in the order of the things
//!    ▲                                                        │
//!    └──────────── as many more as were taken ────────────────┘
//! ```
//! Memory does not grow with their number: only so many are under way as keep all cores at work.

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
};

/// Things under way for each core: one in work, others before and behind it.
const UNDER_WAY: usize = 4;

/// Does `work` with each thing on all cores, and gives the results to `take` in their order. The things are made on a
/// thread of their own; an error of `take` ends all.
pub(crate) fn in_order<T: Send, R: Send, E>(
    things: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let most = workers.saturating_mul(UNDER_WAY);
    let (begin, waiting) = mpsc::sync_channel(most);
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        let (done, ends) = mpsc::channel();
        for _ in 0..workers {
            let (done, waiting, work) = (done.clone(), &waiting, &work);
            scope.spawn(move || {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((turn, thing)) = next else { return };
                    let alarm = Alarm(&done);
                    let result = work(thing);
                    drop(alarm);
                    // Nobody takes results any more once one was an error.
                    if done.send(Some((turn, result))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let (more, room) = mpsc::sync_channel(most);
        for _ in 0..most {
            let _ = more.try_send(());
        }
        scope.spawn(move || {
            let mut turns = (0_u64..).zip(things);
            turns.all(|thing| room.recv().is_ok() && begin.send(thing).is_ok())
        });
        let (mut due, mut early) = (0_u64, BTreeMap::new());
        // If a worker panicked, so does the scope.
        while let Ok(Some((turn, result))) = ends.recv() {
            early.insert(turn, result);
            while let Some(result) = early.remove(&due) {
                take(result)?;
                due += 1;
                // When no more things come nobody waits for room.
                let _ = more.try_send(());
            }
        }
        Ok(())
    })
}

/// Ends all when a worker panics: nobody else would bring its result.
struct Alarm<'a, R>(&'a Sender<Option<(u64, R)>>);

impl<R> Drop for Alarm<'_, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(None);
        }
    }
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
