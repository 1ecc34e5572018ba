//! Takes a signature apart along a fixed template.
//!
//! Two dialects exist and both are read: X-Road's own (root `asic:XAdESSignatures`, inclusive
//! canonicalisation, no transforms, SigningCertificate of version 1) and that of the DSS library (root
//! `ds:Signature`, exclusive canonicalisation, one transform on the signed properties, version 2).
//!
//! Specification: XML-DSig, XAdES 1.3.2; THREATS.md T10, T12, T13. Every element is reached by its path,
//! never by searching; identifiers are unique in the document, so that what is digested is what is used;
//! nothing outside the document is looked at. Does not compute anything: see
//! [`super::verify`](mod@super::verify).

use std::collections::BTreeSet;

use cert_authority::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    clock::UnixTime,
    crypto,
};
use roxmltree::{Document, Node};

use super::{ASIC_NAMESPACE, SIGNED_PROPERTIES_TYPE, SignatureError, XADES};
use crate::evidence::{
    canonical::Method,
    xml::{self, Children, DS, Limits},
};

/// The namespace that containers of X-Road before version 6.9 used for the root element.
const OLD_ASIC_NAMESPACE: &str = "http://uri.etsi.org/02918/v1.1.1#";
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// A signature, taken apart. Borrows from the document.
#[derive(Debug)]
pub struct Signature<'a> {
    /// What the signature value is over, once canonicalised.
    pub signed_info: Node<'a, 'a>,
    /// How.
    pub canonicalization: Method,
    /// The algorithm of the signature value.
    pub algorithm: SignatureAlgorithm,
    /// The references to parts of the message, or the one to the hash chain result.
    pub data: Vec<Reference<'a>>,
    /// The reference to the signed properties.
    pub properties: Reference<'a>,
    /// The signed properties themselves: the element that the reference names.
    pub signed_properties: Node<'a, 'a>,
    /// How they are canonicalised before they are digested.
    pub properties_method: Method,
    /// The signature value.
    pub value: Vec<u8>,
    /// Base64 of the signing certificate, as written.
    pub certificate: &'a str,
    /// The signed digest of the signing certificate.
    pub certificate_digest: (DigestAlgorithm, Vec<u8>),
    /// The time at which the signer says to have signed.
    pub signing_time: Option<UnixTime>,
    /// Base64 of the intermediate certificates.
    pub intermediates: Vec<&'a str>,
    /// Base64 of the OCSP responses.
    pub ocsp: Vec<&'a str>,
    /// Base64 of a time-stamp over the signature value.
    pub timestamp: Option<&'a str>,
}

/// A digest of something that is named.
#[derive(Debug)]
pub struct Reference<'a> {
    /// The name.
    pub uri: &'a str,
    /// The algorithm of the digest.
    pub algorithm: DigestAlgorithm,
    /// The digest.
    pub digest: Vec<u8>,
}

/// Parses the text of a signature; [`read`] takes it apart.
///
/// # Errors
/// [`SignatureError::InvalidXml`].
pub fn parse(bytes: &[u8]) -> Result<Document<'_>, SignatureError> {
    Ok(xml::parse(bytes, Limits::SIGNATURE)?)
}

