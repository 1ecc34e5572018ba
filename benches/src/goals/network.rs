//! A demo ecosystem of real programs, with settings of its own: what the chain of gateways is.

use std::fs;
use std::path::Path;

use integration::demo::ecosystem::{Ecosystem, init};
use integration::demo::layout::{CONSUMER, Layout, ORGANISATIONS, PROVIDER};
use integration::demo::narrator::Narrator;
use integration::demo::programs::Programs;

use crate::chain::Chain;
use crate::process;

/// What replaces what in a settings file, once.
pub type Change = (&'static str, &'static str);

/// Makes an ecosystem, changes the settings of both gateways and of the authority, and starts it.
///
/// # Errors
/// In words: what could not be made or started; a change that found nothing to change.
pub async fn start(
    programs: &Programs,
    directory: &Path,
    ports: u16,
    key: &str,
    gateways: &[Change],
    authority: &[Change],
) -> Result<Ecosystem, String> {
    let layout = init(programs, directory, ports, key, &Narrator::silent())?;
    for organisation in ORGANISATIONS {
        change(&layout.folder(organisation.folder).join("gateway.toml"), gateways)?;
        // Archives want a folder that is there.
        fs::create_dir_all(layout.folder(organisation.folder).join("archives"))
            .map_err(|error| error.to_string())?;
    }
    change(&layout.folder("authority").join("authority.toml"), authority)?;
    Ecosystem::start(programs.clone(), layout).await
}

fn change(file: &Path, changes: &[Change]) -> Result<(), String> {
    let named = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut text = fs::read_to_string(file).map_err(named)?;
    for (from, to) in changes {
        if !text.contains(from) {
            return Err(format!("{} has no {from:?}", file.display()));
        }
        text = text.replacen(from, to, 1);
    }
    process::write(file, text.as_bytes()).map_err(named)
}

/// The chain that its gateways are.
pub fn chain(ecosystem: &mut Ecosystem) -> Chain {
    let mut pids = |name| ecosystem.process(name).map(|process| vec![process.id()]).unwrap_or_default();
    let hops = [pids(CONSUMER.folder), pids(PROVIDER.folder)];
    Chain { door: door(&ecosystem.layout), prefix: PREFIX, hops }
}

/// The service, as the consumer's gateway is asked for it.
pub const PREFIX: &str = "/r1/DEMO/GOV/2002/registry/records";

/// Where information systems ask.
pub fn door(layout: &Layout) -> std::net::SocketAddr {
    layout.http(&CONSUMER)
}
