//! Digests of the parts of a message, computed while the parts flow by.
//!
//! Specification: X-Road 7.8 signs the digest of each part's bytes as they are on the wire.
//! Not here: bodies (never held), and what is done with the digests ([`crate::evidence`]).

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::{Digest, Hasher, digest};

/// What of a message is signed: the digest of its message part and of each further part, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartDigests {
    /// The algorithm of all digests.
    pub algorithm: DigestAlgorithm,
    /// Of the message part: `/message.xml` of a signature.
    pub message: Digest,
    /// Of the parts that follow it: `/attachment1`, `/attachment2`, … of a signature. A REST body is the
    /// first and only one.
    pub attachments: Vec<Digest>,
}

impl PartDigests {
    /// Of a message that is complete with its message part.
    pub fn of_message(algorithm: DigestAlgorithm, part: &[u8]) -> Self {
        Self { algorithm, message: digest(algorithm, part), attachments: Vec::new() }
    }

    /// Of a message with one further part.
    #[must_use]
    pub fn with_attachment(mut self, attachment: Digest) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// All of them, the message part first.
    pub fn all(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.message).chain(&self.attachments)
    }
}

/// Digests in the making: the message part is known, further parts come in pieces.
#[derive(Debug)]
pub struct RunningDigests {
    finished: PartDigests,
    current: Option<Hasher>,
}

impl RunningDigests {
    /// Starts with the message part.
    pub fn of_message(algorithm: DigestAlgorithm, part: &[u8]) -> Self {
        Self { finished: PartDigests::of_message(algorithm, part), current: None }
    }

    /// Takes in data of the further part that is under way; the first call begins the part. A call with no
    /// data begins a part that may stay empty.
    pub fn update(&mut self, data: &[u8]) {
        self.current.get_or_insert_with(|| Hasher::new(self.finished.algorithm)).update(data);
    }

    /// Ends the part that is under way. Nothing happens when none was begun.
    pub fn end_part(&mut self) {
        self.finished.attachments.extend(self.current.take().map(Hasher::finish));
    }

    /// The digests of all parts; a part still under way ends here.
    pub fn finish(mut self) -> PartDigests {
        self.end_part();
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA512: DigestAlgorithm = DigestAlgorithm::Sha512;

    #[test]
    fn pieces_of_a_part_give_the_digest_of_the_whole() {
        let mut running = RunningDigests::of_message(SHA512, b"GET\r\n");
        running.update(b"bo");
        running.update(b"dy");
        let whole = PartDigests::of_message(SHA512, b"GET\r\n").with_attachment(digest(SHA512, b"body"));
        assert_eq!(running.finish(), whole);
        assert_eq!(whole.all().count(), 2);
    }

    #[test]
    fn an_empty_part_counts_and_an_absent_one_does_not() {
        let mut empty = RunningDigests::of_message(SHA512, b"m");
        empty.update(b"");
        assert_eq!(empty.finish().attachments, [digest(SHA512, b"")]);

        let mut absent = RunningDigests::of_message(SHA512, b"m");
        absent.end_part();
        assert_eq!(absent.finish().attachments, []);
    }

    #[test]
    fn parts_keep_their_order() {
        let mut running = RunningDigests::of_message(SHA512, b"m");
        running.update(b"1");
        running.end_part();
        running.update(b"2");
        assert_eq!(running.finish().attachments, [digest(SHA512, b"1"), digest(SHA512, b"2")]);
    }
}
