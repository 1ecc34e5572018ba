//! Sessions of people's browsers: who has shown a token, why, and until when that counts.
//!
//! The cookie holds a random number and nothing else; here only its SHA-256 is kept. A session ends when nobody used it
//! for half an hour, after a working day, and when its token is no longer in the settings.
//!
//! Specification: THREATS T36. Not here: tokens ([`crate::admin::Tokens`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::crypto::{self, Digest, digest};

use super::words::Language;
use crate::admin::{Token, Tokens};

/// The name of the cookie.
pub const COOKIE: &str = "passerelle-auditor";

/// A session that nobody used for so long has ended.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// No session lasts longer.
const LONGEST: Duration = Duration::from_secs(10 * 3600);

/// Sessions at once.
const MOST: usize = 1_000;

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub struct Session {
    /// The token that was shown.
    pub token: Token,
    /// Why the log is read, in the reader's words: it stands in the register.
    pub reason: String,
    /// In which language.
    pub language: Language,
    /// What forms of this session hold, so that no other page can send them.
    pub form: String,
    began: UnixTime,
    used: UnixTime,
}

/// All sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    open: Arc<Mutex<HashMap<Digest, Session>>>,
}

impl Sessions {
    /// None yet, of people with these tokens.
    #[must_use]
    pub fn new(tokens: Tokens, clock: Arc<dyn Clock>) -> Self {
        Self { tokens, clock, open: Arc::default() }
    }

    /// Begins a session; gives what its cookie is to hold. None without randomness.
    pub fn begin(&self, token: Token, reason: String, language: Language) -> Option<String> {
        let [secret, form] = [random()?, random()?];
        let now = self.clock.now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST {
            open.retain(|_, session| session.lasts(now));
        }
        if open.len() >= MOST {
            let oldest = open.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id);
            oldest.and_then(|id| open.remove(&id));
        }
        open.insert(id(&secret), Session { token, reason, language, form, began: now, used: now });
        Some(secret)
    }

    /// The session of a `Cookie` header.
    pub fn of(&self, cookies: Option<&str>) -> Option<Session> {
        let now = self.clock.now();
        let id = id(cookie(cookies?)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get_mut(&id)?;
        if !session.lasts(now) || !self.tokens.knows(&session.token) {
            open.remove(&id);
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    /// Goes on in another language.
    pub fn speak(&self, cookies: Option<&str>, language: Language) {
        let Some(id) = cookies.and_then(cookie).map(id) else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = open.get_mut(&id) {
            session.language = language;
        }
    }

    /// Ends the session of a `Cookie` header.
    pub fn end(&self, cookies: Option<&str>) {
        let Some(id) = cookies.and_then(cookie).map(id) else { return };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Session {
    fn lasts(&self, now: UnixTime) -> bool {
        now.since(self.used) < IDLE && now.since(self.began) < LONGEST
    }
}

fn random() -> Option<String> {
    crypto::random_array::<32>().ok().map(hex::encode)
}

fn id(secret: &str) -> Digest {
    digest(DigestAlgorithm::Sha256, secret.as_bytes())
}

fn cookie(header: &str) -> Option<&str> {
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).next()
}

#[cfg(test)]
mod tests {
    use cert_authority::clock::FixedClock;

    use crate::admin::Role;

    use super::*;

    fn sessions() -> (Sessions, Tokens, Token, FixedClock) {
        let token = Token { name: "ben".to_owned(), role: Role::Auditor, sha256: [7; 32] };
        let tokens = Tokens::new(vec![token.clone()]);
        let clock = FixedClock::new(UnixTime::from_rfc3339("2026-11-23T14:00:00Z").unwrap());
        (Sessions::new(tokens.clone(), Arc::new(clock.clone())), tokens, token, clock)
    }

    fn begun(sessions: &Sessions, token: &Token) -> String {
        let secret = sessions.begin(token.clone(), "case 1".to_owned(), Language::French).unwrap();
        format!("other=1; {COOKIE}={secret}")
    }

    #[test]
    fn a_session_lasts_while_it_is_used_but_not_longer_than_a_day() {
        let (sessions, _, token, clock) = sessions();
        let cookie = begun(&sessions, &token);
        for _ in 0..20 {
            clock.advance(Duration::from_secs(29 * 60));
            assert_eq!(sessions.of(Some(&cookie)).unwrap().reason, "case 1");
        }
        clock.advance(Duration::from_secs(29 * 60));
        assert!(sessions.of(Some(&cookie)).is_none(), "the day is over");

        let cookie = begun(&sessions, &token);
        clock.advance(IDLE);
        assert!(sessions.of(Some(&cookie)).is_none(), "nobody was there");
    }

    #[test]
    fn it_ends_with_its_token_and_by_leaving_and_is_known_by_its_cookie_only() {
        let (sessions, tokens, token, _) = sessions();
        let cookie = begun(&sessions, &token);
        assert!(sessions.of(None).is_none() && sessions.of(Some("")).is_none());
        assert!(sessions.of(Some(&format!("{COOKIE}=00"))).is_none());
        sessions.end(Some(&cookie));
        assert!(sessions.of(Some(&cookie)).is_none());

        let cookie = begun(&sessions, &token);
        tokens.replace(Vec::new());
        assert!(sessions.of(Some(&cookie)).is_none());
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let (sessions, _, token, clock) = sessions();
        let first = begun(&sessions, &token);
        clock.advance(Duration::from_secs(1));
        for _ in 0..MOST {
            begun(&sessions, &token);
        }
        assert!(sessions.of(Some(&first)).is_none());
        assert_eq!(sessions.open.lock().unwrap().len(), MOST);
    }
}
