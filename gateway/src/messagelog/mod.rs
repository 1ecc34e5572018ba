//! The message log: evidence that is durable before anybody is answered.
//!
//! ```text
//!  exchange ──append──► queue ──► writer thread ──► segment file: blobs and frames, one fdatasync for many
//!     ▲                              │ receipt (number, leaf)          │ positions
//!     └──────── Logged<M> ◄──────────┘                                 ▼
//!                                                         index thread ──► sled (can be rebuilt)
//! ```
//! | part | what it is |
//! |---|---|
//! | [`record`] | what is logged, every field |
//! | [`append`] | the proof [`append::Logged`], the port [`append::LogStore`] |
//! | [`frame`], [`tree`], `encoding` | the bytes: chunks, frames, headers; the RFC 6962 tree (FORMAT.md) |
//! | [`body`], `key` | bodies in flight and at rest: encrypted, streamed, within a quota |
//! | [`erase`] | bodies, erased for good |
//! | [`removal`], `cleaned` | whole messages, removed for good, their leaves stay; segments that they were removed from |
//! | [`service`] | [`service::MessageLog`]: open, append, ready. Talk to the log through it |
//! | `segment`, `writer`, `hands`, `recover`, `disk`, `lock` | segment files, group commit, the start after a crash; one writer |
//! | `rest` | where a log lay that was closed in order: the next start reads no more than what came since |
//! | `pieces`, `in_order` | a log as it stands, piece by piece; work on all cores |
//! | `salvage` | what is whole in a damaged log |
//! | [`replays`] | requests that were seen before |
//! | `index`, `store`, `block`, `records`, `filter`, [`reader`] | where records lie; what is looked for; finding and reading it |
//! | [`traffic`] | requests by hour and by service, counted in the index |
//! | `postgres` | the same log in tables that several nodes write |
//! | [`migrate`] | a log, moved from files to tables or back |
//! | [`stamp`], [`timestamper`] | batches to stamp; the background task that stamps them |
//! | [`tiles`], [`checkpoint`], [`witnessing`] | hashes of the tree; its signed heads; who cosigns them |
//! | [`verify`], [`audit`], `key_uses` | the checker: derives everything again from the bytes; run over files or tables |
//!
//! Not here: the container of an exported message ([`crate::evidence`]), archives.

pub mod append;
pub mod audit;
mod beside;
mod block;
pub mod body;
pub mod checkpoint;
mod cleaned;
pub mod disk;
mod encoding;
pub mod erase;
pub mod error;
mod filter;
#[cfg(test)]
mod format_example;
pub mod frame;
mod hands;
mod in_order;
mod index;
mod key;
mod key_uses;
mod lock;
pub mod migrate;
pub(crate) mod pieces;
mod postgres;
pub mod reader;
pub mod record;
mod records;
mod recover;
pub mod removal;
pub mod replays;
mod rest;
mod salvage;
mod segment;
pub mod service;
pub mod stamp;
mod store;
pub mod tiles;
pub mod timestamper;
pub mod traffic;
pub mod tree;
pub mod verify;
pub mod witnessing;
mod writer;

pub use append::{LogStore, Logged, Receipt};
pub use body::{BodyWriter, SealedBody, Vault};
pub use error::LogError;
pub use key::KeyGrouping;
pub use postgres::Database;
pub use record::{MessageRecord, Part, Record, Role};
pub use service::{Config, MessageLog};
