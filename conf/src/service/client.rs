//! The commands of the client. Each gives the text to print, or why it failed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cert_authority::clock::{Clock, SystemClock};

use super::authority::Failure;
use crate::client::plan::{Answer, Next, Plan};
use crate::client::{
    Client, Event, Outcome, Settings, VerifiedSet, read_anchor, verify_address, verify_folder,
};

/// Fetches the configuration once and keeps it in a folder.
///
/// # Errors
/// When no source has a configuration that can be used; what each had is told.
pub async fn fetch(
    anchor: PathBuf,
    directory: PathBuf,
    accept_older: bool,
    federated: Vec<String>,
) -> Result<String, Failure> {
    let settings = Settings { accept_older, federated, ..Settings::new(anchor, directory) };
    let mut client = Client::open(settings, Arc::new(SystemClock))?;
    let (events, _) = client.round().await;
    let text: String = events.iter().filter_map(line_of).collect();
    let conf = client.handle().snapshot(SystemClock.now());
    let own = conf.as_ref().map(|conf| conf.own_instance().to_owned()).unwrap_or_default();
    let reached = |event: &Event| {
        event.instance == own && matches!(event.outcome, Outcome::Taken { .. } | Outcome::Unchanged)
    };
    if events.iter().any(reached) {
        Ok(text)
    } else {
        let reason = conf.err().map(|error| format!("{error}\n")).unwrap_or_default();
        Err(format!("{text}{reason}No configuration was taken.").into())
    }
}

fn line_of(event: &Event) -> Option<String> {
    let Event { instance, url, outcome } = event;
    Some(match outcome {
        Outcome::Taken { expires, version } => {
            format!("{instance}: version {} taken from {url}, valid until {expires}\n", version.number())
        }
        Outcome::Unchanged => format!("{instance}: {url} has nothing new\n"),
        Outcome::Older { kept, found } => format!(
            "{instance}: {url} has an older configuration (expires {found}, ours {kept}), ignored; \
             --accept-older takes it\n"
        ),
        Outcome::Failed(error) => format!("{instance}: {url}: {error}\n"),
        Outcome::NoSuchVersion => return None,
    })
}

/// Verifies what lies in a folder.
///
/// # Errors
/// What is wrong with it.
pub fn verify_folder_command(anchor: &Path, directory: &Path) -> Result<String, Failure> {
    let set = verify_folder(anchor, directory, SystemClock.now())?;
    Ok(describe(&directory.display().to_string(), &set))
}

/// Verifies what addresses have, or those of the anchor where none is given.
///
/// # Errors
/// What is wrong with any of them.
pub async fn verify_addresses(anchor: &Path, urls: &[String]) -> Result<String, Failure> {
    let anchor = read_anchor(anchor)?;
    let of_anchor: Vec<_> = anchor.sources.iter().map(|source| source.url.clone()).collect();
    let urls = if urls.is_empty() { &of_anchor } else { urls };
    let (mut text, mut faulty) = (String::new(), false);
    for url in urls {
        // A plan of its own for each address: all are to be verified, not the first that will do.
        let mut plan = Plan::new(vec![url.clone()], std::time::Duration::MAX);
        let now = SystemClock.now();
        while let Next::Ask(question) = plan.next(now) {
            let answer = match verify_address(&anchor, &question.url, now).await {
                Ok(Some(set)) => {
                    text.push_str(&describe(&question.url, &set));
                    Answer::Taken
                }
                Ok(None) => Answer::NoSuchVersion,
                Err(error) => {
                    faulty = true;
                    writeln!(text, "{}: {error}", question.url)?;
                    Answer::Failed
                }
            };
            plan.answer(answer, now);
        }
        if !text.contains(url.as_str()) {
            faulty = true;
            writeln!(text, "{url}: has no version that is known here")?;
        }
    }
    if faulty { Err(text.into()) } else { Ok(text) }
}

fn describe(place: &str, set: &VerifiedSet) -> String {
    let (expires, version) = set.age();
    let instance = set.directory().instance();
    let mut text =
        format!("{place}: valid; instance {instance}, version {}, until {expires}\n", version.number());
    for part in set.instance_parts().parts {
        text.push_str(&format!("  {}  {} bytes\n", part.file_name(), part.bytes().len()));
    }
    text
}
