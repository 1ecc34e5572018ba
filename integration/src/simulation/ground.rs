//! What all seeds stand on, made once: keys, certificates, the global configuration, the settings of both gateways.
//!
//! Keys and certificates are new in every process, but as long as in every other: where a message is cut does not depend
//! on them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::UnixTime;
use cert_authority::crypto::PrivateKey;
use cert_authority::durable;
use cert_authority::keys::{KeyId, KeyType};
use cert_authority::ocsp::{self, CertId, CertStatus, Responder, SingleResponse};
use cert_authority::tlog::{NoteSigner, SignatureType};
use cert_authority::x509::issue::{self, Issuer, Profile, Template};
use cert_authority::x509::{Certificate, Name, Serial};
use conf::client::ConfHandle;
use conf::identifier::{ClientId, ServerId};
use conf::shared_params::{
    ApprovedCa, CaInfo, GlobalSettings, Member, MemberClass, OcspResponder, Server, SharedParams, Source,
    Subsystem,
};
use conf::snapshot::GlobalConf;
use conf::version::Version;
use futures_util::FutureExt as _;
use gateway::config::Config;
use gateway::evidence::signature::SigningKey;
use gateway::serverconf::ServerConf;

use crate::one_key::OneKey;

const INSTANCE: &str = "EE";
const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaSha256;
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// When every seed begins: an hour before midnight, when the next day's data key is made.
pub(super) const BEGIN: UnixTime = UnixTime::from_secs(1_770_073_200);
/// The origin of the checkpoints.
pub(super) const ORIGIN: &str = "simulation.example/log";

/// A gateway's part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that asks.
    Consumer,
    /// The one that has the service.
    Provider,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Consumer, Self::Provider];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Provider => "provider",
        }
    }

    const fn member(self) -> &'static str {
        match self {
            Self::Consumer => "EE/GOV/consumer",
            Self::Provider => "EE/GOV/provider",
        }
    }

    /// Its subsystem.
    pub(super) const fn client(self) -> &'static str {
        match self {
            Self::Consumer => "EE/GOV/consumer/portal",
            Self::Provider => "EE/GOV/provider/register",
        }
    }

    const fn server(self) -> &'static str {
        match self {
            Self::Consumer => "EE/GOV/consumer/ss1",
            Self::Provider => "EE/GOV/provider/ss1",
        }
    }
}

/// What a gateway is, whatever happens to it.
pub(super) struct Identity {
    pub(super) server: ServerId,
    pub(super) settings: Arc<ServerConf>,
    pub(super) key: Arc<SigningKey>,
}

/// What all seeds stand on.
pub(super) struct Ground {
    pub(super) key: OneKey,
    pub(super) conf: ConfHandle,
    pub(super) global: Arc<GlobalConf>,
    consumer: Identity,
    provider: Identity,
    pub(super) checkpoints: NoteSigner,
}

impl Ground {
    pub(super) fn new() -> Result<Self, String> {
        let key = key(KeyType::EcP256)?;
        let only = OneKey(key);
        let name = Name::parse_rfc4514("C=EE, O=Simulation, CN=Authority").map_err(said)?;
        let id = only.0.public_key().key_id();
        let first = Serial::from_bytes(&[1]);
        let root =
            Template { profile: Profile::RootCa { path_len: None }, ..template(&only.0, &name, &first) };
        let authority = of_usual_length(|| {
            let made = issue::self_signed(&root, &id, &only).now_or_never();
            made.ok_or("not at once")?.map_err(said)
        })?;
        let identity = |side: Side, number: u8| -> Result<Identity, String> {
            let subject = side.member().split('/').zip(["C", "O", "CN"]);
            let subject: Vec<String> = subject.map(|(value, kind)| format!("{kind}={value}")).collect();
            let subject = Name::parse_rfc4514(&subject.join(", ")).map_err(said)?;
            let serial = Serial::from_bytes(&[number]);
            let issuer = Issuer { certificate: &authority, key: &id, signer: &only };
            let certificate = of_usual_length(|| {
                let made = issue::issue(&template(&only.0, &subject, &serial), &issuer).now_or_never();
                made.ok_or("not at once")?.map_err(said)
            })?;
            let ocsp = status(&only, &id, &authority, &certificate)?;
            let key = SigningKey::new(id.clone(), certificate, &[], &[ocsp], ALGORITHM);
            let text = settings(side);
            let config = Config::parse(&text, Path::new("")).map_err(said)?;
            Ok(Identity {
                server: side.server().parse().map_err(said)?,
                settings: Arc::new(ServerConf::new(&config, &text, None)),
                key: Arc::new(key),
            })
        };
        let (consumer, provider) = (identity(Side::Consumer, 2)?, identity(Side::Provider, 3)?);
        let conf = ConfHandle::fixed(global_conf(&authority)?);
        let global = conf.last_good().ok_or("no configuration")?;
        let checkpoints = key_of_notes()?;
        Ok(Self { key: only, conf, global, consumer, provider, checkpoints })
    }

    pub(super) const fn identity(&self, side: Side) -> &Identity {
        match side {
            Side::Consumer => &self.consumer,
            Side::Provider => &self.provider,
        }
    }
}

/// An error in words.
pub(super) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn key(of: KeyType) -> Result<PrivateKey, String> {
    PrivateKey::from_pkcs8(&PrivateKey::generate(of).map_err(said)?).map_err(said)
}

