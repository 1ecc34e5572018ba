//! Where everything of a demo ecosystem stands: folders, names, addresses.
//!
//! ```text
//! DIR/anchor.xml                       what every gateway trusts first
//! DIR/ca/ca.toml                       CA, OCSP responder, time-stamping       127.0.0.1:N
//! DIR/authority/authority.toml         the signed configuration                127.0.0.1:N+1
//! DIR/consumer/gateway.toml            DEMO/GOV/1001, server ss1               127.0.0.1:N+10.. and 127.0.0.11:N+2, N+3
//! DIR/provider/gateway.toml            DEMO/GOV/2002, server ss2               127.0.0.1:N+20.. and 127.0.0.21:N+2, N+3
//! DIR/service/service.toml             the provider's information system       127.0.0.1:N+30
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Instance of the demo network.
pub const INSTANCE: &str = "DEMO";
/// Member class of both organisations.
pub const CLASS: &str = "GOV";

/// An organisation with a gateway of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Organisation {
    /// Folder below the demo's directory.
    pub folder: &'static str,
    /// Name that people read.
    pub name: &'static str,
    /// Member code.
    pub member: &'static str,
    /// Code of its server.
    pub server: &'static str,
    /// Code of its subsystem.
    pub subsystem: &'static str,
    /// Name of its subsystem.
    pub subsystem_name: &'static str,
    /// Last byte of its address between gateways, 127.0.0.x.
    pub peer_host: u8,
    /// First of its ports for information systems and administration, counted from the base.
    pub doors: u16,
}

/// Asks.
pub const CONSUMER: Organisation = Organisation {
    folder: "consumer",
    name: "Ministry of Services",
    member: "1001",
    server: "ss1",
    subsystem: "portal",
    subsystem_name: "Citizens' portal",
    peer_host: 11,
    doors: 10,
};

/// Answers.
pub const PROVIDER: Organisation = Organisation {
    folder: "provider",
    name: "Ministry of Municipal Affairs",
    member: "2002",
    server: "ss2",
    subsystem: "registry",
    subsystem_name: "Register of municipalities",
    peer_host: 21,
    doors: 20,
};

/// Both, in the order in which they appear everywhere.
pub const ORGANISATIONS: [Organisation; 2] = [CONSUMER, PROVIDER];

/// The service that the provider offers.
pub const SERVICE: &str = "records";
/// The code of the SOAP service.
pub const SOAP_SERVICE: &str = "depositPlan";

impl Organisation {
    /// `DEMO/GOV/1001`.
    pub fn owner(&self) -> String {
        format!("{INSTANCE}/{CLASS}/{}", self.member)
    }

    /// `DEMO/GOV/1001/portal`.
    pub fn client(&self) -> String {
        format!("{}/{}", self.owner(), self.subsystem)
    }

    /// `DEMO/GOV/1001/ss1`.
    pub fn server_id(&self) -> String {
        format!("{}/{}", self.owner(), self.server)
    }
}

/// One demo ecosystem on disk and its ports.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Where everything lies; absolute.
    pub directory: PathBuf,
    /// The first port, N.
    pub base: u16,
}

impl Layout {
    /// An ecosystem to be made in `directory`.
    ///
    /// # Errors
    /// In words: ports that do not exist.
    pub fn new(directory: &Path, base: u16) -> Result<Self, String> {
        if base == 0 || base > u16::MAX - 30 {
            return Err(format!("port base {base}: must be from 1 to {}", u16::MAX - 30));
        }
        let directory =
            std::path::absolute(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Self { directory, base })
    }

    /// All addresses that are listened on, with who listens.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let mut all =
            vec![("ca", self.trust()), ("authority", self.authority()), ("service", self.service())];
        for organisation in &ORGANISATIONS {
            all.extend(
                [
                    self.http(organisation),
                    self.https(organisation),
                    self.administration(organisation),
                    self.peer(organisation),
                    self.peer_ocsp(organisation),
                ]
                .map(|address| (organisation.folder, address)),
            );
        }
        all
    }

    /// The folder of a part: `ca`, `authority`, `consumer`, `provider`, `service`.
    pub fn folder(&self, part: &str) -> PathBuf {
        self.directory.join(part)
    }

    /// The configuration anchor.
    pub fn anchor(&self) -> PathBuf {
        self.directory.join("anchor.xml")
    }

    /// Trust services: CA, OCSP, time-stamping.
    pub fn trust(&self) -> SocketAddr {
        self.local(0)
    }

    /// The authority that publishes the configuration.
    pub fn authority(&self) -> SocketAddr {
        self.local(1)
    }

    /// Where gateways reach the organisation's gateway.
    pub fn peer(&self, organisation: &Organisation) -> SocketAddr {
        SocketAddr::new(peer_address(organisation), self.port(2))
    }

    /// Where gateways fetch OCSP answers from the organisation's gateway.
    pub fn peer_ocsp(&self, organisation: &Organisation) -> SocketAddr {
        SocketAddr::new(peer_address(organisation), self.port(3))
    }

    /// The plain HTTP door for information systems.
    pub fn http(&self, organisation: &Organisation) -> SocketAddr {
        self.local(organisation.doors)
    }

    /// The HTTPS door for information systems.
    pub fn https(&self, organisation: &Organisation) -> SocketAddr {
        self.local(organisation.doors + 1)
    }

    /// Administration: health, metrics.
    pub fn administration(&self, organisation: &Organisation) -> SocketAddr {
        self.local(organisation.doors + 4)
    }

    /// The provider's information system.
    pub fn service(&self) -> SocketAddr {
        self.local(30)
    }

    /// Port `N + offset`.
    pub fn port(&self, offset: u16) -> u16 {
        self.base.saturating_add(offset)
    }

    fn local(&self, offset: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port(offset))
    }
}

/// The address between gateways: 127.0.0.11 and so on, so that each gateway has the network's ports to itself.
pub fn peer_address(organisation: &Organisation) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, organisation.peer_host))
}

/// The base port of an ecosystem that was written before, from its `service.toml`.
///
/// # Errors
/// In words, what is not there.
pub fn existing(directory: &Path) -> Result<Layout, String> {
    let directory = directory.canonicalize().map_err(|error| {
        format!("{}: {error}; make it with: passerelle-demo init {0}", directory.display())
    })?;
    let file = directory.join("service/service.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let port = text
        .parse::<toml::Table>()
        .ok()
        .and_then(|table| table.get("listen")?.as_str()?.parse::<SocketAddr>().ok())
        .map(|address| address.port())
        .ok_or_else(|| format!("{}: no `listen` address", file.display()))?;
    let base = port.checked_sub(30).ok_or_else(|| format!("{}: port {port} is too low", file.display()))?;
    Ok(Layout { directory, base })
}
