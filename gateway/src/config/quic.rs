//! `[quic]`: QUIC between two Passerelle gateways.
//!
//! Not here: how ([`crate::transport::quic`]).

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use cert_authority::settings::{optional_duration, optional_size};
use serde::{Deserialize, Deserializer};

use super::file::{OrOff, address_or_off};
use crate::transport::quic::{Congestion, QuicSettings};

/// As written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuicFile {
    #[serde(default, deserialize_with = "address_or_off")]
    listen: Option<OrOff<SocketAddr>>,
    connections: Option<NonZeroUsize>,
    connections_per_address: Option<NonZeroUsize>,
    exchanges: Option<NonZeroU32>,
    unproven: Option<usize>,
    #[serde(default, deserialize_with = "idle")]
    idle: Option<Duration>,
    #[serde(default, deserialize_with = "datagram")]
    datagram: Option<u16>,
    #[serde(default, deserialize_with = "window")]
    window: Option<u32>,
    #[serde(default, deserialize_with = "window")]
    connection_window: Option<u32>,
    congestion: Option<CongestionFile>,
    #[serde(default, deserialize_with = "optional_duration")]
    wait: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    retry: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CongestionFile {
    Cubic,
    Bbr,
}

impl QuicFile {
    /// As meant.
    pub(super) fn resolve(&self) -> QuicSettings {
        let usual = QuicSettings::default();
        QuicSettings {
            listen: match self.listen {
                None | Some(OrOff::Off) => None,
                Some(OrOff::On(address)) => Some(address),
            },
            connections: self.connections.map_or(usual.connections, NonZeroUsize::get),
            connections_per_address: self
                .connections_per_address
                .map_or(usual.connections_per_address, NonZeroUsize::get),
            streams: self.exchanges.map_or(usual.streams, NonZeroU32::get),
            unproven: self.unproven.unwrap_or(usual.unproven),
            idle: self.idle.unwrap_or(usual.idle),
            datagram: self.datagram.unwrap_or(usual.datagram),
            window: self.window.unwrap_or(usual.window),
            connection_window: self.connection_window.unwrap_or(usual.connection_window),
            congestion: match self.congestion {
                None => usual.congestion,
                Some(CongestionFile::Cubic) => Congestion::Cubic,
                Some(CongestionFile::Bbr) => Congestion::Bbr,
            },
            wait: self.wait.unwrap_or(usual.wait),
            retry: self.retry.unwrap_or(usual.retry),
        }
    }
}

fn idle<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let idle = optional_duration(deserializer)?;
    match idle {
        Some(idle) if !(1..=600).contains(&idle.as_secs()) => {
            Err(serde::de::Error::custom("must be between 1 s and 10 min"))
        }
        idle => Ok(idle),
    }
}

fn datagram<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    // RFC 9000 14: nobody may take less. 18: nobody can take more.
    let size = optional_size(deserializer)?.map(u16::try_from);
    match size {
        None => Ok(None),
        Some(Ok(size)) if (1200..=65_527).contains(&size) => Ok(Some(size)),
        Some(_) => Err(serde::de::Error::custom("must be between 1200 B and 65527 B")),
    }
}

fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match optional_size(deserializer)? {
        None => Ok(None),
        Some(size @ 0x4000..=0x3fff_ffff) => Ok(u32::try_from(size).ok()),
        Some(_) => Err(serde::de::Error::custom("must be between 16 KiB and 1 GiB")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const LEAST: &str = "[server]\nid = \"DEMO/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n";

    #[test]
    fn it_is_off_unless_an_address_says_otherwise() {
        let quic = |text: &str| {
            Config::parse(&format!("{LEAST}{text}"), Path::new("/nowhere")).unwrap().transport.peers.quic
        };
        assert_eq!(quic("").listen, None);
        assert_eq!(quic("[quic]\nlisten = \"off\"\n").listen, None);
        assert_eq!(quic("[quic]\nlisten = \"[::]:5500\"\n").listen.unwrap().port(), 5500);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for wrong in [
            "listen = \"5500\"",
            "connections = 0",
            "connections_per_address = 0",
            "exchanges = 0",
            "exchanges = -1",
            "idle = \"0 s\"",
            "idle = \"11 min\"",
            "datagram = \"1199 B\"",
            "datagram = \"64 KiB\"",
            "window = \"0 B\"",
            "connection_window = \"1 GiB\"",
            "congestion = \"fast\"",
            "wait = 300",
            "colour = \"red\"",
        ] {
            let problems =
                Config::parse(&format!("{LEAST}[quic]\n{wrong}\n"), Path::new("/nowhere")).unwrap_err();
            assert_eq!(problems.0.len(), 1, "{wrong}");
            assert!(problems.0[0].key.starts_with("quic"), "{wrong}: {}", problems.0[0].key);
        }
    }
}
