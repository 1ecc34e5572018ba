//! The authority as a witness of the logs of its members' gateways.
//!
//! Not here: what is cosigned ([`cert_authority::tlog::witness`]).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use cert_authority::clock::{Clock, SystemClock};
use cert_authority::keys::KeyType;
use cert_authority::keys::inventory::{Inventory, Usage};
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::tlog::door;
use cert_authority::tlog::settings::{OpenError, newest};
use cert_authority::tlog::witness::Witness;
use tokio::net::TcpListener;

use super::authority::Failure;
use super::serving::ServeError;
use crate::authority::{Registry, pin_or_new};

/// A witness that listens.
pub(super) struct Listening {
    listener: TcpListener,
    witness: Arc<Witness>,
}

impl Listening {
    /// The witness of the register, if it has one.
    pub(super) async fn begin(
        registry: &Registry,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, ServeError> {
        let Some(settings) = &registry.witness else { return Ok(None) };
        let inventory = Inventory::load(&registry.keys).map_err(OpenError::Key)?;
        let keys = SoftwareKeys::open_by_file(&registry.keys, &registry.pin).map_err(OpenError::Key)?;
        let witness = settings.open(&inventory, Arc::new(keys), clock)?;
        let address = settings.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
        tracing::info!(witness = %witness.verifier(), %address, "witness of logs");
        Ok(Some(Self { listener, witness: Arc::new(witness) }))
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves as long as it is polled: what is cosigned is durable before anybody is answered.
    pub(super) async fn run(self) {
        door::run(self.listener, self.witness, std::future::pending()).await;
    }
}

/// Makes the key of the witness, where there is none yet, and shows what others verify its cosignatures with.
///
/// # Errors
/// A faulty register, or one without a witness; files that cannot be written.
pub fn witness_key(config: &Path) -> Result<String, Failure> {
    let registry = Registry::load(config)?;
    let settings = registry.witness.as_ref().ok_or("the register has no [witness]")?;
    std::fs::create_dir_all(&registry.keys)?;
    let keys = SoftwareKeys::open(&registry.keys, &pin_or_new(&registry.pin)?)?;
    if settings.key.is_none() && newest(&Inventory::load(&registry.keys)?, Usage::Witness).is_none() {
        keys.create(KeyType::Ed25519, Usage::Witness, &settings.name, None, SystemClock.now())?;
    }
    let signer = settings.signer(&Inventory::load(&registry.keys)?, Arc::new(keys))?;
    Ok(format!("{}\n", signer.verifier()))
}
