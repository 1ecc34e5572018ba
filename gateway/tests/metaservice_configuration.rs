//! `/verificationconf` and `/listClients`: what a gateway tells of the global configuration.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{fs, path::PathBuf, process::Command};

use conf::snapshot::GlobalConf;
use evidence_support::{block_on, conformance};
use gateway::{
    evidence::asic::verify_container,
    metaservice::{Body, Response, container::LoggedContainer, list_clients, verification_conf},
};
use metaservice_support::*;

fn whole(response: Response) -> (u16, &'static str, Option<String>, Vec<u8>) {
    let Body::Whole(bytes) = response.body else { panic!("it streams") };
    (response.status, response.content_type, response.content_disposition, bytes.to_vec())
}

fn served(directory: PathBuf) -> (u16, &'static str, Option<String>, Vec<u8>) {
    whole(block_on(verification_conf::serve(directory)))
}

#[test]
fn what_verificationconf_gives_verifies_a_container_when_unpacked() {
    let scene = Scene::new();
    let number = scene.log(REQUEST);
    scene.stamp();
    let out = std::io::Cursor::new(Vec::new());
    let container = LoggedContainer::open(&scene.reader(), number).unwrap().write(out).unwrap().into_inner();

    let (status, content_type, disposition, archive) = served(scene.configuration());
    assert_eq!((status, content_type), (200, "application/zip"));
    assert_eq!(disposition.unwrap(), "filename=\"verificationconf.zip\"");
    let (unpacked, names) = unzip(&archive);
    let expected = ["EE/shared-params.xml", "EE/shared-params.xml.metadata", "instance-identifier"];
    assert_eq!(names, expected.map(|name| format!("verificationconf/{name}")));
    let metadata = fs::read_to_string(unpacked.path().join(&names[1])).unwrap();
    assert_eq!(metadata, r#"{"configurationVersion":"5"}"#);
    assert_eq!(fs::read_to_string(unpacked.path().join(&names[2])).unwrap(), "EE");
    for directory in [unpacked.path().to_path_buf(), unpacked.path().join("verificationconf")] {
        let conf = GlobalConf::load_dir(directory).unwrap();
        assert!(verify_container(&container, &conf).unwrap().valid);
    }
}

#[test]
fn verificationconf_holds_every_instance_in_every_version_byte_for_byte_and_nothing_private() {
    let Some(folder) = conformance("xroad-7.8.0/global-configuration") else { return };
    for version in ["v2", "v3", "v4", "v5", "v6"] {
        let kept = folder.join(format!("globalconf_good_{version}"));
        let before = GlobalConf::load_dir(&kept).unwrap();
        let (status, _, _, archive) = served(kept.clone());
        assert_eq!(status, 200, "{version}");
        let (unpacked, names) = unzip(&archive);
        assert!(names.iter().all(|name| !name.contains("private")), "{names:?}");
        let after = GlobalConf::load_dir(unpacked.path()).unwrap();
        assert_eq!(after.own_instance(), before.own_instance());
        assert!(before.instances().eq(after.instances()), "{version}");
        for name in names.iter().filter(|name| name.ends_with(".xml")) {
            let original = kept.join(name.strip_prefix("verificationconf/").unwrap());
            assert_eq!(fs::read(unpacked.path().join(name)).unwrap(), fs::read(original).unwrap(), "{name}");
        }
        for instance in before.instances() {
            let version = |conf: &GlobalConf| conf.instance(instance).unwrap().version;
            assert_eq!(version(&before), version(&after), "{instance}");
        }
    }
}

#[test]
fn without_a_configuration_verificationconf_is_an_error_that_tells_no_paths() {
    let directory = tempfile::tempdir().unwrap();
    let (status, content_type, disposition, body) = served(directory.path().to_path_buf());
    assert_eq!((status, content_type, disposition), (500, "text/plain;charset=utf-8", None));
    assert_eq!(body, b"The global configuration cannot be read");
}

const XML: &[&[u8]] = &[];

#[test]
fn lists_of_clients_are_valid_under_the_schema_and_say_the_same_in_json() {
    let Some(folder) = conformance("xroad-7.8.0") else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clients.xml");
    for (name, most) in [("globalconf_good_v6", 1), ("globalconf_good_v5", 1), ("globalconf_good2_v3", 2)] {
        let conf = GlobalConf::load_dir(folder.join("global-configuration").join(name)).unwrap();
        let (status, content_type, _, xml) =
            whole(list_clients::serve("", XML.iter().copied(), &conf).unwrap());
        assert_eq!((status, content_type), (200, "text/xml;charset=utf-8"));
        put(&file, &xml);
        let schema = folder.join("schemas/service-metainfo.xsd");
        run(Command::new("xmllint").args(["--noout", "--nonet", "--schema"]).arg(schema).arg(&file));

        let accept: [&[u8]; 2] = [b"text/xml;q=1.0", b"text/*, Application/JSON;q=0.9"];
        let (_, content_type, _, json) = whole(list_clients::serve("", accept, &conf).unwrap());
        assert_eq!(content_type, "application/json;charset=utf-8");
        let list: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let members = list["member"].as_array().unwrap();
        let clients = &conf.instance(conf.own_instance()).unwrap().clients;
        assert_eq!(members.len(), clients.len());
        assert!(members.len() >= most, "{name}");
        for (member, client) in members.iter().zip(clients) {
            let kind = if client.id.subsystem().is_some() { "SUBSYSTEM" } else { "MEMBER" };
            assert_eq!(member["id"]["object_type"], kind);
            assert_eq!(member["id"]["xroad_instance"], client.id.instance());
            assert_eq!(member["id"]["member_code"], client.id.member().code());
            assert_eq!(member["id"]["subsystem_code"].as_str(), client.id.subsystem());
            assert_eq!(member["name"], *client.member_name);
            assert_eq!(member["subsystem_name"].as_str(), client.subsystem_name.as_deref());
        }
        let count = |part: &str| {
            let xpath = format!("count(//*[local-name()='{part}'])");
            run(Command::new("xmllint").args(["--xpath", &xpath]).arg(&file)).trim().parse::<usize>().unwrap()
        };
        assert_eq!(count("member"), clients.len());
        let subsystems = clients.iter().filter(|client| client.id.subsystem().is_some()).count();
        assert_eq!(count("subsystemCode"), subsystems);
    }
}

#[test]
fn a_member_with_markup_in_its_name_is_listed_by_that_name() {
    let scene = Scene::new();
    let conf = scene.configuration();
    let path = conf.join("EE/shared-params.xml");
    let text = fs::read_to_string(&path).unwrap();
    let at = text.find("<centralService").or_else(|| text.find("<globalSettings")).unwrap();
    let member = "<member id=\"id1\"><memberClass><code>GOV</code><description>g</description></memberClass>\
                  <memberCode>&lt;1&amp;\"2'</memberCode><name>A &lt;b&gt; &amp; C ä</name></member>";
    put(&path, format!("{}{member}{}", &text[..at], &text[at..]).as_bytes());
    let conf = GlobalConf::load_dir(&conf).unwrap();
    let (.., xml) = whole(list_clients::serve("xRoadInstance=", XML.iter().copied(), &conf).unwrap());
    let document = String::from_utf8(xml).unwrap();
    let document = roxmltree::Document::parse(&document).unwrap();
    let text = |name: &str| {
        document.descendants().find(|node| node.tag_name().name() == name).unwrap().text().unwrap().to_owned()
    };
    assert_eq!(text("name"), "A <b> & C ä");
    assert_eq!(text("memberCode"), "<1&\"2'");
}

#[test]
fn json_comes_only_when_it_is_asked_for() {
    let scene = Scene::new();
    let conf = GlobalConf::load_dir(scene.configuration()).unwrap();
    for (accept, json) in [
        (&b"application/json"[..], true),
        (b"text/html, application/json ;x=y", true),
        (b"*/*", false),
        (b"application/jsonp", false),
        (b"x-this/that;q=1.0;param=application/json", false),
        (b"", false),
    ] {
        let (_, content_type, _, body) = whole(list_clients::serve("", [accept], &conf).unwrap());
        assert_eq!(content_type.starts_with("application/json"), json, "{accept:?}");
        if json {
            assert_eq!(body, br#"{"member":[]}"#);
        }
    }
}

#[test]
fn an_unknown_instance_and_a_broken_query_are_faults() {
    let scene = Scene::new();
    let conf = GlobalConf::load_dir(scene.configuration()).unwrap();
    let fault = |query| list_clients::serve(query, XML.iter().copied(), &conf).unwrap_err();
    let unknown = fault("xRoadInstance=F%20I");
    assert_eq!(unknown.code(), "server.clientproxy.internal_error");
    assert_eq!(unknown.text(), "Shared params for instance identifier F I not found");
    assert_eq!(fault("xRoadInstance=%").code(), "server.clientproxy.bad_request");
    assert!(list_clients::serve("xRoadInstance=EE", XML.iter().copied(), &conf).is_ok());
}
