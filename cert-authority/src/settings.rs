//! Reading the TOML files that the programs are configured with: every fault with its line and key, all at once.
//!
//! An administrator mends a file once, not once for each fault. [`Reader`] takes a file apart entry by entry;
//! [`Problems`] gathers what is wrong, also what only shows later (a path that leads nowhere, two entries that
//! contradict each other), for a [`Text`] knows its place. Unknown keys are faults. Values carry their units.
//!
//! Not here: what the keys of a program mean.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A text of the file together with its place.
pub type Text = Spanned<String>;

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line of the file, from 1, where there is one to point at.
    pub line: Option<usize>,
    /// The key, with its table: `server[2].owner`.
    pub key: String,
    /// What is wrong.
    pub reason: String,
}

/// All faults of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes a fault at a place of the text.
    pub fn at(&mut self, text: &str, span: &Range<usize>, key: impl Into<String>, reason: impl Into<String>) {
        let line = Some(line_of(text, span.start));
        self.0.push(Problem { line, key: key.into(), reason: reason.into() });
    }

    /// Notes a fault that has no place of its own, such as a key that is missing.
    pub fn missing(&mut self, key: impl Into<String>) {
        self.0.push(Problem { line: None, key: key.into(), reason: "is missing".to_owned() });
    }

    /// The value, or the faults in the order of the file.
    ///
    /// # Errors
    /// Itself, when there is any fault.
    pub fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|problem| problem.line);
        Err(self)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            match problem.line {
                Some(line) => write!(f, "line {line}: {}: {}", problem.key, problem.reason)?,
                None => write!(f, "{}: {}", problem.key, problem.reason)?,
            }
        }
        Ok(())
    }
}

/// Takes a file apart, each entry by itself, so that a fault in one does not hide a fault in the next.
#[derive(Debug)]
pub struct Reader<'i> {
    text: &'i str,
    table: DeTable<'i>,
    /// The faults so far.
    pub problems: Problems,
}

impl<'i> Reader<'i> {
    /// Begins with the text of a file.
    ///
    /// # Errors
    /// Text that is no TOML: every fault of form.
    pub fn new(text: &'i str) -> Result<Self, Problems> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { text, table: table.into_inner(), problems: Problems::default() });
        }
        let mut problems = Problems::default();
        for error in errors {
            problems.at(text, &error.span().unwrap_or_default(), "the file", error.message());
        }
        Err(problems)
    }

    /// An entry that must be there.
    pub fn one<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        if !self.table.contains_key(key) {
            self.problems.missing(key);
        }
        self.optional(key)
    }

    /// An entry that may be left out.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let value = self.table.remove(key)?;
        self.entry(key, value)
    }

    /// The entries of `[[key]]`.
    pub fn list<T: DeserializeOwned>(&mut self, key: &str) -> Vec<T> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(entries) = value.into_inner() else {
            let reason = format!("is a list: write [[{key}]] above each entry");
            self.problems.at(self.text, &span, key, reason);
            return Vec::new();
        };
        let numbered = entries.into_iter().enumerate();
        numbered.filter_map(|(n, entry)| self.entry(&format!("{key}[{}]", n + 1), entry)).collect()
    }

    /// Ends: every key that was not asked for is a fault.
    #[must_use]
    pub fn finish(mut self) -> Problems {
        for (key, _) in self.table.iter() {
            let reason = "is not a key of this file";
            self.problems.at(self.text, &key.span(), key.get_ref().to_string(), reason);
        }
        self.problems
    }

    fn entry<T: DeserializeOwned>(&mut self, key: &str, value: Spanned<DeValue<'i>>) -> Option<T> {
        let whole = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(entry) => Some(entry),
            Err(error) => {
                self.problems.at(self.text, &error.span().unwrap_or(whole), key, error.message());
                None
            }
        }
    }
}

/// A [`Duration`] written with its unit: `"60 s"`, `"10 min"`, `"1 h"`, `"1 d"`, `"250 ms"`. For
/// `#[serde(deserialize_with = ...)]`.
///
/// # Errors
/// No unit, an unknown one, no number, zero, too long.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

/// As [`duration`], for a key that may be left out.
///
/// # Errors
/// As [`duration`].
pub fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// Reads a duration with its unit.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let milliseconds_of_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("a duration needs a unit: \"{text} s\"")),
        _ => return Err(format!("\"{text}\" is no duration: use ms, s, min, h or d, as in \"60 s\"")),
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is no duration: write \"60 s\""))?;
    match number.checked_mul(milliseconds_of_unit) {
        Some(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
        Some(_) => Err("a duration must be longer than nothing".to_owned()),
        None => Err(format!("\"{text}\" is too long")),
    }
}

/// Reads a size with its unit: `"512 B"`, `"64 KiB"`, `"20 MiB"`, `"2 GiB"`; bytes.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        "" => return Err(format!("a size needs a unit: \"{text} MiB\"")),
        _ => return Err(format!("\"{text}\" is no size: use B, KiB, MiB, GiB or TiB, as in \"20 MiB\"")),
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is no size: write \"20 MiB\""))?;
    number.checked_mul(1_u64 << shift).ok_or_else(|| format!("\"{text}\" is too large"))
}

/// As [`parse_size`], for a key that may be left out. For `#[serde(deserialize_with = ...)]`.
///
/// # Errors
/// As [`parse_size`].
pub fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_size(&text).map(Some).map_err(serde::de::Error::custom)
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        #[serde(deserialize_with = "duration")]
        every: Duration,
    }

    #[test]
    fn every_fault_is_told_with_its_line_and_key() {
        let text = "[[good]]\nevery = \"1 s\"\n[[bad]]\nevery = \"1\"\n[[bad]]\nevry = \"1 s\"\n[extra]\n";
        let mut reader = Reader::new(text).unwrap();
        let good: Vec<Entry> = reader.list("good");
        assert_eq!(good[0].every, Duration::from_secs(1));
        let bad: Vec<Entry> = reader.list("bad");
        assert!(bad.is_empty());
        assert!(reader.one::<Entry>("absent").is_none());
        let problems = reader.finish().or(()).unwrap_err().0;
        let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
        assert_eq!(places, [(None, "absent"), (Some(4), "bad[1]"), (Some(6), "bad[2]"), (Some(7), "extra")]);
    }

    #[test]
    fn text_that_is_no_toml_is_told_with_its_line() {
        let problems = Reader::new("a = 1\nb = = 2\n").unwrap_err();
        assert_eq!(problems.0[0].line, Some(2));
    }

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(parse_duration("10 min"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_size("20 MiB"), Ok(20 << 20));
        assert_eq!(parse_size("0 B"), Ok(0));
        for wrong in ["60", "", "s", "-1 s", "1 week", "0 s", "99999999999999999 d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["20", "MiB", "20 MB", "99999999999 TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
