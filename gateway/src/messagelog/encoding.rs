//! Tagged fields: how the content of a frame is written. One content has one encoding.
//!
//! ```text
//! field   tag (varint)  length (varint)  value
//! varint  LEB128, shortest form
//! number  8 bytes, big-endian          time    milliseconds since 1970, as a number in two's complement
//! list    items, each length (varint) and bytes
//! digest  1 byte algorithm, digest
//! ```
//! Tags ascend. A field of length zero is empty: unknown, unused or absent. FORMAT.md has the tables of tags.

use bytes::Bytes;
use cert_authority::{algorithm::DigestAlgorithm, clock::UnixTime, crypto::Digest};

/// Writes fields in the order of their tags.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// A writer with room for so many bytes; more are taken, too.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn bytes(&mut self, tag: u64, value: &[u8]) -> &mut Self {
        varint(&mut self.out, tag);
        item(&mut self.out, value);
        self
    }

    pub(crate) fn text(&mut self, tag: u64, value: &str) -> &mut Self {
        self.bytes(tag, value.as_bytes())
    }

    pub(crate) fn maybe_text(&mut self, tag: u64, value: Option<&str>) -> &mut Self {
        self.text(tag, value.unwrap_or_default())
    }

    pub(crate) fn number(&mut self, tag: u64, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.bytes(tag, &value.to_be_bytes()),
            None => self.bytes(tag, &[]),
        }
    }

    pub(crate) fn time(&mut self, tag: u64, value: Option<UnixTime>) -> &mut Self {
        match value {
            Some(value) => self.bytes(tag, &value.as_millis().to_be_bytes()),
            None => self.bytes(tag, &[]),
        }
    }

    pub(crate) fn digest(&mut self, tag: u64, value: Option<&Digest>) -> &mut Self {
        let Some(value) = value else { return self.bytes(tag, &[]) };
        let digest = value.as_ref();
        varint(&mut self.out, tag);
        varint(&mut self.out, u64::try_from(digest.len()).unwrap_or(u64::MAX).saturating_add(1));
        self.out.push(digest_code(value.algorithm()));
        self.out.extend_from_slice(digest);
        self
    }

    pub(crate) fn list<T: AsRef<[u8]>>(&mut self, tag: u64, items: impl IntoIterator<Item = T>) -> &mut Self {
        let mut written = Vec::new();
        for value in items {
            item(&mut written, value.as_ref());
        }
        self.bytes(tag, &written)
    }
}

/// The fields could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Reads fields in the order of their tags. Fields that are not asked for are passed over. Only what is asked for as
/// [`Bytes`] keeps what it was read from.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    whole: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(fields: &'a Bytes) -> Self {
        Self { whole: fields, rest: fields }
    }

    /// What was not read yet: of an item of a list the item.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The field `tag`, which must be there.
    pub(crate) fn raw(&mut self, tag: u64) -> Result<&'a [u8], Unreadable> {
        loop {
            let found = take_varint(&mut self.rest)?;
            let value = take_item(&mut self.rest)?;
            match found.cmp(&tag) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(value),
                std::cmp::Ordering::Greater => return Err(Unreadable),
            }
        }
    }

    pub(crate) fn bytes(&mut self, tag: u64) -> Result<Bytes, Unreadable> {
        Ok(self.whole.slice_ref(self.raw(tag)?))
    }

    pub(crate) fn text(&mut self, tag: u64) -> Result<String, Unreadable> {
        std::str::from_utf8(self.raw(tag)?).map(str::to_owned).map_err(|_| Unreadable)
    }

    pub(crate) fn maybe_text(&mut self, tag: u64) -> Result<Option<String>, Unreadable> {
        Ok(Some(self.text(tag)?).filter(|text| !text.is_empty()))
    }

    pub(crate) fn maybe_bytes(&mut self, tag: u64) -> Result<Option<Bytes>, Unreadable> {
        Ok(Some(self.bytes(tag)?).filter(|bytes| !bytes.is_empty()))
    }

    pub(crate) fn number(&mut self, tag: u64) -> Result<Option<u64>, Unreadable> {
        let value = self.raw(tag)?;
        if value.is_empty() {
            return Ok(None);
        }
        let value = <[u8; 8]>::try_from(value).map_err(|_| Unreadable)?;
        Ok(Some(u64::from_be_bytes(value)))
    }

    pub(crate) fn time(&mut self, tag: u64) -> Result<Option<UnixTime>, Unreadable> {
        let millis = |number: u64| UnixTime::from_millis(i64::from_be_bytes(number.to_be_bytes()));
        Ok(self.number(tag)?.map(millis))
    }

    pub(crate) fn digest(&mut self, tag: u64) -> Result<Option<Digest>, Unreadable> {
        let Some((code, digest)) = self.raw(tag)?.split_first() else { return Ok(None) };
        let algorithm =
            DigestAlgorithm::ALL.into_iter().find(|a| digest_code(*a) == *code).ok_or(Unreadable)?;
        Digest::from_computed(algorithm, digest).map(Some).ok_or(Unreadable)
    }

    /// The items of a list, each read by itself.
    pub(crate) fn each<T>(
        &mut self,
        tag: u64,
        mut read: impl FnMut(Self) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, Unreadable> {
        let mut rest = self.raw(tag)?;
        let mut items = Vec::new();
        while !rest.is_empty() {
            items.push(read(Self { whole: self.whole, rest: take_item(&mut rest)? })?);
        }
        Ok(items)
    }

    /// A list of numbers.
    pub(crate) fn numbers(&mut self, tag: u64) -> Result<Vec<u64>, Unreadable> {
        self.each(tag, |item| item.rest.try_into().map(u64::from_be_bytes).map_err(|_| Unreadable))
    }

    pub(crate) fn list(&mut self, tag: u64) -> Result<Vec<Bytes>, Unreadable> {
        self.each(tag, |item| Ok(item.whole.slice_ref(item.rest)))
    }
}

