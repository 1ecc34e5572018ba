//! A gateway's log with signed messages in it, and an authority that stamps them.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

use std::{path::Path, process::Command, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::FixedClock,
    crypto::digest,
    keys::KeyType,
    timestamp::{Request, Token},
};
use gateway::{
    evidence::signature::{SigningKey, sign},
    message::digests::PartDigests,
    messagelog::{
        Config, KeyGrouping, LogStore, MessageLog, MessageRecord, Part, Record, Role,
        disk::{Disk, SystemDisk},
        reader::Reader,
        stamp::{Granted, StampFuture, TimestampAuthority},
        timestamper::stamp_pending,
    },
};
use tempfile::TempDir;

use crate::{
    evidence_support::{World, now},
    log_support::{config, runtime},
};

/// ```text
/// EE/GOV/1001/portal ──request──► EE/GOV/1001/registry/records       both of one member, that the world has a key for
/// ```
pub(crate) struct Scene {
    pub(crate) directory: TempDir,
    pub(crate) world: Arc<World>,
    pub(crate) key: SigningKey,
    pub(crate) log: MessageLog,
    pub(crate) clock: FixedClock,
    pub(crate) runtime: tokio::runtime::Runtime,
}

/// One message of it.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) id: &'a str,
    pub(crate) role: Role,
    pub(crate) response: bool,
    /// Who asks, encoded.
    pub(crate) client: &'a str,
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) keep: bool,
}

pub(crate) const REQUEST: Message<'_> = Message {
    id: "q-1",
    role: Role::Consumer,
    response: false,
    client: "EE/GOV/1001/portal",
    body: Some(b"question"),
    keep: true,
};
pub(crate) const RESPONSE: Message<'_> = Message { response: true, body: None, ..REQUEST };

pub(crate) const CLIENT: &str = "xRoadInstance=EE&memberClass=GOV&memberCode=1001&subsystemCode=portal";
pub(crate) const PROVIDER: &str = "xRoadInstance=EE&memberClass=GOV&memberCode=1001&subsystemCode=registry";

impl Scene {
    pub(crate) fn new() -> Self {
        Self::grouped(KeyGrouping::Period)
    }

    /// Whose bodies share a data key.
    pub(crate) fn grouped(key_grouping: KeyGrouping) -> Self {
        Self::set(|config| Config { key_grouping, ..config })
    }

    /// With these settings of the log.
    pub(crate) fn set(change: impl FnOnce(Config) -> Config) -> Self {
        Self::on(Arc::new(SystemDisk), change)
    }

    /// On this disk.
    pub(crate) fn on(disk: Arc<dyn Disk>, change: impl FnOnce(Config) -> Config) -> Self {
        let world = Arc::new(World::new(KeyType::EcP256));
        let key = world.signing_key();
        let directory = tempfile::tempdir().unwrap();
        let clock = FixedClock::new(now());
        let config = change(config(directory.path()));
        let log = MessageLog::create_on(config, Arc::new(clock.clone()), disk).unwrap();
        Self { directory, world, key, log, clock, runtime: runtime() }
    }

    pub(crate) fn reader(&self) -> Reader {
        self.log.reader()
    }

    /// Logs a message as an exchange does; gives its number.
    pub(crate) fn log(&self, message: Message<'_>) -> u64 {
        self.runtime.block_on(self.logged(message))
    }

    async fn logged(&self, Message { id, role, response, client, body, keep }: Message<'_>) -> u64 {
        let sha512 = |bytes: &[u8]| digest(DigestAlgorithm::Sha512, bytes);
        let first = if response { "200\r\nOK" } else { "POST\r\n/r1/EE/GOV/1001/registry/records" };
        let head = format!(
            "{first}\r\nX-Road-Client:{client}\r\nx-road-service:EE/GOV/1001/registry/records\r\n\
             x-road-id:{id}\r\n"
        );
        let mut digests = PartDigests::of_message(DigestAlgorithm::Sha512, head.as_bytes());
        if let Some(body) = body {
            digests = digests.with_attachment(sha512(body));
        }
        let bundle = sign(&digests, &self.key, &self.world.keys, now()).await.unwrap();
        let client = client.parse().unwrap();
        let service = "EE/GOV/1001/registry/records".parse().unwrap();
        let mut record = MessageRecord::new(role, id, "r-1", client, service, bundle.signature_xml);
        let vault = self.log.vault().of(match role {
            Role::Consumer => &record.client,
            Role::Provider => record.service.client(),
        });
        (record.hash_chain, record.hash_chain_result) = (bundle.hash_chain, bundle.hash_chain_result);
        let part = |kind: &str, content: &[u8]| {
            Part::new(kind, u64::try_from(content.len()).unwrap(), sha512(content))
        };
        record.parts.push(part("application/x-road-rest-request", head.as_bytes()));
        let mut contents = vec![Some(vault.seal(head.as_bytes()).unwrap())];
        if let Some(body) = body {
            record.parts.push(part("application/x-road-rest-body", body));
            let mut writer = vault.writer().unwrap();
            writer.write(body).await.unwrap();
            contents.push(if keep { Some(writer.finish().await.unwrap()) } else { None });
        }
        let record = if response { Record::Response(record) } else { Record::Request(record) };
        self.log.append(record, contents).await.unwrap().sequence
    }

