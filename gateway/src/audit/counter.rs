//! The counter: where a running gateway notes what the commands on its machine read.
//!
//! ```text
//! command ──{"action":"show","records":[7],..}──► <log>/readings.sock ──► access record ──► {"noted":42} ──► command shows
//! ```
//! The log has one writer. A command that reads it meanwhile tells that writer what it is about to show, a line of JSON for
//! each access record, and shows it when it has the answer. Who reads, the kernel says (`SO_PEERCRED`); for whom an
//! administrator reads (`sudo`) is what the command says. Only the user of the gateway and root can connect.
//!
//! Not here: commands while no gateway runs; they open the log themselves.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::register;
use crate::messagelog::{MessageLog, record::AccessRecord};

/// Its name in the directory of the log.
const SOCKET: &str = "readings.sock";
/// Longest line: more than the longest access record of a register in pieces.
const LONGEST: u64 = 4 << 20;
/// Commands that are served at once; others wait.
const MOST: usize = 8;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reading, as a command tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    for_user: Option<String>,
    action: String,
    query: String,
    reason: Option<String>,
    records: Vec<u64>,
    bodies: bool,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Noted,
    Refused(String),
}

/// The user of this number, for the register.
#[must_use]
pub fn user(number: u32, for_user: Option<&str>) -> String {
    // Names are not for everybody in this file: the number says it all.
    let names = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = names.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    });
    let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
    let behind = for_user.map(|user| format!(" for {user}")).unwrap_or_default();
    format!("user {number}{name}{behind}")
}

/// Serves the commands until `stop` turns true. `directory` is that of the log, whose lock is held.
pub async fn serve(log: MessageLog, directory: PathBuf, mut stop: watch::Receiver<bool>) {
    let listener = match listen(&directory) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "readings by commands on this machine cannot be noted");
            return;
        }
    };
    let mut served = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if served.len() < MOST => accepted,
            _ = served.join_next(), if !served.is_empty() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let log = log.clone();
                served.spawn(async move {
                    match tokio::time::timeout(PATIENCE, one(&log, stream)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::warn!(%error, "a command that reads was not heard out"),
                        Err(_) => tracing::warn!("a command that reads was too slow"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "readings by commands");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    while served.join_next().await.is_some() {}
    // A socket that nobody listens at refuses, which says the same as none.
    let _ = fs::remove_file(directory.join(SOCKET));
}

/// The name of a socket is 107 bytes at most; through the descriptor of its directory it is short.
fn short(directory: &Path) -> io::Result<(File, PathBuf)> {
    let opened = File::open(directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()));
    Ok((opened, path))
}

fn listen(directory: &Path) -> io::Result<UnixListener> {
    let (_opened, path) = short(directory)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn one(log: &MessageLog, stream: tokio::net::UnixStream) -> io::Result<()> {
    let who = stream.peer_cred()?.uid();
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LONGEST)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Told>(&line) {
        Err(error) => Answer::Refused(error.to_string()),
        Ok(told) => {
            let access = AccessRecord {
                who: user(who, told.for_user.as_deref()),
                role: None,
                action: told.action,
                query: told.query,
                reason: told.reason,
                records: told.records,
                bodies: told.bodies,
            };
            match register::note(log, access).await {
                Ok(()) => Answer::Noted,
                Err(error) => Answer::Refused(error.to_string()),
            }
        }
    };
    write.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await
}

/// Tells the gateway that has the log in `directory` open what is about to be shown; `access.who` is left aside. Blocks.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] and [`io::ErrorKind::ConnectionRefused`] when no gateway listens; otherwise nothing was
/// noted for certain.
pub fn tell(directory: &Path, access: AccessRecord, for_user: Option<&str>) -> io::Result<()> {
    for piece in register::pieces(access) {
        let (_opened, path) = short(directory)?;
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let AccessRecord { action, query, reason, records, bodies, .. } = piece;
        let for_user = for_user.map(str::to_owned);
        let told = Told { for_user, action, query, reason, records, bodies };
        stream.write_all(format!("{}\n", serde_json::to_string(&told)?).as_bytes())?;
        let mut line = String::new();
        io::BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
        match serde_json::from_str(&line)? {
            Answer::Noted => {}
            Answer::Refused(why) => return Err(io::Error::other(why)),
        }
    }
    Ok(())
}
