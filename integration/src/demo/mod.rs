//! `passerelle-demo`: an ecosystem in a directory, started as separate processes, shown step by step.

pub mod layout;
pub mod programs;
pub mod service;
