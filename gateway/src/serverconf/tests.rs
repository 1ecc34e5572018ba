//! A provider's settings, asked what an exchange asks.

use std::path::PathBuf;

use super::*;
use crate::access::client_auth::{Connection, IdentifyError, identify};
use crate::access::groups::GlobalGroups;
use crate::access::rights::{AccessError, authorize};
use crate::message::multipart::{ContentType, Part, PartHead};
use crate::message::rest::RestRequest;
use crate::message::{Beside, Protocol, Request};
use conf::identifier::GlobalGroupId;

const SETTINGS: &str = r#"
[server]
id = "DEMO/GOV/2002/ss2"

[configuration]
anchor = "anchor.xml"

[log]
bodies = true
bodies_except = ["DEMO/GOV/2002/quiet"]

[dangerous]
encoded_slash = true

[[client]]
id = "DEMO/GOV/2002/registry"
authentication = "https"

[[client.group]]
code = "neighbours"
members = ["DEMO/GOV/1001/near"]

[[client.service]]
code = "records"
url = "http://127.0.0.1:7030/base"
timeout = "5 s"

[[client.service.allow]]
to = "DEMO/GOV/1001/portal"

[[client.service.allow]]
to = "group:neighbours"
endpoints = ["GET /records/*", "* /open/**"]

[[client.service.allow]]
to = "global-group:DEMO/ministries"
endpoints = ["GET /ministries"]

[[client.service]]
code = "closed"
url = "http://127.0.0.1:7030/"
disabled = "out of order"

[[client.service.allow]]
to = "DEMO/GOV/1001/portal"

[[client]]
id = "DEMO/GOV/2002/quiet"
authentication = "http"
"#;

struct Ministries;

impl GlobalGroups for Ministries {
    fn has(&self, group: &GlobalGroupId, client: &ClientId) -> bool {
        group.code() == "ministries" && client.subsystem() == Some("ministry")
    }
}

fn settings() -> ServerConf {
    let config = Config::parse(SETTINGS, Path::new("/nowhere")).unwrap();
    ServerConf::new(&config, SETTINGS, None)
}

fn call(settings: &ServerConf, verb: &str, client: &str, path: &str) -> Result<(), AccessError> {
    let part = format!(
        "{verb}\r\n/r1/DEMO/GOV/2002/registry/{path}\r\nX-Road-Client:DEMO/GOV/1001/{client}\r\nx-road-id:i\r\n\
         x-road-request-id:r\r\n"
    );
    let request = Request::Rest(RestRequest::parse(part.into()).unwrap());
    let access = settings.access(&request, None);
    authorize(request.clone(), access, &Ministries, settings.path_rules()).map(|_| ())
}

#[test]
fn rights_are_as_the_file_says() {
    let settings = settings();
    for (verb, client, path, expected) in [
        ("DELETE", "portal", "records/any/thing", Ok(())),
        ("GET", "near", "records/records/7", Ok(())),
        ("POST", "near", "records/records/7", Err(AccessError::Denied)),
        ("POST", "near", "records/open/7/8", Ok(())),
        ("GET", "ministry", "records/ministries", Ok(())),
        ("GET", "ministry", "records", Err(AccessError::Denied)),
        ("GET", "stranger", "records", Err(AccessError::Denied)),
        ("GET", "portal", "nosuch", Err(AccessError::UnknownService)),
        ("GET", "portal", "closed", Err(AccessError::Disabled { notice: "out of order".into() })),
        ("GET", "near", "closed", Err(AccessError::Denied)),
        ("GET", "portal", "records/a%2Fb", Ok(())),
    ] {
        assert_eq!(call(&settings, verb, client, path), expected, "{verb} {client} {path}");
    }
}

