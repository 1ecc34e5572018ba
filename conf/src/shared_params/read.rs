//! `shared-params.xml` of versions 2 to 6 -> [`SharedParams`].
//!
//! Elements are taken in the order of the schemas, so what a schema refuses is refused here too: an element
//! out of place, one of a later version, a reference to nothing. Only after the last element of a
//! configuration of version 3 and later may others follow, as those schemas say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::x509::Certificate;
use roxmltree::Node;

use super::model::{
    AcmeServer, ApprovedCa, ApprovedTsa, CaInfo, CostType, CsrFormat, GlobalGroup, GlobalSettings,
    Maintenance, Member, MemberClass, OcspResponder, Server, SharedParams, Source, Subsystem,
};
use crate::error::{ConfError, IdentifierError, XmlError};
use crate::identifier::{ClientId, MemberId, ServiceId};
use crate::version::Version;
use crate::xml::{self, Sequence};

const WHAT: &str = "shared-params.xml";

impl SharedParams {
    /// Reads the document of this version.
    pub fn read(bytes: &[u8], version: Version) -> Result<Self, ConfError> {
        read(bytes, version).map_err(|error| ConfError::malformed(WHAT, error))
    }
}

fn read(bytes: &[u8], version: Version) -> Result<SharedParams, XmlError> {
    let document = xml::parse(xml::text_of_bytes(bytes)?)?;
    let mut conf = Sequence::of(xml::root(&document, "conf")?);
    let instance = conf.required_text("instanceIdentifier")?.into_owned();

    let mut sources = Vec::new();
    if version >= Version::V3 {
        sources.push(source(conf.required("source")?)?);
        while let Some(node) = conf.optional("source") {
            sources.push(source(node)?);
        }
    }
    let approved_cas = all(&mut conf, "approvedCA", |node| approved_ca(node, version))?;
    let approved_tsas = all(&mut conf, "approvedTSA", |node| approved_tsa(node, version))?;

    let mut ids = Ids::new(&instance);
    let members = all(&mut conf, "member", |node| ids.member(node, version))?;
    let servers = all(&mut conf, "securityServer", |node| ids.server(node, version))?;
    let global_groups = all(&mut conf, "globalGroup", global_group)?;
    while let Some(node) = conf.optional("centralService") {
        central_service(node)?;
    }
    let settings = global_settings(conf.required("globalSettings")?)?;
    if version == Version::V2 {
        conf.end()?;
    }
    Ok(SharedParams {
        instance,
        sources,
        approved_cas,
        approved_tsas,
        members,
        servers,
        global_groups,
        settings,
    })
}

fn all<'a, 'input, T>(
    sequence: &mut Sequence<'a, 'input>,
    name: &str,
    mut read: impl FnMut(Node<'a, 'input>) -> Result<T, XmlError>,
) -> Result<Vec<T>, XmlError> {
    std::iter::from_fn(|| sequence.optional(name)).map(&mut read).collect()
}

fn source(node: Node<'_, '_>) -> Result<Source, XmlError> {
    let mut sequence = Sequence::of(node);
    let source = Source {
        address: sequence.required_text("address")?.into_owned(),
        internal_certificates: all(&mut sequence, "internalVerificationCert", xml::base64)?,
        external_certificates: all(&mut sequence, "externalVerificationCert", xml::base64)?,
    };
    sequence.end()?;
    Ok(source)
}

fn approved_ca(node: Node<'_, '_>, version: Version) -> Result<ApprovedCa, XmlError> {
    let mut sequence = Sequence::of(node);
    let name = sequence.required_text("name")?.into_owned();
    let authentication_only = sequence.optional("authenticationOnly").map(xml::boolean).transpose()?;
    let top = ca_info(sequence.required("topCA")?, version)?;
    let intermediates = all(&mut sequence, "intermediateCA", |node| ca_info(node, version))?;
    let certificate_profile = sequence.required_text("certificateProfileInfo")?.trim().to_owned();
    let default_csr_format = match version {
        Version::V6 => {
            sequence.optional("defaultCsrFormat").map(|node| word(node, &CsrFormat::ALL)).transpose()?
        }
        _ => None,
    };
    let acme = match version {
        Version::V2 => None,
        _ => sequence.optional("acmeServer").map(|node| acme_server(node, version)).transpose()?,
    };
    sequence.end()?;
    Ok(ApprovedCa {
        name,
        authentication_only: authentication_only.unwrap_or(false),
        top,
        intermediates,
        certificate_profile,
        default_csr_format,
        acme,
    })
}

