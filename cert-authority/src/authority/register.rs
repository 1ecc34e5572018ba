//! What an authority has issued and revoked, as data: a map by serial number that grows by events.
//!
//! The events are the truth, the map is what they add up to; reading the same events again gives the same
//! map. Not here: files (a [`Store`] keeps the events).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    clock::UnixTime,
    error::{PkiError, Refusal},
    x509::Serial,
};

/// Where events are kept; several processes may share one store.
pub trait Store: Send + Sync {
    /// The events that this store has not yet handed out, in the order in which they were appended; the first
    /// time all of them. Costs little when there are none: it is called for every question about a status.
    ///
    /// # Errors
    /// [`PkiError::Store`].
    fn load(&self) -> Result<Vec<Event>, PkiError>;

    /// Keeps one more event if it is admitted. While nobody else can append, `admit` is given the events that
    /// others have appended since the last call, and says whether this one may follow them.
    ///
    /// Returns only when the event is durable; it is not handed out by this store again. After an error of the
    /// store itself the event may or may not be kept, and the authority must be opened again before it is trusted.
    ///
    /// # Errors
    /// [`PkiError::Store`]; what `admit` says.
    fn append(
        &self,
        event: &Event,
        admit: &mut dyn FnMut(Vec<Event>) -> Result<(), PkiError>,
    ) -> Result<(), PkiError>;
}

/// Something that has happened. Times are RFC 3339, serial numbers hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// A certificate was issued.
    Issued {
        /// Its serial number.
        serial: String,
        /// When.
        at: String,
        /// The end of its validity.
        not_after: String,
        /// The kind of certificate.
        profile: String,
        /// The subject, RFC 4514.
        subject: String,
        /// The certificate, base64 of the DER.
        certificate: String,
    },
    /// A certificate was revoked.
    Revoked {
        /// Its serial number.
        serial: String,
        /// When.
        at: String,
        /// Why.
        reason: Reason,
    },
    /// A revocation list was made.
    CrlMade {
        /// Its number.
        number: u64,
        /// When.
        at: String,
    },
}

/// Why a certificate is revoked (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No reason given.
    Unspecified,
    /// The key is known to others.
    KeyCompromise,
    /// The authority's key is known to others.
    CaCompromise,
    /// The subject's name or affiliation has changed.
    AffiliationChanged,
    /// Another certificate takes its place.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
    /// The subject has lost the right to it.
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// `key-compromise` and the like.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::CaCompromise => "ca-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }

    /// The number in CRLs and OCSP responses.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }
}

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
}

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Issued and not revoked.
    Good,
    /// Revoked.
    Revoked(Revocation),
    /// Never issued here.
    Unknown,
}

/// One issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its serial number.
    pub serial: Serial,
    /// When it was issued.
    pub issued_at: UnixTime,
    /// The end of its validity.
    pub not_after: UnixTime,
    /// The kind of certificate.
    pub profile: String,
    /// The subject, RFC 4514.
    pub subject: String,
    /// Set when it was revoked.
    pub revoked: Option<Revocation>,
}

/// Everything issued, by serial number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Register {
    records: BTreeMap<Serial, Record>,
    crl_number: u64,
    revision: u64,
}

impl Register {
    /// Whether the event may happen.
    ///
    /// # Errors
    /// [`Refusal::SerialUsed`], [`Refusal::UnknownSerial`], [`Refusal::AlreadyRevoked`] as
    /// [`PkiError::Refused`]; [`PkiError::Decode`] when it holds no serial number or time.
    pub fn check(&self, event: &Event) -> Result<(), PkiError> {
        match event {
            Event::Issued { serial, .. } => match self.record(&Serial::from_hex(serial)?) {
                Some(_) => Err(Refusal::SerialUsed(serial.clone()).into()),
                None => Ok(()),
            },
            Event::Revoked { serial, .. } => match self.record(&Serial::from_hex(serial)?) {
                None => Err(Refusal::UnknownSerial(serial.clone()).into()),
                Some(record) if record.revoked.is_some() => {
                    Err(Refusal::AlreadyRevoked(serial.clone()).into())
                }
                Some(_) => Ok(()),
            },
            Event::CrlMade { number, .. } if *number <= self.crl_number => {
                Err(PkiError::Store(format!("revocation list {number} follows {}", self.crl_number)))
            }
            Event::CrlMade { .. } => Ok(()),
        }
    }

