//! A small world for the tests of evidence: an authority, a member with a signing key, and time-stamps.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use cert_authority::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    clock::UnixTime,
    crypto::{PrivateKey, PublicKey, digest},
    error::KeyError,
    keys::{KeyId, KeyType, SignFuture, Signer},
    ocsp::{self, CertId, CertStatus, Responder, SingleResponse},
    timestamp::{self, Stamper, Token},
    x509::{
        Certificate, Name, Serial,
        issue::{self, Issuer, Profile, Template},
    },
};
use conf::{
    identifier::MemberId,
    shared_params::{ApprovedCa, ApprovedTsa, CaInfo, GlobalSettings, OcspResponder, SharedParams, Source},
    snapshot::GlobalConf,
    version::Version,
};
use gateway::evidence::signature::SigningKey;

/// Where the conformance data lies; says so where it does not.
pub(crate) fn conformance(folder: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where the data lies is told by the environment")]
    let directory = std::env::var("CONFORMANCE_DIR");
    match directory {
        Ok(directory) => Some(PathBuf::from(directory).join(folder)),
        Err(_) => {
            println!("not run: CONFORMANCE_DIR is not set");
            None
        }
    }
}

/// Waits for a signature.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

/// A time at which everything in a [`World`] is valid.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_rfc3339("2026-02-03T04:05:06.789Z").unwrap()
}

/// Keys in memory.
#[derive(Default)]
pub(crate) struct Keys(HashMap<KeyId, PrivateKey>);

impl Keys {
    fn create(&mut self, key_type: KeyType) -> KeyId {
        let key = PrivateKey::from_pkcs8(&PrivateKey::generate(key_type).unwrap()).unwrap();
        let id = key.public_key().key_id();
        self.0.insert(id.clone(), key);
        id
    }
}

impl Signer for Keys {
    fn sign<'a>(
        &'a self,
        key: &'a KeyId,
        algorithm: SignatureAlgorithm,
        to_be_signed: &'a [u8],
    ) -> SignFuture<'a> {
        Box::pin(async move {
            let key = self.0.get(key).ok_or_else(|| KeyError::NotFound(key.clone()))?;
            key.sign(algorithm, to_be_signed)
        })
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, KeyError> {
        self.0.get(key).map(|key| key.public_key().clone()).ok_or_else(|| KeyError::NotFound(key.clone()))
    }
}

/// A global configuration with one authority, and what it takes to sign and to stamp under it.
pub(crate) struct World {
    pub(crate) conf: GlobalConf,
    pub(crate) keys: Keys,
    pub(crate) member: MemberId,
    pub(crate) certificate: Certificate,
    pub(crate) key_type: KeyType,
    key: KeyId,
    root: (Certificate, KeyId),
    sub: Option<(Certificate, KeyId)>,
    stamper: Stamper,
}

impl World {
    /// Member `EE/GOV/1001`, certified by the root itself.
    pub(crate) fn new(key_type: KeyType) -> Self {
        Self::build(key_type, false, Profile::Sign)
    }

    /// The same, certified by an authority below the root.
    pub(crate) fn with_intermediate(key_type: KeyType) -> Self {
        Self::build(key_type, true, Profile::Sign)
    }

    /// The member's certificate is of this kind.
    pub(crate) fn build(key_type: KeyType, intermediate: bool, profile: Profile) -> Self {
        let mut keys = Keys::default();
        let root_key = keys.create(KeyType::EcP256);
        let root =
            certify(&keys, Profile::RootCa { path_len: None }, "C=EE, O=Test, CN=Root", &root_key, None, 1);
        let root = (root, root_key);
        let sub = intermediate.then(|| {
            let key = keys.create(KeyType::EcP384);
            let subject = "C=EE, O=Test & Sons <ltd>, CN=Sub";
            (certify(&keys, Profile::SubCa { path_len: None }, subject, &key, Some(&root), 2), key)
        });
        let key = keys.create(key_type);
        let issuer = sub.as_ref().unwrap_or(&root);
        let certificate = certify(&keys, profile, "C=EE, O=GOV, CN=1001", &key, Some(issuer), 0x1234_5678);
        let tsa_key = keys.create(KeyType::EcP256);
        let stamper = Stamper {
            certificate: certify(&keys, Profile::Tsa, "C=EE, CN=TSA", &tsa_key, Some(&root), 4),
            intermediates: Vec::new(),
            key: tsa_key,
            algorithm: SignatureAlgorithm::EcdsaSha256,
            policy: "1.2.3.4".parse().unwrap(),
        };
        let intermediates = sub.iter().map(|(certificate, _)| certificate.clone()).collect();
        Self {
            conf: configuration("EE", &root.0, intermediates, None, Some(&stamper.certificate)),
            member: "EE/GOV/1001".parse().unwrap(),
            keys,
            certificate,
            key_type,
            key,
            root,
            sub,
            stamper,
        }
    }

