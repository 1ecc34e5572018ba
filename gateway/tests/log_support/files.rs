//! What the tests do to the files of a log.
#![allow(clippy::indexing_slicing, reason = "helpers of tests")]

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use gateway::messagelog::{audit::audit, error::Finding};

use super::{append, create};

pub(crate) fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("log/segments/{number:08}.seg"))
}

pub(crate) fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, u64::try_from(at).unwrap()).unwrap();
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Chunks as FORMAT.md describes them, read without the log's code: offset, end, whether it is a frame.
pub(crate) fn chunks(bytes: &[u8]) -> Vec<(usize, usize, bool)> {
    let mut chunks = Vec::new();
    let mut at = 4096;
    while at + 56 <= bytes.len() && &bytes[at..at + 4] == b"PCHK" {
        let length = usize::try_from(u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap())).unwrap();
        let end = at + (56 + length).next_multiple_of(8);
        chunks.push((at, end, bytes[at + 4] == 1));
        at = end;
    }
    chunks
}

pub(crate) fn findings(directory: &Path) -> Vec<Finding> {
    audit(&directory.join("log"), &mut ()).unwrap().findings
}

pub(crate) async fn filled(directory: &Path, records: usize, body: usize) {
    let log = create(directory);
    for n in 0..records {
        append(&log, &format!("m{n}"), &vec![b'x'; body]).await.unwrap();
    }
}
