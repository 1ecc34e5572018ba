//! Our keys, with their certificates and what is known of these: who signs for a member now, and who we are to TLS.
//!
//! The newest certificate that is valid, leads to an approved authority and is proven not to be revoked is used. What
//! is prepared for signing is remembered for a short while, never past a change of the configuration, of the
//! certificates or of their OCSP responses.
//!
//! Where the settings name a signer, it holds the keys that sign, and only those for TLS are here.
//!
//! Not here: fetching OCSP responses ([`crate::transport::ocsp_refresh`]); the keys themselves ([`cert_authority::keys`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::Digest;
use cert_authority::error::KeyError;
use cert_authority::keys::inventory::{Entry, Inventory, Usage};
use cert_authority::keys::remote::RemoteSigner;
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::keys::{KeyId, SignFuture, Signer};
use cert_authority::ocsp;
use cert_authority::x509::Certificate;
use cert_authority::{algorithm::SignatureAlgorithm, crypto::PublicKey};
use conf::identifier::MemberId;
use conf::snapshot::GlobalConf;
use rustls_pki_types::CertificateDer;

use crate::config;
use crate::evidence::signature::SigningKey;
use crate::exchange::ports::{KeyUnavailable, SigningKeys};
use crate::transport::ocsp_cache::OcspCache;
use crate::transport::tls::Identity;

/// How far a responder's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);
/// What is prepared is looked at anew after this time.
const PREPARED_FOR: Duration = Duration::from_secs(10);
/// How long a start waits for the signer, which may be starting, too.
const SIGNER_STARTS: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);
/// How long the signer may take to say which keys it has.
const TELLS: Duration = Duration::from_secs(2);

/// Our keys and certificates.
pub struct Keyring {
    settings: config::Keys,
    keys: SoftwareKeys,
    signer: Option<Distant>,
    inventory: ArcSwap<Inventory>,
    responses: Arc<OcspCache>,
    prepared: Mutex<HashMap<MemberId, Prepared>>,
}

/// The signer in its own process.
struct Distant {
    signer: RemoteSigner,
    is_away: AtomicBool,
}

/// A key that is ready to sign.
struct Prepared {
    key: Arc<SigningKey>,
    certificates: Vec<Certificate>,
    responses: Vec<Bytes>,
    conf: Digest,
    until: UnixTime,
}

impl Keyring {
    /// Opens the keys of the settings; with those of the signer, if they name one. A signature of his may take as long as
    /// `limit`.
    ///
    /// # Errors
    /// [`KeyError`]: a wrong PIN, a file that others can read, a certificate that does not fit its key, a signer that cannot
    /// be reached.
    pub async fn open(
        settings: &config::Keys,
        limit: Duration,
        responses: Arc<OcspCache>,
    ) -> Result<Self, KeyError> {
        let mut keyring = Self::local(settings, responses)?;
        if let Some(socket) = &settings.signer {
            let starting = async {
                loop {
                    match RemoteSigner::connect(socket, limit).await {
                        Err(KeyError::Signer(_)) => tokio::time::sleep(AGAIN).await,
                        done => return done,
                    }
                }
            };
            let signer = match tokio::time::timeout(SIGNER_STARTS, starting).await {
                Ok(signer) => signer?,
                // Why, in its own words.
                Err(_) => RemoteSigner::connect(socket, TELLS).await?,
            };
            keyring.signer = Some(Distant { signer, is_away: AtomicBool::new(false) });
            keyring.inventory.store(Arc::new(keyring.load()?));
        }
        Ok(keyring)
    }

