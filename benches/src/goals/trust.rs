//! G11 and G12: what our trust services cost beside `openssl`, as CPU of the serving processes for each answer.
//!
//! | | ours | beside |
//! |---|---|---|
//! | OCSP, each answer signed | `passerelle-ca serve`, requests with a nonce | `openssl ocsp -port`, which signs each |
//! | OCSP, answers given again | the same, requests without | the same |
//! | OCSP with many certificates | the register filled up | the same with few |
//! | time-stamps, P-256 | `passerelle-ca serve` | `openssl ts -reply`, one process each, as it comes |
//! | time-stamps, RSA-2048 | the same with such keys | signing alone, by ring |
//!
//! `openssl` takes a connection for each OCSP request; ours is asked over kept ones in the first rows of [`measure`], as
//! gateways do, and both over new ones in the last.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::ocsp::{self, CertId};
use cert_authority::timestamp;
use cert_authority::x509::Certificate;
use integration::demo::ecosystem::init;
use integration::demo::layout::Layout;
use integration::demo::narrator::Narrator;
use integration::demo::programs::Running;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

use super::{Bound, Place, Row, Scale, Section, count, figure, median};
use crate::generator::{self, Load};
use crate::process;

const OCSP: &str = "application/ocsp-request";
const TSP: &str = "application/timestamp-query";
/// Time-stamps that `openssl ts` makes in a round.
const REPLIES: u64 = 20;

/// Measures.
///
/// # Errors
/// In words: a program that could not be started, a request that failed.
pub async fn measure(scale: &Scale, place: &Place) -> Result<Section, String> {
    let folder = place.directory.join("trust");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut rows = revocation(scale, place, &folder).await?;
    rows.extend(stamps(scale, place, &folder).await?);
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Section { rows, details: String::new() })
}

/// Our trust services, as the demo sets them up; nothing else of the demo runs.
struct Ours {
    layout: Layout,
    running: Running,
}

impl Ours {
    async fn start(place: &Place, layout: Layout) -> Result<Self, String> {
        let running =
            place.programs.start(&layout.folder("ca"), "output.log", "passerelle-ca", &["serve"])?;
        let ours = Self { layout, running };
        // A large register is read first.
        reachable(ours.layout.trust()).await?;
        Ok(ours)
    }

    async fn cpu(
        &self,
        path: &str,
        media: &str,
        body: Vec<u8>,
        kept: bool,
        scale: &Scale,
    ) -> Result<f64, String> {
        let load = Asked { target: self.layout.trust(), path, media, body, kept };
        load.cpu(&[self.running.id()], scale).await
    }
}

