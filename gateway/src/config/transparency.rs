//! `[log.checkpoints]`: what the log is called, who signs its checkpoints, and who cosigns them.
//!
//! Not here: what is done with it ([`crate::messagelog::checkpoint`]).

use std::time::Duration;

use cert_authority::http::Client;
use cert_authority::keys::KeyId;
use cert_authority::settings::{Text, optional_duration};
use cert_authority::tlog::{Checkpoint, SignatureType, VerifierKey};
use cert_authority::x509::Certificate;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use crate::messagelog::witnessing::WitnessSettings;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointsFile {
    pub(super) origin: Text,
    pub(super) key: Option<Text>,
    #[serde(default)]
    pub(super) previous_keys: Vec<Text>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) every: Option<Duration>,
    pub(super) quorum: Option<toml::Spanned<usize>>,
    #[serde(default)]
    pub(super) witness: Vec<WitnessFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WitnessFile {
    pub(super) url: Text,
    pub(super) key: Text,
    pub(super) authorities: Option<Text>,
}

/// As meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoints {
    /// What the log is called.
    pub origin: String,
    /// The key that signs; `None` for the newest one with usage `checkpoint`.
    pub key: Option<KeyId>,
    /// Verifier keys of those that signed before.
    pub previous_keys: Vec<VerifierKey>,
    /// How often a checkpoint is made while there is traffic.
    pub every: Duration,
    /// How many witnesses must cosign for the gateway to be healthy.
    pub quorum: usize,
    /// Who cosigns.
    pub witnesses: Vec<Witness>,
}

/// A witness that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Where it is.
    pub url: String,
    /// What its cosignatures are verified with; it has its name.
    pub key: VerifierKey,
    /// Who may have issued its certificate, for https.
    pub authorities: Vec<Certificate>,
}

impl Witness {
    /// As the message log asks it.
    ///
    /// # Errors
    /// Why TLS cannot use the authorities.
    pub fn settings(&self) -> Result<WitnessSettings, String> {
        let roots: Vec<_> =
            self.authorities.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
        let client = if roots.is_empty() {
            Client::new()
        } else {
            Client::with_roots(&roots).map_err(|e| e.to_string())?
        };
        Ok(WitnessSettings { url: self.url.clone(), key: self.key.clone(), client })
    }
}

/// A first line of checkpoints.
pub(super) fn origin(text: &str) -> Result<String, String> {
    // It names the key too.
    let bad = text.chars().any(|c| c.is_whitespace() || c == '+');
    if bad || Checkpoint::new(text, 0, [0; 32]).is_err() {
        return Err("is a name such as \"gateway.example/ss1\", without spaces and plus".to_owned());
    }
    Ok(text.to_owned())
}

/// A key that signed checkpoints of the log before.
pub(super) fn log_key(text: &str) -> Result<VerifierKey, String> {
    let key: VerifierKey = text.parse().map_err(|error| format!("{error}"))?;
    match key.kind() {
        SignatureType::Ed25519 => Ok(key),
        SignatureType::Cosignature => Err("this is the key of a witness".to_owned()),
    }
}

/// The key of a witness.
pub(super) fn witness_key(text: &str) -> Result<VerifierKey, String> {
    let key: VerifierKey = text.parse().map_err(|error| format!("{error}"))?;
    match key.kind() {
        SignatureType::Cosignature => Ok(key),
        SignatureType::Ed25519 => Err("this is the key of a log, not of a witness".to_owned()),
    }
}

/// The prefix of a witness's address, without a slash at its end.
pub(super) fn witness_url(text: &str) -> Result<String, String> {
    let known = text.starts_with("http://") || text.starts_with("https://");
    if !known || text.contains(['?', '#', ' ']) {
        return Err("begins with http:// or https://".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
