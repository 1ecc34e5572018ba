//! Names of digest and signature algorithms, in the three ways they are written: by themselves, as an
//! XML-DSig URI, and as an object identifier in DER.
//!
//! Specification: RFC 9231 (URIs), RFC 4055 and RFC 5758 (object identifiers and parameters).
//! Not here: computing anything ([`crate::crypto`]).

use const_oid::{ObjectIdentifier, db};
use der::{Decode, Encode, asn1::Any};
use spki::AlgorithmIdentifierOwned;

use crate::error::{PkiError, VerifyError};

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestAlgorithm {
    /// SHA-1: as an identifier of certificates only, never in a signature.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// Every algorithm known.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// `SHA-512` and the like.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The URI that XML signatures use.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Sha1 => "http://www.w3.org/2000/09/xmldsig#sha1",
            Self::Sha224 => "http://www.w3.org/2001/04/xmldsig-more#sha224",
            Self::Sha256 => "http://www.w3.org/2001/04/xmlenc#sha256",
            Self::Sha384 => "http://www.w3.org/2001/04/xmldsig-more#sha384",
            Self::Sha512 => "http://www.w3.org/2001/04/xmlenc#sha512",
        }
    }

    /// The object identifier.
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => ObjectIdentifier::new_unwrap("1.3.14.3.2.26"),
            Self::Sha224 => db::rfc5912::ID_SHA_224,
            Self::Sha256 => db::rfc5912::ID_SHA_256,
            Self::Sha384 => db::rfc5912::ID_SHA_384,
            Self::Sha512 => db::rfc5912::ID_SHA_512,
        }
    }

    /// Length of the digest in bytes.
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm with this name; `SHA512`, `sha-512` and `SHA-512` are one.
    pub fn from_name(name: &str) -> Option<Self> {
        let plain = |s: &str| s.replace('-', "").to_ascii_uppercase();
        Self::ALL.into_iter().find(|a| plain(a.name()) == plain(name))
    }

    /// The algorithm with this URI.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.uri() == uri)
    }

    /// The algorithm with this object identifier.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.oid() == *oid)
    }
}

/// A signature algorithm: family and digest. The curve is a matter of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, MGF1 of the same, salt as long as the digest.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512.
    RsaPssSha512,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519 (RFC 8032): for signed notes ([`crate::tlog`]) only.
    Ed25519,
}

impl SignatureAlgorithm {
    /// Every algorithm that certificates and messages may be signed with. Ed25519 is none of them: it is never found by its
    /// URI or identifier, so nothing that comes from outside can ask for it.
    pub const ALL: [Self; 9] = [
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
    ];

    /// The digest inside.
    pub const fn digest(self) -> DigestAlgorithm {
        match self {
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 | Self::EcdsaSha256 => DigestAlgorithm::Sha256,
            Self::RsaPkcs1Sha384 | Self::RsaPssSha384 | Self::EcdsaSha384 => DigestAlgorithm::Sha384,
            Self::RsaPkcs1Sha512 | Self::RsaPssSha512 | Self::EcdsaSha512 | Self::Ed25519 => {
                DigestAlgorithm::Sha512
            }
        }
    }

    /// Whether this is one of the ECDSA family.
    pub const fn is_ecdsa(self) -> bool {
        matches!(self, Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512)
    }

    /// Whether this is RSASSA-PSS.
    pub const fn is_pss(self) -> bool {
        matches!(self, Self::RsaPssSha256 | Self::RsaPssSha384 | Self::RsaPssSha512)
    }

