//! `service list`: what is offered. `service refresh`: takes up descriptions, and shows before what that changes.
//!
//! | exit code of `refresh`, as of `diff` | |
//! |---|---|
//! | 0 | the descriptions are those that were taken up |
//! | 1 | they differ; without `--dry-run` they have been taken up |
//! | 2 | trouble: a description cannot be had (the others have been taken up), or the settings cannot go by it (none has) |
//!
//! A running gateway sees that something was taken up, as it sees changed settings.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use cert_authority::clock::{Clock as _, SystemClock, UnixTime};
use cert_authority::http::HttpError;
use cert_authority::keys::inventory::Usage;
use cert_authority::settings::Problem;
use clap::{Args, Subcommand};
use conf::identifier::ClientId;

use super::table::{Table, printable};
use crate::config::{Client, Config, ConfigError, Description, Service};
use crate::description::difference::{self, Change, Item};
use crate::description::{Accepted, Content, DescriptionError, Document, LIMITS, Source, fetch, openapi};
use crate::keyring::Keyring;
use crate::message::Protocol;
use crate::network;
use crate::transport::ocsp_cache::OcspCache;
use crate::transport::tls::Identity;

const SAME: u8 = 0;
const DIFFERS: u8 = 1;
const TROUBLE: u8 = 2;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the services of all clients, and what describes them.
    List,
    /// Fetch the descriptions, show what they change, and take them up. Exit code 0: nothing differs; 1: something does;
    /// 2: trouble.
    Refresh(RefreshArguments),
}

/// What is to be refreshed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RefreshArguments {
    /// Only show what differs.
    #[arg(long)]
    dry_run: bool,
    /// Only these, written as in the settings. Default: all of them.
    #[arg(value_name = "DESCRIPTION")]
    descriptions: Vec<String>,
}

/// Runs a command.
pub(super) fn run(settings: &Path, command: &Command) -> ExitCode {
    let out = &mut io::stdout().lock();
    let done = match command {
        Command::List => list(settings, out).map(|()| SAME),
        Command::Refresh(arguments) => refresh(settings, arguments, SystemClock.now(), out),
    };
    done.map_or_else(
        |reason| {
            eprintln!("passerelle-gateway: {reason}");
            ExitCode::from(TROUBLE)
        },
        ExitCode::from,
    )
}

fn list(settings: &Path, out: &mut impl Write) -> Result<(), String> {
    let config = Config::load(settings).map_err(|error| error.to_string())?;
    let accepted = Accepted::load(folder(settings)).map_err(|error| error.to_string())?;
    let mut table = Table::new(&["SERVICE", "PROTOCOL", "ADDRESS", "DESCRIPTION", "TAKEN UP"]);
    for client in &config.clients {
        for service in &client.services {
            let description = service.description.as_ref();
            let entry = description.and_then(|description| accepted.get(&client.id, &description.written));
            let taken_up = match (description, entry) {
                (None, _) => String::new(),
                (Some(_), None) => "never".to_owned(),
                (Some(_), Some(entry)) => entry.taken_up.clone(),
            };
            table.row(vec![
                printable(&format!("{}/{}", client.id, name(&service.code, service.version.as_deref()))),
                match service.protocol {
                    Protocol::Rest => "rest".to_owned(),
                    Protocol::Soap => "soap".to_owned(),
                },
                printable(&service.url),
                printable(description.map_or("", |description| &description.written)),
                printable(&taken_up),
            ]);
        }
    }
    table.write(out).map_err(|error| error.to_string())
}

/// A description that is not the one that was taken up.
struct Changed<'a> {
    client: &'a Client,
    description: &'a Description,
    changes: Vec<Change>,
    is_new: bool,
}