#[test]
fn the_machine_is_for_the_owner_and_the_networks_monitoring_client() {
    let settings = settings();
    let ask = |provider: &str, client: &str, code: &str| {
        let id = |id: &str| {
            let names = ["xRoadInstance", "memberClass", "memberCode", "subsystemCode"];
            let parts = names.iter().zip(id.split('/'));
            parts.map(|(name, part)| format!("<i:{name}>{part}</i:{name}>")).collect::<String>()
        };
        let kind = if client.matches('/').count() == 3 { "SUBSYSTEM" } else { "MEMBER" };
        let xml = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" \
             xmlns:i=\"http://x-road.eu/xsd/identifiers\"><s:Header><x:client i:objectType=\"{kind}\">{}</x:client>\
             <x:service i:objectType=\"SERVICE\">{}<i:serviceCode>{code}</i:serviceCode></x:service><x:id>1</x:id>\
             <x:protocolVersion>4.0</x:protocolVersion></s:Header><s:Body><{code}/></s:Body></s:Envelope>",
            id(client),
            id(provider)
        );
        let head = PartHead { content_type: ContentType::parse("text/xml").ok(), ..PartHead::default() };
        let part = Part { head, content: xml.into() };
        let request = Request::parse(Protocol::Soap, part, Beside::default()).unwrap();
        let monitoring: ClientId = "DEMO/GOV/9/monitor".parse().unwrap();
        let access = settings.access(&request, Some(&monitoring));
        authorize(request.clone(), access, &Ministries, settings.path_rules()).map(|_| ())
    };
    let (metrics, health) = ("getSecurityServerMetrics", "getSecurityServerHealthData");
    for (provider, client, code, expected) in [
        ("DEMO/GOV/2002", "DEMO/GOV/2002", metrics, Ok(())),
        ("DEMO/GOV/2002", "DEMO/GOV/9/monitor", metrics, Ok(())),
        ("DEMO/GOV/2002", "DEMO/GOV/9", metrics, Err(AccessError::Denied)),
        ("DEMO/GOV/2002", "DEMO/GOV/2002/registry", metrics, Err(AccessError::Denied)),
        ("DEMO/GOV/2002", "DEMO/GOV/1001/portal", health, Ok(())),
        ("DEMO/GOV/1001", "DEMO/GOV/1001/portal", health, Err(AccessError::UnknownService)),
        ("DEMO/GOV/2002/registry", "DEMO/GOV/2002", metrics, Err(AccessError::UnknownService)),
    ] {
        assert_eq!(ask(provider, client, code), expected, "{provider} {client} {code}");
    }
}

#[test]
fn services_and_clients_are_found_by_their_identifiers() {
    let settings = settings();
    let service = |text: &str| settings.service(&text.parse().unwrap());
    let records = service("DEMO/GOV/2002/registry/records").unwrap();
    assert_eq!(
        (records.url.as_str(), records.timeout),
        ("http://127.0.0.1:7030/base", Duration::from_secs(5))
    );
    assert!(service("DEMO/GOV/2002/quiet/records").is_none());
    assert!(service("DEMO/GOV/1001/registry/records").is_none());
    let registry: ClientId = "DEMO/GOV/2002/registry".parse().unwrap();
    let versioned = ServiceId::new(registry.clone(), "records", Some("v1")).unwrap();
    assert!(settings.service(&versioned).is_none());
    let mut codes: Vec<_> = settings.client(&registry).unwrap().services().map(|(id, _)| id.code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["closed", "records"]);
    assert_eq!(settings.clients().count(), 3);
}

#[test]
fn the_owner_is_a_client_in_whose_name_nobody_may_ask_by_default() {
    let settings = settings();
    let owner = settings.authentication(&"DEMO/GOV/2002".parse().unwrap());
    assert_eq!(identify(owner, Connection::Plain, None), Err(IdentifyError::Plain));
    let shown = Connection::Tls { certificate: Some(b"any") };
    assert_eq!(identify(owner, shown, None), Err(IdentifyError::OtherCertificate));
    let stranger = settings.authentication(&"DEMO/GOV/1001/portal".parse().unwrap());
    assert_eq!(identify(stranger, shown, None), Err(IdentifyError::UnknownClient));
    let quiet = settings.authentication(&"DEMO/GOV/2002/quiet".parse().unwrap());
    assert_eq!(identify(quiet, Connection::Plain, None), Ok(()));
}

