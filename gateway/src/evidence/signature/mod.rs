//! XAdES signatures over messages, in X-Road's profile.
//!
//! - [`build`]: makes one, in X-Road's own dialect
//! - [`read`]: takes one apart, of either dialect, along a fixed template
//! - [`verify`](mod@verify): decides whether it proves that a member signed exactly these parts
//! - `shared`: the signature of a batch is verified once, not once for each of its messages
//! - [`trust`]: the signer's certificate, its chain and the OCSP responses for it
//!
//! Specification: ETSI TS 101 903 (XAdES 1.3.2) in the profile "High Performance Digital Signatures" 1.2
//! (OID 1.3.6.1.4.1.3516.16.2). Time-stamps lie in containers: [`crate::evidence::asic`].

pub mod build;
mod error;
pub mod read;
mod shared;
pub mod trust;
pub mod verify;

use std::borrow::Cow;

use bytes::Bytes;
use cert_authority::clock::UnixTime;

pub use build::{SigningKey, sign, sign_batch};
pub use error::SignatureError;
pub use trust::TrustCache;
pub use verify::{Facts, Verified, verify};

/// A signature as it travels and as it is kept: the XML, and the hash chain where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureBundle {
    /// `META-INF/signatures.xml` of a container: these bytes are time-stamped, never re-written.
    pub signature_xml: Bytes,
    /// `sig-hashchainresult.xml`: what the signature covers when it does not cover the message directly.
    pub hash_chain_result: Option<Bytes>,
    /// `sig-hashchain.xml`: leads from the result to the parts.
    pub hash_chain: Option<Bytes>,
}

impl SignatureBundle {
    /// The signing time that a signature of ours states. Only of what [`build`] made: of others [`Facts`] tell it.
    pub fn stated_time(&self) -> Option<UnixTime> {
        let text = std::str::from_utf8(&self.signature_xml).ok()?;
        let (_, rest) = text.split_once("<xades:SigningTime>")?;
        UnixTime::from_rfc3339(rest.split_once('<')?.0).ok()
    }
}

/// How references name the message itself.
pub const MESSAGE: &str = "/message.xml";
/// How references name the hash chain result.
pub const HASH_CHAIN_RESULT: &str = "/sig-hashchainresult.xml";
/// How references name the hash chain.
pub const HASH_CHAIN: &str = "/sig-hashchain.xml";

const ASIC_NAMESPACE: &str = "http://uri.etsi.org/02918/v1.2.1#";
const XADES: &str = "http://uri.etsi.org/01903/v1.3.2#";
const SIGNED_PROPERTIES_TYPE: &str = "http://uri.etsi.org/01903#SignedProperties";

/// How references name a part: the message is 0, its attachments follow.
#[must_use]
pub fn part_name(index: usize) -> Cow<'static, str> {
    match index {
        0 => Cow::Borrowed(MESSAGE),
        number => Cow::Owned(format!("/attachment{number}")),
    }
}
