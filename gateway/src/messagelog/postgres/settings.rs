//! Which database a log lies in, and how it is reached.
//!
//! Not here: connecting (`link`).

use std::{fs, io, net::IpAddr, os::unix::fs::PermissionsExt as _, path::PathBuf};

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use zeroize::Zeroizing;

use super::{super::error::LogError, link::PATIENCE};

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
}

impl Database {
    /// As the client library has it. Only a server on this machine is accepted: there is no TLS yet.
    pub(crate) fn config(&self) -> Result<Config, LogError> {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).user(&self.user).dbname(&self.name);
        let local = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        };
        if !config.get_hosts().iter().all(local) {
            let reason = "only a server on this machine can be used: 127.0.0.1, ::1, a socket".to_owned();
            return Err(LogError::Io { what: "the settings of PostgreSQL", reason });
        }
        if let Some(file) = &self.password_file {
            config.password(password(file)?.as_bytes());
        }
        config.ssl_mode(SslMode::Disable).connect_timeout(PATIENCE).application_name("passerelle-gateway");
        Ok(config)
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
    fn a_server_elsewhere_is_refused_as_long_as_there_is_no_tls() {
        let at = |host: &str| {
            let (user, name) = ("x".to_owned(), "y".to_owned());
            Database { host: host.to_owned(), port: 5432, user, name, password_file: None }.config()
        };
        for host in ["192.0.2.1", "db.example", "localhost", "", "2001:db8::1"] {
            assert!(at(host).is_err(), "{host}");
        }
        for host in ["127.0.0.1", "::1", "/run/postgresql"] {
            assert!(at(host).is_ok(), "{host}");
        }
    }
}
