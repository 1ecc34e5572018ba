//! Makes a signature in X-Road's own dialect.
//!
//! What does not change from message to message (the certificate, its digest, the policy, the OCSP
//! responses) is written once per signing certificate, in [`SigningKey`]. `SignedInfo` and
//! `SignedProperties` are written in canonical form at once: to digest or to sign them, only the
//! namespaces of the root element are put into their start tags.
//!
//! ```text
//! asic:XAdESSignatures > ds:Signature
//!   ds:SignedInfo      reference 0: the message or the hash chain result; 1: xades:SignedProperties
//!   ds:SignatureValue
//!   ds:KeyInfo         the signing certificate                                      per key
//!   ds:Object          SignedProperties: time, certificate, policy, format of reference 0
//!                      UnsignedProperties: intermediate certificates, OCSP responses per key
//! ```
//!
//! Specification: XAdES 1.3.2; the values of the policy are constants of X-Road's protocol.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cert_authority::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    clock::UnixTime,
    crypto::{self, Digest},
    error::KeyError,
    keys::{KeyId, Signer},
    x509::Certificate,
};

use super::{HASH_CHAIN, HASH_CHAIN_RESULT, MESSAGE, SignatureBundle, SignatureError, part_name};
use crate::{
    evidence::{canonical, hash_chain::Tree},
    message::digests::PartDigests,
};

/// The digest of everything that we refer to; part digests may have been taken with another.
const DIGEST: DigestAlgorithm = DigestAlgorithm::Sha512;

/// A key to sign messages with, and the parts of every signature by it, written beforehand.
///
/// Made anew when the certificate or one of its OCSP responses changes.
#[derive(Debug)]
pub struct SigningKey {
    id: KeyId,
    algorithm: SignatureAlgorithm,
    /// Bytes of r and of s, for an elliptic curve.
    coordinate: Option<usize>,
    certificate: Certificate,
    /// `ds:KeyInfo`.
    key_info: String,
    /// From `xades:SigningCertificate` to the end of the signed signature properties.
    signing_certificate: String,
    /// `xades:UnsignedProperties`.
    unsigned_properties: String,
}

impl SigningKey {
    /// Prepares signatures by the key `id`. `intermediates` lead from the certificate towards, and
    /// without, the approved authority; `ocsp` are the responses for the certificate and for each of them,
    /// in this order.
    #[must_use]
    pub fn new(
        id: KeyId,
        certificate: Certificate,
        intermediates: &[Certificate],
        ocsp: &[Bytes],
        algorithm: SignatureAlgorithm,
    ) -> Self {
        let encoded = STANDARD.encode(certificate.der());
        Self {
            id,
            algorithm,
            coordinate: certificate.public_key().coordinate_len(),
            key_info: format!(
                "<ds:KeyInfo>\n<ds:X509Data>\n<ds:X509Certificate>\n{encoded}\n</ds:X509Certificate>\n\
                 </ds:X509Data>\n</ds:KeyInfo>\n"
            ),
            signing_certificate: format!(
                "<xades:SigningCertificate><xades:Cert>{}</xades:Cert></xades:SigningCertificate>{POLICY}\
                 </xades:SignedSignatureProperties>",
                certificate_reference(&certificate)
            ),
            unsigned_properties: unsigned_properties(intermediates, ocsp),
            certificate,
        }
    }

    /// The key that signs.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.id
    }

    /// The certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Signs one message.
///
/// # Errors
/// [`SignatureError::Signing`] when the key does not sign.
pub async fn sign(
    digests: &PartDigests,
    key: &SigningKey,
    signer: &dyn Signer,
    now: UnixTime,
) -> Result<SignatureBundle, SignatureError> {
    let mut signed = sign_batch(&[digests], key, signer, now).await?;
    signed.pop().ok_or(SignatureError::Signing(KeyError::Crypto("nothing was signed")))
}