fn ca_info(node: Node<'_, '_>, version: Version) -> Result<CaInfo, XmlError> {
    let mut sequence = Sequence::of(node);
    let certificate = certificate(sequence.required("cert")?)?;
    let ocsp = all(&mut sequence, "ocsp", |node| ocsp_responder(node, version))?;
    sequence.end()?;
    Ok(CaInfo { certificate, ocsp })
}

fn ocsp_responder(node: Node<'_, '_>, version: Version) -> Result<OcspResponder, XmlError> {
    let mut sequence = Sequence::of(node);
    let url = sequence.required_text("url")?.trim().to_owned();
    let certificate = sequence.optional("cert").map(certificate).transpose()?;
    let cost = cost_type(&mut sequence, version)?;
    sequence.end()?;
    Ok(OcspResponder { url, certificate, cost })
}

fn approved_tsa(node: Node<'_, '_>, version: Version) -> Result<ApprovedTsa, XmlError> {
    let mut sequence = Sequence::of(node);
    let name = sequence.required_text("name")?.into_owned();
    let url = sequence.required_text("url")?.trim().to_owned();
    let certificate = certificate(sequence.required("cert")?)?;
    let cost = cost_type(&mut sequence, version)?;
    sequence.end()?;
    Ok(ApprovedTsa { name, url, certificate, cost })
}

fn cost_type(sequence: &mut Sequence<'_, '_>, version: Version) -> Result<Option<CostType>, XmlError> {
    match version {
        Version::V6 => sequence.optional("costType").map(|node| word(node, &CostType::ALL)).transpose(),
        _ => Ok(None),
    }
}

fn acme_server(node: Node<'_, '_>, version: Version) -> Result<AcmeServer, XmlError> {
    let mut sequence = Sequence::of(node);
    let mut server = AcmeServer {
        directory_url: sequence.required_text("directoryURL")?.into_owned(),
        ip_address: owned(sequence.optional_text("ipAddress")?),
        authentication_profile: None,
        signing_profile: None,
    };
    if version >= Version::V4 {
        server.authentication_profile = owned(sequence.optional_text("authenticationCertificateProfileId")?);
        server.signing_profile = owned(sequence.optional_text("signingCertificateProfileId")?);
    }
    sequence.end()?;
    Ok(server)
}

/// Members and subsystems by their `id`, which servers refer to.
struct Ids<'a> {
    instance: Arc<str>,
    classes: HashMap<String, Arc<str>>,
    clients: HashMap<&'a str, ClientId>,
}

impl<'a> Ids<'a> {
    fn new(instance: &str) -> Self {
        Self { instance: instance.into(), classes: HashMap::new(), clients: HashMap::new() }
    }

    fn member(&mut self, node: Node<'a, '_>, version: Version) -> Result<Member, XmlError> {
        let mut sequence = Sequence::of(node);
        let class = member_class(sequence.required("memberClass")?)?.code;
        let class = Arc::clone(self.classes.entry(class).or_insert_with_key(|class| class.as_str().into()));
        let code = sequence.required_text("memberCode")?;
        let id = MemberId::new(Arc::clone(&self.instance), class, &*code)?;
        let name = sequence.required_text("name")?.into_owned();
        self.define(node, || id.clone().into())?;
        let subsystems = all(&mut sequence, "subsystem", |node| self.subsystem(node, &id, version))?;
        sequence.end()?;
        Ok(Member { id, name, subsystems })
    }

    fn subsystem(
        &mut self,
        node: Node<'a, '_>,
        member: &MemberId,
        version: Version,
    ) -> Result<Subsystem, XmlError> {
        let mut sequence = Sequence::of(node);
        let id = member.subsystem(&*sequence.required_text("subsystemCode")?)?;
        let name = match version {
            Version::V5 | Version::V6 => owned(sequence.optional_text("subsystemName")?),
            _ => None,
        };
        sequence.end()?;
        self.define(node, || id.clone())?;
        Ok(Subsystem { id, name })
    }

    fn define(&mut self, node: Node<'a, '_>, client: impl FnOnce() -> ClientId) -> Result<(), XmlError> {
        let Some(id) = node.attribute("id") else { return Ok(()) };
        match self.clients.insert(id, client()) {
            None => Ok(()),
            Some(_) => Err(XmlError::DuplicateId(id.to_owned())),
        }
    }

