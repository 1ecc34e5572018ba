//! The demo's directory: what `init` writes, that the programs agree with it, and that it is never written over.
//!
//! Not here: the whole demo, which CI runs (`passerelle-demo --once`).

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use integration::demo::ecosystem::{Ecosystem, PARTS, free_ports, init};
    use integration::demo::layout::{self, Layout, ORGANISATIONS};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;
    use tempfile::TempDir;

    fn made(base: u16, key: &str) -> (TempDir, Programs, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        let layout = init(&programs, &folder.path().join("demo"), base, key, &Narrator::silent()).unwrap();
        (folder, programs, layout)
    }

    fn all_files(folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(all_files(&path));
            } else {
                files.push(path);
            }
        }
        files
    }

    #[test]
    fn init_writes_the_folders_and_the_settings_that_the_programs_find_sound() {
        let (_folder, programs, layout) = made(18_000, "p256");
        let names: BTreeSet<String> = fs::read_dir(&layout.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let expected = ["anchor.xml", "authority", "ca", "consumer", "provider", "service"];
        assert_eq!(names, expected.map(str::to_owned).into());
        for file in [
            "ca/ca.toml",
            "authority/authority.toml",
            "consumer/gateway.toml",
            "provider/gateway.toml",
            "service/service.toml",
        ] {
            assert!(layout.directory.join(file).is_file(), "{file}");
        }
        let sound = programs.run(&layout.folder("authority"), "passerelle-conf", &["check"]).unwrap();
        assert!(sound.contains("instance DEMO, 2 members, 2 servers, 1 CAs, 1 TSAs"), "{sound}");
        for organisation in ORGANISATIONS {
            let folder = layout.folder(organisation.folder);
            let sound = programs.run(&folder, "passerelle-gateway", &["check"]).unwrap();
            assert!(sound.contains(&organisation.server_id()), "{sound}");
            let keys = programs.run(&folder, "passerelle-gateway", &["keys", "list", "--json"]).unwrap();
            let mut usages: Vec<String> = keys
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .inspect(|key| assert!(key["not_after"].is_string() && key["type"] == "p256", "{key}"))
                .map(|key| key["usage"].as_str().unwrap().to_owned())
                .collect();
            usages.sort();
            assert_eq!(usages, ["auth", "sign", "tls"]);
        }
        let issued = programs.run(&layout.folder("ca"), "passerelle-ca", &["show", "--json"]).unwrap();
        assert_eq!(issued.matches("\"profile\": \"auth\"").count(), 2, "{issued}");
        assert_eq!(layout::existing(&layout.directory).unwrap().base, 18_000);
    }

    #[test]
    fn secrets_are_readable_by_their_owner_only_and_no_token_stands_in_the_settings() {
        let (_folder, _programs, layout) = made(18_100, "p256");
        let is_secret = |path: &Path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name == "pin" || name.ends_with(".key.pem") || name.ends_with(".token")
        };
        let secrets: Vec<PathBuf> =
            all_files(&layout.directory).into_iter().filter(|path| is_secret(path)).collect();
        // PINs of CA, authority and two gateways; keys: 3 of the CA, 2 of the authority, 3 of each gateway; 4 tokens.
        assert_eq!(secrets.len(), 4 + 11 + 4, "{secrets:#?}");
        for secret in &secrets {
            let mode = fs::metadata(secret).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", secret.display());
        }
        for token in secrets.iter().filter(|path| path.extension().is_some_and(|end| end == "token")) {
            let settings = fs::read_to_string(token.with_file_name("gateway.toml")).unwrap();
            assert!(!settings.contains(&fs::read_to_string(token).unwrap()), "{}", token.display());
        }
    }

    #[test]
    fn a_directory_with_something_in_it_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        let other = folder.path().join("letter.txt");
        fs::File::create(&other).unwrap();
        let refused = init(&programs, folder.path(), 18_200, "p256", &Narrator::silent()).unwrap_err();
        assert!(refused.contains("is not empty"), "{refused}");
        assert_eq!(all_files(folder.path()), [other]);
    }

    #[test]
    fn ports_and_key_types_that_do_not_exist_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        for base in [0, 65_530] {
            let refused =
                init(&programs, &folder.path().join("ports"), base, "p256", &Narrator::silent()).unwrap_err();
            assert!(refused.contains("port base"), "{refused}");
        }
        let refused = init(&programs, &folder.path().join("key"), 18_200, "p257", &Narrator::silent());
        assert!(refused.unwrap_err().contains("p257"));
    }

    #[test]
    fn a_port_that_is_taken_is_named_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), 18_300).unwrap();
        free_ports(&layout).unwrap();
        let _taken = std::net::TcpListener::bind(layout.peer(&ORGANISATIONS[1])).unwrap();
        let refused = free_ports(&layout).unwrap_err();
        assert!(refused.contains("127.0.0.21:18302"), "{refused}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parts_are_killed_restarted_missed_when_they_die_and_never_left_behind() {
        let (_folder, programs, layout) = made(18_400, "p256");
        let mut ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
        let first = ecosystem.process("provider").unwrap().id();
        ecosystem.kill("provider").unwrap();
        assert!(ecosystem.kill("provider").is_err(), "it does not run any more");
        ecosystem.alive().unwrap();
        ecosystem.restart("provider").await.unwrap();
        ecosystem.restart("consumer").await.unwrap();
        assert_ne!(ecosystem.process("provider").unwrap().id(), first);
        assert!(ecosystem.restart("nobody").await.is_err());

        // Behind our back.
        let service = ecosystem.process("service").unwrap().id().to_string();
        assert!(std::process::Command::new("kill").args(["-9", &service]).status().unwrap().success());
        let died = loop {
            if let Err(reason) = ecosystem.alive() {
                break reason;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert!(died.starts_with("service:"), "{died}");

        let ids: Vec<u32> =
            PARTS.iter().filter_map(|part| Some(ecosystem.process(part.name)?.id())).collect();
        drop(ecosystem);
        for id in ids {
            assert!(!Path::new(&format!("/proc/{id}")).exists(), "process {id} is left behind");
        }
        free_ports(&layout).unwrap();
    }
}
