//! The command line: `serve`, `check`, `explain`, `service`, `keys`, `log`, `asic`, `archive`.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong use (`service refresh`, `asic verify` and `archive verify` have their own, see their help).
//! Results go to standard output, the program's own log to standard error.

pub mod archive;
pub mod asic;
pub mod erase;
pub mod export;
mod keys;
pub mod log;
pub mod migrate;
pub mod output;
mod reading;
mod reconcile;
mod selection;
mod service;
mod table;
mod transparency;
pub mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cert_authority::hardening::keep_memory_private;
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;

use crate::config::{Config, explain};
use crate::gateway::{self, Settings};
use crate::hardening;
use crate::serverconf::ServerConf;

/// The secure interoperability gateway of one organisation.
#[derive(Debug, Parser)]
#[command(name = "passerelle-gateway", version)]
struct Arguments {
    /// The settings file.
    #[arg(long, global = true, default_value = "gateway.toml", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until it is told to stop (Ctrl-C or SIGTERM).
    Serve,
    /// Say whether the settings file is sound; every fault with line and key.
    Check,
    /// Show the settings that hold, defaults included.
    Explain,
    /// Services and their descriptions.
    #[command(subcommand)]
    Service(service::Command),
    /// Keys and certificates of this server.
    #[command(subcommand)]
    Keys(keys::Command),
    /// What the message log holds.
    #[command(subcommand)]
    Log(log::Command),
    /// Containers of evidence.
    #[command(subcommand)]
    Asic(asic::Command),
    /// Archives of a message log.
    #[command(subcommand)]
    Archive(archive::Command),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    if let Err(error) = keep_memory_private() {
        eprintln!("passerelle-gateway: the memory cannot be kept private: {error}");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Serve => serve(&arguments.config),
        Command::Check => check(&arguments.config),
        Command::Explain => Config::load(&arguments.config)
            .map(|config| print!("{}", explain::explain(&config)))
            .map_err(|error| error.to_string()),
        Command::Service(command) => return service::run(&arguments.config, &command),
        Command::Keys(command) => keys::run(&arguments.config, command),
        Command::Log(command) => match log::run(&arguments.config, command) {
            Ok(code) => return code,
            Err(reason) => Err(reason),
        },
        Command::Asic(command) => return asic::run(&command),
        Command::Archive(command) => return archive::run(&arguments.config, &command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("passerelle-gateway: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> Result<(), String> {
    let (config, _) = ServerConf::load(path, None).map_err(|error| error.to_string())?;
    for warning in config.warnings.to_string().lines() {
        println!("warning: {warning}");
    }
    let services: usize = config.clients.iter().map(|client| client.services.len()).sum();
    println!(
        "{} is sound: server {}, {} clients, {services} services",
        path.display(),
        config.server,
        config.clients.len()
    );
    Ok(())
}

fn serve(path: &Path) -> Result<(), String> {
    let settings = Settings::load(path).map_err(|error| error.to_string())?;
    output::begin(&settings.config().output);
    allow_connections();
    // Before there is another thread: what this one gives up, those that it starts have never had.
    let given_up = hardening::confine(settings.config(), path).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime does not start: {error}"))?;
    runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(async move {
            asked_to_stop().await;
            let _ = stop.send(true);
        });
        gateway::serve(settings, given_up, stopping).await.map_err(|error| error.to_string())
    })
}

/// Each connection is an open file: as many as may be, not as many as a shell usually lets its programs have.
fn allow_connections() {
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })
    {
        tracing::warn!(%error, most = files.current, "the limit of open files cannot be raised");
    }
}

/// Completes on SIGTERM or Ctrl-C.
async fn asked_to_stop() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be listened for");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        result = tokio::signal::ctrl_c() => {
            if result.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
