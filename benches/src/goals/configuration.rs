//! G14: a configuration of many members verified, parsed and indexed, beside `xmllint` and `openssl` that only parse and hash it;
//! and whether look-ups depend on its size.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use cert_authority::durable;
use cert_authority::keys::KeyType;
use conf::identifier::{ClientId, MemberId};
use conf::shared_params::{Member, MemberClass, Server, SharedParams, Subsystem};
use conf::snapshot::GlobalConf;
use conf::version::Version;

use super::{Bound, Place, Row, Scale, Section, figure, median};
use crate::world::{World, parameters};

/// Look-ups of a round.
const LOOKUPS: usize = 100_000;
/// So many between two looks at the clock.
const AT_ONCE: usize = 100;
/// Members of the small network.
const FEW: usize = 100;

/// Measures.
///
/// # Errors
/// In words: `xmllint` or `openssl` is not there; a configuration that is not one.
pub async fn measure(scale: &Scale, place: &Place) -> Result<Section, String> {
    let folder = place.directory.join("configuration");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let world = World::new(KeyType::EcP256).map_err(|error| error.to_string())?;
    let (small, few) = write(&folder.join("few"), &world, FEW)?;
    let (large, many) = write(&folder.join("many"), &world, scale.members)?;
    let file = large.join("DEMO/shared-params.xml");
    let bytes = std::fs::metadata(&file).map_err(|error| error.to_string())?.len();

    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let (mut among_few, mut among_many) = (Vec::new(), Vec::new());
    let failed = |error: conf::error::ConfError| error.to_string();
    for _ in 0..scale.rounds.max(3) {
        let begin = clock();
        run("xmllint", &["--noout"], &file)?;
        run("openssl", &["dgst", "-sha512"], &file)?;
        theirs.push(milliseconds(begin));
        let begin = clock();
        let content = std::fs::read(&file).map_err(|error| error.to_string())?;
        black_box(digest(DigestAlgorithm::Sha512, &content));
        let loaded = GlobalConf::load_dir(&large).map_err(failed)?;
        ours.push(milliseconds(begin));
        let little = GlobalConf::load_dir(&small).map_err(failed)?;
        among_few.push(lookups(&little, &few)?);
        among_many.push(lookups(&loaded, &many)?);
    }
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let members = scale.members;
    let ratios = |ours: &[f64], base: &[f64]| ours.iter().zip(base).map(|(ours, base)| ours / base).collect();
    Ok(Section {
        rows: vec![
            Row {
                goal: "G14",
                what: format!(
                    "{members} members ({} KB) hashed, parsed and indexed beside xmllint and openssl",
                    bytes / 1000
                ),
                bound: Bound::AtMost(1.3),
                floor: String::new(),
                baseline: format!("{} ms", figure(median(&theirs))),
                ours: format!("{} ms", figure(median(&ours))),
                ratios: ratios(&ours, &theirs),
            },
            Row {
                goal: "G14",
                what: format!("who serves a client, looked up among {members} members beside {FEW}"),
                // Not more steps, but more memory than the processor keeps near.
                bound: Bound::AtMost(2.0),
                floor: String::new(),
                baseline: format!("{} ns", figure(median(&among_few))),
                ours: format!("{} ns", figure(median(&among_many))),
                ratios: ratios(&among_many, &among_few),
            },
        ],
        details: String::new(),
    })
}

/// Writes the configuration of so many members, each with a server and a subsystem; the subsystems.
fn write(directory: &Path, world: &World, members: usize) -> Result<(PathBuf, Vec<ClientId>), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let mut network: SharedParams = parameters(&world.root);
    let class = MemberClass { code: "GOV".to_owned(), description: "government".to_owned() };
    network.settings.member_classes.push(class);
    let mut clients = Vec::new();
    for number in 0..members {
        let code = 100_000 + number;
        let member: MemberId = format!("DEMO/GOV/{code}").parse().map_err(|error| failed(&error))?;
        let client: ClientId = format!("DEMO/GOV/{code}/registry").parse().map_err(|error| failed(&error))?;
        network.members.push(Member {
            id: member.clone(),
            name: format!("Organisation {code}"),
            subsystems: vec![Subsystem { id: client.clone(), name: None }],
        });
        network.servers.push(Server {
            owner: member,
            code: "ss".to_owned(),
            address: Some(format!("ss{code}.example")),
            auth_cert_hashes: vec![digest(DigestAlgorithm::Sha256, &number.to_be_bytes()).as_ref().to_vec()],
            clients: vec![client.clone()],
            maintenance: None,
        });
        clients.push(client);
    }
    let folder = directory.join(&network.instance);
    std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
    let text = network.write(Version::V5).map_err(|error| failed(&error))?;
    for (file, content) in [
        (directory.join("instance-identifier"), network.instance.as_bytes()),
        (folder.join("shared-params.xml"), text.as_bytes()),
        (folder.join("shared-params.xml.metadata"), br#"{"configurationVersion":"5"}"#.as_slice()),
    ] {
        durable::write(file, content).map_err(|error| failed(&error))?;
    }
    Ok((directory.to_path_buf(), clients))
}

/// Nanoseconds of one look-up.
fn lookups(conf: &GlobalConf, clients: &[ClientId]) -> Result<f64, String> {
    let mut took = Duration::ZERO;
    for first in (0..LOOKUPS).step_by(AT_ONCE) {
        // In an order that no cache foresees; identifiers that were just read, as those of a message are.
        let asked = (first..first + AT_ONCE)
            .filter_map(|n| clients.get(n * 7_919 % clients.len()))
            .map(|client| ClientId::parse_encoded(&client.encoded()))
            .collect::<Result<Vec<ClientId>, _>>()
            .map_err(|error| error.to_string())?;
        let begin = clock();
        for client in &asked {
            if black_box(conf.servers_of(client)).len() != 1 {
                return Err(format!("{client} has no server"));
            }
        }
        took += begin.elapsed();
    }
    let lookups = u32::try_from(LOOKUPS).unwrap_or(u32::MAX);
    Ok(took.as_secs_f64() * 1e9 / f64::from(lookups))
}

fn run(program: &str, arguments: &[&str], file: &Path) -> Result<(), String> {
    let ended = Command::new(program).args(arguments).arg(file).stdout(Stdio::null()).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program}: {status}")),
        Err(error) => Err(format!("{program}: {error}; apt-get install libxml2-utils openssl")),
    }
}

fn milliseconds(begin: Instant) -> f64 {
    let passed: Duration = begin.elapsed();
    passed.as_secs_f64() * 1e3
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
fn clock() -> Instant {
    Instant::now()
}
