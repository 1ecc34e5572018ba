//! The whole system together.
//!
//! | part | what it is |
//! |---|---|
//! | [`attacks`] | the attack table: each row of attacks, provoked and judged by one rule |
//! | [`world`] | a whole system in one process, for the tests of what goes wrong |
//! | [`browser`] | a real browser, led by the tests |
//! | [`conformance`] | the judge of recorded exchanges: X-Road's own messages, put through our gateways |
//! | [`demo`] | `passerelle-demo`: an ecosystem in a directory, started as separate processes, shown step by step |
//! | [`floods`] | thousands of connections that ask for nothing, and what others feel of them |
//! | [`forgeries`] | what can be made of a signed thing without its key |
//! | [`ledger`] | a load that keeps a ledger outside the gateways, and its comparison with both logs |
//! | [`memory`] | looks for secrets in the memory of a process |
//! | [`simulation`] | two gateways over simulated disks, clocks and a simulated network, by seeds |
//! | [`power_cut`] | a file system whose power is cut, for the tests of what is durable |

pub mod attacks;
pub mod browser;
pub mod conformance;
pub mod demo;
pub mod floods;
pub mod forgeries;
pub mod ledger;
pub mod memory;
mod one_key;
pub mod power_cut;
pub mod simulation;
pub mod world;
