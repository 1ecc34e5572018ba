//! The container of a logged message: what its record, its parts and its time-stamp make together.
//!
//! A body that was not kept, or whose key was destroyed, is left out. Then there is no `attachment1`, and the verifier
//! finds the container valid all the same: the hash chain holds the body's digest, which it reports as signed but not
//! present. Whoever has the body from elsewhere can compare. Without the message part nothing can be verified:
//! [`ContainerError::MessageGone`].
//!
//! Specification: ETSI TS 102 918 as X-Road profiles it. Not here: the bytes of a container
//! ([`crate::evidence::asic`]).

use std::io::{self, Read, Seek, Write};

use bytes::Bytes;
use cert_authority::clock::UnixTime;

use crate::evidence::asic::{self, Container, TimeStamp};
use crate::evidence::signature::SignatureBundle;
use crate::messagelog::{
    LogError, SealedBody,
    reader::{Material, Reader, TimestampMaterial},
    record::Kind,
};

/// Why there is no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// There is no such record, or it is no message.
    #[error("record {0} is no message")]
    NoMessage(u64),
    /// It waits for its time-stamp.
    #[error("record {0} has no time-stamp yet")]
    NotStamped(u64),
    /// Its message part was not kept, or the key of that day was destroyed.
    #[error("the message of record {0} is not kept any more")]
    MessageGone(u64),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A container that can be written; bodies are read only then.
pub struct LoggedContainer {
    sequence: u64,
    kind: Kind,
    message_id: String,
    logged_at: UnixTime,
    message: Bytes,
    signature: SignatureBundle,
    timestamp: TimestampMaterial,
    attachments: Vec<SealedBody>,
}

impl LoggedContainer {
    /// Opens the container of the record with this number. Blocks while it reads.
    ///
    /// # Errors
    /// [`ContainerError`].
    pub fn open(reader: &Reader, sequence: u64) -> Result<Self, ContainerError> {
        Self::of(sequence, reader.export(sequence))
    }

    /// The same for each of these numbers, one after the other; several are read at once where that is cheaper.
    pub fn each(
        reader: &Reader,
        sequences: impl IntoIterator<Item = u64>,
    ) -> impl Iterator<Item = (u64, Result<Self, ContainerError>)> {
        reader.exports(sequences).map(|(sequence, found)| (sequence, Self::of(sequence, found)))
    }

    fn of(sequence: u64, found: Result<Option<Material>, LogError>) -> Result<Self, ContainerError> {
        let material = found?.ok_or(ContainerError::NoMessage(sequence))?;
        let Material { sequence, time, kind, message, parts, timestamp } = material;
        let (_, timestamp) = timestamp.ok_or(ContainerError::NotStamped(sequence))?;
        let mut parts = parts.into_iter();
        let first = parts.next().flatten().ok_or(ContainerError::MessageGone(sequence))?;
        Ok(Self {
            sequence,
            kind,
            message_id: message.message_id,
            logged_at: time,
            message: first.read()?,
            signature: SignatureBundle {
                signature_xml: message.signature,
                hash_chain_result: message.hash_chain_result,
                hash_chain: message.hash_chain,
            },
            timestamp,
            // Attachments are named by their place: behind one that is missing there can be no other.
            attachments: parts.map_while(|part| part).collect(),
        })
    }

    /// When the message was logged.
    pub fn logged_at(&self) -> UnixTime {
        self.logged_at
    }

    /// Bytes of the bodies in it, unpacked.
    pub fn length_of_bodies(&self) -> u64 {
        self.attachments.iter().map(SealedBody::length).sum()
    }

    /// The name of its file.
    pub fn file_name(&self) -> String {
        file_name(self.kind, &self.message_id, self.sequence)
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::InvalidData`] when a body is not what was logged.
    pub fn write<W: Write + Seek>(&self, out: W) -> io::Result<W> {
        asic::write(self.container(), out)
    }

    /// Writes it to where one cannot go back.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn stream<W: Write>(&self, out: W) -> io::Result<W> {
        asic::stream(self.container(), out)
    }

    fn container(&self) -> Container<'_> {
        let attachment = |body: &SealedBody| -> Box<dyn Read> { Box::new(body.reader()) };
        Container {
            message: &self.message,
            signature: &self.signature,
            timestamp: match &self.timestamp {
                TimestampMaterial::Single { token } => TimeStamp::Single { token },
                TimestampMaterial::Batch { token, hash_chain_result, hash_chain } => {
                    TimeStamp::Batch { token, hash_chain_result, hash_chain }
                }
            },
            attachments: self.attachments.iter().map(attachment).collect(),
            logged_at: self.logged_at,
        }
    }
}

/// The name of the file of a container, as X-Road gives it: query, direction, and the number of the record.
pub fn file_name(kind: Kind, message_id: &str, sequence: u64) -> String {
    /// So that the name of the file stays within 255 bytes.
    const LONGEST: usize = 226;
    let direction = if kind == Kind::Response { "response" } else { "request" };
    let id: String = form_encoded(message_id).chars().take(LONGEST).collect();
    format!("{id}-{direction}-{}.asice", base32(sequence))
}

/// As a Java program encodes a form field: the result is fit for a file name and for a header.
pub(super) fn form_encoded(text: &str) -> String {
    const FORM: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_').remove(b' ');
    percent_encoding::utf8_percent_encode(text, FORM).to_string().replace(' ', "+")
}

/// Digits 0 to 9 and a to v, without leading zeros.
fn base32(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 32).unwrap_or(0);
        digits.extend(char::from_digit(digit, 32));
        number /= 32;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids_are_written_as_java_writes_them() {
        assert_eq!(base32(0), "0");
        assert_eq!(base32(31), "v");
        assert_eq!(base32(32 * 32 + 10), "10a");
        assert_eq!(base32(u64::MAX), "fvvvvvvvvvvvv");
        assert_eq!(form_encoded("a b/c\"ä%*-._~\r\n"), "a+b%2Fc%22%C3%A4%25*-._%7E%0D%0A");
    }
}
