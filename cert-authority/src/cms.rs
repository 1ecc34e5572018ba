//! The part of CMS that time-stamps use: SignedData with one signer and signed attributes.
//!
//! Specification: RFC 5652 5 and 11; RFC 5035 (ESSCertIDv2), RFC 2634 5.4 (ESSCertID).
//!
//! ```text
//! ContentInfo { id-signedData, [0] SignedData {
//!     version, digestAlgorithms, encapContentInfo { type, [0] content },
//!     [0] certificates?, [1] crls?,
//!     { SignerInfo { version, sid, digestAlgorithm, [0] signedAttrs, signatureAlgorithm, signature, [1] unsignedAttrs? } } } }
//!                                        signed: these attributes, but with the tag of a SET
//! ```
//! Certificates that came along are not looked at: who may sign is the caller's knowledge.
//! No encryption, no detached content, no counter-signatures, no signers without signed attributes.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode, Sequence, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierRef;

use crate::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use crate::asn1::{GeneralizedTime, ber_to_der, content, elements};
use crate::clock::UnixTime;
use crate::crypto;
use crate::error::{PkiError, VerifyError};
use crate::keys::{KeyId, Signer};
use crate::x509::{Certificate, Name, Serial};

const WHAT: &str = "CMS SignedData";

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const ID_SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
const ID_CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
const ID_MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
const ID_SIGNING_TIME: ObjectIdentifier = oid("1.2.840.113549.1.9.5");
const ID_SIGNING_CERTIFICATE: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.12");
const ID_SIGNING_CERTIFICATE_V2: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.47");
const RSA_ENCRYPTION: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const ID_EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");

/// A SignedData, read; judged by [`SignedData::verify`] only.
#[derive(Debug, Clone)]
pub(crate) struct SignedData {
    pub(crate) content_type: ObjectIdentifier,
    pub(crate) content: Vec<u8>,
    pub(crate) signer: SignerId,
    digest: Option<DigestAlgorithm>,
    algorithm: Option<SignatureAlgorithm>,
    attributes: Attributes,
    signature: Vec<u8>,
}

/// Which certificate the signer says is his.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignerId {
    /// By issuer and serial number.
    IssuerAndSerial(Name, Serial),
    /// By subject key identifier.
    KeyId(Vec<u8>),
}

impl SignerId {
    pub(crate) fn names(&self, certificate: &Certificate) -> bool {
        match self {
            Self::IssuerAndSerial(issuer, serial) => {
                certificate.serial() == serial && certificate.issuer().same_as(issuer)
            }
            Self::KeyId(id) => certificate.subject_key_id().is_some_and(|subject| subject == id),
        }
    }
}

/// The signed attributes that matter, and what was signed.
#[derive(Debug, Clone, Default)]
struct Attributes {
    signed: Vec<u8>,
    content_type: Option<ObjectIdentifier>,
    message_digest: Option<Vec<u8>>,
    /// Digest of the signer's certificate, from either version of the attribute; one for each that is there.
    signing_certificates: Vec<(Option<DigestAlgorithm>, Vec<u8>)>,
}

#[derive(Sequence)]
struct ContentInfo<'a> {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: SignedDataDer<'a>,
}

#[derive(Sequence)]
struct SignedDataDer<'a> {
    version: u8,
    digest_algorithms: AnyRef<'a>,
    encap_content_info: EncapsulatedContentInfo<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    crls: Option<AnyRef<'a>>,
    signer_infos: AnyRef<'a>,
}

#[derive(Sequence)]
struct EncapsulatedContentInfo<'a> {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    content: Option<OctetStringRef<'a>>,
}

#[derive(Sequence)]
struct SignerInfo<'a> {
    version: u8,
    sid: AnyRef<'a>,
    digest_algorithm: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    signed_attributes: Option<AnyRef<'a>>,
    signature_algorithm: AlgorithmIdentifierRef<'a>,
    signature: OctetStringRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    unsigned_attributes: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct IssuerAndSerial<'a> {
    issuer: AnyRef<'a>,
    serial: AnyRef<'a>,
}

#[derive(Sequence)]
struct Attribute<'a> {
    id: ObjectIdentifier,
    values: AnyRef<'a>,
}

