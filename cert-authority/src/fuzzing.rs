//! Parsers that are nobody's business outside of this package, for the fuzz targets of `integration/fuzz`. The feature
//! `fuzzing` opens it; nothing else may.

use std::time::Duration;

use crate::keys::remote::wire::{self, LONGEST_REQUEST, Reply, Request};

/// The frames at the beginning of a connection to a signer, and whether it ended between two of them.
pub async fn signer_frames(mut connection: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut frames = Vec::new();
    loop {
        match wire::read(&mut connection, LONGEST_REQUEST, Duration::MAX).await {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, true),
            Err(_) => return (frames, false),
        }
    }
}

/// A frame, as it is written.
pub async fn signer_frame(body: &[u8]) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    wire::write(&mut written, body).await.ok()?;
    Some(written)
}

/// A request to a signer, read and written again.
#[must_use]
pub fn signer_request(frame: &[u8]) -> Option<Vec<u8>> {
    Request::read(frame)?.write().ok()
}

/// A signer's reply, read and written again.
#[must_use]
pub fn signer_reply(frame: &[u8]) -> Option<Vec<u8>> {
    Reply::read(frame.to_vec()).map(Reply::write)
}

/// What a signer says of its keys, read and told again.
#[must_use]
pub fn signer_keys(json: &[u8]) -> Option<Vec<u8>> {
    wire::tell(&wire::told(json).ok()?).ok()
}
