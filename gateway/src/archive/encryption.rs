//! Archives that only their recipients can read: age files (age-encryption.org/v1), encrypted while they are made.
//!
//! Nothing of an encrypted archive ever lies in clear on the disk. What is encrypted is the same ZIP file as without.
//!
//! Not here: the bytes of age, which a library writes and reads.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom},
    path::Path,
};

use age::{
    DecryptError, Decryptor, Encryptor, Identity, IdentityFile,
    stream::{StreamReader, StreamWriter},
    x25519::Recipient,
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// How an age file begins.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// Whom archives are encrypted for: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// From their texts, `age1...`.
    ///
    /// # Errors
    /// In words: none, or which is no recipient.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        if texts.is_empty() {
            return Err("nobody could read archives that are encrypted for no recipient".to_owned());
        }
        let one =
            |text: &String| text.parse().map_err(|error| format!("{text:?} is no age recipient: {error}"));
        texts.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Encrypts what is written. It is whole only after [`StreamWriter::finish`].
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn encrypt(&self, file: File) -> io::Result<StreamWriter<BufWriter<File>>> {
        let recipients = self.0.iter().map(|recipient| -> &dyn age::Recipient { recipient });
        Encryptor::with_recipients(recipients).map_err(io::Error::other)?.wrap_output(BufWriter::new(file))
    }
}

impl std::fmt::Display for Recipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

impl<'de> Deserialize<'de> for Recipients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Vec::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Who reads encrypted archives: the keys of an identity file, as `age-keygen` writes it.
pub struct Identities(Vec<Box<dyn Identity + Send + Sync>>);

impl Identities {
    /// Nobody: only archives that are not encrypted can be read.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The keys in a file.
    ///
    /// # Errors
    /// In words: it cannot be read, or holds no keys.
    pub fn load(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = BufReader::new(File::open(path).map_err(|error| failed(&error))?);
        let file = IdentityFile::from_buffer(file).map_err(|error| failed(&error))?;
        let identities = file.into_identities().map_err(|error| failed(&error))?;
        if identities.is_empty() {
            return Err(failed(&"there is no age identity in it"));
        }
        Ok(Self(identities))
    }
}

/// An archive to be read, encrypted or not.
pub enum Opened {
    /// As it lies there.
    Clear(BufReader<File>),
    /// Decrypted while it is read.
    Encrypted(StreamReader<BufReader<File>>),
}

impl Opened {
    /// Opens an archive; one that is encrypted for one of these.
    ///
    /// # Errors
    /// In words: it cannot be read, or is encrypted for others.
    pub fn open(path: &Path, identities: &Identities) -> Result<Self, String> {
        let others = "it is encrypted, and not for any of the identities given (--identity FILE)";
        Self::open_if_for(path, identities)
            .and_then(|opened| opened.ok_or_else(|| others.to_owned()))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Opens an archive; none when it is encrypted for others.
    ///
    /// # Errors
    /// In words: it cannot be read.
    pub fn open_if_for(path: &Path, identities: &Identities) -> Result<Option<Self>, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let mut file = BufReader::new(File::open(path).map_err(|error| failed(&error))?);
        let mut head = Vec::new();
        let limit = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
        file.by_ref().take(limit).read_to_end(&mut head).map_err(|error| failed(&error))?;
        file.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
        if head != MAGIC {
            return Ok(Some(Self::Clear(file)));
        }
        let identities = identities.0.iter().map(|identity| -> &dyn Identity { &**identity });
        match Decryptor::new_buffered(file).and_then(|decryptor| decryptor.decrypt(identities)) {
            Ok(reader) => Ok(Some(Self::Encrypted(reader))),
            Err(DecryptError::NoMatchingKeys) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(file) => file.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Clear(file) => file.seek(to),
            Self::Encrypted(stream) => stream.seek(to),
        }
    }
}
