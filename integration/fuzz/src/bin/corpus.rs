//! Writes the first inputs of every fuzz target into the folder `FUZZ_CORPUS`, with the conformance data in `CONFORMANCE_DIR`.
//! What lies there already stays, so that what fuzzing has found is kept.
//!
//! It is a target as the others are, of which libFuzzer runs only the beginning: what is instrumented needs its runtime.
#![no_main]
#![expect(unreachable_code, reason = "the program ends where others begin")]

use std::fs;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::{self, PrivateKey};
use cert_authority::keys::inventory::Usage;
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::keys::{KeyId, KeyType, Pin, Signer as _};
use cert_authority::ocsp::{self, CertId};
use cert_authority::timestamp;
use cert_authority::x509::{Certificate, Name, request};
use conf::identifier::{ClientId, ServiceId};
use gateway::fuzzing;
use gateway::message::multipart::{Event, Limits, Reader};
use gateway::messagelog::frame::{ChunkHead, ChunkType, FrameHead, SegmentHeader};
use gateway::messagelog::record::{AccessRecord, MessageRecord, Outcome, OutcomeRecord, Part, Record, Role};
use gateway::messagelog::tree::Tree;

/// Longer seeds slow a target down more than they help it.
const LONGEST: usize = 64 * 1024;

struct Corpus(PathBuf);

impl Corpus {
    fn put(&self, target: &str, content: impl AsRef<[u8]>) {
        let content = content.as_ref();
        if content.len() > LONGEST {
            return;
        }
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).unwrap();
        let name = crypto::digest(DigestAlgorithm::Sha1, content).hex();
        fs::write(folder.join(name), content).unwrap();
    }

    fn put_all(&self, target: &str, texts: &[&str]) {
        texts.iter().for_each(|text| self.put(target, text));
    }
}

libfuzzer_sys::fuzz_target!(
    init: {
        write();
        std::process::exit(0);
    },
    |_data: &[u8]| {}
);

fn write() {
    let folder = std::env::var_os("FUZZ_CORPUS").expect("FUZZ_CORPUS names a folder");
    let corpus = Corpus(folder.into());
    texts(&corpus);
    made(&corpus);
    let conformance = passerelle_fuzz::world::conformance();
    for path in files(&conformance.join("xroad-7.8.0")) {
        original(&corpus, &path);
    }
    for path in files(&conformance.join("xroad-7.3.2-recorded")) {
        recorded(&corpus, &path);
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (target, file) in [
        ("settings_gateway", "conf/examples/gateway.toml"),
        ("settings_ca", "conf/examples/ca.toml"),
        ("settings_authority", "conf/examples/authority.toml"),
        ("openapi_document", "gateway/tests/descriptions/permits.yaml"),
        ("openapi_document", "gateway/tests/descriptions/statistics.json"),
        ("wsdl_document", "gateway/tests/descriptions/tax.wsdl"),
    ] {
        corpus.put(target, fs::read(project.join(file)).unwrap());
    }
    let count = files(&corpus.0).len();
    println!("{count} inputs in {}", corpus.0.display());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// A file of the sample data of release 7.8.0.
fn original(corpus: &Corpus, path: &Path) {
    let content = fs::read(path).unwrap();
    let name = path.to_string_lossy();
    let within = |folder: &str| name.contains(folder);
    if within("/containers") {
        corpus.put("container", &content);
        container(corpus, &content);
    } else if within("/archives/") {
        corpus.put("archive", &content);
        entries(&content)
            .into_iter()
            .filter(|(name, _)| name.contains("linkinginfo"))
            .for_each(|(_, content)| corpus.put("linking_info", content));
    } else if within("/signatures/") {
        for target in ["signature_read", "signature_verify", "signature_timestamp", "hash_chain"] {
            corpus.put(target, &content);
        }
    } else if within("/timestamps/") {
        corpus.put("timestamp_token", &content);
    } else if within("/hash-chains/") {
        corpus.put("hash_chain", &content);
        for number in 1..=4 {
            let result = path.with_file_name(format!("hc-verifier{number}-hashchainresult.xml"));
            corpus.put("hash_chain", [&fs::read(result).unwrap()[..], b"\n=\n", &content].concat());
        }
    } else if within("/signed-directories/") && name.ends_with(".txt") {
        corpus.put("signed_directory", &content);
    } else if within("/identifiers/") {
        corpus.put("identifier", &content);
    } else if within("/proxy-messages/") || within("/soap-queries/") {
        let text = String::from_utf8_lossy(&content);
        let boundary = text.lines().find_map(|line| line.strip_prefix("--")).unwrap_or("boundary").trim_end();
        whole_message(corpus, &format!("multipart/mixed; boundary={boundary}"), &content);
        corpus.put("soap_envelope", [b"text/xml; charset=UTF-8\n", &content[..]].concat());
    } else if within("-anchor") {
        corpus.put("anchor", &content);
    }
    if within("shared-params") || within("private-params") {
        let target = if within("shared-params") { "shared_params" } else { "private_params" };
        let version =
            ["_v2", "_v3", "_v4", "_v5", "_v6"].iter().position(|version| within(version)).unwrap_or(0);
        corpus.put(target, [&[u8::try_from(version).unwrap()][..], &content].concat());
        certificates(corpus, &String::from_utf8_lossy(&content));
    } else if within("params") {
        corpus.put("optional_part", &content);
    }
    if name.ends_with(".xml") && content.len() < 16 * 1024 {
        corpus.put("canonical", &content);
    }
}

/// A file of a recorded exchange.
fn recorded(corpus: &Corpus, path: &Path) {
    let content = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    match name.as_ref() {
        "client-request.http" | "transport-request.http" | "provider-request.http" => {
            corpus.put("request_head", [&[255][..], &content].concat());
            corpus.put("request_head", [&[7][..], &content].concat());
        }
        "transport-request.body" | "transport-response.body" => {
            let head = String::from_utf8_lossy(&fs::read(path.with_extension("head")).unwrap()).into_owned();
            let content_type = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
            });
            if let Some(content_type) = content_type {
                whole_message(corpus, &content_type, &content);
            }
        }
        _ if name.ends_with(".pem") => {
            corpus.put("pem_text", &content);
            certificate(corpus, &Certificate::from_pem(std::str::from_utf8(&content).unwrap()).unwrap());
        }
        _ if name.ends_with(".der") => corpus.put("ocsp_response", &content),
        _ => {}
    }
}

