//! Builds hash chains as X-Road does: byte for byte its XML, node for node its tree.
//!
//! The tree of `n` inputs is a complete binary tree in which a node without a right child is left out:
//! its left child takes its place. An input of several parts is a step of its own below its leaf; so is every message.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cert_authority::{algorithm::DigestAlgorithm, crypto::Digest};

use super::{StepItem, step_digest};

/// A Merkle tree over several inputs, of which each is one digest (a message, a signature) or several
/// (a message and its attachments).
#[derive(Debug)]
pub struct Tree {
    algorithm: DigestAlgorithm,
    inputs: Vec<Vec<Digest>>,
    /// Whether an input of one part is a step of its own, too.
    apart: bool,
    /// From the leaves up; the last level holds the root alone.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree over `inputs`, each the digests of its parts in order.
    #[must_use]
    pub fn new(algorithm: DigestAlgorithm, inputs: Vec<Vec<Digest>>) -> Self {
        Self::build(algorithm, inputs, false)
    }

    /// The tree over messages, each of which is a step of its own, also when it is one part.
    ///
    /// # Compatibility
    /// X-Road puts two messages of one part each into one step, where the second could be passed off as the body of the
    /// first: the digest of a step does not say what its entries are. Whoever verifies X-Road's chains verifies these.
    #[must_use]
    pub fn of_messages(algorithm: DigestAlgorithm, messages: Vec<Vec<Digest>>) -> Self {
        Self::build(algorithm, messages, true)
    }

    fn build(algorithm: DigestAlgorithm, inputs: Vec<Vec<Digest>>, apart: bool) -> Self {
        let mut level = inputs
            .iter()
            .map(|parts| match parts.as_slice() {
                [single] if inputs.len() > 1 && !apart => *single,
                several => combine(algorithm, several),
            })
            .collect::<Vec<_>>();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let above = level
                .chunks(2)
                .map(|pair| match pair {
                    [promoted] => *promoted,
                    pair => combine(algorithm, pair),
                })
                .collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        levels.push(level);
        Self { algorithm, inputs, apart, levels }
    }

    /// The hash chain result: the document that is signed or time-stamped. `file` is the name that the
    /// chain will have, such as `/sig-hashchain.xml`.
    #[must_use]
    pub fn result(&self, file: &str) -> Bytes {
        let root = self.levels.last().and_then(|level| level.first());
        let digest = root.map(|root| STANDARD.encode(root)).unwrap_or_default();
        let uri = self.algorithm.uri();
        Bytes::from(format!(
            "{PROLOGUE}<ns2:HashChainResult URI=\"{file}#STEP0\" {NAMESPACES}>\n    \
             <DigestMethod Algorithm=\"{uri}\"/>\n    \
             <DigestValue>{digest}</DigestValue>\n\
             </ns2:HashChainResult>\n"
        ))
    }

    /// The hash chain of each input, in order. `names` are the references to the parts of an input, such
    /// as `/message.xml`, `/attachment1`.
    #[must_use]
    pub fn chains(&self, name: impl Fn(usize) -> String) -> Vec<Bytes> {
        (0..self.inputs.len()).map(|input| self.chain(input, &name)).collect()
    }

    /// The hash chain of one input, by its place.
    #[must_use]
    pub fn chain(&self, input: usize, name: impl Fn(usize) -> String) -> Bytes {
        let parts = self.inputs.get(input).map(Vec::as_slice).unwrap_or_default();
        let own_step = self.apart || parts.len() > 1 || self.levels.len() == 1;
        let uri = self.algorithm.uri();
        let mut xml = format!(
            "{PROLOGUE}<ns2:HashChain {NAMESPACES}>\n    \
             <ns2:DefaultDigestMethod Algorithm=\"{uri}\"/>\n"
        );
        let siblings = self.siblings(input);
        let count = siblings.len();
        for (step, (sibling, on_the_left)) in siblings.into_iter().rev().enumerate() {
            open_step(&mut xml, step);
            if on_the_left {
                hash_value(&mut xml, sibling);
            }
            match parts {
                [single] if step + 1 == count && !own_step => data_ref(&mut xml, &name(0), single),
                _ => {
                    let _ = writeln!(xml, "        <ns2:StepRef URI=\"#STEP{}\"/>", step + 1);
                }
            }
            if !on_the_left {
                hash_value(&mut xml, sibling);
            }
            xml.push_str("    </ns2:HashStep>\n");
        }
        if own_step {
            open_step(&mut xml, count);
            for (index, part) in parts.iter().enumerate() {
                data_ref(&mut xml, &name(index), part);
            }
            xml.push_str("    </ns2:HashStep>\n");
        }
        xml.push_str("</ns2:HashChain>\n");
        Bytes::from(xml)
    }

    /// The siblings on the way from a leaf to the root, with whether each stands on the left; none where
    /// the node was promoted.
    fn siblings(&self, input: usize) -> Vec<(&Digest, bool)> {
        let mut index = input;
        let mut siblings = Vec::new();
        for level in &self.levels {
            if let Some(sibling) = level.get(index ^ 1) {
                siblings.push((sibling, index & 1 == 1));
            }
            index /= 2;
        }
        siblings
    }
}

pub(super) const PROLOGUE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
pub(super) const NAMESPACES: &str =
    "xmlns=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:ns2=\"http://cyber.ee/hashchain\"";

fn combine(algorithm: DigestAlgorithm, digests: &[Digest]) -> Digest {
    let items =
        digests.iter().map(|digest| StepItem { algorithm, digest: digest.as_ref() }).collect::<Vec<_>>();
    step_digest(algorithm, &items)
}

fn open_step(xml: &mut String, step: usize) {
    let _ = writeln!(xml, "    <ns2:HashStep id=\"STEP{step}\">");
}

fn hash_value(xml: &mut String, digest: &Digest) {
    xml.push_str("        <ns2:HashValue>\n");
    digest_value(xml, digest);
    xml.push_str("        </ns2:HashValue>\n");
}

fn data_ref(xml: &mut String, name: &str, digest: &Digest) {
    let _ = writeln!(xml, "        <ns2:DataRef URI=\"{name}\">");
    digest_value(xml, digest);
    xml.push_str("        </ns2:DataRef>\n");
}

fn digest_value(xml: &mut String, digest: &Digest) {
    xml.push_str("            <DigestValue>");
    STANDARD.encode_string(digest, xml);
    xml.push_str("</DigestValue>\n");
}
