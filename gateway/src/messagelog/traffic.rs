//! How many requests were logged when, and for whom: counted in the index, without reading a record.
//!
//! Messages that were removed from the log are not counted.
//!
//! Not here: pictures of it.

use std::collections::BTreeMap;
use std::time::Duration;

use cert_authority::clock::UnixTime;
use conf::identifier::ServiceId;

use super::{
    error::LogError,
    index::service_of,
    reader::{Filter, Order, Reader},
    record::Kind,
};

const HOUR: Duration = Duration::from_secs(3600);

/// The requests of some hours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// In each hour.
    pub hours: Vec<u64>,
    /// For each service; its version is not told apart.
    pub services: Vec<(ServiceId, u64)>,
}

impl Reader {
    /// Counts the requests of so many hours from this time on. Blocks while it reads the index.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn traffic(&self, from: UnixTime, hours: u32) -> Result<Traffic, LogError> {
        self.records().wait_for(self.len())?;
        let filter = Filter { from: Some(from), until: Some(from + hours * HOUR), ..Filter::default() };
        let mut by_hour = vec![0_u64; usize::try_from(hours).unwrap_or(0)];
        let mut by_service: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for block in self.blocks(&filter, Order::OldestFirst, 0) {
            let block = block?;
            let requests =
                block.records().filter(|(_, kind, time)| *kind == Kind::Request && filter.in_time(*time));
            for (sequence, _, time) in requests.filter(|(sequence, ..)| !self.records().is_removed(*sequence))
            {
                let hour = usize::try_from(time.since(from).as_secs() / HOUR.as_secs()).unwrap_or(usize::MAX);
                by_hour.get_mut(hour).into_iter().for_each(|count| *count += 1);
                let Some(service) = block.names_of(sequence).1 else { continue };
                match by_service.get_mut(service) {
                    Some(count) => *count += 1,
                    None => drop(by_service.insert(service.to_vec(), 1)),
                }
            }
        }
        let services = by_service.iter().filter_map(|(key, count)| Some((service_of(key)?, *count)));
        Ok(Traffic { services: services.collect(), hours: by_hour })
    }
}
