//! Who may administrate: named tokens, each with a role, known by their hashes only.
//!
//! A token is a long random secret, so its plain SHA-256 is enough: there is nothing to guess. Every hash is compared in
//! constant time, and all of them are, whichever fits. After a few failures an address waits.
//!
//! Specification: THREATS T36.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::{constant_time_eq, digest};
use tokio::time::Instant;

/// Failures of one address within [`WINDOW`] before it has to wait.
const MOST_FAILURES: u32 = 5;

/// How long failures count.
const WINDOW: Duration = Duration::from_secs(10);

/// Addresses whose failures are remembered.
const MOST_ADDRESSES: usize = 10_000;

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Changes things.
    Operator,
    /// Looks at evidence.
    Auditor,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is; stands in the audit trail.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// SHA-256 of the token's text.
    pub sha256: [u8; 32],
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token was shown.
    #[error("no token")]
    Missing,
    /// It is none of ours.
    #[error("unknown token")]
    Unknown,
    /// The address has failed too often.
    #[error("too many failures")]
    TooManyFailures,
}

/// The tokens in force, and who has failed lately.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    tokens: Arc<ArcSwap<Vec<Token>>>,
    failures: Arc<Mutex<HashMap<IpAddr, (u32, Instant)>>>,
}

impl Tokens {
    /// With these tokens.
    #[must_use]
    pub fn new(tokens: Vec<Token>) -> Self {
        Self { tokens: Arc::new(ArcSwap::from_pointee(tokens)), failures: Arc::default() }
    }

    /// Whether this token is still one of them.
    #[must_use]
    pub fn knows(&self, token: &Token) -> bool {
        self.tokens.load().contains(token)
    }

    /// Takes other tokens from now on.
    pub fn replace(&self, tokens: Vec<Token>) {
        self.tokens.store(Arc::new(tokens));
    }

    /// The token that an `Authorization` header shows.
    ///
    /// # Errors
    /// [`TokenError`]. While an address waits, a right token does not help it either.
    pub fn admit(&self, address: IpAddr, authorization: Option<&Bytes>) -> Result<Token, TokenError> {
        if self.has_to_wait(address) {
            return Err(TokenError::TooManyFailures);
        }
        let shown = authorization.and_then(|value| bearer(value)).ok_or(TokenError::Missing)?;
        let hash = digest(DigestAlgorithm::Sha256, shown);
        let mut found = None;
        for token in self.tokens.load().iter() {
            if constant_time_eq(&token.sha256, hash.as_ref()) {
                found = Some(token.clone());
            }
        }
        found.ok_or_else(|| {
            self.note_failure(address);
            TokenError::Unknown
        })
    }

    fn has_to_wait(&self, address: IpAddr) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .get(&address)
            .is_some_and(|(count, since)| *count >= MOST_FAILURES && since.elapsed() < WINDOW)
    }

    fn note_failure(&self, address: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST_ADDRESSES {
            failures.retain(|_, (_, since)| since.elapsed() < WINDOW);
        }
        let (count, since) = failures.entry(address).or_insert_with(|| (0, Instant::now()));
        if since.elapsed() >= WINDOW {
            (*count, *since) = (0, Instant::now());
        }
        *count = count.saturating_add(1);
    }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        let token = |name: &str, role, text: &str| Token {
            name: name.to_owned(),
            role,
            sha256: digest(DigestAlgorithm::Sha256, text.as_bytes()).as_ref().try_into().unwrap(),
        };
        Tokens::new(vec![token("anna", Role::Operator, "secret-a"), token("ben", Role::Auditor, "secret-b")])
    }

    fn shown(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn each_token_is_known_by_its_hash() {
        let tokens = tokens();
        assert_eq!(tokens.admit(HERE, shown("Bearer secret-b").as_ref()).unwrap().name, "ben");
        assert_eq!(tokens.admit(HERE, shown("bearer secret-a").as_ref()).unwrap().role, Role::Operator);
        assert_eq!(tokens.admit(HERE, None), Err(TokenError::Missing));
        for wrong in ["Bearer ", "Basic secret-a", "secret-a", "Bearer secret-", "Bearer  secret-a"] {
            assert!(tokens.admit(HERE, shown(wrong).as_ref()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_that_fails_often_waits_even_with_a_right_token_and_others_do_not() {
        let tokens = tokens();
        for _ in 0..MOST_FAILURES {
            assert_eq!(tokens.admit(HERE, shown("Bearer wrong").as_ref()), Err(TokenError::Unknown));
        }
        assert_eq!(tokens.admit(HERE, shown("Bearer secret-a").as_ref()), Err(TokenError::TooManyFailures));
        assert!(tokens.admit("10.0.0.1".parse().unwrap(), shown("Bearer secret-a").as_ref()).is_ok());
    }

    #[test]
    fn replaced_tokens_no_longer_open() {
        let tokens = tokens();
        tokens.replace(Vec::new());
        assert_eq!(tokens.admit(HERE, shown("Bearer secret-a").as_ref()), Err(TokenError::Unknown));
    }
}
