//! The optional parts of a configuration: who may ask for monitoring data, how OCSP is used, who speaks QUIC.
//!
//! | part | file | default |
//! |---|---|---|
//! | `MONITORING` | `monitoring-params.xml` | nobody |
//! | `NEXTUPDATE` | `nextupdate-params.xml` | `nextUpdate` of OCSP responses is checked |
//! | `FETCHINTERVAL` | `fetchinterval-params.xml` | 1200 s, at least 60 s |
//! | `PASSERELLE-QUIC` | `passerelle-quic.xml` | nobody |
//!
//! The last one is Passerelle's own: the UDP port of each server that speaks QUIC. X-Road keeps such a part and does not
//! read it.
//!
//! Specification: `monitoring-conf.xsd`, `ocsp-nextupdate-conf.xsd`, `ocsp-fetchinterval-conf.xsd` of
//! X-Road 7.8.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{ConfError, XmlError};
use crate::identifier::{ClientId, ServerId};
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
    /// The UDP ports of servers that speak QUIC.
    pub quic: BTreeMap<ServerId, u16>,
}

impl Default for OptionalParts {
    fn default() -> Self {
        Self {
            monitoring_client: None,
            verify_next_update: true,
            fetch_interval: Duration::from_secs(1200),
            quic: BTreeMap::new(),
        }
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

/// Reads `passerelle-quic.xml`.
pub fn read_quic(bytes: &[u8]) -> Result<BTreeMap<ServerId, u16>, ConfError> {
    read_conf(bytes, "passerelle-quic.xml", |conf| {
        let mut ports = BTreeMap::new();
        while let Some(server) = conf.optional("server") {
            let mut entry = Sequence::of(server);
            let id = entry.required("id")?;
            let port = entry.required("port")?;
            entry.end()?;
            let id =
                xml::text(id)?.trim().parse().map_err(|_| xml::wrong_value(id, "no server identifier"))?;
            let number: u16 = xml::number(port)?;
            if number == 0 || ports.insert(id, number).is_some() {
                return Err(xml::wrong_value(server, "port 0, or a server that stands here twice"));
            }
        }
        Ok(ports)
    })
}

/// Writes `passerelle-quic.xml`.
pub fn write_quic(ports: &BTreeMap<ServerId, u16>) -> String {
    let mut out = Writer::document("ns:conf");
    for (id, port) in ports {
        out.start("server", &[]);
        out.leaf("id", &id.to_string());
        out.leaf("port", &port.to_string());
        out.end();
    }
    out.finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_quic_is_read_as_it_was_written_and_nonsense_is_refused() {
        let id = |text: &str| text.parse::<ServerId>().unwrap();
        let ports = BTreeMap::from([(id("DEMO/GOV/1001/ss1"), 5500), (id("DEMO/GOV/a&b/ss<2>"), 65535)]);
        let written = write_quic(&ports);
        assert_eq!(read_quic(written.as_bytes()).unwrap(), ports);
        assert_eq!(read_quic(write_quic(&BTreeMap::new()).as_bytes()).unwrap(), BTreeMap::new());
        for (from, to) in [
            ("5500", "0"),
            ("5500", "65536"),
            ("5500", ""),
            ("DEMO/GOV/1001/ss1", "DEMO/GOV/1001"),
            ("<port>5500</port>", ""),
            ("<port>5500</port>", "<port>5500</port><x/>"),
            ("DEMO/GOV/1001/ss1", "DEMO/GOV/a&amp;b/ss&lt;2&gt;"),
        ] {
            assert!(written.contains(from));
            assert!(read_quic(written.replace(from, to).as_bytes()).is_err(), "{from} -> {to}");
        }
    }
}
