//! Writes and signs a directory.
//!
//! Not here: when to publish, and where the files go ([`crate::authority`]).

use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::UnixTime;
use cert_authority::crypto;
use cert_authority::keys::{KeyId, Signer};
use std::fmt::Write as _;

use super::PartKind;
use crate::error::ConfError;
use crate::version::Version;

/// Hashes of parts and of the verification certificate.
const DIGEST: DigestAlgorithm = DigestAlgorithm::Sha512;

/// What a directory is to say.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// Whose configuration it is.
    pub instance: &'a str,
    /// The version of its parts.
    pub version: Version,
    /// Until when it is valid; whole seconds count.
    pub expires: UnixTime,
    /// The parts.
    pub files: &'a [File<'a>],
}

/// A part as it is published.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// What it is.
    pub kind: &'a PartKind,
    /// Its path at the source, as in `/V6/20261123095000/shared-params.xml`.
    pub location: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

impl Contents<'_> {
    /// The directory, signed. The certificate (DER) is that of the key: clients find it by its hash.
    pub async fn sign(
        &self,
        signer: &dyn Signer,
        key: &KeyId,
        algorithm: SignatureAlgorithm,
        certificate: &[u8],
    ) -> Result<Vec<u8>, ConfError> {
        let inner = boundary()?;
        let list = self.list(&inner);
        let signature = signer.sign(key, algorithm, list.as_bytes()).await.map_err(ConfError::Signing)?;
        let outer = boundary()?;
        let mut text = String::with_capacity(list.len() + 2048);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "Content-Type: multipart/related; charset=UTF-8; boundary={outer}\r\n\r\n\
             --{outer}\r\n\
             Content-Type: multipart/mixed; charset=UTF-8; boundary={inner}\r\n\r\n\
             {list}\r\n\
             --{outer}\r\n\
             Content-Type: application/octet-stream\r\n\
             Content-Transfer-Encoding: base64\r\n\
             Signature-Algorithm-Id: {}\r\n\
             Verification-certificate-hash: {}; hash-algorithm-id=\"{}\"\r\n\r\n\
             {}\r\n\
             --{outer}--\r\n",
            algorithm.uri(),
            crypto::digest(DIGEST, certificate).base64(),
            DIGEST.uri(),
            base64(&signature),
        );
        Ok(text.into_bytes())
    }

    /// The bytes that are signed.
    fn list(&self, boundary: &str) -> String {
        let mut text = String::new();
        let expires = UnixTime::from_secs(self.expires.as_secs()).to_rfc3339();
        let _ = write!(
            text,
            "--{boundary}\r\nExpire-date: {expires}\r\nVersion: {}\r\n\r\n",
            self.version.number()
        );
        for file in self.files {
            let _ = write!(
                text,
                "--{boundary}\r\n\
                 Content-type: application/octet-stream\r\n\
                 Content-transfer-encoding: base64\r\n\
                 Content-identifier: {}; instance='{}'\r\n\
                 Content-location: {}\r\n\
                 Hash-algorithm-id: {}\r\n\r\n\
                 {}\r\n",
                file.kind.identifier(),
                self.instance,
                file.location,
                DIGEST.uri(),
                crypto::digest(DIGEST, file.bytes).base64(),
            );
        }
        let _ = write!(text, "--{boundary}--\r\n");
        text
    }
}

/// Nobody who chooses the content of a part can foresee it.
fn boundary() -> Result<String, ConfError> {
    Ok(hex::encode(crypto::random_array::<10>().map_err(ConfError::Signing)?))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
