//! ZIP archives and multiparts, also of names that nobody who writes them would take.

use bytes::Bytes;
use flate2::Crc;

use super::Pieces;

/// The boundary of [`multipart`].
pub const BOUNDARY: &str = "forged-by-a-stranger";

/// The pieces as entries of a ZIP archive, stored, in their order: names may be doubled, empty, nonsense.
pub fn zip(pieces: &Pieces) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in &pieces.0 {
        let mut crc = Crc::new();
        crc.update(data);
        let size = number(data.len());
        let mut common = Vec::new();
        common.extend_from_slice(&[20, 0, 0, 0, 0, 0]); // version, flags, stored
        common.extend_from_slice(&[0, 0, 0x21, 0x5c]); // 2026-01-01
        for field in [crc.sum(), size, size] {
            common.extend_from_slice(&field.to_le_bytes());
        }
        common.extend_from_slice(&number(name.len()).to_le_bytes()); // and no extra field
        let offset = number(archive.len());
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]); // comment, disk, attributes
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(b"PK\x03\x04");
        archive.extend_from_slice(&common);
        archive.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(data);
    }
    let begin = number(archive.len());
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(pieces.0.len()).unwrap().to_le_bytes();
    archive.extend_from_slice(&[count, count].concat());
    archive.extend_from_slice(&number(directory.len()).to_le_bytes());
    archive.extend_from_slice(&begin.to_le_bytes());
    archive.extend_from_slice(&[0; 2]);
    archive
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap()
}

/// The pieces as parts of a multipart with [`BOUNDARY`], each of the type that is its name.
pub fn multipart(pieces: &Pieces) -> Bytes {
    let mut body = Vec::new();
    for (media_type, content) in &pieces.0 {
        body.extend_from_slice(format!("\r\n--{BOUNDARY}\r\ncontent-type: {media_type}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
    }
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body.into()
}
