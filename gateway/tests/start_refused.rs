//! What makes `passerelle-gateway serve` end before it has begun (THREATS T33, T34): keys and PINs that others could have
//! read, or that are not what they are called.

#![expect(clippy::unwrap_used, reason = "a test stops at once when its files cannot be made")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cert_authority::durable;
use tempfile::TempDir;

const SETTINGS: &str = "[server]\nid = \"DEMO/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n";

/// A folder with settings and two keys.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    durable::write(folder.path().join("gateway.toml"), SETTINGS.as_bytes()).unwrap();
    for usage in ["sign", "auth"] {
        let made = gateway(folder.path(), &["keys", "create", "--usage", usage]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    folder
}

fn gateway(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
    command.arg("--config").arg(folder.join("gateway.toml")).args(arguments).output().unwrap()
}

/// The files of the keys themselves.
fn keys(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("keys")).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "pem"));
    found.sort();
    assert_eq!(found.len(), 2, "{found:?}");
    found
}

/// It ends with failure, and says why; what it says holds no secret.
fn is_refused(folder: &Path, why: &str) {
    let pin = fs::read_to_string(folder.join("keys/pin")).unwrap_or_default();
    let ended = gateway(folder, &["serve"]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{why}: {said}");
    assert!(said.contains(why), "{why}: {said}");
    assert!(pin.trim().is_empty() || !said.contains(pin.trim()), "{said}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn serve_ends_with_a_failure_when_a_key_or_the_pin_is_open_to_others() {
    let folder = folder();
    // What it says when its keys are sound: the anchor is not there.
    is_refused(folder.path(), "anchor");
    for secret in [keys(folder.path()).remove(0), folder.path().join("keys/pin")] {
        for mode in [0o644, 0o640, 0o604, 0o660] {
            set_mode(&secret, mode);
            is_refused(folder.path(), &format!("has mode {mode:04o}"));
        }
        set_mode(&secret, 0o600);
    }
    is_refused(folder.path(), "anchor");
}

#[test]
fn serve_ends_with_a_failure_when_a_key_is_a_link_or_another_key() {
    let folder = folder();
    let (key, elsewhere) = (keys(folder.path()).remove(0), folder.path().join("elsewhere.pem"));
    fs::copy(&key, &elsewhere).unwrap();
    fs::remove_file(&key).unwrap();
    symlink(&elsewhere, &key).unwrap();
    is_refused(folder.path(), "is a symbolic link");
    fs::remove_file(&key).unwrap();
    fs::copy(keys_of_another(), &key).unwrap();
    set_mode(&key, 0o600);
    let ended = gateway(folder.path(), &["serve"]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(!said.contains("anchor"), "the keys are what is wrong: {said}");
}

/// A key file that is sound in itself.
fn keys_of_another() -> PathBuf {
    let folder = folder().keep();
    keys(&folder).remove(0)
}

/// Only root can give a file away; CI runs as root.
#[test]
fn serve_ends_with_a_failure_when_a_key_belongs_to_somebody_else() {
    let folder = folder();
    let key = keys(folder.path()).remove(0);
    if chown(&key, Some(65534), None).is_err() {
        eprintln!("NOT RUN: only root can give a file away");
        return;
    }
    is_refused(folder.path(), "belongs to user 65534");
}

#[test]
fn serve_ends_with_a_failure_without_its_pin_or_with_another() {
    let folder = folder();
    let pin = folder.path().join("keys/pin");
    let good = fs::read(&pin).unwrap();
    durable::write_secret(&pin, b"not the PIN").unwrap();
    is_refused(folder.path(), "PIN");
    fs::remove_file(&pin).unwrap();
    is_refused(folder.path(), "pin");
    durable::write_secret(&pin, &good).unwrap();
    is_refused(folder.path(), "anchor");
}
