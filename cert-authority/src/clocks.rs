//! Whether our clock is right, by what others say of theirs: time-stamping authorities in their tokens, other servers in
//! the answers over connections on which they were authenticated.
//!
//! Each witness is kept with the time it stated and with how much time had passed here, measured by what no setting of the
//! clock changes. So a clock that is set wrong is found at once, not at the next exchange, and so is one that is set right.
//!
//! One word of an authority counts, or the same word of two others: one liar among those that we speak with can neither
//! alarm us nor stop us.
//!
//! Specification: THREATS T32. Not here: what is done about it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::clock::{Clock, UnixTime};

/// What is put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Beyond this difference somebody is to be told.
    pub alarm: Duration,
    /// Beyond this one nothing may be signed; `None`: everything may.
    pub refuse: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { alarm: Duration::from_secs(60), refuse: Some(Duration::from_secs(300)) }
    }
}

/// Who has stated a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness<'a> {
    /// An approved time-stamping authority, in a token that was verified.
    Authority(&'a str),
    /// Another server, authenticated.
    Server(&'a str),
}

/// Our clock is too far from others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the clock of this server differs by {0} s from others")]
pub struct WrongClock(
    /// By how much, in seconds, at least.
    pub u64,
);

/// For how long a word counts.
const REMEMBERED: Duration = Duration::from_secs(900);
/// Witnesses at most.
const MOST: usize = 1000;
/// What is stated in whole seconds may be off by one.
const SECOND: Duration = Duration::from_secs(1);

/// Compares our clock with those of others.
pub struct Clocks {
    clock: Arc<dyn Clock>,
    limits: Limits,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    words: HashMap<(bool, String), Word>,
    alarmed: bool,
}

#[derive(Clone, Copy)]
struct Word {
    theirs: UnixTime,
    /// What had passed here when it was said.
    at: Duration,
    /// How far it may be from the truth.
    give: Duration,
}

impl Clocks {
    /// With nothing heard yet.
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { clock, limits, seen: Mutex::default() }
    }

    /// Our clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Somebody states the time, in an answer to a question that took this long.
    pub fn saw(&self, witness: Witness<'_>, theirs: UnixTime, took: Duration) {
        let at = self.clock.elapsed();
        let name = match witness {
            Witness::Authority(name) => (true, name.to_owned()),
            Witness::Server(name) => (false, name.to_owned()),
        };
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.words.retain(|_, word| at.saturating_sub(word.at) < REMEMBERED);
            if seen.words.len() >= MOST && !seen.words.contains_key(&name) {
                seen.words.clear();
            }
            seen.words.insert(name, Word { theirs, at, give: took + SECOND });
        }
        self.tell();
    }

    /// By how much our clock differs from others', as far as an authority or two servers say so.
    #[must_use]
    pub fn difference(&self) -> Duration {
        let (now, at) = (self.clock.now(), self.clock.elapsed());
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut servers = (Vec::new(), Vec::new());
        let mut difference = Duration::ZERO;
        for ((is_authority, _), word) in &seen.words {
            let passed = at.saturating_sub(word.at);
            if passed >= REMEMBERED {
                continue;
            }
            let theirs = word.theirs + passed;
            // One of the two is zero.
            let (behind, ahead) = (theirs.since(now), now.since(theirs));
            let (behind, ahead) = (behind.saturating_sub(word.give), ahead.saturating_sub(word.give));
            if *is_authority {
                difference = difference.max(behind).max(ahead);
            } else {
                servers.0.push(behind);
                servers.1.push(ahead);
            }
        }
        for mut same_way in [servers.0, servers.1] {
            same_way.sort_unstable();
            // The second largest: so much say two of them.
            difference = difference.max(same_way.iter().rev().nth(1).copied().unwrap_or_default());
        }
        difference
    }

    /// Whether the difference is one that somebody is to be told of.
    ///
    /// # Errors
    /// [`WrongClock`].
    pub fn check_alarm(&self) -> Result<(), WrongClock> {
        within(self.difference(), self.limits.alarm)
    }

    /// Whether something may be signed.
    ///
    /// # Errors
    /// [`WrongClock`].
    pub fn check(&self) -> Result<(), WrongClock> {
        self.limits.refuse.map_or(Ok(()), |limit| within(self.difference(), limit))
    }

    /// Tells when it becomes wrong, and when it becomes right.
    fn tell(&self) {
        let verdict = self.check_alarm();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if verdict.is_err() != seen.alarmed {
            seen.alarmed = verdict.is_err();
            match verdict {
                Err(wrong) => tracing::error!(seconds = wrong.0, "the clock of this server is not right"),
                Ok(()) => tracing::info!("the clock of this server is right again"),
            }
        }
    }
}

