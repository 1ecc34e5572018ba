//! Decides whether a signature proves that a member signed exactly these parts, and grants [`Verified`].
//!
//! The order of the checks is X-Road's, so that a message wrong in two ways gets the code that X-Road
//! gives: shape, hash chain, signer's certificate and name, digests and signature value, path and OCSP.
//!
//! Specification: XML-DSig core validation on the fixed template of [`super::read`]; THREATS.md T10 to T12.
//!
//! # Compatibility
//! Stricter than X-Road: every part must be covered, without a hash chain too; the digest that a hash
//! chain states for a part must be right, and the parts stand in their order; the certificate must be the one whose
//! digest was signed.

use std::sync::Arc;

use cert_authority::{
    clock::UnixTime,
    crypto::{self, EcdsaForm},
    x509::Certificate,
};
use conf::{identifier::MemberId, snapshot::GlobalConf};

use super::{
    HASH_CHAIN, HASH_CHAIN_RESULT, SignatureBundle, SignatureError, TrustCache, part_name,
    read::{self, Reference, Signature},
    shared::VerifiedSignature,
    trust::{self, Signer, Standing},
};
use crate::{
    evidence::{
        canonical::canonicalize,
        hash_chain::{Content, Covered, HashChainError, Input, Proof, Root, Unresolved},
    },
    message::digests::PartDigests,
};

/// A message that is proven to be signed by the member it says it is from.
///
/// Made by [`verify`] only, out of the message itself, so that the proof cannot be shown for another.
#[derive(Debug)]
pub struct Verified<M> {
    message: M,
    facts: Facts,
}

impl<M> Verified<M> {
    /// The message.
    pub const fn message(&self) -> &M {
        &self.message
    }

    /// What was found out about the signature.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Gives the message away; the proof ends here.
    pub fn into_inner(self) -> (M, Facts) {
        (self.message, self.facts)
    }
}

/// What a valid signature says.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The signer's certificate.
    pub certificate: Certificate,
    /// The member it belongs to.
    pub member: MemberId,
    /// When the signer says to have signed: a claim, not a proof.
    pub signing_time: Option<UnixTime>,
    /// When the OCSP response for the certificate was made.
    pub ocsp_produced_at: UnixTime,
    /// The parts that are signed.
    pub covered: Vec<Covered>,
}

/// Verifies that `expected` signed the message with these digests, with a certificate good at `at`.
///
/// # Errors
/// [`SignatureError`]; its code is X-Road's.
pub fn verify<M>(
    message: M,
    digests: &PartDigests,
    bundle: &SignatureBundle,
    conf: &GlobalConf,
    trust: &TrustCache,
    expected: &MemberId,
    at: UnixTime,
) -> Result<Verified<M>, SignatureError> {
    let parts = Parts {
        inputs: std::iter::once(&digests.message)
            .chain(&digests.attachments)
            .enumerate()
            .map(|(index, digest)| Input {
                name: part_name(index),
                content: Content::Digest(digests.algorithm, digest.as_ref()),
            })
            .collect(),
        unresolved: Unresolved::Refuse,
        hash_chain_result: bundle.hash_chain_result.as_deref(),
        hash_chain: bundle.hash_chain.as_deref(),
    };
    let facts = match trust.shared.find(bundle, trust.grounds(conf), expected, at) {
        Some(known) => known.judge(&parts)?,
        None => {
            let document = read::parse(&bundle.signature_xml)?;
            judge(&read::read(&document)?, &parts, conf, trust, expected, at)?
        }
    };
    Ok(Verified { message, facts })
}

/// What must be covered, and the hash chain that may help.
pub(crate) struct Parts<'a> {
    pub(crate) inputs: Vec<Input<'a>>,
    pub(crate) unresolved: Unresolved,
    pub(crate) hash_chain_result: Option<&'a [u8]>,
    pub(crate) hash_chain: Option<&'a [u8]>,
}

/// The whole judgement, for messages in flight and for containers alike.
pub(crate) fn judge(
    signature: &Signature<'_>,
    parts: &Parts<'_>,
    conf: &GlobalConf,
    trust: &TrustCache,
    expected: &MemberId,
    at: UnixTime,
) -> Result<Facts, SignatureError> {
    let by_hash_chain = parts.check_hash_chain(signature)?;
    let shared = by_hash_chain.as_ref().and_then(|(root, proof)| proof.shared.then(|| root.clone()));
    let key = TrustCache::key(signature, expected);
    let grounds = trust.grounds(conf);
    let known = trust.get(&key, grounds, at);
    let signer = match &known {
        Some((signer, _)) => Arc::clone(signer),
        None => Arc::new(Signer::identify(signature, conf, expected)?),
    };
    if signer.member != *expected {
        return Err(SignatureError::OtherSigner {
            found: signer.member.to_string(),
            expected: expected.to_string(),
        });
    }
    let covered = match by_hash_chain {
        Some((_, proof)) => {
            parts.check_result_digest(signature)?;
            proof.covered
        }
        None => parts.check_references(signature)?,
    };
    check_value(signature, &signer.certificate)?;
    let standing = match known {
        Some((_, standing)) => standing,
        None => {
            let proven = trust::prove(&signer, signature, conf, &trust.revocations, at)
                .inspect_err(|_| trust.forget(&signer.certificate))?;
            let standing = proven.0;
            trust.put(key, Arc::clone(&signer), proven, grounds, at);
            standing
        }
    };
    let facts = Facts::new(&signer, standing, signature.signing_time, covered);
    if let (Some(root), Some(result)) = (shared, parts.hash_chain_result) {
        let verified = VerifiedSignature {
            signature_xml: signature.signed_info.document().input_text().as_bytes().into(),
            root,
            signer,
            signing_time: signature.signing_time,
            standing,
            at,
        };
        trust.shared.put(result, verified, grounds);
    }
    Ok(facts)
}

