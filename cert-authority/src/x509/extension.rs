//! What the extensions of a certificate say: what the key may be used for, whether it may issue, where to
//! ask about it.
//!
//! Specification: RFC 5280 §4.2.
//! Not here: judging them ([`super::chain`]). Extensions that are read but not obeyed (name constraints,
//! policy constraints) count as unknown, so that a critical one makes the certificate unusable.

use std::net::IpAddr;

use const_oid::ObjectIdentifier;
use x509_parser::extensions::{
    AuthorityInfoAccess, DistributionPointName, GeneralName, ParsedExtension, X509Extension,
};

use super::oid;
use crate::asn1;
use crate::error::PkiError;

/// The key usage bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage(u16);

macro_rules! usages {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl KeyUsage {
            $($(#[$doc])* pub const fn $name(self) -> bool { self.0 & (1 << $bit) != 0 })*
        }
    };
}

usages! {
    /// digitalSignature
    digital_signature = 0;
    /// nonRepudiation, also called contentCommitment
    non_repudiation = 1;
    /// keyEncipherment
    key_encipherment = 2;
    /// dataEncipherment
    data_encipherment = 3;
    /// keyAgreement
    key_agreement = 4;
    /// keyCertSign
    key_cert_sign = 5;
    /// cRLSign
    crl_sign = 6;
}

/// One name of the subjectAltName extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AltName {
    /// A host name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// A URI.
    Uri(String),
    /// A mail address.
    Email(String),
    /// Something else.
    Other,
}

/// Everything the extensions say that this project asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Extensions {
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<Vec<ObjectIdentifier>>,
    pub(super) extended_key_usage_critical: bool,
    pub(super) is_ca: Option<bool>,
    pub(super) path_len: Option<u32>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) ocsp_urls: Vec<String>,
    pub(super) issuer_urls: Vec<String>,
    pub(super) crl_urls: Vec<String>,
    pub(super) alt_names: Vec<AltName>,
    pub(super) unknown_critical: Option<String>,
}

impl Extensions {
    pub(super) fn read(extensions: &[X509Extension<'_>]) -> Result<Self, PkiError> {
        let mut out = Self::default();
        for (i, extension) in extensions.iter().enumerate() {
            if extensions.iter().take(i).any(|earlier| earlier.oid == extension.oid) {
                return Err(PkiError::decode("certificate", format!("extension {} twice", extension.oid)));
            }
            let understood = out.take_in(extension)?;
            if extension.critical && !understood && out.unknown_critical.is_none() {
                out.unknown_critical = Some(extension.oid.to_id_string());
            }
        }
        Ok(out)
    }

    fn take_in(&mut self, extension: &X509Extension<'_>) -> Result<bool, PkiError> {
        match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => self.key_usage = Some(KeyUsage(usage.flags)),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended_key_usage = Some(purposes(usage));
                self.extended_key_usage_critical = extension.critical;
            }
            ParsedExtension::BasicConstraints(constraints) => {
                self.is_ca = Some(constraints.ca);
                self.path_len = constraints.path_len_constraint;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                self.ocsp_urls = access_urls(access, &oid::ACCESS_OCSP);
                self.issuer_urls = access_urls(access, &oid::ACCESS_CA_ISSUERS);
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                let names = points.points.iter().filter_map(|p| match &p.distribution_point {
                    Some(DistributionPointName::FullName(names)) => Some(names),
                    _ => None,
                });
                self.crl_urls = names.flatten().filter_map(uri).collect();
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.alt_names = names.general_names.iter().map(alt_name).collect();
            }
            // Nobody here demands a policy, so that any policy will do.
            ParsedExtension::CertificatePolicies(_) => {}
            ParsedExtension::ParseError { error } => {
                return Err(PkiError::decode("certificate", format!("extension {}: {error}", extension.oid)));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn purposes(usage: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> Vec<ObjectIdentifier> {
    let flags = [
        (usage.any, oid::ANY_PURPOSE),
        (usage.server_auth, oid::SERVER_AUTH),
        (usage.client_auth, oid::CLIENT_AUTH),
        (usage.time_stamping, oid::TIME_STAMPING),
        (usage.ocsp_signing, oid::OCSP_SIGNING),
        (usage.code_signing, ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3")),
        (usage.email_protection, ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4")),
    ];
    let known = flags.into_iter().filter(|(set, _)| *set).map(|(_, oid)| oid);
    let other = usage.other.iter().filter_map(|o| asn1::read_oid(&o.to_id_string()));
    known.chain(other).collect()
}

fn access_urls(access: &AuthorityInfoAccess<'_>, method: &ObjectIdentifier) -> Vec<String> {
    let wanted = method.to_string();
    access
        .iter()
        .filter(|d| d.access_method.to_id_string() == wanted)
        .filter_map(|d| uri(&d.access_location))
        .collect()
}

fn uri(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    }
}

fn alt_name(name: &GeneralName<'_>) -> AltName {
    match name {
        GeneralName::DNSName(name) => AltName::Dns((*name).to_owned()),
        GeneralName::URI(uri) => AltName::Uri((*uri).to_owned()),
        GeneralName::RFC822Name(address) => AltName::Email((*address).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .map_or(AltName::Other, AltName::Ip),
        _ => AltName::Other,
    }
}