impl SignedData {
    /// Reads a ContentInfo with SignedData, in DER or in the BER that some encoders write.
    ///
    /// # Errors
    /// [`PkiError::Decode`] if it is none; [`PkiError::Inspect`] if it has not exactly one signer, no content, or no signed
    /// attributes, or an attribute twice.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, PkiError> {
        let Ok(info) = ContentInfo::from_der(bytes) else {
            let der = ber_to_der(bytes).ok_or_else(|| PkiError::decode(WHAT, "neither DER nor BER"))?;
            return Self::from_info(&ContentInfo::from_der(&der).map_err(wrong)?);
        };
        Self::from_info(&info)
    }

    fn from_info(info: &ContentInfo<'_>) -> Result<Self, PkiError> {
        let data = &info.content;
        if info.content_type != ID_SIGNED_DATA {
            return Err(PkiError::inspect(WHAT, "not of type id-signedData"));
        }
        let signers: Vec<SignerInfo<'_>> = elements(data.signer_infos.value()).map_err(wrong)?;
        let [signer] = signers.as_slice() else {
            return Err(PkiError::inspect(WHAT, format!("{} signers", signers.len())));
        };
        let inner = &data.encap_content_info;
        let content = inner.content.ok_or_else(|| PkiError::inspect(WHAT, "no content"))?;
        let attributes =
            signer.signed_attributes.ok_or_else(|| PkiError::inspect(WHAT, "no signed attributes"))?;
        let digest = DigestAlgorithm::from_oid(&signer.digest_algorithm.oid);
        Ok(Self {
            content_type: inner.content_type,
            content: content.as_bytes().to_vec(),
            signer: read_signer_id(signer.sid)?,
            digest,
            algorithm: read_algorithm(&signer.signature_algorithm, digest).map_err(wrong)?,
            attributes: Attributes::read(attributes.value())?,
            signature: signer.signature.as_bytes().to_vec(),
        })
    }

    /// Whether the content is signed with the key of `certificate`, and the signed attributes name that certificate.
    ///
    /// `verify_signature` is given the algorithm, the signed bytes and the signature: the caller decides which keys are
    /// strong enough.
    ///
    /// # Errors
    /// [`VerifyError::BadSignature`] if attributes and content do not agree, or the attributes name another certificate;
    /// [`VerifyError::UnsupportedAlgorithm`]; what `verify_signature` says.
    pub(crate) fn verify(
        &self,
        certificate: &Certificate,
        verify_signature: impl FnOnce(SignatureAlgorithm, &[u8], &[u8]) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let unsupported = || VerifyError::UnsupportedAlgorithm("CMS signature".into());
        let digest = self.digest.filter(|digest| *digest != DigestAlgorithm::Sha1).ok_or_else(unsupported)?;
        let algorithm = self.algorithm.ok_or_else(unsupported)?;
        let expected = crypto::digest(digest, &self.content);
        let attributes = &self.attributes;
        if attributes.content_type != Some(self.content_type)
            || attributes.message_digest.as_deref() != Some(expected.as_ref())
            || !attributes.names(certificate)
        {
            return Err(VerifyError::BadSignature);
        }
        verify_signature(algorithm, &attributes.signed, &self.signature)
    }
}

fn wrong(error: der::Error) -> PkiError {
    PkiError::decode(WHAT, error)
}

fn read_signer_id(sid: AnyRef<'_>) -> Result<SignerId, PkiError> {
    const KEY_ID: Tag = Tag::ContextSpecific { constructed: false, number: TagNumber::N0 };
    if sid.tag() == KEY_ID {
        return Ok(SignerId::KeyId(sid.value().to_vec()));
    }
    let der = sid.to_der().map_err(wrong)?;
    let id = IssuerAndSerial::from_der(&der).map_err(wrong)?;
    let issuer = Name::from_der(&id.issuer.to_der().map_err(wrong)?)?;
    Ok(SignerId::IssuerAndSerial(issuer, Serial::from_bytes(id.serial.value())))
}

