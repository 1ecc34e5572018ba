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
    archive::{
        archiver::{Archiver, Settings},
        target::Directory,
    },
    auditor::Auditor,
    messagelog::{
        LogStore as _, Record,
        reader::{Filter, Order},
        record::{AccessRecord, Kind, Outcome, OutcomeRecord},
    },
    transport::DoorLimits,
};
use log_support::message;
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
    /// Whether it came to its end.
    whole: bool,
}

/// A body in chunks, and whether the last one came.
fn unchunked(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return (body, true);
        }
        let Some(chunk) = raw.get(end + 2..end + 2 + length) else { break };
        body.extend_from_slice(chunk);
        raw = raw.get(end + 4 + length..).unwrap_or_default();
    }
    (body, false)
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
        let archives = scene.directory.path().join("archives");
        std::fs::create_dir(&archives).unwrap();
        let auditor = Auditor::new(tokens.clone(), scene.log.clone(), clock, scene.configuration())
            .with_archives(Some(archives));
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
        self.send("GET", token, path, b"")
    }

    /// As the auditor.
    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.send("POST", Some("ben"), path, body)
    }

    fn send(&self, method: &str, token: Option<&str>, path: &str, body: &[u8]) -> Answer {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Content-Length: {length}\r\n\
             Connection: close\r\n\r\n"
        );
        self.scene.runtime.block_on(async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.write_all(body).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            let head = String::from_utf8(answer[..split].to_vec()).unwrap().to_lowercase();
            let raw = &answer[split + 4..];
            let chunked = head.contains("transfer-encoding: chunked");
            let (body, whole) = if chunked { unchunked(raw) } else { (raw.to_vec(), true) };
            Answer { status: head[9..12].parse().unwrap(), head, body, whole }
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

const PATHS: [&str; 8] = [
    "/log/records",
    "/log/count",
    "/log/record?number=0",
    "/log/container?number=0",
    "/log/verdict?number=0",
    "/log/readers?number=0",
    "/log/export?form=zip",
    "/log/verify",
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
    for (path, reason) in PATHS.iter().zip(["", "?reason=", "&reason=+", "", "", "", "", ""]) {
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
            ("export", &[0, 1, 3], true),
            ("verify", &[], false),
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
    assert_eq!(
        String::from_utf8(lines.body).unwrap().lines().count(),
        4,
        "with the line that says that this is all"
    );
    let table = port.get("/log/export?form=csv&message_id=q-1");
    assert_eq!(String::from_utf8(table.body).unwrap().lines().count(), 3, "with the line of names");
    let zip = port.get("/log/export?form=zip");
    assert!(zip.whole && zip.head.contains("x-records: 3"), "{}", zip.head);
    assert_eq!(unzip(&zip.body).1, ["q-1-request-0.asice", "q-1-response-1.asice", "left-out.txt"]);
}

#[test]
fn an_export_of_many_megabytes_comes_whole_and_one_that_fails_is_seen_to_be_broken_off() {
    let port = Port::new();
    // More than is held in memory anywhere on its way, and not to be compressed.
    let body: Vec<u8> =
        (0..12_u64 << 17).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect();
    for id in ["long-1", "long-2", "long-3"] {
        port.scene.log(Message { id, body: Some(&body), ..REQUEST });
    }
    port.scene.stamp();
    let zip = port.get("/log/export?form=zip&role=consumer");
    assert!(zip.whole && zip.head.contains("x-records: 6"), "{}", zip.head);
    assert!(zip.body.len() > 32 << 20, "{}", zip.body.len());
    assert_eq!(unzip(&zip.body).1.len(), 6);

    let bodies = port.scene.directory.path().join("log/bodies");
    let found = run(std::process::Command::new("find").arg(&bodies).args(["-type", "f", "-size", "+1M"]));
    let file = found.lines().next().unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    run(std::process::Command::new("chmod").args(["u+w", file]));
    put(file.as_ref(), &bytes);
    let zip = port.get("/log/export?form=zip&role=consumer");
    assert!(zip.status == 200 && !zip.whole, "what has begun is not ended as if it were whole");
}

#[test]
fn each_field_of_a_search_finds_what_it_names_and_nothing_else() {
    let port = Port::new();
    let append = |record, parts: usize| {
        let nothing = (0..parts).map(|_| None).collect();
        port.scene.runtime.block_on(port.scene.log.append(record, nothing)).unwrap().sequence
    };
    let mut of_somebody = message("q-4", b"head", b"body");
    (of_somebody.user_id, of_somebody.issue) = (Some("EE 1234".to_owned()), Some("case/7".to_owned()));
    let of_somebody = append(Record::Request(of_somebody), 2);
    let ended = |outcome| {
        let message_id = "q-4".to_owned();
        let (fault_code, fault_text, status) = (None, None, None);
        let request = of_somebody;
        append(
            Record::Outcome(OutcomeRecord { request, message_id, outcome, fault_code, fault_text, status }),
            0,
        )
    };
    let (success, fault, in_doubt) =
        (ended(Outcome::Success), ended(Outcome::Fault), ended(Outcome::InDoubt));
    // How an exchange ended goes by its request.
    let exchange = vec![of_somebody, success, fault, in_doubt];
    for (query, expected) in [
        ("service=DEMO/GOV/2002/registry/records", exchange.clone()),
        ("service=EE/GOV/1001/registry/records", vec![0, 1, 3]),
        ("member=DEMO/GOV/1001", exchange.clone()),
        ("member=DEMO/GOV/2002", exchange.clone()),
        ("member=DEMO/GOV/200", vec![]),
        ("client=DEMO/GOV/1001/portal", exchange.clone()),
        ("user_id=EE+1234", exchange.clone()),
        ("user_id=EE", vec![]),
        ("issue=case%2F7", exchange.clone()),
        ("issue=case%2F7&user_id=other", vec![]),
        ("state=stamped", vec![0, 1]),
        ("state=pending", vec![3, of_somebody]),
        // Record 1 is an answer, behind which nothing went wrong.
        ("state=success", vec![1, success]),
        ("state=fault", vec![fault]),
        ("state=in-doubt", vec![in_doubt]),
        ("role=provider", vec![]),
        ("message_id=q-4", exchange.clone()),
    ] {
        assert_eq!(port.numbers(&format!("order=oldest-first&{query}")), expected, "{query}");
        let count = port.get(&format!("/log/count?{query}")).json()["count"].as_u64();
        assert_eq!(count, Some(u64::try_from(expected.len()).unwrap()), "{query}");
    }
}

#[test]
fn the_whole_log_is_verified_and_that_is_noted() {
    let port = Port::new();
    let verdict = port.get("/log/verify").json();
    assert_eq!(
        (verdict["records"].as_u64(), verdict["signatures"].as_u64()),
        (Some(4), Some(3)),
        "{verdict}"
    );
    assert_eq!(verdict["problems"], serde_json::json!([]));
    assert_eq!(port.register().last().unwrap().action, "verify");
    assert_eq!(port.get("/log/verify?key=x").error(), "key does not have its form");

    let segment = port.scene.directory.path().join("log/segments/00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096 + 300] ^= 1;
    put(&segment, &bytes);
    let verdict = port.get("/log/verify").json();
    assert_eq!(verdict["problems"][0]["record"], 0, "{verdict}");
}

#[test]
fn the_archives_are_verified_with_the_log() {
    let port = Port::new();
    let folder = port.scene.directory.path().join("archives");
    let target = Arc::new(Directory::new(&folder, port.scene.directory.path().join("log/bodies")));
    let mut archiver =
        Archiver::new(port.scene.log.clone(), port.scene.reader(), target, Settings::default());
    let made = port.scene.runtime.block_on(archiver.run()).unwrap();
    assert_eq!((made.files.len(), made.messages), (1, 2));
    let verdict = port.get("/log/verify").json();
    let archives = ["archives_named", "archives"].map(|name| verdict[name].as_u64().unwrap());
    assert_eq!((archives, verdict["archives_judged"].as_bool()), ([1, 1], Some(true)), "{verdict}");
    assert_eq!(verdict["problems"], serde_json::json!([]));

    std::fs::remove_file(folder.join(&made.files[0])).unwrap();
    let verdict = port.get("/log/verify").json();
    let problem = verdict["problems"][0]["what"].as_str().unwrap();
    assert_eq!(problem, format!("the archive {}: it is missing", made.files[0]));
    assert_eq!(verdict["archives"], 0);
}

#[test]
fn another_log_is_compared_with_this_one_as_its_lines_say() {
    let port = Port::new();
    let own = String::from_utf8(port.get("/log/export").body).unwrap();
    // What the other side has logged of the same messages.
    let theirs: Vec<String> = own.lines().map(|line| line.replace("\"consumer\"", "\"provider\"")).collect();
    let closed = |lines: &[String]| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let sha256 = digest(DigestAlgorithm::Sha256, text.as_bytes()).hex();
        format!("{text}{{\"kind\":\"end\",\"records\":{},\"sha256\":\"{sha256}\"}}\n", lines.len())
    };
    let compared = |query: &str, body: &str| {
        let answer = port.post(&format!("/log/reconcile?reason=case+7{query}"), body.as_bytes());
        (answer.status, answer.json())
    };
    let (status, same) = compared("", &closed(&theirs[..3]));
    assert_eq!((status, &same["compared"], &same["differences"]), (200, &3.into(), &serde_json::json!([])));
    let (_, lost) = compared("", &closed(&theirs[..2]));
    assert_eq!(lost["differences"].as_array().unwrap().len(), 1, "{lost}");
    assert_eq!(
        (&lost["differences"][0]["what"], &lost["differences"][0]["message_id"]),
        (&"only-in-first".into(), &"q-2".into())
    );
    assert_eq!(port.register().last().unwrap().records, [3], "the record that was told of");
    let between = "&between=EE/GOV/1001&and=EE/GOV/1002";
    assert_eq!(compared(between, &closed(&theirs[..2])).1["compared"], 0);
    assert_eq!(compared("&until=2001-01-01T00:00:00Z", &closed(&[])).1["compared"], 0);

    for (query, body, status, why) in [
        ("", theirs[..2].join("\n"), 422, "cut off"),
        ("", String::new(), 422, "cut off"),
        ("", own.replacen("q-2", "q-3", 1), 422, "is not the export"),
        ("", "x".to_owned(), 422, "line 1"),
        ("&between=EE/GOV/1001", closed(&[]), 400, "one of between and and"),
        ("&since=x", closed(&[]), 400, "there is no field since"),
    ] {
        let (refused, said) = compared(query, &body);
        assert!(refused == status && said["error"].as_str().unwrap().contains(why), "{refused} {said}");
    }
    assert_eq!(port.post("/log/reconcile", b"").error(), "reason is missing");
    assert_eq!(port.send("POST", Some("anna"), "/log/reconcile?reason=r", b"").status, 403);
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
