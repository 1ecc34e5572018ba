//! `GET /verificationconf`: what is needed to verify containers, in a ZIP.
//!
//! ```text
//! verificationconf/DEMO/shared-params.xml             of every instance
//! verificationconf/DEMO/shared-params.xml.metadata    {"configurationVersion":"6"}
//! verificationconf/instance-identifier                DEMO
//! ```
//! Unpacked it is a directory for [`GlobalConf::load_dir`](conf::snapshot::GlobalConf::load_dir) and for `asic verify`.
//! Expired configurations are in it too: containers are judged at the time of their time-stamps.
//!
//! Specification: X-Road Signed Document Download (UG-SIGDOC); names as X-Road 7.8.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use conf::directory::{
    PartKind,
    kept::{self, InstanceParts, Metadata},
};
use conf::error::ConfError;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{Body, Response, ZIP};

/// Answers it from the directory of the kept configuration.
pub async fn serve(directory: PathBuf) -> Response {
    let made = tokio::task::spawn_blocking(move || archive(&directory)).await;
    let reason = match made {
        Ok(Ok(bytes)) => {
            let name = "filename=\"verificationconf.zip\"".to_owned();
            return Response::ok(ZIP, Some(name), Body::Whole(bytes.into()));
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(%reason, "the configuration for verifying could not be given");
    Response::refusal(500, "The global configuration cannot be read")
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error(transparent)]
    Conf(#[from] ConfError),
    #[error(transparent)]
    Zip(#[from] zip::result::ZipError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Metadata(#[from] serde_json::Error),
    #[error("it changes all the time")]
    Restless,
}

fn archive(directory: &Path) -> Result<Vec<u8>, ArchiveError> {
    let own = kept::own_instance(directory)?;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for instance in read(directory)? {
        let shared = instance.required(&PartKind::SharedParameters)?;
        let path =
            format!("verificationconf/{}/{}", kept::directory_name(&instance.instance)?, shared.file_name());
        zip.start_file(path.as_str(), options)?;
        zip.write_all(shared.bytes())?;
        zip.start_file(format!("{path}.metadata"), options)?;
        let version = Some(shared.version().number().to_string());
        serde_json::to_writer(&mut zip, &Metadata { configuration_version: version, ..Metadata::default() })?;
    }
    zip.start_file(format!("verificationconf/{}", kept::INSTANCE_IDENTIFIER), options)?;
    zip.write_all(own.as_bytes())?;
    Ok(zip.finish()?.into_inner())
}

/// The folder of an instance changes as one, but is read file by file: what two readings agree on is of one piece.
fn read(directory: &Path) -> Result<Vec<InstanceParts>, ArchiveError> {
    const TRIES: usize = 5;
    let mut before = kept::read(directory)?;
    for _ in 0..TRIES {
        let now = kept::read(directory)?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    Err(ArchiveError::Restless)
}
