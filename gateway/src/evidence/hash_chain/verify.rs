//! Verifies a hash chain: walks it from its result, and sees that every input is used exactly once.
//!
//! Specification: X-Road's hash chain schema; THREATS.md T11. Only files of the same message or
//! container are ever looked at.

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap};

use cert_authority::{
    algorithm::DigestAlgorithm,
    crypto::{self, Digest},
};
use roxmltree::Node;

use super::{HashChainError, NAMESPACE, StepItem, step_digest, usual};
use crate::evidence::xml::{self, Children, DS, Limits, XmlError};

/// Steps between the result and a part: a batch of 2^60 messages needs no more.
const MAX_DEPTH: usize = 64;

/// A part that the chain must cover.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// Its name in references, such as `/message.xml`.
    pub name: Cow<'a, str>,
    /// What is known of it.
    pub content: Content<'a>,
}

/// What is known of a part.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// Its digest, taken while it passed.
    Digest(DigestAlgorithm, &'a [u8]),
    /// Its bytes.
    Bytes(&'a [u8]),
}

/// What to do with a data reference to something that is no input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// A message in flight: all its parts are here.
    Refuse,
    /// A container may leave out attachments; the chain then proves their digest only.
    Report,
}

/// A part that the chain covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// Its name in references.
    pub name: String,
    /// The algorithm of its digest in the chain.
    pub algorithm: DigestAlgorithm,
    /// The digest.
    pub digest: Vec<u8>,
    /// Whether the part itself was there and had this digest.
    pub present: bool,
}

/// What a hash chain proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The parts it covers.
    pub covered: Vec<Covered>,
    /// Whether the same result covers something else as well: other messages of a batch.
    pub shared: bool,
}

/// Verifies that `result` covers every one of `inputs`, through the hash chain `files` (name, bytes).
///
/// # Errors
/// [`HashChainError`]; where a digest that the chain states is not that of the part, the part's own
/// is used on the way up, so that a changed part shows as [`HashChainError::WrongResult`] as in X-Road.
///
/// # Compatibility
/// X-Road ignores the digest that the chain states for a part it has; here it must be right as well. It takes transforms
/// of a part, which nobody writes; the digest of a step does not cover them, so that whoever has a signature over a
/// canonical document could add one, and change the document: here they are refused. Nor does that digest cover what kind
/// an entry is of, or what it names. So several parts must stand in one step of their own, as everybody writes them: a
/// digest of another message of the batch cannot be passed off as one more part further up.
pub fn verify(
    result: &[u8],
    files: &[(&str, &[u8])],
    inputs: &[Input<'_>],
    unresolved: Unresolved,
) -> Result<Vec<Covered>, HashChainError> {
    Root::read(result)?.verify(files, inputs, unresolved).map(|proof| proof.covered)
}

/// A hash chain result, taken apart: where its chains begin, and the digest that they lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    uri: String,
    algorithm: DigestAlgorithm,
    digest: Vec<u8>,
}

impl Root {
    /// Takes a hash chain result apart.
    ///
    /// # Errors
    /// [`HashChainError::Malformed`].
    pub fn read(result: &[u8]) -> Result<Self, HashChainError> {
        let document = xml::parse(result, Limits::SIGNATURE)?;
        xml::plain_elements_and_text(&document)?;
        let root = named_root(document.root_element(), "HashChainResult")?;
        let mut children = Children::of(root)?;
        let method = children.required(DS, "DigestMethod")?;
        let digest = children.required(DS, "DigestValue")?;
        children.end()?;
        Ok(Self {
            uri: xml::attribute(root, "URI")?.to_owned(),
            algorithm: algorithm_of(method)?,
            digest: xml::base64(digest)?,
        })
    }

