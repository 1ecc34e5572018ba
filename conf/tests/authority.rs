//! The authority's register and what is published from it.

#![expect(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod common;

use common::REGISTER;
use common::world::{World, put};
use conf::authority::{Registry, SigningKeyError, SourceKind};

/// The problems of a register in which `from` is replaced by `to`, as `line key`.
fn problems_with(changes: &[(&str, &str)]) -> Vec<String> {
    let folder = common::authority();
    let mut register = REGISTER.to_owned();
    for (from, to) in changes {
        assert!(register.contains(from), "{from} is not in the register");
        register = register.replacen(from, to, 1);
    }
    let path = common::write(folder.path(), &register);
    match Registry::load(&path) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.0.iter().map(|p| format!("{}: {}", p.key, p.reason)).collect(),
    }
}

#[test]
fn a_sound_register_is_resolved() {
    let folder = common::authority();
    let registry = Registry::load(&folder.path().join("authority.toml")).unwrap();
    assert_eq!(registry.shared.members.len(), 2);
    assert_eq!(registry.shared.servers.len(), 2);
    assert_eq!(registry.shared.servers[0].auth_cert_hashes[0].len(), 32);
    assert_eq!(registry.shared.global_groups[0].code, "security-server-owners");
    assert_eq!(registry.shared.global_groups[0].members.len(), 2);
    assert_eq!(registry.private.management.provider.to_string(), "DEMO/GOV/2002/registry");
    assert_eq!(registry.directory, folder.path().join("public"));
    assert_eq!(registry.files.len(), 5, "the register, one CA, one TSA, two servers");
}

/// What is changed in the register, into what, and the fault that is told.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "\"DEMO/GOV/1001\"\nname",
        "\"DEMO/COM/1001\"\nname",
        "member[1].id: class COM does not stand under [classes]",
    ),
    ("\"DEMO/GOV/1001\"\nname", "\"EE/GOV/1001\"\nname", "member[1].id: is not of instance DEMO"),
    ("\"DEMO/GOV/2002\"\nname", "\"DEMO/GOV/1001\"\nname", "member[2].id: stands here twice"),
    ("\"Ministry of Examples\"", "\" \"", "member[1].name: is empty"),
    ("owner = \"DEMO/GOV/1001\"", "owner = \"DEMO/GOV/9\"", "server[1].owner: is no member of this file"),
    (
        "clients = [\"DEMO/GOV/1001/portal\"]",
        "clients = [\"DEMO/GOV/1001/x\"]",
        "server[1].clients: is no member or subsystem of this file",
    ),
    (
        "address = \"127.0.0.11\"",
        "address = \"127.0.0.11:5500\"",
        "server[1].address: is no host name or address without port",
    ),
    (
        "certificates/ss2.pem",
        "certificates/ss1.pem",
        "server[2].certificates: belongs to two servers, or stands here twice",
    ),
    (
        "certificates/ss2.pem",
        "certificates/stranger.pem",
        "server[2].certificates: is not issued by any CA of this file",
    ),
    (
        "certificates/ca.pem",
        "certificates/ss1.pem",
        "ca[1].certificate: is not the certificate of a certification authority",
    ),
    (
        "certificates/tsa.pem",
        "certificates/none.pem",
        "tsa[1].certificate: certificates/none.pem: No such file or directory (os error 2)",
    ),
    (
        "profile = \"basic\"",
        "profile = \"basik\"",
        "ca[1].profile: is neither a profile that is known here nor the class name of another one",
    ),
    (
        "\"http://127.0.0.1:7000/tsa\"",
        "\"ftp://127.0.0.1/tsa\"",
        "tsa[1].url: is no http:// or https:// address",
    ),
    ("code = \"ministries\"", "code = \"security-server-owners\"", "group[1].code: this group keeps itself"),
    ("\"ELSEWHERE/GOV/1/x\"", "\"DEMO/GOV/1/x\"", "group[1].members: is no member or subsystem of this file"),
    (
        "provider = \"DEMO/GOV/2002/registry\"",
        "provider = \"DEMO/GOV/2002/r\"",
        "management.provider: is no member or subsystem of this file",
    ),
    ("sources = [\"127.0.0.1:7001\"]", "sources = []", "sources: at least one is needed"),
    ("sources = [\"127.0.0.1:7001\"]", "sources = [\"http://h\"]", "sources: is no host or host:port"),
    (
        "directory = \"public\"",
        "directory = \"public\"\nvalidity = \"60 s\"",
        "publish.validity: must be longer than publish.every",
    ),
    (
        "directory = \"public\"",
        "directory = \"public\"\nevery = \"60\"",
        "publish.every: a duration needs a unit: \"60 s\"",
    ),
];

