//! An object store of another make (moto), and the way to it, on which a test can do harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// The server; it ends with the test.
pub(crate) struct Server {
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    pub(crate) port: u16,
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Server {
    /// None when these tests are left out (`PASSERELLE_BUCKET=no`).
    pub(crate) fn start() -> Option<Self> {
        if std::env::var_os("PASSERELLE_BUCKET").is_some_and(|value| value == "no") {
            println!("NOT RUN: PASSERELLE_BUCKET=no");
            return None;
        }
        let python = std::env::var_os("PASSERELLE_PYTHON").unwrap_or_else(|| {
            panic!("PASSERELLE_PYTHON must name a Python that has moto: run integration/test.sh")
        });
        let mut process = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bucket_support/server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let about: Value =
            serde_json::from_str(&line).expect("moto did not start: pip install 'moto[server]'");
        let text = |key: &str| about.get(key).unwrap().as_str().unwrap().to_owned();
        let port = u16::try_from(about.get("port").unwrap().as_u64().unwrap()).unwrap();
        let pipes = Mutex::new((input, output));
        Some(Self { process, pipes, port, id: text("id"), secret: text("secret") })
    }

    fn ask(&self, question: &Value) -> Value {
        let mut pipes = self.pipes.lock().unwrap();
        let (input, output) = &mut *pipes;
        writeln!(input, "{question}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// All names in the bucket.
    pub(crate) fn list(&self) -> Vec<String> {
        serde_json::from_value(self.ask(&json!(["list"]))).unwrap()
    }

    /// Fetches an object.
    pub(crate) fn get(&self, key: &str, file: &Path) {
        assert_eq!(self.ask(&json!(["get", key, file])), true);
    }

    /// Puts an object there, whatever was there.
    pub(crate) fn put(&self, key: &str, text: &str) {
        assert_eq!(self.ask(&json!(["put", key, text])), true);
    }

    /// How many uploads were begun and neither ended nor given up.
    pub(crate) fn uploads(&self) -> Value {
        self.ask(&json!(["uploads"]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    None,
    /// The connection is closed.
    Close,
    /// Nobody answers.
    Hang,
    /// Status 500.
    Fail,
    /// It is carried out, and the answer lost.
    LoseAnswer,
}

type Rule = dyn Fn(usize, &str) -> Harm + Send + Sync;

/// The way to the server. Each connection carries one request.
pub(crate) struct Way {
    pub(crate) port: u16,
    requests: Arc<AtomicUsize>,
    rule: Arc<Mutex<Arc<Rule>>>,
}

impl Way {
    /// A way to this port.
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rule: Arc<Mutex<Arc<Rule>>> = Arc::new(Mutex::new(Arc::new(|_, _| Harm::None)));
        let requests = Arc::new(AtomicUsize::new(0));
        let (rules, counter) = (Arc::clone(&rule), Arc::clone(&requests));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let rule = Arc::clone(&rules.lock().unwrap());
                thread::spawn(move || carry(client, server, number, &*rule));
            }
        });
        Self { port, requests, rule }
    }

    /// From now on; the first request has the number 0. The rule is told the first line of the request.
    pub(crate) fn rule(&self, rule: impl Fn(usize, &str) -> Harm + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
        self.requests.store(0, Ordering::SeqCst);
    }

    /// How many requests came since.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn carry(mut client: TcpStream, server: u16, number: usize, rule: &Rule) {
    let mut head = vec![0; 64 << 10];
    let Ok(read) = client.read(&mut head) else { return };
    head.truncate(read);
    let text = String::from_utf8_lossy(&head);
    let harm = rule(number, text.lines().next().unwrap_or_default());
    match harm {
        Harm::Close => {}
        Harm::Hang => thread::sleep(Duration::from_secs(20)),
        Harm::Fail => {
            let _ = client.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = client.shutdown(Shutdown::Write);
            // What still comes is taken, so that the answer is not lost to a reset.
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        }
        Harm::None | Harm::LoseAnswer => {
            let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            server.write_all(&head).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let lost = harm == Harm::LoseAnswer;
            let mut answer = [0; 16 << 10];
            while let Ok(read) = server.read(&mut answer) {
                let piece = answer.get(..read).unwrap_or_default();
                if piece.is_empty() || lost || client.write_all(piece).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}