/// Signs several messages of one member with one signature; the bundles come in the order of the messages.
/// A single message without attachments is signed directly, everything else through a hash chain.
///
/// # Errors
/// [`SignatureError::Signing`] when the key does not sign.
pub async fn sign_batch(
    messages: &[&PartDigests],
    key: &SigningKey,
    signer: &dyn Signer,
    now: UnixTime,
) -> Result<Vec<SignatureBundle>, SignatureError> {
    if let [single] = messages
        && single.attachments.is_empty()
    {
        let signature_xml = signature_xml(MESSAGE, "text/xml", &single.message, key, signer, now).await?;
        return Ok(vec![SignatureBundle { signature_xml, hash_chain_result: None, hash_chain: None }]);
    }
    let algorithm = messages.first().map_or(DIGEST, |first| first.algorithm);
    let inputs = messages
        .iter()
        .map(|message| std::iter::once(message.message).chain(message.attachments.iter().copied()))
        .map(Iterator::collect)
        .collect();
    let tree = Tree::of_messages(algorithm, inputs);
    let result = tree.result(HASH_CHAIN);
    let digest = crypto::digest(DIGEST, &result);
    let media_type = "application/hash-chain-result";
    let signature_xml = signature_xml(HASH_CHAIN_RESULT, media_type, &digest, key, signer, now).await?;
    let bundles = tree.chains(|index| part_name(index).into_owned()).into_iter();
    Ok(bundles
        .map(|chain| SignatureBundle {
            signature_xml: signature_xml.clone(),
            hash_chain_result: Some(result.clone()),
            hash_chain: Some(chain),
        })
        .collect())
}

/// The document, with reference 0 to `uri`.
async fn signature_xml(
    uri: &str,
    media_type: &str,
    digest: &Digest,
    key: &SigningKey,
    signer: &dyn Signer,
    now: UnixTime,
) -> Result<Bytes, SignatureError> {
    let signed_properties = format!(
        "<xades:SignedSignatureProperties><xades:SigningTime>{}</xades:SigningTime>{}\
         <xades:SignedDataObjectProperties><xades:DataObjectFormat ObjectReference=\"#signature-reference-0\">\
         <xades:MimeType>{media_type}</xades:MimeType></xades:DataObjectFormat>\
         </xades:SignedDataObjectProperties></xades:SignedProperties>",
        now.to_rfc3339_millis(),
        key.signing_certificate
    );
    let properties_digest = crypto::digest_parts(
        DIGEST,
        &[
            b"<xades:SignedProperties",
            NAMESPACES.as_bytes(),
            b" Id=\"signed-properties\">",
            signed_properties.as_bytes(),
        ],
    );
    let signed_info = signed_info(key.algorithm, uri, digest, &properties_digest);
    let to_be_signed = [b"<ds:SignedInfo", NAMESPACES.as_bytes(), signed_info.as_bytes()].concat();
    let value = signer.sign(&key.id, key.algorithm, &to_be_signed).await?;
    let value = match key.coordinate {
        Some(width) => crypto::ecdsa_der_to_raw(width, &value)
            .map_err(|_| KeyError::Crypto("the signer gave no ECDSA signature"))?,
        None => value,
    };
    let length =
        signed_properties.len() + signed_info.len() + key.key_info.len() + key.unsigned_properties.len();
    let mut xml = String::with_capacity(length + value.len() * 2 + 1024);
    xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?><asic:XAdESSignatures");
    xml.push_str(NAMESPACES);
    xml.push_str("><ds:Signature Id=\"signature\">\n<ds:SignedInfo");
    xml.push_str(&signed_info);
    xml.push_str("\n<ds:SignatureValue Id=\"signature-value\">\n");
    STANDARD.encode_string(value, &mut xml);
    xml.push_str("\n</ds:SignatureValue>\n");
    xml.push_str(&key.key_info);
    xml.push_str("<ds:Object><xades:QualifyingProperties Target=\"#signature\"><xades:SignedProperties Id=\"signed-properties\">");
    xml.push_str(&signed_properties);
    xml.push_str(&key.unsigned_properties);
    xml.push_str("</xades:QualifyingProperties></ds:Object>\n</ds:Signature></asic:XAdESSignatures>");
    Ok(Bytes::from(xml))
}

/// `ds:SignedInfo` in canonical form, from the `>` of its start tag.
fn signed_info(algorithm: SignatureAlgorithm, uri: &str, digest: &Digest, properties: &Digest) -> String {
    format!(
        ">\n<ds:CanonicalizationMethod Algorithm=\"{}\"></ds:CanonicalizationMethod>\n\
         <ds:SignatureMethod Algorithm=\"{}\"></ds:SignatureMethod>\n\
         <ds:Reference Id=\"signature-reference-0\" URI=\"{uri}\">\n{}\n</ds:Reference>\n\
         <ds:Reference Id=\"signature-reference-1\" Type=\"{}\" URI=\"#signed-properties\">\n{}\n</ds:Reference>\n\
         </ds:SignedInfo>",
        canonical::Method::Inclusive.uri(),
        algorithm.uri(),
        digest_elements(digest, "\n"),
        super::SIGNED_PROPERTIES_TYPE,
        digest_elements(properties, "\n"),
    )
}

