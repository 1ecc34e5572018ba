//! Speed and memory, measured. `README.md` beside this crate has the method and the table of the last run.
//!
//! | part | what it is |
//! |---|---|
//! | `benches/` | micro-benchmarks of the hot steps, each beside the floor it cannot go below |
//! | [`world`], [`filled`], [`incoming`] | the signing member that they need, the log, a message |
//! | `bin/hot.rs`, `tests/instructions.rs`, `instructions.toml` | how many instructions the hot steps take: a gate |
//! | [`goals`], `bin/goals.rs` | the goals of the project, each beside its baseline: one table, one picture |
//! | [`scale`], `bin/scale.rs` | cost as a function of size: connections, members and rights, records; curves |
//! | [`chain`], `bin/load.rs` | a chain of two hops under a load; the gateways' beside tuned nginx, to look into |
//! | `bin/quic.rs`, `link.py` | QUIC against TCP between two gateways, over a link that delays and loses packets |
//! | [`generator`] | closed-loop load over kept connections, with latencies |
//! | [`nginx`] | the baseline: a tuned pair of nginx hops with mutual TLS between them |
//! | [`floor`] | what an exchange cannot cost less than, measured in the same run |
//! | [`process`], [`machine`] | CPU time and memory of other processes, from `/proc`; what the machine is |
//! | [`report`] | medians and ratios of the load run as Markdown |

pub mod chain;
pub mod filled;
pub mod floor;
pub mod generator;
pub mod goals;
pub mod incoming;
pub mod machine;
pub mod nginx;
pub mod process;
pub mod report;
pub mod scale;
pub mod world;
