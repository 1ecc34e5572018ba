//! What goes over the socket between a program and its signer.
//!
//! ```text
//! frame    length (4 bytes, highest first) | body
//! request  1                                                               which keys are there?
//!          2 | key id (20 bytes) | algorithm (1 byte) | what is to be signed
//! reply    0 | signature        1 | keys (JSON)        2 | reason (1 byte) | text
//! ```
//! A connection carries one request after another, each answered before the next. A frame that is too long, or not of this
//! form, ends it.

use std::io;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::algorithm::SignatureAlgorithm;
use crate::clock::UnixTime;
use crate::crypto::PublicKey;
use crate::error::KeyError;
use crate::keys::KeyId;
use crate::keys::inventory::{Description, Entry, Usage};
use crate::x509::Certificate;

/// The longest request: what is signed is a small structure, never a body.
pub(crate) const LONGEST_REQUEST: usize = 64 * 1024;
/// The longest reply: all keys with their certificates.
pub(crate) const LONGEST_REPLY: usize = 4 * 1024 * 1024;
/// For the rest of a frame once it has begun, and for an answer to be taken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Keys,
    Sign { key: KeyId, algorithm: SignatureAlgorithm, to_be_signed: &'a [u8] },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Signature(Vec<u8>),
    Keys(Vec<u8>),
    Refused(Reason, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    NotFound,
    Unsupported,
    Failed,
    Malformed,
}

impl Reason {
    const fn code(self) -> u8 {
        match self {
            Self::NotFound => 1,
            Self::Unsupported => 2,
            Self::Failed => 3,
            Self::Malformed => 4,
        }
    }
}

/// All algorithms. Their object identifiers would not do: Ed25519, which signs notes, is never found by its own.
const ALGORITHMS: [SignatureAlgorithm; 10] = [
    SignatureAlgorithm::RsaPkcs1Sha256,
    SignatureAlgorithm::RsaPkcs1Sha384,
    SignatureAlgorithm::RsaPkcs1Sha512,
    SignatureAlgorithm::RsaPssSha256,
    SignatureAlgorithm::RsaPssSha384,
    SignatureAlgorithm::RsaPssSha512,
    SignatureAlgorithm::EcdsaSha256,
    SignatureAlgorithm::EcdsaSha384,
    SignatureAlgorithm::EcdsaSha512,
    SignatureAlgorithm::Ed25519,
];

const fn code(algorithm: SignatureAlgorithm) -> u8 {
    match algorithm {
        SignatureAlgorithm::RsaPkcs1Sha256 => 1,
        SignatureAlgorithm::RsaPkcs1Sha384 => 2,
        SignatureAlgorithm::RsaPkcs1Sha512 => 3,
        SignatureAlgorithm::RsaPssSha256 => 4,
        SignatureAlgorithm::RsaPssSha384 => 5,
        SignatureAlgorithm::RsaPssSha512 => 6,
        SignatureAlgorithm::EcdsaSha256 => 7,
        SignatureAlgorithm::EcdsaSha384 => 8,
        SignatureAlgorithm::EcdsaSha512 => 9,
        SignatureAlgorithm::Ed25519 => 10,
    }
}

impl Request<'_> {
    pub(crate) fn write(&self) -> Result<Vec<u8>, KeyError> {
        const FAILED: KeyError = KeyError::Crypto("the request to the signer cannot be written");
        Ok(match self {
            Self::Keys => vec![1],
            Self::Sign { key, algorithm, to_be_signed } => {
                let mut text = vec![2];
                text.extend(hex::decode(key.as_str()).map_err(|_| FAILED)?);
                text.push(code(*algorithm));
                text.extend_from_slice(to_be_signed);
                text
            }
        })
    }
}

impl<'a> Request<'a> {
    /// `None` when it is none.
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let (kind, rest) = body.split_first()?;
        match kind {
            1 if rest.is_empty() => Some(Self::Keys),
            2 => {
                let (key, rest) = rest.split_at_checked(20)?;
                let (algorithm, to_be_signed) = rest.split_first()?;
                let algorithm = ALGORITHMS.into_iter().find(|one| code(*one) == *algorithm)?;
                Some(Self::Sign { key: hex::encode(key).parse().ok()?, algorithm, to_be_signed })
            }
            _ => None,
        }
    }
}

impl Reply {
    pub(crate) fn write(self) -> Vec<u8> {
        let (kind, rest) = match self {
            Self::Signature(signature) => (0, signature),
            Self::Keys(keys) => (1, keys),
            Self::Refused(reason, text) => {
                let mut rest = vec![reason.code()];
                rest.extend(text.into_bytes());
                (2, rest)
            }
        };
        let mut body = vec![kind];
        body.extend(rest);
        body
    }

    pub(crate) fn read(body: Vec<u8>) -> Option<Self> {
        let (kind, rest) = body.split_first()?;
        match kind {
            0 => Some(Self::Signature(rest.to_vec())),
            1 => Some(Self::Keys(rest.to_vec())),
            2 => {
                let (reason, text) = rest.split_first()?;
                let all = [Reason::NotFound, Reason::Unsupported, Reason::Failed, Reason::Malformed];
                let reason = all.into_iter().find(|one| one.code() == *reason)?;
                Some(Self::Refused(reason, String::from_utf8_lossy(text).into_owned()))
            }
            _ => None,
        }
    }
}