    /// Writes the configuration of this world as a gateway keeps it.
    pub(crate) fn write_configuration(&self, directory: &Path) {
        let intermediates = self.sub.iter().map(|(certificate, _)| certificate.clone()).collect();
        let tsa = Some(&self.stamper.certificate);
        write_configuration(directory, &parameters("EE", &self.root.0, intermediates, None, tsa));
    }

    /// The certificate of the authority at the top.
    pub(crate) fn root(&self) -> &Certificate {
        &self.root.0
    }

    /// The OCSP responses for the signing certificate and the authority below the root.
    pub(crate) fn ocsp(&self, status: CertStatus, at: UnixTime) -> Vec<Bytes> {
        let mut responses =
            vec![self.ocsp_of(&self.certificate, self.sub.as_ref().unwrap_or(&self.root), status, at)];
        if let Some((certificate, _)) = &self.sub {
            responses.push(self.ocsp_of(certificate, &self.root, CertStatus::Good, at));
        }
        responses
    }

    fn ocsp_of(
        &self,
        of: &Certificate,
        issuer: &(Certificate, KeyId),
        status: CertStatus,
        at: UnixTime,
    ) -> Bytes {
        let responder = Responder {
            certificate: issuer.0.clone(),
            key: issuer.1.clone(),
            algorithm: self.keys.public_key(&issuer.1).unwrap().key_type().unwrap().default_algorithm(),
        };
        let single = SingleResponse {
            cert_id: CertId::new(DigestAlgorithm::Sha1, of, &issuer.0).unwrap(),
            status,
            this_update: at,
            next_update: Some(at + Duration::from_secs(86_400)),
        };
        Bytes::from(block_on(ocsp::respond(&responder, &[single], None, at, &self.keys)).unwrap())
    }

    /// The member's key, with fresh responses.
    pub(crate) fn signing_key(&self) -> SigningKey {
        self.signing_key_with(&self.ocsp(CertStatus::Good, now()))
    }

    /// The member's key with these responses.
    pub(crate) fn signing_key_with(&self, ocsp: &[Bytes]) -> SigningKey {
        let intermediates = self.sub.iter().map(|(certificate, _)| certificate.clone()).collect::<Vec<_>>();
        SigningKey::new(
            self.key.clone(),
            self.certificate.clone(),
            &intermediates,
            ocsp,
            self.key_type.default_algorithm(),
        )
    }

    /// The member's key, certified otherwise: for this subject, until then; with a fresh response.
    pub(crate) fn key_certified(&self, subject: &str, until: &str) -> SigningKey {
        let issuer = Some(&self.root);
        let certificate = certify_until(&self.keys, Profile::Sign, subject, &self.key, issuer, 0x77, until);
        let ocsp = self.ocsp_of(&certificate, &self.root, CertStatus::Good, now());
        SigningKey::new(self.key.clone(), certificate, &[], &[ocsp], self.key_type.default_algorithm())
    }

    /// A fresh response for another certificate than the member's.
    pub(crate) fn ocsp_of_another(&self) -> Vec<Bytes> {
        vec![self.ocsp_of(&self.stamper.certificate, &self.root, CertStatus::Good, now())]
    }

    /// A time-stamp over `data`, in DER.
    pub(crate) fn stamp(&self, data: &[u8], at: UnixTime) -> Vec<u8> {
        let request = timestamp::Request {
            imprint_algorithm: DigestAlgorithm::Sha512,
            imprint: digest(DigestAlgorithm::Sha512, data).as_ref().to_vec(),
            nonce: None,
            certificates: true,
            policy: None,
        };
        let response = block_on(self.answer(&request, at));
        Token::from_response(&response).unwrap().der().to_vec()
    }

