//! `passerelle-demo`: an ecosystem in a directory, started as separate processes, shown step by step.

pub mod service;