async fn revocation(scale: &Scale, place: &Place, folder: &Path) -> Result<Vec<Row>, String> {
    let made = |name: &str, offset| {
        init(&place.programs, &folder.join(name), place.ports + offset, "p256", &Narrator::silent())
    };
    let few = made("few", 400)?;
    let many = made("many", 450)?;
    fill(&many, scale.certificates)?;
    let question = question(&few)?;
    let other = self::question(&many)?;
    let openssl = Openssl::start(folder, SocketAddr::from(([127, 0, 0, 1], place.ports + 449))).await?;
    let (few, many) = (Ours::start(place, few).await?, Ours::start(place, many).await?);
    let with_nonce = |question: &ocsp::Request| {
        let nonce = Some(vec![7; 16]);
        ocsp::Request { nonce, ..question.clone() }.to_der().map_err(|error| error.to_string())
    };
    let plain = |question: &ocsp::Request| question.to_der().map_err(|error| error.to_string());
    let mut rounds: Vec<[f64; 6]> = Vec::new();
    for _ in 0..scale.rounds {
        rounds.push([
            openssl.cpu(scale).await?,
            few.cpu("/ocsp", OCSP, with_nonce(&question)?, true, scale).await?,
            few.cpu("/ocsp", OCSP, plain(&question)?, true, scale).await?,
            few.cpu("/ocsp", OCSP, with_nonce(&question)?, false, scale).await?,
            many.cpu("/ocsp", OCSP, with_nonce(&other)?, true, scale).await?,
            many.cpu("/ocsp", OCSP, plain(&other)?, true, scale).await?,
        ]);
    }
    let row = |what: &str, bound, base: usize, ours: usize| {
        let of = |round: &[f64; 6], index: usize| round.get(index).copied().unwrap_or_default();
        let all = |index| rounds.iter().map(|round| of(round, index)).collect::<Vec<_>>();
        Row {
            goal: "G11",
            what: what.to_owned(),
            bound,
            floor: String::new(),
            baseline: format!("{} us", figure(median(&all(base)))),
            ours: format!("{} us", figure(median(&all(ours)))),
            // Answers a CPU second for AtLeast, CPU of an answer for AtMost.
            ratios: rounds
                .iter()
                .map(|round| match bound {
                    Bound::AtLeast(_) => of(round, base) / of(round, ours),
                    Bound::AtMost(_) => of(round, ours) / of(round, base),
                })
                .collect(),
        }
    };
    let certificates = scale.certificates;
    Ok(vec![
        row("OCSP answers a CPU second, each signed, beside `openssl ocsp`", Bound::AtLeast(1.5), 0, 1),
        row("the same, a connection for each on both sides", Bound::AtLeast(1.5), 0, 3),
        row("OCSP answers a CPU second, given again, beside `openssl ocsp`", Bound::AtLeast(6.0), 0, 2),
        row(
            &format!("CPU of a signed OCSP answer with {certificates} certificates beside few"),
            Bound::AtMost(1.1),
            1,
            4,
        ),
        row(&format!("the same, given again, with {certificates}"), Bound::AtMost(1.1), 2, 5),
    ])
}

async fn stamps(scale: &Scale, place: &Place, folder: &Path) -> Result<Vec<Row>, String> {
    let request = timestamp::Request {
        imprint_algorithm: DigestAlgorithm::Sha512,
        imprint: vec![7; 64],
        nonce: Some(vec![1; 8]),
        certificates: true,
        policy: None,
    };
    let request = request.to_der().map_err(|error| error.to_string())?;
    let replying = Replying::new(folder, &request)?;
    let layout = |name: &str, offset, key| {
        init(&place.programs, &folder.join(name), place.ports + offset, key, &Narrator::silent())
    };
    let curve = Ours::start(place, layout("curve", 500, "p256")?).await?;
    let rsa = Ours::start(place, layout("rsa", 550, "rsa2048")?).await?;
    let (mut theirs, mut ours, mut raw, mut slow) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        theirs.push(replying.cpu()?);
        ours.push(curve.cpu("/tsa", TSP, request.clone(), true, scale).await?);
        raw.push(rsa_alone(folder)?);
        slow.push(rsa.cpu("/tsa", TSP, request.clone(), true, scale).await?);
    }
    let middle = |of: &[f64]| format!("{} us", figure(median(of)));
    let ratios = |base: &[f64], ours: &[f64]| base.iter().zip(ours).map(|(base, ours)| base / ours).collect();
    Ok(vec![
        Row {
            goal: "G12",
            what: "time-stamps a CPU second, P-256, beside `openssl ts -reply`".to_owned(),
            bound: Bound::AtLeast(60.0),
            floor: String::new(),
            baseline: middle(&theirs),
            ours: middle(&ours),
            ratios: ratios(&theirs, &ours),
        },
        Row {
            goal: "G12",
            what: "time-stamps a CPU second, RSA-2048, beside signing alone".to_owned(),
            bound: Bound::AtLeast(0.75),
            floor: middle(&raw),
            baseline: middle(&raw),
            ours: middle(&slow),
            ratios: ratios(&raw, &slow),
        },
    ])
}

