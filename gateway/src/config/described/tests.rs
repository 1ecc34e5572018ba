//! Settings by the descriptions that were taken up, and before.

use std::path::Path;

use cert_authority::clock::UnixTime;

use super::*;
use crate::config::Config;

const LEAST: &str = "[server]\nid = \"DEMO/GOV/2002/ss2\"\n[configuration]\nanchor = \"anchor.xml\"\n\
    [[client]]\nid = \"DEMO/GOV/2002/registry\"\nauthentication = \"http\"\n";

const RECORDS: &str = "openapi: 3.0.0\npaths:\n  /towns/{id}: {get: {}, put: {}}\n  /open: {get: {}}\n";

/// Operations with their versions, at an address.
fn wsdl(operations: &[(&str, &str)], address: &str) -> String {
    let operation = |(name, version): &(&str, &str)| {
        format!("<operation name='{name}'><x:version xmlns:x='urn:x'>{version}</x:version></operation>")
    };
    let operations: String = operations.iter().map(operation).collect();
    format!(
        "<definitions xmlns='http://schemas.xmlsoap.org/wsdl/' targetNamespace='urn:t' xmlns:t='urn:t' \
         xmlns:s='http://schemas.xmlsoap.org/wsdl/soap/'><binding name='b'>\
         <s:binding transport='http://schemas.xmlsoap.org/soap/http'/>{operations}</binding>\
         <service><port binding='t:b'><s:address location='{address}'/></port></service></definitions>"
    )
}

fn accepted(documents: &[(&str, &str)]) -> Accepted {
    let mut accepted = Accepted::none(Path::new("/nowhere"));
    for (description, document) in documents {
        let registry = "DEMO/GOV/2002/registry".parse().unwrap();
        accepted.take_up(&registry, description, document.to_string().into(), UnixTime::from_secs(0));
    }
    accepted
}

fn config(settings: &str, documents: &[(&str, &str)]) -> Config {
    let text = format!("{LEAST}{settings}");
    Config::described(&text, Path::new("/nowhere"), &accepted(documents)).unwrap()
}

fn faults(settings: &str, documents: &[(&str, &str)]) -> Vec<String> {
    let text = format!("{LEAST}{settings}");
    let problems = Config::described(&text, Path::new("/nowhere"), &accepted(documents)).unwrap_err();
    problems.0.iter().map(|problem| format!("{}: {}", problem.key, problem.reason)).collect()
}

fn warnings(config: &Config) -> Vec<(Option<usize>, &str)> {
    config.warnings.0.iter().map(|warning| (warning.line, warning.reason.as_str())).collect()
}

/// Code, version, address, and whom it is open to.
fn offered(config: &Config) -> Vec<String> {
    let service = |service: &Service| {
        let to: Vec<_> = service.allow.iter().map(|allow| allow.to.to_string()).collect();
        format!("{} {:?} {} {}", service.code, service.version, service.url, to.join(","))
    };
    config.clients[0].services.iter().map(service).collect()
}

const REST: &str = "[[client.service]]\ncode = \"records\"\nurl = \"http://h\"\ndescription = \"records.yaml\"\n\
    [[client.service.allow]]\nto = \"DEMO/GOV/1/a\"\n\
    endpoints = [\"GET /towns/*\", \"* /towns/7\", \"GET /**\",\n\"POST /towns/*\", \"GET /towns\",\n\"GET /towns/{id}/x\"]\n";

#[test]
fn endpoints_of_rules_are_held_against_the_description() {
    let config = config(REST, &[("records.yaml", RECORDS)]);
    assert_eq!(
        warnings(&config),
        [
            (Some(15), "\"POST /towns/*\" is not in the service's description"),
            (Some(15), "\"GET /towns\" is not in the service's description"),
            (Some(16), "\"GET /towns/{id}/x\" is not in the service's description"),
        ]
    );
    let description = &config.clients[0].descriptions[0];
    assert_eq!(description.source, Source::File("/nowhere/records.yaml".into()));
    let endpoints = description.document.as_ref().unwrap().endpoints().iter().map(ToString::to_string);
    assert_eq!(endpoints.collect::<Vec<_>>(), ["GET /towns/*", "PUT /towns/*", "GET /open"]);
}

#[test]
fn a_description_that_was_never_taken_up_is_told_and_describes_nothing() {
    let soap = "[[client.wsdl]]\ndescription = \"plans.wsdl\"\n";
    let config = config(&format!("{REST}{soap}"), &[]);
    let told = "is not taken up yet: `passerelle-gateway service refresh`";
    assert_eq!(warnings(&config), [(Some(11), told), (Some(18), told)]);
    assert_eq!(offered(&config), ["records None http://h DEMO/GOV/1/a"]);
    assert_eq!(config.clients[0].descriptions.len(), 2);
}

