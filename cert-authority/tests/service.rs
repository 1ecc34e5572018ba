//! The program `passerelle-ca` as its users meet it: the real program, over real sockets, judged by openssl and curl.
//!
//! ```text
//! init ──► serve ◄── openssl ocsp, openssl ts, curl
//!            ▲
//! issue, revoke (other processes)
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::ocsp::{self, CertId, CertStatus, Response};
use cert_authority::x509::Certificate;

struct House {
    dir: tempfile::TempDir,
}

struct Served<'a> {
    house: &'a House,
    program: Child,
    log: BufReader<std::process::ChildStderr>,
    address: String,
}

impl House {
    #[expect(clippy::disallowed_methods, reason = "a test's own file need not be durable")]
    fn new(intermediate: bool, key: &str) -> Self {
        let house = Self { dir: tempfile::tempdir().unwrap() };
        let below = "intermediate = { name = \"CN=Issuing CA, C=EE\" }";
        let text = format!(
            "listen = \"127.0.0.1:0\"\nurl = \"http://127.0.0.1:1\"\n\
             root = {{ name = \"CN=Root, C=EE\", key = \"{key}\" }}\n\
             ocsp = {{ name = \"CN=OCSP, C=EE\", key = \"{key}\" }}\n\
             tsa = {{ name = \"CN=TSA, C=EE\", key = \"{key}\" }}\n{}\n",
            if intermediate { below } else { "" }
        );
        std::fs::write(house.path("ca.toml"), text).unwrap();
        house.run(&["init"]);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-ca"));
        command.current_dir(self.dir.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        said(self.command(arguments).output().unwrap())
    }

    /// What the program complains of.
    fn complaint(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?} should fail");
        String::from_utf8(output.stderr).unwrap()
    }

    fn openssl(&self, arguments: &str) -> String {
        let mut command = Command::new("openssl");
        said(command.current_dir(self.dir.path()).args(arguments.split(' ')).output().unwrap())
    }

    /// A key, a request made by openssl, and a certificate `<name>.pem` with the intermediates behind it.
    fn issue(&self, name: &str, profile: &str) {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /C=EE/O=GOV/CN={name}"
        ));
        let (request, out) = (format!("{name}.csr"), format!("{name}.pem"));
        self.run(&["issue", "--profile", profile, "--request", &request, "--out", &out]);
    }

    fn serve(&self) -> Served<'_> {
        let mut program = self.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(program.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the program ended");
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.trim().to_owned();
            }
        };
        Served { house: self, program, log, address }
    }
}

