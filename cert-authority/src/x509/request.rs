//! Certificate requests: what somebody asks to be certified, with the proof that they hold the key.
//!
//! Specification: RFC 2986.
//! A request is read for its subject and its key only. What else it asks for (extensions) is not looked
//! at: the profile decides that (THREATS: foreign names in a request).

use der::{Decode, Encode};
use rcgen::CertificateParams;
use x509_cert::request::CertReq;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use super::{
    AltName, Name,
    assemble::{Placeholder, algorithm_of, key_info, rdn_sequence, sign},
    issue::san_types,
    signed_parts,
};
use crate::{
    algorithm::SignatureAlgorithm,
    crypto::{EcdsaForm, PublicKey},
    error::PkiError,
    keys::{KeyId, Signer},
    pem,
};

const WHAT: &str = "certificate request";
const LABEL: &str = "CERTIFICATE REQUEST";

/// A request whose proof of possession was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    der: Vec<u8>,
    subject: Name,
    public_key: PublicKey,
}

impl CertificateRequest {
    /// Reads a request and verifies that it is signed with the key that it is for.
    ///
    /// # Errors
    /// [`PkiError::Decode`] when it is none; [`PkiError::Verify`] when the proof does not hold, or the key is
    /// of a kind or size that is not believed.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|e| PkiError::decode(WHAT, e))?;
        if !rest.is_empty() {
            return Err(PkiError::decode(WHAT, "bytes follow it"));
        }
        let info = &request.certification_request_info;
        let public_key = PublicKey::from_spki(info.subject_pki.raw)?;
        let (_, identifier) = signed_parts(der, info.raw.len()).map_err(|e| PkiError::decode(WHAT, e))?;
        let algorithm = SignatureAlgorithm::from_identifier_der(identifier)?;
        public_key.verify(algorithm, EcdsaForm::Der, info.raw, &request.signature_value.data)?;
        Ok(Self { der: der.to_vec(), subject: Name::from_der(info.subject.as_raw())?, public_key })
    }

    /// Reads the only request of a PEM text.
    ///
    /// # Errors
    /// As [`Self::from_der`].
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        let der = pem::decode_one(WHAT, LABEL, text)
            .or_else(|e| pem::decode_one(WHAT, "NEW CERTIFICATE REQUEST", text).map_err(|_| e))?;
        Self::from_der(&der)
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request as PEM.
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// The subject asked for.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The key to be certified.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// Makes a request for one of our keys.
///
/// # Errors
/// [`PkiError::Key`] when the signer does not know the key; [`PkiError::Inspect`] when a name cannot be
/// written.
pub async fn build(
    subject: &Name,
    alt_names: &[AltName],
    key: &KeyId,
    signer: &dyn Signer,
) -> Result<CertificateRequest, PkiError> {
    let public_key = signer.public_key(key)?;
    let algorithm = algorithm_of(&public_key)?;
    let info = {
        let failed = |e: rcgen::Error| PkiError::inspect(WHAT, e);
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
        params.subject_alt_names = san_types(alt_names)?;
        let laid_out = params.serialize_request(&Placeholder(&public_key)).map_err(failed)?;
        let failed = |e: der::Error| PkiError::decode(WHAT, e);
        let mut request = CertReq::from_der(laid_out.der()).map_err(failed)?;
        request.info.subject = rdn_sequence(subject)?;
        request.info.public_key = key_info(&public_key)?;
        request.info.to_der().map_err(failed)?
    };
    CertificateRequest::from_der(&sign(&info, algorithm, key, signer).await?)
}