/// CMS allows to name the key's type only; the digest is then that of the signer.
fn read_algorithm(
    identifier: &AlgorithmIdentifierRef<'_>,
    digest: Option<DigestAlgorithm>,
) -> der::Result<Option<SignatureAlgorithm>> {
    Ok(match identifier.oid {
        RSA_ENCRYPTION => digest.and_then(SignatureAlgorithm::rsa_pkcs1),
        ID_EC_PUBLIC_KEY => digest.and_then(SignatureAlgorithm::ecdsa),
        _ => SignatureAlgorithm::from_identifier_der(&identifier.to_der()?).ok(),
    })
}

#[derive(Sequence)]
struct SigningCertificate<'a> {
    certs: Vec<AnyRef<'a>>,
    policies: Option<der::asn1::SequenceRef<'a>>,
}

#[derive(Sequence)]
struct EssCertId<'a> {
    hash: OctetStringRef<'a>,
    issuer_serial: Option<der::asn1::SequenceRef<'a>>,
}

#[derive(Sequence)]
struct EssCertIdV2<'a> {
    algorithm: Option<AlgorithmIdentifierRef<'a>>,
    hash: OctetStringRef<'a>,
    issuer_serial: Option<der::asn1::SequenceRef<'a>>,
}

impl Attributes {
    fn read(set: &[u8]) -> Result<Self, PkiError> {
        let signed = AnyRef::new(Tag::Set, set).and_then(|set| set.to_der()).map_err(wrong)?;
        let mut read = Self { signed, ..Self::default() };
        let attributes: Vec<Attribute<'_>> = elements(set).map_err(wrong)?;
        for (index, attribute) in attributes.iter().enumerate() {
            if attributes.iter().take(index).any(|earlier| earlier.id == attribute.id) {
                return Err(PkiError::inspect(WHAT, format!("attribute {} twice", attribute.id)));
            }
            read.take(attribute).map_err(wrong)?;
        }
        Ok(read)
    }

