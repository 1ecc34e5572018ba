//! A PostgreSQL of its own for a test.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]
#![allow(clippy::indexing_slicing, reason = "helpers of tests")]

pub(crate) mod proxy;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use cert_authority::{clock::Clock, durable};
use gateway::messagelog::{Config, Database, MessageLog};

use self::proxy::Proxy;

/// No test takes longer, whatever it waits for, unless it says so.
const LONGEST: Duration = Duration::from_secs(300);

/// Names the folder with the programs of a PostgreSQL; else that of Debian's newest version is taken.
const PROGRAMS: &str = "PASSERELLE_POSTGRES";

/// A file system in memory, and what must be free there.
const MEMORY: &str = "/dev/shm";
const ENOUGH: u64 = 1 << 30;

/// A cluster in a temporary directory, on a free port. Stopped when dropped.
///
/// It lies in memory where there is room: no test cuts the power, and what was written survives whoever is killed. That it
/// is told to sync is looked at all the same, when nodes connect.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    /// Dropped with the rest: the watch over the time ends.
    _watch: mpsc::Sender<()>,
}

impl Cluster {
    /// Starts one. It must be installed: a test that is left out unseen proves nothing.
    pub(crate) fn start() -> Self {
        Self::start_for(LONGEST)
    }

    /// Starts one for a test that may take so long.
    pub(crate) fn start_for(longest: Duration) -> Self {
        let room = rustix::fs::statvfs(MEMORY).map_or(0, |memory| memory.f_bavail * memory.f_frsize);
        let in_memory = (room >= ENOUGH).then(|| tempfile::tempdir_in(MEMORY).ok()).flatten();
        Self::start_in(in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap()), longest)
    }

    /// Starts one on a disk, where syncs take their time.
    pub(crate) fn start_on_disk(longest: Duration) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), longest)
    }

    fn start_in(directory: tempfile::TempDir, longest: Duration) -> Self {
        let programs = programs();
        give_to_postgres(directory.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        run(Command::new("cp").arg("-a").arg(template(&programs)).arg(directory.path().join("data")));
        let cluster = Self { directory, programs, port, _watch: watch(longest) };
        cluster.start_again();
        cluster
    }

    /// How it is reached.
    pub(crate) fn settings(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// The same for the log.
    pub(crate) fn database(&self) -> Database {
        let (user, name) = ("postgres".to_owned(), "postgres".to_owned());
        Database {
            host: "127.0.0.1".into(),
            port: self.port,
            user,
            name,
            password_file: None,
            authorities: Vec::new(),
        }
    }

    /// By way of this.
    pub(crate) fn through(&self, proxy: &Proxy) -> Database {
        Database { port: proxy.port(), ..self.database() }
    }

    /// A network between a node and it.
    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::start(self.port)
    }

    /// A node of the log in it, in this directory, that reaches it so.
    pub(crate) fn node(&self, config: Config, database: Database, clock: Arc<dyn Clock>) -> MessageLog {
        // The first one makes the key; an operator takes it to the others.
        let kek = config.key_file.clone();
        if self.kek().exists() && !kek.exists() {
            std::fs::copy(self.kek(), &kek).unwrap();
        }
        let log = MessageLog::create(Config { postgres: Some(database), ..config }, clock).unwrap();
        std::fs::copy(&kek, self.kek()).unwrap();
        log
    }

    /// Starts it after it was killed.
    pub(crate) fn start_again(&self) {
        // Up to version 13 it would keep passwords in a form that SCRAM cannot use.
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_wal_size=128MB \
             -c password_encryption=scram-sha-256",
            self.port
        );
        let log = self.directory.path().join("server.log");
        let mut start = self.program("pg_ctl");
        run(start
            .arg("start")
            .arg("-w")
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(log)
            .arg("-o")
            .arg(options));
    }

    /// Starts it anew: who is connected is told to go.
    pub(crate) fn restart(&self) {
        let log = self.directory.path().join("server.log");
        run(self
            .program("pg_ctl")
            .args(["restart", "-m", "fast", "-w", "-D"])
            .arg(self.data())
            .arg("-l")
            .arg(log));
    }

    /// Kills its main process alone, as a system without memory does: the others notice, and end. Starts it again.
    pub(crate) fn lose_main(&self) {
        let processes = self.processes();
        run(Command::new("kill").args(["-KILL", &processes[0]]));
        // They share memory: while one of them is left, none is started.
        for process in processes {
            while Path::new("/proc").join(&process).exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.start_again();
    }

    /// The main process, and then the others.
    fn processes(&self) -> Vec<String> {
        let main = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let main = main.lines().next().unwrap();
        let children = Command::new("pgrep").args(["-P", main]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        std::iter::once(main).chain(children.lines()).map(str::to_owned).collect()
    }

    /// Ends it at once, without a checkpoint, as a crash does.
    pub(crate) fn kill(&self) {
        run(self.program("pg_ctl").args(["stop", "-m", "immediate", "-w", "-D"]).arg(self.data()));
    }

    /// Runs statements.
    pub(crate) fn sql(&self, text: &str) {
        run(Command::new("psql").arg(self.settings()).args(["-v", "ON_ERROR_STOP=1", "-c", text]));
    }

    /// Sends a signal to all its processes.
    pub(crate) fn signal(&self, signal: &str) {
        for process in self.processes() {
            // One that has ended meanwhile needs none.
            let _ = Command::new("kill").args([&format!("-{signal}"), &process]).status();
        }
    }

    /// From now on it offers TLS with this certificate; or none.
    pub(crate) fn offer_tls(&self, certificate: Option<(&str, &str)>) {
        if let Some((chain, key)) = certificate {
            for (name, content) in [("server.crt", chain), ("server.key", key)] {
                durable::write_secret(self.data().join(name), content.as_bytes()).unwrap();
                if root() {
                    run(Command::new("chown").arg("postgres").arg(self.data().join(name)));
                }
            }
        }
        self.sql(&format!("ALTER SYSTEM SET ssl = {}", if certificate.is_some() { "on" } else { "off" }));
        self.sql("SELECT pg_reload_conf()");
        std::thread::sleep(Duration::from_millis(500));
    }

    /// From now on it asks others than its owner for passwords.
    pub(crate) fn ask_for_passwords(&self) {
        let rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        durable::write(self.data().join("pg_hba.conf"), rules.as_bytes()).unwrap();
        if root() {
            run(Command::new("chown").arg("postgres").arg(self.data().join("pg_hba.conf")));
        }
        self.sql("SELECT pg_reload_conf()");
        std::thread::sleep(Duration::from_millis(500));
    }

    /// The single value that a query gives.
    pub(crate) fn value(&self, query: &str) -> String {
        let output = Command::new("psql").arg(self.settings()).args(["-At", "-c", query]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Where the key-encryption key of the log in it is kept for further nodes.
    pub(crate) fn kek(&self) -> PathBuf {
        self.directory.path().join("kek")
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        program(&self.programs, name)
    }
}

/// One of its programs; it refuses to be root.
fn program(programs: &Path, name: &str) -> Command {
    let path = programs.join(name);
    let mut command = Command::new(if root() { Path::new("runuser") } else { &path });
    if root() {
        command.args(["-u", "postgres", "--"]).arg(&path);
    }
    command.current_dir("/");
    command
}

/// The files of a new cluster, made once for each version: each test has a copy.
fn template(programs: &Path) -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let said = Command::new(programs.join("initdb")).arg("--version").output().unwrap();
        let version: String =
            String::from_utf8(said.stdout).unwrap().chars().filter(char::is_ascii_digit).collect();
        let user = rustix::process::geteuid().as_raw();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{version}-{user}"));
        if folder.exists() {
            return folder;
        }
        // Its user may not be able to reach that place.
        let made = tempfile::tempdir().unwrap();
        give_to_postgres(made.path());
        let data = made.path().join("data");
        let arguments = ["--no-sync", "--auth=trust", "--username=postgres", "-D"];
        run(program(programs, "initdb").args(arguments).arg(&data));
        let beside = folder.with_extension(std::process::id().to_string());
        run(Command::new("cp").arg("-a").arg(&data).arg(&beside));
        // Whole or not at all; unless another test program was faster.
        #[expect(clippy::disallowed_methods, reason = "nothing is lost with a template")]
        let named = std::fs::rename(&beside, &folder);
        if named.is_err() {
            std::fs::remove_dir_all(&beside).unwrap();
        }
        folder
    })
}

fn give_to_postgres(directory: &Path) {
    if root() {
        run(Command::new("chown").arg("postgres").arg(directory));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        let _ = stop.args(["stop", "-m", "immediate", "-D"]).arg(self.data()).stdout(Stdio::null()).status();
    }
}

/// Ends the test program when a test hangs: with PostgreSQL stopped, threads may wait that nothing else ends.
fn watch(longest: Duration) -> mpsc::Sender<()> {
    let (alive, ended) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    std::thread::spawn(move || {
        if ended.recv_timeout(longest) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name} takes longer than {longest:?}");
            std::process::exit(101);
        }
    });
    alive
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where its programs are. It must be installed: a test that is left out unseen proves nothing.
#[expect(clippy::disallowed_methods, reason = "which version is tested is said from outside")]
fn programs() -> PathBuf {
    if let Ok(named) = std::env::var(PROGRAMS) {
        return PathBuf::from(named);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let newest = versions.map(|version| version.path().join("bin")).max();
    newest
        .filter(|newest| newest.join("pg_ctl").exists())
        .expect("PostgreSQL is not installed: apt-get install postgresql")
}