    /// RSASSA-PKCS1-v1_5 with this digest; none for SHA-1 and SHA-224.
    pub fn rsa_pkcs1(digest: DigestAlgorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|a| !a.is_ecdsa() && !a.is_pss() && a.digest() == digest)
    }

    /// RSASSA-PSS with this digest; none for SHA-1 and SHA-224.
    pub fn rsa_pss(digest: DigestAlgorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.is_pss() && a.digest() == digest)
    }

    /// ECDSA with this digest; none for SHA-1 and SHA-224.
    pub fn ecdsa(digest: DigestAlgorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.is_ecdsa() && a.digest() == digest)
    }

    /// The URI that XML signatures use.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::RsaPkcs1Sha256 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            Self::RsaPkcs1Sha384 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
            Self::RsaPkcs1Sha512 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
            Self::RsaPssSha256 => "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
            Self::RsaPssSha384 => "http://www.w3.org/2007/05/xmldsig-more#sha384-rsa-MGF1",
            Self::RsaPssSha512 => "http://www.w3.org/2007/05/xmldsig-more#sha512-rsa-MGF1",
            Self::EcdsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
            Self::EcdsaSha384 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
            Self::EcdsaSha512 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
            Self::Ed25519 => "http://www.w3.org/2021/04/xmldsig-more#eddsa-ed25519",
        }
    }

    /// The algorithm with this URI.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.uri() == uri)
    }

    /// The object identifier.
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::RsaPkcs1Sha256 => db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
            Self::RsaPkcs1Sha384 => db::rfc5912::SHA_384_WITH_RSA_ENCRYPTION,
            Self::RsaPkcs1Sha512 => db::rfc5912::SHA_512_WITH_RSA_ENCRYPTION,
            Self::RsaPssSha256 | Self::RsaPssSha384 | Self::RsaPssSha512 => db::rfc5912::ID_RSASSA_PSS,
            Self::EcdsaSha256 => db::rfc5912::ECDSA_WITH_SHA_256,
            Self::EcdsaSha384 => db::rfc5912::ECDSA_WITH_SHA_384,
            Self::EcdsaSha512 => db::rfc5912::ECDSA_WITH_SHA_512,
            Self::Ed25519 => db::rfc8410::ID_ED_25519,
        }
    }

    /// The `AlgorithmIdentifier` that certificates, OCSP responses and CMS carry.
    ///
    /// # Errors
    /// [`PkiError::Decode`] never in practice: the parameters are constants of this file.
    pub fn to_identifier(self) -> Result<AlgorithmIdentifierOwned, PkiError> {
        let parameters = if self.is_ecdsa() || self == Self::Ed25519 {
            None
        } else if self.is_pss() {
            Some(Any::from_der(&pss_parameters(self.digest(), true)).map_err(in_identifier)?)
        } else {
            Some(Any::null())
        };
        Ok(AlgorithmIdentifierOwned { oid: self.oid(), parameters })
    }

    /// The DER of [`Self::to_identifier`].
    ///
    /// # Errors
    /// As [`Self::to_identifier`].
    pub fn to_identifier_der(self) -> Result<Vec<u8>, PkiError> {
        self.to_identifier()?.to_der().map_err(in_identifier)
    }

    /// Reads an `AlgorithmIdentifier`. Parameters must be those of the standard; RSA's NULL may be absent.
    ///
    /// # Errors
    /// [`VerifyError::UnsupportedAlgorithm`] for everything that is not in this enum.
    pub fn from_identifier(identifier: &AlgorithmIdentifierOwned) -> Result<Self, VerifyError> {
        let unsupported = |why: &str| VerifyError::UnsupportedAlgorithm(format!("{}{why}", identifier.oid));
        let parameters = identifier
            .parameters
            .as_ref()
            .map(Encode::to_der)
            .transpose()
            .map_err(|_| unsupported(" with unreadable parameters"))?;
        let parameters = parameters.as_deref();
        Self::ALL
            .into_iter()
            .filter(|a| a.oid() == identifier.oid)
            .find(|a| match parameters {
                None => !a.is_pss(),
                Some(der) if a.is_pss() => {
                    der == pss_parameters(a.digest(), true) || der == pss_parameters(a.digest(), false)
                }
                Some(der) => !a.is_ecdsa() && der == [0x05, 0x00],
            })
            .ok_or_else(|| {
                unsupported(if Self::ALL.iter().any(|a| a.oid() == identifier.oid) {
                    " with these parameters"
                } else {
                    ""
                })
            })
    }

    /// Reads the DER of an `AlgorithmIdentifier`.
    ///
    /// # Errors
    /// As [`Self::from_identifier`].
    pub fn from_identifier_der(der: &[u8]) -> Result<Self, VerifyError> {
        let identifier = AlgorithmIdentifierOwned::from_der(der)
            .map_err(|_| VerifyError::UnsupportedAlgorithm("an unreadable identifier".into()))?;
        Self::from_identifier(&identifier)
    }
}

