//! A certification authority's decisions: what is issued, what is revoked, what is known of a certificate.
//!
//! ```text
//!  request ──► policy ──► serial ──► x509::issue (Signer) ──► register + Store ──► certificate
//!                                                 revoke ──► register + Store
//!                                                                 │
//!                                               status (OCSP) ◄───┴───► crl (Signer)
//! ```
//! - [`Policy`]: what is issued, for how long, with which addresses inside
//! - [`Register`]: what was issued and revoked, as data that grows by [`Event`]s
//! - [`Store`]: the port that keeps the events
//! - [`Authority`]: the whole; talk to it
//!
//! What must survive: an event is durable before anybody sees its effect, so that no certificate is out
//! there whose status is not known. If we die in between, the certificate was never handed out.
//! Not here: files, HTTP and the answers of OCSP ([`crate::ocsp`]).

mod crl;
mod issue;
mod policy;
mod register;
mod revoke;
mod serial;

use std::sync::{Arc, PoisonError, RwLock};

pub use issue::Application;
pub use policy::Policy;
pub use register::{Event, Reason, Record, Register, Revocation, Status, Store};

use crate::{
    clock::Clock,
    error::{PkiError, VerifyError},
    keys::{KeyId, Signer},
    x509::{Certificate, Serial, issue::Issuer},
};

/// A certification authority with its certificate, its key's name, its rules and its register.
pub struct Authority {
    certificate: Certificate,
    key: KeyId,
    signer: Arc<dyn Signer>,
    store: Box<dyn Store>,
    clock: Arc<dyn Clock>,
    policy: Policy,
    register: RwLock<Register>,
}

impl Authority {
    /// Takes up an authority: reads the store and checks that certificate and key belong together.
    ///
    /// # Errors
    /// [`PkiError::Verify`] with [`VerifyError::NotACa`] when the certificate may not issue;
    /// [`PkiError::Key`] when the signer does not hold its key; [`PkiError::Store`] when the register
    /// cannot be read, or contradicts itself.
    pub fn open(
        certificate: Certificate,
        signer: Arc<dyn Signer>,
        store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
        policy: Policy,
    ) -> Result<Self, PkiError> {
        if !certificate.is_ca() {
            return Err(VerifyError::NotACa.into());
        }
        let key = certificate.public_key().key_id();
        signer.public_key(&key)?;
        let mut register = Register::default();
        for event in store.load()? {
            register.apply(&event)?;
        }
        Ok(Self { certificate, key, signer, store, clock, policy, register: RwLock::new(register) })
    }

    /// The CA certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes in what other processes have appended to the store, and says which revision of the register this is.
    ///
    /// # Errors
    /// [`PkiError::Store`] when the store cannot be read, or contradicts the register.
    pub fn refresh(&self) -> Result<u64, PkiError> {
        // Locked before the store is read: events take effect in the order in which they are handed out.
        let mut register = self.register.write().unwrap_or_else(PoisonError::into_inner);
        for event in &self.store.load()? {
            register.apply(event)?;
        }
        Ok(register.revision())
    }

    /// What is known of the certificate with this serial number.
    pub fn status(&self, serial: &Serial) -> Status {
        self.register.read().unwrap_or_else(PoisonError::into_inner).status(serial)
    }

    /// The record of a certificate.
    pub fn record(&self, serial: &Serial) -> Option<Record> {
        self.register.read().unwrap_or_else(PoisonError::into_inner).record(serial).cloned()
    }

    /// All records, by serial number.
    pub fn records(&self) -> Vec<Record> {
        self.register.read().unwrap_or_else(PoisonError::into_inner).records().cloned().collect()
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer { certificate: &self.certificate, key: &self.key, signer: &*self.signer }
    }

    /// Makes an event durable, then effective. The lock is held over both: events are kept in the order in
    /// which they take effect.
    fn commit(&self, event: &Event) -> Result<(), PkiError> {
        let mut register = self.register.write().unwrap_or_else(PoisonError::into_inner);
        self.store.append(event, &mut |others| {
            for other in &others {
                register.apply(other)?;
            }
            register.check(event)
        })?;
        register.apply(event)
    }
}