/// A message between gateways, and what its parts are.
fn whole_message(corpus: &Corpus, content_type: &str, body: &[u8]) {
    let both = [content_type.as_bytes(), b"\n", body].concat();
    corpus.put("multipart", &both);
    corpus.put("content_type", content_type);
    for kind in 0..4 {
        corpus.put("transport_message", [&[kind][..], &both].concat());
    }
    let Ok(mut reader) = Reader::new(content_type, Limits::default()) else { return };
    reader.push(Bytes::copy_from_slice(body));
    let (mut kind, mut part) = (String::new(), Vec::new());
    while let Ok(event) = reader.pull() {
        match event {
            Event::PartHead(head) => {
                kind = head.content_type.as_ref().map(|known| known.as_str().to_owned()).unwrap_or_default();
                corpus.put("content_type", &kind);
                part.clear();
            }
            Event::Data(data) => part.extend_from_slice(&data),
            Event::PartEnd => one_part(corpus, &kind, &part),
            Event::NeedMore | Event::End => return,
        }
    }
}

fn one_part(corpus: &Corpus, kind: &str, part: &[u8]) {
    let text = String::from_utf8_lossy(part);
    if kind.starts_with("application/x-road-rest-request") {
        corpus.put("rest_request", part);
        text.lines().nth(1).into_iter().for_each(|target| {
            corpus.put("service_path", target);
            target.split_once('?').into_iter().for_each(|(_, query)| corpus.put("query", query));
        });
    } else if kind.starts_with("application/x-road-rest-response") {
        corpus.put("rest_response", part);
    } else if kind.starts_with("application/ocsp-response") {
        corpus.put("ocsp_response", part);
    } else if text.contains("Envelope") {
        corpus.put("soap_envelope", [kind.as_bytes(), b"\n", part].concat());
        corpus.put("soap_fault", part);
    } else if text.contains("SignedInfo") {
        ["signature_read", "signature_verify", "signature_timestamp", "canonical"]
            .into_iter()
            .for_each(|target| corpus.put(target, part));
    } else if text.contains("HashChain") {
        corpus.put("hash_chain", part);
    }
}

fn entries(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(zip)) else { return Vec::new() };
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let Ok(mut entry) = archive.by_index(index) else { continue };
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_ok() {
            let name = entry.name().map(|name| name.into_owned()).unwrap_or_default();
            found.push((name, content));
        }
    }
    found
}

fn container(corpus: &Corpus, zip: &[u8]) {
    for (name, content) in entries(zip) {
        if name.ends_with("signatures.xml") {
            ["signature_read", "signature_verify", "signature_timestamp"]
                .into_iter()
                .for_each(|target| corpus.put(target, &content));
        } else if name.ends_with(".tst") {
            corpus.put("timestamp_token", &content);
        }
    }
}

