//! What every program of ours does before anything else: what is in its memory stays there.
//!
//! A process that is not dumpable writes no core, whatever collects cores on the machine, and no other process of the
//! same user can attach to it or read its memory. root can: against whoever owns the machine nothing here helps.
//!
//! Not here: what a program gives up besides once it knows its settings (the gateway's `hardening`).

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Lets no memory of this process out: no core, no tracing by the same user. Its entries below `/proc` belong to root
/// from then on; its own threads still reach them.
///
/// # Errors
/// The system's: the program had better not begin.
pub fn keep_memory_private() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Says the same again, where a core is written to a file.
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}
