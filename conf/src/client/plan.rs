//! What the client does next: which source to ask for which version, and how long to wait.
//!
//! Pure: it knows addresses and what came of asking them, not sockets, and it is told the time. One plan belongs to
//! one instance.
//!
//! A round asks the sources one after another until one has news:
//!
//! ```text
//! next ─► Ask(?version=6) ─► NoSuchVersion ─► Ask(?version=5) ─► … ─► Ask(no version: 2)
//!                        ├─► Taken ──────────────────────────────► Wait(interval)
//!                        └─► Nothing new, older, or failed ──────► the next source … ─► Wait
//! ```
//!
//! Specification: PR-GCONF §2.7.
//!
//! # Compatibility
//! The order (last success first) and the probing of versions are X-Road's. X-Road stops at the first source that
//! answers; here a source that has nothing new does not end the round, so that one which has stopped moving cannot
//! hold a gateway until its configuration expires.

use std::time::Duration;

use cert_authority::clock::UnixTime;

/// The newest version that is asked for; see [`OLDEST_VERSION`].
pub const NEWEST_VERSION: u8 = 6;
/// The version that a source gives when no version is named.
pub const OLDEST_VERSION: u8 = 2;
/// The wait after the first failed round; it doubles with each further one, up to the interval.
pub const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask this address, then tell the plan what came of it.
    Ask(Question),
    /// Nothing until then.
    Wait(UnixTime),
}

/// One address to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The source, as it was given to the plan.
    pub source: String,
    /// The address to ask, with its version.
    pub url: String,
    /// The version asked for; `None` where the source's address fixes it.
    pub version: Option<u8>,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A newer configuration, verified and in force.
    Taken,
    /// The configuration that is in force already.
    Unchanged,
    /// A valid configuration, but an older one.
    Older,
    /// 404: the source has no such version.
    NoSuchVersion,
    /// No answer, or none that can be used.
    Failed,
}

/// The plan for one instance.
#[derive(Debug)]
pub struct Plan {
    sources: Vec<String>,
    preferred: Option<String>,
    interval: Duration,
    round: Option<Round>,
    failed_rounds: u32,
    next_round: UnixTime,
}

#[derive(Debug)]
struct Round {
    /// Sources still to be asked, the present one last.
    ahead: Vec<String>,
    version: u8,
    /// A source answered with what is in force already: nothing is wrong, there is only no news.
    reached: bool,
}

impl Plan {
    /// A plan that begins with a round at once.
    pub fn new(sources: Vec<String>, interval: Duration) -> Self {
        Self {
            sources,
            preferred: None,
            interval,
            round: None,
            failed_rounds: 0,
            next_round: UnixTime::from_millis(i64::MIN),
        }
    }

    /// Takes up a changed list of sources with the next round.
    pub fn set_sources(&mut self, sources: Vec<String>) {
        self.sources = sources;
    }

    /// Lets the next round begin at once.
    pub fn hurry(&mut self) {
        self.next_round = UnixTime::from_millis(i64::MIN);
    }

    /// What to do now. Asked again without an answer in between it says the same.
    pub fn next(&mut self, now: UnixTime) -> Next {
        // A clock that was turned back must not make us wait longer than one interval.
        self.next_round = self.next_round.min(now + self.interval);
        if self.round.is_none() && now >= self.next_round {
            self.round = self.begin();
            if self.round.is_none() {
                self.end_round(false, now);
            }
        }
        match self.round.as_ref().and_then(Round::question) {
            Some(question) => Next::Ask(question),
            None => Next::Wait(self.next_round),
        }
    }

    /// Takes in what came of the question that [`Plan::next`] gave.
    pub fn answer(&mut self, answer: Answer, now: UnixTime) {
        let Some(round) = &mut self.round else { return };
        match answer {
            Answer::Taken => {
                self.preferred = round.ahead.last().cloned();
                self.end_round(true, now);
                return;
            }
            Answer::NoSuchVersion if round.can_go_lower() => {
                round.version -= 1;
                return;
            }
            Answer::Unchanged => round.reached = true,
            Answer::Older | Answer::NoSuchVersion | Answer::Failed => {}
        }
        round.version = NEWEST_VERSION;
        round.ahead.pop();
        if round.ahead.is_empty() {
            let reached = round.reached;
            self.end_round(reached, now);
        }
    }

    fn begin(&self) -> Option<Round> {
        let mut ahead: Vec<String> = self.sources.iter().rev().cloned().collect();
        if let Some(preferred) = &self.preferred
            && let Some(place) = ahead.iter().position(|source| source == preferred)
        {
            let preferred = ahead.remove(place);
            ahead.push(preferred);
        }
        (!ahead.is_empty()).then_some(Round { ahead, version: NEWEST_VERSION, reached: false })
    }

    fn end_round(&mut self, good: bool, now: UnixTime) {
        self.round = None;
        if good {
            self.failed_rounds = 0;
            self.next_round = now + self.interval;
        } else {
            let back_off = FIRST_BACK_OFF.saturating_mul(1 << self.failed_rounds.min(16));
            self.failed_rounds = self.failed_rounds.saturating_add(1);
            self.next_round = now + back_off.min(self.interval);
        }
    }
}

