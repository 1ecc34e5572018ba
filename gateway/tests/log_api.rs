//! The log for programs over HTTP: who is let in, what is answered, what is written down about it, what bad input gets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use cert_authority::{algorithm::DigestAlgorithm, clock::FixedClock, crypto::digest};
use evidence_support::now;
use gateway::{
    admin::{Admin, Health, Role as TokenRole, Token, Tokens},
    auditor::Auditor,
    messagelog::{
        Record,
        reader::{Filter, Order},
        record::{AccessRecord, Kind},
    },
    transport::DoorLimits,
};
use metaservice_support::*;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// 0 request and 1 response, 2 their stamp; 3 a request that waits for its own.
struct Port {
    scene: Scene,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

impl Port {
    fn new() -> Self {
        let scene = Scene::new();
        scene.log(REQUEST);
        scene.log(RESPONSE);
        scene.stamp();
        scene.log(Message { id: "q-2", ..REQUEST });
        let token = |name: &str, role| Token {
            name: name.to_owned(),
            role,
            sha256: digest(DigestAlgorithm::Sha256, name.as_bytes()).as_ref().try_into().unwrap(),
        };
        let tokens = Tokens::new(vec![token("anna", TokenRole::Operator), token("ben", TokenRole::Auditor)]);
        let hosts = Arc::new(ArcSwap::from_pointee(vec!["127.0.0.1".to_owned()]));
        let clock = Arc::new(FixedClock::new(now()));
        let auditor = Auditor::new(tokens.clone(), scene.log.clone(), clock, scene.configuration());
        let admin = auditor.on(Admin::new(tokens, hosts, Health::new()));
        let (stop, stopped) = watch::channel(false);
        let address = scene.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(admin.serve(listener, DoorLimits::default(), stopped));
            address
        });
        Self { scene, address, _stop: stop }
    }

    fn ask(&self, token: Option<&str>, path: &str) -> Answer {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Connection: close\r\n\r\n");
        self.scene.runtime.block_on(async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            let head = String::from_utf8(answer[..split].to_vec()).unwrap().to_lowercase();
            Answer { status: head[9..12].parse().unwrap(), head, body: answer[split + 4..].to_vec() }
        })
    }

    /// As the auditor, who says why.
    fn get(&self, path: &str) -> Answer {
        let mark = if path.contains('?') { '&' } else { '?' };
        self.ask(Some("ben"), &format!("{path}{mark}reason=case+7"))
    }

    fn numbers(&self, query: &str) -> Vec<u64> {
        let answer = self.get(&format!("/log/records?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", String::from_utf8_lossy(&answer.body));
        let all = answer.json();
        all["records"].as_array().unwrap().iter().map(|record| record["number"].as_u64().unwrap()).collect()
    }

    fn register(&self) -> Vec<AccessRecord> {
        let filter = Filter { kinds: vec![Kind::Access], ..Filter::default() };
        let found = self.scene.reader().find(&filter, Order::OldestFirst, None, 100).unwrap();
        let access = |record| if let Record::Access(access) = record { Some(access) } else { None };
        found.into_iter().filter_map(|stored| access(stored.record)).collect()
    }
}

const PATHS: [&str; 7] = [
    "/log/records",
    "/log/count",
    "/log/record?number=0",
    "/log/container?number=0",
    "/log/verdict?number=0",
    "/log/readers?number=0",
    "/log/export?form=zip",
];

#[test]
fn without_an_auditors_token_nothing_is_answered_and_nothing_noted() {
    let port = Port::new();
    for path in PATHS {
        assert_eq!(port.ask(Some("anna"), path).status, 403, "{path}");
    }
    for path in &PATHS[..3] {
        assert_eq!(port.ask(None, path).status, 401, "{path}");
    }
    assert_eq!(port.register(), []);
}

#[test]
fn whoever_reads_says_why_and_each_reading_is_noted() {
    let port = Port::new();
    for (path, reason) in PATHS.iter().zip(["", "?reason=", "&reason=+", "", "", "", ""]) {
        let answer = port.ask(Some("ben"), &format!("{path}{reason}"));
        assert_eq!((answer.status, answer.error().as_str()), (400, "reason is missing"), "{path}");
    }
    assert_eq!(port.register(), []);

    for path in PATHS {
        assert_eq!(port.get(path).status, 200, "{path}");
    }
    let noted = port.register();
    let found: Vec<_> = noted
        .iter()
        .map(|access| (access.action.as_str(), access.records.as_slice(), access.bodies))
        .collect();
    assert_eq!(
        found,
        [
            ("list", &[3, 1, 0][..], false),
            ("count", &[], false),
            ("show", &[0], false),
            ("export", &[0], true),
            ("verify", &[0], false),
            ("readers", &[0], false),
            ("export", &[0, 1], true),
        ]
    );
    assert!(noted.iter().all(|access| access.who == "ben" && access.reason.as_deref() == Some("case 7")));
    let readings = port.get("/log/readers?message_id=q-1").json();
    assert_eq!(readings["readings"].as_array().unwrap().len(), 6, "all but the count");
}

