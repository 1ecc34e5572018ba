//! A body of 1 GiB, and a SOAP attachment of 1 GiB, through both gateways: how much memory they take, and that their
//! evidence is whole.
//!
//! Real programs, real files on a real disk; `curl` sends, the demo's service counts what arrives.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Seek as _, SeekFrom, Write as _};
    use std::path::{Path, PathBuf};
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

    /// What reached the service of what was sent.
    type Send = fn(&Layout, &Path) -> u64;

    fn body(layout: &Layout, folder: &Path) -> u64 {
        let receipt: Value = serde_json::from_str(&post(layout, &file(folder, "large", GIB))).unwrap();
        receipt["received_bytes"].as_u64().unwrap()
    }

    fn attachment(layout: &Layout, folder: &Path) -> u64 {
        let answer = attach(layout, folder, GIB);
        let received = answer.split_once("<received>").and_then(|(_, rest)| rest.split_once('<'));
        received.unwrap_or_else(|| panic!("{answer}")).0.parse().unwrap()
    }

    fn file(folder: &Path, name: &str, length: u64) -> PathBuf {
        let path = folder.join(name);
        fs::File::create(&path).unwrap().set_len(length).unwrap();
        path
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gibibyte_passes_in_little_memory_and_leaves_whole_evidence() {
        // One after the other, each in a system of its own: both sides keep what passes, and disks are not endless.
        let cases: [(&str, Send); 2] = [("a body", body), ("a SOAP attachment", attachment)];
        for (what, send) in cases {
            // Beside the programs: /tmp may be memory.
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let disk = rustix::fs::statfs(folder.path()).unwrap();
            assert_ne!(disk.f_type, TMPFS, "{} is no disk", folder.path().display());
            let free = disk.f_bavail * u64::try_from(disk.f_bsize).unwrap();
            assert!(
                free > 3 * GIB,
                "{} needs 3 GiB of free disk, and has {free} bytes",
                folder.path().display()
            );
            passes(folder.path(), what, send).await;
        }
    }

    async fn passes(folder: &Path, what: &str, send: Send) {
        let programs = Programs::locate().unwrap();
        let layout = init(&programs, &folder.join("demo"), PORTS, "p256", &Narrator::silent()).unwrap();
        let mut ecosystem = Ecosystem::start(programs.clone(), layout.clone()).await.unwrap();
        let small = file(folder, "small", 1000);
        for _ in 0..20 {
            post(&layout, &small);
        }
        let mut processes = Vec::new();
        for organisation in ORGANISATIONS {
            let process = ecosystem.process(organisation.folder).unwrap().id();
            processes.push((organisation, process, peak(process)));
        }
        let received = send(&layout, folder);
        assert!((GIB..GIB + 10_000).contains(&received), "{received}");
        for (organisation, process, before) in &processes {
            let after = peak(*process);
            let name = organisation.folder;
            println!("{name}: peak resident memory {before} KiB, then {after} KiB: {what} of 1 GiB");
            assert!(after - before < ALLOWED, "{name} grew by {} KiB", after - before);
        }

        for holder in [CONSUMER, PROVIDER] {
            let folder = layout.folder(holder.folder);
            let run = |arguments: &[&str]| programs.run(&folder, "passerelle-gateway", arguments).unwrap();
            let last = run(&["log", "list", "--json", "--limit", "4", "--reason", "a test"]);
            let records: Vec<Value> = last.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let is_large = |record: &&Value| record["length"].as_u64().unwrap_or_default() >= GIB;
            let large = records.iter().filter(is_large).map(|record| record["kind"].clone());
            assert_eq!(large.collect::<Vec<_>>(), ["request"], "{records:#?}");
        }
    }
}
