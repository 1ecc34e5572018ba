//! Tells the demo's story on standard output: numbered steps, what happens in each, and how long it has taken so far.
//!
//! Plain text; headings are bold on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

/// The one who tells. A silent one is for tests.
#[derive(Debug)]
pub struct Narrator {
    began: Instant,
    steps: AtomicU32,
    silent: bool,
    bold: bool,
}

impl Narrator {
    /// Speaks on standard output; the clock runs from now.
    #[must_use]
    pub fn new() -> Self {
        let bold = std::io::stdout().is_terminal();
        Self { began: Instant::now(), steps: AtomicU32::new(0), silent: false, bold }
    }

    /// Says nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self { silent: true, ..Self::new() }
    }

    /// Begins the next step.
    pub fn step(&self, title: &str) {
        let number = self.steps.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let elapsed = self.began.elapsed().as_secs_f64();
        let (on, off) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.print(&format!("\n{on}{number:>2}. {title}{off}   [{elapsed:.2} s]\n"));
    }

    /// Says something in the step; each line of a longer text is indented.
    pub fn say(&self, text: &str) {
        let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
        self.print(&lines);
    }

    /// Seconds since the beginning.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// A reader that has gone away (`| head`) is no reason to stop.
    fn print(&self, text: &str) {
        if !self.silent {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

impl Default for Narrator {
    fn default() -> Self {
        Self::new()
    }
}
