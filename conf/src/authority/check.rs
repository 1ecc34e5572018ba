//! What the checks of a register share: reading what it names, looking up whom it names, noting what is wrong.
//!
//! A check that fails adds a problem and goes on, so that all are told together.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::Hasher;
use cert_authority::settings::{Problem, Problems, Text, parse_duration};
use cert_authority::x509::Certificate;

use crate::identifier::{ClientId, MemberId};

/// What the checks share.
pub(super) struct Check<'a> {
    pub(super) text: &'a str,
    pub(super) folder: PathBuf,
    pub(super) instance: String,
    pub(super) members: HashSet<MemberId>,
    pub(super) clients: HashSet<ClientId>,
    pub(super) files: Vec<PathBuf>,
    pub(super) hasher: Hasher,
    pub(super) problems: Problems,
}

impl<'a> Check<'a> {
    pub(super) fn new(text: &'a str, folder: PathBuf, path: PathBuf) -> Self {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        hasher.update(text.as_bytes());
        Self {
            text,
            folder,
            instance: String::new(),
            members: HashSet::new(),
            clients: HashSet::new(),
            files: vec![path],
            hasher,
            problems: Problems::default(),
        }
    }

    pub(super) fn known_member(&mut self, text: &Text, key: &str) -> Option<MemberId> {
        match text.get_ref().parse::<MemberId>() {
            Ok(id) if self.members.contains(&id) => Some(id),
            Ok(_) => self.nothing(text, key, "is no member of this file"),
            Err(error) => self.nothing(text, key, error),
        }
    }

    pub(super) fn known_client(&mut self, text: &Text, key: &str) -> Option<ClientId> {
        match text.get_ref().parse::<ClientId>() {
            Ok(id) if self.clients.contains(&id) => Some(id),
            Ok(_) => self.nothing(text, key, "is no member or subsystem of this file"),
            Err(error) => self.nothing(text, key, error),
        }
    }

    /// One of ours, or one of another instance, whom only the other authority knows.
    pub(super) fn any_client(&mut self, text: &Text, key: &str) -> Option<ClientId> {
        match text.get_ref().parse::<ClientId>() {
            Ok(id) if id.instance() != self.instance => Some(id),
            _ => self.known_client(text, key),
        }
    }

    pub(super) fn certificate(&mut self, path: &Text, key: &str) -> Option<Certificate> {
        let bytes = self.read(path, key)?;
        match Certificate::from_pem(&String::from_utf8_lossy(&bytes)) {
            Ok(certificate) => Some(certificate),
            Err(error) => self.nothing(path, key, format!("{}: {error}", path.get_ref())),
        }
    }

    pub(super) fn read(&mut self, path: &Text, key: &str) -> Option<Vec<u8>> {
        let file = self.folder.join(path.get_ref());
        match std::fs::read(&file) {
            Ok(bytes) => {
                self.hasher.update(&bytes);
                self.files.push(file);
                Some(bytes)
            }
            Err(error) => self.nothing(path, key, format!("{}: {error}", path.get_ref())),
        }
    }

    pub(super) fn duration(&mut self, key: &str, text: Option<&Text>, default: Duration) -> Duration {
        let Some(text) = text else { return default };
        match parse_duration(text.get_ref()) {
            Ok(duration) if duration.subsec_nanos() == 0 => duration,
            Ok(_) => {
                self.problem(Some(text), key, "must be whole seconds");
                default
            }
            Err(reason) => {
                self.problem(Some(text), key, reason);
                default
            }
        }
    }

    pub(super) fn url(&mut self, text: &Text, key: &str) {
        let is_url = text
            .get_ref()
            .parse::<http::Uri>()
            .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        if !is_url {
            self.problem(Some(text), key, "is no http:// or https:// address");
        }
    }

    pub(super) fn not_empty(&mut self, text: &Text, key: &str) {
        if text.get_ref().trim().is_empty() {
            self.problem(Some(text), key, "is empty");
        }
    }

    pub(super) fn problem(&mut self, place: Option<&Text>, key: &str, reason: impl fmt::Display) {
        let reason = reason.to_string();
        match place {
            Some(place) => self.problems.at(self.text, &place.span(), key, reason),
            None => self.problems.0.push(Problem { line: None, key: key.to_owned(), reason }),
        }
    }

    pub(super) fn nothing<T>(&mut self, place: &Text, key: &str, reason: impl fmt::Display) -> Option<T> {
        self.problem(Some(place), key, reason);
        None
    }
}

/// A name of the domain name system, or an address; a port is a setting of the network, not of the server.
pub(super) fn is_host(text: &str) -> bool {
    let is_name = !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    is_name || text.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn an_address_is_a_host_without_port() {
        for host in ["127.0.0.11", "ss1.example.org", "localhost", "::1", "2001:db8::7"] {
            assert!(is_host(host), "{host} was refused");
        }
        for no_host in ["", "ss1:5500", "https://ss1", "a b", "ss1/", "a..b", "user@host", "[::1]"] {
            assert!(!is_host(no_host), "{no_host} was taken");
        }
    }
}
