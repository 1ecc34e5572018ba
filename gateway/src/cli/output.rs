//! What the program writes about its work: a line an event, whatever others have put into it.
//!
//! Lines hold what peers and information systems have sent: ids, codes, names. Control characters, ends of lines and marks
//! that turn the direction of text would make of one line two, or another one for whoever reads it. They are written as
//! escapes, in text as in JSON; nothing is coloured, so that an escape sequence is never ours.
//!
//! Specification: THREATS T43; JSON, RFC 8259 7. Not here: what is worth a line.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Format, Output};

/// Writes to standard error from now on.
pub(super) fn begin(output: &Output) {
    lines(output, io::stderr).init();
}

/// Writes lines as the settings say, wherever `writer` leads.
pub fn lines<W>(output: &Output, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&output.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Escaping(writer));
    match output.format {
        Format::Text => Box::new(lines.finish()),
        Format::Json => Box::new(lines.json().finish()),
    }
}

/// Whether a character could make something else of a line than it is.
pub(super) fn is_mark(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The line, with its marks escaped but for its own end. Inside of a text of JSON the escapes mean what they stand for.
fn escaped(whole: &str) -> Cow<'_, str> {
    let (line, end) = whole.strip_suffix('\n').map_or((whole, ""), |line| (line, "\n"));
    if !line.contains(is_mark) {
        return Cow::Borrowed(whole);
    }
    let mut safe = String::with_capacity(line.len() + 32);
    for c in line.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if is_mark(c) => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe.push_str(end);
    Cow::Owned(safe)
}

struct Escaping<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Escaping<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Line(self.0.make_writer())
    }

    fn make_writer_for(&'w self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        Line(self.0.make_writer_for(meta))
    }
}

/// A writer that is handed whole lines.
struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "a\nWARN forged\r\u{1b}[2J\u{7f}\u{85}\u{202e}b\u{2066}c\u{2069}\u{2028}\t\0é";

    fn written(format: Format) -> String {
        let memory = Memory::default();
        let into = memory.clone();
        let output = Output { level: "info".to_owned(), format };
        tracing::subscriber::with_default(lines(&output, move || into.clone()), || {
            tracing::info!(debug = ?HOSTILE, shown = %HOSTILE, text = HOSTILE, "{HOSTILE}");
        });
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn whatever_is_in_it_a_line_stays_one_line_of_what_can_be_seen() {
        for format in [Format::Text, Format::Json] {
            let line = written(format);
            let inside = line.strip_suffix('\n').unwrap();
            assert!(!inside.contains(is_mark), "{format:?}: {line:?}");
            assert!(inside.contains("WARN forged") && inside.contains("\\u202e") && inside.contains('é'));
        }
    }

    #[test]
    fn a_line_of_json_still_says_what_was_meant() {
        let line: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
        for field in ["message", "shown", "text"] {
            assert_eq!(line["fields"][field], HOSTILE, "{field}");
        }
    }

    #[test]
    fn what_is_harmless_is_written_as_it_is() {
        assert_eq!(escaped("a line, déjà vu\n"), "a line, déjà vu\n");
        assert_eq!(escaped("no end"), "no end");
    }
}
