//! The fence around files: own folders are written, what is needed is read, nothing is executed (Linux' landlock).
//!
//! What was opened before stays open. It does not touch the network. From Linux 6.12 on it also keeps this process from
//! signalling others, and from their abstract sockets.

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};

use super::Allowed;

/// The newest form that was tried here. A kernel with less gives less.
const KNOWN: ABI = ABI::V6;

pub(super) fn confine(allowed: &Allowed) -> Result<&'static str, String> {
    match restrict(allowed).map_err(|error| error.to_string())? {
        RulesetStatus::FullyEnforced => Ok("landlock"),
        RulesetStatus::PartiallyEnforced => Ok("landlock, in part: the kernel is older than 6.12"),
        RulesetStatus::NotEnforced => Err("the kernel has none, or it is not switched on (lsm=)".to_owned()),
    }
}

fn restrict(allowed: &Allowed) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // Sockets: the gateway's commands tell of their readings through one beside the log.
    let write =
        AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::MakeDir | AccessFs::MakeSock;
    let own = read | write | AccessFs::RemoveFile | AccessFs::RemoveDir | AccessFs::Refer;
    let fence = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(&allowed.read, read))?
        .add_rules(path_beneath_rules(&allowed.sockets, AccessFs::MakeSock | AccessFs::RemoveFile))?
        .add_rules(path_beneath_rules(&allowed.own, own))?;
    Ok(fence.restrict_self()?.ruleset)
}
