//! The view that a gateway asks: the original's sample configurations, and a federation of our own.
//!
//! ```text
//! DEMO (own)   CA "Root" (Basic), CA "TLS" (authentication only), GOV/1001 with portal, GOV/2002 with registry
//!              ss1 of 1001 (client portal), ss2 of 2002 (client registry, closed for maintenance)
//! OTHER        another CA of the very same name, EJBCA profile, GOV/1001 as well
//! ```
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up has failed")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::UnixTime;
use cert_authority::error::VerifyError;
use cert_authority::keys::KeyType;
use cert_authority::x509::Certificate;
use cert_authority::x509::issue::Profile;
use conf::directory::{Contents, File, Part, PartKind, SignedDirectory};
use conf::error::{ConfError, ProfileError};
use conf::identifier::{ClientId, GlobalGroupId, MemberId, ServerId};
use conf::shared_params::{
    ApprovedCa, CaInfo, GlobalGroup, Maintenance, Member, Server, SharedParams, Subsystem,
};
use conf::snapshot::{GlobalConf, InstanceParts};
use conf::version::Version;
use world::{Holder, Keys, conformance, issued, now, root, shared_params};

#[test]
fn conformance_configurations_are_loaded_or_refused() {
    let Some(dir) = conformance("global-configuration") else { return };
    // Configuration, then the instances that are read, or why there is no view.
    let missing = |what: &str| Err(ConfError::Missing(what.to_owned()));
    let table: [(&str, Result<&[&str], ConfError>); 9] = [
        ("globalconf_empty", missing("EE")),
        ("globalconf_good2_v3", Ok(&["DEV"])),
        ("globalconf_good_v2", Ok(&["EE", "bar", "foo"])),
        ("globalconf_good_v3", Ok(&["EE", "bar", "foo_v2"])),
        ("globalconf_good_v4", Ok(&["EE", "bar", "baz_v3", "foo_v2"])),
        ("globalconf_good_v5", Ok(&["EE", "bar", "baz_v3", "foo_v2", "qux_v4"])),
        ("globalconf_good_v6", Ok(&["EE", "bar", "baz_v3", "foo_v2", "quux_v5", "qux_v4"])),
        ("globalconf_malformed", missing("EE")),
        ("globalconf_missing_identifier", missing("instance-identifier")),
    ];
    for (name, expected) in table {
        let found = GlobalConf::load_dir(dir.join(name)).map(|conf| {
            assert_eq!(conf.ignored(), [], "{name}");
            conf.instances().map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(
            found,
            expected.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            "{name}"
        );
    }
}

/// What the original's own tests ask of its sample, asked of ours.
#[test]
fn conformance_configuration_answers_as_the_original_does() {
    let Some(dir) = conformance("global-configuration") else { return };
    let conf = GlobalConf::load_dir(dir.join("globalconf_good_v6")).unwrap();
    assert_eq!(conf.own_instance(), "EE");
    assert_eq!(conf.ocsp_policy(), (Duration::from_secs(42), true));
    assert_eq!(conf.member_name(&id("EE/BUSINESS/foo")), Some("Org with no address"));
    assert_eq!(conf.member_name(&id("EE/BUSINESS/nobody")), None);
    assert!(conf.client_exists(&id("EE/BUSINESS/foo/foosubsystem")));
    assert!(!conf.client_exists(&id("EE/BUSINESS/foo/other")));

    let producer: ServerId = id("EE/BUSINESS/producer/producerServerCode");
    assert_eq!(conf.server(&producer).unwrap().address.as_deref(), Some("127.0.0.1"));
    assert!(conf.server_has_client(&producer, &id("EE/BUSINESS/foo/foosubsystem")));
    assert!(conf.server_has_client(&producer, &id("EE/BUSINESS/producer")), "its owner");
    assert!(!conf.server_has_client(&producer, &id("EE/BUSINESS/foo/barsubsystemId")));
    let closed = conf.server(&id("EE/BUSINESS/foo/FooBarServerCode")).unwrap();
    assert_eq!(closed.maintenance.as_deref(), Some("Test maintenance mode"));
    let addresses: Vec<_> =
        conf.servers_of(&id("EE/BUSINESS/producer")).iter().map(|s| s.address.clone()).collect();
    assert_eq!(addresses, [Some("127.0.0.1".to_owned()), None]);

    let group: GlobalGroupId = id("EE/Test group");
    assert!(conf.global_group_has(&group, &id("EE/BUSINESS/member1/subsys")));
    assert!(conf.global_group_has(&group, &id("EE/BUSINESS/member4")));
    assert!(!conf.global_group_has(&group, &id("EE/BUSINESS/member1")));

    let (anchor, others): (Vec<_>, Vec<_>) =
        conf.ca_certificates().partition(|ca| ca.subject().common_name() == Some("Cyber"));
    assert!(!anchor.is_empty() && !others.is_empty());
    let responders: Vec<_> =
        conf.ocsp_responders(anchor[0]).iter().map(|responder| responder.url.as_str()).collect();
    assert!(responders.contains(&"http://127.0.0.1:8082/ocsp"), "{responders:?}");
    assert_eq!(conf.tsas()[0].url, "http://www.foo.bar");
    assert_eq!(conf.private().unwrap().instance, "EE");
    let names: Vec<_> =
        conf.instance("EE").unwrap().clients.iter().map(|client| client.subsystem_name.as_deref()).collect();
    assert!(names.contains(&Some("FOO Subsystem")));
}

#[test]
fn conformance_source_lists_are_read() {
    let Some(dir) = conformance("signed-directories") else { return };
    for (folder, version, sources) in
        [("V2", Version::V2, 0), ("V3", Version::V3, 1), ("V3-many-nodes", Version::V3, 3)]
    {
        let bytes = std::fs::read(dir.join(folder).join("EE/shared-params.xml")).unwrap();
        let shared = SharedParams::read(&bytes, version).unwrap();
        assert_eq!(shared.sources.len(), sources, "{folder}");
    }
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// The federation of the picture above.
struct World {
    keys: Keys,
    publisher: Holder,
    ca: Holder,
    tls_ca: Holder,
    other_ca: Holder,
    /// Authentication certificates of ss1 and ss2.
    servers: [Holder; 2],
    own: SharedParams,
    other: SharedParams,
}

impl World {
    async fn new() -> Self {
        let mut keys = Keys::default();
        let publisher = root(&mut keys, "CN=Configuration", KeyType::EcP256).await;
        let ca = root(&mut keys, "CN=Root, C=EE", KeyType::EcP256).await;
        let other_ca = root(&mut keys, "CN=Root, C=EE", KeyType::EcP256).await;
        let tls_ca = root(&mut keys, "CN=TLS, C=EE", KeyType::EcP256).await;
        let servers = [
            issued(&mut keys, &tls_ca, "CN=ss1", Profile::Auth).await,
            issued(&mut keys, &tls_ca, "CN=ss2", Profile::Auth).await,
        ];
        let mut own = shared_params("DEMO", &ca.certificate, "Basic");
        own.approved_cas.push(ApprovedCa {
            name: "TLS only".to_owned(),
            authentication_only: true,
            top: CaInfo { certificate: tls_ca.certificate.clone(), ocsp: Vec::new() },
            ..own.approved_cas[0].clone()
        });
        own.members = vec![member("DEMO/GOV/1001", "portal"), member("DEMO/GOV/2002", "registry")];
        own.servers = vec![
            server(&own.members[0], "ss1", "192.0.2.1", &servers[0].certificate),
            server(&own.members[1], "ss2", "192.0.2.2", &servers[1].certificate),
        ];
        own.servers[1].maintenance = Some(Maintenance { message: Some("Back soon".to_owned()) });
        own.global_groups = vec![GlobalGroup {
            code: "users".to_owned(),
            description: "Users".to_owned(),
            members: vec![id("DEMO/GOV/1001/portal"), id("OTHER/GOV/1001")],
        }];
        let mut other = shared_params("OTHER", &other_ca.certificate, "Ejbca");
        other.members = vec![member("OTHER/GOV/1001", "portal")];
        // It claims the certificate of one of our servers.
        other.servers = vec![server(&other.members[0], "ss1", "198.51.100.1", &servers[1].certificate)];
        Self { keys, publisher, ca, tls_ca, other_ca, servers, own, other }
    }

    /// Publishes, verifies and takes the shared parameters of an instance, as authority and client do.
    async fn parts(&self, shared: &SharedParams) -> InstanceParts {
        let text = shared.write(Version::V6).unwrap();
        InstanceParts {
            instance: shared.instance.clone(),
            expires: Some(now() + Duration::from_secs(600)),
            parts: vec![self.part(&shared.instance, PartKind::SharedParameters, text).await],
        }
    }

    async fn part(&self, instance: &str, kind: PartKind, text: String) -> Part {
        let location = format!("/V6/1/{}", kind.file_name().unwrap());
        let files = [File { kind: &kind, location: &location, bytes: text.as_bytes() }];
        let contents = Contents { instance, version: Version::V6, expires: now(), files: &files };
        let certificate = self.publisher.certificate.der();
        let bytes =
            contents.sign(&self.keys, &self.publisher.key, SignatureAlgorithm::EcdsaSha256, certificate);
        let bytes = bytes.await.unwrap();
        let directory =
            SignedDirectory::read(&bytes).unwrap().verify(instance, &[certificate.to_vec()]).unwrap();
        directory.entries()[0].accept(Bytes::from(text)).unwrap()
    }

    async fn conf(&self) -> GlobalConf {
        let instances = vec![self.parts(&self.other).await, self.parts(&self.own).await];
        GlobalConf::build("DEMO", instances, Some(now())).unwrap()
    }

    async fn signing(&mut self, subject: &str) -> Certificate {
        issued(&mut self.keys, &self.ca, subject, Profile::Sign).await.certificate
    }
}

fn member(text: &str, subsystem: &str) -> Member {
    let member: MemberId = id(text);
    let subsystems = vec![Subsystem { id: member.subsystem(subsystem).unwrap(), name: None }];
    Member { name: format!("Name of {member}"), id: member, subsystems }
}

fn server(owner: &Member, code: &str, address: &str, certificate: &Certificate) -> Server {
    Server {
        owner: owner.id.clone(),
        code: code.to_owned(),
        address: Some(address.to_owned()),
        auth_cert_hashes: vec![certificate.fingerprint(DigestAlgorithm::Sha256).as_ref().to_vec()],
        clients: vec![owner.subsystems[0].id.clone()],
        maintenance: None,
    }
}

const MEMBER_1001: &str = "CN=Ministry, serialNumber=1001, businessCategory=GOV, O=Ministry, C=EE";

#[tokio::test]
async fn members_servers_and_groups_are_found() {
    let world = World::new().await;
    let conf = world.conf().await;
    assert_eq!(conf.instances().collect::<Vec<_>>(), ["DEMO", "OTHER"]);
    assert_eq!(conf.expires(), Some(now() + Duration::from_secs(600)));
    assert_eq!(conf.first_foreign_expiry(), conf.expires());
    assert_eq!(conf.timestamping_interval(), Duration::from_secs(60));
    assert_eq!(conf.fetch_interval(), Duration::from_secs(1200));

    let portal: ClientId = id("DEMO/GOV/1001/portal");
    let ss1: ServerId = id("DEMO/GOV/1001/ss1");
    assert_eq!(conf.servers_of(&portal)[0].id, ss1);
    assert_eq!(conf.servers_of(&id("DEMO/GOV/1001"))[0].id, ss1, "the owner uses its own server");
    assert!(conf.servers_of(&id("DEMO/GOV/9")).is_empty());
    assert_eq!(conf.server(&id("DEMO/GOV/2002/ss2")).unwrap().maintenance.as_deref(), Some("Back soon"));

    let certificate = &world.servers[0].certificate;
    assert_eq!(conf.server_by_auth_cert(certificate).unwrap().id, ss1);
    assert!(conf.auth_cert_matches(certificate, &portal));
    assert!(!conf.auth_cert_matches(certificate, &id("DEMO/GOV/2002/registry")));
    assert!(conf.server_by_auth_cert(&world.ca.certificate).is_none());

    let users: GlobalGroupId = id("DEMO/users");
    assert!(conf.global_group_has(&users, &portal));
    assert!(conf.global_group_has(&users, &id("OTHER/GOV/1001")));
    assert!(!conf.global_group_has(&users, &id("DEMO/GOV/1001")));
    assert!(!conf.global_group_has(&id("OTHER/users"), &portal), "a group belongs to its instance");
    let owners: GlobalGroupId = id("DEMO/security-server-owners");
    assert!(conf.global_group_has(&owners, &id("DEMO/GOV/1001")));
    assert!(!conf.global_group_has(&owners, &portal));
}

#[tokio::test]
async fn a_listed_group_of_owners_is_not_changed() {
    let mut world = World::new().await;
    let members = vec![id("DEMO/GOV/2002")];
    let code = "security-server-owners".to_owned();
    world.own.global_groups.push(GlobalGroup { code, description: String::new(), members });
    let conf = world.conf().await;
    let owners: GlobalGroupId = id("DEMO/security-server-owners");
    assert!(conf.global_group_has(&owners, &id("DEMO/GOV/2002")));
    assert!(!conf.global_group_has(&owners, &id("DEMO/GOV/1001")));
}

#[tokio::test]
async fn another_instance_cannot_take_over_a_server_of_ours() {
    let world = World::new().await;
    let conf = world.conf().await;
    let claimed = &world.servers[1].certificate;
    assert_eq!(conf.server_by_auth_cert(claimed).unwrap().id, id("DEMO/GOV/2002/ss2"));
    assert!(!conf.auth_cert_matches(claimed, &id("DEMO/GOV/1001/portal")));
}

#[tokio::test]
async fn the_member_of_a_signing_certificate_is_found_through_its_profile() {
    let mut world = World::new().await;
    let certificate = world.signing(MEMBER_1001).await;
    let conf = world.conf().await;
    assert_eq!(conf.member_of_signing_cert(&certificate, "DEMO"), Ok(id("DEMO/GOV/1001")));
    let path = conf.chain(&certificate, &[], now()).unwrap();
    assert_eq!(path.anchor(), &world.ca.certificate);
    assert_eq!(
        conf.chain(&certificate, &[], now() + 400 * world::DAY).err(),
        Some(ConfError::Chain(VerifyError::Expired))
    );
}

#[tokio::test]
async fn an_authority_of_another_instance_cannot_name_our_members() {
    let mut world = World::new().await;
    let conf = world.conf().await;
    // Same issuer name, same subject, but issued by the authority that only OTHER approves.
    let forged = issued(&mut world.keys, &world.other_ca, MEMBER_1001, Profile::Sign).await.certificate;
    assert!(conf.chain(&forged, &[], now()).is_ok(), "it is a good certificate elsewhere");
    assert!(matches!(conf.member_of_signing_cert(&forged, "DEMO"), Err(ConfError::UnknownCa { .. })));
    let foreign =
        issued(&mut world.keys, &world.other_ca, "CN=1001, O=GOV, C=DEMO", Profile::Sign).await.certificate;
    assert_eq!(
        conf.member_of_signing_cert(&foreign, "OTHER"),
        Err(ProfileError::OtherInstance { expected: "OTHER".to_owned(), found: "DEMO".to_owned() }.into())
    );
    let honest =
        issued(&mut world.keys, &world.other_ca, "CN=1001, O=GOV, C=OTHER", Profile::Sign).await.certificate;
    assert_eq!(conf.member_of_signing_cert(&honest, "OTHER"), Ok(id("OTHER/GOV/1001")));
}

#[tokio::test]
async fn certificates_that_prove_no_member_are_refused_each_for_its_reason() {
    let mut world = World::new().await;
    let conf = world.conf().await;
    let unknown = root(&mut world.keys, "CN=Somebody", KeyType::EcP256).await;
    let stranger = issued(&mut world.keys, &unknown, MEMBER_1001, Profile::Sign).await.certificate;
    assert!(matches!(conf.member_of_signing_cert(&stranger, "DEMO"), Err(ConfError::UnknownCa { .. })));
    assert_eq!(conf.chain(&stranger, &[], now()).err(), Some(ConfError::Chain(VerifyError::UnknownIssuer)));

    let tls = issued(&mut world.keys, &world.tls_ca, MEMBER_1001, Profile::Sign).await.certificate;
    assert_eq!(
        conf.member_of_signing_cert(&tls, "DEMO"),
        Err(ConfError::AuthenticationOnlyCa("TLS only".to_owned()))
    );
    let auth = issued(&mut world.keys, &world.ca, MEMBER_1001, Profile::Auth).await.certificate;
    assert!(matches!(conf.member_of_signing_cert(&auth, "DEMO"), Err(ConfError::NotASigningCertificate(_))));
    let nameless = world.signing("CN=Ministry, O=Ministry, C=EE").await;
    assert_eq!(
        conf.member_of_signing_cert(&nameless, "DEMO"),
        Err(ProfileError::MissingAttribute("business category").into())
    );
    let certificate = world.signing(MEMBER_1001).await;
    assert!(matches!(conf.member_of_signing_cert(&certificate, "NOWHERE"), Err(ConfError::UnknownCa { .. })));
}

#[tokio::test]
async fn an_unknown_profile_stops_only_those_who_need_it() {
    let mut world = World::new().await;
    world.own.approved_cas[0].certificate_profile = "com.example.Own".to_owned();
    let certificate = world.signing(MEMBER_1001).await;
    let conf = world.conf().await;
    assert_eq!(
        conf.member_of_signing_cert(&certificate, "DEMO"),
        Err(ProfileError::Unknown("com.example.Own".to_owned()).into())
    );
}

#[tokio::test]
async fn without_the_own_instance_there_is_no_view() {
    let world = World::new().await;
    let other = world.parts(&world.other).await;
    assert_eq!(
        GlobalConf::build("DEMO", vec![other.clone()], None).err(),
        Some(ConfError::Missing("DEMO".to_owned()))
    );
    let swapped = InstanceParts { instance: "DEMO".to_owned(), ..other };
    assert_eq!(
        GlobalConf::build("DEMO", vec![swapped], None).err(),
        Some(ConfError::OtherInstance { expected: "DEMO".to_owned(), found: "OTHER".to_owned() })
    );
    let empty = InstanceParts { instance: "DEMO".to_owned(), expires: None, parts: Vec::new() };
    assert_eq!(
        GlobalConf::build("DEMO", vec![empty], None).err(),
        Some(ConfError::MissingPart { instance: "DEMO".to_owned(), part: "SHARED-PARAMETERS".to_owned() })
    );
}

#[tokio::test]
async fn a_federated_instance_that_is_broken_or_expired_is_left_out_and_told() {
    let world = World::new().await;
    let own = world.parts(&world.own).await;
    let other = world.parts(&world.other).await;
    let late = now() + Duration::from_secs(601);
    let build = |other: InstanceParts, at: Option<UnixTime>| {
        let conf = GlobalConf::build("DEMO", vec![own.clone(), other], at).unwrap();
        assert!(conf.client_exists(&id("DEMO/GOV/1001/portal")));
        let left_out = !conf.client_exists(&id("OTHER/GOV/1001"));
        assert_eq!(left_out, !conf.ignored().is_empty());
        conf.ignored().first().map(|(_, error)| error.clone())
    };
    assert_eq!(build(other.clone(), Some(now())), None);
    assert_eq!(build(other.clone(), None), None);
    assert!(matches!(build(other.clone(), Some(late)), Some(ConfError::Expired { .. })));
    let text = "<conf".to_owned();
    let parts = vec![world.part("OTHER", PartKind::SharedParameters, text).await];
    assert!(matches!(
        build(InstanceParts { parts, ..other.clone() }, None),
        Some(ConfError::Malformed { .. })
    ));
    let twice = GlobalConf::build("DEMO", vec![own.clone(), other.clone(), other], None).unwrap();
    assert_eq!(twice.ignored().len(), 1);
}

#[tokio::test]
async fn optional_parts_are_obeyed() {
    let world = World::new().await;
    let mut own = world.parts(&world.own).await;
    for (kind, text) in [
        (PartKind::Monitoring, conf::optional_parts::write_monitoring(Some(&id("DEMO/GOV/1001/portal")))),
        (PartKind::OcspNextUpdate, conf::optional_parts::write_next_update(false)),
        (PartKind::OcspFetchInterval, conf::optional_parts::write_fetch_interval(Duration::from_secs(300))),
    ] {
        own.parts.push(world.part("DEMO", kind, text).await);
    }
    let conf = GlobalConf::build("DEMO", vec![own], None).unwrap();
    assert_eq!(conf.ocsp_policy(), (Duration::from_secs(3600), false));
    assert_eq!(conf.fetch_interval(), Duration::from_secs(300));
    assert_eq!(conf.monitoring_client(), Some(&id("DEMO/GOV/1001/portal")));
}

#[tokio::test]
async fn the_digest_is_of_the_parts_and_not_of_their_order() {
    let world = World::new().await;
    let (own, other) = (world.parts(&world.own).await, world.parts(&world.other).await);
    let digest = |parts| GlobalConf::build("DEMO", parts, None).unwrap().digest().hex();
    let both = digest(vec![own.clone(), other.clone()]);
    assert_eq!(digest(vec![other, own.clone()]), both);
    assert_ne!(digest(vec![own]), both);
}

/// A directory as X-Road keeps it, and one as an auditor unpacks it.
#[tokio::test]
async fn a_directory_is_loaded_in_both_shapes() {
    let world = World::new().await;
    let text = world.own.write(Version::V6).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &std::path::Path, content: &str| {
        use std::io::Write as _;
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().write_all(content.as_bytes()).unwrap();
    };
    let unpacked = dir.path().join("verificationconf");
    write(&unpacked.join("instance-identifier"), "DEMO");
    write(&unpacked.join("DEMO/shared-params.xml"), &text);
    write(&unpacked.join("DEMO/shared-params.xml.metadata"), r#"{"configurationVersion":"6"}"#);
    let conf = GlobalConf::load_dir(dir.path()).unwrap();
    assert_eq!(conf.expires(), None);
    assert_eq!(GlobalConf::load_dir(&unpacked).unwrap().digest(), conf.digest());

    write(
        &unpacked.join("DEMO/shared-params.xml.metadata"),
        r#"{"contentIdentifier":"SHARED-PARAMETERS","expirationDate":"2001-01-01T00:00:00Z","configurationVersion":"6"}"#,
    );
    assert!(GlobalConf::load_dir(&unpacked).is_ok(), "expiry is ignored");
    write(&unpacked.join("DEMO/shared-params.xml.metadata"), "{");
    assert!(matches!(GlobalConf::load_dir(&unpacked), Err(ConfError::Io { .. })));
    std::fs::remove_file(unpacked.join("DEMO/shared-params.xml.metadata")).unwrap();
    assert!(
        matches!(GlobalConf::load_dir(&unpacked), Err(ConfError::Malformed { .. })),
        "then it is version 2"
    );
    assert_eq!(
        GlobalConf::load_dir("/nonexistent").err(),
        Some(ConfError::Missing("instance-identifier".to_owned()))
    );
}
