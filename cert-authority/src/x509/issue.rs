//! Making certificates: what each kind of certificate contains.
//!
//! Specification: RFC 5280 §4; RFC 6960 §4.2.2.2 (OCSP signers); RFC 3161 §2.3 (time-stamping).
//! The profile fixes every field: from the applicant come the key and, where the authority agrees, the name.
//! Not here: whether a certificate may be issued ([`crate::authority`]).
//!
//! | profile | key usage (critical) | purposes |
//! |---|---|---|
//! | root, subordinate CA | keyCertSign, cRLSign | |
//! | sign | nonRepudiation | |
//! | auth | digitalSignature, keyEncipherment, keyAgreement | clientAuth, serverAuth |
//! | TLS | digitalSignature, keyEncipherment, keyAgreement | serverAuth, clientAuth |
//! | OCSP | digitalSignature | OCSPSigning; with id-pkix-ocsp-nocheck |
//! | time-stamping | digitalSignature | timeStamping (critical) |

use const_oid::ObjectIdentifier;
use der::{Decode, Encode, asn1::Ia5String};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, ExtendedKeyUsagePurpose,
    IsCa, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};
use x509_cert::ext::pkix::{AccessDescription, AuthorityInfoAccessSyntax, name::GeneralName};

pub use super::assemble::Issuer;
use super::{
    AltName, Certificate, Name, Serial,
    assemble::{Placeholder, algorithm_of, key_identifier, key_info, rdn_sequence, sign},
    oid,
};
use crate::{
    algorithm::DigestAlgorithm,
    clock::UnixTime,
    crypto::{PublicKey, digest},
    error::PkiError,
    keys::{KeyId, Signer},
};

const WHAT: &str = "certificate";

/// A kind of certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A CA that signs itself.
    RootCa {
        /// How many CAs may follow in a path.
        path_len: Option<u8>,
    },
    /// A CA below another.
    SubCa {
        /// How many CAs may follow in a path.
        path_len: Option<u8>,
    },
    /// Signing messages for a member.
    Sign,
    /// Authenticating a server to its peers.
    Auth,
    /// TLS towards one's own systems.
    Tls,
    /// Signing OCSP responses.
    Ocsp,
    /// Signing time-stamps.
    Tsa,
}

/// What is to be certified.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// The kind of certificate.
    pub profile: Profile,
    /// The subject.
    pub subject: &'a Name,
    /// The subject's key.
    pub public_key: &'a PublicKey,
    /// The serial number.
    pub serial: &'a Serial,
    /// The beginning of the validity; fractions of seconds are cut off.
    pub not_before: UnixTime,
    /// The last second of the validity.
    pub not_after: UnixTime,
    /// Other names of the subject.
    pub alt_names: &'a [AltName],
    /// Where the OCSP responder is.
    pub ocsp_url: Option<&'a str>,
    /// Where the revocation list is.
    pub crl_url: Option<&'a str>,
    /// Where the issuer's certificate is.
    pub issuer_url: Option<&'a str>,
}

/// Issues a certificate and checks that it verifies against the issuer.
///
/// # Errors
/// [`PkiError::Inspect`] when the template cannot become a certificate; [`PkiError::Key`] when the signer
/// fails; [`PkiError::Verify`] when the subject's key is too weak, the issuer is no CA, or its key is not the
/// one that signed.
pub async fn issue(template: &Template<'_>, issuer: &Issuer<'_>) -> Result<Certificate, PkiError> {
    let ca = issuer.certificate;
    let algorithm = algorithm_of(ca.public_key())?;
    let parent = Parent { name: ca.subject(), key: ca.public_key(), key_identifier: key_identifier(ca) };
    let to_be_signed = lay_out(template, &parent, &algorithm.1)?;
    let der = sign(&to_be_signed, algorithm, issuer.key, issuer.signer).await?;
    let certificate = Certificate::from_der(&der)?;
    certificate.verify_issued_by(ca)?;
    Ok(certificate)
}

/// Issues a certificate that signs itself with the subject's key.
///
/// # Errors
/// As [`issue`].
pub async fn self_signed(
    template: &Template<'_>,
    key: &KeyId,
    signer: &dyn Signer,
) -> Result<Certificate, PkiError> {
    let algorithm = algorithm_of(template.public_key)?;
    let key_identifier = digest(DigestAlgorithm::Sha1, template.public_key.key_bytes()).as_ref().to_vec();
    let parent = Parent { name: template.subject, key: template.public_key, key_identifier };
    let to_be_signed = lay_out(template, &parent, &algorithm.1)?;
    let certificate = Certificate::from_der(&sign(&to_be_signed, algorithm, key, signer).await?)?;
    if certificate.is_self_signed() {
        Ok(certificate)
    } else {
        Err(PkiError::inspect(WHAT, "the key that signed is not the subject's"))
    }
}

struct Parent<'a> {
    name: &'a Name,
    key: &'a PublicKey,
    key_identifier: Vec<u8>,
}

