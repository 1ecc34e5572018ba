//! The global configuration: anchor, directory, parameters, identifiers, certificate profiles.

use std::sync::OnceLock;

use cert_authority::x509::Name;
use conf::anchor::{Anchor, fingerprint};
use conf::certificate_profile::CertificateProfile;
use conf::directory::SignedDirectory;
use conf::identifier::{
    ClientId, GlobalGroupId, LocalGroupId, MemberId, ServerId, ServiceId, decode_segment, encode_segment,
    read_document,
};
use conf::private_params::PrivateParams;
use conf::shared_params::SharedParams;
use conf::version::Version;
use conf::{directory, optional_parts};

use crate::{choice, line, world};

const VERSIONS: [Version; 5] = [Version::V2, Version::V3, Version::V4, Version::V5, Version::V6];

/// The anchor: written again it reads the same.
pub fn anchor(data: &[u8]) {
    let _ = fingerprint(data);
    let Ok(anchor) = Anchor::read(data) else { return };
    assert_eq!(Anchor::read(anchor.write().as_bytes()).as_ref(), Ok(&anchor));
}

/// A signed directory, also with the certificates that the conformance anchor names.
pub fn signed_directory(data: &[u8]) {
    let Ok(signed) = SignedDirectory::read(data) else { return };
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    let anchor = ANCHOR.get_or_init(|| {
        let path = world::conformance().join("xroad-7.8.0/signed-directories/configuration-anchor1.xml");
        Anchor::read(&std::fs::read(path).unwrap()).unwrap()
    });
    let certificates: Vec<_> = anchor.sources.iter().flat_map(|source| source.certificates.clone()).collect();
    if let Ok(directory) = signed.verify(&anchor.instance, &certificates) {
        for entry in directory.entries() {
            let _ = (entry.kind(), entry.location(), entry.file_name(), entry.matches(data));
        }
    }
}

/// Shared parameters, the first byte chooses the version. Version 2 is read, and never written.
pub fn shared_params(data: &[u8]) {
    let Some((version, data)) = choice(data, VERSIONS.len()) else { return };
    let version = VERSIONS[version];
    let Ok(params) = SharedParams::read(data, version) else { return };
    if version == Version::V2 {
        return;
    }
    // Members of classes that nobody declares are read, as X-Road reads them; an authority of ours has none.
    let declared = |class: &str| params.settings.member_classes.iter().any(|known| known.code == class);
    if params.members.iter().any(|member| !declared(member.id.class())) {
        assert!(params.write(version).is_err());
        return;
    }
    let written = params.write(version).unwrap_or_else(|error| panic!("read, but not written: {error}"));
    let again = SharedParams::read(written.as_bytes(), version);
    assert_eq!(again.as_ref().unwrap_or_else(|error| panic!("{error}: {written}")), &params);
    assert_eq!(params.write(version).as_ref(), Ok(&written));
}

/// Private parameters, the first byte chooses the version.
pub fn private_params(data: &[u8]) {
    let Some((version, data)) = choice(data, VERSIONS.len()) else { return };
    let Ok(params) = PrivateParams::read(data, VERSIONS[version]) else { return };
    let again = PrivateParams::read(params.write().as_bytes(), Version::V6);
    assert_eq!(again.as_ref(), Ok(&params));
}

/// The optional parts.
pub fn optional_part(data: &[u8]) {
    if let Ok(client) = optional_parts::read_monitoring(data) {
        let written = optional_parts::write_monitoring(client.as_ref());
        assert_eq!(optional_parts::read_monitoring(written.as_bytes()), Ok(client));
    }
    if let Ok(verify) = optional_parts::read_next_update(data) {
        let written = optional_parts::write_next_update(verify);
        assert_eq!(optional_parts::read_next_update(written.as_bytes()), Ok(verify));
    }
    if let Ok(interval) = optional_parts::read_fetch_interval(data) {
        let written = optional_parts::write_fetch_interval(interval);
        assert_eq!(optional_parts::read_fetch_interval(written.as_bytes()), Ok(interval));
    }
}

/// Identifiers: as segments, as readable text, as XML.
pub fn identifier(data: &[u8]) {
    let _ = read_document(data, ClientId::read_xml);
    let _ = read_document(data, ServiceId::read_xml);
    let _ = read_document(data, ServerId::read_xml);
    let _ = read_document(data, GlobalGroupId::read_xml);
    let _ = read_document(data, LocalGroupId::read_xml);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = directory::kept::directory_name(text);
    if let Ok(segment) = decode_segment(text) {
        assert_eq!(decode_segment(&encode_segment(&segment)).as_ref(), Ok(&segment));
    }
    macro_rules! both {
        ($($kind:ident),+) => {$(
            if let Ok(id) = $kind::parse_encoded(text) {
                assert_eq!($kind::parse_encoded(&id.encoded()).as_ref(), Ok(&id));
                assert_eq!(id.to_string().parse::<$kind>().as_ref(), Ok(&id));
                let _ = id.check_registrable();
            }
            if let Ok(id) = text.parse::<$kind>() {
                assert_eq!(id.to_string().parse::<$kind>().as_ref(), Ok(&id));
                assert_eq!($kind::parse_encoded(&id.encoded()).as_ref(), Ok(&id));
            }
        )+};
    }
    both!(MemberId, ClientId, ServiceId, ServerId, GlobalGroupId, LocalGroupId);
}

/// The instance in a line, then a subject: who it is by each profile.
pub fn certificate_profile(data: &[u8]) {
    let Some((instance, subject)) = line(data) else { return };
    let _ = CertificateProfile::from_class_name(instance);
    let parsed = std::str::from_utf8(subject).ok().and_then(|text| Name::parse_rfc4514(text).ok());
    for subject in Name::from_der(subject).ok().iter().chain(&parsed) {
        for (profile, _) in CertificateProfile::ALL {
            if let Ok(member) = profile.member(subject, instance) {
                assert_eq!(member.instance(), instance);
                let server = ServerId::new(member, "ss1").unwrap();
                let _ = profile.fits_server(subject, &server);
            }
        }
    }
}
