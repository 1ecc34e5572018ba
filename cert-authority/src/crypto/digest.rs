//! Digests, of what lies there and of what flows by.

use std::fmt;

use base64::Engine;

use super::backend;
use crate::algorithm::DigestAlgorithm;

/// A computed digest, kept in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    bytes: [u8; 64],
}

impl Digest {
    fn new(algorithm: DigestAlgorithm, computed: &[u8]) -> Self {
        let mut bytes = [0; 64];
        bytes.iter_mut().zip(computed).for_each(|(to, from)| *to = *from);
        Self { algorithm, bytes }
    }

    /// A digest that was computed earlier and kept; none when its length is not the algorithm's.
    pub fn from_computed(algorithm: DigestAlgorithm, computed: &[u8]) -> Option<Self> {
        (computed.len() == algorithm.output_len()).then(|| Self::new(algorithm, computed))
    }

    /// The algorithm it was computed with.
    pub const fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// Lower-case hexadecimal.
    pub fn hex(&self) -> String {
        hex::encode(self)
    }

    /// Base64 with padding, in one line.
    pub fn base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(self)
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.output_len()).unwrap_or(&self.bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

/// A digest that is computed while the data flows.
#[derive(Clone)]
pub struct Hasher {
    algorithm: DigestAlgorithm,
    context: Context,
}

#[derive(Clone)]
enum Context {
    Backend(backend::digest::Context),
    AwsLc(aws_lc_rs::digest::Context),
}

impl Hasher {
    /// Starts with no data.
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        use backend::digest::{Context as C, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
        let context = match algorithm {
            DigestAlgorithm::Sha1 => Context::Backend(C::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            DigestAlgorithm::Sha224 => {
                Context::AwsLc(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA224))
            }
            DigestAlgorithm::Sha256 => Context::Backend(C::new(&SHA256)),
            DigestAlgorithm::Sha384 => Context::Backend(C::new(&SHA384)),
            DigestAlgorithm::Sha512 => Context::Backend(C::new(&SHA512)),
        };
        Self { algorithm, context }
    }

    /// Takes in more data.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.context {
            Context::Backend(c) => c.update(data),
            Context::AwsLc(c) => c.update(data),
        }
    }

    /// The digest of all the data taken in.
    pub fn finish(self) -> Digest {
        match self.context {
            Context::Backend(c) => Digest::new(self.algorithm, c.finish().as_ref()),
            Context::AwsLc(c) => Digest::new(self.algorithm, c.finish().as_ref()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hasher").field(&self.algorithm).finish()
    }
}

/// The digest of `data`.
pub fn digest(algorithm: DigestAlgorithm, data: &[u8]) -> Digest {
    digest_parts(algorithm, &[data])
}

/// The digest of the parts, one after the other.
pub fn digest_parts(algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    parts.iter().for_each(|p| hasher.update(p));
    hasher.finish()
}
