//! The real programs: built if they are missing or older, run to their end or kept running.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const PROGRAMS: [&str; 5] =
    ["passerelle-ca", "passerelle-conf", "passerelle-gateway", "passerelle-signer", "passerelle-demo"];

/// The folder with the programs, and how to start them.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
    /// A program that is started in the place of another one.
    instead: Option<(&'static str, &'static str)>,
}

impl Programs {
    /// The programs beside this one. In a source tree cargo first builds what is missing or older, with its progress
    /// on standard error.
    ///
    /// # Errors
    /// In words: the build failed, or a program is not there.
    pub fn locate() -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
        // A test's executable lies one folder deeper than the programs.
        let folder = own
            .ancestors()
            .skip(1)
            .find(|folder| folder.file_name() != Some(OsStr::new("deps")))
            .ok_or("own path has no folder")?
            .to_path_buf();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
        if folder.starts_with(source) && source.join("Cargo.toml").exists() {
            let is_demo = own.file_name() == Some(OsStr::new("passerelle-demo"));
            build(source, is_release(&folder), is_demo)?;
        }
        let programs = Self { folder, instead: None };
        for name in PROGRAMS {
            let path = programs.path(name);
            if !path.exists() {
                return Err(format!(
                    "{} is not there; build it with: cargo build --release --bins",
                    path.display()
                ));
            }
        }
        Ok(programs)
    }

    /// The folder in which they lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// These, but with gateways that answer before their evidence is durable. They are built here, from what is built
    /// already but for the gateway itself.
    ///
    /// # Errors
    /// In words: the build failed.
    pub fn answering_before_sync(mut self) -> Result<Self, String> {
        let name = "answers-before-sync";
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
        let feature = "integration/test-answer-before-sync";
        // All packages: otherwise what they share would be built anew with other features.
        cargo(source, is_release(&self.folder), &["--workspace", "--features", feature, "--bin", name])?;
        self.instead = Some(("passerelle-gateway", name));
        Ok(self)
    }

    /// Where a program lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs a program to its end in `folder`; its standard output.
    ///
    /// # Errors
    /// In words: the command line with what it printed to standard error, when it did not exit with 0.
    pub fn run(&self, folder: &Path, name: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(self.path(name))
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{name}: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!(
            "{name} {} ({}):\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))
    }

    /// Starts a program that stays up; what it prints goes to `folder/<log>`.
    ///
    /// # Errors
    /// In words, when it cannot be started.
    pub fn start(&self, folder: &Path, log: &str, name: &str, arguments: &[&str]) -> Result<Running, String> {
        let log = folder.join(log);
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| error.to_string())?;
        let program = self.instead.filter(|(of, _)| *of == name).map_or(name, |(_, instead)| instead);
        let child = Command::new(self.path(program))
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(Running { child, name: name.to_owned(), log })
    }
}

/// `is_demo`: we are `passerelle-demo` ourselves, which is then not built under our feet.
fn build(source: &Path, release: bool, is_demo: bool) -> Result<(), String> {
    let programs = PROGRAMS.iter().filter(|name| !(is_demo && **name == "passerelle-demo"));
    let arguments: Vec<&str> = programs.flat_map(|name| ["--bin", *name]).collect();
    cargo(source, release, &arguments)
}

fn is_release(folder: &Path) -> bool {
    folder.file_name() == Some(OsStr::new("release"))
}

fn cargo(source: &Path, release: bool, arguments: &[&str]) -> Result<(), String> {
    let mut cargo = Command::new("cargo");
    cargo.arg("build").arg("--locked").args(arguments).current_dir(source);
    if release {
        cargo.arg("--release");
    } else {
        // With any test, packages of others have the features that tests ask for. Without one, all that stands on these would be
        // built a second time.
        cargo.args(["--test", "layering"]);
    }
    // `cargo run` and `cargo test` tell us of our own package; build scripts that look at it would build all anew.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if own.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(&*name);
        }
    }
    match cargo.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo build: {status}")),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// A program that stays up; stopped (asked first, then made to) when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with what it printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An error, in words with the end of its log, if it has stopped by itself.
    ///
    /// # Errors
    /// It has stopped.
    pub fn alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let end = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n");
                Err(format!("{} stopped ({status}); the end of {}:\n{end}", self.name, self.log.display()))
            }
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    /// Stops it where it is (SIGSTOP), and waits until each of its threads has stopped.
    ///
    /// # Errors
    /// In words: it does not run.
    pub fn freeze(&self) -> Result<(), String> {
        self.signal(Signal::STOP)?;
        while self.threads()?.iter().any(|state| !state.starts_with('T')) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets it go on after [`Running::freeze`].
    ///
    /// # Errors
    /// In words: it does not run.
    pub fn thaw(&self) -> Result<(), String> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("{} has no process id", self.name))?;
        kill_process(pid, signal).map_err(|error| format!("{}: {error}", self.name))
    }

    /// The states of its threads, as `/proc` tells them.
    fn threads(&self) -> Result<Vec<String>, String> {
        let failed = |error: std::io::Error| format!("threads of {}: {error}", self.name);
        let mut states = Vec::new();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).map_err(failed)? {
            // One that ends meanwhile is none.
            let Ok(stat) = std::fs::read_to_string(thread.map_err(failed)?.path().join("stat")) else {
                continue;
            };
            // `id (name) state ...`; the name may hold anything.
            states.extend(stat.rsplit_once(") ").map(|(_, state)| state.to_owned()));
        }
        Ok(states)
    }

    /// Kills it at once, as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop (SIGTERM) and waits up to `patience`; then kills it. Whether it went by itself.
    pub fn stop(&mut self, patience: Duration) -> bool {
        let _ = self.signal(Signal::TERM);
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while waited < patience {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            std::thread::sleep(step);
            waited += step;
        }
        self.kill();
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop(Duration::from_secs(10));
        }
    }
}
