//! Judges a container as an outsider would: from the file and the configuration alone, at the time of its
//! time-stamp.
//!
//! Specification: X-Road's rules for containers, in its order: shape, sender, what is signed, time-stamp,
//! then everything that [`crate::evidence::signature`] asks of a signature.
//!
//! # Compatibility
//! Stricter than X-Road: an attachment that is there must be covered and have the digest that is signed.

use bytes::Bytes;
use cert_authority::{
    clock::UnixTime,
    error::VerifyError,
    timestamp::{self, Token, ValidTimestamp},
};
use conf::snapshot::GlobalConf;
use serde::Serialize;

use super::{
    name,
    read::{ContainerError, Contents},
    sender::sender,
};
use crate::evidence::{
    hash_chain::{Content, Input, Unresolved},
    signature::{
        self, Facts, SignatureBundle, SignatureError, TrustCache,
        read::{self, Signature},
        verify::{Parts, judge},
    },
    timestamp as evidence_timestamp, xml,
};

/// The file is not even a ZIP file: there is nothing to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a ZIP file")]
pub struct NotAZip;

/// What a container proves, or why it proves nothing. Times are RFC 3339; what was not proven is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the container proves that the signer signed these parts before the time of the time-stamp.
    pub valid: bool,
    /// X-Road's code of what is wrong.
    pub code: Option<String>,
    /// The verdict in words.
    pub message: String,
    /// The member that signed.
    pub signer: Option<String>,
    /// When the signer says to have signed.
    pub signed_at: Option<String>,
    /// When the signature existed.
    pub timestamped_at: Option<String>,
    /// By the word of this authority.
    pub tsa: Option<String>,
    /// When the OCSP response for the signer's certificate was made.
    pub ocsp_at: Option<String>,
    /// What is signed.
    pub parts: Vec<ReportedPart>,
}

/// A signed part of the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedPart {
    /// Its name in the container.
    pub name: String,
    /// The algorithm of its digest.
    pub algorithm: String,
    /// The digest that is signed, hexadecimal.
    pub digest: String,
    /// Whether the container holds it. X-Road leaves the attachments of some SOAP messages out; of such a
    /// part only the digest is proven.
    pub present: bool,
}

/// Judges a container. The expiry of the configuration does not matter.
///
/// # Errors
/// [`NotAZip`]; everything else is a [`Report`].
pub fn verify_container(bytes: &[u8], conf: &GlobalConf) -> Result<Report, NotAZip> {
    let mut stamped = None;
    match verify(bytes, conf, &mut stamped) {
        Ok(facts) => Ok(Report {
            valid: true,
            code: None,
            message: "the container is valid".to_owned(),
            signer: Some(facts.member.to_string()),
            signed_at: facts.signing_time.map(UnixTime::to_rfc3339),
            ocsp_at: Some(facts.ocsp_produced_at.to_rfc3339()),
            parts: facts.covered.into_iter().map(ReportedPart::from).collect(),
            ..Report::stamped(stamped)
        }),
        Err(Failure::Container(ContainerError::NotAZip)) => Err(NotAZip),
        Err(failure) => Ok(Report {
            code: Some(failure.code().to_owned()),
            message: failure.to_string(),
            ..Report::stamped(stamped)
        }),
    }
}

/// The signature in a container with its hash chain, byte for byte; nothing is judged but the shape of the container.
///
/// # Errors
/// [`ContainerError`].
pub fn signature_of(bytes: &[u8]) -> Result<SignatureBundle, ContainerError> {
    let contents = Contents::read(bytes)?;
    let entry = |name| contents.entry(name).map(Bytes::copy_from_slice);
    Ok(SignatureBundle {
        signature_xml: Bytes::copy_from_slice(contents.signature()),
        hash_chain_result: entry(name::SIG_HASH_CHAIN_RESULT),
        hash_chain: entry(name::SIG_HASH_CHAIN),
    })
}

impl Report {
    /// That nothing is proven, and why.
    pub(crate) fn nothing(code: &str, message: impl Into<String>) -> Self {
        Self { code: Some(code.to_owned()), message: message.into(), ..Self::stamped(None) }
    }