    /// Verifies that this covers every one of `inputs`, as [`verify`].
    ///
    /// # Errors
    /// As there.
    pub fn verify(
        &self,
        files: &[(&str, &[u8])],
        inputs: &[Input<'_>],
        unresolved: Unresolved,
    ) -> Result<Proof, HashChainError> {
        let chains = files
            .iter()
            .map(|(name, bytes)| Chain { name, bytes, steps: OnceCell::new() })
            .collect::<Vec<_>>();
        let mut walk = Walk {
            chains: &chains,
            inputs,
            unresolved,
            visited: Vec::new(),
            covered: Vec::new(),
            steps_of_parts: 0,
            beside_parts: false,
            shared: false,
            lie: None,
        };
        let calculated = walk.step(&self.uri, None, self.algorithm, 0)?;
        if calculated.as_ref() != self.digest.as_slice() {
            return Err(HashChainError::WrongResult);
        }
        if walk.covered.len() > 1 && (walk.steps_of_parts > 1 || walk.beside_parts) {
            return Err(HashChainError::Malformed("the parts of a message in several steps".to_owned()));
        }
        let unused = inputs
            .iter()
            .filter(|input| !walk.covered.iter().any(|covered| covered.name == input.name))
            .map(|input| input.name.clone().into_owned())
            .collect::<Vec<_>>();
        if !unused.is_empty() {
            return Err(HashChainError::UnusedInputs(unused));
        }
        match walk.lie {
            Some(name) => Err(HashChainError::WrongReferenceDigest(name)),
            None => Ok(Proof { covered: walk.covered, shared: walk.shared }),
        }
    }
}

/// One hash chain file, parsed when first referred to.
struct Chain<'a> {
    name: &'a str,
    bytes: &'a [u8],
    steps: OnceCell<Result<Steps, HashChainError>>,
}

/// The entries of each step of a chain, by the step's name.
pub(super) type Steps = BTreeMap<String, Vec<Value>>;

/// One entry of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) algorithm: DigestAlgorithm,
    pub(super) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hash(Vec<u8>),
    Step(String),
    Data { uri: String, digest: Vec<u8> },
}

/// The state of one verification.
struct Walk<'a> {
    chains: &'a [Chain<'a>],
    inputs: &'a [Input<'a>],
    unresolved: Unresolved,
    /// Steps already taken: a second visit is a cycle, or work without bound.
    visited: Vec<(&'a str, &'a str)>,
    covered: Vec<Covered>,
    /// How many steps hold parts.
    steps_of_parts: usize,
    /// Whether one of them holds something else as well.
    beside_parts: bool,
    /// Whether there was a digest of something else.
    shared: bool,
    /// A part whose digest the chain states wrongly.
    lie: Option<String>,
}

impl<'a> Walk<'a> {
    /// The digest, by `algorithm`, of the step that `uri` names; `#ID` is one of the same file.
    fn step(
        &mut self,
        uri: &'a str,
        current: Option<&'a Chain<'a>>,
        algorithm: DigestAlgorithm,
        depth: usize,
    ) -> Result<Digest, HashChainError> {
        let malformed = |what: &str| HashChainError::Malformed(format!("{what}: {uri}"));
        let (file, id) =
            uri.split_once('#').filter(|(_, id)| !id.is_empty()).ok_or_else(|| malformed("not a step"))?;
        if depth >= MAX_DEPTH {
            return Err(malformed("nested too deeply"));
        }
        let chain = if file.is_empty() {
            current.ok_or_else(|| malformed("a step of no file"))?
        } else {
            self.chains
                .iter()
                .find(|chain| chain.name == file)
                .ok_or_else(|| HashChainError::UnknownReference(file.to_owned()))?
        };
        let step = (chain.name, id);
        if self.visited.contains(&step) {
            return Err(malformed("a step used twice"));
        }
        self.visited.push(step);
        let steps = chain.steps.get_or_init(|| read_chain(chain.bytes)).as_ref().map_err(Clone::clone)?;
        let values = steps.get(id).ok_or_else(|| malformed("no such step"))?;
        let parts = values.iter().filter(|value| matches!(value.kind, Kind::Data { .. })).count();
        if parts > 0 {
            self.steps_of_parts += 1;
            self.beside_parts |= parts < values.len();
        }
        let digests = values
            .iter()
            .map(|value| self.value(value, chain, depth).map(|digest| (value.algorithm, digest)))
            .collect::<Result<Vec<_>, _>>()?;
        let items = digests
            .iter()
            .map(|(algorithm, digest)| StepItem { algorithm: *algorithm, digest })
            .collect::<Vec<_>>();
        Ok(step_digest(algorithm, &items))
    }