/// Takes a signature apart.
///
/// # Errors
/// [`SignatureError::Malformed`] for whatever the template does not have.
pub fn read<'a>(document: &'a Document<'a>) -> Result<Signature<'a>, SignatureError> {
    xml::plain_elements_and_text(document)?;
    check_identifiers(document)?;
    let signature = signature_element(document.root_element())?;
    let mut children = Children::of(signature)?;
    let signed_info = children.required(DS, "SignedInfo")?;
    let value = xml::base64(children.required(DS, "SignatureValue")?)?;
    let certificate = key_info(children.required(DS, "KeyInfo")?)?;
    let object = children.required(DS, "Object")?;
    children.end()?;

    let mut object = Children::of(object)?;
    let qualifying = object.required(XADES, "QualifyingProperties")?;
    object.end()?;
    let target = signature.attribute("Id").map(|id| format!("#{id}"));
    if target.is_none() || qualifying.attribute("Target") != target.as_deref() {
        return malformed("the properties are not those of the signature");
    }
    let mut qualifying = Children::of(qualifying)?;
    let signed_properties = qualifying.required(XADES, "SignedProperties")?;
    let unsigned = qualifying.required(XADES, "UnsignedProperties")?;
    qualifying.end()?;

    let info = SignedInfo::read(signed_info, signed_properties)?;
    let (signing_time, certificate_digest) = signed(signed_properties)?;
    let unsigned = Unsigned::read(unsigned)?;
    Ok(Signature {
        signed_info,
        canonicalization: info.canonicalization,
        algorithm: info.algorithm,
        data: info.data,
        properties: info.properties,
        signed_properties,
        properties_method: info.properties_method,
        value,
        certificate,
        certificate_digest,
        signing_time,
        intermediates: unsigned.intermediates,
        ocsp: unsigned.ocsp,
        timestamp: unsigned.timestamp,
    })
}

/// No identifier twice, whatever the attribute is called, and none by `xml:id`.
fn check_identifiers(document: &Document<'_>) -> Result<(), SignatureError> {
    let mut seen = BTreeSet::new();
    for node in document.descendants() {
        for attribute in node.attributes() {
            let is_id = attribute.name().eq_ignore_ascii_case("id");
            if is_id && attribute.namespace() == Some(XML_NAMESPACE) {
                return malformed("xml:id does not belong into a signature");
            }
            if is_id && !seen.insert(attribute.value()) {
                return malformed(&format!("two elements are called {}", attribute.value()));
            }
        }
    }
    Ok(())
}

fn signature_element<'a>(root: Node<'a, 'a>) -> Result<Node<'a, 'a>, SignatureError> {
    if root.has_tag_name((DS, "Signature")) {
        return Ok(root);
    }
    let wrapped = [ASIC_NAMESPACE, OLD_ASIC_NAMESPACE]
        .iter()
        .any(|namespace| root.has_tag_name((*namespace, "XAdESSignatures")));
    if !wrapped {
        return malformed("the root element is no signature");
    }
    let mut children = Children::of(root)?;
    let signature = children.required(DS, "Signature")?;
    children.end()?;
    Ok(signature)
}

/// Exactly one certificate: the signer's.
fn key_info<'a>(node: Node<'a, 'a>) -> Result<&'a str, SignatureError> {
    let mut info = Children::of(node)?;
    let data = info.required(DS, "X509Data")?;
    info.end()?;
    let mut data = Children::of(data)?;
    let certificate = data.required(DS, "X509Certificate")?;
    data.end()?;
    Ok(xml::content(certificate)?)
}

struct SignedInfo<'a> {
    canonicalization: Method,
    algorithm: SignatureAlgorithm,
    data: Vec<Reference<'a>>,
    properties: Reference<'a>,
    properties_method: Method,
}

impl<'a> SignedInfo<'a> {
    fn read(node: Node<'a, 'a>, signed_properties: Node<'a, 'a>) -> Result<Self, SignatureError> {
        let mut children = Children::of(node)?;
        let canonicalization = method(children.required(DS, "CanonicalizationMethod")?)?;
        let algorithm = signature_algorithm(children.required(DS, "SignatureMethod")?)?;
        let properties_uri = format!("#{}", xml::attribute(signed_properties, "Id")?);
        let mut data = Vec::<Reference<'a>>::new();
        let mut properties = None;
        while let Some(node) = children.optional(DS, "Reference") {
            let (reference, transform) = reference(node)?;
            let is_properties = node.attribute("Type") == Some(SIGNED_PROPERTIES_TYPE);
            if is_properties && reference.uri == properties_uri && properties.is_none() {
                properties = Some((reference, transform.unwrap_or(Method::Inclusive)));
            } else if is_properties || node.has_attribute("Type") || transform.is_some() {
                return malformed(&format!("a reference to {} of this kind", reference.uri));
            } else if data.iter().any(|known| known.uri == reference.uri) {
                return malformed(&format!("two references to {}", reference.uri));
            } else {
                data.push(reference);
            }
        }
        children.end()?;
        let Some((properties, properties_method)) = properties else {
            return malformed("the signed properties are not signed");
        };
        Ok(Self { canonicalization, algorithm, data, properties, properties_method })
    }
}

