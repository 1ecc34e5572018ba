//! The authority as a program: commands on a data directory, and what is served over HTTP.
//!
//! ```text
//!  init ──► keys, certificates, registers
//!  issue, revoke ──► register (a file; other processes see it at once)
//!                        │
//!  serve:  /ocsp ◄── responder ◄──┤      /tsa ◄── stamping      /crl ◄── lists
//! ```
//! `signer` is another program: keys behind a Unix socket.
//! [`Config`] is `ca.toml`; [`House`] is the data directory, opened; [`init()`], [`issue`], [`revoke`], [`show`] and [`serve()`]
//! are the commands.
//!
//! Not here: the decisions ([`crate::authority`]) and the protocols ([`crate::ocsp`], [`crate::timestamp`]).

mod commands;
mod config;
mod crl;
mod house;
mod init;
mod journal;
mod process;
mod responder;
mod routes;
mod serve;
mod signer;
mod stamping;

pub use commands::{Shown, ShownCertificate, issue, revoke, show};
pub use config::{Authority as AuthorityConfig, Config, Crl, Issue, Log, LogFormat, Ocsp, Tsa};
pub use house::House;
pub use init::init;
pub use process::{start_log, stop_signal};
pub use serve::serve;
pub use signer::{
    Hardening, SignerConfig, confine_signer, create_key, import_certificate, list_keys, request_for,
    serve_signer,
};