    /// Opens the keys that are here: all, or those for TLS when there is a signer.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn local(settings: &config::Keys, responses: Arc<OcspCache>) -> Result<Self, KeyError> {
        Ok(Self {
            inventory: ArcSwap::from_pointee(here(settings)?),
            keys: SoftwareKeys::open_by_file(&settings.directory, &settings.pin)?,
            signer: None,
            settings: settings.clone(),
            responses,
            prepared: Mutex::default(),
        })
    }

    /// Takes up keys and certificates that have come since.
    ///
    /// # Errors
    /// As [`Self::open`]; what was there stays in use.
    pub fn reload(&self) -> Result<(), KeyError> {
        let inventory = self.load()?;
        self.keys.reload()?;
        self.inventory.store(Arc::new(inventory));
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    fn load(&self) -> Result<Inventory, KeyError> {
        let there = self.signer.iter().flat_map(|distant| distant.signer.entries());
        Ok(here(&self.settings)?.with(there))
    }

    /// Asks the signer, if there is one, whether it has other keys or certificates than before. One that is away is asked
    /// again the next time.
    pub async fn signer_has_news(&self) -> bool {
        let Some(distant) = &self.signer else { return false };
        let told = tokio::time::timeout(TELLS, distant.signer.refresh()).await;
        let told = told.unwrap_or_else(|_| Err(KeyError::Signer("it does not answer".to_owned())));
        let was_away = distant.is_away.swap(told.is_err(), Ordering::Relaxed);
        match told {
            Ok(news) => {
                if was_away {
                    tracing::info!("the signer is back");
                }
                news
            }
            Err(error) => {
                if !was_away {
                    tracing::error!(%error, "nothing can be signed until the signer is back");
                }
                false
            }
        }
    }

    /// Whether the signer, if there is one, was away when it was last asked.
    pub fn signer_is_away(&self) -> bool {
        self.signer.as_ref().is_some_and(|distant| distant.is_away.load(Ordering::Relaxed))
    }

    /// Who signs with this key: it is here, or with the signer.
    fn signer_of(&self, key: &KeyId) -> &dyn Signer {
        match &self.signer {
            Some(distant) if distant.signer.public_key(key).is_ok() => &distant.signer,
            _ => &self.keys,
        }
    }

    /// Who we are to TLS with keys of this usage: the newest valid certificate with its intermediates, and its key.
    ///
    /// # Errors
    /// [`KeyError`] when the key cannot be used; `None` when there is no valid certificate.
    pub fn identity(&self, usage: Usage, now: UnixTime) -> Result<Option<Identity>, KeyError> {
        let Some(entry) = self.newest(usage, now, |_| true) else { return Ok(None) };
        let chain = entry.certificates.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
        Ok(Some(Identity { chain, key: self.keys.tls_private_key(&entry.key.id)? }))
    }

    /// The newest valid certificate of this usage.
    pub fn certificate(&self, usage: Usage, now: UnixTime) -> Option<Certificate> {
        self.newest(usage, now, |_| true).and_then(|entry| entry.certificate().cloned())
    }

    /// Which keys there are, with their certificates.
    pub fn inventory(&self) -> Arc<Inventory> {
        self.inventory.load_full()
    }

    /// Our certificates that others ask about: those for signing and for authentication, each with its intermediates.
    pub fn certificates(&self) -> Vec<Vec<Certificate>> {
        let inventory = self.inventory.load();
        let ours = |entry: &&Entry| matches!(entry.key.usage, Usage::Sign | Usage::Auth);
        let chains = inventory.entries().iter().filter(ours).map(|entry| entry.certificates.clone());
        chains.filter(|chain| !chain.is_empty()).collect()
    }

    /// How many of our certificates in use have no OCSP response at hand: peers would not believe them.
    pub fn without_ocsp_response(&self, now: UnixTime) -> usize {
        let valid = |chain: &Vec<Certificate>| chain.first().is_some_and(|leaf| leaf.valid_at(now).is_ok());
        let chains = self.certificates().into_iter().filter(valid);
        chains.filter(|chain| self.responses.get_all(chain).is_none()).count()
    }

    fn newest(&self, usage: Usage, now: UnixTime, fits: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let inventory = self.inventory.load();
        let usable = inventory.entries().iter().filter(|entry| {
            entry.key.usage == usage
                && entry.certificate().is_some_and(|certificate| certificate.valid_at(now).is_ok())
                && fits(entry)
        });
        usable.max_by_key(|entry| entry.certificate().map(Certificate::not_before)).cloned()
    }

    fn prepare(
        &self,
        member: &MemberId,
        conf: &GlobalConf,
        now: UnixTime,
    ) -> Result<Prepared, KeyUnavailable> {
        let of_member = |entry: &Entry| {
            let owner = entry.certificate().map(|one| conf.member_of_signing_cert(one, member.instance()));
            matches!(owner, Some(Ok(owner)) if owner == *member)
        };
        let entry = self.newest(Usage::Sign, now, of_member).ok_or(KeyUnavailable::NoKey)?;
        let (leaf, intermediates) = entry.certificates.split_first().ok_or(KeyUnavailable::NoKey)?;
        let chain = conf.chain(leaf, intermediates, now).map_err(|_| KeyUnavailable::NoKey)?;
        let certificates: Vec<Certificate> = chain.pairs().map(|(one, _)| one.clone()).collect();
        let responses = self.responses.get_all(&certificates).ok_or(KeyUnavailable::NoOcsp)?;
        let (freshness, next_update) = conf.ocsp_policy();
        for ((certificate, issuer), response) in chain.pairs().zip(&responses) {
            let approved: Vec<Certificate> =
                conf.ocsp_responders(issuer).iter().filter_map(|one| one.certificate.clone()).collect();
            let policy =
                ocsp::Policy { freshness: Some(freshness), next_update, skew: SKEW, responders: &approved };
            ocsp::Response::from_der(response.clone()).map_err(|_| KeyUnavailable::NoOcsp).and_then(
                |response| {
                    ocsp::verify(&response, certificate, issuer, &policy, now)
                        .map_err(|_| KeyUnavailable::NoOcsp)
                },
            )?;
        }
        let algorithm = entry.key.key_type.default_algorithm();
        let intermediates = certificates.get(1..).unwrap_or_default();
        let id = entry.key.id.clone();
        Ok(Prepared {
            key: Arc::new(SigningKey::new(id, leaf.clone(), intermediates, &responses, algorithm)),
            certificates,
            responses,
            conf: *conf.digest(),
            until: now + PREPARED_FOR,
        })
    }
}

