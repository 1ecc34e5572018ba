//! The published configuration: signed, served over HTTP, and at the mercy of the test.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::SignatureAlgorithm;
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::http as small_http;
use conf::anchor::{Anchor, AnchorSource};
use conf::directory::{Contents, File, PartKind};
use conf::identifier::{ClientId, ServerId};
use conf::optional_parts;
use conf::private_params::{ManagementService, PrivateParams};
use conf::shared_params::{
    ApprovedCa, ApprovedTsa, CaInfo, GlobalSettings, MemberClass, OcspResponder, SharedParams, Source,
};
use conf::version::Version;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::authority::{FRESHNESS, Holder, Trust};
use super::{INSTANCE, TurnedClock, client, lock, soon};

/// What a source gives, by path.
pub type Served = HashMap<String, Bytes>;

/// Path of the signed directory.
const DIRECTORY: &str = "/internalconf";

/// Until when a configuration is valid, usually.
const VALIDITY: Duration = Duration::from_secs(600);

/// The configuration of the instance.
pub struct Network {
    clock: TurnedClock,
    signer: Holder,
    address: String,
    shared: Mutex<SharedParams>,
    monitoring: Mutex<Option<ClientId>>,
    quic: Mutex<BTreeMap<ServerId, u16>>,
    expires: Mutex<UnixTime>,
    served: Arc<Mutex<Served>>,
    fetches: Arc<AtomicU64>,
}