/// A reference with at most one transform, a canonicalisation.
fn reference<'a>(node: Node<'a, 'a>) -> Result<(Reference<'a>, Option<Method>), SignatureError> {
    let mut children = Children::of(node)?;
    let transform = match children.optional(DS, "Transforms") {
        Some(transforms) => {
            let mut transforms = Children::of(transforms)?;
            let transform = method(transforms.required(DS, "Transform")?)?;
            transforms.end()?;
            Some(transform)
        }
        None => None,
    };
    let (algorithm, digest) = digest(&mut children)?;
    let uri = xml::attribute(node, "URI")?;
    Ok((Reference { uri, algorithm, digest }, transform))
}

/// `ds:DigestMethod` and `ds:DigestValue`, which end their parent. SHA-1 and SHA-224 are not accepted.
fn digest(children: &mut Children<'_>) -> Result<(DigestAlgorithm, Vec<u8>), SignatureError> {
    let method = children.required(DS, "DigestMethod")?;
    let value = xml::base64(children.required(DS, "DigestValue")?)?;
    children.end()?;
    Children::of(method)?.end()?;
    let uri = xml::attribute(method, "Algorithm")?;
    let strong = DigestAlgorithm::from_uri(uri).filter(|algorithm| *algorithm >= DigestAlgorithm::Sha256);
    strong.map_or_else(|| malformed(&format!("digest method {uri}")), |algorithm| Ok((algorithm, value)))
}

fn method(node: Node<'_, '_>) -> Result<Method, SignatureError> {
    Children::of(node)?.end()?;
    let uri = xml::attribute(node, "Algorithm")?;
    Method::from_uri(uri).map_or_else(|| malformed(&format!("algorithm {uri}")), Ok)
}

fn signature_algorithm(node: Node<'_, '_>) -> Result<SignatureAlgorithm, SignatureError> {
    Children::of(node)?.end()?;
    let uri = xml::attribute(node, "Algorithm")?;
    SignatureAlgorithm::from_uri(uri).map_or_else(|| malformed(&format!("signature method {uri}")), Ok)
}

type CertificateDigest = (DigestAlgorithm, Vec<u8>);

/// The signing time and the digest of the signing certificate. The rest of the signed properties
/// (policy, formats) is covered by their digest and decides nothing.
fn signed(node: Node<'_, '_>) -> Result<(Option<UnixTime>, CertificateDigest), SignatureError> {
    let mut properties = Children::of(node)?;
    let mut signature = Children::of(properties.required(XADES, "SignedSignatureProperties")?)?;
    properties.optional(XADES, "SignedDataObjectProperties");
    properties.end()?;
    let time = match signature.optional(XADES, "SigningTime") {
        Some(time) => {
            let text = xml::content(time)?.trim();
            Some(UnixTime::from_rfc3339(text).or_else(|_| malformed("the signing time is no time"))?)
        }
        None => None,
    };
    let certificates = match signature.optional(XADES, "SigningCertificate") {
        Some(first_version) => first_version,
        None => signature.required(XADES, "SigningCertificateV2")?,
    };
    let mut certificates = Children::of(certificates)?;
    let mut certificate = Children::of(certificates.required(XADES, "Cert")?)?;
    certificates.end()?;
    let digest = digest(&mut Children::of(certificate.required(XADES, "CertDigest")?)?)?;
    signature.optional(XADES, "SignaturePolicyIdentifier");
    signature.end()?;
    Ok((time, digest))
}

