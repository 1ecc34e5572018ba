//! `passerelle-conf`: the authority's program, and the client's from the command line.
//!
//! Exit codes: 0 done, 1 not done or not valid (the reason is on standard error), 2 wrong use.

use std::path::PathBuf;
use std::process::ExitCode;

use cert_authority::hardening::keep_memory_private;
use clap::{Args, Parser, Subcommand};
use conf::authority::SourceKind;
use conf::service::{authority, client, witness_key};

/// The signed configuration of an instance: publish it, or fetch and verify it.
#[derive(Parser)]
#[command(name = "passerelle-conf", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Config {
    /// The register of the authority.
    #[arg(long, default_value = "authority.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Make the PIN file and the signing keys with their certificates, where they are not there yet.
    Init {
        #[command(flatten)]
        config: Config,
        /// Type of the keys: p256, p384, rsa2048, rsa3072, rsa4096.
        #[arg(long, default_value = "p256")]
        key: String,
    },
    /// Say whether the register is sound, with all its faults.
    Check(Config),
    /// Sign and write the configuration once.
    Publish(Config),
    /// Publish all the time, and serve what is published.
    Serve(Config),
    /// Make the key of the witness, where there is none yet, and show the verifier key that gateways need.
    WitnessKey(Config),
    /// Write the anchor, by which others find and verify the configuration.
    Anchor {
        #[command(flatten)]
        config: Config,
        /// The anchor for other instances, in place of the one for our own gateways.
        #[arg(long)]
        external: bool,
        /// File to write [default: anchor.xml or external-anchor.xml beside the register].
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// The signing keys and their rotation: add, wait until all gateways have fetched, activate, remove the old one.
    #[command(subcommand)]
    Key(Key),
    /// Fetch the configuration that an anchor points at, verify it, and keep it in a folder.
    Fetch {
        /// The anchor.
        #[arg(long)]
        anchor: PathBuf,
        /// The folder to keep it in.
        #[arg(long)]
        dir: PathBuf,
        /// Take a configuration that is older than the one in the folder, too.
        #[arg(long)]
        accept_older: bool,
        /// Follow this other instance too, if the authority has an agreement with it; may be repeated.
        #[arg(long)]
        federated: Vec<String>,
    },
    /// Verify a configuration in a folder, or at addresses, without keeping anything.
    Verify {
        /// The anchor.
        #[arg(long)]
        anchor: PathBuf,
        /// The folder.
        #[arg(long, conflicts_with = "urls")]
        dir: Option<PathBuf>,
        /// The addresses [default: those of the anchor].
        urls: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Key {
    /// Show the signing keys.
    List(Config),
    /// Make a further key; its certificate is published at once, but it does not sign yet.
    Add {
        #[command(flatten)]
        config: Config,
        /// What it signs: internal or external.
        kind: SourceKind,
        /// Type of the key.
        #[arg(long, default_value = "p256")]
        key: String,
    },
    /// Sign with this key from now on.
    Activate {
        #[command(flatten)]
        config: Config,
        /// The key's id.
        id: String,
    },
    /// Remove a key that no longer signs.
    Remove {
        #[command(flatten)]
        config: Config,
        /// The key's id.
        id: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = keep_memory_private() {
        eprintln!("the memory cannot be kept private: {error}");
        return ExitCode::FAILURE;
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    match run(Arguments::parse().command).await {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<String, Box<dyn std::error::Error>> {
    match command {
        Command::Init { config, key } => Ok(authority::init(&config.config, &key).await?),
        Command::Check(config) => Ok(authority::check(&config.config)?),
        Command::Publish(config) => Ok(authority::publish(&config.config).await?),
        Command::Serve(config) => Ok(authority::serve(&config.config).await?),
        Command::WitnessKey(config) => Ok(witness_key(&config.config)?),
        Command::Anchor { config, external, out } => Ok(authority::anchor(&config.config, external, out)?),
        Command::Key(Key::List(config)) => Ok(authority::list_keys(&config.config)?),
        Command::Key(Key::Add { config, kind, key }) => {
            Ok(authority::add_key(&config.config, kind, &key).await?)
        }
        Command::Key(Key::Activate { config, id }) => Ok(authority::activate_key(&config.config, &id)?),
        Command::Key(Key::Remove { config, id }) => Ok(authority::remove_key(&config.config, &id)?),
        Command::Fetch { anchor, dir, accept_older, federated } => {
            Ok(client::fetch(anchor, dir, accept_older, federated).await?)
        }
        Command::Verify { anchor, dir: Some(dir), .. } => Ok(client::verify_folder_command(&anchor, &dir)?),
        Command::Verify { anchor, dir: None, urls } => Ok(client::verify_addresses(&anchor, &urls).await?),
    }
}
