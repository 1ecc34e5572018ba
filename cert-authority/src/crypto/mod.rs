//! All cryptography of the project goes through here: digests, signatures, authenticated encryption,
//! random numbers, and the provider that TLS uses.
//!
//! ring does the work by default, aws-lc-rs what ring lacks (SHA-224, RSA key generation, ECDSA with
//! SHA-512); with the feature `aws-lc` it does everything. No other module names either of them.
//! Not here: where keys are kept ([`crate::keys`]), who is trusted ([`crate::x509`]).

pub mod aead;
mod digest;
mod private_key;
mod public_key;

use std::cell::RefCell;
use std::sync::Arc;

#[cfg(feature = "aws-lc")]
use aws_lc_rs as backend;
use const_oid::ObjectIdentifier;
#[cfg(not(feature = "aws-lc"))]
use ring as backend;

use backend::rand::{SecureRandom, SystemRandom};

pub use digest::{Digest, Hasher, digest, digest_parts};
pub use private_key::PrivateKey;
pub use public_key::{EcdsaForm, PublicKey, ecdsa_der_to_raw, ecdsa_raw_to_der};

use crate::error::KeyError;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const CURVE_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const CURVE_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Fills `buffer` with random bytes fit for keys.
///
/// # Errors
/// [`KeyError::Crypto`] when the system's source fails.
pub fn random(buffer: &mut [u8]) -> Result<(), KeyError> {
    SystemRandom::new().fill(buffer).map_err(|_| KeyError::Crypto("the random source"))
}

/// Random bytes fit for keys.
///
/// # Errors
/// As [`random`].
pub fn random_array<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    random(&mut bytes)?;
    Ok(bytes)
}

/// Random bytes for what is shown as soon as it is used: ids, salts, boundaries. Not for keys, because those that come
/// next lie in the thread's memory. They are had from the system by hundreds: a system call for a few of them takes longer
/// than what is done with them.
///
/// # Errors
/// As [`random`].
pub fn random_to_show<const N: usize>() -> Result<[u8; N], KeyError> {
    thread_local!(static AHEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    AHEAD.with_borrow_mut(|ahead| {
        if ahead.len() < N {
            ahead.resize(N.max(512), 0);
            random(ahead).inspect_err(|_| ahead.clear())?;
        }
        let mut bytes = [0; N];
        bytes.iter_mut().zip(ahead.drain(ahead.len() - N..)).for_each(|(to, from)| *to = from);
        Ok(bytes)
    })
}

/// Whether the two are equal, in a time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// A private key for rustls, made from the key's own bytes without another copy of them: whoever has them can overwrite
/// them afterwards. What the library makes of them stays in its memory as long as TLS uses it.
///
/// # Errors
/// Kinds of key that TLS does not know.
pub fn tls_signing_key(
    key: &rustls_pki_types::PrivateKeyDer<'_>,
) -> Result<Arc<dyn rustls::sign::SigningKey>, rustls::Error> {
    #[cfg(not(feature = "aws-lc"))]
    return rustls::crypto::ring::sign::any_supported_type(key);
    #[cfg(feature = "aws-lc")]
    rustls::crypto::aws_lc_rs::sign::any_supported_type(key)
}

/// The cryptography that rustls and quinn are given.
pub fn tls_provider() -> Arc<rustls::crypto::CryptoProvider> {
    #[cfg(not(feature = "aws-lc"))]
    let provider = rustls::crypto::ring::default_provider();
    #[cfg(feature = "aws-lc")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Arc::new(provider)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_random_bytes_are_shown_twice_in_whatever_lengths_they_are_asked_for() {
        let mut shown = BTreeSet::new();
        for _ in 0..1000 {
            let pieces = [&random_to_show::<16>().unwrap()[..], &random_to_show::<40>().unwrap()];
            // 8 bytes that come again by chance: once in 10^11 runs.
            shown.extend(pieces.concat().as_chunks::<8>().0.iter().copied());
        }
        assert_eq!(shown.len(), 7000);
        assert_ne!(random_to_show::<1000>().unwrap().last_chunk::<8>(), Some(&[0; 8]));
    }
}