impl Facts {
    pub(super) fn new(
        signer: &Signer,
        standing: Standing,
        signing_time: Option<UnixTime>,
        covered: Vec<Covered>,
    ) -> Self {
        Self {
            certificate: signer.certificate.clone(),
            member: signer.member.clone(),
            signing_time,
            ocsp_produced_at: standing.ocsp_produced_at,
            covered,
        }
    }
}

impl Parts<'_> {
    /// Where the signature covers a hash chain result, that must be all it covers, and must lead to all
    /// parts. `None` where it does not: a hash chain that is not signed proves nothing and harms nothing.
    fn check_hash_chain(&self, signature: &Signature<'_>) -> Result<Option<(Root, Proof)>, SignatureError> {
        let [reference] = signature.data.as_slice() else {
            return Ok(None);
        };
        if reference.uri != HASH_CHAIN_RESULT {
            return Ok(None);
        }
        let result = self.hash_chain_result.ok_or(SignatureError::MissingHashChainResult)?;
        let root = Root::read(result)?;
        let proof = self.follow(&root)?;
        Ok(Some((root, proof)))
    }

    /// Walks the hash chain from its result to the parts. Digests say nothing of names: the first is the message, and its
    /// attachments follow in their order, so that none can be passed off as another.
    pub(super) fn follow(&self, root: &Root) -> Result<Proof, SignatureError> {
        let files = self.hash_chain.map(|chain| (HASH_CHAIN, chain)).into_iter().collect::<Vec<_>>();
        let proof = root.verify(&files, &self.inputs, self.unresolved)?;
        let in_order = proof.covered.iter().enumerate().all(|(index, part)| part.name == part_name(index));
        match in_order {
            true => Ok(proof),
            false => Err(HashChainError::Malformed("its parts are not in their order".to_owned()).into()),
        }
    }

    /// The hash chain result is the one that is signed.
    fn check_result_digest(&self, signature: &Signature<'_>) -> Result<(), SignatureError> {
        let result = self.hash_chain_result.unwrap_or_default();
        let is_signed = |reference: &Reference<'_>| {
            crypto::digest(reference.algorithm, result).as_ref() == reference.digest
        };
        match signature.data.iter().all(is_signed) {
            true => Ok(()),
            false => Err(SignatureError::WrongDigest(HASH_CHAIN_RESULT.to_owned())),
        }
    }

    /// Direct references: each to a part that is here, with its digest, and none left out.
    fn check_references(&self, signature: &Signature<'_>) -> Result<Vec<Covered>, SignatureError> {
        let mut covered = Vec::with_capacity(signature.data.len());
        for reference in &signature.data {
            let name = || reference.uri.to_owned();
            let input = self.inputs.iter().find(|input| input.name == reference.uri);
            let matches = match input.map(|input| input.content) {
                Some(Content::Digest(algorithm, digest)) if algorithm == reference.algorithm => {
                    digest == reference.digest
                }
                Some(Content::Bytes(bytes)) => {
                    crypto::digest(reference.algorithm, bytes).as_ref() == reference.digest
                }
                _ => return Err(SignatureError::InvalidReference(name())),
            };
            if !matches {
                return Err(SignatureError::WrongDigest(name()));
            }
            covered.push(Covered {
                name: name(),
                algorithm: reference.algorithm,
                digest: reference.digest.clone(),
                present: true,
            });
        }
        let is_covered = |input: &&Input<'_>| covered.iter().any(|part| part.name == input.name);
        match self.inputs.iter().find(|input| !is_covered(input)) {
            Some(input) => Err(SignatureError::NotCovered(input.name.to_string())),
            None => Ok(covered),
        }
    }
}

/// The signed properties have the digest that is signed, the certificate is the one they name, and its
/// key made the signature value.
fn check_value(signature: &Signature<'_>, certificate: &Certificate) -> Result<(), SignatureError> {
    let (algorithm, expected) = &signature.certificate_digest;
    if crypto::digest(*algorithm, certificate.der()).as_ref() != expected.as_slice() {
        let reason = "the signed properties name another certificate";
        return Err(SignatureError::Malformed(reason.to_owned()));
    }
    let reference = &signature.properties;
    let properties = canonicalize(signature.signed_properties, signature.properties_method);
    if crypto::digest(reference.algorithm, &properties).as_ref() != reference.digest {
        return Err(SignatureError::WrongDigest(reference.uri.to_owned()));
    }
    let signed_info = canonicalize(signature.signed_info, signature.canonicalization);
    certificate
        .public_key()
        .verify(signature.algorithm, EcdsaForm::Raw, &signed_info, &signature.value)
        .map_err(SignatureError::InvalidValue)
}
