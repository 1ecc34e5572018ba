//! The online certificate status protocol, both sides.
//!
//! | part | what it is |
//! |---|---|
//! | [`CertId`] | which certificate is meant: hashes of its issuer, and its serial number |
//! | [`Request`] | the question, read and written |
//! | [`Response`] | the answer, read; [`respond`] writes and signs one, [`refusal`] one without a signature |
//! | [`verify()`] | judges an answer and grants a [`GoodStatus`] |
//! | [`Revocations`] | what was heard of revoked certificates since |
//!
//! Specification: RFC 6960, RFC 9654 (nonces).
//!
//! It fetches nothing and keeps nothing: whoever verifies brings the response and the time.

mod cert_id;
mod request;
mod response;
mod revocations;
mod verify;

pub use cert_id::CertId;
pub use request::Request;
pub use response::{CertStatus, ErrorStatus, Responder, Response, SingleResponse, refusal, respond};
pub use revocations::Revocations;
pub use verify::{GoodStatus, Policy, verify};

/// Media type of a request.
pub const REQUEST_TYPE: &str = "application/ocsp-request";
/// Media type of a response.
pub const RESPONSE_TYPE: &str = "application/ocsp-response";

use const_oid::ObjectIdentifier;

const ID_PKIX_OCSP_BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const ID_PKIX_OCSP_NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
