//! ASiC-E containers: a message, its signature and its time-stamp in one file, for anybody to verify.
//!
//! - [`write`](fn@write): made from what the message log keeps
//! - [`verify_container`]: judged with nothing but the file and a global configuration
//!
//! ```text
//! mimetype                     stored, first
//! message.xml                  the signed message part (of REST too)
//! META-INF/signatures.xml      the signature; a time-stamp of its own lies in it
//! sig-hashchainresult.xml      only where the message was signed through a hash chain
//! sig-hashchain.xml
//! ts-hashchainresult.xml       only where the signature was time-stamped together with others
//! ts-hashchain.xml
//! META-INF/manifest.xml
//! META-INF/ASiCManifest.xml    only with a time-stamp over several signatures
//! META-INF/timestamp.tst
//! attachment1 ...              the body of REST, the attachments of SOAP
//! ```
//!
//! Specification: ETSI TS 102 918 (ASiC-E) as X-Road profiles it.

mod archive;
mod read;
mod sender;
mod verify;
mod write;

pub use read::ContainerError;
pub use verify::{NotAZip, Report, ReportedPart, signature_of, verify_container};
pub(crate) use write::date_time;
pub use write::{Container, TimeStamp, stream, write};

const MIMETYPE: &str = "application/vnd.etsi.asic-e+zip";

/// The names of the entries.
mod name {
    pub(super) const MIMETYPE: &str = "mimetype";
    pub(super) const MESSAGE: &str = "message.xml";
    pub(super) const SIGNATURE: &str = "META-INF/signatures.xml";
    pub(super) const SIG_HASH_CHAIN_RESULT: &str = "sig-hashchainresult.xml";
    pub(super) const SIG_HASH_CHAIN: &str = "sig-hashchain.xml";
    pub(super) const TS_HASH_CHAIN_RESULT: &str = "ts-hashchainresult.xml";
    pub(super) const TS_HASH_CHAIN: &str = "ts-hashchain.xml";
    pub(super) const MANIFEST: &str = "META-INF/manifest.xml";
    pub(super) const ASIC_MANIFEST: &str = "META-INF/ASiCManifest.xml";
    pub(super) const TIMESTAMP: &str = "META-INF/timestamp.tst";
    pub(super) const ATTACHMENT: &str = "attachment";
}
