//! Which records a command is about.

use cert_authority::clock::UnixTime;
use clap::{Args, ValueEnum};
use conf::identifier::{ClientId, MemberId, ServiceId};

use crate::messagelog::{
    Role,
    reader::{Condition, Filter},
    record::{Kind, Outcome},
};

/// Arguments that say what records are like.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FilterArguments {
    /// Logged at this time or later (RFC 3339).
    #[arg(long, value_parser = time)]
    from: Option<UnixTime>,
    /// Logged before this time (RFC 3339).
    #[arg(long, value_parser = time)]
    until: Option<UnixTime>,
    /// With this X-Road-Id.
    #[arg(long)]
    message_id: Option<String>,
    /// Of this client, INSTANCE/CLASS/MEMBER/SUBSYSTEM.
    #[arg(long)]
    client: Option<ClientId>,
    /// Of this service, INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE.
    #[arg(long)]
    service: Option<ServiceId>,
    /// With this member as client or provider, INSTANCE/CLASS/MEMBER.
    #[arg(long)]
    member: Option<MemberId>,
    /// Made on this side.
    #[arg(long, value_enum)]
    role: Option<Side>,
    /// With this X-Road-UserId.
    #[arg(long, value_name = "USER")]
    user_id: Option<String>,
    /// With this X-Road-Issue.
    #[arg(long)]
    issue: Option<String>,
    /// In this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Time-stamps, configurations and the like too.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Side {
    /// We asked.
    Consumer,
    /// We were asked.
    Provider,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// A message that has its time-stamp.
    Stamped,
    /// A message that waits for its time-stamp.
    Pending,
    /// An exchange that ended well: its answer.
    Success,
    /// An exchange that ended with a fault.
    Fault,
    /// An exchange of which it is not known how it ended.
    InDoubt,
}

pub(super) fn time(text: &str) -> Result<UnixTime, String> {
    UnixTime::from_rfc3339(text).map_err(|_| "not a time such as 2026-03-04T05:06:07Z".to_owned())
}

impl From<FilterArguments> for Filter {
    fn from(arguments: FilterArguments) -> Self {
        let messages = vec![Kind::Request, Kind::Response, Kind::Outcome];
        Self {
            from: arguments.from,
            until: arguments.until,
            message_id: arguments.message_id,
            client: arguments.client,
            service: arguments.service,
            member: arguments.member,
            role: arguments.role.map(|side| match side {
                Side::Consumer => Role::Consumer,
                Side::Provider => Role::Provider,
            }),
            kinds: if arguments.all { Vec::new() } else { messages },
            user_id: arguments.user_id,
            issue: arguments.issue,
            state: arguments.state.map(|state| match state {
                State::Stamped => Condition::Stamped,
                State::Pending => Condition::Pending,
                State::Success => Condition::Ended(Outcome::Success),
                State::Fault => Condition::Ended(Outcome::Fault),
                State::InDoubt => Condition::Ended(Outcome::InDoubt),
            }),
        }
    }
}