/// A key as its signer tells of it.
#[derive(Serialize, Deserialize)]
struct Told {
    id: String,
    usage: Usage,
    key_type: String,
    label: String,
    member: Option<String>,
    created: String,
    public_key: String,
    certificates: Vec<String>,
}

/// All keys, as JSON.
pub(crate) fn tell(entries: &[(Entry, PublicKey)]) -> Result<Vec<u8>, KeyError> {
    let told = entries.iter().map(|(entry, public)| Told {
        id: entry.key.id.to_string(),
        usage: entry.key.usage,
        key_type: entry.key.key_type.to_string(),
        label: entry.key.label.clone(),
        member: entry.key.member.clone(),
        created: entry.key.created.to_rfc3339(),
        public_key: STANDARD.encode(public.spki_der()),
        certificates: entry.certificates.iter().map(|one| STANDARD.encode(one.der())).collect(),
    });
    serde_json::to_vec(&told.collect::<Vec<_>>()).map_err(|_| KeyError::Crypto("the keys cannot be told"))
}

/// The keys again.
pub(crate) fn told(json: &[u8]) -> Result<Vec<(Entry, PublicKey)>, KeyError> {
    let all: Vec<Told> = serde_json::from_slice(json).map_err(|error| broken(&error))?;
    all.into_iter().map(Told::read).collect()
}

fn broken(error: &dyn std::fmt::Display) -> KeyError {
    KeyError::Signer(format!("what it says of its keys cannot be read: {error}"))
}

impl Told {
    fn read(self) -> Result<(Entry, PublicKey), KeyError> {
        let id: KeyId = self.id.parse().map_err(|error| broken(&error))?;
        let spki = STANDARD.decode(&self.public_key).map_err(|error| broken(&error))?;
        let public = PublicKey::from_spki(&spki).map_err(|error| broken(&error))?;
        let certificate = |text: String| {
            let der = STANDARD.decode(text).map_err(|error| broken(&error))?;
            Certificate::from_der(&der).map_err(|error| broken(&error))
        };
        let certificates = self.certificates.into_iter().map(certificate).collect::<Result<Vec<_>, _>>()?;
        let over = |one: &Certificate| one.public_key().key_id();
        if public.key_id() != id || certificates.first().is_some_and(|leaf| over(leaf) != id) {
            return Err(KeyError::CertificateMismatch);
        }
        let key = Description {
            id,
            usage: self.usage,
            key_type: self.key_type.parse().map_err(|error| broken(&error))?,
            label: self.label,
            member: self.member,
            created: UnixTime::from_rfc3339(&self.created).map_err(|error| broken(&error))?,
        };
        Ok((Entry { key, certificates }, public))
    }
}

/// Reads a frame; `None` at the end of the connection, and when none begins within `idle`.
///
/// # Errors
/// `InvalidData` when it is longer than `longest`; `TimedOut` when it does not end; the system's.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    longest: usize,
    idle: Duration,
) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let Ok(begun) = tokio::time::timeout(idle, stream.read(&mut length)).await else { return Ok(None) };
    let begun = begun?;
    if begun == 0 {
        return Ok(None);
    }
    let rest = async {
        stream.read_exact(length.get_mut(begun..).unwrap_or_default()).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > longest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Some(body))
    };
    let read = tokio::time::timeout(PATIENCE, rest).await;
    read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Writes a frame.
///
/// # Errors
/// `TimedOut` when it is not taken; the system's.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(body.len().saturating_add(4));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    let written = tokio::time::timeout(PATIENCE, stream.write_all(&frame)).await;
    written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_was_written_and_nothing_shorter_is_one() {
        let key: KeyId = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        for algorithm in SignatureAlgorithm::ALL.into_iter().chain([SignatureAlgorithm::Ed25519]) {
            let request = || Request::Sign { key: key.clone(), algorithm, to_be_signed: b"small" };
            let written = request().write().unwrap();
            assert_eq!(Request::read(&written), Some(request()));
            for end in 0..written.len() - b"small".len() {
                assert_eq!(Request::read(&written[..end]), None, "{end}");
            }
        }
        assert_eq!(Request::read(&Request::Keys.write().unwrap()), Some(Request::Keys));
        for strange in [&b""[..], b"\x01x", b"\x03", b"\x02", &[2; 21], &[0; 22], &[0xff; 64]] {
            assert_eq!(Request::read(strange), None, "{strange:?}");
        }
    }

    #[test]
    fn a_reply_is_what_was_written() {
        for reply in [
            || Reply::Signature(vec![1, 2, 3]),
            || Reply::Keys(b"[]".to_vec()),
            || Reply::Refused(Reason::NotFound, "no such key".to_owned()),
        ] {
            assert_eq!(Reply::read(reply().write()), Some(reply()));
        }
        for strange in [&b""[..], b"\x02", b"\x02\x09x", b"\x07"] {
            assert_eq!(Reply::read(strange.to_vec()), None, "{strange:?}");
        }
    }
}