fn digest_elements(digest: &Digest, between: &str) -> String {
    format!(
        "<ds:DigestMethod Algorithm=\"{}\"></ds:DigestMethod>{between}<ds:DigestValue>{}</ds:DigestValue>",
        digest.algorithm().uri(),
        digest.base64()
    )
}

/// `xades:CertDigest` and `xades:IssuerSerial`.
fn certificate_reference(certificate: &Certificate) -> String {
    let mut issuer = Vec::new();
    canonical::escape_text(&certificate.issuer().rfc2253(), &mut issuer);
    format!(
        "<xades:CertDigest>{}</xades:CertDigest><xades:IssuerSerial><ds:X509IssuerName>{}</ds:X509IssuerName>\
         <ds:X509SerialNumber>{}</ds:X509SerialNumber></xades:IssuerSerial>",
        digest_elements(&crypto::digest(DIGEST, certificate.der()), ""),
        String::from_utf8_lossy(&issuer),
        certificate.serial()
    )
}

fn unsigned_properties(intermediates: &[Certificate], ocsp: &[Bytes]) -> String {
    let mut xml = String::from("<xades:UnsignedProperties><xades:UnsignedSignatureProperties>");
    if !intermediates.is_empty() {
        xml.push_str("<xades:CompleteCertificateRefs Id=\"complete-certificate-refs\"><xades:CertRefs>");
        for (number, certificate) in (1..).zip(intermediates) {
            let reference = certificate_reference(certificate);
            xml.push_str(&format!(
                "<xades:Cert URI=\"#encapsulated-cert-{number}\">{reference}</xades:Cert>"
            ));
        }
        xml.push_str("</xades:CertRefs></xades:CompleteCertificateRefs><xades:CertificateValues>");
        for (number, certificate) in (1..).zip(intermediates) {
            let encoded = STANDARD.encode(certificate.der());
            xml.push_str(&format!(
                "<xades:EncapsulatedX509Certificate Id=\"encapsulated-cert-{number}\">{encoded}\
                 </xades:EncapsulatedX509Certificate>"
            ));
        }
        xml.push_str("</xades:CertificateValues>");
    }
    xml.push_str("<xades:RevocationValues><xades:OCSPValues>");
    for (number, response) in (1..).zip(ocsp) {
        let encoded = STANDARD.encode(response);
        xml.push_str(&format!(
            "<xades:EncapsulatedOCSPValue Id=\"ocsp-response-{number}\">{encoded}</xades:EncapsulatedOCSPValue>"
        ));
    }
    xml.push_str(
        "</xades:OCSPValues></xades:RevocationValues></xades:UnsignedSignatureProperties>\
         </xades:UnsignedProperties>",
    );
    xml
}

/// The namespaces of the root element, in the order of the canonical form: they are in scope everywhere
/// below it, so that they are part of whatever is digested or signed.
const NAMESPACES: &str = " xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\" \
    xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" \
    xmlns:xades=\"http://uri.etsi.org/01903/v1.3.2#\" \
    xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";

/// Which signature policy was followed.
const POLICY: &str = "<xades:SignaturePolicyIdentifier><xades:SignaturePolicyId><xades:SigPolicyId>\
    <xades:Identifier Qualifier=\"OIDAsURN\">urn:oid:1.3.6.1.4.1.3516.16.2</xades:Identifier>\
    <xades:Description>Profile for High Performance Digital Signatures (version 1.2)</xades:Description>\
    </xades:SigPolicyId><xades:SigPolicyHash>\
    <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"></ds:DigestMethod>\
    <ds:DigestValue>BuO0EDNfkxSVlUbxCzmQPzX1AUF1/xx9ytWHk3/6SAOePxQiniEfDYk+90QeYb3lWpV3Izhuz9fKaYyE+lTcXw==\
    </ds:DigestValue></xades:SigPolicyHash><xades:SigPolicyQualifiers><xades:SigPolicyQualifier>\
    <xades:SPURI>https://repo.cyber.ee/dsig-profile-1.2.pdf</xades:SPURI></xades:SigPolicyQualifier>\
    </xades:SigPolicyQualifiers></xades:SignaturePolicyId></xades:SignaturePolicyIdentifier>";
