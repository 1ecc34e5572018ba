//! Revoking: once, for good, durable before it is visible.

use super::{Authority, Event, Reason};
use crate::{error::PkiError, x509::Serial};

impl Authority {
    /// Revokes a certificate from now on.
    ///
    /// # Errors
    /// [`PkiError::Refused`] when it was not issued here or is revoked already; [`PkiError::Store`].
    pub fn revoke(&self, serial: &Serial, reason: Reason) -> Result<(), PkiError> {
        let at = self.clock.now().to_rfc3339();
        self.commit(&Event::Revoked { serial: serial.hex(), at, reason })
    }
}