/// One question, asked again and again.
struct Asked<'a> {
    target: SocketAddr,
    path: &'a str,
    media: &'a str,
    body: Vec<u8>,
    kept: bool,
}

impl Asked<'_> {
    fn load(&self, duration: Duration) -> Load {
        Load {
            target: self.target,
            method: "POST",
            path: self.path.to_owned(),
            headers: vec![("Content-Type".to_owned(), self.media.to_owned())],
            body: Bytes::from(self.body.clone()),
            connections: 8,
            kept: self.kept,
            duration,
            // Connections that were closed keep their ports for a minute.
            most: if self.kept { 1_000_000 } else { 4_000 },
        }
    }

    /// CPU of these processes for one answer, microseconds.
    async fn cpu(self, pids: &[u32], scale: &Scale) -> Result<f64, String> {
        let load = self.load(Duration::from_secs(scale.seconds));
        let before = process::cpu(pids);
        let outcome = generator::run(load).await;
        let cpu = process::cpu(pids).saturating_sub(before);
        if outcome.answered == 0 || outcome.failed > outcome.answered / 1000 {
            let reason = outcome.first_failure.unwrap_or_default();
            return Err(format!("http://{}{}: {} failed: {reason}", self.target, self.path, outcome.failed));
        }
        Ok(cpu.as_secs_f64() * 1e6 / count(outcome.answered))
    }
}

/// A question about a certificate of the demo.
fn question(layout: &Layout) -> Result<ocsp::Request, String> {
    let issuer = certificate(&layout.folder("ca").join("ca.pem"))?;
    let subject = certificate(&layout.folder("consumer").join("certificates/sign.pem"))?;
    let id = CertId::new(DigestAlgorithm::Sha1, &subject, &issuer).map_err(|error| error.to_string())?;
    Ok(ocsp::Request::new(id))
}

fn certificate(file: &Path) -> Result<Certificate, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Certificate::from_pem(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Fills the register of the root up, as if so many certificates had been issued: all of them are one, by other numbers.
fn fill(layout: &Layout, certificates: u64) -> Result<(), String> {
    let folder = layout.folder("ca");
    let one = certificate(&layout.folder("consumer").join("certificates/sign.pem"))?;
    let encoded = STANDARD.encode(one.der());
    let mut lines = String::new();
    for number in 0..certificates {
        let _ = writeln!(
            lines,
            r#"{{"event":"issued","serial":"7e{number:030x}","at":"2026-01-01T00:00:00Z","not_after":"2036-01-01T00:00:00Z","profile":"sign","subject":"CN=Filling","certificate":"{encoded}"}}"#
        );
    }
    let file = folder.join("data/root.jsonl");
    let named = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut register = std::fs::File::options().append(true).open(&file).map_err(named)?;
    std::io::Write::write_all(&mut register, lines.as_bytes()).map_err(named)
}

/// Waits until somebody listens; a minute at most.
async fn reachable(address: SocketAddr) -> Result<(), String> {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("nobody listens at {address}"))
}

/// `openssl ocsp -port`, with an authority of its own.
struct Openssl {
    child: Child,
    address: SocketAddr,
    question: Vec<u8>,
}