    fn value(
        &mut self,
        value: &'a Value,
        chain: &'a Chain<'a>,
        depth: usize,
    ) -> Result<Cow<'a, [u8]>, HashChainError> {
        match &value.kind {
            Kind::Hash(digest) => {
                self.shared = true;
                Ok(Cow::Borrowed(digest))
            }
            Kind::Step(uri) => {
                let digest = self.step(uri, Some(chain), value.algorithm, depth + 1)?;
                Ok(Cow::Owned(digest.as_ref().to_vec()))
            }
            Kind::Data { uri, digest } => self.data(value.algorithm, uri, digest),
        }
    }

    /// The digest of a part: its own where there is one, else the stated one if that is allowed.
    fn data(
        &mut self,
        algorithm: DigestAlgorithm,
        uri: &str,
        stated: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, HashChainError> {
        if self.covered.iter().any(|covered| covered.name == uri) {
            return Err(HashChainError::Malformed(format!("{uri} used twice")));
        }
        let input = self.inputs.iter().find(|input| input.name == uri);
        let digest = match input.map(|input| input.content) {
            Some(Content::Digest(taken, digest)) if taken == algorithm => {
                if digest != stated {
                    self.lie = Some(uri.to_owned());
                }
                Cow::Borrowed(digest)
            }
            Some(Content::Bytes(bytes)) => {
                if crypto::digest(algorithm, bytes).as_ref() != stated {
                    return Err(HashChainError::WrongReferenceDigest(uri.to_owned()));
                }
                Cow::Borrowed(stated)
            }
            None if self.unresolved == Unresolved::Report => Cow::Borrowed(stated),
            _ => return Err(HashChainError::UnknownReference(uri.to_owned())),
        };
        self.covered.push(Covered {
            name: uri.to_owned(),
            algorithm,
            digest: digest.clone().into_owned(),
            present: input.is_some(),
        });
        Ok(digest)
    }
}

fn read_chain(bytes: &[u8]) -> Result<Steps, HashChainError> {
    usual::read(bytes).map_or_else(|| read_document(bytes), Ok)
}

/// Reads a chain of whatever form.
pub(super) fn read_document(bytes: &[u8]) -> Result<Steps, HashChainError> {
    let document = xml::parse(bytes, Limits::SIGNATURE)?;
    xml::plain_elements_and_text(&document)?;
    let mut children = Children::of(named_root(document.root_element(), "HashChain")?)?;
    let default = children.optional(NAMESPACE, "DefaultDigestMethod").map(algorithm_of).transpose()?;
    let mut steps = BTreeMap::new();
    while let Some(step) = children.optional(NAMESPACE, "HashStep") {
        let Some(id) = step.attribute("id") else {
            continue; // without a name it cannot be part of the chain
        };
        let mut values = Vec::new();
        let mut entries = Children::of(step)?;
        while let Some(entry) = entries.any() {
            values.push(read_value(entry, default)?);
        }
        if steps.insert(id.to_owned(), values).is_some() {
            return Err(HashChainError::Malformed(format!("two steps are called {id}")));
        }
    }
    children.end()?;
    Ok(steps)
}

fn read_value(node: Node<'_, '_>, default: Option<DigestAlgorithm>) -> Result<Value, HashChainError> {
    let mut children = Children::of(node)?;
    let algorithm = match children.optional(DS, "DigestMethod") {
        Some(method) => algorithm_of(method)?,
        None => default.ok_or_else(|| HashChainError::Malformed("no digest method".to_owned()))?,
    };
    let name = node.tag_name();
    let kind = match (name.namespace(), name.name()) {
        (Some(NAMESPACE), "StepRef") => Kind::Step(xml::attribute(node, "URI")?.to_owned()),
        (Some(NAMESPACE), "HashValue") => Kind::Hash(xml::base64(children.required(DS, "DigestValue")?)?),
        (Some(NAMESPACE), "DataRef") => Kind::Data {
            uri: xml::attribute(node, "URI")?.to_owned(),
            digest: xml::base64(children.required(DS, "DigestValue")?)?,
        },
        _ => return Err(xml::shape(node, "does not belong into a step").into()),
    };
    children.end()?;
    Ok(Value { algorithm, kind })
}

fn named_root<'a>(root: Node<'a, 'a>, name: &str) -> Result<Node<'a, 'a>, XmlError> {
    Some(root)
        .filter(|root| root.has_tag_name((NAMESPACE, name)))
        .ok_or_else(|| xml::shape(root, &format!("stands where {name} belongs")))
}

fn algorithm_of(method: Node<'_, '_>) -> Result<DigestAlgorithm, HashChainError> {
    let uri = xml::attribute(method, "Algorithm")?;
    DigestAlgorithm::from_uri(uri)
        .filter(|algorithm| *algorithm >= DigestAlgorithm::Sha256)
        .ok_or_else(|| HashChainError::Malformed(format!("digest method {uri}")))
}

impl From<XmlError> for HashChainError {
    fn from(error: XmlError) -> Self {
        Self::Malformed(error.to_string())
    }
}
