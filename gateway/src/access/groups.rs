//! Who belongs to which group.
//!
//! Global groups are the authority's, in the global configuration; local groups are those of one client, in the
//! settings of its gateway.

use std::collections::{HashMap, HashSet};

use conf::identifier::{ClientId, GlobalGroupId, LocalGroupId};
use conf::snapshot::GlobalConf;

/// The groups that the authorities of all instances keep.
pub trait GlobalGroups {
    /// Whether a client is in a group.
    fn has(&self, group: &GlobalGroupId, client: &ClientId) -> bool;
}

impl GlobalGroups for GlobalConf {
    fn has(&self, group: &GlobalGroupId, client: &ClientId) -> bool {
        self.global_group_has(group, client)
    }
}

/// The groups of one client that offers services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalGroups(HashMap<LocalGroupId, HashSet<ClientId>>);

impl LocalGroups {
    /// Whether a client is in a group. Nobody is in a group that does not exist.
    pub fn has(&self, group: &LocalGroupId, client: &ClientId) -> bool {
        self.0.get(group).is_some_and(|members| members.contains(client))
    }
}

impl FromIterator<(LocalGroupId, HashSet<ClientId>)> for LocalGroups {
    fn from_iter<I: IntoIterator<Item = (LocalGroupId, HashSet<ClientId>)>>(groups: I) -> Self {
        Self(groups.into_iter().collect())
    }
}