impl Openssl {
    async fn start(folder: &Path, address: SocketAddr) -> Result<Self, String> {
        let folder = folder.join("openssl-ocsp");
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let authority = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=openssl",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        openssl(&folder, &authority)?;
        openssl(&folder, &["x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der"])?;
        // It asks about itself: what is measured is the answer.
        openssl(&folder, &["ocsp", "-issuer", "ca.pem", "-cert", "ca.pem", "-reqout", "question"])?;
        let issuer = certificate(&folder.join("ca.pem"))?;
        let serial = hex::encode_upper(issuer.serial().as_bytes());
        process::write(
            folder.join("index.txt"),
            format!("V\t361231235959Z\t\t{serial}\tunknown\t/CN=openssl\n").as_bytes(),
        )
        .map_err(|error| error.to_string())?;
        let port = address.port().to_string();
        let child = Command::new("openssl")
            .args([
                "ocsp",
                "-port",
                &port,
                "-index",
                "index.txt",
                "-CA",
                "ca.pem",
                "-rsigner",
                "ca.pem",
                "-rkey",
                "ca.key",
                "-ndays",
                "1",
                "-ignore_err",
            ])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("openssl: {error}"))?;
        let question = std::fs::read(folder.join("question")).map_err(|error| error.to_string())?;
        let started = Self { child, address, question };
        for _ in 0..100 {
            // It never gets over a connection that says nothing: the first one has to ask.
            let one = Load { connections: 1, most: 1, ..started.asked().load(Duration::from_secs(1)) };
            if generator::run(one).await.answered > 0 {
                return Ok(started);
            }
        }
        Err("openssl ocsp does not answer".to_owned())
    }

    fn asked(&self) -> Asked<'_> {
        Asked { target: self.address, path: "/", media: OCSP, body: self.question.clone(), kept: false }
    }

    async fn cpu(&self, scale: &Scale) -> Result<f64, String> {
        self.asked().cpu(&[self.child.id()], scale).await
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `openssl ts -reply`, a process for each time-stamp.
struct Replying {
    folder: PathBuf,
}

impl Replying {
    fn new(folder: &Path, request: &[u8]) -> Result<Self, String> {
        let folder = folder.join("openssl-ts");
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let write = |name: &str, content: &[u8]| {
            process::write(folder.join(name), content).map_err(|error| error.to_string())
        };
        write("question", request)?;
        write("serial", b"01\n")?;
        write("ts.conf", b"[tsa]\ndefault_tsa = own\n[own]\nserial = serial\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\ndigests = sha256, sha512\naccuracy = secs:1\n")?;
        let key = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=openssl",
            "-addext",
            "extendedKeyUsage=critical,timeStamping",
            "-keyout",
            "tsa.key",
            "-out",
            "tsa.pem",
        ];
        openssl(&folder, &key)?;
        Ok(Self { folder })
    }

    /// CPU of one reply, microseconds.
    fn cpu(&self) -> Result<f64, String> {
        let before = process::children_cpu();
        for _ in 0..REPLIES {
            let reply = [
                "ts",
                "-reply",
                "-config",
                "ts.conf",
                "-section",
                "own",
                "-queryfile",
                "question",
                "-signer",
                "tsa.pem",
                "-inkey",
                "tsa.key",
                "-out",
                "answer",
            ];
            openssl(&self.folder, &reply)?;
        }
        let cpu = process::children_cpu().saturating_sub(before);
        Ok(cpu.as_secs_f64() * 1e6 / count(REPLIES))
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let ended = Command::new("openssl").args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| format!("openssl: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(format!("openssl {}: {}", arguments.join(" "), String::from_utf8_lossy(&ended.stderr)))
}

/// CPU of one signature with RSA-2048 by ring alone, microseconds.
fn rsa_alone(folder: &Path) -> Result<f64, String> {
    let file = folder.join("alone.der");
    if !file.exists() {
        openssl(
            folder,
            &[
                "genpkey",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-outform",
                "DER",
                "-out",
                "alone.der",
            ],
        )?;
    }
    let der = std::fs::read(&file).map_err(|error| error.to_string())?;
    // Which of the two forms it writes depends on its version.
    let key = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
    let key = key.map_err(|error| error.to_string())?;
    let random = SystemRandom::new();
    let mut signature = vec![0; key.public().modulus_len()];
    let before = process::own_cpu();
    for _ in 0..500 {
        key.sign(&RSA_PKCS1_SHA256, &random, b"time", &mut signature).map_err(|error| error.to_string())?;
    }
    Ok((process::own_cpu().saturating_sub(before)).as_secs_f64() * 1e6 / 500.0)
}