fn key_of_notes() -> Result<NoteSigner, String> {
    let key = key(KeyType::Ed25519)?;
    let id = key.public_key().key_id();
    NoteSigner::new(ORIGIN, SignatureType::Ed25519, id, Arc::new(OneKey(key))).map_err(said)
}

/// In DER the numbers of a signature by an elliptic curve are as long as they need to be: 64 bytes and twice their heads in
/// one of four cases.
fn of_usual_length(mut make: impl FnMut() -> Result<Certificate, String>) -> Result<Certificate, String> {
    loop {
        let made = make()?;
        if made.signature().len() == USUAL_SIGNATURE {
            return Ok(made);
        }
    }
}

const USUAL_SIGNATURE: usize = 70;

fn template<'a>(key: &'a PrivateKey, subject: &'a Name, serial: &'a Serial) -> Template<'a> {
    Template {
        profile: Profile::Sign,
        subject,
        public_key: key.public_key(),
        serial,
        not_before: BEGIN - YEAR,
        not_after: BEGIN + YEAR,
        alt_names: &[],
        ocsp_url: None,
        crl_url: None,
        issuer_url: None,
    }
}

/// The word of the authority that a certificate is not revoked.
fn status(key: &OneKey, id: &KeyId, authority: &Certificate, of: &Certificate) -> Result<Bytes, String> {
    let responder = Responder { certificate: authority.clone(), key: id.clone(), algorithm: ALGORITHM };
    let single = || -> Result<SingleResponse, String> {
        Ok(SingleResponse {
            cert_id: CertId::new(DigestAlgorithm::Sha1, of, authority).map_err(said)?,
            status: CertStatus::Good,
            this_update: BEGIN - Duration::from_secs(24 * 3600),
            next_update: Some(BEGIN + YEAR),
        })
    };
    let mut longest = Bytes::new();
    // The longest of many is as long in every process.
    for _ in 0..64 {
        let at = BEGIN - Duration::from_secs(24 * 3600);
        let made = ocsp::respond(&responder, &[single()?], None, at, key).now_or_never();
        let made = Bytes::from(made.ok_or("not at once")?.map_err(said)?);
        if made.len() > longest.len() {
            longest = made;
        }
    }
    Ok(longest)
}

fn settings(side: Side) -> String {
    let (server, client) = (side.server(), side.client());
    let head = format!(
        "[server]\nid = \"{server}\"\n[configuration]\nanchor = \"anchor.xml\"\n\
         [[client]]\nid = \"{client}\"\nauthentication = \"http\"\n"
    );
    match side {
        Side::Consumer => head,
        Side::Provider => format!(
            "{head}[[client.service]]\ncode = \"echo\"\nurl = \"http://service.test/\"\n\
             [[client.service.allow]]\nto = \"{}\"\n",
            Side::Consumer.client()
        ),
    }
}

fn global_conf(authority: &Certificate) -> Result<GlobalConf, String> {
    let anchor = authority.der().to_vec();
    let ca = CaInfo {
        certificate: authority.clone(),
        ocsp: vec![OcspResponder { url: "http://ocsp.test/".to_owned(), certificate: None, cost: None }],
    };
    let profile = "ee.ria.xroad.common.certificateprofile.impl.EjbcaCertificateProfileInfoProvider";
    let mut members = Vec::new();
    let mut servers = Vec::new();
    for side in Side::BOTH {
        let client: ClientId = side.client().parse().map_err(said)?;
        let server: ServerId = side.server().parse().map_err(said)?;
        members.push(Member {
            id: client.member().clone(),
            name: side.name().to_owned(),
            subsystems: vec![Subsystem { id: client.clone(), name: None }],
        });
        servers.push(Server {
            owner: server.owner().clone(),
            code: server.code().to_owned(),
            address: Some(format!("{}.test", side.name())),
            auth_cert_hashes: Vec::new(),
            clients: vec![client],
            maintenance: None,
        });
    }
    let parameters = SharedParams {
        instance: INSTANCE.to_owned(),
        sources: vec![Source {
            address: "cs.test".to_owned(),
            internal_certificates: vec![anchor.clone()],
            external_certificates: vec![anchor],
        }],
        approved_cas: vec![ApprovedCa {
            name: authority.subject().rfc2253(),
            authentication_only: false,
            intermediates: Vec::new(),
            top: ca,
            certificate_profile: profile.to_owned(),
            default_csr_format: None,
            acme: None,
        }],
        approved_tsas: Vec::new(),
        members,
        servers,
        global_groups: Vec::new(),
        settings: GlobalSettings {
            member_classes: vec![MemberClass { code: "GOV".to_owned(), description: "GOV".to_owned() }],
            ocsp_freshness: Duration::from_secs(7 * 24 * 3600),
        },
    };
    let scratch = tempfile::tempdir().map_err(said)?;
    let folder = scratch.path().join(INSTANCE);
    fs::create_dir_all(&folder).map_err(said)?;
    let write = |path: &Path, text: &str| durable::write(path, text.as_bytes()).map_err(said);
    write(&scratch.path().join("instance-identifier"), INSTANCE)?;
    write(&folder.join("shared-params.xml"), &parameters.write(Version::V5).map_err(said)?)?;
    write(&folder.join("shared-params.xml.metadata"), r#"{"configurationVersion":"5"}"#)?;
    GlobalConf::load_dir(scratch.path()).map_err(said)
}
