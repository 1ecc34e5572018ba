//! `log export`: one message as a container, or many as JSON lines, CSV or one ZIP of containers.
//!
//! A file that is there is never overwritten; after an error there is none. Only its owner can read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::log::LogCommandError;
use super::reading::{ReadingArguments, Shown, asked};
use super::selection::FilterArguments;
use crate::audit::export::{self, ExportError, Form, LeftOut};
use crate::messagelog::{self, reader::Reader};
use crate::metaservice::container::LoggedContainer;

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The number of a message: its ASiC-E container is written. Left out, everything selected is.
    number: Option<u64>,
    /// The form when there is no number: zip (of containers), jsonl (a JSON object a line) or csv; the latter two without
    /// what messages contain.
    #[arg(long, default_value = "zip", conflicts_with = "number")]
    form: Form,
    #[command(flatten)]
    filter: FilterArguments,
    /// The file; it must not be there yet.
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    reading: ReadingArguments,
}

/// Writes the container of a message to a new file.
///
/// # Errors
/// [`LogCommandError`]; then there is no file.
pub fn one(reader: &Reader, sequence: u64, file: &Path) -> Result<(), LogCommandError> {
    let container = LoggedContainer::open(reader, sequence)?;
    to_new_file(file, |out| container.write(out).map_err(Into::into).map(|out| (out, ())))
}

/// Writes these records to a new file; gives those that have no container.
///
/// # Errors
/// [`LogCommandError`]; then there is no file.
pub fn many(
    reader: &Reader,
    numbers: &[u64],
    form: Form,
    file: &Path,
) -> Result<Vec<LeftOut>, LogCommandError> {
    to_new_file(file, |mut out| form.write(reader, numbers, &mut out).map(|left_out| (out, left_out)))
}

pub(super) fn run(
    reader: &Reader,
    log: &messagelog::Config,
    arguments: ExportArguments,
) -> Result<(), LogCommandError> {
    let ExportArguments { number, form, filter, out, reading } = arguments;
    let shown = Shown { action: "export", query: asked(), ..Shown::default() };
    if let Some(number) = number {
        // What there is no container of is not noted as read.
        LoggedContainer::open(reader, number)?;
        reading.note(log, Shown { records: vec![number], bodies: true, ..shown });
        return one(reader, number, &out);
    }
    let numbers = export::numbers(reader, &filter.into(), form)?;
    reading.note(log, Shown { records: numbers.clone(), bodies: form == Form::Zip, ..shown });
    let left_out = many(reader, &numbers, form, &out)?;
    eprintln!("{} records in {}", numbers.len() - left_out.len(), out.display());
    left_out.iter().for_each(|(_, why)| eprintln!("left out: {why}"));
    Ok(())
}

fn to_new_file<T>(
    file: &Path,
    write: impl FnOnce(BufWriter<File>) -> Result<(BufWriter<File>, T), ExportError>,
) -> Result<T, LogCommandError> {
    let failed = |source| LogCommandError::File { path: file.to_path_buf(), source };
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    let written = write(BufWriter::new(new)).and_then(|(mut out, result)| {
        out.flush()?;
        out.get_ref().sync_all()?;
        Ok(result)
    });
    written.map_err(|error| {
        // Half an export would look like evidence. What cannot be removed either is told by the first error.
        let _ = fs::remove_file(file);
        match error {
            ExportError::Log(error) => error.into(),
            ExportError::Output(source) => failed(source),
            ExportError::Table(error) => failed(error.into()),
            ExportError::Zip(error) => failed(io::Error::other(error)),
        }
    })
}
