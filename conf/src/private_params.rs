//! Private parameters (`private-params.xml`): what only the members of an instance are told.
//!
//! Specification: PR-GCONF, Annex C, and the schemas `globalconf/v2` and `v3` of X-Road 7.8 (versions 4 to 6
//! keep the form of 3).

use std::time::Duration;

use roxmltree::Node;

use crate::anchor::Anchor;
use crate::error::{ConfError, XmlError};
use crate::identifier::ClientId;
use crate::version::Version;
use crate::xml::{self, Sequence, Writer};

/// What only the members of an instance are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateParams {
    /// The code of the instance.
    pub instance: String,
    /// Where the configurations of federated instances are.
    pub anchors: Vec<Anchor>,
    /// Who takes management requests.
    pub management: ManagementService,
    /// How often logged messages are to be time-stamped.
    pub timestamping_interval: Duration,
}

/// Who takes management requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementService {
    /// Where the first request, for an authentication certificate, is sent.
    pub auth_cert_registration_address: String,
    /// The certificate (DER) of that address.
    pub auth_cert_registration_certificate: Option<Vec<u8>>,
    /// The provider of all other management services.
    pub provider: ClientId,
}

impl PrivateParams {
    /// Reads the document of this version.
    pub fn read(bytes: &[u8], version: Version) -> Result<Self, ConfError> {
        read(bytes, version).map_err(|error| ConfError::malformed("private-params.xml", error))
    }

    /// Writes the document, which is the same for versions 3 to 6.
    pub fn write(&self) -> String {
        let mut out = Writer::document("ns:conf");
        out.leaf("instanceIdentifier", &self.instance);
        for anchor in &self.anchors {
            out.start("configurationAnchor", &[]);
            anchor.write_content(&mut out);
            out.end();
        }
        out.start("managementService", &[]);
        out.leaf("authCertRegServiceAddress", &self.management.auth_cert_registration_address);
        if let Some(der) = &self.management.auth_cert_registration_certificate {
            out.base64("authCertRegServiceCert", der);
        }
        self.management.provider.write_xml(&mut out, "managementRequestServiceProviderId");
        out.end();
        out.leaf("timeStampingIntervalSeconds", &self.timestamping_interval.as_secs().to_string());
        out.finish()
    }
}

fn read(bytes: &[u8], version: Version) -> Result<PrivateParams, XmlError> {
    let document = xml::parse(xml::text_of_bytes(bytes)?)?;
    let mut conf = Sequence::of(xml::root(&document, "conf")?);
    let instance = conf.required_text("instanceIdentifier")?.into_owned();
    let anchors = std::iter::from_fn(|| conf.optional("configurationAnchor"))
        .map(Anchor::read_element)
        .collect::<Result<_, _>>()?;
    let management = management_service(conf.required("managementService")?)?;
    let interval = xml::number(conf.required("timeStampingIntervalSeconds")?)?;
    if version == Version::V2 {
        conf.end()?;
    }
    Ok(PrivateParams { instance, anchors, management, timestamping_interval: Duration::from_secs(interval) })
}

fn management_service(node: Node<'_, '_>) -> Result<ManagementService, XmlError> {
    let mut sequence = Sequence::of(node);
    let service = ManagementService {
        auth_cert_registration_address: sequence.required_text("authCertRegServiceAddress")?.into_owned(),
        auth_cert_registration_certificate: sequence
            .optional("authCertRegServiceCert")
            .map(xml::base64)
            .transpose()?,
        provider: ClientId::read_xml(sequence.required("managementRequestServiceProviderId")?)?,
    };
    sequence.end()?;
    Ok(service)
}
