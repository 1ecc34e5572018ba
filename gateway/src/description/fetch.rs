//! Getting a description: a file or one question over HTTP, bounded in size and time.
//!
//! A redirection is an answer like any other that is not 200: who may say what a service offers is the address in the
//! settings and nobody else.

use std::path::Path;

use bytes::Bytes;
use cert_authority::http::{Client, HttpError, Limits};
use tokio::io::AsyncReadExt;

use super::{DescriptionError, Source};

/// Gets the document; `client` says whom to believe when the address is `https`.
///
/// # Errors
/// [`DescriptionError`]; nothing of the document was looked at.
pub async fn fetch(source: &Source, client: &Client, limits: Limits) -> Result<Bytes, DescriptionError> {
    match source {
        Source::File(path) => {
            let reading = tokio::time::timeout(limits.total, read(path, limits.max_bytes)).await;
            reading
                .map_err(|_elapsed| DescriptionError::File(format!("{}: takes too long", path.display())))?
        }
        Source::Url(url) => {
            let answer = client.get(url, limits).await.map_err(|error| match error {
                HttpError::TooLarge(limit) => DescriptionError::TooLarge(limit),
                error => DescriptionError::Http(error),
            })?;
            match answer.status.as_u16() {
                200 => Ok(answer.body),
                status => Err(DescriptionError::Status(status)),
            }
        }
    }
}

async fn read(path: &Path, limit: usize) -> Result<Bytes, DescriptionError> {
    let failed = |error: std::io::Error| DescriptionError::File(format!("{}: {error}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(one_more).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() > limit { Err(DescriptionError::TooLarge(limit)) } else { Ok(bytes.into()) }
}
