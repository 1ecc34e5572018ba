//! [`SharedParams`] -> `shared-params.xml` of versions 3 to 6.
//!
//! What a version does not know is left out. Members and subsystems get the ids `id1`, `id2`, ... in the
//! order of the model, so the same model always gives the same bytes (and a client keeps what it has).

use std::collections::HashMap;

use super::model::{
    AcmeServer, ApprovedCa, ApprovedTsa, CaInfo, CostType, CsrFormat, GlobalGroup, Member, Server,
    SharedParams, Source,
};
use crate::error::{ConfError, XmlError};
use crate::identifier::ClientId;
use crate::version::Version;
use crate::xml::Writer;

impl SharedParams {
    /// Writes the document of this version. Servers and their owners must be members of the model, and the
    /// class of each member one of its classes.
    pub fn write(&self, version: Version) -> Result<String, ConfError> {
        if version < Version::V3 {
            return Err(ConfError::UnsupportedVersion(version.number().to_string()));
        }
        let mut out = Writer::document("ns:conf");
        self.write_conf(&mut out, version)
            .map_err(|error| ConfError::malformed("shared parameters", error))?;
        Ok(out.finish())
    }

    fn write_conf(&self, out: &mut Writer, version: Version) -> Result<(), XmlError> {
        out.leaf("instanceIdentifier", &self.instance);
        if self.sources.is_empty() {
            return Err(XmlError::Missing { missing: "source", parent: "conf".to_owned() });
        }
        self.sources.iter().for_each(|source| write_source(source, out));
        self.approved_cas.iter().for_each(|ca| write_ca(ca, out, version));
        self.approved_tsas.iter().for_each(|tsa| write_tsa(tsa, out, version));
        let mut ids = HashMap::new();
        for member in &self.members {
            self.write_member(member, out, &mut ids, version)?;
        }
        for server in &self.servers {
            write_server(server, out, &ids, version)?;
        }
        self.global_groups.iter().for_each(|group| write_group(group, out));
        out.start("globalSettings", &[]);
        for class in &self.settings.member_classes {
            write_class(out, &class.code, &class.description);
        }
        out.leaf("ocspFreshnessSeconds", &self.settings.ocsp_freshness.as_secs().to_string());
        out.end();
        Ok(())
    }

    fn write_member(
        &self,
        member: &Member,
        out: &mut Writer,
        ids: &mut HashMap<ClientId, String>,
        version: Version,
    ) -> Result<(), XmlError> {
        let class = self.settings.member_classes.iter().find(|class| class.code == member.id.class());
        let class = class.ok_or_else(|| XmlError::DanglingReference(member.id.class().to_owned()))?;
        out.start("member", &[("id", define(ids, member.id.clone().into())?.as_str())]);
        write_class(out, &class.code, &class.description);
        out.leaf("memberCode", member.id.code());
        out.leaf("name", &member.name);
        for subsystem in &member.subsystems {
            out.start("subsystem", &[("id", define(ids, subsystem.id.clone())?.as_str())]);
            out.leaf("subsystemCode", subsystem.id.subsystem().unwrap_or_default());
            if version >= Version::V5 {
                optional(out, "subsystemName", subsystem.name.as_deref());
            }
            out.end();
        }
        out.end();
        Ok(())
    }
}

fn define(ids: &mut HashMap<ClientId, String>, client: ClientId) -> Result<String, XmlError> {
    let id = format!("id{}", ids.len() + 1);
    match ids.insert(client, id.clone()) {
        None => Ok(id),
        Some(earlier) => Err(XmlError::DuplicateId(earlier)),
    }
}

fn reference<'a>(ids: &'a HashMap<ClientId, String>, client: &ClientId) -> Result<&'a str, XmlError> {
    ids.get(client).map(String::as_str).ok_or_else(|| XmlError::DanglingReference(client.to_string()))
}