impl Round {
    fn question(&self) -> Option<Question> {
        let source = self.ahead.last()?.clone();
        if names_its_version(&source) {
            return Some(Question { url: source.clone(), source, version: None });
        }
        // Version 2 is what a source gives when it is not asked for a version.
        let url = if self.version == OLDEST_VERSION {
            source.clone()
        } else {
            let joint = if source.contains('?') { '&' } else { '?' };
            format!("{source}{joint}version={}", self.version)
        };
        Some(Question { source, url, version: Some(self.version) })
    }

    fn can_go_lower(&self) -> bool {
        self.version > OLDEST_VERSION && !self.ahead.last().is_some_and(|source| names_its_version(source))
    }
}

fn names_its_version(url: &str) -> bool {
    url.split_once('?').is_some_and(|(_, query)| query.split('&').any(|pair| pair.starts_with("version=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(seconds)
    }

    fn plan(sources: &[&str]) -> Plan {
        Plan::new(sources.iter().map(|s| (*s).to_owned()).collect(), MINUTE)
    }

    fn asked(plan: &mut Plan, now: UnixTime) -> String {
        match plan.next(now) {
            Next::Ask(question) => question.url,
            Next::Wait(until) => panic!("waits until {until}"),
        }
    }

    #[test]
    fn versions_are_probed_from_the_newest_down_to_the_unnamed_one() {
        let mut plan = plan(&["http://a/conf"]);
        for url in ["?version=6", "?version=5", "?version=4", "?version=3", ""] {
            assert_eq!(asked(&mut plan, at(0)), format!("http://a/conf{url}"));
            plan.answer(Answer::NoSuchVersion, at(0));
        }
        assert_eq!(plan.next(at(0)), Next::Wait(at(1)), "a source without any version has failed");
    }

    #[test]
    fn a_version_in_the_address_is_respected() {
        let mut plan = plan(&["http://a/conf?version=4", "http://b/conf?x=1"]);
        assert_eq!(asked(&mut plan, at(0)), "http://a/conf?version=4");
        plan.answer(Answer::NoSuchVersion, at(0));
        assert_eq!(asked(&mut plan, at(0)), "http://b/conf?x=1&version=6");
    }

    #[test]
    fn the_source_of_the_last_news_is_asked_first() {
        let mut plan = plan(&["http://a", "http://b", "http://c"]);
        assert_eq!(asked(&mut plan, at(0)), "http://a?version=6");
        plan.answer(Answer::Failed, at(0));
        assert_eq!(asked(&mut plan, at(0)), "http://b?version=6");
        plan.answer(Answer::Taken, at(0));
        assert_eq!(plan.next(at(0)), Next::Wait(at(60)));
        assert_eq!(asked(&mut plan, at(60)), "http://b?version=6");
        plan.answer(Answer::Failed, at(60));
        assert_eq!(asked(&mut plan, at(60)), "http://a?version=6");
    }

    #[test]
    fn a_source_that_stands_still_does_not_end_the_round() {
        let mut plan = plan(&["http://frozen", "http://fresh"]);
        asked(&mut plan, at(0));
        plan.answer(Answer::Unchanged, at(0));
        assert_eq!(asked(&mut plan, at(0)), "http://fresh?version=6");
        plan.answer(Answer::Taken, at(0));
        assert_eq!(asked(&mut plan, at(60)), "http://fresh?version=6");
    }

    #[test]
    fn no_news_from_any_source_is_no_failure() {
        let mut plan = plan(&["http://a", "http://b"]);
        asked(&mut plan, at(0));
        plan.answer(Answer::Unchanged, at(0));
        asked(&mut plan, at(0));
        plan.answer(Answer::Failed, at(0));
        assert_eq!(plan.next(at(0)), Next::Wait(at(60)));
    }

    #[test]
    fn failed_rounds_back_off_up_to_the_interval_and_recover() {
        let mut plan = plan(&["http://a"]);
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            asked(&mut plan, now);
            plan.answer(if waits.len() % 2 == 0 { Answer::Failed } else { Answer::Older }, now);
            let Next::Wait(until) = plan.next(now) else { panic!("asks at once") };
            waits.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        asked(&mut plan, now);
        plan.answer(Answer::Taken, now);
        now = now + MINUTE;
        asked(&mut plan, now);
        plan.answer(Answer::Failed, now);
        assert_eq!(plan.next(now), Next::Wait(now + FIRST_BACK_OFF));
    }

    #[test]
    fn a_clock_turned_back_does_not_stop_the_client() {
        let mut plan = plan(&["http://a"]);
        asked(&mut plan, at(1_000_000));
        plan.answer(Answer::Taken, at(1_000_000));
        assert_eq!(plan.next(at(0)), Next::Wait(at(60)));
    }

    #[test]
    fn without_a_source_the_plan_waits_and_takes_up_a_new_one() {
        let mut plan = plan(&[]);
        assert_eq!(plan.next(at(0)), Next::Wait(at(1)));
        plan.set_sources(vec!["http://late".to_owned()]);
        assert_eq!(asked(&mut plan, at(1)), "http://late?version=6");
    }

    #[test]
    fn asking_twice_without_an_answer_changes_nothing() {
        let mut plan = plan(&["http://a", "http://b"]);
        assert_eq!(plan.next(at(0)), plan.next(at(5)));
    }
}
