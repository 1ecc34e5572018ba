//! X.509: what a certificate is to us, and when it is believed.
//!
//! - [`Certificate`], [`Name`], [`Serial`]: read once, DER kept
//! - [`chain`]: from a certificate to a trusted one
//! - [`request`]: what somebody asks to be certified
//! - [`issue`]: making certificates
//!
//! Talk to a certificate through [`Certificate`]; trust it through [`chain::build`].
//! Not here: revocation ([`crate::ocsp`]).

pub mod chain;
pub mod issue;
pub mod oid;
pub mod request;

mod assemble;
mod certificate;
mod extension;
mod name;
mod name_text;
mod serial;

pub(crate) use assemble::{Placeholder, algorithm_of, key_identifier, rdn_sequence, sign};
pub use certificate::Certificate;
pub use const_oid::ObjectIdentifier;
pub use extension::{AltName, KeyUsage};
pub use name::Name;
pub use serial::Serial;

use der::{Decode, Header, Reader, SliceReader};

/// Where in `SEQUENCE { to be signed, AlgorithmIdentifier, BIT STRING }` the first part lies, whose length is
/// known, and the second part's DER.
fn signed_parts(der: &[u8], tbs_len: usize) -> der::Result<(std::ops::Range<usize>, &[u8])> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?;
    let start = usize::try_from(reader.position())?;
    let rest = der.get(start..).unwrap_or_default();
    let mut reader = SliceReader::new(rest.get(tbs_len..).unwrap_or_default())?;
    Ok((start..start + tbs_len, reader.tlv_bytes()?))
}
