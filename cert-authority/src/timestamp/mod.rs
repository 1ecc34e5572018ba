//! Time-stamps, both sides.
//!
//! | part | what it is |
//! |---|---|
//! | [`Request`] | the question: a digest, perhaps a nonce |
//! | [`Token`] | the signed statement "this digest existed at this time", read |
//! | [`verify()`] | judges a token and grants a [`ValidTimestamp`] |
//! | [`stamp()`], [`reject`] | the authority's answers |
//!
//! Specification: RFC 3161, RFC 5816.
//!
//! It fetches nothing; which authorities are approved is the caller's knowledge.

mod policy;
mod request;
mod stamp;
mod token;
mod verify;

pub use policy::PolicyId;
pub use request::Request;
pub use stamp::{Failure, Stamper, reject, stamp};
pub use token::Token;
pub use verify::{ValidTimestamp, verify};

/// Media type of a request.
pub const REQUEST_TYPE: &str = "application/timestamp-query";
/// Media type of a response.
pub const RESPONSE_TYPE: &str = "application/timestamp-reply";

use const_oid::ObjectIdentifier;
use der::Sequence;
use der::asn1::{BitStringRef, OctetStringRef, SequenceRef};
use spki::AlgorithmIdentifierRef;

const ID_CT_TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

#[derive(Sequence)]
struct MessageImprint<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    digest: OctetStringRef<'a>,
}

#[derive(Sequence)]
struct TimeStampResp<'a> {
    status: PkiStatusInfo<'a>,
    token: Option<SequenceRef<'a>>,
}

#[derive(Sequence)]
struct PkiStatusInfo<'a> {
    status: u8,
    text: Option<SequenceRef<'a>>,
    failure: Option<BitStringRef<'a>>,
}
