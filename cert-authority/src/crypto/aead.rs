//! Authenticated encryption: AES-256-GCM.

use super::backend::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use crate::error::KeyError;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// A key with its schedule expanded.
///
/// # Security
/// A nonce must never be used twice with one key.
#[derive(Debug)]
pub struct Key(LessSafeKey);

impl Key {
    /// Expands a key.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] never in practice: the length is right by type.
    pub fn new(key: &[u8; KEY_LEN]) -> Result<Self, KeyError> {
        UnboundKey::new(&AES_256_GCM, key)
            .map(|k| Self(LessSafeKey::new(k)))
            .map_err(|_| KeyError::Crypto("the AES key"))
    }

    /// Encrypts in place and gives the tag.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the data is longer than the algorithm allows.
    pub fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_LEN], KeyError> {
        let failed = KeyError::Crypto("encryption");
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), data)
            .map_err(|_| failed.clone())?;
        tag.as_ref().try_into().map_err(|_| failed)
    }

    /// Decrypts in place what [`Self::seal`] made, with the tag at the end; gives the plain text.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when anything was changed, or key, nonce or associated data differ.
    pub fn open<'a>(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        data_and_tag: &'a mut [u8],
    ) -> Result<&'a mut [u8], KeyError> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated), data_and_tag)
            .map_err(|_| KeyError::Crypto("decryption"))
    }
}
