//! Checkpoints: the head of a tree, as the text of a signed note.
//!
//! ```text
//! example.com/log        origin: which log
//! 20852163               size: how many leaves
//! CsUYapGGPo4dkMgI...    root, base64
//! ```
//! Specification: C2SP tlog-checkpoint v1.0.0. Lines behind the third (extensions) are kept as they are: signatures cover
//! them, and nobody here gives them a meaning.
//!
//! Not here: signatures ([`super::note`]), whether two heads fit together ([`super::proof`]).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{
    note::{Note, NoteError, VerifierKey},
    proof::Hash,
};

/// Why a text is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It does not have the form.
    #[error("malformed checkpoint: {0}")]
    Malformed(&'static str),
    /// The checkpoint of another log.
    #[error("the checkpoint is of the log {0}")]
    OtherLog(String),
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The head of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// The head of the log `origin`.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] when no log can be called so.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if origin.is_empty() || origin.chars().any(|c| c < ' ') {
            return Err(CheckpointError::Malformed("the origin is empty or has control characters"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let mut lines = text
            .strip_suffix('\n')
            .ok_or_else(|| malformed("it does not end in a newline"))?
            .split('\n')
            .map(str::to_owned);
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed("it has fewer than three lines"));
        };
        let size = parse_decimal(&size).ok_or_else(|| malformed("its size is no number"))?;
        let root = parse_hash(&root).ok_or_else(|| malformed("its root is no hash in base64"))?;
        let extensions: Vec<_> = lines.collect();
        if extensions.iter().any(String::is_empty) {
            return Err(malformed("it has an empty line"));
        }
        Ok(Self { extensions, ..Self::new(&origin, size, root)? })
    }

    /// Reads and verifies the checkpoint of the log `origin`, which must be signed by one of `keys`.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open<'a>(
        note: &Note,
        origin: &str,
        keys: impl IntoIterator<Item = &'a VerifierKey>,
    ) -> Result<Self, CheckpointError> {
        note.verify(keys)?;
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin != origin {
            return Err(CheckpointError::OtherLog(checkpoint.origin));
        }
        Ok(checkpoint)
    }

    /// Which log it is of.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// Lines that somebody added.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl fmt::Display for Checkpoint {
    /// The text of the note.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, BASE64.encode(self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A size: decimal, without leading zeros, and below 2^63, as everybody can hold it.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = text.parse().ok().filter(|_| plain)?;
    i64::try_from(number).is_ok().then_some(number)
}

pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_example_of_the_specification_is_read_and_written_again() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.root()[..3], [0x0a, 0xc5, 0x18]);
        assert_eq!(checkpoint.to_string(), TEXT);
        let extended = format!("{TEXT}one more line\nand another\n");
        let checkpoint = Checkpoint::parse(&extended).unwrap();
        assert_eq!(checkpoint.extensions(), ["one more line", "and another"]);
        assert_eq!(checkpoint.to_string(), extended);
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let short = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==";
        let loose = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=";
        for bad in [
            String::new(),
            "a\n1\n".to_owned(),
            format!("a\n1\n{ROOT}"),
            format!("\n1\n{ROOT}\n"),
            format!("a\n01\n{ROOT}\n"),
            format!("a\n+1\n{ROOT}\n"),
            format!("a\n-1\n{ROOT}\n"),
            format!("a\n\n{ROOT}\n"),
            format!("a\n1 \n{ROOT}\n"),
            format!("a\n9223372036854775808\n{ROOT}\n"),
            format!("a\n1\n{short}\n"),
            format!("a\n1\n{loose}\n"),
            format!("a\n1\n {ROOT}\n"),
            format!("a\n1\n{ROOT}\n\n"),
            format!("a\n1\n{ROOT}\n\nlate\n"),
            format!("a\r\n1\r\n{ROOT}\r\n"),
        ] {
            assert!(matches!(Checkpoint::parse(&bad), Err(CheckpointError::Malformed(_))), "{bad:?}");
        }
        assert_eq!(Checkpoint::parse(&format!("a\n0\n{ROOT}\n")).unwrap().size(), 0);
    }
}
