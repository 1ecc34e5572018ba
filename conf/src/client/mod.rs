//! The client: follows the signed configuration of an instance and keeps the newest genuine one in force.
//!
//! ```text
//!   anchor ─► plan ─► fetch ─► set ─► store ─► ConfHandle ─► everybody
//!          (whom to ask) │  (verified) (on disk,   (snapshot(now): never expired)
//!              ▲         │              whole)
//!              └─────────┘ event: taken, unchanged, older, failed
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`Client`] | the work: [`Client::open`], then [`Client::run`] in a task |
//! | [`ConfHandle`] | the configuration in force, for all who need it |
//! | [`plan`] | whom to ask next, and when; pure |
//! | [`store`] | the folder, in which a set changes as a whole |
//!
//! What it promises:
//! - nothing comes into force that is not signed by a key of the anchor, or by one that an earlier genuine
//!   configuration has named
//! - for each instance the valid set with the latest Expire-date is in force, over restarts too; an older one is ignored,
//!   whoever sends it
//! - a configuration that has expired is shown to nobody from that second on, and everything recovers by itself when a
//!   fresh one comes
//!
//! Specification: PR-GCONF §2.

mod event;
mod fetch;
mod followed;
mod handle;
pub mod plan;
mod run;
mod set;
pub mod store;

pub use event::{Event, Outcome};
pub use fetch::Limits;
pub use handle::{ConfHandle, Counters};
pub use run::{Client, Settings, read_anchor, verify_address, verify_folder};
pub use set::VerifiedSet;