#[test]
fn each_fault_is_found() {
    for (from, to, problem) in FAULTS {
        let problems = problems_with(&[(from, to)]);
        assert!(problems.contains(&(*problem).to_owned()), "{to}: {problems:?}");
    }
}

#[test]
fn all_faults_are_told_together_with_their_lines() {
    let folder = common::authority();
    let register = REGISTER
        .replace("certificates/tsa.pem", "missing.pem")
        .replace("owner = \"DEMO/GOV/2002\"", "owner = \"DEMO/GOV/3\"");
    let path = common::write(folder.path(), &register);
    let error = Registry::load(&path).unwrap_err();
    let line = |text: &str| register.lines().position(|line| line.contains(text)).map(|n| n + 1);
    let lines: Vec<_> = error.problems.0.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [line("missing.pem"), line("DEMO/GOV/3")]);
    assert!(
        error.to_string().contains("line 31: server[2].owner")
            || error.to_string().contains("server[2].owner")
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Registry::load(std::path::Path::new("/nowhere/authority.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/authority.toml:"), "{error}");
}

#[tokio::test]
async fn published_parts_are_valid_under_the_schemas_of_their_versions() {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the conformance data lies is a matter of the machine"
    )]
    let Ok(conformance) = std::env::var("CONFORMANCE_DIR") else {
        eprintln!("not run: CONFORMANCE_DIR is not set");
        return;
    };
    let schemas = std::path::Path::new(&conformance).join("xroad-7.8.0/schemas");
    let world = World::new().await;
    put(
        &world.path("other.xml"),
        world.anchor(SourceKind::External).write().replace("DEMO", "OTHER").as_bytes(),
    );
    world.edit("[[group]]", "[[federated]]\nanchor = \"other.xml\"\n[[group]]");
    world.edit(
        "profile = \"basic\"",
        "profile = \"ejbca\"\nrequest_format = \"der\"\nauthentication_only = true",
    );
    world.edit("[[tsa]]", "[ca.acme]\ndirectory = \"https://acme.example.org/d\"\nip_address = \"192.0.2.1\"\nsigning_profile = \"s\"\n[[tsa]]\ncost = \"paid\"");
    world.edit("[classes]", "[monitoring]\nclient = \"DEMO/GOV/1001\"\n[classes]");
    world.advance(60);
    world.publish().await;
    let mut judged = 0;
    for version in ["3", "4", "5", "6"] {
        let directory =
            std::fs::read_to_string(world.path(&format!("public/V{version}/internalconf"))).unwrap();
        for location in directory.lines().filter_map(|line| line.strip_prefix("Content-location: /")) {
            let (_, name) = location.rsplit_once('/').unwrap();
            let schema = match name {
                "shared-params.xml" => format!("globalconf/v{version}/shared-parameters.xsd"),
                "private-params.xml" => "globalconf/v3/private-parameters.xsd".to_owned(),
                "monitoring-params.xml" => "monitoring-conf.xsd".to_owned(),
                "nextupdate-params.xml" => "ocsp-nextupdate-conf.xsd".to_owned(),
                "fetchinterval-params.xml" => "ocsp-fetchinterval-conf.xsd".to_owned(),
                other => panic!("{other} is published without a schema"),
            };
            let output = std::process::Command::new("xmllint")
                .args(["--noout", "--nonet", "--schema"])
                .args([schemas.join(&schema), world.path("public").join(location)])
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "V{version} {name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            judged += 1;
        }
    }
    assert_eq!(judged, 20);
}

/// The bytes of the inner multipart, its boundary lines included.
fn signed_bytes(directory: &str) -> &str {
    let inner = directory.split("boundary=").nth(2).unwrap().lines().next().unwrap();
    let begin = directory.find(&format!("\r\n--{inner}\r\n")).unwrap() + 2;
    let end = directory.find(&format!("--{inner}--\r\n")).unwrap() + inner.len() + 6;
    &directory[begin..end]
}