const fn digest_code(algorithm: DigestAlgorithm) -> u8 {
    match algorithm {
        DigestAlgorithm::Sha1 => 1,
        DigestAlgorithm::Sha224 => 2,
        DigestAlgorithm::Sha256 => 3,
        DigestAlgorithm::Sha384 => 4,
        DigestAlgorithm::Sha512 => 5,
    }
}

fn item(out: &mut Vec<u8>, value: &[u8]) {
    varint(out, u64::try_from(value.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take_varint(from: &mut &[u8]) -> Result<u64, Unreadable> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = from.split_first().ok_or(Unreadable)?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            // The shortest form has no zero at its end.
            return if *byte == 0 && shift > 0 { Err(Unreadable) } else { Ok(value) };
        }
    }
    Err(Unreadable)
}

fn take_item<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let length = usize::try_from(take_varint(from)?).map_err(|_| Unreadable)?;
    let (item, rest) = from.split_at_checked(length).ok_or(Unreadable)?;
    *from = rest;
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cert_authority::crypto;

    fn written() -> Vec<u8> {
        let mut writer = Writer::default();
        writer
            .text(1, "héé")
            .number(2, Some(u64::MAX))
            .number(3, None)
            .time(4, Some(UnixTime::from_millis(-5)))
            .digest(5, Some(&crypto::digest(DigestAlgorithm::Sha384, b"x")))
            .list(6, [b"a".as_slice(), b"", &[7; 300]])
            .bytes(200, b"end");
        writer.finish()
    }

    #[test]
    fn what_was_written_is_read() {
        let written = Bytes::from(written());
        let mut reader = Reader::new(&written);
        assert_eq!(reader.text(1).unwrap(), "héé");
        assert_eq!(reader.number(2).unwrap(), Some(u64::MAX));
        assert_eq!(reader.number(3).unwrap(), None);
        assert_eq!(reader.time(4).unwrap(), Some(UnixTime::from_millis(-5)));
        assert_eq!(reader.digest(5).unwrap(), Some(crypto::digest(DigestAlgorithm::Sha384, b"x")));
        assert_eq!(reader.list(6).unwrap(), [b"a".to_vec(), vec![], vec![7; 300]]);
        assert_eq!(reader.bytes(200).unwrap().as_ref(), b"end");
    }

    #[test]
    fn fields_of_a_later_version_are_passed_over() {
        let written = Bytes::from(written());
        let mut reader = Reader::new(&written);
        assert_eq!(reader.bytes(200).unwrap().as_ref(), b"end");
    }

    #[test]
    fn a_missing_field_is_no_empty_field() {
        let written = Bytes::from(written());
        let mut reader = Reader::new(&written);
        assert_eq!(reader.bytes(7), Err(Unreadable));
    }

    #[test]
    fn fields_that_are_cut_off_are_not_read() {
        let whole = written();
        for cut in 0..whole.len() {
            let cut_off = Bytes::copy_from_slice(&whole[..cut]);
            let mut reader = Reader::new(&cut_off);
            assert_eq!(reader.bytes(200), Err(Unreadable), "cut at {cut}");
        }
    }

    #[test]
    fn a_number_in_a_longer_form_than_needed_is_refused() {
        assert_eq!(take_varint(&mut [0x81, 0x00].as_slice()), Err(Unreadable));
        assert_eq!(take_varint(&mut [0xff; 10].as_slice()), Err(Unreadable));
    }
}
