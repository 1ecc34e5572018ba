//! A body of 100 MiB over QUIC: how much memory the gateways take for it, as programs, on a real disk.
//!
//! A relay that counts bytes stands in for the network, so that it is certain which way the body went.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use cert_authority::durable;
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, ORGANISATIONS, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;
    use integration::demo::story::service_path;
    use integration::world::Relay;
    use serde_json::Value;

    const PORTS: u16 = 18_950;
    const RELAY: u16 = 18_999;
    const BODY: u64 = 100 << 20;
    /// By how much a gateway may grow, in KiB: the windows of a connection, twice, and some.
    const ALLOWED: u64 = 48 << 10;

    /// What the highest resident memory of a process was, in KiB.
    fn peak(process: u32) -> u64 {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap()
    }

    async fn post(layout: &Layout, file: &Path) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-m", "200", "-X", "POST", "-T"])
            .arg(file)
            .args(["-H", "Content-Type: application/octet-stream", "-H"])
            .arg(format!("X-Road-Client: {}", CONSUMER.client()))
            .arg(format!("http://{}{}/declarations", layout.http(&CONSUMER), service_path()));
        // The relay needs this thread.
        let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn edit(path: &Path, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(path).unwrap();
        durable::write(path, change(text).as_bytes()).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hundred_mebibytes_pass_over_quic_in_little_memory() {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let programs = Programs::locate().unwrap();
        let layout =
            init(&programs, &folder.path().join("demo"), PORTS, "p256", &Narrator::silent()).unwrap();
        for organisation in ORGANISATIONS {
            let listen = layout.peer(&organisation);
            edit(&layout.folder(organisation.folder).join("gateway.toml"), |text| {
                format!("[quic]\nlisten = \"{listen}\"\nwait = \"10 s\"\n\n{text}")
            });
        }
        edit(&layout.folder("authority").join("authority.toml"), |text| {
            let server = format!("clients = [\"{}\"]\n", PROVIDER.client());
            assert!(text.contains(&server), "{text}");
            text.replace(&server, &format!("{server}quic = {RELAY}\n"))
        });
        let to = layout.peer(&PROVIDER);
        let relay = Relay::start((to.ip(), RELAY).into(), to).await;
        let mut ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
        let small = folder.path().join("small");
        durable::write(&small, &[b'x'; 1000]).unwrap();
        for _ in 0..20 {
            post(&layout, &small).await;
        }
        let mut processes = Vec::new();
        for organisation in ORGANISATIONS {
            let process = ecosystem.process(organisation.folder).unwrap().id();
            processes.push((organisation.folder, process, peak(process)));
        }
        let large = folder.path().join("large");
        fs::File::create(&large).unwrap().set_len(BODY).unwrap();
        let before = relay.carried().0;
        assert!(before > 20_000, "small bodies go over QUIC: {before}");
        assert_eq!(post(&layout, &large).await["received_bytes"].as_u64(), Some(BODY));
        assert!(relay.carried().0 - before > BODY, "the large body went over QUIC");
        for (name, process, before) in processes {
            let after = peak(process);
            println!("{name}: peak resident memory {before} KiB, then {after} KiB: 100 MiB over QUIC");
            assert!(after - before < ALLOWED, "{name} grew by {} KiB", after - before);
        }
    }
}
