//! Hash chains: how one signature or one time-stamp covers several parts or several messages.
//!
//! A chain is a path through a Merkle tree. Each step lists digests, either as values, as references to
//! further steps or as references to data, and the digest of a step goes into the step above it. The
//! result names the first step and its digest, and is what is signed or time-stamped.
//!
//! ```text
//! hashchainresult  URI="/sig-hashchain.xml#STEP0"  digest(STEP0)
//! hashchain        STEP0:  StepRef #STEP1 | HashValue (another message of the batch)
//!                  STEP1:  DataRef /message.xml | DataRef /attachment1
//! ```
//!
//! Specification: X-Road's hash chain schema (namespace `http://cyber.ee/hashchain`); XML-DSig for the
//! digests in it. Does not know what a signature is.

mod build;
mod usual;
mod verify;

use cert_authority::{
    algorithm::DigestAlgorithm,
    crypto::{self, Digest},
};

pub use build::Tree;
pub use verify::{Content, Covered, Input, Proof, Root, Unresolved, verify};

/// The namespace of hash chains.
const NAMESPACE: &str = "http://cyber.ee/hashchain";

/// Why a hash chain does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashChainError {
    /// Not a hash chain: XML, elements, identifiers of steps, a cycle, a step or an input used twice.
    #[error("malformed hash chain: {0}")]
    Malformed(String),
    /// Something is referred to that is not there, or whose digest was taken by another algorithm.
    #[error("the hash chain refers to {0}, which cannot be resolved")]
    UnknownReference(String),
    /// The digest that the chain states for a part is not that of the part.
    #[error("the hash chain states a wrong digest for {0}")]
    WrongReferenceDigest(String),
    /// The chain does not lead to its result.
    #[error("the hash chain result does not match the calculated hash chain")]
    WrongResult,
    /// Parts that the chain does not cover.
    #[error("the hash chain does not cover {}", .0.join(", "))]
    UnusedInputs(Vec<String>),
}

impl HashChainError {
    /// X-Road's code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_hash_chain",
            Self::UnknownReference(_) => "invalid_reference",
            Self::WrongReferenceDigest(_) => "invalid_hash_chain_ref",
            Self::WrongResult => "invalid_hash_chain",
            Self::UnusedInputs(_) => "hashchain_unused_inputs",
        }
    }
}

/// One digest in a step.
#[derive(Debug, Clone, Copy)]
struct StepItem<'a> {
    algorithm: DigestAlgorithm,
    digest: &'a [u8],
}

/// The digest of a step: over the DER `SEQUENCE OF SEQUENCE { OCTET STRING digest, UTF8String
/// algorithm, SEQUENCE {} }`, where the empty one stands for transforms.
fn step_digest(algorithm: DigestAlgorithm, items: &[StepItem<'_>]) -> Digest {
    let mut body = Vec::with_capacity(items.len() * 128);
    for item in items {
        let uri = item.algorithm.uri().as_bytes();
        let length = tlv_length(item.digest.len()) + tlv_length(uri.len()) + 2;
        header(&mut body, 0x30, length);
        header(&mut body, 0x04, item.digest.len());
        body.extend_from_slice(item.digest);
        header(&mut body, 0x0c, uri.len());
        body.extend_from_slice(uri);
        body.extend_from_slice(&[0x30, 0]);
    }
    let mut sequence = Vec::with_capacity(6);
    header(&mut sequence, 0x30, body.len());
    crypto::digest_parts(algorithm, &[&sequence, &body])
}

/// Tag and length in DER.
fn header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant = bytes.iter().skip_while(|byte| **byte == 0).copied();
            let count = u8::try_from(significant.clone().count()).unwrap_or_default();
            out.push(0x80 | count);
            out.extend(significant);
        }
    }
}

/// Length of a whole DER element with a content of `length` bytes.
fn tlv_length(length: usize) -> usize {
    let significant = (usize::BITS - length.leading_zeros()).div_ceil(8);
    let long = if length < 0x80 { 0 } else { usize::try_from(significant).unwrap_or_default() };
    2 + long + length
}
