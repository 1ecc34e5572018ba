//! A small authority on disk, its certificates made by openssl.
//!
//! ```text
//! <folder>/authority.toml        two members, two servers, one CA, one TSA
//! <folder>/certificates/*.pem    made by openssl
//! ```
#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

pub(crate) mod world;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// The register that the tests begin with.
pub(crate) const REGISTER: &str = r#"
instance = "DEMO"
sources = ["127.0.0.1:7001"]
[publish]
directory = "public"
listen = "127.0.0.1:0"
[signing]
keys = "keys"
pin = "keys/pin"
[management]
registration_address = "https://127.0.0.1:4001/managementservice/"
provider = "DEMO/GOV/2002/registry"
[classes]
GOV = "Public bodies"
[[ca]]
name = "Demo CA"
certificate = "certificates/ca.pem"
profile = "basic"
ocsp = [{ url = "http://127.0.0.1:7000/ocsp", cost = "free" }]
[[tsa]]
name = "Demo TSA"
url = "http://127.0.0.1:7000/tsa"
certificate = "certificates/tsa.pem"
[[member]]
id = "DEMO/GOV/1001"
name = "Ministry of Examples"
subsystems = [{ code = "portal", name = "Citizen portal" }]
[[member]]
id = "DEMO/GOV/2002"
name = "Agency of Records"
subsystems = [{ code = "registry" }]
[[server]]
owner = "DEMO/GOV/1001"
code = "ss1"
address = "127.0.0.11"
certificates = ["certificates/ss1.pem"]
clients = ["DEMO/GOV/1001/portal"]
[[server]]
owner = "DEMO/GOV/2002"
code = "ss2"
address = "127.0.0.21"
certificates = ["certificates/ss2.pem"]
clients = ["DEMO/GOV/2002/registry"]
maintenance = ""
[[group]]
code = "ministries"
description = "All ministries"
members = ["DEMO/GOV/1001/portal", "ELSEWHERE/GOV/1/x"]
"#;

/// A folder with the register and its certificates.
pub(crate) fn authority() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), REGISTER);
    let certificates = folder.path().join("certificates");
    std::fs::create_dir(&certificates).unwrap();
    for entry in std::fs::read_dir(certificates_made_once()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), certificates.join(entry.file_name())).unwrap();
    }
    folder
}

/// Writes the register, in place as an editor does.
#[expect(clippy::disallowed_methods, reason = "a person's editor does not write durably either")]
pub(crate) fn write(folder: &Path, register: &str) -> PathBuf {
    let path = folder.join("authority.toml");
    std::fs::write(&path, register).unwrap();
    path
}

/// Made once for a test program: openssl is slow.
fn certificates_made_once() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let in_folder = |name: &str| folder.path().join(name).display().to_string();
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -sha256 -x509";
        let ca =
            format!("-keyout {} -out {} -subj /C=EE/O=Demo/CN=CA", in_folder("ca.key"), in_folder("ca.pem"));
        openssl(&format!("req {new_key} {ca}"));
        for name in ["ss1", "ss2", "tsa"] {
            let by_ca = format!("-CA {} -CAkey {}", in_folder("ca.pem"), in_folder("ca.key"));
            let key = format!("-keyout {} -out {}", in_folder("leaf.key"), in_folder(&format!("{name}.pem")));
            openssl(&format!(
                "req {new_key} {by_ca} {key} -subj /C=EE/O=Demo/CN={name} -addext basicConstraints=CA:FALSE"
            ));
        }
        let stranger = format!("-keyout {} -out {}", in_folder("leaf.key"), in_folder("stranger.pem"));
        openssl(&format!("req {new_key} {stranger} -subj /CN=stranger"));
        folder
    });
    folder.path()
}

/// Runs openssl with these words.
pub(crate) fn openssl(words: &str) -> Vec<u8> {
    let output = Command::new("openssl").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
