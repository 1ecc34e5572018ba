//! The auditor's pages over HTTP: who is let in, what is written down about it, and what bad input gets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::{FixedClock, UnixTime},
    crypto::digest,
};
use evidence_support::now;
use gateway::{
    admin::{Admin, Health, Role as TokenRole, Token, Tokens},
    audit::register,
    auditor::Auditor,
    messagelog::{
        LogStore as _, Record, Role,
        reader::{Filter, Order},
        record::{AccessRecord, Kind, Outcome, OutcomeRecord},
    },
    transport::DoorLimits,
};
use log_support::message;
use metaservice_support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

struct Pages {
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
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Pages {
    fn new() -> Self {
        let scene = Scene::new();
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

    fn send(&self, method: &str, path: &str, cookie: Option<&str>, form: &str) -> Answer {
        let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookie}Accept-Language: en\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{form}",
            form.len()
        );
        self.scene.runtime.block_on(async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            let head = String::from_utf8(answer[..split].to_vec()).unwrap();
            let status = head[9..12].parse().unwrap();
            Answer { status, head, body: answer[split + 4..].to_vec() }
        })
    }

    fn login(&self, form: &str) -> Answer {
        self.send("POST", "/audit/login", None, form)
    }

    /// The cookie of a session of the auditor.
    fn session(&self) -> String {
        let answer = self.login("token=ben&reason=case+7");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/audit/")));
        let cookie = answer.header("set-cookie").unwrap();
        for flag in ["HttpOnly", "SameSite=Strict", "Path=/audit/"] {
            assert!(cookie.contains(flag), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }

    fn get(&self, cookie: &str, path: &str) -> Answer {
        self.send("GET", path, Some(cookie), "")
    }

    fn register(&self) -> Vec<AccessRecord> {
        let filter = Filter { kinds: vec![Kind::Access], ..Filter::default() };
        let found = self.scene.reader().find(&filter, Order::OldestFirst, None, 100).unwrap();
        let access = |record| if let Record::Access(access) = record { Some(access) } else { None };
        found.into_iter().filter_map(|stored| access(stored.record)).collect()
    }
}

#[test]
fn nobody_reads_without_a_session() {
    let pages = Pages::new();
    pages.scene.log(REQUEST);
    for path in
        ["/audit/", "/audit/exchange?record=0", "/audit/container?record=0", "/audit/traffic", "/audit/x"]
    {
        let forged = format!("passerelle-auditor={}", "0".repeat(64));
        for cookie in [None, Some("passerelle-auditor="), Some(forged.as_str())] {
            let answer = pages.send("GET", path, cookie, "");
            assert_eq!((answer.status, answer.header("location")), (303, Some("/audit/login")), "{path}");
            assert!(answer.body.is_empty());
        }
    }
    assert_eq!(pages.send("POST", "/audit/verify", None, "record=0").status, 303);
    for (form, status) in [
        ("token=ben", 400),
        ("token=ben&reason=+", 400),
        ("token=anna&reason=curious", 403),
        ("token=nobody&reason=curious", 401),
        ("", 401),
    ] {
        let answer = pages.login(form);
        assert_eq!(answer.status, status, "{form}");
        assert_eq!(answer.header("set-cookie"), None);
        assert!(answer.text().contains("role=\"alert\""));
    }
    assert!(pages.register().is_empty(), "nothing was read");
}

#[test]
fn guessing_of_tokens_is_slowed_down() {
    let pages = Pages::new();
    let statuses: Vec<u16> = (0..7).map(|_| pages.login("token=guess&reason=r").status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    assert_eq!(pages.login("token=ben&reason=r").status, 429);
}

#[test]
fn what_is_read_stands_in_the_register_with_who_and_why() {
    let pages = Pages::new();
    let request = pages.scene.log(REQUEST);
    pages.scene.log(Message { id: "other", ..REQUEST });
    pages.scene.stamp();
    let cookie = pages.session();

    let found = pages.get(&cookie, "/audit/?id=q-1");
    assert_eq!(found.status, 200);
    assert!(
        found.text().contains(&format!("/audit/exchange?record={request}"))
            && !found.text().contains(">other<")
    );
    let shown = pages.get(&cookie, &format!("/audit/exchange?record={request}"));
    assert!(shown.text().contains("<td>list</td>"), "it was in a list before: {}", shown.text());
    let again = pages.get(&cookie, &format!("/audit/exchange?record={request}&lang=fr"));
    assert!(again.text().contains("case 7") && again.text().contains("lang=\"fr\""));
    let container = pages.get(&cookie, &format!("/audit/container?record={request}"));
    assert_eq!(container.header("content-type"), Some("application/vnd.etsi.asic-e+zip"));
    assert!(
        container.header("content-disposition").unwrap().starts_with("attachment; filename=\"q-1-request-")
    );
    let (unpacked, _) = unzip(&container.body);
    judge_unpacked(unpacked.path(), &pages.scene.world);

    let register = pages.register();
    let actions: Vec<(&str, &[u64], bool)> =
        register.iter().map(|a| (a.action.as_str(), a.records.as_slice(), a.bodies)).collect();
    let one = [request];
    assert_eq!(
        actions,
        [("list", &one[..], false), ("show", &one, false), ("show", &one, false), ("export", &one, true)]
    );
    assert!(register.iter().all(|a| a.who == "ben" && a.reason.as_deref() == Some("case 7")));
    assert_eq!(register[0].query, "/audit/?id=q-1");
}

#[test]
fn a_verdict_is_given_to_forms_of_this_session_only() {
    let pages = Pages::new();
    let request = pages.scene.log(REQUEST);
    pages.scene.stamp();
    let cookie = pages.session();
    for form in [format!("record={request}"), format!("record={request}&form=00"), "form=%zz".to_owned()] {
        let answer = pages.send("POST", "/audit/verify", Some(&cookie), &form);
        assert_eq!(answer.status, 403, "{form}");
    }
    assert_eq!(pages.send("POST", "/audit/leave", Some(&cookie), "form=00").status, 403);
    let page = pages.get(&cookie, &format!("/audit/exchange?record={request}")).text();
    let secret = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let judged =
        pages.send("POST", "/audit/verify", Some(&cookie), &format!("record={request}&form={secret}"));
    assert!(judged.text().contains("✓ valid"), "{}", judged.text());
    assert!(
        pages.register().iter().all(|access| !access.query.contains(secret)),
        "the secret is nobody's business"
    );

    assert_eq!(pages.send("POST", "/audit/leave", Some(&cookie), &format!("form={secret}")).status, 303);
    assert_eq!(pages.get(&cookie, "/audit/").status, 303);
}

#[test]
fn bad_input_is_named_and_never_becomes_markup() {
    let pages = Pages::new();
    let evil = "<script>alert(1)</script>";
    let request = pages.scene.log(Message { id: evil, ..REQUEST });
    let cookie = pages.session();
    for (path, status) in [
        ("/audit/?client=nobody", 400),
        ("/audit/?from=yesterday", 400),
        ("/audit/?role=king", 400),
        ("/audit/?before=-1", 400),
        ("/audit/?id=%zz", 400),
        ("/audit/traffic?day=2026-13-01", 400),
        ("/audit/exchange", 404),
        ("/audit/exchange?record=x", 404),
        ("/audit/exchange?record=99", 404),
        ("/audit/container?record=99", 404),
        ("/audit/etc/passwd", 404),
    ] {
        assert_eq!(pages.get(&cookie, path).status, status, "{path}");
    }
    let waiting = pages.get(&cookie, &format!("/audit/container?record={request}"));
    assert_eq!(waiting.status, 404, "it has no time-stamp yet");
    let escaped = "%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        "/audit/".to_owned(),
        format!("/audit/exchange?record={request}"),
        format!("/audit/?client={escaped}"),
        format!("/audit/?id={escaped}"),
        format!("/audit/?x=%22%3E{escaped}"),
    ] {
        let page = pages.get(&cookie, &path);
        assert!(!page.text().to_lowercase().contains("<script"), "{path}: {}", page.text());
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

#[test]
fn the_search_narrows_by_user_issue_and_state() {
    let pages = Pages::new();
    let request = pages.scene.log(REQUEST);
    pages.scene.stamp();
    let append = |record, parts: usize| {
        let nothing = (0..parts).map(|_| None).collect();
        pages.scene.runtime.block_on(pages.scene.log.append(record, nothing)).unwrap().sequence
    };
    let mut of_somebody = message("q-4", b"head", b"body");
    (of_somebody.user_id, of_somebody.issue) = (Some("EE 1234".to_owned()), Some("case/7".to_owned()));
    let of_somebody = append(Record::Request(of_somebody), 2);
    let fault = Record::Outcome(OutcomeRecord {
        request: of_somebody,
        message_id: "q-4".to_owned(),
        outcome: Outcome::Fault,
        fault_code: Some("server.serverproxy.access_denied".to_owned()),
        fault_text: None,
        status: Some(500),
    });
    let fault = append(fault, 0);
    let cookie = pages.session();
    for (query, expected) in [
        ("user=EE+1234", vec![of_somebody]),
        ("user=EE", vec![]),
        ("issue=case%2F7", vec![of_somebody]),
        ("state=stamped", vec![request]),
        ("state=pending", vec![of_somebody]),
        ("state=fault", vec![fault]),
        ("state=success", vec![]),
        ("state=", vec![of_somebody, request]),
        ("member=DEMO/GOV/2002&state=pending", vec![of_somebody]),
    ] {
        let page = pages.get(&cookie, &format!("/audit/?{query}")).text();
        let links = page.split("/audit/exchange?record=").skip(1);
        let found: Vec<u64> = links.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let page = pages.get(&cookie, "/audit/?state=fault").text();
    assert!(page.contains("ended with a fault · server.serverproxy.access_denied"), "{page}");
    assert!(page.contains("DEMO/GOV/1001/portal"), "whose exchange it was: {page}");
    assert_eq!(pages.get(&cookie, &format!("/audit/exchange?record={fault}")).status, 200);
    assert_eq!(pages.get(&cookie, "/audit/?state=lost").status, 400);
    let french = pages.get(&cookie, "/audit/?state=fault&lang=fr").text();
    assert!(french.contains("terminé par une erreur · server.serverproxy.access_denied"), "{french}");
}

#[test]
fn all_who_have_read_about_an_exchange_are_shown_a_page_at_a_time() {
    let pages = Pages::new();
    let request = pages.scene.log(REQUEST);
    let note = |who: String, records: Vec<u64>| {
        let access = AccessRecord {
            who,
            role: None,
            action: "show".to_owned(),
            query: String::new(),
            reason: Some("case 7".to_owned()),
            records,
            bodies: false,
        };
        pages.scene.runtime.block_on(register::note(&pages.scene.log, access)).unwrap();
    };
    // Long ago, and many readings of other exchanges since.
    note("reader-first".to_owned(), vec![request]);
    for number in 0..110 {
        note(format!("reader-{number:03}."), vec![request]);
        note("somebody".to_owned(), vec![request + 1]);
    }
    let cookie = pages.session();
    let mut path = format!("/audit/exchange?record={request}");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = pages.get(&cookie, &path).text();
        let shown = page.split("<td>reader-").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        seen.extend(shown);
        assert!(!page.contains("somebody"), "{page}");
        let next = page.split(&format!("/audit/exchange?record={request}&amp;readings_before=")).nth(1);
        let Some(next) = next.map(|rest| rest.split('#').next().unwrap()) else { break };
        path = format!("/audit/exchange?record={request}&readings_before={next}");
    }
    let mut expected: Vec<String> = (0..110).rev().map(|number| format!("{number:03}.")).collect();
    expected.push("first".to_owned());
    assert_eq!(seen, expected);
    assert_eq!(
        pages.get(&cookie, &format!("/audit/exchange?record={request}&readings_before=x")).status,
        404
    );
}

#[test]
fn the_traffic_of_a_day_is_counted_exactly_by_hour_and_by_service() {
    let pages = Pages::new();
    let at = |time: &str| pages.scene.clock.set(UnixTime::from_rfc3339(time).unwrap());
    let other = |id: &str| {
        let request = Record::Request(message(id, b"head", b"body"));
        pages.scene.runtime.block_on(pages.scene.log.append(request, vec![None, None])).unwrap();
    };
    at("2026-02-02T23:59:59.999Z");
    pages.scene.log(REQUEST);
    at("2026-02-03T00:00:00Z");
    pages.scene.log(REQUEST);
    other("o-1");
    at("2026-02-03T05:30:00Z");
    for role in [Role::Consumer, Role::Provider, Role::Consumer] {
        pages.scene.log(Message { role, ..REQUEST });
        pages.scene.log(Message { role, ..RESPONSE });
    }
    at("2026-02-03T05:59:59.999Z");
    other("o-2");
    at("2026-02-03T23:59:59.999Z");
    pages.scene.log(REQUEST);
    at("2026-02-04T00:00:00Z");
    pages.scene.log(REQUEST);
    let cookie = pages.session();
    let page = pages.get(&cookie, "/audit/traffic?day=2026-02-03").text();
    for hour in 0..24 {
        let expected = match hour {
            0 => 2,
            5 => 4,
            23 => 1,
            _ => 0,
        };
        assert!(page.contains(&format!("<title>{hour:02} h : {expected}</title>")), "{hour}: {page}");
        let row = format!("<th scope=\"row\">{hour:02} h</th><td class=\"count\">{expected}</td>");
        assert!(page.contains(&row), "{row}: {page}");
    }
    for (service, expected) in [("EE/GOV/1001/registry/records", 5), ("DEMO/GOV/2002/registry/records", 2)] {
        let row = format!("<th scope=\"row\">{service}</th><td class=\"count\">{expected}</td>");
        assert!(page.contains(&row), "{row}: {page}");
    }
    let quiet = pages.get(&cookie, "/audit/traffic?day=2026-02-05").text();
    assert!(quiet.contains("<title>05 h : 0</title>") && !quiet.contains("registry"), "{quiet}");
}
