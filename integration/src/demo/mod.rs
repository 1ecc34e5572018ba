//! `passerelle-demo`: an ecosystem in a directory, started as separate processes, shown step by step.
//!
//! | part | what it is |
//! |---|---|
//! | [`layout`] | where everything stands: folders, names, addresses |
//! | [`files`] | the settings files, as an administrator could have written them |
//! | [`init`] | makes the directory by running the real programs |
//! | [`ecosystem`] | the running processes: start, kill, restart, stop. Crash tests and benchmarks use it too |
//! | [`programs`] | the programs: built when older, run to their end or kept running |
//! | [`service`] | the provider's information system |
//! | [`story`] | what is shown and checked: exchanges, evidence, containers |
//! | [`narrator`], [`client`] | words on the terminal; a small HTTP client |

pub mod client;
pub mod ecosystem;
pub mod files;
pub mod init;
pub mod layout;
pub mod narrator;
pub mod programs;
pub mod service;
pub mod story;
