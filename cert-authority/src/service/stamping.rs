//! The time-stamping authority: from the bytes of a request to the bytes of a response.
//!
//! Specification: RFC 3161. No HTTP here.
//!
//! Serial numbers are 128 random bits: unique across restarts without a state that could be lost or rolled back.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::crypto;
use crate::error::{PkiError, VerifyError};
use crate::keys::Signer;
use crate::timestamp::{self, Failure, Request, Stamper};

/// Stamps whatever digest is presented.
pub(super) struct Stamping {
    stamper: Stamper,
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
}

impl Stamping {
    pub(super) fn new(stamper: Stamper, signer: Arc<dyn Signer>, clock: Arc<dyn Clock>) -> Self {
        Self { stamper, signer, clock }
    }

    /// The response to these bytes; there always is one.
    ///
    /// # Errors
    /// Never in practice: only if even a refusal cannot be written.
    pub(super) async fn answer(&self, request: &[u8]) -> Result<Bytes, PkiError> {
        let answer = match Request::from_der(request) {
            Ok(request) => self.stamp(&request).await,
            Err(error) => {
                tracing::debug!(%error, "time-stamp request refused");
                timestamp::reject(match error {
                    PkiError::Verify(VerifyError::UnsupportedAlgorithm(_)) => Failure::BadAlgorithm,
                    _ => Failure::BadRequest,
                })
            }
        };
        match answer {
            Ok(answer) => Ok(answer.into()),
            Err(error) => {
                tracing::error!(%error, "cannot stamp");
                timestamp::reject(Failure::SystemFailure).map(Bytes::from)
            }
        }
    }

    async fn stamp(&self, request: &Request) -> Result<Vec<u8>, PkiError> {
        let serial = crypto::random_array::<16>()?;
        timestamp::stamp(request, &self.stamper, &serial, self.clock.now(), self.signer.as_ref()).await
    }
}