#[tokio::test]
async fn openssl_verifies_the_signature_over_the_signed_bytes() {
    let world = World::new().await;
    for kind in SourceKind::ALL {
        let certificate = world.keys().active(kind).unwrap().certificate.to_pem();
        put(&world.path("certificate.pem"), certificate.as_bytes());
        let in_folder = |name: &str| world.path(name).display().to_string();
        let key = common::openssl(&format!("x509 -in {} -noout -pubkey", in_folder("certificate.pem")));
        put(&world.path("key.pem"), &key);
        for version in 3..=6 {
            let path = world.path(&format!("public/V{version}/{}", kind.path()));
            let directory = std::fs::read_to_string(path).unwrap();
            put(&world.path("signed"), signed_bytes(&directory).as_bytes());
            let signature = directory.trim_end().lines().rev().nth(1).unwrap();
            put(&world.path("signature.b64"), format!("{signature}\n").as_bytes());
            common::openssl(&format!(
                "base64 -A -d -in {} -out {}",
                in_folder("signature.b64"),
                in_folder("signature")
            ));
            let verdict = common::openssl(&format!(
                "dgst -sha256 -verify {} -signature {} {}",
                in_folder("key.pem"),
                in_folder("signature"),
                in_folder("signed")
            ));
            assert_eq!(verdict, b"Verified OK\n");
        }
        // Its own certificate verifies itself.
        let path = in_folder("certificate.pem");
        common::openssl(&format!("verify -no_check_time -CAfile {path} {path}"));
    }
}

#[tokio::test]
async fn others_get_shared_parameters_only() {
    let world = World::new().await;
    for version in 3..=6 {
        let path = world.path(&format!("public/V{version}/externalconf"));
        let directory = std::fs::read_to_string(path).unwrap();
        let identifiers: Vec<_> =
            directory.lines().filter_map(|line| line.strip_prefix("Content-identifier: ")).collect();
        assert_eq!(identifiers, ["SHARED-PARAMETERS; instance='DEMO'"]);
    }
}

#[tokio::test]
async fn each_publication_expires_after_the_one_before_whatever_the_clock_says() {
    let world = World::new().await;
    let first = world.publish().await;
    let second = world.publish().await;
    assert_eq!(second.since(first).as_secs(), 1);
    // The clock is turned back, and the validity is shortened: gateways must still believe what comes.
    world.clock.set(world.now() - std::time::Duration::from_secs(3600));
    world.edit("directory = \"public\"", "directory = \"public\"\nvalidity = \"120 s\"");
    assert_eq!(world.publish().await.since(second).as_secs(), 1);
    world.advance(7200);
    assert_eq!(world.publish().await, world.now() + std::time::Duration::from_secs(120));
}

#[tokio::test]
async fn parts_stay_for_as_long_as_somebody_may_fetch_them() {
    let world = World::new().await;
    let first = world.parts();
    for _ in 0..10 {
        world.advance(60);
        world.publish().await;
    }
    assert!(first.exists());
    world.advance(60);
    world.publish().await;
    assert!(!first.exists());
    assert!(world.parts().exists());
}

#[tokio::test]
async fn a_key_that_signs_cannot_be_removed_and_an_unknown_one_not_activated() {
    let world = World::new().await;
    let active = world.keys().active(SourceKind::External).unwrap().id.to_string();
    assert!(matches!(world.keys().remove(&active), Err(SigningKeyError::Active(_))));
    assert!(matches!(world.keys().activate("00"), Err(SigningKeyError::Unknown(_))));
    let second = world.add_key(SourceKind::External).await;
    assert_eq!(world.keys().certificates(SourceKind::External).len(), 2);
    assert_eq!(world.keys().certificates(SourceKind::Internal).len(), 1);
    world.keys().activate(&second).unwrap();
    world.keys().remove(&active).unwrap();
    assert_eq!(world.keys().certificates(SourceKind::External).len(), 1);
    assert!(!world.path("keys").join(format!("{active}.key.pem")).exists());
}

#[tokio::test]
async fn the_key_file_is_encrypted_and_openssl_opens_it_with_the_pin() {
    let world = World::new().await;
    let id = world.keys().active(SourceKind::Internal).unwrap().id.to_string();
    let path = world.path("keys").join(format!("{id}.key.pem")).display().to_string();
    let pin = world.path("keys/pin").display().to_string();
    common::openssl(&format!("pkey -in {path} -passin file:{pin} -noout"));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
}
