//! `linkinginfo`: what ties the containers of an archive together, and the archive to the one before it.
//!
//! ```text
//! <last digest of the archive before, or -> <its file, or -> <digest algorithm>
//! <digest> <container>
//! ...
//!
//! digest = hex(H(UTF-8(digest before, hex  ||  hex(H(container)))))      the first one begins with nothing
//! ```
//! Specification: X-Road's message log archives, the last entry of each.
//!
//! Not here: the archive around it ([`super::read`], [`super::write`]).

use std::collections::HashSet;

use cert_authority::{
    algorithm::DigestAlgorithm,
    crypto::{Digest, digest},
};

/// A file and the digest of the chain when it has been taken in, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The digest.
    pub digest: String,
    /// The name of the file.
    pub file: String,
}

/// What the entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkingInfo {
    /// The archive before; none: the chain begins here.
    pub previous: Option<Link>,
    /// The algorithm of all digests.
    pub algorithm: DigestAlgorithm,
    /// The containers, in the order of the chain.
    pub files: Vec<Link>,
}

/// Why it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkingError {
    /// It is no text, or the lines are not as they must be.
    #[error("line {0} is not as it must be")]
    Line(usize),
    /// Digests of this algorithm tie nothing together any more.
    #[error("the digest algorithm {0} is not supported")]
    Algorithm(String),
    /// A container stands there twice.
    #[error("{0} stands there twice")]
    Twice(String),
}

impl LinkingInfo {
    /// Reads the entry.
    ///
    /// # Errors
    /// [`LinkingError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LinkingError> {
        let text = std::str::from_utf8(bytes).map_err(|_| LinkingError::Line(1))?;
        let mut lines = text.lines();
        let (previous, algorithm) = first_line(lines.next().unwrap_or_default())?;
        let mut names = HashSet::new();
        let mut files = Vec::new();
        for (number, line) in (2..).zip(lines) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[digest, file] = words.as_slice() else { return Err(LinkingError::Line(number)) };
            if !names.insert(file) {
                return Err(LinkingError::Twice(file.to_owned()));
            }
            files.push(Link { digest: digest.to_ascii_lowercase(), file: file.to_owned() });
        }
        Ok(Self { previous, algorithm, files })
    }

    /// Writes it.
    pub fn to_text(&self) -> String {
        let (digest, file) =
            self.previous.as_ref().map_or(("-", "-"), |link| (link.digest.as_str(), link.file.as_str()));
        let mut text = format!("{digest} {file} {}\n", self.algorithm.name());
        for Link { digest, file } in &self.files {
            text.extend([digest, " ", file, "\n"]);
        }
        text
    }

    /// The chain before the first container.
    pub fn chain(&self) -> Chain {
        Chain::after(self.algorithm, self.previous.as_ref().map(|link| link.digest.as_str()))
    }
}

/// The name of the file may hold blanks, as the codes of members may.
fn first_line(line: &str) -> Result<(Option<Link>, DigestAlgorithm), LinkingError> {
    let parts = line.trim_end().rsplit_once(' ').and_then(|(rest, algorithm)| {
        let (digest, file) = rest.trim_start().split_once(' ')?;
        Some((digest, file.trim(), algorithm))
    });
    let (digest, file, algorithm) = parts.ok_or(LinkingError::Line(1))?;
    let strong = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha384, DigestAlgorithm::Sha512];
    let known = DigestAlgorithm::from_name(algorithm).filter(|known| strong.contains(known));
    let known = known.ok_or_else(|| LinkingError::Algorithm(algorithm.to_owned()))?;
    let previous =
        (digest != "-").then(|| Link { digest: digest.to_ascii_lowercase(), file: file.to_owned() });
    Ok((previous, known))
}

/// The digest chain, going on from file to file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    algorithm: DigestAlgorithm,
    last: String,
}

impl Chain {
    /// Goes on after this digest, or begins.
    pub fn after(algorithm: DigestAlgorithm, digest: Option<&str>) -> Self {
        Self { algorithm, last: digest.unwrap_or_default().to_owned() }
    }

    /// Takes in a file, and gives the digest of the chain.
    pub fn add(&mut self, file: &Digest) -> &str {
        self.last.push_str(&file.hex());
        self.last = digest(self.algorithm, self.last.as_bytes()).hex();
        &self.last
    }

    /// The last digest, in hexadecimal; empty before the first file of all.
    pub fn last(&self) -> &str {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let link = |digest: &str, file: &str| Link { digest: digest.to_owned(), file: file.to_owned() };
        for previous in [None, Some(link("ab", "mlog-DEMO_GOV_a b-1-2-3.zip"))] {
            let files = vec![link("01", "a-request-1.asice"), link("02", "b+c-response-2.asice")];
            let info = LinkingInfo { previous, algorithm: DigestAlgorithm::Sha512, files };
            assert_eq!(LinkingInfo::parse(info.to_text().as_bytes()), Ok(info));
        }
    }

    #[test]
    fn what_is_not_linking_information_is_refused() {
        let parse = |text: &str| LinkingInfo::parse(text.as_bytes()).unwrap_err();
        assert_eq!(parse(""), LinkingError::Line(1));
        assert_eq!(parse("INVALID_DIGEST 1.asice"), LinkingError::Line(1));
        assert_eq!(LinkingInfo::parse(b"- - SHA-512\n\xff"), Err(LinkingError::Line(1)));
        assert_eq!(parse("- - SHA-1\n"), LinkingError::Algorithm("SHA-1".to_owned()));
        assert_eq!(parse("- - MD5\n"), LinkingError::Algorithm("MD5".to_owned()));
        assert_eq!(parse("- - SHA-512\n0 a\n0\n"), LinkingError::Line(3));
        assert_eq!(parse("- - SHA-512\n0 a b\n"), LinkingError::Line(2));
        assert_eq!(parse("- - SHA-512\n0 a\n1 a\n"), LinkingError::Twice("a".to_owned()));
    }
}
