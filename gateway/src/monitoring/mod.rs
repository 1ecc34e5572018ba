//! What is told of monitoring: to operators, as JSON; to others of the network, as X-Road's services.
//!
//! - [`endpoints`]: the administration port
//!
//! Not here: how exchanges are observed and kept ([`crate::opmonitor`]).

pub mod endpoints;
