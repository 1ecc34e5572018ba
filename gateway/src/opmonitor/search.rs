//! Finding records: by time, by who took part, by the service.
//!
//! Specification: PR-OPMON 2 (the order, and where the next query goes on). Not here: files (`store`).

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use conf::identifier::{ClientId, ServiceId};
use memchr::memmem::Finder;
use serde_json::{Map, Value};

use super::store;

/// What is looked for; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The first second, by when a record was kept.
    pub from: u64,
    /// The last second.
    pub to: u64,
    /// Who asked, or was asked.
    pub party: Option<ClientId>,
    /// Who asked.
    pub client: Option<ClientId>,
    /// Who was asked.
    pub provider: Option<ClientId>,
    /// What for.
    pub service: Option<ServiceId>,
    /// So many at most, and what else the last one's second has.
    pub limit: usize,
}

/// What is found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The records, oldest first.
    pub records: Vec<Map<String, Value>>,
    /// The second from which the next search goes on, when there is more.
    pub next: Option<u64>,
}

impl Search {
    /// Reads a folder.
    pub(super) fn run(&self, directory: &Path) -> io::Result<Found> {
        let mut found = Found::default();
        let mut last = 0;
        // A line without the code of the member need not be taken apart.
        let parties = [&self.party, &self.client, &self.provider].into_iter().flatten();
        let parties = parties.chain(self.service.iter().map(ServiceId::client));
        let needles: Vec<String> =
            parties.map(|party| Value::from(party.member().code()).to_string()).collect();
        let needles: Vec<Finder<'_>> = needles.iter().map(|needle| Finder::new(needle.as_bytes())).collect();
        store::read(directory, self.from, self.to, |second, line| {
            if needles.iter().any(|needle| needle.find(line).is_none()) {
                return ControlFlow::Continue(());
            }
            let Ok(record) = serde_json::from_slice(line) else { return ControlFlow::Continue(()) };
            if !self.wants(&record) {
                return ControlFlow::Continue(());
            }
            if found.records.len() >= self.limit && second > last {
                found.next = Some(last.saturating_add(1));
                return ControlFlow::Break(());
            }
            last = second;
            found.records.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn wants(&self, record: &Map<String, Value>) -> bool {
        let asks = |client: &ClientId| is_party(record, "client", client);
        let is_asked = |client: &ClientId| is_party(record, "service", client);
        self.party.as_ref().is_none_or(|party| asks(party) || is_asked(party))
            && self.client.as_ref().is_none_or(asks)
            && self.provider.as_ref().is_none_or(is_asked)
            && self.service.as_ref().is_none_or(|service| {
                is_asked(service.client())
                    && text(record, "serviceCode") == Some(service.code())
                    && text(record, "serviceVersion") == service.version()
            })
    }
}

fn is_party(record: &Map<String, Value>, role: &str, client: &ClientId) -> bool {
    let member = client.member();
    let parts = [
        ("XRoadInstance", Some(member.instance())),
        ("MemberClass", Some(member.class())),
        ("MemberCode", Some(member.code())),
        ("SubsystemCode", client.subsystem()),
    ];
    parts.into_iter().all(|(part, expected)| text(record, &format!("{role}{part}")) == expected)
}

fn text<'a>(record: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    record.get(name).and_then(Value::as_str)
}
