//! Serial numbers of certificates: up to 20 bytes, shown in decimal as XAdES and openssl's `-serial` need.

use std::fmt;

use crate::error::PkiError;

/// A positive serial number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// From the number's bytes, most significant first.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        let significant = bytes.get(start..).unwrap_or_default();
        Self(if significant.is_empty() { vec![0] } else { significant.to_vec() })
    }

    /// From hexadecimal digits, with or without `0x`, in any case.
    ///
    /// # Errors
    /// [`PkiError::Decode`] when these are no such digits.
    pub fn from_hex(text: &str) -> Result<Self, PkiError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let even = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
        match hex::decode(even) {
            Ok(bytes) if !bytes.is_empty() => Ok(Self::from_bytes(&bytes)),
            Ok(_) => Err(PkiError::decode("serial number", "it is empty")),
            Err(e) => Err(PkiError::decode("serial number", e)),
        }
    }

    /// The number's bytes without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The content of the DER INTEGER: with a leading zero where the first bit is set.
    pub fn integer_content(&self) -> Vec<u8> {
        let zero = self.0.first().filter(|b| **b >= 0x80).map(|_| 0);
        zero.into_iter().chain(self.0.iter().copied()).collect()
    }

    /// Lower-case hexadecimal, two digits a byte.
    pub fn hex(&self) -> String {
        hex::encode(&self.0)
    }
}

/// Decimal.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Base 10^9, least significant first: each byte multiplies by 256 and adds.
        let mut limbs = vec![0_u64];
        for byte in &self.0 {
            let mut carry = u64::from(*byte);
            for limb in &mut limbs {
                let value = *limb * 256 + carry;
                *limb = value % 1_000_000_000;
                carry = value / 1_000_000_000;
            }
            if carry > 0 {
                limbs.push(carry);
            }
        }
        let mut limbs = limbs.iter().rev();
        write!(f, "{}", limbs.next().unwrap_or(&0))?;
        limbs.try_for_each(|limb| write!(f, "{limb:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_agrees_with_wider_arithmetic() {
        for n in [0_u128, 1, 255, 256, 999_999_999, 1_000_000_000, u128::from(u64::MAX), u128::MAX] {
            assert_eq!(Serial::from_bytes(&n.to_be_bytes()).to_string(), n.to_string());
        }
    }

    #[test]
    fn the_integer_stays_positive() {
        let serial = Serial::from_hex("0xFF01").unwrap();
        assert_eq!(serial.integer_content(), [0, 0xff, 1]);
        assert_eq!(serial.hex(), "ff01");
        assert_eq!(Serial::from_bytes(&[0, 0, 5]), Serial::from_hex("5").unwrap());
        assert!(Serial::from_hex("").is_err() && Serial::from_hex("xyz").is_err());
    }
}