#[derive(Default)]
struct Unsigned<'a> {
    intermediates: Vec<&'a str>,
    ocsp: Vec<&'a str>,
    timestamp: Option<&'a str>,
}

impl<'a> Unsigned<'a> {
    fn read(node: Node<'a, 'a>) -> Result<Self, SignatureError> {
        let mut children = Children::of(node)?;
        let properties = children.required(XADES, "UnsignedSignatureProperties")?;
        children.end()?;
        let mut children = Children::of(properties)?;
        let [mut timestamp, mut references, mut revocation_references, mut values, mut revocation] =
            [None; 5];
        while let Some(node) = children.any() {
            let slot = match (node.tag_name().namespace(), node.tag_name().name()) {
                (Some(XADES), "SignatureTimeStamp") => &mut timestamp,
                (Some(XADES), "CompleteCertificateRefs") => &mut references,
                (Some(XADES), "CompleteRevocationRefs") => &mut revocation_references,
                (Some(XADES), "CertificateValues") => &mut values,
                (Some(XADES), "RevocationValues") => &mut revocation,
                (_, name) => return malformed(&format!("the unsigned property {name}")),
            };
            if slot.replace(node).is_some() {
                return malformed("an unsigned property twice");
            }
        }
        let mut unsigned =
            Self { timestamp: timestamp.map(encapsulated_timestamp).transpose()?, ..Self::default() };
        if let Some(values) = values {
            let mut children = Children::of(values)?;
            while let Some(value) = children.optional(XADES, "EncapsulatedX509Certificate") {
                unsigned.intermediates.push(xml::content(value)?);
            }
            children.end()?;
        }
        if let Some(references) = references {
            check_certificate_references(references, values)?;
        }
        if let Some(revocation) = revocation {
            let mut children = Children::of(revocation)?;
            let mut values = Children::of(children.required(XADES, "OCSPValues")?)?;
            children.end()?;
            while let Some(value) = values.optional(XADES, "EncapsulatedOCSPValue") {
                unsigned.ocsp.push(xml::content(value)?);
            }
            values.end()?;
        }
        if unsigned.ocsp.is_empty() {
            return malformed("no OCSP response");
        }
        Ok(unsigned)
    }
}

/// The token of a time-stamp; releases before 6.9 put it right into the outer element.
fn encapsulated_timestamp<'a>(node: Node<'a, 'a>) -> Result<&'a str, SignatureError> {
    if node.first_element_child().is_none() {
        return Ok(xml::content(node)?);
    }
    let mut children = Children::of(node)?;
    children.optional(DS, "CanonicalizationMethod");
    let token = children.required(XADES, "EncapsulatedTimeStamp")?;
    children.end()?;
    Ok(xml::content(token)?)
}

/// Each reference names one of the certificates that come along, and has its digest.
fn check_certificate_references<'a>(
    references: Node<'a, 'a>,
    values: Option<Node<'a, 'a>>,
) -> Result<(), SignatureError> {
    let mut children = Children::of(references)?;
    let mut references = Children::of(children.required(XADES, "CertRefs")?)?;
    children.end()?;
    while let Some(reference) = references.optional(XADES, "Cert") {
        let uri = xml::attribute(reference, "URI")?;
        let value = values.into_iter().flat_map(|values| values.children()).find(|value| {
            let id = value.attribute("Id");
            id.is_some() && id == uri.strip_prefix('#')
        });
        let Some(value) = value else {
            return malformed(&format!("no certificate {uri}"));
        };
        let (algorithm, expected) =
            digest(&mut Children::of(Children::of(reference)?.required(XADES, "CertDigest")?)?)?;
        if crypto::digest(algorithm, &xml::base64(value)?).as_ref() != expected {
            return malformed(&format!("the digest of the certificate {uri} does not match"));
        }
    }
    Ok(references.end()?)
}

fn malformed<T>(reason: &str) -> Result<T, SignatureError> {
    Err(SignatureError::Malformed(reason.to_owned()))
}
