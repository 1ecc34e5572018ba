//! The whole system together.
//!
//! | part | what it is |
//! |---|---|
//! | [`demo`] | `passerelle-demo`: an ecosystem in a directory, started as separate processes, shown step by step |

pub mod demo;
