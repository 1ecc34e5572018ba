//! The network between a node and PostgreSQL, which does at a chosen message what networks and nodes do.
//!
//! ```text
//! node ──messages──► [ the one that is waited for: before it, within it or behind it ] ──► PostgreSQL
//! ```
//! Without TLS, so that it knows what the node asks.
#![allow(clippy::indexing_slicing, clippy::expect_used, reason = "helpers of tests")]

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    time::Duration,
};

/// Which part of the message that is waited for reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    Nothing,
    Half,
    All,
}

/// What happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing passes any more in any direction, on any connection; nor does the end of one. As when the node has lost
    /// its power or its network.
    Silence,
    /// The connection is cut; the answer does not reach the node.
    Cut,
}

/// The message that is waited for: its kind in the protocol, and bytes in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) kind: u8,
    pub(crate) holds: &'static str,
    pub(crate) passes: Passes,
    pub(crate) then: Trouble,
}

#[derive(Default)]
struct Shared {
    rule: Mutex<Option<(Rule, mpsc::Sender<()>)>>,
    silent: Mutex<bool>,
    spoken: Condvar,
    /// The statements that nodes have sent, whether they reached the server or not.
    asked: Mutex<Vec<String>>,
}

/// On a port of its own, as long as the test program.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// In front of the server on this port.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, shared) = (listener.local_addr().unwrap().port(), Arc::new(Shared::default()));
        let proxy = Self { port, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for node in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.connect(node, server));
            }
        });
        proxy
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Waits for this message, once; tells when it came.
    pub(crate) fn wait_for(&self, rule: Rule) -> mpsc::Receiver<()> {
        let (came, comes) = mpsc::channel();
        *lock(&self.shared.rule) = Some((rule, came));
        comes
    }

    /// Ends the silence: what was sent meanwhile arrives.
    pub(crate) fn speak(&self) {
        *lock(&self.shared.silent) = false;
        self.shared.spoken.notify_all();
    }

    /// How many statements with this text were sent.
    pub(crate) fn count(&self, text: &str) -> usize {
        lock(&self.shared.asked).iter().filter(|asked| asked.contains(text)).count()
    }
}

/// Waits until it came.
pub(crate) fn came(comes: &mpsc::Receiver<()>) {
    comes.recv_timeout(Duration::from_secs(60)).expect("the message never came");
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn wait(&self) {
        let silent = lock(&self.silent);
        drop(self.spoken.wait_while(silent, |silent| *silent).unwrap_or_else(PoisonError::into_inner));
    }

    fn connect(self: &Arc<Self>, node: TcpStream, server: u16) {
        self.wait();
        let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
        let cut = Arc::new(Mutex::new(false));
        for stream in [&node, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let answers = (server.try_clone().unwrap(), node.try_clone().unwrap(), Arc::clone(&cut));
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            let (server, node, cut) = answers;
            let _ = shared.pass_answers(&server, &node, &cut);
            shared.wait();
            let _ = node.shutdown(Shutdown::Both);
        });
        let _ = self.pass_messages(&node, &server, &cut);
        self.wait();
        let _ = server.shutdown(Shutdown::Both);
    }

    /// Message by message; the first one has no kind.
    fn pass_messages(
        &self,
        mut node: &TcpStream,
        mut server: &TcpStream,
        cut: &Mutex<bool>,
    ) -> io::Result<()> {
        let mut kind = Vec::new();
        loop {
            let mut message = kind;
            let mut length = [0; 4];
            node.read_exact(&mut length)?;
            message.extend(length);
            let rest = usize::try_from(u32::from_be_bytes(length)).unwrap().checked_sub(4).unwrap();
            let head = message.len();
            message.resize(head + rest, 0);
            node.read_exact(&mut message[head..])?;
            if matches!(message[0], b'P' | b'Q') {
                lock(&self.asked).push(String::from_utf8_lossy(&message[head..]).into_owned());
            }
            match self.met(&message) {
                None => {
                    self.wait();
                    server.write_all(&message)?;
                }
                Some((rule, came)) => {
                    if rule.then == Trouble::Cut {
                        *lock(cut) = true;
                    }
                    let passes = match rule.passes {
                        Passes::Nothing => 0,
                        Passes::Half => message.len() / 2,
                        Passes::All => message.len(),
                    };
                    if rule.then == Trouble::Silence {
                        *lock(&self.silent) = true;
                    }
                    server.write_all(&message[..passes])?;
                    let _ = came.send(());
                    if rule.then == Trouble::Cut && rule.passes != Passes::All {
                        return node.shutdown(Shutdown::Both);
                    }
                    self.wait();
                    server.write_all(&message[passes..])?;
                }
            }
            let mut next = [0];
            node.read_exact(&mut next)?;
            kind = next.to_vec();
        }
    }

    fn met(&self, message: &[u8]) -> Option<(Rule, mpsc::Sender<()>)> {
        let mut rule = lock(&self.rule);
        let waited = rule.as_ref().is_some_and(|(rule, _)| {
            message[0] == rule.kind
                && message.windows(rule.holds.len()).any(|part| part == rule.holds.as_bytes())
        });
        if waited { rule.take() } else { None }
    }

    fn pass_answers(
        &self,
        mut server: &TcpStream,
        mut node: &TcpStream,
        cut: &Mutex<bool>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        // The answer that is not to arrive may come in pieces, behind others.
        let mut tail = Vec::new();
        loop {
            let read = server.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.wait();
            tail.extend_from_slice(&buffer[..read]);
            if *lock(cut) && tail.windows(7).any(|part| part == b"COMMIT\0") {
                return server.shutdown(Shutdown::Both);
            }
            tail.drain(..tail.len().saturating_sub(6));
            node.write_all(&buffer[..read])?;
        }
    }
}
