//! The two fences around the gateway: what a thread that put them up is refused, and what it still may do.
//!
//! They hold for one thread and what it starts, so each test puts them up in a thread of its own. The whole program behind
//! them: `integration/tests/hardening.rs`.

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::io::{ErrorKind, Write as _};
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use cert_authority::durable;
    use cert_authority::hardening::InForce;
    use gateway::config::Config;
    use gateway::hardening::{Places, confine};
    use gateway::messagelog::disk::{Disk as _, SystemDisk};
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType, socket};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, chroot, getpid, pidfd_getfd, pidfd_open};
    use tempfile::TempDir;

    const SETTINGS: &str =
        "[server]\nid = \"DEMO/GOV/1001/ss1\"\n\n[configuration]\nanchor = \"anchor.xml\"\n";

    /// A folder with settings, and one that is none of the gateway's business.
    fn folders(settings: &str) -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (folder.path().join("gateway"), folder.path().join("other"));
        for made in [&own, &other] {
            fs::create_dir(made).unwrap();
        }
        durable::write(own.join("gateway.toml"), settings.as_bytes()).unwrap();
        durable::write(other.join("file"), b"of others").unwrap();
        (folder, own.join("gateway.toml"), other)
    }

    /// Does it in a thread that has put the fences up.
    fn confined<T: Send>(settings: &Path, act: impl FnOnce(InForce) -> T + Send) -> T {
        let config = Config::load(settings).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| act(confine(&config, settings).unwrap()));
            thread.join().unwrap()
        })
    }

    fn opened_for_writing(path: &Path) -> Result<File, ErrorKind> {
        OpenOptions::new().append(true).open(path).map_err(|error| error.kind())
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a fence is tried, nothing is to be durable")]
    fn only_own_folders_are_written_and_only_what_is_needed_is_read() {
        let (_folder, settings, other) = folders(SETTINGS);
        let own = settings.parent().unwrap().to_owned();
        confined(&settings, |in_force| {
            assert_eq!(
                in_force.files, "landlock",
                "this kernel has no landlock: these tests need one that has"
            );
            for folder in ["globalconf", "ocsp", "log", "monitoring", "keys"] {
                durable::write(own.join(folder).join("made"), b"own").unwrap();
                fs::rename(own.join(folder).join("made"), own.join(folder).join("moved")).unwrap();
                fs::remove_file(own.join(folder).join("moved")).unwrap();
            }
            assert!(fs::read_to_string(&settings).unwrap().contains("DEMO"));
            assert!(fs::read_dir("/proc/self/fd").unwrap().count() > 0);

            assert_eq!(opened_for_writing(&settings).unwrap_err(), ErrorKind::PermissionDenied);
            let made = File::create(own.join("beside-the-settings"));
            assert_eq!(made.unwrap_err().kind(), ErrorKind::PermissionDenied);
            let file = other.join("file");
            assert_eq!(fs::read(&file).unwrap_err().kind(), ErrorKind::PermissionDenied);
            assert_eq!(opened_for_writing(&file).unwrap_err(), ErrorKind::PermissionDenied);
            assert_eq!(fs::remove_file(&file).unwrap_err().kind(), ErrorKind::PermissionDenied);
            // Neither by a link from within.
            let link = fs::hard_link(&file, own.join("log/linked"));
            assert!(link.is_err(), "what may not be read is linked to where it may");
        });
        assert_eq!(fs::read(other.join("file")).unwrap(), b"of others");
    }

    #[test]
    fn a_body_without_a_name_gets_one_by_way_of_proc() {
        let (_folder, settings, _) = folders(SETTINGS);
        let log = settings.parent().unwrap().join("log");
        let linked = log.join("body");
        confined(&settings, |_| {
            let flags = rustix::fs::OFlags::TMPFILE;
            let flags = i32::try_from(flags.bits()).unwrap();
            let mut file = OpenOptions::new().write(true).custom_flags(flags).open(&log).unwrap();
            file.write_all(b"a body").unwrap();
            SystemDisk.link(&file, &linked).unwrap();
        });
        assert_eq!(fs::read(&linked).unwrap(), b"a body");
    }

    #[test]
    fn what_the_settings_name_elsewhere_stays_readable_and_is_not_written() {
        let (folder, settings, other) = folders(SETTINGS);
        let named = folder.path().join("named");
        fs::create_dir(&named).unwrap();
        durable::write(named.join("anchor.xml"), b"<a/>").unwrap();
        let text = SETTINGS.replace("anchor.xml", "../named/anchor.xml");
        let text = format!("{text}[hardening]\nreadable = [\"../other\"]\n");
        durable::write(&settings, text.as_bytes()).unwrap();
        confined(&settings, |_| {
            assert_eq!(fs::read(named.join("anchor.xml")).unwrap(), b"<a/>");
            assert_eq!(fs::read(other.join("file")).unwrap(), b"of others");
            for file in [named.join("anchor.xml"), other.join("file")] {
                assert_eq!(opened_for_writing(&file).unwrap_err(), ErrorKind::PermissionDenied);
            }
        });
    }

    /// How each of these is refused; `None` where it is not.
    fn tried() -> Vec<(&'static str, Option<Errno>)> {
        let of_io = |error: std::io::Error| Errno::from_io_error(&error);
        let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        vec![
            ("execve", Command::new("/bin/true").status().err().and_then(of_io)),
            // Taking a descriptor of another process needs the right to trace it, and is refused beside ptrace.
            ("pidfd_getfd", pidfd_getfd(own, 9_999, PidfdGetfdFlags::empty()).err()),
            ("chroot", chroot("/none-such").err()),
            ("packet socket", socket(AddressFamily::PACKET, SocketType::DGRAM, None).err()),
            ("vsock", socket(AddressFamily::from_raw(40), SocketType::STREAM, None).err()),
        ]
    }

    /// The rest of the list is tried on the filter itself, in its own file: nothing here calls the kernel as one likes.
    #[test]
    fn programs_other_processes_and_strange_sockets_are_refused() {
        let before = tried();
        let (_folder, settings, _) = folders(SETTINGS);
        confined(&settings, |in_force| {
            assert_eq!(in_force.calls, "seccomp");
            for (what, refusal) in tried() {
                assert_eq!(refusal, Some(Errno::PERM), "{what}; without the fences {before:?}");
            }
            // What a gateway lives by is not.
            UnixStream::pair().unwrap();
            std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            assert_eq!(std::thread::spawn(|| 1 + 1).join().unwrap(), 2);
        });
        // The test can fail: without the fences a program is started, and the kernel looks for the descriptor.
        assert_eq!(before[0], ("execve", None));
        assert_eq!(before[1], ("pidfd_getfd", Some(Errno::BADF)));
    }

    #[test]
    fn threads_that_are_started_afterwards_are_confined_too() {
        let (_folder, settings, other) = folders(SETTINGS);
        confined(&settings, |_| {
            let read = std::thread::spawn(move || fs::read(other.join("file")).map_err(|error| error.kind()));
            assert_eq!(read.join().unwrap().unwrap_err(), ErrorKind::PermissionDenied);
            let started = std::thread::spawn(|| Command::new("/bin/true").status().is_ok());
            assert!(!started.join().unwrap());
        });
    }

    #[test]
    fn off_gives_up_nothing() {
        let (_folder, settings, other) = folders(&format!("{SETTINGS}[hardening]\nconfine = \"off\"\n"));
        confined(&settings, |in_force| {
            assert_eq!(in_force, InForce { files: "off", calls: "off" });
            assert_eq!(fs::read(other.join("file")).unwrap(), b"of others");
            assert!(Command::new("/bin/true").status().unwrap().success());
        });
    }

    #[test]
    fn the_root_of_all_files_is_never_opened_by_a_text_that_is_a_slash() {
        let settings = format!("{SETTINGS}[hardening]\nreadable = [\"/\"]\n");
        let (_folder, settings, _) = folders(&settings);
        let places = Places::of(&Config::load(&settings).unwrap(), &settings);
        assert!(!places.read.contains(&PathBuf::from("/")), "{:?}", places.read);
    }
}
