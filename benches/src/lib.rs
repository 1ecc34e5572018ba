//! Speed and memory, measured. `README.md` beside this crate has the method and the table of the last run.
//!
//! | part | what it is |
//! |---|---|
//! | [`measure`] | micro-benchmarks: one hot step in a loop, its median and spread |
//! | [`generator`] | closed-loop load over kept connections, with a latency histogram |
//! | [`process`] | CPU time and memory of other processes, from `/proc` |
//! | [`nginx`] | the baseline: a tuned pair of nginx hops with mutual TLS between them |

pub mod generator;
pub mod measure;
pub mod nginx;
pub mod process;