impl Network {
    pub(crate) async fn start(host: Ipv4Addr, clock: &TurnedClock, trust: &Trust) -> Self {
        let signer = trust.other.issue(cert_authority::x509::issue::Profile::Tls, "CN=Configuration").await;
        let served: Arc<Mutex<Served>> = Arc::default();
        let listener = TcpListener::bind((host, 8889)).await.unwrap();
        let fetches: Arc<AtomicU64> = Arc::default();
        let (given, counted) = (Arc::clone(&served), Arc::clone(&fetches));
        let handler = move |request: Request<Incoming>| {
            let path = match request.uri().query() {
                None | Some("version=6") => request.uri().path(),
                Some(_) => "",
            };
            let found = lock(&given).get(path).cloned();
            if path == DIRECTORY {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            std::future::ready(match found {
                Some(bytes) => small_http::respond(StatusCode::OK, "application/octet-stream", bytes),
                None => small_http::respond_text(StatusCode::NOT_FOUND, "not found"),
            })
        };
        tokio::spawn(small_http::serve(listener, handler, std::future::pending()));
        let address = format!("{host}:8889");
        let shared = shared(trust, &address, &signer);
        let (shared, expires) = (Mutex::new(shared), Mutex::new(clock.now()));
        Self {
            clock: clock.clone(),
            signer,
            address,
            shared,
            monitoring: Mutex::default(),
            quic: Mutex::default(),
            expires,
            served,
            fetches,
        }
    }

    /// The anchor of this configuration.
    pub fn anchor(&self) -> String {
        let anchor = Anchor {
            generated_at: Some(self.clock.now()),
            instance: INSTANCE.to_owned(),
            sources: vec![AnchorSource {
                url: format!("http://{}{DIRECTORY}", self.address),
                certificates: vec![self.signer.certificate.der().to_vec()],
            }],
        };
        anchor.write()
    }

    /// Changes the register and publishes it.
    pub async fn publish(&self, change: impl FnOnce(&mut SharedParams)) {
        self.publish_until(self.clock.now() + VALIDITY, change).await;
    }

    /// The same, valid until then or a second longer than the one before.
    pub async fn publish_until(&self, expires: UnixTime, change: impl FnOnce(&mut SharedParams)) {
        let shared = {
            let mut shared = lock(&self.shared);
            change(&mut shared);
            shared.clone()
        };
        let expires = {
            let mut last = lock(&self.expires);
            *last = expires.max(*last + Duration::from_secs(1));
            *last
        };
        let served = self.sign(INSTANCE, expires, &shared).await;
        self.serve(served);
    }

    /// Who may see every server, from the next configuration on.
    pub fn monitored_by(&self, client: ClientId) {
        *lock(&self.monitoring) = Some(client);
    }

    /// At which port a server speaks QUIC, from the next configuration on.
    pub fn speaks_quic(&self, server: ServerId, port: u16) {
        lock(&self.quic).insert(server, port);
    }

    /// Signs a configuration of any instance, without publishing it.
    pub async fn sign(&self, instance: &str, expires: UnixTime, shared: &SharedParams) -> Served {
        let private = PrivateParams {
            instance: instance.to_owned(),
            anchors: Vec::new(),
            management: ManagementService {
                auth_cert_registration_address: "http://127.0.0.1/".to_owned(),
                auth_cert_registration_certificate: None,
                provider: client("2002", "registry"),
            },
            timestamping_interval: Duration::from_secs(60),
        };
        let mut shared = shared.clone();
        shared.instance = instance.to_owned();
        let place = format!("/V6/{}", expires.as_millis());
        let monitoring = lock(&self.monitoring).clone();
        let monitoring = monitoring.map(|client| {
            (PartKind::Monitoring, "monitoring-params.xml", optional_parts::write_monitoring(Some(&client)))
        });
        let quic = lock(&self.quic).clone();
        let quic = (!quic.is_empty())
            .then(|| (PartKind::Quic, "passerelle-quic.xml", optional_parts::write_quic(&quic)));
        let parts = [
            (PartKind::PrivateParameters, "private-params.xml", private.write()),
            (PartKind::SharedParameters, "shared-params.xml", shared.write(Version::V6).unwrap()),
            (
                PartKind::OcspFetchInterval,
                "fetchinterval-params.xml",
                optional_parts::write_fetch_interval(Duration::from_secs(60)),
            ),
        ];
        let place = |(kind, name, text)| (kind, format!("{place}/{name}"), Bytes::from(text));
        let parts: Vec<_> = parts.into_iter().chain(monitoring).chain(quic).map(place).collect();
        let files: Vec<File<'_>> =
            parts.iter().map(|(kind, location, bytes)| File { kind, location, bytes }).collect();
        let contents = Contents { instance, version: Version::V6, expires, files: &files };
        let signed = contents
            .sign(
                self.signer.key.as_ref(),
                &self.signer.key.id,
                SignatureAlgorithm::EcdsaSha256,
                self.signer.certificate.der(),
            )
            .await
            .unwrap();
        let mut served: Served = parts.into_iter().map(|(_, location, bytes)| (location, bytes)).collect();
        served.insert(DIRECTORY.to_owned(), signed.into());
        served
    }

    /// What stands in the register.
    pub fn shared(&self) -> SharedParams {
        lock(&self.shared).clone()
    }

    /// What the source gives now.
    pub fn served(&self) -> Served {
        lock(&self.served).clone()
    }

    /// Lets the source give something else.
    pub fn serve(&self, served: Served) {
        *lock(&self.served) = served;
    }

    /// The signed directory that the source gives.
    pub fn directory(&self) -> Bytes {
        lock(&self.served).get(DIRECTORY).cloned().unwrap_or_default()
    }

    /// Waits until each of two gateways has asked for the directory, and dealt with what it got.
    pub async fn is_fetched(&self) {
        let before = self.fetches.load(Ordering::SeqCst);
        // A round begins only after the one before has ended: eight are enough for both, whatever the order.
        soon("gateways ask for the configuration", || self.fetches.load(Ordering::SeqCst) >= before + 8)
            .await;
    }

    /// When the configuration that was published last expires.
    pub fn expires(&self) -> UnixTime {
        *lock(&self.expires)
    }
}

fn shared(trust: &Trust, address: &str, signer: &Holder) -> SharedParams {
    let der = signer.certificate.der().to_vec();
    SharedParams {
        instance: INSTANCE.to_owned(),
        sources: vec![Source {
            address: address.to_owned(),
            internal_certificates: vec![der.clone()],
            external_certificates: vec![der],
        }],
        approved_cas: vec![ApprovedCa {
            name: "Approved CA".to_owned(),
            authentication_only: false,
            top: CaInfo {
                certificate: trust.ca.certificate.clone(),
                ocsp: vec![OcspResponder { url: trust.ocsp_url(), certificate: None, cost: None }],
            },
            intermediates: Vec::new(),
            certificate_profile:
                "ee.ria.xroad.common.certificateprofile.impl.EjbcaCertificateProfileInfoProvider".to_owned(),
            default_csr_format: None,
            acme: None,
        }],
        approved_tsas: vec![ApprovedTsa {
            name: "Stamps".to_owned(),
            url: trust.tsa_url(),
            certificate: trust.tsa.certificate.clone(),
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
            ocsp_freshness: FRESHNESS,
        },
    }
}