#[test]
fn records_are_found_counted_and_paged_through() {
    let port = Port::new();
    assert_eq!(port.numbers("order=oldest-first"), [0, 1, 3]);
    assert_eq!(port.numbers("state=pending"), [3]);
    assert_eq!(port.numbers("message_id=q-1"), [1, 0]);
    assert_eq!(
        port.numbers("client=EE/GOV/1001/portal&role=consumer&until=2001-01-01T00:00:00Z"),
        [0_u64; 0]
    );
    assert_eq!(port.numbers("all=&order=oldest-first&limit=3"), [0, 1, 2]);
    let first = port.get("/log/records?limit=2").json();
    assert_eq!(first["beyond"], 1);
    assert_eq!(port.numbers("limit=2&beyond=1"), [0]);
    assert_eq!(port.get("/log/count?state=stamped").json()["count"], 2);
    let one = port.get("/log/record?number=0").json();
    assert_eq!((one["message_id"].as_str(), one["tsa"].as_str()), (Some("q-1"), Some("TSA")));
    assert!(!one.to_string().contains("question"));
}

#[test]
fn a_container_is_given_and_judged() {
    let port = Port::new();
    let answer = port.get("/log/container?number=0");
    assert!(answer.head.contains("filename=\"q-1-request-0.asice\""), "{}", answer.head);
    assert!(answer.body.starts_with(b"PK"));
    let verdict = port.get("/log/verdict?number=0").json();
    assert_eq!((verdict["valid"].as_bool(), verdict["code"].is_null()), (Some(true), true), "{verdict}");
    assert_eq!(port.get("/log/container?number=3").status, 404, "it has no time-stamp yet");
}

#[test]
fn a_search_is_exported_in_each_form() {
    let port = Port::new();
    let lines = port.get("/log/export");
    assert!(
        lines.head.contains("application/x-ndjson") && lines.head.contains("x-records: 3"),
        "{}",
        lines.head
    );
    assert_eq!(String::from_utf8(lines.body).unwrap().lines().count(), 3);
    let table = port.get("/log/export?form=csv&message_id=q-1");
    assert_eq!(String::from_utf8(table.body).unwrap().lines().count(), 3, "with the line of names");
    let zip = port.get("/log/export?form=zip");
    assert!(zip.head.contains("x-records: 2") && zip.head.contains("x-left-out: 1"), "{}", zip.head);
    assert_eq!(unzip(&zip.body).1, ["q-1-request-0.asice", "q-1-response-1.asice"]);
}

#[test]
fn a_request_that_cannot_be_understood_is_refused_and_shows_nothing() {
    let port = Port::new();
    for (path, status, why) in [
        ("/log/records?clients=x", 400, "there is no field clients"),
        ("/log/record?number=0&from=x", 400, "there is no field from"),
        ("/log/records?from=yesterday", 400, "from does not have its form"),
        ("/log/records?client=EE", 400, "client does not have its form"),
        ("/log/records?state=lost", 400, "state does not have its form"),
        ("/log/records?role=both", 400, "role does not have its form"),
        ("/log/records?order=random", 400, "order does not have its form"),
        ("/log/records?limit=0", 400, "limit does not have its form"),
        ("/log/records?limit=1001", 400, "limit does not have its form"),
        ("/log/records?beyond=-1", 400, "beyond does not have its form"),
        ("/log/records?issue=%zz", 400, "the query does not have its form"),
        ("/log/export?form=pdf", 400, "form does not have its form"),
        ("/log/record", 400, "number is missing"),
        ("/log/readers", 400, "number or message_id, one of both, is missing"),
        ("/log/record?number=99", 404, "there is no such record"),
        ("/log/container?number=2", 404, "there is no such record"),
        ("/log/verdict?number=99", 404, "there is no such record"),
    ] {
        let answer = port.get(path);
        assert_eq!((answer.status, answer.error().as_str()), (status, why), "{path}");
    }
    assert_eq!(port.register(), []);
}
