//! The secure interoperability gateway that each organisation runs.

pub mod access;
pub mod admin;
pub mod archive;
pub mod audit;
pub mod auditor;
pub mod builtin;
pub mod cli;
pub mod config;
pub mod description;
pub mod doors;
pub mod environment;
pub mod evidence;
pub mod exchange;
pub mod fault;
pub mod gateway;
pub mod keyring;
pub mod message;
pub mod messagelog;
pub mod metaservice;
pub mod monitoring;
pub mod network;
pub mod opmonitor;
pub mod serverconf;
pub mod signing;
pub mod transparency;
pub mod transport;
