//! `ca.toml`: as written, and as meant.
//!
//! Every key stands in `conf/examples/ca.toml` with its default and reason; a test holds the two together. Unknown keys are
//! refused. Paths are relative to the file's folder. Secrets are paths, never values.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use const_oid::ObjectIdentifier;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::asn1;
use crate::error::PkiError;
use crate::keys::KeyType;
use crate::settings::duration;
use crate::x509::Name;

/// The authority's settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Keys, certificates, the register.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// The PIN that opens the keys.
    #[serde(default = "default_pin")]
    pub pin_file: PathBuf,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Under which address others reach it; stands in the certificates.
    pub url: String,
    /// The root.
    pub root: Authority,
    /// An authority below the root that issues in its place.
    pub intermediate: Option<Authority>,
    /// The OCSP responder.
    pub ocsp: Ocsp,
    /// The time-stamping authority.
    pub tsa: Tsa,
    /// What is issued.
    #[serde(default)]
    pub issue: Issue,
    /// The revocation lists.
    #[serde(default)]
    pub crl: Crl,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

/// A certification authority's own certificate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// Its name.
    #[serde(deserialize_with = "name")]
    pub name: Name,
    /// Its key.
    #[serde(default = "default_key", deserialize_with = "key_type")]
    pub key: KeyType,
    /// How long its certificate is valid.
    #[serde(default = "ten_years", deserialize_with = "duration")]
    pub validity: Duration,
}

/// The OCSP responder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ocsp {
    /// The name of the delegated signer.
    #[serde(deserialize_with = "name")]
    pub name: Name,
    /// Its key.
    #[serde(default = "default_key", deserialize_with = "key_type")]
    pub key: KeyType,
    /// How long its certificate is valid.
    #[serde(default = "one_year", deserialize_with = "duration")]
    pub validity: Duration,
    /// From `thisUpdate` to `nextUpdate`.
    #[serde(default = "one_hour", deserialize_with = "duration")]
    pub next_update: Duration,
    /// How long an answer without a nonce may be given again, as long as nothing was revoked or issued.
    #[serde(default = "one_minute", deserialize_with = "duration")]
    pub reuse: Duration,
}

/// The time-stamping authority.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tsa {
    /// Its name.
    #[serde(deserialize_with = "name")]
    pub name: Name,
    /// Its key.
    #[serde(default = "default_key", deserialize_with = "key_type")]
    pub key: KeyType,
    /// How long its certificate is valid.
    #[serde(default = "five_years", deserialize_with = "duration")]
    pub validity: Duration,
    /// The policy that the tokens state.
    #[serde(default = "default_policy", deserialize_with = "oid")]
    pub policy: ObjectIdentifier,
}

/// What is issued.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Issue {
    /// How long certificates are valid.
    #[serde(deserialize_with = "duration")]
    pub validity: Duration,
}

impl Default for Issue {
    fn default() -> Self {
        Self { validity: one_year() }
    }
}

/// The revocation lists.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Crl {
    /// From `thisUpdate` to `nextUpdate`.
    #[serde(deserialize_with = "duration")]
    pub next_update: Duration,
}

impl Default for Crl {
    fn default() -> Self {
        Self { next_update: DAY }
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// What is worth a line, as tracing's filters are written.
    pub level: String,
    /// For people or for programs.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

const DAY: Duration = Duration::from_secs(86_400);

fn default_data() -> PathBuf {
    "data".into()
}
fn default_pin() -> PathBuf {
    "pin".into()
}
fn default_key() -> KeyType {
    KeyType::EcP256
}
fn ten_years() -> Duration {
    DAY * 3650
}
fn five_years() -> Duration {
    DAY * 1825
}
fn one_year() -> Duration {
    DAY * 365
}
fn one_hour() -> Duration {
    Duration::from_secs(3600)
}
fn one_minute() -> Duration {
    Duration::from_secs(60)
}
/// Of the arc for documentation (RFC 5612): a policy that promises nothing.
fn default_policy() -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.1")
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`PkiError::Store`] with file, line and reason.
    pub fn load(path: &Path) -> Result<Self, PkiError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| PkiError::Store(format!("{}: {error}", path.display())))?;
        let mut config =
            Self::parse(&text).map_err(|reason| PkiError::Store(format!("{}: {reason}", path.display())))?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        config.data = folder.join(&config.data);
        config.pin_file = folder.join(&config.pin_file);
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if !config.url.starts_with("http://") || config.url.ends_with('/') {
            return Err("url must begin with http:// and must not end with a slash".into());
        }
        Ok(config)
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = String::deserialize(deserializer)?;
    Name::parse_rfc4514(&text).map_err(D::Error::custom)
}

fn key_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyType, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

fn oid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectIdentifier, D::Error> {
    let text = String::deserialize(deserializer)?;
    asn1::read_oid(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no object identifier")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../conf/examples/ca.toml");

    /// Only what has no default.
    const SHORTEST: &str = r#"
        listen = "127.0.0.1:7000"
        url = "http://127.0.0.1:7000"
        root = { name = "CN=Example Root CA, O=Example, C=EE" }
        ocsp = { name = "CN=Example OCSP, O=Example, C=EE" }
        tsa = { name = "CN=Example TSA, O=Example, C=EE" }
    "#;

    #[test]
    fn the_example_states_the_defaults() {
        let mut example = Config::parse(EXAMPLE).unwrap();
        assert!(
            example.intermediate.take().is_some(),
            "the example shows an intermediate, which has no default"
        );
        assert_eq!(example, Config::parse(SHORTEST).unwrap());
    }

    #[test]
    fn each_key_of_the_example_has_a_comment() {
        let mut commented = false;
        for line in EXAMPLE.lines() {
            if line.starts_with('#') {
                commented = true;
            } else if line.is_empty() {
                commented = false;
            } else if !line.starts_with('[') {
                assert!(commented, "no comment above {line:?}");
                commented = false;
            }
        }
    }

    #[test]
    fn unknown_keys_bare_numbers_and_bad_names_are_refused() {
        for (line, complaint) in [
            ("colour = \"red\"", "colour"),
            ("crl = { next_update = 30 }", "string"),
            ("crl = { next_update = \"30\" }", "needs a unit"),
            ("crl = { next_update = \"30 weeks\" }", "is no duration"),
            ("intermediate = { name = \"nonsense\" }", "nonsense"),
            ("intermediate = { name = \"CN=x\", key = \"rsa1024\" }", "rsa1024"),
        ] {
            let error = Config::parse(&format!("{SHORTEST}\n{line}")).unwrap_err();
            assert!(error.contains(complaint), "{line}: {error}");
        }
    }

    #[test]
    fn an_address_that_cannot_stand_in_a_certificate_is_refused() {
        let text = SHORTEST.replace("http://127.0.0.1:7000", "https://127.0.0.1:7000/");
        assert!(Config::parse(&text).unwrap_err().contains("url"));
    }
}
