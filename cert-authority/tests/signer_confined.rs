//! A signer behind its fences: it signs, and is refused the network, programs, and every file but its keys.
//!
//! The fences hold for one thread and what it starts. The whole program behind them: `integration/tests/signer.rs`.

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, ErrorKind};
    use std::net::{TcpListener, UdpSocket};
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    use cert_authority::algorithm::SignatureAlgorithm;
    use cert_authority::durable;
    use cert_authority::hardening::InForce;
    use cert_authority::keys::inventory::Usage;
    use cert_authority::keys::remote::RemoteSigner;
    use cert_authority::keys::{KeyId, KeyType, Signer as _};
    use cert_authority::service::{SignerConfig, confine_signer, create_key, serve_signer};
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    const LIMIT: Duration = Duration::from_secs(10);

    fn world(settings: &str) -> (TempDir, SignerConfig, KeyId) {
        let folder = tempfile::tempdir().unwrap();
        for made in ["run", "other"] {
            fs::create_dir(folder.path().join(made)).unwrap();
        }
        durable::write(folder.path().join("other/file"), b"of others").unwrap();
        let path = folder.path().join("signer.toml");
        durable::write(&path, format!("socket = \"run/signer.sock\"\n{settings}").as_bytes()).unwrap();
        let config = SignerConfig::load(&path).unwrap();
        let key = create_key(&config, Usage::Sign, KeyType::EcP256, None, "").unwrap();
        (folder, config, key)
    }

    /// What somebody tries who has taken the signer over; how each is refused, `None` where it is not.
    fn tried(folder: &Path) -> Vec<(&'static str, Option<ErrorKind>)> {
        fn refusal<T>(done: io::Result<T>) -> Option<ErrorKind> {
            done.err().map(|error| error.kind())
        }
        let appended = |path: &str| refusal(OpenOptions::new().append(true).open(folder.join(path)));
        let created = |path: &str| refusal(File::create(folder.join(path)));
        vec![
            ("a TCP socket", refusal(TcpListener::bind("127.0.0.1:0"))),
            ("a UDP socket", refusal(UdpSocket::bind("[::1]:0"))),
            ("a program", refusal(Command::new("/bin/true").status())),
            ("reading another file", refusal(fs::read(folder.join("other/file")))),
            ("reading its settings", refusal(fs::read(folder.join("signer.toml")))),
            ("reading the root", refusal(fs::read_dir("/"))),
            ("writing a key file", appended("keys/pin")),
            ("writing another file", appended("other/file")),
            ("a file beside its socket", created("run/made")),
            ("a folder among the keys", refusal(fs::create_dir(folder.join("keys/made")))),
            (
                "taking a key file away",
                refusal(fs::hard_link(folder.join("keys/pin"), folder.join("run/pin"))),
            ),
        ]
    }

    async fn signs(config: &SignerConfig, key: &KeyId) {
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async {
            let _ = stopped.await;
        };
        let client = async {
            let connected = async {
                loop {
                    match RemoteSigner::connect(&config.socket, LIMIT).await {
                        Ok(signer) => return signer,
                        Err(_not_yet) => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
            };
            let signer = tokio::time::timeout(LIMIT, connected).await.unwrap();
            signer.sign(key, SignatureAlgorithm::EcdsaSha256, b"a structure").await.unwrap();
            // Keys that come are still taken up: it reads its folder, and the PIN anew.
            assert!(!signer.refresh().await.unwrap());
            stop.send(()).unwrap();
        };
        let (served, ()) = tokio::join!(serve_signer(config, until), client);
        served.unwrap();
        assert!(!config.socket.exists(), "its socket is gone with it");
    }

    #[test]
    fn a_confined_signer_signs_and_is_refused_whatever_else_is_tried() {
        let (open, ..) = world("");
        let before = tried(open.path());
        let (folder, config, key) = world("[hardening]\nconfine = \"required\"\n");
        assert!(before.iter().all(|(_, refused)| refused.is_none()), "without the fences: {before:?}");
        std::thread::scope(|scope| {
            let confined = scope.spawn(|| {
                let in_force = confine_signer(&config).unwrap();
                assert_eq!(in_force, InForce { files: "landlock", calls: "seccomp" }, "this kernel has less");
                for (what, refused) in tried(folder.path()) {
                    assert_eq!(refused, Some(ErrorKind::PermissionDenied), "{what}");
                }
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
                runtime.block_on(signs(&config, &key));
            });
            confined.join().unwrap();
        });
    }

    #[test]
    fn off_gives_up_nothing() {
        let (folder, config, _) = world("[hardening]\nconfine = \"off\"\n");
        std::thread::scope(|scope| {
            let open = scope.spawn(|| {
                assert_eq!(confine_signer(&config).unwrap(), InForce { files: "off", calls: "off" });
                assert!(tried(folder.path()).iter().all(|(_, refused)| refused.is_none()));
            });
            open.join().unwrap();
        });
    }
}
