//! PEM in and out.
//!
//! Specification: RFC 7468. Text between the blocks is skipped, as `openssl` writes some there.
//! Not here: what is inside a block.

use crate::error::PkiError;

/// Writes one block with lines of 64 characters, ended by LF.
pub fn encode(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

/// The content of every block with this label, in the order of the text.
///
/// # Errors
/// [`PkiError::Decode`] when a block is cut short or is no base64.
pub fn decode_all(what: &'static str, label: &str, text: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let blocks = pem::parse_many(text).map_err(|e| PkiError::decode(what, e))?;
    if blocks.is_empty() && text.contains("-----BEGIN") {
        return Err(PkiError::decode(what, "a block is not closed"));
    }
    Ok(blocks.into_iter().filter(|b| b.tag() == label).map(pem::Pem::into_contents).collect())
}

/// The content of the only block with this label.
///
/// # Errors
/// [`PkiError::Decode`] when there is none, or more than one.
pub fn decode_one(what: &'static str, label: &str, text: &str) -> Result<Vec<u8>, PkiError> {
    let mut blocks = decode_all(what, label, text)?.into_iter();
    match (blocks.next(), blocks.next()) {
        (Some(der), None) => Ok(der),
        (None, _) => Err(PkiError::decode(what, format!("no block {label}"))),
        (Some(_), Some(_)) => Err(PkiError::decode(what, format!("more than one block {label}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_back_in_order_and_text_between_is_skipped() {
        let text = format!("subject=x\n{}notes\n{}", encode("A", b"one"), encode("A", b"two"));
        assert_eq!(decode_all("thing", "A", &text).unwrap(), vec![b"one".to_vec(), b"two".to_vec()]);
        assert!(decode_one("thing", "A", &text).is_err());
        assert!(decode_one("thing", "B", &text).is_err());
    }

    #[test]
    fn a_block_cut_short_is_refused() {
        let whole = encode("A", &[7; 100]);
        assert!(decode_all("thing", "A", &whole[..whole.len() - 20]).is_err());
        assert!(decode_all("thing", "A", &whole.replace("Bw", "!?")).is_err());
    }
}