fn refresh(
    settings: &Path,
    arguments: &RefreshArguments,
    now: UnixTime,
    out: &mut impl Write,
) -> Result<u8, String> {
    let text = fs::read_to_string(settings).map_err(|error| format!("{}: {error}", settings.display()))?;
    let folder = folder(settings);
    let by = |accepted: &Accepted| {
        Config::described(&text, folder, accepted).map_err(|problems| {
            ConfigError::Faulty { path: settings.display().to_string(), problems }.to_string()
        })
    };
    let undescribed = by(&Accepted::none(folder))?;
    let before = Accepted::load(folder).map_err(|error| error.to_string())?;
    let mut after = before.clone();
    let runtime = runtime()?;
    let looked = runtime.block_on(look(&undescribed, arguments, &mut after, now, out));
    // A file that never ends being opened, such as a pipe, is not waited for.
    runtime.shutdown_background();
    let (changed, trouble) = looked?;
    let forgotten = forget(&undescribed, arguments, &mut after);

    // What was taken up before may be damaged; then everything is as if it were new.
    let old = by(&before).unwrap_or_else(|_damaged| undescribed.clone());
    let new = match by(&after) {
        Ok(new) => new,
        Err(reason) => {
            show(&changed, &forgotten, &old, &undescribed, out).map_err(|error| error.to_string())?;
            return Err(format!("nothing is taken up, the settings cannot go by it:\n{}", lines(&reason)));
        }
    };
    let shown = show(&changed, &forgotten, &old, &new, out).and_then(|()| warn(&old, &new, out));
    shown.map_err(|error| error.to_string())?;
    let differs = !changed.is_empty() || !forgotten.is_empty();
    if differs && !arguments.dry_run {
        after.write().map_err(|error| format!("the descriptions cannot be kept: {error}"))?;
        writeln!(out, "taken up").map_err(|error| error.to_string())?;
    }
    Ok(match (trouble, differs) {
        (true, _) => TROUBLE,
        (false, true) => DIFFERS,
        (false, false) => SAME,
    })
}

/// Fetches what is asked for and puts what differs into `after`. Also tells whether there was trouble.
async fn look<'a>(
    config: &'a Config,
    arguments: &RefreshArguments,
    after: &mut Accepted,
    now: UnixTime,
    out: &mut impl Write,
) -> Result<(Vec<Changed<'a>>, bool), String> {
    let all =
        config.clients.iter().flat_map(|client| client.descriptions.iter().map(move |each| (client, each)));
    let wanted: Vec<_> = all.filter(|(_, each)| is_asked_for(arguments, &each.written)).collect();
    if wanted.is_empty() && !arguments.descriptions.is_empty() {
        return Err("no such description is in the settings".to_owned());
    }
    let own = own_identity(config, now);
    let (mut changed, mut trouble) = (Vec::new(), false);
    for (client, description) in wanted {
        match get(description, &own).await {
            Err(reason) => {
                trouble = true;
                let line = format!("{}, {}: {reason}", client.id, description.written);
                writeln!(out, "{}", printable(&line)).map_err(|error| error.to_string())?;
            }
            Ok(document) => {
                let old = taken_up(after, &client.id, description);
                if old.as_ref() != Some(&document) {
                    let changes = difference::between(old.as_ref(), &document);
                    changed.push(Changed { client, description, changes, is_new: old.is_none() });
                    after.take_up(&client.id, &description.written, document.bytes, now);
                }
            }
        }
    }
    Ok((changed, trouble))
}

/// The document, if it can also be shown to those who ask for it.
async fn get(description: &Description, own: &OwnIdentity) -> Result<Document, String> {
    let identity = own.as_ref().ok().cloned().flatten();
    let client = network::description_client(description.trust.as_ref(), identity);
    let client = client.map_err(|error| error.to_string())?;
    let fetched = fetch(&description.source, &client, LIMITS).await;
    let bytes = fetched.map_err(|error| match (&error, own) {
        (DescriptionError::Http(HttpError::Tls(_) | HttpError::Protocol(_)), Err(reason)) => {
            format!("{error} (we had no certificate to show: {reason})")
        }
        _ => error.to_string(),
    })?;
    let document = Document::read(bytes, description.protocol).map_err(|error| error.to_string())?;
    match &document.content {
        Content::OpenApi(_) => openapi::without_hosts(&document.bytes).map(|_shown| document),
        Content::Wsdl(_) => Ok(document),
    }
    .map_err(|error| error.to_string())
}

/// What a server that asks for a certificate is shown; `Err` when the keys cannot be opened.
type OwnIdentity = Result<Option<Identity>, String>;

