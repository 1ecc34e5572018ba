//! Settings of the three programs, and descriptions of services.

use std::path::Path;

use bytes::Bytes;
use gateway::config::Config;
use gateway::description::{Document, openapi, wsdl};
use gateway::message::Protocol;

/// `gateway.toml`.
pub fn settings_gateway(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::parse(text, Path::new("/nowhere")) {
        Ok(config) => drop(format!("{:?}", config.doors)),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}

/// `ca.toml`.
pub fn settings_ca(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = toml::from_str::<cert_authority::service::Config>(text);
    let _ = cert_authority::settings::parse_duration(text);
    let _ = cert_authority::settings::parse_size(text);
}

/// `authority.toml`.
pub fn settings_authority(data: &[u8]) {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir_in("/dev/shm").unwrap();
    }
    if std::str::from_utf8(data).is_err() {
        return;
    }
    FOLDER.with(|folder| {
        let path = folder.path().join("authority.toml");
        std::fs::write(&path, data).unwrap();
        if let Err(error) = conf::authority::Registry::load(&path) {
            assert!(!error.to_string().is_empty());
        }
    });
}

/// An OpenAPI document; without its hosts it describes the same.
pub fn openapi_document(data: &[u8]) {
    let read = openapi::read(data);
    let _ = Document::read(Bytes::copy_from_slice(data), Protocol::Rest);
    if let (Ok(document), Ok(shown)) = (read, openapi::without_hosts(data)) {
        let again = openapi::read(&shown).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.endpoints, document.endpoints);
    }
}

/// A WSDL; with another address it describes the same.
pub fn wsdl_document(data: &[u8]) {
    let read = wsdl::read(data);
    let _ = Document::read(Bytes::copy_from_slice(data), Protocol::Soap);
    if let (Ok(document), Ok(shown)) = (read, wsdl::with_address(data, "http://shown.example/<&\">")) {
        let again = wsdl::read(&shown).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.services.len(), document.services.len());
    }
}
