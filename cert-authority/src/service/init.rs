//! `init`: makes the keys and certificates of a new house.
//!
//! The register of the root comes last: without it the directory holds no authority, and what a crash has left behind
//! must be removed by hand.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::config::{Authority as AuthorityConfig, Config};
use super::house::{intermediate_register, keys_directory, policy, root_register};
use super::journal::Journal;
use crate::authority::{Application, Authority};
use crate::clock::Clock;
use crate::crypto;
use crate::durable;
use crate::error::PkiError;
use crate::keys::inventory::{Inventory, Usage};
use crate::keys::software::SoftwareKeys;
use crate::keys::{KeyId, KeyType, Pin, Signer};
use crate::x509::issue::{Profile, Template, self_signed};
use crate::x509::{Certificate, Name, Serial};

/// Makes root, intermediate (if configured), OCSP signers and time-stamping authority.
///
/// # Errors
/// [`PkiError::Store`] if the data directory is there already; whatever the making reports.
pub async fn init(config: &Config, clock: Arc<dyn Clock>) -> Result<(), PkiError> {
    if config.data.exists() {
        let path = config.data.display();
        return Err(PkiError::Store(format!("{path} is there already: an authority is made once")));
    }
    let store = |error: std::io::Error| PkiError::Store(format!("{}: {error}", config.data.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data).map_err(store)?;
    if !config.pin_file.exists() {
        let pin = hex::encode(crypto::random_array::<16>()?);
        durable::write_secret(&config.pin_file, pin.as_bytes()).map_err(store)?;
    }
    let directory = keys_directory(config);
    let keys = Arc::new(SoftwareKeys::open(&directory, &Pin::from_file(&config.pin_file)?)?);
    let mut making = Making { inventory: Inventory::load(&directory)?, config, clock, keys };

    // Under a name that is not looked for, until all is made.
    let unfinished = root_register(config).with_extension("unfinished");
    Journal::create(&unfinished)?;
    let root = making.root(&config.root).await?;
    if let Some(below) = &config.intermediate {
        let register = intermediate_register(config);
        Journal::create(&register)?;
        let root = making.authority(root, &unfinished, true, config.ocsp.validity)?;
        let key = making.key(below.key, Usage::Ca, "intermediate")?;
        let intermediate =
            making.issue(&root, Profile::SubCa { path_len: Some(0) }, &below.name, &key).await?;
        making.responder(&root, "OCSP of the root").await?;
        making.services(intermediate, &register).await?;
    } else {
        making.services(root, &unfinished).await?;
    }
    publish(&unfinished, config)
}

/// Gives the finished register its name.
fn publish(unfinished: &Path, config: &Config) -> Result<(), PkiError> {
    let failed = |error: std::io::Error| PkiError::Store(format!("{}: {error}", config.data.display()));
    rustix::fs::rename(unfinished, root_register(config)).map_err(|error| failed(error.into()))?;
    durable::sync_dir(&config.data).map_err(failed)
}

struct Making<'a> {
    config: &'a Config,
    clock: Arc<dyn Clock>,
    keys: Arc<SoftwareKeys>,
    inventory: Inventory,
}

impl Making<'_> {
    fn key(&mut self, kind: KeyType, usage: Usage, label: &str) -> Result<KeyId, PkiError> {
        let id = self.keys.create(kind, usage, label, None, self.clock.now())?;
        self.inventory = Inventory::load(keys_directory(self.config))?;
        Ok(id)
    }

    async fn root(&mut self, config: &AuthorityConfig) -> Result<Certificate, PkiError> {
        let key = self.key(config.key, Usage::Ca, "root")?;
        let now = self.clock.now();
        let template = Template {
            profile: Profile::RootCa { path_len: None },
            subject: &config.name,
            public_key: &self.keys.public_key(&key)?,
            serial: &Serial::from_bytes(&crypto::random_array::<15>()?),
            not_before: now - Duration::from_secs(300),
            not_after: now + config.validity,
            alt_names: &[],
            ocsp_url: None,
            crl_url: None,
            issuer_url: None,
        };
        let certificate = self_signed(&template, &key, self.keys.as_ref()).await?;
        self.inventory.import_certificate(&certificate.to_pem())?;
        Ok(certificate)
    }

    fn authority(
        &self,
        certificate: Certificate,
        register: &Path,
        is_root_of_intermediate: bool,
        services: Duration,
    ) -> Result<Authority, PkiError> {
        let keys = Arc::clone(&self.keys);
        let signer: Arc<dyn Signer> = keys;
        let journal = Box::new(Journal::open(register)?);
        let policy = policy(self.config, is_root_of_intermediate, services);
        Authority::open(certificate, signer, journal, Arc::clone(&self.clock), policy)
    }

    async fn issue(
        &mut self,
        authority: &Authority,
        profile: Profile,
        subject: &Name,
        key: &KeyId,
    ) -> Result<Certificate, PkiError> {
        let public_key = self.keys.public_key(key)?;
        let application = Application { profile, subject, public_key: &public_key, alt_names: &[] };
        let certificate = authority.issue(&application).await?;
        self.inventory.import_certificate(&certificate.to_pem())?;
        Ok(certificate)
    }

    async fn responder(&mut self, authority: &Authority, label: &str) -> Result<(), PkiError> {
        let key = self.key(self.config.ocsp.key, Usage::Ocsp, label)?;
        self.issue(authority, Profile::Ocsp, &self.config.ocsp.name, &key).await?;
        Ok(())
    }

    /// The responder and the time-stamping authority below the authority that issues.
    async fn services(&mut self, issuing: Certificate, register: &Path) -> Result<(), PkiError> {
        let config = self.config;
        let authority = self.authority(issuing.clone(), register, false, config.ocsp.validity)?;
        self.responder(&authority, "OCSP").await?;
        let authority = self.authority(issuing, register, false, config.tsa.validity)?;
        let key = self.key(config.tsa.key, Usage::Tsa, "TSA")?;
        self.issue(&authority, Profile::Tsa, &config.tsa.name, &key).await?;
        Ok(())
    }
}