    fn server(&self, node: Node<'_, '_>, version: Version) -> Result<Server, XmlError> {
        let mut sequence = Sequence::of(node);
        let owner = self.reference(sequence.required("owner")?)?.member().clone();
        let code = sequence.required_text("serverCode")?.into_owned();
        let address = sequence.optional_text("address")?;
        let auth_cert_hashes = all(&mut sequence, "authCertHash", xml::base64)?;
        let clients = all(&mut sequence, "client", |node| self.reference(node).cloned())?;
        let maintenance = match version {
            Version::V5 | Version::V6 => {
                sequence.optional("inMaintenanceMode").map(maintenance).transpose()?
            }
            _ => None,
        };
        sequence.end()?;
        let address = owned(address).filter(|address| !address.trim().is_empty());
        Ok(Server { owner, code, address, auth_cert_hashes, clients, maintenance })
    }

    fn reference(&self, node: Node<'_, '_>) -> Result<&ClientId, XmlError> {
        let text = xml::text(node)?;
        let id = text.trim();
        self.clients.get(id).ok_or_else(|| XmlError::DanglingReference(id.to_owned()))
    }
}

fn maintenance(node: Node<'_, '_>) -> Result<Maintenance, XmlError> {
    let mut sequence = Sequence::of(node);
    let message = owned(sequence.optional_text("message")?);
    sequence.end()?;
    Ok(Maintenance { message })
}

fn global_group(node: Node<'_, '_>) -> Result<GlobalGroup, XmlError> {
    let mut sequence = Sequence::of(node);
    let group = GlobalGroup {
        code: sequence.required_text("groupCode")?.into_owned(),
        description: sequence.required_text("description")?.into_owned(),
        members: all(&mut sequence, "groupMember", group_member)?.into_iter().flatten().collect(),
    };
    sequence.end()?;
    Ok(group)
}

/// A member with a subsystem's code, or a subsystem without, is nobody: the schemas allow it, and the original
/// leaves it out.
fn group_member(node: Node<'_, '_>) -> Result<Option<ClientId>, XmlError> {
    match ClientId::read_xml(node) {
        Ok(client) => Ok(Some(client)),
        Err(IdentifierError::SubsystemRedundant | IdentifierError::SubsystemMissing) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Central services are gone since X-Road 7; old texts may still hold them.
fn central_service(node: Node<'_, '_>) -> Result<(), XmlError> {
    let mut sequence = Sequence::of(node);
    sequence.required_text("serviceCode")?;
    if let Some(service) = sequence.optional("implementingService") {
        ServiceId::read_xml(service)?;
    }
    sequence.end()
}

fn global_settings(node: Node<'_, '_>) -> Result<GlobalSettings, XmlError> {
    let mut sequence = Sequence::of(node);
    let settings = GlobalSettings {
        member_classes: all(&mut sequence, "memberClass", member_class)?,
        ocsp_freshness: Duration::from_secs(xml::number(sequence.required("ocspFreshnessSeconds")?)?),
    };
    sequence.end()?;
    Ok(settings)
}

fn member_class(node: Node<'_, '_>) -> Result<MemberClass, XmlError> {
    let mut sequence = Sequence::of(node);
    let class = MemberClass {
        code: sequence.required_text("code")?.into_owned(),
        description: sequence.required_text("description")?.into_owned(),
    };
    sequence.end()?;
    Ok(class)
}

/// DER, as the schema says, or PEM: authorities of the original write what was uploaded to them.
fn certificate(node: Node<'_, '_>) -> Result<Certificate, XmlError> {
    let bytes = xml::base64(node)?;
    match std::str::from_utf8(&bytes) {
        Ok(pem) => Certificate::from_pem(pem),
        Err(_) => Certificate::from_der(&bytes),
    }
    .map_err(|error| xml::wrong_value(node, &error.to_string()))
}

fn word<T: Copy>(node: Node<'_, '_>, words: &[(T, &str)]) -> Result<T, XmlError> {
    let text = xml::text(node)?;
    let found = words.iter().find(|(_, word)| *word == text);
    found.map(|(value, _)| *value).ok_or_else(|| xml::wrong_value(node, "unknown word"))
}

fn owned(text: Option<std::borrow::Cow<'_, str>>) -> Option<String> {
    text.map(std::borrow::Cow::into_owned)
}