    /// Only what a time-stamp says.
    fn stamped(stamp: Option<ValidTimestamp>) -> Self {
        let stamp = stamp.as_ref();
        Self {
            valid: false,
            code: None,
            message: String::new(),
            signer: None,
            signed_at: None,
            timestamped_at: stamp.map(|stamp| stamp.gen_time().to_rfc3339()),
            tsa: stamp.map(|stamp| stamp.tsa().subject().rfc2253()),
            ocsp_at: None,
            parts: Vec::new(),
        }
    }
}

impl From<crate::evidence::hash_chain::Covered> for ReportedPart {
    fn from(part: crate::evidence::hash_chain::Covered) -> Self {
        Self {
            name: part.name.trim_start_matches('/').to_owned(),
            algorithm: part.algorithm.name().to_owned(),
            digest: hex::encode(part.digest),
            present: part.present,
        }
    }
}

/// Everything that can be wrong with a container.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("the sender of the message cannot be told: {0}")]
    Sender(String),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("time-stamp: {0}")]
    TimeStampShape(String),
    #[error("time-stamp: {0}")]
    TimeStamp(VerifyError),
    #[error("the configuration has no time-stamping authority")]
    NoAuthority,
}

impl Failure {
    /// X-Road's code.
    const fn code(&self) -> &'static str {
        match self {
            Self::Container(error) => error.code(),
            Self::Sender(_) => "internal_error",
            Self::Signature(error) => error.code(),
            Self::TimeStampShape(_) | Self::TimeStamp(VerifyError::TimestampImprint) => "malformed_signature",
            Self::TimeStamp(VerifyError::TimestampUnknownTsa) => "mlog.tsp_certificate_not_found",
            Self::TimeStamp(_) => "mlog.timestamp_signer_verification_failed",
            Self::NoAuthority => "mlog.no_timestamping_provider_found",
        }
    }
}

/// Leaves the time-stamp in `stamped` even where something later is wrong.
fn verify(bytes: &[u8], conf: &GlobalConf, stamped: &mut Option<ValidTimestamp>) -> Result<Facts, Failure> {
    let contents = Contents::read(bytes)?;
    let document = read::parse(contents.signature())?;
    let signature = read::read(&document)?;
    let sender = sender(contents.message()).map_err(Failure::Sender)?;
    let is_signed = |uri| signature.data.iter().any(|reference| reference.uri == uri);
    if !is_signed(signature::MESSAGE) && !is_signed(signature::HASH_CHAIN_RESULT) {
        return Err(SignatureError::NotCovered(signature::MESSAGE.to_owned()).into());
    }
    let stamp = verify_timestamp(&contents, &signature, conf)?;
    let at = stamped.insert(stamp).gen_time();

    let attachments = contents
        .attachments()
        .map(|(name, data)| Input { name: format!("/{name}").into(), content: Content::Bytes(data) });
    let message = Input { name: signature::MESSAGE.into(), content: Content::Bytes(contents.message()) };
    let parts = Parts {
        inputs: std::iter::once(message).chain(attachments).collect(),
        unresolved: Unresolved::Report,
        hash_chain_result: contents.entry(name::SIG_HASH_CHAIN_RESULT),
        hash_chain: contents.entry(name::SIG_HASH_CHAIN),
    };
    Ok(judge(&signature, &parts, conf, &TrustCache::default(), &sender, at)?)
}

fn verify_timestamp(
    contents: &Contents,
    signature: &Signature<'_>,
    conf: &GlobalConf,
) -> Result<ValidTimestamp, Failure> {
    let shape = |reason: &str| Failure::TimeStampShape(reason.to_owned());
    let token = match (contents.entry(name::TIMESTAMP), signature.timestamp) {
        (Some(token), _) => token.to_vec(),
        (None, Some(text)) => xml::decode_base64(text).ok_or_else(|| shape("it is not base64"))?,
        (None, None) => return Err(shape("there is none")),
    };
    let token = Token::from_der(token).map_err(|error| shape(&error.to_string()))?;
    let batch = (contents.entry(name::TS_HASH_CHAIN_RESULT), contents.entry(name::TS_HASH_CHAIN));
    let data = match batch {
        (Some(result), Some(chain)) => {
            evidence_timestamp::verify_batch(result, chain, contents.signature())
                .map_err(|error| shape(&error.to_string()))?;
            result
        }
        _ => signature.value.as_slice(),
    };
    let approved = conf.tsa_certificates();
    if approved.is_empty() {
        return Err(Failure::NoAuthority);
    }
    timestamp::verify(&token, data, approved, None).map_err(Failure::TimeStamp)
}
