//! Serial numbers nobody can guess: 127 random bits, positive, never zero (RFC 5280 §4.1.2.2).

use crate::{crypto::random_array, error::KeyError, x509::Serial};

pub(super) fn fresh() -> Result<Serial, KeyError> {
    let mut bytes = random_array::<16>()?;
    if let Some(first) = bytes.first_mut() {
        // Between 0x40 and 0x7f: positive without a leading zero, and always 16 bytes long.
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(Serial::from_bytes(&bytes))
}
