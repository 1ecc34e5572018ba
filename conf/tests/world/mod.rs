//! A small world for the tests of configurations: keys in memory, authorities that issue certificates.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "each test file uses a part of this world")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use cert_authority::algorithm::SignatureAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::{PrivateKey, PublicKey};
use cert_authority::error::KeyError;
use cert_authority::keys::{KeyId, KeyType, SignFuture, Signer};
use cert_authority::x509::issue::{self, Issuer, Profile, Template};
use cert_authority::x509::{Certificate, Name, Serial};
use conf::shared_params::{
    ApprovedCa, ApprovedTsa, CaInfo, GlobalSettings, MemberClass, OcspResponder, SharedParams, Source,
};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// The time at which the tests play.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_rfc3339("2026-11-23T10:00:00Z").unwrap()
}

/// The samples of the original, if they are here.
pub(crate) fn conformance(folder: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("CONFORMANCE_DIR");
    if dir.is_none() {
        eprintln!("not run: CONFORMANCE_DIR is unset");
    }
    dir.map(|dir| PathBuf::from(dir).join("xroad-7.8.0").join(folder))
}

/// Keys in memory.
#[derive(Default)]
pub(crate) struct Keys(HashMap<KeyId, PrivateKey>);

impl Keys {
    pub(crate) fn create(&mut self, key_type: KeyType) -> KeyId {
        let key = PrivateKey::from_pkcs8(&PrivateKey::generate(key_type).unwrap()).unwrap();
        let id = key.public_key().key_id();
        self.0.insert(id.clone(), key);
        id
    }
}

impl Signer for Keys {
    fn sign<'a>(&'a self, key: &'a KeyId, algorithm: SignatureAlgorithm, data: &'a [u8]) -> SignFuture<'a> {
        Box::pin(async move {
            self.0.get(key).ok_or_else(|| KeyError::NotFound(key.clone()))?.sign(algorithm, data)
        })
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, KeyError> {
        Ok(self.0.get(key).ok_or_else(|| KeyError::NotFound(key.clone()))?.public_key().clone())
    }
}

/// A certification authority, or any other holder of a key with a certificate.
pub(crate) struct Holder {
    pub(crate) key: KeyId,
    pub(crate) certificate: Certificate,
}

/// A certificate that signs itself.
pub(crate) async fn root(keys: &mut Keys, subject: &str, key_type: KeyType) -> Holder {
    let key = keys.create(key_type);
    let template = template(subject, keys, &key, Profile::RootCa { path_len: None });
    let certificate = issue::self_signed(&template.of(), &key, keys).await.unwrap();
    Holder { key, certificate }
}

/// A certificate from an authority.
pub(crate) async fn issued(keys: &mut Keys, ca: &Holder, subject: &str, profile: Profile) -> Holder {
    let key = keys.create(KeyType::EcP256);
    let template = template(subject, keys, &key, profile);
    let issuer = Issuer { certificate: &ca.certificate, key: &ca.key, signer: keys };
    let certificate = issue::issue(&template.of(), &issuer).await.unwrap();
    Holder { key, certificate }
}

struct OwnedTemplate {
    profile: Profile,
    subject: Name,
    public_key: PublicKey,
    serial: Serial,
}

fn template(subject: &str, keys: &Keys, key: &KeyId, profile: Profile) -> OwnedTemplate {
    let public_key = keys.public_key(key).unwrap();
    let subject = Name::parse_rfc4514(subject).unwrap();
    OwnedTemplate { profile, subject, serial: Serial::from_hex(key.as_str()).unwrap(), public_key }
}

impl OwnedTemplate {
    fn of(&self) -> Template<'_> {
        Template {
            profile: self.profile,
            subject: &self.subject,
            public_key: &self.public_key,
            serial: &self.serial,
            not_before: now() - DAY,
            not_after: now() + 365 * DAY,
            alt_names: &[],
            ocsp_url: None,
            crl_url: None,
            issuer_url: None,
        }
    }
}

/// Shared parameters with one authority, and nobody in them.
pub(crate) fn shared_params(instance: &str, ca: &Certificate, profile: &str) -> SharedParams {
    SharedParams {
        instance: instance.to_owned(),
        sources: vec![Source {
            address: "conf.example".to_owned(),
            internal_certificates: vec![ca.der().to_vec()],
            external_certificates: Vec::new(),
        }],
        approved_cas: vec![ApprovedCa {
            name: format!("Authority of {instance}"),
            authentication_only: false,
            top: CaInfo {
                certificate: ca.clone(),
                ocsp: vec![OcspResponder {
                    url: "http://ocsp.example/".to_owned(),
                    certificate: None,
                    cost: None,
                }],
            },
            intermediates: Vec::new(),
            certificate_profile: format!(
                "ee.ria.xroad.common.certificateprofile.impl.{profile}CertificateProfileInfoProvider"
            ),
            default_csr_format: None,
            acme: None,
        }],
        approved_tsas: vec![ApprovedTsa {
            name: "Stamps".to_owned(),
            url: "http://tsa.example/".to_owned(),
            certificate: ca.clone(),
            cost: None,
        }],
        members: Vec::new(),
        servers: Vec::new(),
        global_groups: Vec::new(),
        settings: GlobalSettings {
            member_classes: vec![MemberClass {
                code: "GOV".to_owned(),
                description: "Authorities".to_owned(),
            }],
            ocsp_freshness: Duration::from_secs(3600),
        },
    }
}

/// Runs a program that judges; its absence fails the test.
pub(crate) fn judge(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }
}
