//! The life of a process: from its start until it ends, is killed, or its machine loses its power.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::executor::{Owner, Sim, locked};

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// kill -9: its machine keeps what it wrote.
    Killed,
    /// The power of its machine is cut.
    PowerCut,
}

/// A process.
pub(super) struct Life {
    sim: Sim,
    name: &'static str,
    /// Owns its tasks.
    pub(super) owner: Owner,
    lives: AtomicBool,
    ended: Mutex<Option<oneshot::Sender<End>>>,
}

impl Life {
    /// A process that begins, and how its end is learnt.
    pub(super) fn begin(sim: &Sim, name: &'static str) -> (Self, oneshot::Receiver<End>) {
        let (ended, end) = oneshot::channel();
        let (sim, owner) = (sim.clone(), sim.number());
        (Self { sim, name, owner, lives: AtomicBool::new(true), ended: Mutex::new(Some(ended)) }, end)
    }

    /// Whether it runs.
    pub(super) fn lives(&self) -> bool {
        self.lives.load(Ordering::SeqCst)
    }

    /// Ends it now: nothing that it does from here on has any effect.
    pub(super) fn end(&self, end: End) {
        if !self.lives.swap(false, Ordering::SeqCst) {
            return;
        }
        self.sim.trace(format_args!("{self} ends: {end:?}"));
        self.sim.kill(self.owner);
        if let Some(ended) = locked(&self.ended).take() {
            let _ = ended.send(end);
        }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.owner)
    }
}
