//! `service list` and `service refresh`, as programs, against servers whose documents change.
//!
//! ```text
//! file, http, https ──► service refresh --dry-run ──► what differs            nothing is changed
//!                       service refresh           ──► descriptions/           list, check and explain go by it
//! ```

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod transport_world;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use cert_authority::clock::{Clock as _, SystemClock};
use cert_authority::durable;
use cert_authority::keys::Pin;
use cert_authority::keys::inventory::{Inventory, Usage};
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::x509::AltName;
use cert_authority::x509::issue::Profile;
use gateway::transport::tls::{self, Identity};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use transport_world::Authority;

/// Documents by path, as they are at the moment.
type Documents = Arc<Mutex<HashMap<String, String>>>;

async fn server(documents: &Documents, identity: Option<Identity>) -> u16 {
    serve(documents, identity.map(|identity| tls::front_server(identity).unwrap())).await
}

async fn serve(documents: &Documents, tls: Option<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
    let documents = Arc::clone(documents);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &acceptor {
                None => answer(stream, &documents).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => answer(stream, &documents).await,
                    Err(_refused) => {}
                },
            }
        }
    });
    port
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, documents: &Documents) {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let request = String::from_utf8_lossy(request.get(..read).unwrap()).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let found = documents.lock().unwrap().get(path).cloned();
    let answer = match found {
        Some(body) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A folder with settings, and servers for what they name.
struct Scene {
    folder: TempDir,
    documents: Documents,
    http: u16,
}

const RECORDS: &str =
    "openapi: 3.0.3\nservers: [{url: /v1}]\npaths:\n  /towns: {get: {}}\n  /towns/{id}: {get: {}, put: {}}\n";
const TRADE: &str = r#"{"openapi": "3.1.0", "paths": {"/offers": {"post": {}}}}"#;

/// Operations, each in version v1, at an address.
fn plans(operations: &[&str], address: &str) -> String {
    let operation = |name: &&str| {
        format!("<operation name='{name}'><x:version xmlns:x='urn:x'>v1</x:version></operation>")
    };
    let operations: String = operations.iter().map(operation).collect();
    format!(
        "<definitions xmlns='http://schemas.xmlsoap.org/wsdl/' targetNamespace='urn:t' xmlns:t='urn:t' \
         xmlns:s='http://schemas.xmlsoap.org/wsdl/soap/'><binding name='b'>\
         <s:binding transport='http://schemas.xmlsoap.org/soap/http'/>{operations}</binding>\
         <service><port binding='t:b'><s:address location='{address}'/></port></service></definitions>"
    )
}

impl Scene {
    /// A REST service described over HTTP, another over TLS, and a WSDL in a file.
    async fn new() -> Self {
        let documents: Documents = Arc::default();
        let http = server(&documents, None).await;
        let ca = Authority::now("CA").await;
        let own = ca.issue_for(Profile::Tls, "service", &[AltName::Dns("localhost".to_owned())]).await;
        let https = server(&documents, Some(own.identity.clone())).await;
        let scene = Self { folder: tempfile::tempdir().unwrap(), documents, http };
        scene.put("ca.pem", &ca.certificate.to_pem());
        scene.put(
            "gateway.toml",
            &format!(
                "[server]\nid = \"DEMO/GOV/2002/ss2\"\n[configuration]\nanchor = \"anchor.xml\"\n\
                 [[client]]\nid = \"DEMO/GOV/2002/registry\"\nauthentication = \"http\"\n\
                 [[client.service]]\ncode = \"records\"\nurl = \"http://127.0.0.1:1/\"\n\
                 description = \"http://127.0.0.1:{http}/records.yaml\"\n\
                 [[client.service.allow]]\nto = \"DEMO/GOV/1001/portal\"\nendpoints = [\"GET /towns\", \"PUT /towns/*\"]\n\
                 [[client.service]]\ncode = \"trade\"\nurl = \"https://localhost:{https}/\"\nauthorities = \"ca.pem\"\n\
                 description = \"https://localhost:{https}/trade.json\"\n\
                 [[client.wsdl]]\ndescription = \"plans.wsdl\"\n\
                 [[client.wsdl.allow]]\nto = \"DEMO/GOV/1001/portal\"\n\
                 [[client.wsdl.allow]]\nto = \"DEMO/GOV/1001/clerk\"\nservices = [\"withdraw.v1\"]\n"
            ),
        );
        scene.serve("/records.yaml", RECORDS);
        scene.serve("/trade.json", TRADE);
        scene.put("plans.wsdl", &plans(&["deposit", "withdraw"], "http://plans.example/"));
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        durable::write(self.path(name), text.as_bytes()).unwrap();
    }

    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path("gateway.toml")).unwrap();
        assert!(text.contains(from), "{from}");
        self.put("gateway.toml", &text.replace(from, to));
    }

    fn serve(&self, path: &str, document: &str) {
        self.documents.lock().unwrap().insert(path.to_owned(), document.to_owned());
    }

    /// Runs the program: exit code, what it says, what it complains of.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
        program.current_dir(self.folder.path()).args(arguments);
        let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Runs `service refresh`: exit code and lines.
    async fn refresh(&self, arguments: &[&str]) -> (i32, Vec<String>) {
        let (code, out, complaint) = self.run(&[&["service", "refresh"], arguments].concat()).await;
        let lines = out.lines().chain(complaint.lines());
        let port = format!(":{}/", self.http);
        (code, lines.map(|line| line.replace(&port, ":HTTP/")).collect())
    }

    fn list(&self) -> Option<String> {
        std::fs::read_to_string(self.path("descriptions/accepted.toml")).ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_are_shown_then_taken_up_and_then_nothing_differs() {
    let scene = Scene::new().await;
    let (code, lines) = scene.refresh(&["--dry-run"]).await;
    let expected = [
        "DEMO/GOV/2002/registry, http://127.0.0.1:HTTP/records.yaml: new",
        "  + endpoint GET /towns",
        "  + endpoint GET /towns/*",
        "  + endpoint PUT /towns/*",
    ];
    assert_eq!((code, &lines[..4]), (1, &expected.map(String::from)[..]));
    assert!(lines[4].ends_with("/trade.json: new"), "{lines:?}");
    let expected = [
        "  + endpoint POST /offers",
        "DEMO/GOV/2002/registry, plans.wsdl: new",
        "  + service deposit.v1 (open to DEMO/GOV/1001/portal)",
        "  + service withdraw.v1 (open to DEMO/GOV/1001/portal, DEMO/GOV/1001/clerk)",
    ];
    assert_eq!(&lines[5..], &expected.map(String::from)[..]);
    assert!(!scene.path("descriptions").exists());
    let (_, listed, _) = scene.run(&["service", "list"]).await;
    assert_eq!(listed.matches("never").count(), 2, "{listed}");
    let (code, checked, _) = scene.run(&["check"]).await;
    assert_eq!((code, checked.matches("is not taken up yet").count()), (0, 3), "{checked}");

    let (code, lines) = scene.refresh(&[]).await;
    assert_eq!((code, lines.last().map(String::as_str)), (1, Some("taken up")));
    assert_eq!(scene.list().unwrap().matches("[[description]]").count(), 3);
    assert_eq!(scene.refresh(&[]).await, (0, vec![]));
    assert_eq!(scene.refresh(&["--dry-run"]).await, (0, vec![]));
    let (code, checked, _) = scene.run(&["check"]).await;
    assert_eq!(
        (code, checked.contains("warning"), checked.contains("4 services")),
        (0, false, true),
        "{checked}"
    );
    let (_, listed, _) = scene.run(&["service", "list"]).await;
    let deposit = listed.lines().find(|line| line.contains("/deposit/v1")).unwrap();
    let words: Vec<_> = deposit.split_whitespace().collect();
    assert_eq!(
        words[..4],
        ["DEMO/GOV/2002/registry/deposit/v1", "soap", "http://plans.example/", "plans.wsdl"]
    );
    assert!(words[4].ends_with('Z'), "{listed}");
    let (_, explained, _) = scene.run(&["explain"]).await;
    assert_eq!(explained.matches("SHA-256").count(), 4, "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_description_is_a_difference_until_it_is_taken_up() {
    let scene = Scene::new().await;
    scene.refresh(&[]).await;
    let before = scene.list();
    let changed = RECORDS.replace("/v1", "/v2").replace("put", "patch").replace("/towns: ", "/cities: ");
    scene.serve("/records.yaml", &changed);
    scene.serve("/trade.json", &TRADE.replace("}}}", "}} }"));
    scene.put("plans.wsdl", &plans(&["deposit", "close\u{202e}"], "http://moved.example/"));
    let (code, lines) = scene.refresh(&["--dry-run"]).await;
    let told = |text: &str| {
        assert!(lines.iter().any(|line| line == text), "{text}\n{}", lines.join("\n"));
    };
    assert_eq!(code, 1);
    told("DEMO/GOV/2002/registry, http://127.0.0.1:HTTP/records.yaml: changed");
    told("  ~ server: /v1 -> /v2");
    told("  + endpoint GET /cities");
    told("  + endpoint PATCH /towns/*");
    told("  - endpoint GET /towns");
    told("  - endpoint PUT /towns/*");
    told("  ~ service deposit.v1: http://plans.example/ -> http://moved.example/");
    told("  + service close\\u{202e}.v1 (open to DEMO/GOV/1001/portal)");
    told("  - service withdraw.v1 (was open to DEMO/GOV/1001/portal, DEMO/GOV/1001/clerk)");
    for rule in [
        "\"GET /towns\" is not in the service's",
        "\"PUT /towns/*\" is not in the service's",
        "\"withdraw.v1\" is not in the",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with("warning: line ") && line.contains(rule)),
            "{lines:?}"
        );
    }
    assert!(
        lines
            .iter()
            .any(|line| line
                .ends_with("trade.json: changed, but neither services nor endpoints nor addresses"))
    );
    assert_eq!(lines.len(), 14, "{lines:?}");
    assert_eq!(scene.list(), before);

    let (code, again) = scene.refresh(&[]).await;
    assert_eq!((code, &again[..14], again[14].as_str()), (1, &lines[..], "taken up"));
    assert_ne!(scene.list(), before);
    assert_eq!(scene.refresh(&["--dry-run"]).await, (0, vec![]));
    let kept = std::fs::read_dir(scene.path("descriptions")).unwrap().count();
    assert_eq!(kept, 7, "three documents, three before them, and the list");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_cannot_be_had_is_told_and_the_others_are_taken_up() {
    let scene = Scene::new().await;
    scene.refresh(&[]).await;
    scene.serve("/records.yaml", "openapi: 2.0");
    scene.documents.lock().unwrap().remove("/trade.json");
    scene.put("plans.wsdl", &plans(&["deposit"], "http://plans.example/"));
    let (code, lines) = scene.refresh(&[]).await;
    assert_eq!(code, 2);
    let version = "records.yaml: the description is in OpenAPI 2.0, not in OpenAPI 3.0 or 3.1";
    assert!(lines[0].ends_with(version), "{lines:?}");
    assert!(lines[1].ends_with("trade.json: the server answered with status 404"), "{lines:?}");
    assert!(lines.contains(
        &"  - service withdraw.v1 (was open to DEMO/GOV/1001/portal, DEMO/GOV/1001/clerk)".to_owned()
    ));
    assert_eq!(lines.last().unwrap(), "taken up");
    let (_, listed, _) = scene.run(&["service", "list"]).await;
    assert!(!listed.contains("withdraw") && !listed.contains("never"), "{listed}");

    let stranger = Authority::now("CA").await;
    scene.put("ca.pem", &stranger.certificate.to_pem());
    let (code, lines) = scene.refresh(&["--dry-run"]).await;
    assert!(code == 2 && lines[1].contains("trade.json: TLS: "), "{lines:?}");
    std::fs::remove_file(scene.path("plans.wsdl")).unwrap();
    let (code, lines) = scene.refresh(&["plans.wsdl"]).await;
    assert!(code == 2 && lines[0].contains("plans.wsdl: ") && lines[0].contains("No such file"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_the_settings_cannot_go_by_is_refused_as_a_whole() {
    let scene = Scene::new().await;
    scene.refresh(&[]).await;
    let before = scene.list();
    scene.serve("/records.yaml", &RECORDS.replace("put", "patch"));
    scene.put("plans.wsdl", &plans(&["deposit", "listMethods"], "http://plans.example/"));
    let (code, lines) = scene.refresh(&[]).await;
    assert_eq!(code, 2);
    assert!(lines.iter().any(|line| line.contains("nothing is taken up")), "{lines:?}");
    assert!(
        lines.last().unwrap().contains("listMethods.v1 (http://plans.example/) is the code"),
        "{lines:?}"
    );
    assert_eq!(scene.list(), before);
    // The other one, by its name.
    let records = format!("http://127.0.0.1:{}/records.yaml", scene.http);
    let (code, lines) = scene.refresh(&[&records]).await;
    assert_eq!((code, lines.last().unwrap().as_str()), (1, "taken up"), "{lines:?}");
    assert_ne!(scene.list(), before);
    let (code, _) = scene.refresh(&["nosuch.yaml"]).await;
    assert_eq!(code, 2);
    scene.edit("code = \"trade\"", "code = \"tra/de\"");
    let (code, lines) = scene.refresh(&[]).await;
    assert!(code == 2 && lines.iter().any(|line| line.contains("client[1].service[2].code")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_settings_name_no_more_is_forgotten() {
    let scene = Scene::new().await;
    scene.refresh(&[]).await;
    scene.edit("description = \"plans.wsdl\"", "description = \"./plans.wsdl\"");
    let (code, lines) = scene.refresh(&["--dry-run"]).await;
    assert_eq!(code, 1);
    assert!(
        lines.contains(&"DEMO/GOV/2002/registry, plans.wsdl: not in the settings any more".to_owned()),
        "{lines:?}"
    );
    assert_eq!(scene.refresh(&[]).await.0, 1);
    let list = scene.list().unwrap();
    assert!(list.contains("\"./plans.wsdl\"") && !list.contains("\"plans.wsdl\""), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_what_was_taken_up_is_told_and_a_refresh_mends_it() {
    let scene = Scene::new().await;
    scene.refresh(&[]).await;
    for file in std::fs::read_dir(scene.path("descriptions")).unwrap() {
        let path = file.unwrap().path();
        if !path.ends_with("accepted.toml") {
            durable::write(&path, b"damaged").unwrap();
        }
    }
    let (code, _, complaint) = scene.run(&["check"]).await;
    assert_eq!(code, 1);
    assert_eq!(complaint.matches("is not the document that was taken up").count(), 3, "{complaint}");
    let (code, lines) = scene.refresh(&[]).await;
    assert_eq!((code, lines.iter().filter(|line| line.ends_with(": new")).count()), (1, 3), "{lines:?}");
    assert_eq!(scene.run(&["check"]).await.0, 0);
    scene.put("descriptions/accepted.toml", "nonsense");
    let (code, lines) = scene.refresh(&[]).await;
    assert!(code == 2 && lines[0].contains("accepted.toml"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_certificate_is_shown_ours() {
    let scene = Scene::new().await;
    let ca = Authority::now("CA").await;
    let own = ca.issue_for(Profile::Tls, "service", &[AltName::Dns("localhost".to_owned())]).await;
    let ours = ca.issue(Profile::Tls, "gateway").await;
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.der().to_vec().into()).unwrap();
    let provider = cert_authority::crypto::tls_provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(own.identity.chain.clone(), own.identity.key.clone_key())
        .unwrap();
    let port = serve(&scene.documents, Some(tls)).await;
    scene.put("ca.pem", &ca.certificate.to_pem());
    let settings = std::fs::read_to_string(scene.path("gateway.toml")).unwrap();
    let trade = settings.lines().find(|line| line.contains("/trade.json")).unwrap();
    let url = format!("https://localhost:{port}/trade.json");
    scene.edit(trade, &format!("description = \"{url}\""));

    let (code, lines) = scene.refresh(&[&url]).await;
    assert!(code == 2 && lines[0].contains("(we had no certificate to show: "), "{lines:?}");

    let (directory, pin) = (scene.path("keys"), scene.path("keys/pin"));
    std::fs::create_dir_all(&directory).unwrap();
    durable::write_secret(&pin, b"1234").unwrap();
    let keys = SoftwareKeys::open(&directory, &Pin::from_file(&pin).unwrap()).unwrap();
    keys.import(ours.identity.key.secret_der(), Usage::Tls, "own", None, SystemClock.now()).unwrap();
    Inventory::load(&directory).unwrap().import_certificate(&ours.certificate.to_pem()).unwrap();
    let (code, lines) = scene.refresh(&[&url]).await;
    assert_eq!((code, lines.last().unwrap().as_str()), (1, "taken up"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_could_not_be_shown_or_never_ends_is_not_taken_up() {
    let scene = Scene::new().await;
    let records = format!("http://127.0.0.1:{}/records.yaml", scene.http);
    let block = RECORDS.replace("[{url: /v1}]", "\n  - url: >-\n      https://inside.example/v1");
    scene.serve("/records.yaml", &block);
    let (code, lines) = scene.refresh(&[&records]).await;
    assert!(
        code == 2 && lines[0].contains("the addresses of its servers are not written in place"),
        "{lines:?}"
    );
    scene.serve("/records.yaml", &format!("{RECORDS}# {}", "x".repeat(11 << 20)));
    let (code, lines) = scene.refresh(&[&records]).await;
    assert!(code == 2 && lines[0].contains("longer than 10485760 bytes"), "{lines:?}");
    std::fs::remove_file(scene.path("plans.wsdl")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", scene.path("plans.wsdl")).unwrap();
    let (code, lines) = scene.refresh(&["plans.wsdl"]).await;
    assert!(code == 2 && lines[0].contains("longer than 10485760 bytes"), "{lines:?}");
    assert!(scene.list().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_not_taken_up() {
    let scene = Scene::new().await;
    scene.put("descriptions", "a file in the place of the folder");
    let (code, lines) = scene.refresh(&[]).await;
    assert!(code == 2 && lines.last().unwrap().contains("the descriptions cannot be kept: "), "{lines:?}");
    assert!(!lines.contains(&"taken up".to_owned()), "{lines:?}");
    std::fs::remove_file(scene.path("descriptions")).unwrap();
    assert_eq!(scene.refresh(&[]).await.0, 1);

    // The list is written last: without it the old one holds, and a document more does no harm.
    let before = scene.list();
    let (list, aside) = (scene.path("descriptions/accepted.toml"), scene.path("aside.toml"));
    std::fs::copy(&list, &aside).unwrap();
    std::fs::remove_file(&list).unwrap();
    std::fs::create_dir(&list).unwrap();
    scene.serve("/records.yaml", &RECORDS.replace("put", "patch"));
    assert_eq!(scene.refresh(&[]).await.0, 2);
    std::fs::remove_dir(&list).unwrap();
    std::fs::copy(&aside, &list).unwrap();
    assert_eq!(scene.list(), before);
    assert_eq!(scene.run(&["check"]).await.0, 0);
}
