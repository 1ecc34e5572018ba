//! `[log.postgres]`: the database that the log lies in.
//!
//! Not here: connecting to it ([`crate::messagelog`]).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::messagelog::Database;

/// As written. The password is in a file of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PostgresFile {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    database: Option<String>,
    password_file: Option<PathBuf>,
}

impl PostgresFile {
    pub(super) fn resolve(&self, folder: &Path) -> Database {
        let or = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
        Database {
            host: or(&self.host, "127.0.0.1"),
            port: self.port.unwrap_or(5432),
            user: or(&self.user, "passerelle"),
            name: or(&self.database, "passerelle"),
            password_file: self.password_file.as_deref().map(|file| folder.join(file)),
        }
    }
}
