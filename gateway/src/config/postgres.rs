//! `[log.postgres]`: the database that the log lies in.
//!
//! Not here: connecting to it ([`crate::messagelog`]).

use std::path::{Path, PathBuf};

use cert_authority::{settings::Text, x509::Certificate};
use serde::Deserialize;

use crate::messagelog::Database;

/// As written. The password is in a file of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PostgresFile {
    pub(super) host: Option<Text>,
    port: Option<u16>,
    user: Option<String>,
    database: Option<String>,
    password_file: Option<PathBuf>,
    pub(super) authorities: Option<Text>,
}

impl PostgresFile {
    /// As meant; `authorities` are those in its PEM file.
    pub(super) fn resolve(&self, folder: &Path, authorities: Vec<Certificate>) -> Database {
        let or = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
        Database {
            host: self.host.as_ref().map_or("127.0.0.1", |host| host.get_ref()).to_owned(),
            port: self.port.unwrap_or(5432),
            user: or(&self.user, "passerelle"),
            name: or(&self.database, "passerelle"),
            password_file: self.password_file.as_deref().map(|file| folder.join(file)),
            authorities,
        }
    }
}