fn certificates(corpus: &Corpus, xml: &str) {
    for base64 in xml.split("cert>").filter(|text| text.trim_start().starts_with("MII")) {
        let base64: String = base64.split('<').next().unwrap().split_whitespace().collect();
        if let Some(certificate) =
            STANDARD.decode(base64).ok().and_then(|der| Certificate::from_der(&der).ok())
        {
            self::certificate(corpus, &certificate);
        }
    }
}

fn certificate(corpus: &Corpus, certificate: &Certificate) {
    corpus.put("certificate", certificate.der());
    let key = certificate.public_key();
    corpus.put("public_key", key.spki_der());
    corpus.put("public_key", certificate.signature());
    for name in [certificate.subject(), certificate.issuer()] {
        corpus.put("name", name.der());
        corpus.put("name", name.rfc2253());
        corpus.put("certificate_profile", [b"EE\n", name.der()].concat());
        corpus.put("certificate_profile", format!("EE\n{}", name.rfc2253()));
    }
}

/// What our own builders make.
fn made(corpus: &Corpus) {
    let folder = tempfile::tempdir().unwrap();
    let keys = SoftwareKeys::open(folder.path().join("keys"), &Pin::new("of no use")).unwrap();
    let name = Name::parse_rfc4514("CN=ss1,serialNumber=EE/ss1/GOV,O=Example\\, Ltd,C=EE").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for key_type in [KeyType::EcP256, KeyType::Rsa2048] {
        corpus.put("private_key", &*PrivateKey::generate(key_type).unwrap());
        let key = keys.create(key_type, Usage::Auth, "seed", None, UnixTime::from_secs(0)).unwrap();
        let made = runtime.block_on(request::build(&name, &[], &key, &keys)).unwrap();
        corpus.put("certificate_request", made.der());
        corpus.put("pem_text", made.to_pem());
        let public = STANDARD.encode(keys.public_key(&key).unwrap().spki_der());
        let told = format!(
            r#"[{{"id":"{key}","usage":"auth","key_type":"{key_type}","label":"seed","member":"EE/GOV/1","created":"1970-01-01T00:00:00Z","public_key":"{public}","certificates":[]}}]"#
        );
        assert!(cert_authority::fuzzing::signer_keys(told.as_bytes()).is_some(), "{told}");
        signer_frames(corpus, &runtime, &key, &told);
    }
    let certificate = passerelle_fuzz::world::recorded_certificate("consumer-sign");
    let issuer = passerelle_fuzz::world::recorded_certificate("root-ca");
    for algorithm in [DigestAlgorithm::Sha1, DigestAlgorithm::Sha256] {
        let asked = ocsp::Request::new(CertId::new(algorithm, &certificate, &issuer).unwrap());
        corpus.put("ocsp_request", asked.to_der().unwrap());
    }
    let asked = timestamp::Request {
        imprint_algorithm: DigestAlgorithm::Sha256,
        imprint: vec![7; 32],
        nonce: Some(vec![1, 2, 3]),
        certificates: true,
        policy: None,
    };
    corpus.put("timestamp_request", asked.to_der().unwrap());
    let mut answer =
        b"multipart/related; boundary=\"jetty\"\n--jetty\r\ncontent-type: application/ocsp-response\r\n\r\n"
            .to_vec();
    answer.extend_from_slice(b"0\x82\r\n--jetty--\r\n");
    corpus.put("ocsp_answer", answer);
    records(corpus);
}

/// A whole conversation with a signer, and each of its frames.
fn signer_frames(corpus: &Corpus, runtime: &tokio::runtime::Runtime, key: &KeyId, keys: &str) {
    let sign = [&[2][..], &hex::decode(key.as_str()).unwrap(), &[7], b"to be signed"].concat();
    let told = [&[1][..], keys.as_bytes()].concat();
    let mut all = Vec::new();
    for frame in [&[1][..], &told, &sign, b"\0a signature", b"\x02\x01no such key"] {
        let written = runtime.block_on(cert_authority::fuzzing::signer_frame(frame)).unwrap();
        corpus.put("signer_frames", &written);
        all.extend(written);
    }
    corpus.put("signer_frames", all);
}

