//! How archives go together: each must begin the chain, or go on where another one ended.
//!
//! Archives may be given in any order, and of several groups, each of which has a chain of its own. That the last
//! archive of a chain is there cannot be told from the archives: the log says it, or whoever got the last digest.
//!
//! Not here: one archive by itself ([`super::read`]).

use std::collections::HashMap;

use super::read::{Archive, ArchiveError};

/// An archive among others.
#[derive(Debug)]
pub struct Judged {
    /// As it was named.
    pub file: String,
    /// What it is by itself.
    pub archive: Result<Archive, ArchiveError>,
    /// Where it stands among the others; none when it is wrong by itself.
    pub place: Option<Place>,
}

/// Where an archive stands among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It begins a chain.
    First,
    /// It goes on where this file ended.
    After(String),
    /// It goes on after a digest that was given beside the files.
    AfterGiven,
    /// What it goes on after is missing: this file, by its own word.
    Missing(String),
    /// Another file goes on at the same place: one of the two is not of this chain.
    Fork(String),
}

impl Judged {
    /// Whether the archive, its place and all containers that were judged are right.
    pub fn is_valid(&self) -> bool {
        let placed = matches!(self.place, Some(Place::First | Place::After(_) | Place::AfterGiven));
        placed && self.archive.as_ref().is_ok_and(|a| a.reports.iter().all(|(_, report)| report.valid))
    }
}

/// Puts archives in their places. `after`: last digests of archives that are not given, in hexadecimal.
pub fn judge(archives: Vec<(String, Result<Archive, ArchiveError>)>, after: &[String]) -> Vec<Judged> {
    let mut ends: HashMap<&str, &str> = HashMap::new();
    let mut continued: HashMap<&str, &str> = HashMap::new();
    let mut places = Vec::new();
    for (file, archive) in &archives {
        if let Ok(archive) = archive {
            ends.insert(&archive.last, file);
        }
    }
    for (file, archive) in &archives {
        let Ok(archive) = archive else {
            places.push(None);
            continue;
        };
        let Some(previous) = &archive.linking.previous else {
            places.push(Some(Place::First));
            continue;
        };
        let place = match ends.get(previous.digest.as_str()) {
            Some(before) => Place::After((*before).to_owned()),
            None if after.iter().any(|given| given.eq_ignore_ascii_case(&previous.digest)) => {
                Place::AfterGiven
            }
            None => Place::Missing(previous.file.clone()),
        };
        places.push(Some(match continued.insert(&previous.digest, file) {
            Some(other) => Place::Fork(other.to_owned()),
            None => place,
        }));
    }
    archives.into_iter().zip(places).map(|((file, archive), place)| Judged { file, archive, place }).collect()
}