impl Served<'_> {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Output {
        let mut command = Command::new("curl");
        command.current_dir(self.house.dir.path()).args(["-sS", "--max-time", "20", "--path-as-is"]);
        command.args(arguments).arg(self.url(path)).output().unwrap()
    }

    fn fetch(&self, path: &str, file: &str) {
        said(self.curl(&["--fail", "-o", file], path));
    }

    /// The HTTP status of a POST of a file's content.
    fn status_of_post(&self, path: &str, content_type: &str, file: &str) -> String {
        let header = format!("Content-Type: {content_type}");
        let data = format!("@{file}");
        said(self.curl(&["-o", "answer", "-w", "%{http_code}", "-H", &header, "--data-binary", &data], path))
    }

    /// `openssl ocsp`'s word on a certificate, its own verification of the response included.
    fn ocsp(&self, arguments: &str) -> String {
        let url = self.url("/ocsp");
        self.house.openssl(&format!("ocsp -url {url} -CAfile ca.pem {arguments}"))
    }

    /// Sends SIGTERM and demands a clean end.
    fn stop(mut self) {
        let process = rustix::process::Pid::from_child(&self.program);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        assert!(self.program.wait().unwrap().success());
        assert!(rest.contains("stopped"), "{rest}");
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn said(output: Output) -> String {
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

fn first_certificate(path: &Path) -> Certificate {
    Certificate::pems(&std::fs::read_to_string(path).unwrap()).unwrap().remove(0)
}

#[test]
fn openssl_believes_the_responder_and_sees_a_revocation_at_once() {
    let house = House::new(false, "p256");
    house.issue("leaf", "sign");
    let served = house.serve();
    served.fetch("/ca.pem", "ca.pem");
    for digest in ["-sha1", "-sha256", "-sha512"] {
        let word = served.ocsp(&format!("{digest} -issuer ca.pem -cert leaf.pem"));
        assert!(word.contains("Response verify OK") && word.contains("leaf.pem: good"), "{word}");
        assert!(!word.contains("WARNING"), "the nonce is not repeated: {word}");
    }
    let word = served.ocsp("-no_nonce -issuer ca.pem -cert leaf.pem");
    assert!(word.contains("leaf.pem: good"), "{word}");
    let word = served.ocsp("-issuer ca.pem -serial 0x1234");
    assert!(word.contains("0x1234: unknown"), "{word}");

    // Issued and revoked by other processes while the answer without a nonce could still be given again.
    house.issue("late", "auth");
    house.run(&["revoke", "leaf.pem", "--reason", "key-compromise"]);
    let word = served.ocsp("-no_nonce -issuer ca.pem -cert leaf.pem -cert late.pem");
    assert!(word.contains("late.pem: good"), "{word}");
    assert!(word.contains("leaf.pem: revoked") && word.contains("keyCompromise"), "{word}");

    served.fetch("/crl", "crl.der");
    let list = house.openssl("crl -inform DER -in crl.der -noout -text -CAfile ca.pem -verify");
    let serial = first_certificate(&house.path("leaf.pem")).serial().hex();
    assert!(list.contains("verify OK") && list.to_lowercase().contains(&serial), "{list}");
    served.stop();
}

#[test]
fn an_intermediate_issues_and_the_root_answers_for_it() {
    let house = House::new(true, "p256");
    house.issue("leaf", "tls");
    let served = house.serve();
    served.fetch("/ca.pem", "ca.pem");
    let all = Certificate::pems(&std::fs::read_to_string(house.path("ca.pem")).unwrap()).unwrap();
    assert_eq!(all.len(), 2);
    for (name, certificate) in [("root.pem", &all[0]), ("issuing.pem", &all[1])] {
        cert_authority::durable::write(house.path(name), certificate.to_pem().as_bytes()).unwrap();
    }
    let chain = house.openssl("verify -CAfile root.pem -untrusted leaf.pem leaf.pem");
    assert!(chain.contains("leaf.pem: OK"), "{chain}");
    assert!(served.ocsp("-issuer issuing.pem -cert leaf.pem").contains("leaf.pem: good"));
    assert!(served.ocsp("-issuer root.pem -cert issuing.pem").contains("issuing.pem: good"));
    // The issuing authority has not issued itself.
    let serial = format!("0x{}", all[1].serial().hex());
    let word = served.ocsp(&format!("-issuer issuing.pem -serial {serial}"));
    assert!(word.contains(": unknown"), "{word}");
    for (path, issuer) in [("/crl", "CN = Issuing CA"), ("/crl/root", "CN = Root")] {
        served.fetch(path, "crl.der");
        let list = house.openssl("crl -inform DER -in crl.der -noout -issuer");
        assert!(list.contains(issuer), "{list}");
    }
    served.fetch("/ocsp.pem", "ocsp.pem");
    let signers = std::fs::read_to_string(house.path("ocsp.pem")).unwrap();
    assert_eq!(Certificate::pems(&signers).unwrap().len(), 2);
}

#[test]
fn a_request_in_the_path_keeps_its_slashes() {
    let house = House::new(false, "p256");
    house.issue("leaf", "sign");
    let served = house.serve();
    served.fetch("/ca.pem", "ca.pem");
    let (leaf, root) = (first_certificate(&house.path("leaf.pem")), first_certificate(&house.path("ca.pem")));
    let id = CertId::new(DigestAlgorithm::Sha1, &leaf, &root).unwrap();
    // A nonce of 0xff bytes gives slashes in a row in the base64 text.
    let request = ocsp::Request { cert_ids: vec![id], nonce: Some(vec![0xff; 32]) };
    let text = STANDARD.encode(request.to_der().unwrap());
    assert!(text.contains("//"), "{text}");
    for path in [format!("/ocsp/{text}"), format!("/ocsp/{}", text.replace('/', "%2F").replace('+', "%2b"))] {
        let answer = served.curl(&["--fail"], &path).stdout;
        let response = Response::from_der(answer).unwrap();
        assert_eq!(response.nonce(), Some([0xff; 32].as_slice()));
        assert_eq!(response.responses()[0].status, CertStatus::Good);
        let verdict = ocsp::verify(&response, &leaf, &root, &ocsp::Policy::default(), response.produced_at());
        assert!(verdict.is_ok());
    }
    let answer = served.curl(&["--fail"], "/ocsp/no-base64").stdout;
    assert_eq!(answer, ocsp::refusal(ocsp::ErrorStatus::MalformedRequest));
}

#[test]
fn questions_about_foreign_certificates_and_garbage_are_refused() {
    let (house, foreign) = (House::new(false, "p256"), House::new(false, "p256"));
    foreign.issue("leaf", "sign");
    let served = house.serve();
    served.fetch("/ca.pem", "ca.pem");
    foreign.serve().fetch("/ca.pem", "ca.pem");
    let (leaf, root) =
        (first_certificate(&foreign.path("leaf.pem")), first_certificate(&foreign.path("ca.pem")));
    let ours = first_certificate(&house.path("ca.pem"));
    let ask = |ids: Vec<CertId>| {
        let request = ocsp::Request { cert_ids: ids, nonce: None }.to_der().unwrap();
        cert_authority::durable::write(house.path("question"), &request).unwrap();
        assert_eq!(served.status_of_post("/ocsp", ocsp::REQUEST_TYPE, "question"), "200");
        std::fs::read(house.path("answer")).unwrap()
    };
    let theirs = CertId::new(DigestAlgorithm::Sha1, &leaf, &root).unwrap();
    let mine = CertId::new(DigestAlgorithm::Sha1, &leaf, &ours).unwrap();
    let unauthorized = ocsp::refusal(ocsp::ErrorStatus::Unauthorized);
    assert_eq!(ask(vec![theirs.clone()]), unauthorized);
    assert_eq!(ask(vec![mine, theirs]), unauthorized);

    let put = |content: &[u8]| cert_authority::durable::write(house.path("garbage"), content).unwrap();
    put(b"\x30\x03garbage");
    assert_eq!(served.status_of_post("/ocsp", ocsp::REQUEST_TYPE, "garbage"), "200");
    let answer = std::fs::read(house.path("answer")).unwrap();
    assert_eq!(answer, ocsp::refusal(ocsp::ErrorStatus::MalformedRequest));
    assert_eq!(served.status_of_post("/ocsp", "text/plain", "garbage"), "415");
    assert_eq!(served.status_of_post("/tsa", "text/plain", "garbage"), "415");
    assert_eq!(served.status_of_post("/tsa", "application/timestamp-query", "garbage"), "200");
    assert!(house.openssl("ts -reply -in answer -text").contains("Rejected"));
    assert_eq!(served.status_of_post("/nowhere", "text/plain", "garbage"), "404");
    put(&[0; 5000]);
    for (path, media_type) in [("/ocsp", ocsp::REQUEST_TYPE), ("/tsa", "application/timestamp-query")] {
        assert_eq!(served.status_of_post(path, media_type, "garbage"), "413");
    }
    let long = format!("/ocsp/{}", "A".repeat(9000));
    assert_eq!(said(served.curl(&["-o", "answer", "-w", "%{http_code}"], &long)), "414");
    for path in ["/ocsp", "/tsa"] {
        assert_eq!(said(served.curl(&["-o", "answer", "-w", "%{http_code}"], path)), "405");
    }
    // A request that never ends holds nobody up.
    let mut silent = TcpStream::connect(&served.address).unwrap();
    silent.write_all(b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
    served.fetch("/tsa.pem", "tsa.pem");
}

#[test]
fn openssl_believes_the_stamps_of_every_kind_of_key() {
    for key in ["p256", "p384", "rsa2048"] {
        let house = House::new(key == "p384", key);
        let served = house.serve();
        served.fetch("/ca.pem", "ca.pem");
        served.fetch("/tsa.pem", "tsa.pem");
        let mut serials = Vec::new();
        for (digest, with) in
            [("sha256", "-cert"), ("sha512", "-cert"), ("sha256", ""), ("sha512", "-no_nonce")]
        {
            let query = format!("ts -query -data ca.toml -{digest} -out q.tsq {with}");
            house.openssl(query.trim());
            assert_eq!(served.status_of_post("/tsa", "application/timestamp-query", "q.tsq"), "200");
            let carried = if with == "-cert" { "" } else { " -untrusted tsa.pem" };
            let word =
                house.openssl(&format!("ts -verify -queryfile q.tsq -in answer -CAfile ca.pem{carried}"));
            assert!(word.contains("Verification: OK"), "{word}");
            let shown = house.openssl("ts -reply -in answer -text");
            serials.extend(shown.lines().filter(|line| line.starts_with("Serial number")).map(str::to_owned));
            let time = shown.lines().find(|line| line.starts_with("Time stamp")).unwrap();
            assert!(!time.contains('.'), "fractions of a second: {time}");
        }
        serials.sort();
        serials.dedup();
        assert_eq!(serials.len(), 4, "serial numbers repeat");
        house.openssl("ts -query -data ca.toml -sha1 -out q.tsq");
        assert_eq!(served.status_of_post("/tsa", "application/timestamp-query", "q.tsq"), "200");
        assert!(
            house.openssl("ts -reply -in answer -text").contains("unrecognized or unsupported algorithm")
        );
    }
}

#[test]
fn a_register_torn_by_a_crash_is_taken_up_again() {
    let house = House::new(false, "p256");
    house.issue("leaf", "sign");
    let mut register = std::fs::OpenOptions::new().append(true).open(house.path("data/root.jsonl")).unwrap();
    register.write_all(b"{\"event\":\"revoked\",\"ser").unwrap();
    let served = house.serve();
    served.fetch("/ca.pem", "ca.pem");
    assert!(served.ocsp("-issuer ca.pem -cert leaf.pem").contains("leaf.pem: good"));
    house.issue("next", "sign");
    assert!(served.ocsp("-issuer ca.pem -cert next.pem").contains("next.pem: good"));
    served.stop();
    assert!(house.run(&["show"]).contains("CN=next"));
}

#[test]
fn the_commands_refuse_what_cannot_be() {
    let house = House::new(false, "p256");
    assert!(house.complaint(&["init"]).contains("is there already"));
    house.issue("leaf", "sign");
    house.run(&["revoke", "leaf.pem"]);
    assert!(house.complaint(&["revoke", "leaf.pem"]).contains("revoked already"));
    assert!(house.complaint(&["revoke", "1234"]).contains("1234"));
    assert!(house.complaint(&["revoke", "leaf.pem", "--reason", "boredom"]).contains("boredom"));
    // A request whose signature is not its key's proves nothing.
    let request = std::fs::read_to_string(house.path("leaf.csr")).unwrap();
    let mut der = pem_content(&request);
    *der.last_mut().unwrap() ^= 1;
    cert_authority::durable::write(house.path("forged.csr"), &der).unwrap();
    let issue = ["issue", "--profile", "sign", "--request", "forged.csr", "--out", "forged.pem"];
    assert!(house.complaint(&issue).contains("signature"));
    assert!(!house.path("forged.pem").exists());
    house.openssl("req -newkey rsa:1024 -nodes -keyout weak.key -out weak.csr -subj /CN=weak");
    house.complaint(&["issue", "--profile", "sign", "--request", "weak.csr", "--out", "weak.pem"]);
    assert!(!house.path("weak.pem").exists());

    let shown = house.command(&["show", "--json"]).output().unwrap().stdout;
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    let issued = shown[0]["issued"].as_array().unwrap();
    assert_eq!(issued.len(), 3, "OCSP, TSA and leaf: {shown:#}");
    let leaf = issued.iter().find(|one| one["profile"] == "sign").unwrap();
    assert_eq!(leaf["reason"], "unspecified");
}

fn pem_content(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).unwrap()
}

#[test]
fn the_subject_and_hosts_are_what_the_operator_says() {
    let house = House::new(false, "p256");
    house.openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out r.csr -subj /CN=whoever",
    );
    let subject = ["--subject", "CN=1001, O=GOV, C=DEMO", "--host", "gw.example", "--host", "127.0.0.11"];
    let issue = ["issue", "--profile", "tls", "--request", "r.csr", "--out", "c.pem"];
    house.run(&[issue.as_slice(), &subject].concat());
    let text = house.openssl("x509 -in c.pem -noout -text");
    assert!(text.contains("Subject: C = DEMO, O = GOV, CN = 1001"), "{text}");
    assert!(text.contains("DNS:gw.example") && text.contains("IP Address:127.0.0.11"), "{text}");
}