    /// Stamps all that waits for it.
    pub(crate) fn stamp(&self) -> usize {
        self.runtime.block_on(stamp_pending(&self.log, &self.authorities())).unwrap()
    }

    pub(crate) fn authorities(&self) -> Vec<Box<dyn TimestampAuthority>> {
        vec![Box::new(Tsa(Arc::clone(&self.world)))]
    }

    /// Writes the configuration; gives its directory.
    pub(crate) fn configuration(&self) -> std::path::PathBuf {
        let directory = self.directory.path().join("globalconf");
        if !directory.exists() {
            std::fs::create_dir(&directory).unwrap();
            self.world.write_configuration(&directory);
        }
        directory
    }
}

/// The authority of the world, asked without a network.
struct Tsa(Arc<World>);

impl TimestampAuthority for Tsa {
    fn name(&self) -> &str {
        "TSA"
    }

    fn stamp<'a>(&'a self, data: &'a [u8]) -> StampFuture<'a> {
        Box::pin(async move {
            let request = Request {
                imprint_algorithm: DigestAlgorithm::Sha512,
                imprint: digest(DigestAlgorithm::Sha512, data).as_ref().to_vec(),
                nonce: Some(vec![0x41; 8]),
                certificates: true,
                policy: None,
            };
            let token = Token::from_response(&self.0.answer(&request, now()).await).unwrap();
            Ok(Granted { token: token.der().clone(), time: token.gen_time() })
        })
    }
}

pub(crate) fn put(path: &Path, bytes: &[u8]) {
    #[expect(clippy::disallowed_methods, reason = "a directory of this test")]
    std::fs::write(path, bytes).unwrap();
}

/// What a program says when it is content.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Unpacks an archive with `unzip`; gives the directory and the names in it.
pub(crate) fn unzip(archive: &[u8]) -> (TempDir, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive.zip");
    put(&file, archive);
    run(Command::new("unzip").arg("-tq").arg(&file));
    let names = run(Command::new("unzip").arg("-Z1").arg(&file));
    run(Command::new("unzip").arg("-q").arg(&file).arg("-d").arg(directory.path()));
    (directory, names.lines().map(str::to_owned).collect())
}

/// openssl judges the time-stamp of an unpacked container, xmlsec1 its signature.
pub(crate) fn judge_unpacked(container: &Path, world: &World) {
    let path = |name: &str| container.join(name);
    let ca = path("ca.pem");
    put(&ca, world.root().to_pem().as_bytes());
    let signature = std::fs::read_to_string(path("META-INF/signatures.xml")).unwrap();
    let (token, data) = if path("META-INF/timestamp.tst").exists() {
        (path("META-INF/timestamp.tst"), path("ts-hashchainresult.xml"))
    } else {
        let document = roxmltree::Document::parse(&signature).unwrap();
        for name in ["EncapsulatedTimeStamp", "SignatureValue"] {
            let text = document.descendants().find(|node| node.tag_name().name() == name).unwrap().text();
            let base64: String = text.unwrap().split_whitespace().collect();
            put(&path(name), &STANDARD.decode(base64).unwrap());
        }
        (path("EncapsulatedTimeStamp"), path("SignatureValue"))
    };
    run(Command::new("openssl")
        .args(["ts", "-verify", "-token_in", "-attime", &now().as_secs().to_string()])
        .arg("-data")
        .arg(data)
        .arg("-in")
        .arg(token)
        .arg("-CAfile")
        .arg(&ca));
    run(Command::new("xmlsec1")
        .args(["--verify", "--insecure", "--enabled-key-data", "x509"])
        .args(["--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties"])
        .arg("--url-map:/message.xml")
        .arg(path("message.xml"))
        .arg("--url-map:/sig-hashchainresult.xml")
        .arg(path("sig-hashchainresult.xml"))
        .arg(path("META-INF/signatures.xml")));
}
