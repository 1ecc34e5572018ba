//! Asking one source: the signed directory, then the parts that it lists and we do not have.
//!
//! Whatever a source does, it costs no more than [`Limits`] allows: no redirect is followed, nothing longer than the
//! limit is read, and what trickles is cut off. Nothing is believed for the connection that it came over: the signature
//! decides.

use std::time::Duration;

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use cert_authority::http;

use super::set::{VerifiedDirectory, VerifiedSet, Wanted};
use crate::error::ConfError;

/// What one question may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the signed directory.
    pub directory: http::Limits,
    /// For each part.
    pub part: http::Limits,
}

impl Default for Limits {
    /// A directory of 1 MiB within 20 s, parts of 64 MiB within 120 s; 10 s to connect.
    fn default() -> Self {
        let connect = Duration::from_secs(10);
        Self {
            directory: http::Limits { max_bytes: 1 << 20, connect, total: Duration::from_secs(20) },
            part: http::Limits { max_bytes: 64 << 20, connect, total: Duration::from_secs(120) },
        }
    }
}

/// Whom a question is about, and what is known already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The instance.
    pub(super) instance: &'a str,
    /// Certificates (DER) whose keys may have signed its configuration.
    pub(super) certificates: &'a [Vec<u8>],
    /// What is wanted of it.
    pub(super) wanted: Wanted,
    /// The set in force.
    pub(super) in_force: Option<&'a VerifiedSet>,
    /// Take an older set than the one in force: an operator has said so.
    pub(super) accept_older: bool,
}

/// What a source had.
#[derive(Debug)]
pub(super) enum Fetched {
    /// A newer set than the one in force, or the first; verified.
    Set(VerifiedSet),
    /// The one in force.
    Unchanged,
    /// Nothing at this address: 404.
    NoSuchVersion,
}

/// Asks the source at this address.
///
/// # Errors
/// [`ConfError::Http`] for a source that does not answer as it should; [`ConfError::Expired`] and
/// [`ConfError::RolledBack`] for a configuration that is genuine, but not to be used; any other [`ConfError`] about a
/// directory or part that is not genuine.
pub(super) async fn fetch(
    client: &http::Client,
    limits: &Limits,
    url: &str,
    subject: &Subject<'_>,
    now: UnixTime,
) -> Result<Fetched, ConfError> {
    let Some(signed) = get(client, url, limits.directory).await? else { return Ok(Fetched::NoSuchVersion) };
    if subject.in_force.is_some_and(|set| *set.signed() == signed) {
        return Ok(Fetched::Unchanged);
    }
    let directory =
        VerifiedDirectory::verify(signed, subject.instance, subject.certificates, subject.wanted)?;
    directory.directory().check_expiry(now)?;
    refuse_older(&directory, subject)?;
    let mut parts = Vec::new();
    for entry in directory.entries() {
        let bytes = match subject.in_force.and_then(|set| set.part_of(entry)) {
            Some(bytes) => bytes,
            None => {
                let part_url = part_url(url, entry.location())?;
                let missing = || ConfError::Http { url: part_url.clone(), reason: "404".to_owned() };
                get(client, &part_url, limits.part).await?.ok_or_else(missing)?
            }
        };
        parts.push(entry.accept(bytes)?);
    }
    Ok(Fetched::Set(directory.with_parts(parts)))
}

fn refuse_older(directory: &VerifiedDirectory, subject: &Subject<'_>) -> Result<(), ConfError> {
    match subject.in_force {
        Some(kept) if directory.age() < kept.age() && !subject.accept_older => Err(ConfError::RolledBack {
            instance: subject.instance.to_owned(),
            kept: kept.directory().expires(),
            found: directory.directory().expires(),
        }),
        _ => Ok(()),
    }
}

/// `None` for 404.
async fn get(client: &http::Client, url: &str, limits: http::Limits) -> Result<Option<Bytes>, ConfError> {
    let failed = |reason: String| ConfError::Http { url: url.to_owned(), reason };
    let response = client.get(url, limits).await.map_err(|error| failed(error.to_string()))?;
    match response.status.as_u16() {
        200 => Ok(Some(response.body)),
        404 => Ok(None),
        status => Err(failed(format!("answered with status {status}"))),
    }
}

/// A part lies at the source that its directory came from; the directory's own check has refused all other locations.
fn part_url(url: &str, location: &str) -> Result<String, ConfError> {
    let wrong = || ConfError::Http { url: url.to_owned(), reason: "not a usable URL".to_owned() };
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let host = rest.split(['/', '?']).next().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    Ok(format!("{scheme}://{host}{location}"))
}

#[cfg(test)]
mod tests {
    use super::part_url;

    #[test]
    fn a_part_lies_at_the_source_of_its_directory() {
        let part = |url| part_url(url, "/V6/1/shared-params.xml").ok();
        assert_eq!(part("http://h:1/internalconf?version=6").unwrap(), "http://h:1/V6/1/shared-params.xml");
        assert_eq!(part("https://h?version=6").unwrap(), "https://h/V6/1/shared-params.xml");
        assert_eq!(part("http:///x"), None);
        assert_eq!(part("h/x"), None);
    }
}
