//! The units for systemd: tightly fenced, and they let each program write the folders of its example settings, no other.
//!
//! Not here: whether a service starts under its unit, which needs a machine that systemd runs.

#![expect(clippy::unwrap_used, reason = "a test stops at once")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cert_authority::durable;
use gateway::config::Config;
use gateway::hardening::Places;

/// What `systemd-analyze security` may say at most; 10 is no fence at all.
const MOST: f64 = 2.0;

const UNITS: [&str; 4] = ["passerelle-gateway", "passerelle-signer", "passerelle-ca", "passerelle-conf"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("conf")
}

fn unit(name: &str) -> String {
    fs::read_to_string(folder().join(format!("systemd/{name}.service"))).unwrap()
}

/// The values of a key, each.
fn values(unit: &str, key: &str) -> BTreeSet<String> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn every_unit_is_fenced_in_as_systemd_judges_it() {
    for name in UNITS {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(folder().join(format!("systemd/{name}.service")))
            .output()
            .unwrap_or_else(|error| panic!("systemd-analyze (Debian's systemd): {error}"));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "",
            "{name}: a line that systemd does not understand"
        );
        let verdict = said.lines().last().unwrap_or_default();
        let exposure = verdict.split_once(".service: ").unwrap_or_else(|| panic!("{said}")).1;
        let exposure: f64 = exposure.split_whitespace().next().unwrap().parse().unwrap();
        println!("{name}: {exposure}");
        assert!(exposure <= MOST, "{name}: {exposure}\n{said}");
    }
}

#[test]
fn the_judge_of_units_can_say_no() {
    let open = tempfile::tempdir().unwrap();
    let path = open.path().join("open.service");
    durable::write(&path, b"[Service]\nExecStart=/bin/true\n").unwrap();
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success());
}

#[test]
fn every_unit_gives_up_what_all_of_them_give_up() {
    for name in UNITS {
        let unit = unit(name);
        for line in [
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "LimitCORE=0",
            "MemorySwapMax=0",
            "CapabilityBoundingSet=",
            "PrivateTmp=yes",
            "ProtectHome=yes",
        ] {
            assert!(unit.lines().any(|one| one == line), "{name}: {line}");
        }
        assert!(!unit.contains("ReadWritePaths"), "{name}: what it writes stands in StateDirectory");
        assert_eq!(values(&unit, "ExecStart"), [format!("/usr/bin/{name}"), "serve".to_owned()].into());
        assert_eq!(values(&unit, "User"), [name.to_owned()].into());
        assert_eq!(values(&unit, "WorkingDirectory"), [format!("/var/lib/{name}")].into());
    }
}

#[test]
fn the_gateway_may_write_the_folders_of_its_example_and_of_its_own_fence() {
    let lib = Path::new("/var/lib/passerelle-gateway");
    let settings = tempfile::tempdir().unwrap();
    let example = fs::read_to_string(folder().join("examples/gateway.toml")).unwrap();
    let certificate = certificate();
    for name in example.split('"').filter(|text| text.ends_with(".pem")) {
        durable::write(settings.path().join(name), &certificate).unwrap();
    }
    let config = Config::parse(&example, settings.path()).unwrap();
    let places = Places::of(&config, &settings.path().join("gateway.toml"));
    let written = places.own.iter().chain(&places.archives);
    let written: BTreeSet<PathBuf> =
        written.map(|path| lib.join(path.strip_prefix(settings.path()).unwrap())).collect();
    assert_eq!(written.len(), 7, "{written:?}");
    assert_eq!(state_directories("passerelle-gateway"), written);
}

#[test]
fn the_authorities_may_write_the_folders_of_their_examples() {
    let ca: toml::Table = fs::read_to_string(folder().join("examples/ca.toml")).unwrap().parse().unwrap();
    let data = Path::new("/var/lib/passerelle-ca").join(ca["data"].as_str().unwrap());
    assert_eq!(state_directories("passerelle-ca"), [data].into());

    let signer = fs::read_to_string(folder().join("examples/signer.toml")).unwrap();
    let signer: toml::Table = signer.parse().unwrap();
    let keys = Path::new("/var/lib/passerelle-signer").join(signer["keys"].as_str().unwrap());
    assert_eq!(state_directories("passerelle-signer"), [keys].into());
    let run = values(&unit("passerelle-signer"), "RuntimeDirectory");
    assert_eq!(run.iter().map(String::as_str).collect::<Vec<_>>(), ["passerelle"]);
    assert_eq!(signer["socket"].as_str().unwrap(), "/run/passerelle/signer.sock");
    let example = fs::read_to_string(folder().join("examples/gateway.toml")).unwrap();
    assert!(example.contains("# signer = \"/run/passerelle/signer.sock\""), "gateway and signer meet there");

    let authority = fs::read_to_string(folder().join("examples/authority.toml")).unwrap();
    let authority: toml::Table = authority.parse().unwrap();
    let keys = [("publish", "directory"), ("signing", "keys"), ("witness", "directory")];
    let folders = keys.map(|(table, key)| authority[table][key].as_str().unwrap());
    let folders = folders.map(|name| Path::new("/var/lib/passerelle-conf").join(name));
    assert_eq!(state_directories("passerelle-conf"), folders.into());
}

/// Some certificate: the example names several.
fn certificate() -> Vec<u8> {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=test", "-keyout", "/dev/null"])
        .output()
        .unwrap();
    output.stdout
}

fn state_directories(name: &str) -> BTreeSet<PathBuf> {
    values(&unit(name), "StateDirectory").iter().map(|name| Path::new("/var/lib").join(name)).collect()
}