fn in_identifier(e: der::Error) -> PkiError {
    PkiError::decode("algorithm identifier", e)
}

/// `RSASSA-PSS-params` with one digest throughout and the salt as long as it; the digest's own NULL
/// parameter may be written or not (RFC 4055, 2.1).
fn pss_parameters(digest: DigestAlgorithm, null: bool) -> Vec<u8> {
    let null: &[u8] = if null { &[0x05, 0x00] } else { &[] };
    let hash = tlv(0x30, &[&tlv(0x06, &[digest.oid().as_bytes()]), null]);
    let mgf1 = tlv(0x30, &[&tlv(0x06, &[db::rfc5912::ID_MGF_1.as_bytes()]), &hash]);
    let salt = tlv(0x02, &[&[u8::try_from(digest.output_len()).unwrap_or(0)]]);
    tlv(0x30, &[&tlv(0xa0, &[&hash]), &tlv(0xa1, &[&mgf1]), &tlv(0xa2, &[&salt])])
}

/// A DER element shorter than 128 bytes.
fn tlv(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let mut out = vec![tag, u8::try_from(content.len()).unwrap_or(0)];
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_again_by_each_of_its_names() {
        for a in DigestAlgorithm::ALL {
            assert_eq!(DigestAlgorithm::from_name(a.name()), Some(a));
            assert_eq!(DigestAlgorithm::from_uri(a.uri()), Some(a));
            assert_eq!(DigestAlgorithm::from_oid(&a.oid()), Some(a));
        }
        for a in SignatureAlgorithm::ALL {
            assert_eq!(SignatureAlgorithm::from_uri(a.uri()), Some(a));
            assert_eq!(SignatureAlgorithm::from_identifier_der(&a.to_identifier_der().unwrap()), Ok(a));
        }
        assert_eq!(DigestAlgorithm::from_name("sha512"), Some(DigestAlgorithm::Sha512));
    }

    #[test]
    fn identifiers_are_those_of_the_standard() {
        use rustls_pki_types::alg_id;
        for (ours, contents) in [
            (SignatureAlgorithm::RsaPkcs1Sha512, alg_id::RSA_PKCS1_SHA512),
            (SignatureAlgorithm::RsaPssSha256, alg_id::RSA_PSS_SHA256),
            (SignatureAlgorithm::RsaPssSha384, alg_id::RSA_PSS_SHA384),
            (SignatureAlgorithm::RsaPssSha512, alg_id::RSA_PSS_SHA512),
            (SignatureAlgorithm::EcdsaSha384, alg_id::ECDSA_SHA384),
        ] {
            assert_eq!(&ours.to_identifier_der().unwrap()[2..], contents.as_ref());
        }
    }

    #[test]
    fn ed25519_cannot_be_asked_for_from_outside() {
        let ours = SignatureAlgorithm::Ed25519;
        assert_eq!(SignatureAlgorithm::from_uri(ours.uri()), None);
        assert!(SignatureAlgorithm::from_identifier_der(&ours.to_identifier_der().unwrap()).is_err());
    }

    #[test]
    fn pss_with_another_salt_and_sha1_are_unsupported() {
        let mut der = SignatureAlgorithm::RsaPssSha256.to_identifier_der().unwrap();
        *der.last_mut().unwrap() = 20;
        assert!(matches!(
            SignatureAlgorithm::from_identifier_der(&der),
            Err(VerifyError::UnsupportedAlgorithm(_))
        ));
        let sha1_rsa = hex::decode("300d06092a864886f70d0101050500").unwrap();
        assert!(SignatureAlgorithm::from_identifier_der(&sha1_rsa).is_err());
        assert!(SignatureAlgorithm::from_identifier_der(&[0x30]).is_err());
    }
}
