//! The real programs as processes: no core, nothing for a debugger of the same user, no PIN in memory, arguments, environment
//! or output; and a gateway that has given up what it does not need still does its work, as a user without rights.
//!
//! Specification: THREATS T34, T45. Not here: what exactly a confined gateway is refused (`gateway/tests/hardening.rs`).

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use cert_authority::durable;
    use integration::demo::client;
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;
    use integration::memory::{self, of_threads};
    use rustix::process::{Pid, Signal, kill_process};
    use tempfile::TempDir;

    /// Somebody without rights.
    const NOBODY: u32 = 65_534;
    /// Longer than what stays in memory: it goes to the disk as a file that gets its name by way of `/proc`.
    const BODY: usize = 300_000;

    fn made(base: u16) -> (TempDir, Programs, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        let layout = init(&programs, &folder.path().join("demo"), base, "p256", &Narrator::silent()).unwrap();
        for side in [CONSUMER.folder, PROVIDER.folder] {
            let settings = layout.folder(side).join("gateway.toml");
            let text = fs::read_to_string(&settings).unwrap();
            let text = format!("{text}\n[hardening]\nconfine = \"required\"\n");
            durable::write(&settings, text.as_bytes()).unwrap();
        }
        (folder, programs, layout)
    }

    async fn exchange(layout: &Layout, body: String) {
        let path = format!("/r1/{}/records/declarations", PROVIDER.client());
        let client = CONSUMER.client();
        let headers = [("X-Road-Client", client.as_str()), ("Content-Type", "application/json")];
        let reply = client::send(layout.http(&CONSUMER), "POST", &path, &headers, body).await.unwrap();
        assert!(reply.status.is_success(), "{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
    }

    fn pins(layout: &Layout) -> Vec<Vec<u8>> {
        ["ca/pin", "authority/keys/pin", "consumer/keys/pin", "provider/keys/pin"]
            .iter()
            .map(|pin| fs::read(layout.directory.join(pin)).unwrap().trim_ascii().to_vec())
            .collect()
    }

    /// The private number of the key that signs for the consumer, read by openssl.
    fn signing_scalar(layout: &Layout) -> [u8; 32] {
        let keys = layout.folder(CONSUMER.folder).join("keys");
        let descriptions = fs::read_dir(&keys).unwrap().flatten().map(|entry| entry.path());
        let of_sign = |path: &Path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            path.extension().is_some_and(|kind| kind == "toml") && text.contains("usage = \"sign\"")
        };
        let key = descriptions.into_iter().find(|path| of_sign(path)).unwrap().with_extension("key.pem");
        let output = Command::new("openssl")
            .args(["pkey", "-outform", "DER", "-passin"])
            .arg(format!("file:{}", keys.join("pin").display()))
            .arg("-in")
            .arg(&key)
            .output()
            .unwrap();
        let der = output.stdout;
        // ECPrivateKey: version 1, then the number.
        let begins = [0x02, 0x01, 0x01, 0x04, 0x20];
        let at = der.windows(begins.len()).position(|window| window == begins).unwrap() + begins.len();
        der[at..at + 32].try_into().unwrap()
    }

    /// What `/proc` shows of a process; nothing where not even its own user may look.
    fn proc(process: u32, name: &str) -> String {
        match fs::read(format!("/proc/{process}/{name}")) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => String::new(),
            shown => String::from_utf8_lossy(&shown.unwrap()).into_owned(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_programs_keep_their_memory_to_themselves_and_no_pin_in_it() {
        let (_folder, programs, layout) = made(19_300);
        let mut ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
        exchange(&layout, "{\"canary\":\"a small one\"}".to_owned()).await;
        let pins = pins(&layout);
        let needles: Vec<&[u8]> = pins.iter().map(Vec::as_slice).collect();
        for name in ["ca", "authority", CONSUMER.folder, PROVIDER.folder] {
            let process = ecosystem.process(name).unwrap();
            let id = process.id();
            let cores = proc(id, "limits");
            let cores = cores.lines().find(|line| line.starts_with("Max core file size")).unwrap();
            assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{name}");
            for shown in ["cmdline", "environ"] {
                let text = proc(id, shown);
                assert!(pins.iter().all(|pin| !text.contains(std::str::from_utf8(pin).unwrap())), "{name}");
            }
            let output = fs::read_to_string(process.log()).unwrap();
            assert!(pins.iter().all(|pin| !output.contains(std::str::from_utf8(pin).unwrap())), "{name}");

            process.freeze().unwrap();
            let found = memory::hits(id, &needles);
            process.thaw().unwrap();
            match found {
                Ok(found) => assert_eq!(found, vec![0; pins.len()], "{name}: PINs in memory"),
                // Not even its own user may look.
                Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name}"),
            }
        }

        let id = ecosystem.process(CONSUMER.folder).unwrap().id();
        let [in_file, reversed, in_use] = memory::p256_forms(&signing_scalar(&layout));
        if let Ok(found) = memory::hits(id, &[&in_file, &reversed, &in_use]) {
            println!(
                "the key that signs: {found:?} times as in its file, reversed, as ring computes with it"
            );
            assert!(found[2] > 0, "what is searched so is found: ring computes with it in this process");
            assert_eq!((found[0], found[1]), (0, 0), "what was read of the file is overwritten");
        } else {
            println!("the memory was not searched: that needs root");
        }

        for side in [CONSUMER, PROVIDER] {
            let id = ecosystem.process(side.folder).unwrap().id();
            for (line, value) in [("Seccomp", "2"), ("NoNewPrivs", "1")] {
                let threads = of_threads(id, line).unwrap();
                assert!(threads.len() > 2 && threads.iter().all(|one| one == value), "{line}: {threads:?}");
            }
            let health = client::send(layout.administration(&side), "GET", "/health", &[], "").await.unwrap();
            let health: serde_json::Value = serde_json::from_slice(&health.body).unwrap();
            assert_eq!(health["hardening"], serde_json::json!({"files": "landlock", "calls": "seccomp"}));
        }
        readings_are_registered(&ecosystem, &layout);
        ecosystem.stop().unwrap();
    }

    /// Whoever reads the log of a confined gateway by a command is in its register.
    fn readings_are_registered(ecosystem: &Ecosystem, layout: &Layout) {
        let folder = layout.folder(CONSUMER.folder);
        let log = |arguments: &[&str]| {
            let command = [&["log"], arguments].concat();
            ecosystem.programs.run(&folder, "passerelle-gateway", &command).unwrap()
        };
        let listed = log(&["list", "--json", "--reason", "case 1867"]);
        let first: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
        let record = first["number"].as_u64().unwrap().to_string();
        assert!(log(&["readers", &record, "--reason", "who has read it"]).contains("case 1867"), "{listed}");
    }

    /// A gateway that runs as somebody else; stopped when dropped.
    struct AsNobody(Child);

    impl AsNobody {
        fn start(program: &Path, folder: &Path) -> Self {
            let output = fs::File::create(folder.join("output.log")).unwrap();
            let child = as_nobody(program)
                .arg("serve")
                .current_dir(folder)
                .stdin(Stdio::null())
                .stderr(output.try_clone().unwrap())
                .stdout(output)
                .spawn()
                .unwrap();
            Self(child)
        }
    }

    impl Drop for AsNobody {
        fn drop(&mut self) {
            let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).unwrap();
            let _ = kill_process(id, Signal::TERM);
            let _ = self.0.wait();
        }
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// As root: a program as a user without rights. As anybody else we have none ourselves.
    fn as_nobody(program: &Path) -> Command {
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
        command
    }

    fn give_away(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                give_away(&entry.path());
            } else {
                chown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gateway_without_rights_does_its_work_and_its_user_cannot_look_into_it() {
        let (folder, programs, layout) = made(19_340);
        let gateway = folder.path().join("passerelle-gateway");
        fs::copy(programs.path("passerelle-gateway"), &gateway).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
        ecosystem.kill(CONSUMER.folder).unwrap();
        let consumer = layout.folder(CONSUMER.folder);
        if is_root() {
            give_away(&consumer);
        }
        let running = AsNobody::start(&gateway, &consumer);
        let id = running.0.id();
        let health = async {
            loop {
                let address = layout.administration(&CONSUMER);
                match client::send(address, "GET", "/health", &[], "").await {
                    Ok(reply) if reply.status.is_success() => return,
                    _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), health).await.unwrap_or_else(|_| {
            panic!("{}", fs::read_to_string(consumer.join("output.log")).unwrap_or_default());
        });
        exchange(&layout, format!("{{\"long\":\"{}\"}}", "x".repeat(BODY))).await;

        let uid = of_threads(id, "Uid").unwrap();
        let user = if is_root() { NOBODY } else { rustix::process::geteuid().as_raw() };
        assert!(uid.iter().all(|line| line.starts_with(&user.to_string())), "{uid:?}");
        // Its entries below /proc are root's: it is not dumpable.
        assert_eq!(fs::metadata(format!("/proc/{id}/mem")).unwrap().uid(), 0);
        let looked = as_nobody(Path::new("/usr/bin/head"))
            .args(["-c", "1", &format!("/proc/{id}/environ")])
            .output()
            .unwrap();
        assert!(!looked.status.success() && looked.stdout.is_empty(), "its user looked into it");
        drop(running);
        ecosystem.stop().unwrap();
    }
}