/// The keys are opened only when there is a server that might ask.
fn own_identity(config: &Config, now: UnixTime) -> OwnIdentity {
    let mut descriptions = config.clients.iter().flat_map(|client| &client.descriptions);
    if !descriptions.any(|each| matches!(&each.source, Source::Url(url) if url.starts_with("https://"))) {
        return Ok(None);
    }
    let keyring = Keyring::local(&config.keys, Arc::new(OcspCache::new(None)));
    keyring.and_then(|keyring| keyring.identity(Usage::Tls, now)).map_err(|error| error.to_string())
}

/// The document that was taken up, if it is whole.
fn taken_up(accepted: &Accepted, client: &ClientId, description: &Description) -> Option<Document> {
    let bytes = accepted.document(accepted.get(client, &description.written)?).ok()?;
    Document::read(bytes, description.protocol).ok()
}

/// Takes out what the settings do not name any more, unless only some descriptions are asked for.
fn forget(config: &Config, arguments: &RefreshArguments, after: &mut Accepted) -> Vec<String> {
    if !arguments.descriptions.is_empty() {
        return Vec::new();
    }
    let named = |client: &str, written: &str| {
        let mut clients = config.clients.iter().filter(|known| known.id.to_string() == client);
        clients.any(|known| known.descriptions.iter().any(|each| each.written == written))
    };
    let forgotten = after.entries().iter().filter(|entry| !named(&entry.client, &entry.description));
    let forgotten = forgotten.map(|entry| format!("{}, {}", entry.client, entry.description)).collect();
    after.retain(|entry| named(&entry.client, &entry.description));
    forgotten
}

fn is_asked_for(arguments: &RefreshArguments, written: &str) -> bool {
    arguments.descriptions.is_empty() || arguments.descriptions.iter().any(|asked| asked == written)
}

fn show(
    changed: &[Changed<'_>],
    forgotten: &[String],
    old: &Config,
    new: &Config,
    out: &mut impl Write,
) -> io::Result<()> {
    for Changed { client, description, changes, is_new } in changed {
        let how = match (is_new, changes.is_empty()) {
            (true, _) => "new",
            (false, true) => "changed, but neither services nor endpoints nor addresses",
            (false, false) => "changed",
        };
        writeln!(out, "{}, {}: {how}", client.id, printable(&description.written))?;
        for change in changes {
            let rights = match change {
                Change::Added(item) => rights(new, &client.id, item).map(|to| format!(" (open to {to})")),
                Change::Removed(item) => {
                    rights(old, &client.id, item).map(|to| format!(" (was open to {to})"))
                }
                Change::Moved { .. } => None,
            };
            writeln!(out, "  {}{}", printable(&change.to_string()), rights.unwrap_or_default())?;
        }
    }
    for description in forgotten {
        writeln!(out, "{}: not in the settings any more", printable(description))?;
    }
    Ok(())
}

/// To whom a SOAP service is open.
fn rights(config: &Config, client: &ClientId, item: &Item) -> Option<String> {
    let Item::Service { code, version } = item else { return None };
    let is_it = |service: &&Service| {
        service.protocol == Protocol::Soap && service.code == *code && service.version == *version
    };
    let client = config.clients.iter().find(|known| known.id == *client)?;
    let service = client.services.iter().find(is_it)?;
    let to: Vec<_> = service.allow.iter().map(|allow| allow.to.to_string()).collect();
    Some(if to.is_empty() { "nobody".to_owned() } else { to.join(", ") })
}

/// Tells of rules that point at nothing any more.
fn warn(old: &Config, new: &Config, out: &mut impl Write) -> io::Result<()> {
    let is_known = |warning: &&Problem| old.warnings.0.contains(warning);
    for Problem { line, key, reason } in new.warnings.0.iter().filter(|warning| !is_known(warning)) {
        let line = line.map_or_else(String::new, |line| format!("line {line}: "));
        writeln!(out, "warning: {}", printable(&format!("{line}{key}: {reason}")))?;
    }
    Ok(())
}

fn name(code: &str, version: Option<&str>) -> String {
    version.map_or_else(|| code.to_owned(), |version| format!("{code}/{version}"))
}

/// A text of several lines, fit to be shown.
fn lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

fn folder(settings: &Path) -> &Path {
    settings.parent().unwrap_or_else(|| Path::new(""))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("the runtime does not start: {error}"))
}