fn within(difference: Duration, limit: Duration) -> Result<(), WrongClock> {
    if difference > limit { Err(WrongClock(difference.as_secs())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    const START: UnixTime = UnixTime::from_secs(1_000_000);

    /// A clock that can be set while time goes on.
    #[derive(Clone)]
    struct Set(FixedClock, FixedClock);

    impl Clock for Set {
        fn now(&self) -> UnixTime {
            self.0.now()
        }

        fn elapsed(&self) -> Duration {
            self.1.elapsed()
        }
    }

    fn clocks() -> (Set, Clocks) {
        let clock = Set(FixedClock::new(START), FixedClock::new(START));
        (clock.clone(), Clocks::new(Arc::new(clock), Limits::default()))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_authority_is_believed_by_itself_and_a_server_only_with_another_that_says_the_same() {
        let (_, clocks) = clocks();
        clocks.saw(Witness::Server("a"), START + seconds(1000), Duration::ZERO);
        assert_eq!((clocks.check(), clocks.check_alarm()), (Ok(()), Ok(())), "one liar");
        clocks.saw(Witness::Server("b"), START - seconds(1000), Duration::ZERO);
        assert_eq!((clocks.check(), clocks.check_alarm()), (Ok(()), Ok(())), "they contradict each other");
        clocks.saw(Witness::Server("c"), START + seconds(100), Duration::ZERO);
        assert_eq!((clocks.check(), clocks.check_alarm()), (Ok(()), Err(WrongClock(99))));
        clocks.saw(Witness::Server("c"), START + seconds(400), Duration::ZERO);
        assert_eq!(clocks.check(), Err(WrongClock(399)));
        let (_, clocks) = self::clocks();
        clocks.saw(Witness::Authority("tsa"), START - seconds(302), Duration::ZERO);
        assert_eq!(clocks.check(), Err(WrongClock(301)));
    }

    #[test]
    fn at_a_limit_all_is_well_and_a_second_beyond_it_is_not() {
        type Check = fn(&Clocks) -> Result<(), WrongClock>;
        let checks: [(u64, Check); 2] = [(60, Clocks::check_alarm), (300, Clocks::check)];
        for (limit, check) in checks {
            let (_, clocks) = clocks();
            // One second for what is stated in whole seconds, and three that the answer took.
            clocks.saw(Witness::Authority("tsa"), START + seconds(limit + 4), seconds(3));
            assert_eq!(check(&clocks), Ok(()), "{limit}");
            clocks.saw(Witness::Authority("tsa"), START + seconds(limit + 5), seconds(3));
            assert_eq!(check(&clocks), Err(WrongClock(limit + 1)));
        }
    }

    #[test]
    fn a_clock_that_is_set_wrong_is_found_at_once_and_so_is_one_that_is_set_right() {
        let (clock, clocks) = clocks();
        clocks.saw(Witness::Authority("tsa"), START, Duration::ZERO);
        for (jump, is_right) in [(-3600, false), (3600, false), (0, true), (-1_000_000, false), (30, true)] {
            clock.1.advance(seconds(10));
            let right = clock.1.now();
            clock.0.set(UnixTime::from_secs(right.as_secs() + jump));
            assert_eq!(clocks.check().is_ok(), is_right, "{jump}");
        }
    }

    #[test]
    fn an_old_word_counts_no_more() {
        let (clock, clocks) = clocks();
        clocks.saw(Witness::Authority("tsa"), START + seconds(1000), Duration::ZERO);
        assert!(clocks.check().is_err());
        clock.0.advance(seconds(900));
        clock.1.advance(seconds(900));
        assert_eq!(clocks.check(), Ok(()));
    }

    #[test]
    fn without_a_limit_everything_may_be_signed() {
        let limits = Limits { refuse: None, ..Limits::default() };
        let clocks = Clocks::new(Arc::new(FixedClock::new(START)), limits);
        clocks.saw(Witness::Authority("tsa"), START + seconds(100_000), Duration::ZERO);
        assert_eq!((clocks.check(), clocks.check_alarm().is_err()), (Ok(()), true));
    }
}
