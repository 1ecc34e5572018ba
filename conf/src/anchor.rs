//! The configuration anchor: where to get the configuration of an instance, and what verifies it.
//!
//! An administrator installs the anchor once, after comparing its [`fingerprint`] with the one that the
//! authority has published: all trust begins here.
//!
//! Specification: PR-GCONF 2.2 and `private-parameters.xsd` (`ConfigurationAnchorType`).
//!
//! Not here: the download itself ([`crate::client`]).

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto;
use roxmltree::Node;

use crate::error::{ConfError, XmlError};
use crate::xml::{self, Sequence, Writer};

/// Where to get a configuration, and what verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// When the anchor was made.
    pub generated_at: Option<UnixTime>,
    /// Whose configuration it is.
    pub instance: String,
    /// Places that all give the same configuration; at least one.
    pub sources: Vec<AnchorSource>,
}

/// One place where a configuration can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorSource {
    /// The address of the signed directory.
    pub url: String,
    /// Certificates (DER) whose keys may have signed it. They are known by their hash; neither their
    /// validity nor their issuer matters.
    pub certificates: Vec<Vec<u8>>,
}

impl Anchor {
    /// Reads an anchor file.
    pub fn read(bytes: &[u8]) -> Result<Self, ConfError> {
        let read = || {
            let document = xml::parse(xml::text_of_bytes(bytes)?)?;
            Self::read_element(xml::root(&document, "configurationAnchor")?)
        };
        read().map_err(|error| ConfError::malformed("configuration anchor", error))
    }

    /// Reads an element of the type `ConfigurationAnchorType`: the root of a file, or in private parameters.
    pub(crate) fn read_element(node: Node<'_, '_>) -> Result<Self, XmlError> {
        let mut sequence = Sequence::of(node);
        let generated_at = sequence.optional("generatedAt").map(date_time).transpose()?;
        let instance = sequence.required_text("instanceIdentifier")?.trim().to_owned();
        if instance.is_empty() {
            return Err(xml::wrong_value(node, "the instance is blank"));
        }
        let mut sources = vec![source(sequence.required("source")?)?];
        while let Some(node) = sequence.optional("source") {
            sources.push(source(node)?);
        }
        sequence.end()?;
        Ok(Self { generated_at, instance, sources })
    }

    /// Writes an anchor file.
    pub fn write(&self) -> String {
        let mut out = Writer::document("ns:configurationAnchor");
        self.write_content(&mut out);
        out.finish()
    }

    pub(crate) fn write_content(&self, out: &mut Writer) {
        if let Some(time) = self.generated_at {
            out.leaf("generatedAt", &time.to_rfc3339());
        }
        out.leaf("instanceIdentifier", &self.instance);
        for source in &self.sources {
            out.start("source", &[]);
            out.leaf("downloadURL", &source.url);
            source.certificates.iter().for_each(|der| out.base64("verificationCert", der));
            out.end();
        }
    }
}

/// What two people compare: SHA-224 over the file, `AB:CD:...`.
pub fn fingerprint(bytes: &[u8]) -> String {
    let digest = crypto::digest(DigestAlgorithm::Sha224, bytes);
    let pairs: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

fn source(node: Node<'_, '_>) -> Result<AnchorSource, XmlError> {
    let mut sequence = Sequence::of(node);
    let url = sequence.required_text("downloadURL")?.trim().to_owned();
    let mut certificates = vec![xml::base64(sequence.required("verificationCert")?)?];
    while let Some(node) = sequence.optional("verificationCert") {
        certificates.push(xml::base64(node)?);
    }
    sequence.end()?;
    Ok(AnchorSource { url, certificates })
}

/// `dateTime` without a zone is taken as UTC.
fn date_time(node: Node<'_, '_>) -> Result<UnixTime, XmlError> {
    let text = xml::text(node)?;
    let text = text.trim();
    UnixTime::from_rfc3339(text)
        .or_else(|_| UnixTime::from_rfc3339(&format!("{text}Z")))
        .map_err(|error| xml::wrong_value(node, &error.to_string()))
}
