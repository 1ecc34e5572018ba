//! The optional parts of a configuration: who may ask for monitoring data, and how OCSP is used.
//!
//! | part | file | default |
//! |---|---|---|
//! | `MONITORING` | `monitoring-params.xml` | nobody |
//! | `NEXTUPDATE` | `nextupdate-params.xml` | `nextUpdate` of OCSP responses is checked |
//! | `FETCHINTERVAL` | `fetchinterval-params.xml` | 1200 s, at least 60 s |
//!
//! Specification: `monitoring-conf.xsd`, `ocsp-nextupdate-conf.xsd`, `ocsp-fetchinterval-conf.xsd` of
//! X-Road 7.8.

use std::time::Duration;

use crate::error::{ConfError, XmlError};
use crate::identifier::ClientId;
use crate::xml::{self, Sequence, Writer};

/// The shortest interval that is obeyed.
pub const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(60);

/// What the optional parts say, or the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionalParts {
    /// Who may ask every server for monitoring data.
    pub monitoring_client: Option<ClientId>,
    /// Whether `nextUpdate` of an OCSP response is checked.
    pub verify_next_update: bool,
    /// How often OCSP responses are fetched.
    pub fetch_interval: Duration,
}

impl Default for OptionalParts {
    fn default() -> Self {
        Self { monitoring_client: None, verify_next_update: true, fetch_interval: Duration::from_secs(1200) }
    }
}

/// Reads `monitoring-params.xml`.
pub fn read_monitoring(bytes: &[u8]) -> Result<Option<ClientId>, ConfError> {
    read_conf(bytes, "monitoring-params.xml", |conf| {
        let mut client = Sequence::of(conf.required("monitoringClient")?);
        let id = client.optional("monitoringClientId").map(ClientId::read_xml).transpose()?;
        client.end()?;
        Ok(id)
    })
}

/// Reads `nextupdate-params.xml`.
pub fn read_next_update(bytes: &[u8]) -> Result<bool, ConfError> {
    read_conf(bytes, "nextupdate-params.xml", |conf| xml::boolean(conf.required("verifyNextUpdate")?))
}

/// Reads `fetchinterval-params.xml`; a shorter interval than [`MIN_FETCH_INTERVAL`] is lengthened.
pub fn read_fetch_interval(bytes: &[u8]) -> Result<Duration, ConfError> {
    let seconds: u32 = read_conf(bytes, "fetchinterval-params.xml", |conf| {
        xml::number(conf.required("ocspFetchInterval")?)
    })?;
    Ok(Duration::from_secs(seconds.into()).max(MIN_FETCH_INTERVAL))
}

/// Writes `monitoring-params.xml`.
pub fn write_monitoring(client: Option<&ClientId>) -> String {
    let mut out = Writer::document("ns:conf");
    out.start("monitoringClient", &[]);
    if let Some(client) = client {
        client.write_xml(&mut out, "monitoringClientId");
    }
    out.finish()
}

/// Writes `nextupdate-params.xml`.
pub fn write_next_update(verify: bool) -> String {
    let mut out = Writer::document("ns:conf");
    out.leaf("verifyNextUpdate", if verify { "true" } else { "false" });
    out.finish()
}

/// Writes `fetchinterval-params.xml`.
pub fn write_fetch_interval(interval: Duration) -> String {
    let mut out = Writer::document("ns:conf");
    out.leaf("ocspFetchInterval", &interval.as_secs().to_string());
    out.finish()
}

fn read_conf<T>(
    bytes: &[u8],
    what: &'static str,
    read: impl FnOnce(&mut Sequence<'_, '_>) -> Result<T, XmlError>,
) -> Result<T, ConfError> {
    let read_document = || {
        let document = xml::parse(xml::text_of_bytes(bytes)?)?;
        let mut conf = Sequence::of(xml::root(&document, "conf")?);
        let value = read(&mut conf)?;
        conf.end()?;
        Ok(value)
    };
    read_document().map_err(|error| ConfError::malformed(what, error))
}
