//! Which records a search is for: what is wanted, and whether a record, or anything in a block of the index, may be it.
//!
//! Not here: going through the log ([`super::reader`]).

use cert_authority::clock::UnixTime;
use conf::identifier::{ClientId, MemberId, ServiceId};

use super::{
    block::{Block, Times},
    index::service_key,
    reader::StoredRecord,
    record::{Kind, MessageRecord, Outcome, Record, Role},
};

/// Which records are wanted; what is `None` does not matter. How an exchange ended without a signed answer is of the
/// client, service, member, side, user and issue of its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Logged at this time or later.
    pub from: Option<UnixTime>,
    /// Logged before this time.
    pub until: Option<UnixTime>,
    /// Of this query.
    pub message_id: Option<String>,
    /// Of this client.
    pub client: Option<ClientId>,
    /// Of this service.
    pub service: Option<ServiceId>,
    /// Client or provider is this member or one of its subsystems.
    pub member: Option<MemberId>,
    /// Made on this side.
    pub role: Option<Role>,
    /// Of these kinds; empty: of all.
    pub kinds: Vec<Kind>,
    /// For whom the client acted, as it said.
    pub user_id: Option<String>,
    /// Of this file, case or permit.
    pub issue: Option<String>,
    /// In this state.
    pub state: Option<Condition>,
}

/// How far the evidence of a message has come, or how an exchange without a signed answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// A message with a time-stamp.
    Stamped,
    /// A message that waits for one.
    Pending,
    /// An exchange that ended so, one record of it. With success: its signed answer, if nothing went wrong behind it; else
    /// the record that says how it ended.
    Ended(Outcome),
}

impl Filter {
    pub(super) fn in_time(&self, time: UnixTime) -> bool {
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }

    pub(super) fn of_kind(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether the time of a record matters.
    pub(super) const fn is_of_a_period(&self) -> bool {
        self.from.is_some() || self.until.is_some()
    }

    /// Whether one of the records of these times may be in time.
    pub(super) fn may_be_within(&self, Times { earliest, latest }: Times) -> bool {
        self.from.is_none_or(|from| latest >= from) && self.until.is_none_or(|until| earliest < until)
    }

    /// Whether a record of the block may pass.
    pub(super) fn may_pass(&self, names: &Names, block: &Block) -> bool {
        let in_time = block.times().is_some_and(|times| self.may_be_within(times));
        // The parties of an outcome stand with its request, which may be in another block.
        let outcomes =
            || self.of_kind(Kind::Outcome) && block.records().any(|(_, kind, _)| kind == Kind::Outcome);
        in_time && (names.may_be_in(block) || outcomes())
    }

    /// Whether it asks for something that only messages say.
    pub(super) const fn is_of_messages(&self) -> bool {
        self.client.is_some()
            || self.service.is_some()
            || self.member.is_some()
            || self.role.is_some()
            || self.user_id.is_some()
            || self.issue.is_some()
    }

    /// Whether a record passes, as far as it says itself; `asked` is the request of an outcome.
    pub(super) fn passes(&self, record: &StoredRecord, asked: Option<&MessageRecord>) -> bool {
        let message = record.record.message().or(asked);
        let of = |matches: &dyn Fn(&MessageRecord) -> bool| message.is_some_and(matches);
        self.in_time(record.time)
            && self.of_kind(record.record.kind())
            && self.message_id.as_ref().is_none_or(|id| record.record.message_id() == Some(id))
            && self.client.as_ref().is_none_or(|client| of(&|m| m.client == *client))
            && self.service.as_ref().is_none_or(|service| of(&|m| m.service == *service))
            && self.member.as_ref().is_none_or(|member| {
                of(&|m| m.client.member() == member || m.service.client().member() == member)
            })
            && self.role.is_none_or(|role| of(&|m| m.role == role))
            && self.user_id.as_ref().is_none_or(|user| of(&|m| m.user_id.as_ref() == Some(user)))
            && self.issue.as_ref().is_none_or(|issue| of(&|m| m.issue.as_ref() == Some(issue)))
            && match (self.state, &record.record) {
                (Some(Condition::Ended(wanted)), Record::Outcome(outcome)) => outcome.outcome == wanted,
                (Some(Condition::Ended(wanted)), Record::Response(_)) => wanted == Outcome::Success,
                (Some(Condition::Ended(_)), _) => false,
                _ => true,
            }
    }
}

/// The names that a filter looks for, as the index has them.
pub(super) struct Names {
    client: Option<String>,
    service: Option<String>,
    /// What the client or the service begins with.
    member: Option<String>,
}

impl Names {
    pub(super) fn wanted_by(filter: &Filter) -> Self {
        Self {
            client: filter.client.as_ref().map(ClientId::encoded),
            service: filter.service.as_ref().map(service_key),
            member: filter.member.as_ref().map(MemberId::encoded),
        }
    }

    /// Whether a record of the block may have them.
    fn may_be_in(&self, block: &Block) -> bool {
        let (mut clients, mut services) = block.names();
        let client = self.client.as_ref().is_none_or(|wanted| clients.any(|name| name == wanted.as_bytes()));
        let service =
            self.service.as_ref().is_none_or(|wanted| services.any(|name| name == wanted.as_bytes()));
        let member = self.member.as_ref().is_none_or(|member| {
            let (clients, services) = block.names();
            clients.chain(services).any(|name| name.starts_with(member.as_bytes()))
        });
        client && service && member
    }

    /// Whether a record with this client and service may have them.
    pub(super) fn may_be(&self, (client, service): (Option<&[u8]>, Option<&[u8]>)) -> bool {
        let is = |wanted: &Option<String>, name: Option<&[u8]>| {
            wanted.as_ref().is_none_or(|wanted| name == Some(wanted.as_bytes()))
        };
        is(&self.client, client)
            && is(&self.service, service)
            && self.member.as_ref().is_none_or(|member| {
                [client, service].into_iter().flatten().any(|name| name.starts_with(member.as_bytes()))
            })
    }
}
