//! The data directory: which keys and certificates play which part.
//!
//! ```text
//! <data>/keys/                 encrypted keys, descriptions, certificates (crate::keys::inventory)
//! <data>/root.jsonl            register of the root
//! <data>/intermediate.jsonl    register of the intermediate, if there is one
//! ```
//! The parts are found by what the certificates say, not by file names: the root signs itself, a responder is issued by the
//! authority it answers for. Where several fit, the youngest plays.

use std::path::PathBuf;
use std::sync::Arc;

use super::config::Config;
use super::journal::Journal;
use crate::authority::{Authority, Policy};
use crate::clock::Clock;
use crate::error::PkiError;
use crate::keys::inventory::{Entry, Inventory, Usage};
use crate::keys::software::SoftwareKeys;
use crate::keys::{KeyId, Signer};
use crate::ocsp::Responder;
use crate::timestamp::Stamper;
use crate::x509::Certificate;

/// Everything that is needed to issue, revoke and answer.
pub struct House {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) clock: Arc<dyn Clock>,
    /// The root, and the authority below it if there is one.
    pub(super) authorities: Vec<Arc<Authority>>,
    inventory: Inventory,
}

pub(super) fn keys_directory(config: &Config) -> PathBuf {
    config.data.join("keys")
}

pub(super) fn root_register(config: &Config) -> PathBuf {
    config.data.join("root.jsonl")
}

pub(super) fn intermediate_register(config: &Config) -> PathBuf {
    config.data.join("intermediate.jsonl")
}

/// The rules of an authority; `services` are its OCSP responder or the time-stamping authority.
pub(super) fn policy(
    config: &Config,
    is_root_of_intermediate: bool,
    services: std::time::Duration,
) -> Policy {
    let crl = if is_root_of_intermediate { "/crl/root" } else { "/crl" };
    Policy {
        validity: config.issue.validity,
        ca_validity: config.intermediate.as_ref().map_or(config.root.validity, |below| below.validity),
        service_validity: services,
        crl_validity: config.crl.next_update,
        ocsp_url: Some(format!("{}/ocsp", config.url)),
        crl_url: Some(format!("{}{crl}", config.url)),
        ..Policy::default()
    }
}

impl House {
    /// Opens the data directory that `init` made.
    ///
    /// # Errors
    /// [`PkiError::Key`] if the PIN does not open the keys; [`PkiError::Store`] if something is missing or broken.
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, PkiError> {
        let root_register = root_register(config);
        if !root_register.exists() {
            let path = config.data.display();
            return Err(PkiError::Store(format!(
                "{path} holds no authority: run `passerelle-ca init` first"
            )));
        }
        let directory = keys_directory(config);
        let keys = SoftwareKeys::open_by_file(&directory, &config.pin_file)?;
        let signer: Arc<dyn Signer> = Arc::new(keys);
        let inventory = Inventory::load(&directory)?;

        let root = find(&inventory, Usage::Ca, Certificate::is_self_signed)?;
        let below =
            find(&inventory, Usage::Ca, |ca| !ca.is_self_signed() && ca.verify_issued_by(root).is_ok());
        let below = below.ok().filter(|_| intermediate_register(config).exists());
        let open = |certificate: &Certificate, register: PathBuf, policy: Policy| {
            let journal = Box::new(Journal::open(&register)?);
            let authority = Authority::open(
                certificate.clone(),
                Arc::clone(&signer),
                journal,
                Arc::clone(&clock),
                policy,
            )?;
            Ok::<_, PkiError>(Arc::new(authority))
        };
        let mut authorities =
            vec![open(root, root_register, policy(config, below.is_some(), config.ocsp.validity))?];
        if let Some(below) = below {
            let policy = policy(config, false, config.ocsp.validity);
            authorities.push(open(below, intermediate_register(config), policy)?);
        }
        Ok(Self { signer, clock, authorities, inventory })
    }

    /// The authority that issues to others.
    ///
    /// # Errors
    /// [`PkiError::Store`] if there is none, which [`House::open`] excludes.
    pub fn issuing(&self) -> Result<&Arc<Authority>, PkiError> {
        self.authorities.last().ok_or_else(|| PkiError::Store("no authority".into()))
    }

    /// All authorities, the root first.
    #[must_use]
    pub fn authorities(&self) -> &[Arc<Authority>] {
        &self.authorities
    }

    /// The certificates between what is issued and the root.
    #[must_use]
    pub fn intermediates(&self) -> Vec<Certificate> {
        self.authorities.iter().skip(1).map(|authority| authority.certificate().clone()).collect()
    }

    /// Who signs OCSP responses about certificates of `issuer`.
    pub(super) fn responder(&self, issuer: &Certificate) -> Result<Responder, PkiError> {
        let certificate =
            find(&self.inventory, Usage::Ocsp, |signer| signer.verify_issued_by(issuer).is_ok())?;
        let (key, algorithm) = self.key_of(certificate)?;
        Ok(Responder { certificate: certificate.clone(), key, algorithm })
    }

    /// Who signs time-stamps.
    pub(super) fn stamper(&self, config: &Config) -> Result<Stamper, PkiError> {
        let certificate = find(&self.inventory, Usage::Tsa, |_| true)?.clone();
        let (key, algorithm) = self.key_of(&certificate)?;
        let intermediates = self.intermediates();
        Ok(Stamper { certificate, intermediates, key, algorithm, policy: config.tsa.policy })
    }

    fn key_of(
        &self,
        certificate: &Certificate,
    ) -> Result<(KeyId, crate::algorithm::SignatureAlgorithm), PkiError> {
        let key = certificate.public_key().key_id();
        let kind = self.signer.public_key(&key)?.key_type();
        let kind = kind.ok_or_else(|| PkiError::Store(format!("key {key} is of an unknown kind")))?;
        Ok((key, kind.default_algorithm()))
    }
}

/// The youngest certificate of this use that fits.
fn find(
    inventory: &Inventory,
    usage: Usage,
    fits: impl Fn(&Certificate) -> bool,
) -> Result<&Certificate, PkiError> {
    let fitting = inventory.entries().iter().filter(|entry| entry.key.usage == usage);
    fitting
        .filter_map(Entry::certificate)
        .filter(|certificate| fits(certificate))
        .max_by_key(|certificate| certificate.not_before())
        .ok_or_else(|| PkiError::Store(format!("no key for {usage:?} with a certificate that fits")))
}
