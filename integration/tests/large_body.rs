//! A body of 1 GiB, and a SOAP attachment of 1 GiB, through both gateways: how much memory they take, and that their
//! evidence is whole.
//!
//! Real programs, real files on a real disk; `curl` sends, the demo's service counts what arrives.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Seek as _, SeekFrom, Write as _};
    use std::path::Path;
    use std::process::Command;

    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, ORGANISATIONS, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;
    use integration::demo::story::{service_path, soap_message};
    use serde_json::Value;

    const PORTS: u16 = 18_800;
    const GIB: u64 = 1 << 30;
    /// By how much a gateway may grow, in KiB.
    const ALLOWED: u64 = 64 << 10;
    const TMPFS: i64 = 0x0102_1994;

    /// What the highest resident memory of a process was, in KiB.
    fn peak(process: u32) -> u64 {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
    }

    fn post(layout: &Layout, file: &Path) -> String {
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", "-m", "300", "-X", "POST", "-T"])
            .arg(file)
            .args(["-H", "Content-Type: application/octet-stream", "-H"])
            .arg(format!("X-Road-Client: {}", CONSUMER.client()))
            .arg(format!("http://{}{}/declarations", layout.http(&CONSUMER), service_path()))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Sends a SOAP message with the attachment of a file's length.
    fn attach(layout: &Layout, folder: &Path, length: u64) -> String {
        let (content_type, whole) = soap_message("large-plan", 0);
        let end = b"\r\n--part--\r\n";
        let file = folder.join("plan");
        let mut written = fs::File::create(&file).unwrap();
        written.write_all(whole.strip_suffix(end).unwrap()).unwrap();
        let begin = written.metadata().unwrap().len();
        written.set_len(begin + length).unwrap();
        written.seek(SeekFrom::End(0)).unwrap();
        written.write_all(end).unwrap();
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", "-m", "300", "-X", "POST", "-T"])
            .arg(&file)
            .args(["-H", &format!("Content-Type: {content_type}")])
            .arg(format!("http://{}/", layout.http(&CONSUMER)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gibibyte_passes_in_little_memory_and_leaves_whole_evidence() {
        // Beside the programs: /tmp may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let kind = rustix::fs::statfs(folder.path()).unwrap().f_type;
        assert_ne!(kind, TMPFS, "{} is no disk", folder.path().display());
        let programs = Programs::locate().unwrap();
        let layout =
            init(&programs, &folder.path().join("demo"), PORTS, "p256", &Narrator::silent()).unwrap();
        let mut ecosystem = Ecosystem::start(programs.clone(), layout.clone()).await.unwrap();
        let body = |name: &str, length: u64| {
            let path = folder.path().join(name);
            fs::File::create(&path).unwrap().set_len(length).unwrap();
            path
        };

        let small = body("small", 1000);
        for _ in 0..20 {
            post(&layout, &small);
        }
        let mut processes = Vec::new();
        for organisation in ORGANISATIONS {
            let process = ecosystem.process(organisation.folder).unwrap().id();
            processes.push((organisation, process, peak(process)));
        }
        let receipt = post(&layout, &body("large", GIB));
        let receipt: Value = serde_json::from_str(&receipt).unwrap();
        assert_eq!(receipt["received_bytes"], GIB, "{receipt}");
        let grown = |what: &str| {
            for (organisation, process, before) in &processes {
                let after = peak(*process);
                println!(
                    "{}: peak resident memory {before} KiB, then {after} KiB: {what}",
                    organisation.folder
                );
                assert!(after - before < ALLOWED, "{} grew by {} KiB", organisation.folder, after - before);
            }
        };
        grown("a body of 1 GiB");
        let answer = attach(&layout, folder.path(), GIB);
        let received = answer.split_once("<received>").and_then(|(_, rest)| rest.split_once('<'));
        let received = received.unwrap_or_else(|| panic!("{answer}")).0.parse::<u64>().unwrap();
        assert!((GIB..GIB + 10_000).contains(&received), "{received}");
        grown("a SOAP attachment of 1 GiB");

        for holder in [CONSUMER, PROVIDER] {
            let folder = layout.folder(holder.folder);
            let run = |arguments: &[&str]| programs.run(&folder, "passerelle-gateway", arguments).unwrap();
            let last = run(&["log", "list", "--json", "--limit", "8"]);
            let records: Vec<Value> = last.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let is_large = |record: &&Value| record["length"].as_u64().unwrap_or_default() >= GIB;
            let large = records.iter().filter(is_large).map(|record| record["kind"].clone());
            assert_eq!(large.collect::<Vec<_>>(), ["request", "request"], "{records:#?}");
        }
    }
}
