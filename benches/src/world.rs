//! A signing member in memory and on disk: what the micro-benchmarks of signatures need around them.
//!
//! One authority, one delegated OCSP responder, one member with a signing key, and a configuration that knows them: as
//! in the demo, but at a fixed time and without processes. The keys lie in the project's own key store, so that what is
//! measured is the signer that a gateway uses.
//!
//! Not here: anything that is measured.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::UnixTime;
use cert_authority::crypto::digest;
use cert_authority::durable;
use cert_authority::keys::inventory::Usage;
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::keys::{KeyId, KeyType, Pin, Signer as _};
use cert_authority::ocsp::{self, CertId, CertStatus, Responder, SingleResponse};
use cert_authority::x509::issue::{self, Issuer, Profile, Template};
use cert_authority::x509::{Certificate, Name, Serial};
use conf::identifier::MemberId;
use conf::shared_params::{ApprovedCa, CaInfo, GlobalSettings, OcspResponder, SharedParams, Source};
use conf::snapshot::GlobalConf;
use conf::version::Version;
use futures_util::FutureExt as _;
use gateway::evidence::signature::SigningKey;
use gateway::message::digests::PartDigests;
use tempfile::TempDir;

/// Whatever may fail while a world is made: it ends the benchmark.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The message part of a small request: verb, path, headers.
pub const MESSAGE: &[u8] = b"POST\r\n/r1/DEMO/GOV/2002/registry/records/declarations\r\n\
    X-Road-Client:DEMO/GOV/1001/portal\r\nX-Road-Id:DEMO-6f6d2c5e-7f0b-4b4f-9a43-0b2e4f9c3a11\r\n\
    x-road-request-id:d41f3a52-2bb5-4a0c-8a77-3f0f6c3b9d20\r\nContent-Type:application/octet-stream\r\n";

/// A member that can sign, and whom a configuration knows.
pub struct World {
    /// The keys of everybody.
    pub keys: SoftwareKeys,
    /// What a gateway knows of the network.
    pub conf: GlobalConf,
    /// The root of all certificates.
    pub root: Certificate,
    /// Who signs.
    pub member: MemberId,
    /// With what, its OCSP response included.
    pub signing: SigningKey,
    /// The id of that key.
    pub key: KeyId,
    /// How it signs.
    pub algorithm: SignatureAlgorithm,
    _directory: TempDir,
}

impl World {
    /// All keys are of one kind.
    ///
    /// # Errors
    /// Whatever could not be made.
    pub fn new(key_type: KeyType) -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let keys = SoftwareKeys::open(directory.path().join("keys"), &Pin::new("benchmark"))?;
        let create = |usage| keys.create(key_type, usage, "benchmark", None, now());
        let (root_key, ocsp_key, key) = (create(Usage::Ca)?, create(Usage::Ocsp)?, create(Usage::Sign)?);
        let subjects = Subjects { keys: &keys, root_key: &root_key };
        let root = subjects.root("C=CA, O=Benchmark Trust, CN=Root")?;
        let responder =
            subjects.below(&root, Profile::Ocsp, "C=CA, O=Benchmark Trust, CN=OCSP", &ocsp_key)?;
        let subject =
            "C=CA, O=Ministry of Services, businessCategory=GOV, serialNumber=1001, CN=Ministry of Services";
        let certificate = subjects.below(&root, Profile::Sign, subject, &key)?;
        let algorithm = key_type.default_algorithm();

        let responder = Responder { certificate: responder, key: ocsp_key, algorithm };
        let single = SingleResponse {
            cert_id: CertId::new(DigestAlgorithm::Sha1, &certificate, &root)?,
            status: CertStatus::Good,
            this_update: now(),
            next_update: Some(now() + Duration::from_secs(86_400)),
        };
        let response = at_once(ocsp::respond(&responder, &[single], None, now(), &keys))??;
        let conf = configuration(&directory.path().join("conf"), &root)?;
        let signing = SigningKey::new(key.clone(), certificate, &[], &[Bytes::from(response)], algorithm);
        let member = "DEMO/GOV/1001".parse()?;
        Ok(Self { keys, conf, root, member, signing, key, algorithm, _directory: directory })
    }
}