fn write_server(
    server: &Server,
    out: &mut Writer,
    ids: &HashMap<ClientId, String>,
    version: Version,
) -> Result<(), XmlError> {
    out.start("securityServer", &[]);
    out.leaf("owner", reference(ids, &server.owner.clone().into())?);
    out.leaf("serverCode", &server.code);
    optional(out, "address", server.address.as_deref());
    server.auth_cert_hashes.iter().for_each(|hash| out.base64("authCertHash", hash));
    for client in &server.clients {
        out.leaf("client", reference(ids, client)?);
    }
    if let Some(maintenance) = server.maintenance.as_ref().filter(|_| version >= Version::V5) {
        out.start("inMaintenanceMode", &[]);
        optional(out, "message", maintenance.message.as_deref());
        out.end();
    }
    out.end();
    Ok(())
}

fn write_source(source: &Source, out: &mut Writer) {
    out.start("source", &[]);
    out.leaf("address", &source.address);
    source.internal_certificates.iter().for_each(|der| out.base64("internalVerificationCert", der));
    source.external_certificates.iter().for_each(|der| out.base64("externalVerificationCert", der));
    out.end();
}

fn write_ca(ca: &ApprovedCa, out: &mut Writer, version: Version) {
    out.start("approvedCA", &[]);
    out.leaf("name", &ca.name);
    out.leaf("authenticationOnly", if ca.authentication_only { "true" } else { "false" });
    write_ca_info("topCA", &ca.top, out, version);
    ca.intermediates.iter().for_each(|info| write_ca_info("intermediateCA", info, out, version));
    out.leaf("certificateProfileInfo", &ca.certificate_profile);
    if let Some(format) = ca.default_csr_format.filter(|_| version >= Version::V6) {
        out.leaf("defaultCsrFormat", word(format, &CsrFormat::ALL));
    }
    if let Some(acme) = &ca.acme {
        write_acme(acme, out, version);
    }
    out.end();
}

fn write_acme(acme: &AcmeServer, out: &mut Writer, version: Version) {
    out.start("acmeServer", &[]);
    out.leaf("directoryURL", &acme.directory_url);
    optional(out, "ipAddress", acme.ip_address.as_deref());
    if version >= Version::V4 {
        optional(out, "authenticationCertificateProfileId", acme.authentication_profile.as_deref());
        optional(out, "signingCertificateProfileId", acme.signing_profile.as_deref());
    }
    out.end();
}

fn write_ca_info(element: &'static str, info: &CaInfo, out: &mut Writer, version: Version) {
    out.start(element, &[]);
    out.base64("cert", info.certificate.der());
    for responder in &info.ocsp {
        out.start("ocsp", &[]);
        out.leaf("url", &responder.url);
        if let Some(certificate) = &responder.certificate {
            out.base64("cert", certificate.der());
        }
        write_cost(responder.cost, out, version);
        out.end();
    }
    out.end();
}

fn write_tsa(tsa: &ApprovedTsa, out: &mut Writer, version: Version) {
    out.start("approvedTSA", &[]);
    out.leaf("name", &tsa.name);
    out.leaf("url", &tsa.url);
    out.base64("cert", tsa.certificate.der());
    write_cost(tsa.cost, out, version);
    out.end();
}

fn write_cost(cost: Option<CostType>, out: &mut Writer, version: Version) {
    if let Some(cost) = cost.filter(|_| version >= Version::V6) {
        out.leaf("costType", word(cost, &CostType::ALL));
    }
}

fn write_group(group: &GlobalGroup, out: &mut Writer) {
    out.start("globalGroup", &[]);
    out.leaf("groupCode", &group.code);
    out.leaf("description", &group.description);
    group.members.iter().for_each(|member| member.write_xml(out, "groupMember"));
    out.end();
}

fn write_class(out: &mut Writer, code: &str, description: &str) {
    out.start("memberClass", &[]);
    out.leaf("code", code);
    out.leaf("description", description);
    out.end();
}

fn optional(out: &mut Writer, element: &'static str, text: Option<&str>) {
    if let Some(text) = text {
        out.leaf(element, text);
    }
}

fn word<T: PartialEq>(value: T, words: &[(T, &'static str)]) -> &'static str {
    words.iter().find(|(word, _)| *word == value).map_or("", |(_, text)| text)
}