#[test]
fn each_operation_of_a_wsdl_is_a_service_open_to_those_named() {
    let document = wsdl(&[("deposit", "v1"), ("deposit", "v2"), ("withdraw", "")], "http://said.example/a");
    let settings = "[[client.wsdl]]\ndescription = \"plans.wsdl\"\n[[client.wsdl.allow]]\nto = \"DEMO/GOV/1/all\"\n\
        [[client.wsdl.allow]]\nto = \"DEMO/GOV/1/some\"\nservices = [\"deposit.v2\", \"withdraw\",\n\"withdraw.v1\", \"deposit\"]\n";
    let said = config(settings, &[("plans.wsdl", &document)]);
    assert_eq!(
        offered(&said),
        [
            "deposit Some(\"v1\") http://said.example/a DEMO/GOV/1/all",
            "deposit Some(\"v2\") http://said.example/a DEMO/GOV/1/all,DEMO/GOV/1/some",
            "withdraw None http://said.example/a DEMO/GOV/1/all,DEMO/GOV/1/some",
        ]
    );
    assert_eq!(
        warnings(&said),
        [
            (Some(15), "\"withdraw.v1\" is not in the description"),
            (Some(15), "\"deposit\" is not in the description")
        ]
    );

    let settings = "[[client.service]]\ncode = \"deposit\"\nversion = \"v1\"\nprotocol = \"soap\"\nurl = \"http://own\"\n\
        [[client.wsdl]]\ndescription = \"plans.wsdl\"\nurl = \"http://set.example\"\n";
    let set = config(settings, &[("plans.wsdl", &document)]);
    assert_eq!(
        offered(&set),
        [
            "deposit Some(\"v1\") http://own ",
            "deposit Some(\"v2\") http://set.example ",
            "withdraw None http://set.example ",
        ]
    );
}

#[test]
fn a_service_of_soap_may_be_described_by_itself() {
    let soap = |code: &str| {
        format!(
            "[[client.service]]\ncode = \"{code}\"\nprotocol = \"soap\"\nversion = \"v1\"\nurl = \"http://h\"\n\
             description = \"plans.wsdl\"\n"
        )
    };
    let document = wsdl(&[("deposit", "v1")], "http://h");
    let config = config(&format!("{}{}", soap("deposit"), soap("missing")), &[("plans.wsdl", &document)]);
    assert_eq!(warnings(&config), [(Some(15), "is not in the service's description")]);
    assert_eq!(config.clients[0].descriptions.len(), 1);
    let documents =
        config.clients[0].services.iter().map(|s| s.description.as_ref().unwrap().document.clone().unwrap());
    let documents: Vec<_> = documents.collect();
    assert!(Arc::ptr_eq(&documents[0], &documents[1]));
}

#[test]
fn what_a_document_says_that_cannot_be_is_a_fault() {
    let settings = "[[client.wsdl]]\ndescription = \"plans.wsdl\"\n";
    for (operations, address, told) in [
        (
            [("getWsdl", "v1")],
            "http://h",
            "getWsdl.v1 (http://h) is the code of a service that every gateway has by itself",
        ),
        (
            [("a/b", "v1")],
            "http://h",
            "a/b.v1 (http://h) may not be empty nor hold % : ; / \\ or control characters",
        ),
        (
            [("a", "v1%20")],
            "http://h",
            "a.v1%20 (http://h) may not be empty nor hold % : ; / \\ or control characters",
        ),
        ([("a", "v1")], "ftp://h", "a.v1 (ftp://h) must begin with http:// or https://"),
        ([("a", "v1")], "", "a.v1 () must begin with http:// or https://"),
        (
            [("a", "")],
            "https://h",
            "a (https://h) is https, so `certificate` or `authorities` must say whom to believe",
        ),
    ] {
        let document = wsdl(&operations, address);
        assert_eq!(
            faults(settings, &[("plans.wsdl", &document)]),
            [format!("client[1].wsdl[1].description: {told}")]
        );
    }
    let two = format!("{settings}[[client.wsdl]]\ndescription = \"more.wsdl\"\n");
    let document = wsdl(&[("a", "v1")], "http://h");
    let told = faults(&two, &[("plans.wsdl", &document), ("more.wsdl", &document)]);
    assert_eq!(told, ["client[1].wsdl[2].description: a.v1 stands in two descriptions"]);
}

#[test]
fn a_description_that_cannot_be_used_is_a_fault() {
    let told = faults(REST, &[("records.yaml", &wsdl(&[], ""))]);
    assert!(told[0].starts_with("client[1].service[1].description: the description is "), "{told:?}");
    let https = REST.replace("records.yaml", "https://h/records.yaml");
    let told = faults(&https, &[]);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("client[1].service[1].description: is https"), "{told:?}");
    let both = format!("{REST}[[client.wsdl]]\ndescription = \"records.yaml\"\n");
    assert_eq!(
        faults(&both, &[]),
        [
            "client[1].wsdl[1].description: stands here twice, with another protocol or another certificate to believe"
        ]
    );
}

#[test]
fn a_document_that_was_changed_behind_our_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut accepted = Accepted::none(folder.path());
    let registry = "DEMO/GOV/2002/registry".parse().unwrap();
    accepted.take_up(&registry, "records.yaml", RECORDS.into(), UnixTime::from_secs(0));
    accepted.write().unwrap();
    let text = format!("{LEAST}{REST}");
    assert_eq!(Config::parse(&text, folder.path()).unwrap().warnings.0.len(), 3);
    let entry = accepted.get(&registry, "records.yaml").unwrap();
    let path = folder.path().join(crate::description::accepted::FOLDER).join(&entry.sha256);
    cert_authority::durable::write(&path, RECORDS.replace("get", "delete").as_bytes()).unwrap();
    let problems = Config::parse(&text, folder.path()).unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert!(problems.0[0].reason.contains("is not the document that was taken up"), "{problems}");
    let list = folder.path().join("descriptions/accepted.toml");
    cert_authority::durable::write(&list, b"nonsense").unwrap();
    let problems = Config::parse(&text, folder.path()).unwrap_err();
    assert_eq!((problems.0[0].line, problems.0[0].key.as_str()), (None, "descriptions/accepted.toml"));
}
