//! What a time-stamp over signatures is over, and how it is tied to them.
//!
//! A single time-stamp is over the value of a signature, and becomes a property of it. One over many
//! signatures is over a hash chain result, and each signature gets the hash chain that leads to it.
//!
//! Specification: X-Road's message log protocol. Not here: asking for it, and judging the token
//! (`cert_authority::timestamp`).

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cert_authority::{
    algorithm::DigestAlgorithm,
    crypto::{self, Digest},
};

use super::{
    hash_chain::{self, Content, HashChainError, Input, Tree, Unresolved},
    signature::{SignatureError, read},
};

/// How references name a signature.
const SIGNATURE: &str = "/META-INF/signatures.xml";
/// How references name the hash chain of a time-stamp.
const HASH_CHAIN: &str = "/ts-hashchain.xml";

/// The digest of a signature that goes into a [`Batch`].
#[must_use]
pub fn signature_digest(signature_xml: &[u8]) -> Digest {
    crypto::digest(DigestAlgorithm::Sha512, signature_xml)
}

/// What a time-stamp over one signature is over: the value of the signature.
///
/// # Errors
/// [`SignatureError`] when it is no signature.
pub fn single(signature_xml: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let document = read::parse(signature_xml)?;
    Ok(read::read(&document)?.value)
}

/// What a time-stamp over several signatures is over, and what each of them is kept with.
#[derive(Debug)]
pub struct Batch(Tree);

impl Batch {
    /// Of the signatures with these digests ([`signature_digest`]).
    #[must_use]
    pub fn new(signatures: impl IntoIterator<Item = Digest>) -> Self {
        let inputs = signatures.into_iter().map(|digest| vec![digest]).collect();
        Self(Tree::new(DigestAlgorithm::Sha512, inputs))
    }

    /// `ts-hashchainresult.xml`: these bytes are time-stamped.
    #[must_use]
    pub fn result(&self) -> Bytes {
        self.0.result(HASH_CHAIN)
    }

    /// `ts-hashchain.xml` of a signature, by its place among them.
    #[must_use]
    pub fn chain(&self, signature: usize) -> Bytes {
        self.0.chain(signature, |_| SIGNATURE.to_owned())
    }
}

/// Verifies that `result` covers the signature.
///
/// # Errors
/// [`HashChainError`].
pub fn verify_batch(result: &[u8], chain: &[u8], signature_xml: &[u8]) -> Result<(), HashChainError> {
    let input = Input { name: SIGNATURE.into(), content: Content::Bytes(signature_xml) };
    hash_chain::verify(result, &[(HASH_CHAIN, chain)], &[input], Unresolved::Refuse).map(drop)
}

/// The signature with a time-stamp over it as its first unsigned property. Nothing else changes.
///
/// # Errors
/// [`SignatureError`] when it is no signature, or is time-stamped already.
pub fn insert(signature_xml: &[u8], token: &[u8]) -> Result<Bytes, SignatureError> {
    let document = read::parse(signature_xml)?;
    if read::read(&document)?.timestamp.is_some() {
        return Err(SignatureError::Malformed("there is a time-stamp already".to_owned()));
    }
    let first = document
        .descendants()
        .find(|node| node.tag_name().name() == "UnsignedSignatureProperties")
        .and_then(|properties| properties.first_child());
    let text = document.input_text();
    let split = first.and_then(|first| text.split_at_checked(first.range().start));
    let (before, after) =
        split.ok_or_else(|| SignatureError::Malformed("no unsigned properties".to_owned()))?;
    // The prefix is declared here: whoever made the signature may have chosen another.
    let mut stamped = String::with_capacity(text.len() + token.len() * 2);
    stamped.push_str(before);
    let _ = write!(
        stamped,
        "<xades:SignatureTimeStamp{}><xades:EncapsulatedTimeStamp>{}</xades:EncapsulatedTimeStamp>\
         </xades:SignatureTimeStamp>",
        declaration(before),
        STANDARD.encode(token)
    );
    stamped.push_str(after);
    Ok(Bytes::from(stamped))
}

/// The signature as it was before [`insert`]; one without a time-stamp stays as it is.
///
/// # Errors
/// [`SignatureError`] when it is no signature.
pub fn remove(signature_xml: &[u8]) -> Result<Bytes, SignatureError> {
    let document = read::parse(signature_xml)?;
    let stamp = document
        .descendants()
        .find(|node| node.tag_name().name() == "UnsignedSignatureProperties")
        .and_then(|properties| properties.first_child())
        .filter(|first| first.tag_name().name() == "SignatureTimeStamp");
    let text = document.input_text();
    let around = stamp.and_then(|stamp| {
        let range = stamp.range();
        Some([text.get(..range.start)?, text.get(range.end..)?].concat())
    });
    Ok(around.map_or_else(|| Bytes::copy_from_slice(signature_xml), Bytes::from))
}

/// X-Road finds the element by its prefix, and ours declares it on the root.
fn declaration(before: &str) -> &'static str {
    if before.contains("xmlns:xades=") { "" } else { " xmlns:xades=\"http://uri.etsi.org/01903/v1.3.2#\"" }
}