fn records(corpus: &Corpus) {
    let client = ClientId::parse_encoded("DEMO/GOV/1001/portal").unwrap();
    let service = ServiceId::new(client.member().clone().into(), "get", Some("v1")).unwrap();
    let digest = crypto::digest(DigestAlgorithm::Sha512, b"x");
    let mut message =
        MessageRecord::new(Role::Provider, "id", "rid", client, service, Bytes::from_static(b"<s/>"));
    message.parts = vec![Part::new("text/xml", 1, digest)];
    message.circumstances.purpose = Some("P1".into());
    let outcome = OutcomeRecord {
        request: 0,
        message_id: "id".into(),
        outcome: Outcome::Fault,
        fault_code: Some("server.x".into()),
        fault_text: None,
        status: Some(500),
    };
    let access = AccessRecord {
        who: "auditor".into(),
        role: None,
        action: "show".into(),
        query: "id".into(),
        reason: None,
        records: vec![1, 2],
        bodies: true,
    };
    let log = *b"sixteen bytes id";
    let tree = Tree::default();
    let created = UnixTime::from_secs(1);
    let mut segment = SegmentHeader { log, number: 1, created, previous: [0; 32], tree }.encode();
    for (kind, record) in
        [(0, Record::Request(message)), (2, Record::Outcome(outcome)), (6, Record::Access(access))]
    {
        let fields = fuzzing::record_fields(&record);
        corpus.put("record", [&[kind][..], &fields].concat());
        let head = FrameHead { kind: record.kind(), sequence: u64::from(kind), time: created };
        let content = [&head.encode()[..], &fields].concat();
        corpus.put("record", &content);
        let length = u32::try_from(content.len()).unwrap();
        let mut chunk = ChunkHead { kind: ChunkType::Frame, length, write: 4096, hash: [0; 32] };
        chunk.hash = chunk.hash_of(&content);
        corpus.put("segment", chunk.encode(&log));
        let begin = segment.len();
        segment.extend_from_slice(&chunk.encode(&log));
        segment.extend_from_slice(&content);
        segment.resize(begin + usize::try_from(chunk.size()).unwrap(), 0);
    }
    corpus.put("segment", segment);
}

/// Short texts, each with something that its parser looks for.
fn texts(corpus: &Corpus) {
    let (hash, signature) = (STANDARD.encode([5; 32]), STANDARD.encode([9; 68]));
    let checkpoint = format!("example.org/log\n9\n{hash}\n");
    let note = format!("{checkpoint}\n\u{2014} example.org/log {signature}\n");
    corpus.put("checkpoint", &checkpoint);
    corpus.put("checkpoint", format!("{checkpoint}extension\n"));
    corpus.put("note", &note);
    corpus.put("note", format!("{note}\u{2014} witness {}\n", STANDARD.encode([3; 76])));
    corpus.put("note", format!("\u{2014} example.org/log {signature}"));
    corpus.put("note", format!("example.org/log+00000000+{}", STANDARD.encode([1; 33])));
    corpus.put("witness_request", format!("old 0\n\n{note}"));
    corpus.put("witness_request", format!("old 5\n{hash}\n{hash}\n\n{note}"));
    corpus.put("inclusion_proof", format!("c2sp.org/tlog-proof@v1\nindex 3\n{hash}\n{hash}\n\n{note}"));
    corpus.put_all(
        "identifier",
        &["EE/GOV/1001", "EE/GOV/1001/p%2Fq", "EE/GOV/1001/sub/get/v1", "EE/group", "group"],
    );
    corpus.put_all(
        "query",
        &["a=1&b&c=x%20y+z%2B&a=2", "queryId=1&unique&xRoadInstance=EE", "serviceCode=%C3%A4"],
    );
    corpus.put_all("tile_path", &["0/x001/x234/067", "1/003.p/17", "entries/000", "63/000"]);
    corpus.put_all("service_path", &["/a/%2e%2E/b", "/a//b", "/%2F", "/a;b/c", "/%5c", "/\u{e9}%C3%A9"]);
    corpus.put_all(
        "path_pattern",
        &["/a/*/b\n/a/x/b", "/**\n/x/y", "/a**b*c\n/axbyc", "\\*\\\\\n*\\", "a%2Fb\na\0b"],
    );
    corpus.put(
        "trace_context",
        "traceparent:00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate:a=b,c=d\nother:x",
    );
    corpus.put_all(
        "content_type",
        &["multipart/mixed; boundary=\"a b\"", "text/xml;charset=utf-8; action=\"u\\\"\""],
    );
    corpus.put("soap_fault", "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><e:Fault><faultcode>c</faultcode><faultstring>t</faultstring><detail><x>1</x></detail></e:Fault></e:Body></e:Envelope>");
    corpus.put("canonical", "<?x y?><a xmlns:b=\"u\" b:c=\"1\" z='&quot;' a=\"&#9;\"><b:d xmlns=\"\">\r\n<![CDATA[<]]><!-- c --></b:d></a><?z?>");
    corpus.put_all("settings_ca", &["90 s", "5m", "10 MiB", "1h"]);
    corpus.put("openapi_document", "openapi: 3.0.0\ninfo: {title: t, version: '1'}\nservers: [{url: 'http://h/x'}]\npaths:\n  /a/{b}:\n    get: {}\n");
    let info = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    corpus.put("settings_authority", info);
    let digest = hex::encode([1; 64]);
    corpus.put("linking_info", format!("- - SHA-512\n{digest} a.asice\n"));
}
