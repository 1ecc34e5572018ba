//! `passerelle-demo`: two organisations exchange signed messages, in one command.
//!
//! Exit codes: 0 all was as it should be, 1 it was not (the reason is on standard error), 2 wrong use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use integration::demo::ecosystem::{Ecosystem, free_ports};
use integration::demo::init::init;
use integration::demo::layout::{self, Layout, ORGANISATIONS};
use integration::demo::narrator::Narrator;
use integration::demo::programs::Programs;
use integration::demo::{service, story};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Two organisations exchange signed messages through their gateways: makes everything anew, shows it step by step, and
/// stays up until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "passerelle-demo", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Where to make it; what an earlier demo left there is removed [default: target/demo of the source tree].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Show all, then stop; exits with 0 only if everything was as it should be.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    choice: Choice,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Choice {
    /// The first port, N.
    #[arg(long, default_value_t = 7000, value_name = "N")]
    port_base: u16,
    /// Kind of all keys: p256, p384, rsa2048, rsa3072, rsa4096.
    #[arg(long, default_value = "p256")]
    key: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Only write the directory of an ecosystem.
    Init {
        /// A new or empty directory.
        dir: PathBuf,
        #[command(flatten)]
        choice: Choice,
    },
    /// Start the ecosystem of a directory; stays up until Ctrl-C.
    Run {
        /// What init has made.
        dir: PathBuf,
    },
    /// The provider's information system: a small register over plain HTTP.
    Service {
        /// Its settings.
        #[arg(long, default_value = "service.toml", value_name = "FILE")]
        config: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { dir, once, choice, command } = Arguments::parse();
    let narrator = Narrator::new();
    let done = match command {
        None => demo(dir.as_deref(), once, &choice, &narrator).await,
        Some(Command::Init { dir, choice }) => write_only(&dir, &choice, &narrator),
        Some(Command::Run { dir }) => run(&dir, &narrator).await,
        Some(Command::Service { config }) => serve(&config).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("\npasserelle-demo: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(dir: Option<&Path>, once: bool, choice: &Choice, narrator: &Narrator) -> Result<(), String> {
    let directory = dir.map_or_else(usual_directory, Path::to_path_buf);
    let layout = Layout::new(&directory, choice.port_base)?;
    // Before anything is removed: it may be the directory of a demo that runs.
    free_ports(&layout)?;
    let programs = locate(narrator)?;
    remove_earlier(&layout.directory)?;
    let layout = init(&programs, &directory, choice.port_base, &choice.key, narrator)?;

    let mut stop = Stop::new()?;
    let mut ecosystem = tokio::select! {
        started = start(programs, layout, narrator) => started?,
        () = stop.asked() => return Err("stopped before everything ran".to_owned()),
    };
    let id = tokio::select! {
        told = story::tell(&ecosystem, narrator) => told?,
        () = stop.asked() => return Err("stopped before all was shown".to_owned()),
    };
    ecosystem.alive()?;
    story::by_hand(&ecosystem, Some(&id), narrator);
    if once {
        return finish(ecosystem, narrator);
    }
    stay(ecosystem, &mut stop, narrator).await
}

fn write_only(dir: &Path, choice: &Choice, narrator: &Narrator) -> Result<(), String> {
    let programs = locate(narrator)?;
    init(&programs, dir, choice.port_base, &choice.key, narrator)?;
    narrator.say(&format!("\nReady to start: passerelle-demo run {}", dir.display()));
    Ok(())
}

async fn run(dir: &Path, narrator: &Narrator) -> Result<(), String> {
    let layout = layout::existing(dir)?;
    let programs = locate(narrator)?;
    let mut stop = Stop::new()?;
    let ecosystem = tokio::select! {
        started = start(programs, layout, narrator) => started?,
        () = stop.asked() => return Err("stopped before everything ran".to_owned()),
    };
    story::by_hand(&ecosystem, None, narrator);
    stay(ecosystem, &mut stop, narrator).await
}

async fn serve(config: &Path) -> Result<(), String> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let mut stop = Stop::new()?;
    tokio::select! {
        served = service::serve(config) => served,
        () = stop.asked() => Ok(()),
    }
}

fn locate(narrator: &Narrator) -> Result<Programs, String> {
    narrator.step("The programs");
    narrator.say("Built first if they are missing or older than their source.");
    let programs = Programs::locate()?;
    narrator.say(&format!(
        "passerelle-ca, passerelle-conf, passerelle-gateway in {}",
        programs.folder().display()
    ));
    Ok(programs)
}

async fn start(programs: Programs, layout: Layout, narrator: &Narrator) -> Result<Ecosystem, String> {
    narrator.step("Everything starts, each part a process of its own");
    let mut ecosystem = Ecosystem::start(programs, layout).await?;
    let layout = ecosystem.layout.clone();
    let mut lines = vec![
        ("ca", format!("http://{} /ocsp /tsa /crl /ca.pem", layout.trust())),
        ("authority", format!("http://{}/internalconf", layout.authority())),
        ("service", format!("http://{}", layout.service())),
    ];
    for organisation in &ORGANISATIONS {
        let doors = format!(
            "http://{}, https://{}, peers {}, administration {}",
            layout.http(organisation),
            layout.https(organisation),
            layout.peer(organisation),
            layout.administration(organisation)
        );
        lines.push((organisation.folder, doors));
    }
    for (name, what) in lines {
        let id = ecosystem.process(name).map_or(0, |process| process.id());
        narrator.say(&format!("{name:<9} process {id:<8} {what}"));
    }
    narrator.say(&format!("What each one prints is in {}/*/output.log", layout.directory.display()));
    narrator.say(&format!("Ready {:.2} s after the start.", narrator.seconds()));
    Ok(ecosystem)
}

/// Until somebody asks us to stop, or a part stops by itself.
async fn stay(mut ecosystem: Ecosystem, stop: &mut Stop, narrator: &Narrator) -> Result<(), String> {
    narrator.say("\nEverything stays up until Ctrl-C.");
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            () = stop.asked() => return finish(ecosystem, narrator),
            _ = look.tick() => ecosystem.alive()?,
        }
    }
}

fn finish(ecosystem: Ecosystem, narrator: &Narrator) -> Result<(), String> {
    narrator.step("Everything stops");
    ecosystem.stop()?;
    narrator.say(&format!("Stopped after {:.2} s.", narrator.seconds()));
    Ok(())
}

/// `target/demo` of the source tree that this was built from, or below the current folder when that is gone.
fn usual_directory() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|source| source.exists());
    source.unwrap_or_else(|| Path::new(".")).join("target/demo")
}

/// Removes what an earlier demo left, and nothing else.
fn remove_earlier(directory: &Path) -> Result<(), String> {
    let is_demo =
        ["ca/ca.toml", "consumer", "provider", "service"].iter().all(|part| directory.join(part).exists());
    if !is_demo {
        return Ok(());
    }
    fs::remove_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))
}

/// Somebody asks us to stop: Ctrl-C, SIGTERM, or the terminal is closed.
struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        Ok(Self {
            signals: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            ],
        })
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