    /// The time-stamping authority's answer.
    pub(crate) async fn answer(&self, request: &timestamp::Request, at: UnixTime) -> Vec<u8> {
        timestamp::stamp(request, &self.stamper, &[1], at, &self.keys).await.unwrap()
    }
}

fn certify(
    keys: &Keys,
    profile: Profile,
    subject: &str,
    key: &KeyId,
    issuer: Option<&(Certificate, KeyId)>,
    serial: u32,
) -> Certificate {
    certify_until(keys, profile, subject, key, issuer, serial, "2026-03-01T00:00:00Z")
}

fn certify_until(
    keys: &Keys,
    profile: Profile,
    subject: &str,
    key: &KeyId,
    issuer: Option<&(Certificate, KeyId)>,
    serial: u32,
    until: &str,
) -> Certificate {
    let subject = Name::parse_rfc4514(subject).unwrap();
    let public_key = keys.public_key(key).unwrap();
    let serial = Serial::from_bytes(&serial.to_be_bytes());
    let template = Template {
        profile,
        subject: &subject,
        public_key: &public_key,
        serial: &serial,
        not_before: UnixTime::from_rfc3339("2026-01-01T00:00:00Z").unwrap(),
        not_after: UnixTime::from_rfc3339(until).unwrap(),
        alt_names: &[],
        ocsp_url: None,
        crl_url: None,
        issuer_url: None,
    };
    block_on(async {
        match issuer {
            Some((certificate, key)) => {
                let issuer = Issuer { certificate, key, signer: keys };
                issue::issue(&template, &issuer).await
            }
            None => issue::self_signed(&template, key, keys).await,
        }
    })
    .unwrap()
}

/// A configuration of one instance with one authority, whose certificates name members as EJBCA does.
pub(crate) fn configuration(
    instance: &str,
    root: &Certificate,
    intermediates: Vec<Certificate>,
    responder: Option<&Certificate>,
    tsa: Option<&Certificate>,
) -> GlobalConf {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), &parameters(instance, root, intermediates, responder, tsa));
    GlobalConf::load_dir(directory.path()).unwrap()
}

fn parameters(
    instance: &str,
    root: &Certificate,
    intermediates: Vec<Certificate>,
    responder: Option<&Certificate>,
    tsa: Option<&Certificate>,
) -> SharedParams {
    let ca = |certificate: Certificate| CaInfo {
        certificate,
        ocsp: vec![OcspResponder {
            url: "http://ocsp.test/".to_owned(),
            certificate: responder.cloned(),
            cost: None,
        }],
    };
    SharedParams {
        instance: instance.to_owned(),
        sources: vec![Source {
            address: "cs.test".to_owned(),
            internal_certificates: vec![root.der().to_vec()],
            external_certificates: vec![root.der().to_vec()],
        }],
        approved_cas: vec![ApprovedCa {
            name: "CA".to_owned(),
            authentication_only: false,
            top: ca(root.clone()),
            intermediates: intermediates.into_iter().map(ca).collect(),
            certificate_profile:
                "ee.ria.xroad.common.certificateprofile.impl.EjbcaCertificateProfileInfoProvider".to_owned(),
            default_csr_format: None,
            acme: None,
        }],
        approved_tsas: tsa
            .map(|certificate| ApprovedTsa {
                name: "TSA".to_owned(),
                url: "http://tsa.test/".to_owned(),
                certificate: certificate.clone(),
                cost: None,
            })
            .into_iter()
            .collect(),
        members: Vec::new(),
        servers: Vec::new(),
        global_groups: Vec::new(),
        settings: GlobalSettings { member_classes: Vec::new(), ocsp_freshness: Duration::from_secs(3600) },
    }
}

/// Writes a configuration as a gateway keeps it.
pub(crate) fn write_configuration(directory: &Path, parameters: &SharedParams) {
    let folder = directory.join(&parameters.instance);
    fs::create_dir(&folder).unwrap();
    let write = |path: PathBuf, text: &str| {
        #[expect(clippy::disallowed_methods, reason = "a directory of this test")]
        fs::write(path, text).unwrap();
    };
    write(directory.join("instance-identifier"), &parameters.instance);
    write(folder.join("shared-params.xml"), &parameters.write(Version::V5).unwrap());
    write(folder.join("shared-params.xml.metadata"), r#"{"configurationVersion":"5"}"#);
}