/// The DER of the part to be signed.
fn lay_out(
    template: &Template<'_>,
    parent: &Parent<'_>,
    algorithm: &spki::AlgorithmIdentifierOwned,
) -> Result<Vec<u8>, PkiError> {
    template.public_key.check_strength()?;
    if template.subject.is_empty() {
        return Err(PkiError::inspect(WHAT, "the subject is empty"));
    }
    if template.not_after <= template.not_before {
        return Err(PkiError::inspect(WHAT, "it ends before it begins"));
    }
    let failed = |e: rcgen::Error| PkiError::inspect(WHAT, e);
    let mut issuer = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
    issuer.key_identifier_method = KeyIdMethod::PreSpecified(parent.key_identifier.clone());
    let issuer = rcgen::Issuer::new(issuer, Placeholder(parent.key));
    let laid_out = params(template)?.signed_by(&Placeholder(template.public_key), &issuer).map_err(failed)?;

    let failed = |e: der::Error| PkiError::decode(WHAT, e);
    let mut tbs = x509_cert::Certificate::from_der(laid_out.der()).map_err(failed)?.tbs_certificate;
    tbs.issuer = rdn_sequence(parent.name)?;
    tbs.subject = rdn_sequence(template.subject)?;
    tbs.subject_public_key_info = key_info(template.public_key)?;
    tbs.signature = algorithm.clone();
    tbs.to_der().map_err(failed)
}

fn params(template: &Template<'_>) -> Result<CertificateParams, PkiError> {
    use ExtendedKeyUsagePurpose as Purpose;
    use KeyUsagePurpose as Usage;
    let mut p = CertificateParams::new(Vec::<String>::new()).map_err(|e| PkiError::inspect(WHAT, e))?;
    p.serial_number = Some(SerialNumber::from_slice(template.serial.as_bytes()));
    p.not_before = UnixTime::from_secs(template.not_before.as_secs()).into();
    p.not_after = UnixTime::from_secs(template.not_after.as_secs()).into();
    p.subject_alt_names = san_types(template.alt_names)?;
    p.use_authority_key_identifier_extension = true;
    p.key_identifier_method = KeyIdMethod::PreSpecified(
        digest(DigestAlgorithm::Sha1, template.public_key.key_bytes()).as_ref().to_vec(),
    );
    p.is_ca = IsCa::ExplicitNoCa;
    match template.profile {
        Profile::RootCa { path_len } | Profile::SubCa { path_len } => {
            let constraints = path_len.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained);
            p.is_ca = IsCa::Ca(constraints);
            p.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        }
        Profile::Sign => p.key_usages = vec![Usage::ContentCommitment],
        Profile::Auth => {
            p.key_usages = vec![Usage::DigitalSignature, Usage::KeyEncipherment, Usage::KeyAgreement];
            p.extended_key_usages = vec![Purpose::ClientAuth, Purpose::ServerAuth];
        }
        Profile::Tls => {
            p.key_usages = vec![Usage::DigitalSignature, Usage::KeyEncipherment, Usage::KeyAgreement];
            p.extended_key_usages = vec![Purpose::ServerAuth, Purpose::ClientAuth];
        }
        Profile::Ocsp => {
            p.key_usages = vec![Usage::DigitalSignature];
            p.extended_key_usages = vec![Purpose::OcspSigning];
            p.custom_extensions.push(extension(oid::OCSP_NO_CHECK, vec![0x05, 0x00])?);
        }
        Profile::Tsa => {
            p.key_usages = vec![Usage::DigitalSignature];
            // rcgen writes purposes as not critical, RFC 3161 §2.3 wants them critical.
            let purposes = vec![oid::TIME_STAMPING].to_der().map_err(|e| PkiError::decode(WHAT, e))?;
            let mut purposes = extension(oid::EXTENDED_KEY_USAGE, purposes)?;
            purposes.set_criticality(true);
            p.custom_extensions.push(purposes);
        }
    }
    if !matches!(template.profile, Profile::RootCa { .. }) {
        let uris = |url: &str| CrlDistributionPoint { uris: vec![url.to_owned()] };
        p.crl_distribution_points = template.crl_url.map(uris).into_iter().collect();
        p.custom_extensions.extend(information_access(template)?);
    }
    Ok(p)
}

fn information_access(template: &Template<'_>) -> Result<Option<CustomExtension>, PkiError> {
    let failed = |e: der::Error| PkiError::inspect(WHAT, format!("a URL: {e}"));
    let places = [(oid::ACCESS_OCSP, template.ocsp_url), (oid::ACCESS_CA_ISSUERS, template.issuer_url)];
    let described = places
        .into_iter()
        .filter_map(|(method, url)| url.map(|url| (method, url)))
        .map(|(access_method, url)| {
            let access_location =
                GeneralName::UniformResourceIdentifier(Ia5String::new(url).map_err(failed)?);
            Ok(AccessDescription { access_method, access_location })
        })
        .collect::<Result<Vec<_>, PkiError>>()?;
    if described.is_empty() {
        return Ok(None);
    }
    let content = AuthorityInfoAccessSyntax(described).to_der().map_err(failed)?;
    extension(oid::AUTHORITY_INFO_ACCESS, content).map(Some)
}

fn extension(oid: ObjectIdentifier, content: Vec<u8>) -> Result<CustomExtension, PkiError> {
    let arcs: Vec<u64> = oid.arcs().map(u64::from).collect();
    Ok(CustomExtension::from_oid_content(&arcs, content))
}

/// The names as rcgen takes them.
pub(super) fn san_types(names: &[AltName]) -> Result<Vec<SanType>, PkiError> {
    let text =
        |s: &str| rcgen::string::Ia5String::try_from(s).map_err(|e| PkiError::inspect("alternative name", e));
    names
        .iter()
        .map(|name| match name {
            AltName::Dns(name) => text(name).map(SanType::DnsName),
            AltName::Ip(address) => Ok(SanType::IpAddress(*address)),
            AltName::Uri(uri) => text(uri).map(SanType::URI),
            AltName::Email(address) => text(address).map(SanType::Rfc822Name),
            AltName::Other => Err(PkiError::inspect("alternative name", "it is of an unknown kind")),
        })
        .collect()
}