#[test]
fn bodies_are_kept_but_for_those_excepted() {
    let settings = settings();
    let [registry, quiet, portal] =
        ["2002/registry", "2002/quiet", "1001/portal"].map(|id| format!("DEMO/GOV/{id}").parse().unwrap());
    for (client, provider, kept) in
        [(&portal, &registry, true), (&portal, &quiet, false), (&quiet, &registry, false)]
    {
        assert_eq!(settings.keeps_bodies_of(client, provider), kept, "{client} {provider}");
    }
}

#[test]
fn a_changed_file_is_taken_up_and_a_faulty_one_is_refused_with_line_key_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("gateway.toml");
    let write = |text: &str| cert_authority::durable::write(&path, text.as_bytes()).unwrap();
    write(SETTINGS);
    let (_, first) = ServerConf::load(&path, None).unwrap();
    assert_eq!(call(&first, "GET", "stranger", "records"), Err(AccessError::Denied));

    write(&SETTINGS.replace("DEMO/GOV/1001/portal", "DEMO/GOV/1001/stranger"));
    let (_, second) = ServerConf::load(&path, None).unwrap();
    assert_eq!(call(&second, "GET", "stranger", "records"), Ok(()));
    assert_ne!(first.digest(), second.digest());

    let faulty = SETTINGS
        .replace("GET /records/*", "FETCH /records/*")
        .replace("http://127.0.0.1:7030/base", "ftp://h");
    write(&faulty);
    let Err(ConfigError::Faulty { problems, .. }) = ServerConf::load(&path, None) else { panic!("taken up") };
    let mut told: Vec<_> = problems.0.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
    told.sort_unstable();
    let line = |begin: &str| SETTINGS.lines().position(|line| line.starts_with(begin)).map(|at| at + 1);
    assert_eq!(
        told,
        [
            (line("url"), "client[1].service[1].url"),
            (line("endpoints"), "client[1].service[1].allow.endpoints"),
        ]
    );
    assert_eq!(call(&second, "GET", "stranger", "records"), Ok(()));

    fs::remove_file(&path).unwrap();
    assert!(matches!(ServerConf::load(&path, None), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn a_description_that_is_taken_up_makes_other_settings_with_known_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("gateway.toml");
    let text = SETTINGS.replace("timeout = \"5 s\"", "description = \"records.yaml\"");
    cert_authority::durable::write(&path, text.as_bytes()).unwrap();
    let (_, before) = ServerConf::load(&path, None).unwrap();
    let id: ServiceId = "DEMO/GOV/2002/registry/records".parse().unwrap();
    assert!(before.service(&id).unwrap().description.is_none());
    assert_eq!(before.digest(), digest(DigestAlgorithm::Sha256, text.as_bytes()));

    let mut accepted = Accepted::load(folder.path()).unwrap();
    let document = "openapi: 3.1.0\npaths:\n  /records/{id}: {get: {}, trace: {}}\n";
    let now = cert_authority::clock::UnixTime::from_secs(0);
    accepted.take_up(id.client(), "records.yaml", document.into(), now);
    accepted.write().unwrap();
    let (config, after) = ServerConf::load(&path, None).unwrap();
    let service = after.service(&id).unwrap();
    assert_eq!(service.description.as_ref().unwrap().bytes, document);
    let known: Vec<_> =
        service.endpoints.iter().map(|e| (e.verb.unwrap().as_str(), e.path.to_string())).collect();
    assert_eq!(known, [("GET", "/records/*".to_owned()), ("TRACE", "/records/*".to_owned())]);
    let list = fs::read_to_string(folder.path().join("descriptions/accepted.toml")).unwrap();
    assert_eq!(after.digest(), digest(DigestAlgorithm::Sha256, format!("{text}{list}").as_bytes()));
    // Both rules of endpoints name something that the description does not.
    assert_eq!(config.warnings.0.len(), 2, "{}", config.warnings);
    // A description gives nobody a right.
    assert_eq!(call(&after, "TRACE", "near", "records/records/7"), Err(AccessError::Denied));
}
