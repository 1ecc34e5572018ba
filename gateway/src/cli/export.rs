//! `log export`: one message as a container, or many as JSON lines, CSV or one ZIP of containers.
//!
//! A file that is there is never overwritten; after an error there is none. Only its owner can read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::log::LogCommandError;
use super::selection::FilterArguments;
use crate::audit::export::{self, ExportError, LeftOut};
use crate::messagelog::reader::{Filter, Reader};
use crate::metaservice::container::LoggedContainer;

/// The form of an export of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One ZIP with the ASiC-E container of each message.
    Zip,
    /// A JSON object a line, without what messages contain.
    Jsonl,
    /// CSV (RFC 4180), without what messages contain.
    Csv,
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The number of a message: its ASiC-E container is written. Left out, everything selected is.
    number: Option<u64>,
    /// The form when there is no number.
    #[arg(long, value_enum, default_value = "zip", conflicts_with = "number")]
    form: Form,
    #[command(flatten)]
    filter: FilterArguments,
    /// The file; it must not be there yet.
    #[arg(long)]
    out: PathBuf,
}

/// Writes the container of a message to a new file.
///
/// # Errors
/// [`LogCommandError`]; then there is no file.
pub fn one(reader: &Reader, sequence: u64, file: &Path) -> Result<(), LogCommandError> {
    let container = LoggedContainer::open(reader, sequence)?;
    to_new_file(file, |out| container.write(out).map_err(Into::into).map(|out| (out, ())))
}

/// Writes all that pass the filter to a new file; gives the numbers of the records in it, and what has no container.
///
/// # Errors
/// [`LogCommandError`]; then there is no file.
pub fn many(
    reader: &Reader,
    filter: &Filter,
    form: Form,
    file: &Path,
) -> Result<(Vec<u64>, Vec<LeftOut>), LogCommandError> {
    to_new_file(file, |mut out| match form {
        Form::Zip => export::containers(reader, filter, out).map(|(out, in_it, left)| (out, (in_it, left))),
        Form::Jsonl => {
            let numbers = export::json_lines(reader, filter, &mut out)?;
            Ok((out, (numbers, Vec::new())))
        }
        Form::Csv => {
            let numbers = export::csv(reader, filter, &mut out)?;
            Ok((out, (numbers, Vec::new())))
        }
    })
}

pub(super) fn run(reader: &Reader, arguments: ExportArguments) -> Result<(), LogCommandError> {
    if let Some(number) = arguments.number {
        return one(reader, number, &arguments.out);
    }
    let (numbers, left_out) = many(reader, &arguments.filter.into(), arguments.form, &arguments.out)?;
    eprintln!("{} records in {}", numbers.len(), arguments.out.display());
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
