//! Which database a log lies in, and how it is reached.
//!
//! Not here: connecting (`link`).

use std::{fs, io, net::IpAddr, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use cert_authority::{crypto, x509::Certificate};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::{
    super::error::LogError,
    link::{PATIENCE, Server},
};

/// A database, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Address of the server, or the directory of its socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are there.
    pub user: String,
    /// Name of the database.
    pub name: String,
    /// The file that holds our password, readable by its owner only; `None` where the server asks for none.
    pub password_file: Option<PathBuf>,
    /// Who may have issued the certificate of the server, which must have been issued for [`Self::host`]. Empty: there
    /// is no TLS, and the server must be on this machine.
    pub authorities: Vec<Certificate>,
}

impl Database {
    /// What is wrong with the address: what is sent to another machine is encrypted, and the server there proves its name.
    ///
    /// # Errors
    /// In words.
    pub fn check_address(&self) -> Result<(), &'static str> {
        let mut parsed = Config::new();
        parsed.host(&self.host);
        match (parsed.get_hosts(), self.authorities.is_empty()) {
            ([Host::Unix(_)], true) => Ok(()),
            ([Host::Unix(_)], false) => Err("the socket of a server has no TLS: leave authorities out"),
            ([Host::Tcp(name)], without_tls) if !name.is_empty() => {
                let here = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
                let reason = "anybody on the way could read and change what is sent: \
                              authorities = a PEM file makes it TLS; only 127.0.0.1, ::1 and a socket need none";
                if here || !without_tls { Ok(()) } else { Err(reason) }
            }
            _ => Err("is no address of a server"),
        }
    }

    /// As the client library has it.
    pub(crate) fn server(&self) -> Result<Server, LogError> {
        let refused = |reason: String| LogError::Io { what: "the settings of PostgreSQL", reason };
        self.check_address().map_err(|reason| refused(reason.to_owned()))?;
        let mut config = Config::new();
        config.host(&self.host).port(self.port).user(&self.user).dbname(&self.name);
        if let Some(file) = &self.password_file {
            config.password(password(file)?.as_bytes());
        }
        let tls = if self.authorities.is_empty() { None } else { Some(self.tls().map_err(refused)?) };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(PATIENCE).application_name("passerelle-gateway");
        // A server that is gone is noticed before its nodes are missed.
        config.keepalives_idle(Duration::from_secs(2)).keepalives_interval(Duration::from_secs(1));
        config.keepalives_retries(3).tcp_user_timeout(Duration::from_secs(5));
        Ok(Server { config, tls })
    }

    fn tls(&self) -> Result<MakeRustlsConnect, String> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            let der = CertificateDer::from(authority.der().to_vec());
            roots.add(der).map_err(|error| format!("an authority: {error}"))?;
        }
        let config = ClientConfig::builder_with_provider(crypto::tls_provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth()))
    }
}

fn password(file: &PathBuf) -> Result<Zeroizing<String>, LogError> {
    let failed = |e: io::Error| LogError::io("the file with the password of PostgreSQL cannot be read", &e);
    if fs::metadata(file).map_err(failed)?.permissions().mode() & 0o077 != 0 {
        let reason = format!("{} can be read by others", file.display());
        return Err(LogError::Io { what: "the password of PostgreSQL", reason });
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(failed)?);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_elsewhere_is_refused_without_tls() {
        let at = |host: &str| {
            let (user, name, authorities) = ("x".to_owned(), "y".to_owned(), Vec::new());
            Database { host: host.to_owned(), port: 5432, user, name, password_file: None, authorities }
                .server()
        };
        for host in ["192.0.2.1", "db.example", "localhost", "", "2001:db8::1", "127.0.0.1,192.0.2.1"] {
            assert!(at(host).is_err(), "{host}");
        }
        for host in ["127.0.0.1", "::1", "/run/postgresql"] {
            assert!(at(host).is_ok(), "{host}");
        }
    }
}
