//! The same exchange over more and more connections at once.

use std::time::Duration;

use super::Curves;
use crate::chain::{Case, SMALL};
use crate::goals::network;
use crate::goals::{Place, median};

const CONNECTIONS: [usize; 6] = [1, 8, 64, 256, 1000, 2000];

/// Measures: each number of connections `rounds` times, for so many seconds.
///
/// # Errors
/// In words: a program that could not be started, a request that failed.
pub async fn measure(place: &Place, rounds: usize, seconds: u64) -> Result<Curves, String> {
    let folder = place.directory.join("connections");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut ecosystem = network::start(&place.programs, &folder, place.ports, "p256", &[], &[]).await?;
    let chain = network::chain(&mut ecosystem);
    let duration = Duration::from_secs(seconds);
    let sizes = CONNECTIONS.map(|connections| u64::try_from(connections).unwrap_or(u64::MAX));
    let mut curves = Curves::of(
        "connections",
        &sizes,
        &["CPU of an exchange, us", "exchanges a second", "p99, ms", "memory of both gateways, MB"],
    );
    for connections in CONNECTIONS {
        let case = Case { connections, ..SMALL };
        chain.run(&case, duration).await?; // so that the gateways have as many connections with each other
        let mut figures = Vec::new();
        for _ in 0..rounds {
            figures.push(chain.run(&case, duration).await?);
        }
        let of = |what: &dyn Fn(&crate::report::Figures) -> f64| {
            median(&figures.iter().map(what).collect::<Vec<_>>())
        };
        curves.add([
            of(&|figures| figures.cpu),
            of(&|figures| figures.rate),
            of(&|figures| figures.p99 / 1e3),
            of(&|figures| figures.memory.iter().sum()),
        ]);
    }
    ecosystem.alive()?;
    ecosystem.stop()?;
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(curves)
}
