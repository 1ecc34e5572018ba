//! What a program gives up, so that whoever takes it over has little.
//!
//! - [`keep_memory_private`]: before anything else, in every program of ours
//! - [`confine()`]: once the settings are known, where a program is worth being taken over (feature `confine`)
//!
//! ```text
//! Allowed ──► files (landlock): writes its own folders, reads what it needs, executes nothing
//! Sockets ──► calls (seccomp): no execve, no ptrace, no mount, no namespaces, no other sockets ...
//! ```
//! A fence holds for the thread that puts it up and for those that it starts from then on; so it is put up before the
//! runtime is. It cannot be taken down. What the kernel does not have is left out, unless the settings demand it.
//!
//! Specification: THREATS A2, A4 (a program that was taken over). root can look into everything: against whoever owns the
//! machine nothing here helps. Not here: what each program needs, which it says itself.

#[cfg(feature = "confine")]
mod calls;
#[cfg(feature = "confine")]
mod confine;
#[cfg(feature = "confine")]
mod files;

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

#[cfg(feature = "confine")]
pub use calls::Sockets;
#[cfg(feature = "confine")]
pub use confine::{Allowed, Confine, HardeningError, InForce, confine};

/// Lets no memory of this process out: no core, whatever collects cores on the machine, and no tracing by the same user.
/// Its entries below `/proc` belong to root from then on; its own threads still reach them.
///
/// # Errors
/// The system's: the program had better not begin.
pub fn keep_memory_private() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Says the same again, where a core is written to a file.
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}