    /// Takes an event in.
    ///
    /// # Errors
    /// As [`Self::check`]; the register is then as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), PkiError> {
        self.check(event)?;
        match event {
            Event::Issued { serial, at, not_after, profile, subject, .. } => {
                let record = Record {
                    serial: Serial::from_hex(serial)?,
                    issued_at: UnixTime::from_rfc3339(at)?,
                    not_after: UnixTime::from_rfc3339(not_after)?,
                    profile: profile.clone(),
                    subject: subject.clone(),
                    revoked: None,
                };
                self.records.insert(record.serial.clone(), record);
            }
            Event::Revoked { serial, at, reason } => {
                let at = UnixTime::from_rfc3339(at)?;
                if let Some(record) = self.records.get_mut(&Serial::from_hex(serial)?) {
                    record.revoked = Some(Revocation { at, reason: *reason });
                }
            }
            Event::CrlMade { number, .. } => self.crl_number = *number,
        }
        if !matches!(event, Event::CrlMade { .. }) {
            self.revision += 1;
        }
        Ok(())
    }

    /// What is known of a certificate.
    pub fn status(&self, serial: &Serial) -> Status {
        match self.record(serial) {
            None => Status::Unknown,
            Some(record) => record.revoked.map_or(Status::Good, Status::Revoked),
        }
    }

    /// The record of a certificate.
    pub fn record(&self, serial: &Serial) -> Option<&Record> {
        self.records.get(serial)
    }

    /// All records, by serial number.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// How often a status has changed: while this is the same, so are all answers.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The number of the latest revocation list.
    pub fn crl_number(&self) -> u64 {
        self.crl_number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(serial: &str) -> Event {
        Event::Issued {
            serial: serial.into(),
            at: "2026-01-01T00:00:00Z".into(),
            not_after: "2028-01-01T00:00:00Z".into(),
            profile: "sign".into(),
            subject: "CN=x".into(),
            certificate: String::new(),
        }
    }

    fn revoked(serial: &str) -> Event {
        let at = "2026-02-01T00:00:00Z".into();
        Event::Revoked { serial: serial.into(), at, reason: Reason::KeyCompromise }
    }

    #[test]
    fn a_certificate_is_unknown_then_good_then_revoked() {
        let mut register = Register::default();
        let serial = Serial::from_hex("0a").unwrap();
        assert_eq!(register.status(&serial), Status::Unknown);
        register.apply(&issued("0a")).unwrap();
        assert_eq!(register.status(&serial), Status::Good);
        register.apply(&revoked("0a")).unwrap();
        assert!(matches!(register.status(&serial), Status::Revoked(r) if r.reason == Reason::KeyCompromise));
    }

    #[test]
    fn a_serial_number_is_used_once_and_revoked_once() {
        let mut register = Register::default();
        register.apply(&issued("0a")).unwrap();
        let before = register.clone();
        for (event, refusal) in [
            (issued("0a"), Refusal::SerialUsed("0a".into())),
            (revoked("0b"), Refusal::UnknownSerial("0b".into())),
        ] {
            assert_eq!(register.apply(&event), Err(refusal.into()));
        }
        assert_eq!(register, before);
        register.apply(&revoked("0a")).unwrap();
        assert_eq!(register.apply(&revoked("0a")), Err(Refusal::AlreadyRevoked("0a".into()).into()));
    }

    #[test]
    fn events_are_read_back_from_json_and_unknown_fields_are_refused() {
        for event in [issued("0a"), revoked("0a"), Event::CrlMade { number: 3, at: "x".into() }] {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        }
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{}\"", reason.name()));
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
        }
        let odd = r#"{"event":"crl-made","number":3,"at":"x","more":1}"#;
        assert!(serde_json::from_str::<Event>(odd).is_err());
    }
}
