//! A key that signs whatever it is asked to: for worlds in memory whose members, authorities and responders share one.

use cert_authority::algorithm::SignatureAlgorithm;
use cert_authority::crypto::{PrivateKey, PublicKey};
use cert_authority::error::KeyError;
use cert_authority::keys::{KeyId, SignFuture, Signer};

/// The one key, by whatever id it is asked for.
#[derive(Debug)]
pub(crate) struct OneKey(pub(crate) PrivateKey);

impl Signer for OneKey {
    fn sign<'a>(
        &'a self,
        _: &'a KeyId,
        algorithm: SignatureAlgorithm,
        to_be_signed: &'a [u8],
    ) -> SignFuture<'a> {
        Box::pin(async move { self.0.sign(algorithm, to_be_signed) })
    }

    fn public_key(&self, _: &KeyId) -> Result<PublicKey, KeyError> {
        Ok(self.0.public_key().clone())
    }
}