/// A time at which everything in a [`World`] is valid.
pub fn now() -> UnixTime {
    UnixTime::from_millis(1_770_091_506_789)
}

/// The digests of [`MESSAGE`], and of a body if it has one.
pub fn digests(body: Option<&[u8]>) -> PartDigests {
    let message = PartDigests::of_message(DigestAlgorithm::Sha512, MESSAGE);
    match body {
        Some(body) => message.with_attachment(digest(DigestAlgorithm::Sha512, body)),
        None => message,
    }
}

/// The outcome of a future that never waits: keys in software sign when they are asked.
///
/// # Errors
/// It would have waited.
pub fn at_once<F: Future>(future: F) -> Result<F::Output, Failure> {
    future.now_or_never().ok_or_else(|| "the signer waits for something".into())
}

/// Issues certificates.
struct Subjects<'a> {
    keys: &'a SoftwareKeys,
    root_key: &'a KeyId,
}

impl Subjects<'_> {
    fn root(&self, subject: &str) -> Result<Certificate, Failure> {
        let subject = Name::parse_rfc4514(subject)?;
        let public_key = self.keys.public_key(self.root_key)?;
        let serial = Serial::from_bytes(&[1]);
        let template = template(Profile::RootCa { path_len: None }, &subject, &public_key, &serial);
        Ok(at_once(issue::self_signed(&template, self.root_key, self.keys))??)
    }

    fn below(
        &self,
        root: &Certificate,
        profile: Profile,
        subject: &str,
        key: &KeyId,
    ) -> Result<Certificate, Failure> {
        let subject = Name::parse_rfc4514(subject)?;
        let public_key = self.keys.public_key(key)?;
        let serial = Serial::from_bytes(&[0x5a; 16]);
        let issuer = Issuer { certificate: root, key: self.root_key, signer: self.keys };
        Ok(at_once(issue::issue(&template(profile, &subject, &public_key, &serial), &issuer))??)
    }
}

fn template<'a>(
    profile: Profile,
    subject: &'a Name,
    public_key: &'a cert_authority::crypto::PublicKey,
    serial: &'a Serial,
) -> Template<'a> {
    Template {
        profile,
        subject,
        public_key,
        serial,
        not_before: now() - Duration::from_secs(86_400),
        not_after: now() + Duration::from_secs(86_400),
        alt_names: &[],
        ocsp_url: None,
        crl_url: None,
        issuer_url: None,
    }
}

/// A network without members that trusts this root.
pub fn parameters(root: &Certificate) -> SharedParams {
    SharedParams {
        instance: "DEMO".to_owned(),
        sources: vec![Source {
            address: "cs.test".to_owned(),
            internal_certificates: vec![root.der().to_vec()],
            external_certificates: vec![root.der().to_vec()],
        }],
        approved_cas: vec![ApprovedCa {
            name: "CA".to_owned(),
            authentication_only: false,
            top: CaInfo {
                certificate: root.clone(),
                ocsp: vec![OcspResponder {
                    url: "http://ocsp.test/".to_owned(),
                    certificate: None,
                    cost: None,
                }],
            },
            intermediates: Vec::new(),
            certificate_profile:
                "ee.ria.xroad.common.certificateprofile.impl.BasicCertificateProfileInfoProvider".to_owned(),
            default_csr_format: None,
            acme: None,
        }],
        approved_tsas: Vec::new(),
        members: Vec::new(),
        servers: Vec::new(),
        global_groups: Vec::new(),
        settings: GlobalSettings { member_classes: Vec::new(), ocsp_freshness: Duration::from_secs(3600) },
    }
}

/// The configuration as a gateway keeps it, read from files.
fn configuration(directory: &Path, root: &Certificate) -> Result<GlobalConf, Failure> {
    let parameters = parameters(root);
    let folder = directory.join(&parameters.instance);
    fs::create_dir_all(&folder)?;
    durable::write(directory.join("instance-identifier"), parameters.instance.as_bytes())?;
    durable::write(folder.join("shared-params.xml"), parameters.write(Version::V5)?.as_bytes())?;
    durable::write(folder.join("shared-params.xml.metadata"), br#"{"configurationVersion":"5"}"#)?;
    Ok(GlobalConf::load_dir(directory)?)
}
