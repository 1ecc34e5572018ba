//! A network of more and more members, whose one provider has more and more services and rights.
//!
//! Of N members each has a subsystem. The provider has N/10 services beside the one that is asked for; a tenth of the 10 N
//! rights are at that one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use integration::demo::ecosystem::{Ecosystem, init};
use integration::demo::files::RIGHTS;
use integration::demo::layout::{CONSUMER, Layout, PROVIDER, SOAP_SERVICE};
use integration::demo::narrator::Narrator;

use super::Curves;
use crate::chain::SMALL;
use crate::goals::{Place, count, median, network};
use crate::process;

const MEMBERS: [u64; 4] = [10, 100, 1_000, 10_000];

/// Measures: each network `rounds` times, for so many seconds.
///
/// # Errors
/// In words: a program that could not be started, a request that failed.
pub async fn measure(place: &Place, rounds: usize, seconds: u64) -> Result<Curves, String> {
    let costs = [
        "CPU of an exchange, us",
        "provider's gateway from its start to ready, ms",
        "its memory at rest, MB",
        "consumer's gateway from its start to ready, ms",
        "its memory at rest, MB",
    ];
    let mut curves = Curves::of("members (services: a tenth; rights: tenfold)", &MEMBERS, &costs);
    for members in MEMBERS {
        let folder = place.directory.join(format!("network-{members}"));
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let layout = init(&place.programs, &folder, place.ports + 100, "p256", &Narrator::silent())?;
        grow(&layout, members).map_err(|error| error.to_string())?;
        let mut ecosystem = Ecosystem::start(place.programs.clone(), layout).await?;
        let provider = start(&mut ecosystem, PROVIDER.folder).await?;
        let consumer = start(&mut ecosystem, CONSUMER.folder).await?;
        let chain = network::chain(&mut ecosystem);
        let duration = Duration::from_secs(seconds);
        chain.run(&SMALL, duration).await?; // warm
        let mut cpu = Vec::new();
        for _ in 0..rounds {
            cpu.push(chain.run(&SMALL, duration).await?.cpu);
        }
        curves.add([median(&cpu), provider.0, provider.1, consumer.0, consumer.1]);
        ecosystem.alive()?;
        ecosystem.stop()?;
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    Ok(curves)
}

/// Starts a gateway anew: milliseconds until it is ready, and the memory that it then has, in MB.
async fn start(ecosystem: &mut Ecosystem, name: &str) -> Result<(f64, f64), String> {
    ecosystem.halt(name)?;
    let begin = now();
    ecosystem.launch(name)?;
    ecosystem.ready(name).await?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    // What it reads and fetches at its start is behind it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let process = ecosystem.process(name).ok_or_else(|| format!("{name} does not run"))?;
    Ok((took, count(process::pss(&[process.id()])) / 1e6))
}

/// Adds members to the authority, and services and rights to the provider.
fn grow(layout: &Layout, members: u64) -> std::io::Result<()> {
    let mut text = String::new();
    for member in 0..members {
        let _ = write!(
            text,
            "\n[[member]]\nid = \"{}\"\nname = \"Member {member}\"\nsubsystems = [{{ code = \"portal\" }}]\n",
            id(member)
        );
    }
    append(&layout.folder("authority").join("authority.toml"), &text)?;

    let file = layout.folder(PROVIDER.folder).join("gateway.toml");
    let of_service = |rights: &mut String, service: u64, number: u64| {
        for right in 0..number {
            // Not the same ones for each service.
            let to = (service * 7 + right) % members;
            let endpoint = RIGHTS.iter().cycle().nth(usize::try_from(right % 4).unwrap_or(0));
            let _ = write!(
                rights,
                "[[client.service.allow]]\nto = \"{}/portal\"\nendpoints = [\"{}\"]\n\n",
                id(to),
                endpoint.unwrap_or(&"GET /x")
            );
        }
    };
    let mut asked = String::new();
    of_service(&mut asked, 0, members);
    let before = format!("[[client.service]]\ncode = \"{SOAP_SERVICE}\"");
    let own = fs::read_to_string(&file)?;
    assert!(own.contains(&before), "{} has no {before}", file.display());
    let mut text = own.replacen(&before, &format!("{asked}{before}"), 1);
    let services = (members / 10).max(1);
    for service in 1..=services {
        let url = layout.service();
        let _ = write!(text, "\n[[client.service]]\ncode = \"more-{service}\"\nurl = \"http://{url}\"\n\n");
        of_service(&mut text, service, members * 9 / services);
    }
    process::write(&file, text.as_bytes())
}

fn append(file: &Path, more: &str) -> std::io::Result<()> {
    let text = fs::read_to_string(file)? + more;
    process::write(file, text.as_bytes())
}

fn id(member: u64) -> String {
    format!("DEMO/GOV/{}", 100_000 + member)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
fn now() -> Instant {
    Instant::now()
}