impl SigningKeys for Keyring {
    fn signing_key(
        &self,
        member: &MemberId,
        conf: &GlobalConf,
        now: UnixTime,
    ) -> Result<Arc<SigningKey>, KeyUnavailable> {
        let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = all.get(member)
            && prepared.conf == *conf.digest()
            && now < prepared.until
            && self.responses.get_all(&prepared.certificates).as_ref() == Some(&prepared.responses)
        {
            return Ok(Arc::clone(&prepared.key));
        }
        let prepared = self.prepare(member, conf, now)?;
        let key = Arc::clone(&prepared.key);
        all.insert(member.clone(), prepared);
        Ok(key)
    }

    fn own_ocsp_responses(&self, now: UnixTime) -> Vec<Bytes> {
        let entry = self.newest(Usage::Auth, now, |_| true);
        entry.and_then(|entry| self.responses.get_all(&entry.certificates)).unwrap_or_default()
    }
}

impl Signer for Keyring {
    fn sign<'a>(
        &'a self,
        key: &'a KeyId,
        algorithm: SignatureAlgorithm,
        to_be_signed: &'a [u8],
    ) -> SignFuture<'a> {
        self.signer_of(key).sign(key, algorithm, to_be_signed)
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, KeyError> {
        self.signer_of(key).public_key(key)
    }
}

/// The keys of the settings' folder. A key that signs is not opened here when the signer has such keys.
fn here(settings: &config::Keys) -> Result<Inventory, KeyError> {
    let inventory = Inventory::load(&settings.directory)?;
    let mut keys = inventory.entries().iter().map(|entry| &entry.key);
    match keys.find(|key| settings.signer.is_some() && !key.usage.is_tls()) {
        None => Ok(inventory),
        Some(key) => Err(KeyError::Unsupported(format!(
            "key {} signs, and the settings name a signer: move its files into the signer's folder",
            key.id
        ))),
    }
}