    fn take(&mut self, attribute: &Attribute<'_>) -> der::Result<()> {
        let value = attribute.values.value();
        match attribute.id {
            ID_CONTENT_TYPE => self.content_type = Some(ObjectIdentifier::from_der(value)?),
            ID_MESSAGE_DIGEST => {
                self.message_digest = Some(OctetStringRef::from_der(value)?.as_bytes().to_vec());
            }
            ID_SIGNING_CERTIFICATE => {
                if let Some(first) = SigningCertificate::from_der(value)?.certs.first() {
                    let der = first.to_der()?;
                    let hash = EssCertId::from_der(&der)?.hash.as_bytes().to_vec();
                    self.signing_certificates.push((Some(DigestAlgorithm::Sha1), hash));
                }
            }
            ID_SIGNING_CERTIFICATE_V2 => {
                if let Some(first) = SigningCertificate::from_der(value)?.certs.first() {
                    let der = first.to_der()?;
                    let id = EssCertIdV2::from_der(&der)?;
                    let digest = match &id.algorithm {
                        None => Some(DigestAlgorithm::Sha256),
                        Some(algorithm) => DigestAlgorithm::from_oid(&algorithm.oid),
                    };
                    self.signing_certificates.push((digest, id.hash.as_bytes().to_vec()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// At least one version of the attribute is there, and all that are there name `certificate`.
    fn names(&self, certificate: &Certificate) -> bool {
        let named = |(digest, hash): &(Option<DigestAlgorithm>, Vec<u8>)| {
            digest.is_some_and(|digest| certificate.fingerprint(digest).as_ref() == hash.as_slice())
        };
        !self.signing_certificates.is_empty() && self.signing_certificates.iter().all(named)
    }
}

/// Who signs.
#[derive(Debug, Clone)]
pub(crate) struct SigningIdentity<'a> {
    /// The signer's certificate.
    pub(crate) certificate: &'a Certificate,
    pub(crate) key: &'a KeyId,
    pub(crate) algorithm: SignatureAlgorithm,
}

/// Signs `content` and writes a ContentInfo with SignedData in DER; `certificates` go into it.
pub(crate) async fn sign(
    content_type: ObjectIdentifier,
    content: &[u8],
    identity: &SigningIdentity<'_>,
    certificates: &[Certificate],
    signing_time: UnixTime,
    signer: &dyn Signer,
) -> Result<Vec<u8>, PkiError> {
    let digest = identity.algorithm.digest();
    let attributes =
        write_attributes(content_type, crypto::digest(digest, content).as_ref(), identity, signing_time)
            .map_err(wrong)?;
    let to_be_signed = AnyRef::new(Tag::Set, &attributes).and_then(|set| set.to_der()).map_err(wrong)?;
    let signature = signer.sign(identity.key, identity.algorithm, &to_be_signed).await?;
    let algorithm = identity.algorithm.to_identifier_der()?;
    write(content_type, content, identity, certificates, &attributes, &algorithm, &signature).map_err(wrong)
}

/// The content octets of the SET, its elements in DER's order.
fn write_attributes(
    content_type: ObjectIdentifier,
    message_digest: &[u8],
    identity: &SigningIdentity<'_>,
    signing_time: UnixTime,
) -> der::Result<Vec<u8>> {
    let fingerprint = identity.certificate.fingerprint(DigestAlgorithm::Sha256);
    // The algorithm is left out: SHA-256 is the default, and DER omits defaults.
    let ess = EssCertIdV2 {
        algorithm: None,
        hash: OctetStringRef::new(fingerprint.as_ref())?,
        issuer_serial: None,
    };
    let ess = ess.to_der()?;
    let ess = SigningCertificate { certs: vec![AnyRef::from_der(&ess)?], policies: None };
    let mut attributes = [
        attribute(ID_CONTENT_TYPE, &content_type)?,
        attribute(ID_MESSAGE_DIGEST, &OctetStringRef::new(message_digest)?)?,
        attribute(ID_SIGNING_TIME, &utc_time(signing_time)?)?,
        attribute(ID_SIGNING_CERTIFICATE_V2, &ess)?,
    ];
    attributes.sort();
    Ok(attributes.concat())
}

/// RFC 5652 11.3: UTCTime until 2049, GeneralizedTime from then on.
fn utc_time(at: UnixTime) -> der::Result<der::Any> {
    let text = content(&GeneralizedTime(at))?;
    match text.strip_prefix(b"20") {
        Some(short) if text.get(2).is_some_and(|decade| *decade < b'5') => der::Any::new(Tag::UtcTime, short),
        _ => der::Any::new(Tag::GeneralizedTime, text),
    }
}

fn attribute(id: ObjectIdentifier, value: &impl Encode) -> der::Result<Vec<u8>> {
    Attribute { id, values: AnyRef::new(Tag::Set, &value.to_der()?)? }.to_der()
}

fn write(
    content_type: ObjectIdentifier,
    content: &[u8],
    identity: &SigningIdentity<'_>,
    certificates: &[Certificate],
    attributes: &[u8],
    algorithm: &[u8],
    signature: &[u8],
) -> der::Result<Vec<u8>> {
    const CONSTRUCTED_0: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
    let serial = identity.certificate.serial().integer_content();
    let sid = IssuerAndSerial {
        issuer: AnyRef::from_der(identity.certificate.issuer().der())?,
        serial: AnyRef::new(Tag::Integer, &serial)?,
    }
    .to_der()?;
    let digest_algorithm =
        AlgorithmIdentifierRef { oid: identity.algorithm.digest().oid(), parameters: Some(AnyRef::NULL) };
    let signer_info = SignerInfo {
        version: 1,
        sid: AnyRef::from_der(&sid)?,
        digest_algorithm,
        signed_attributes: Some(AnyRef::new(CONSTRUCTED_0, attributes)?),
        signature_algorithm: AlgorithmIdentifierRef::from_der(algorithm)?,
        signature: OctetStringRef::new(signature)?,
        unsigned_attributes: None,
    }
    .to_der()?;
    let digest_algorithms = digest_algorithm.to_der()?;
    let mut set: Vec<&[u8]> = certificates.iter().map(Certificate::der).collect();
    set.sort_unstable();
    let set = set.concat();
    ContentInfo {
        content_type: ID_SIGNED_DATA,
        content: SignedDataDer {
            version: 3,
            digest_algorithms: AnyRef::new(Tag::Set, &digest_algorithms)?,
            encap_content_info: EncapsulatedContentInfo {
                content_type,
                content: Some(OctetStringRef::new(content)?),
            },
            certificates: (!set.is_empty()).then(|| AnyRef::new(CONSTRUCTED_0, &set)).transpose()?,
            crls: None,
            signer_infos: AnyRef::new(Tag::Set, &signer_info)?,
        },
    }
    .to_der()
}
