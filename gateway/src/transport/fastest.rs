//! Which of several addresses: whichever accepts a TCP connection first, and that one again for a while.
//!
//! All addresses are tried at once, in random order; the others are dropped when one has answered. The winner is
//! remembered by the set of addresses, and asked alone the next time.
//!
//! Specification: XROAD-FACTS 1.3 (provider failover), 2.12.
//!
//! Does not know who answered: that is judged on the connection, and a wrong one is forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

/// Why no address could be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// The name leads to no address.
    #[error("host {0} is not known")]
    UnknownHost(String),
    /// Nobody accepts a connection there.
    #[error("cannot connect to {host}: {reason}")]
    Refused {
        /// Where.
        host: String,
        /// The system's words.
        reason: String,
    },
    /// It takes too long.
    #[error("connecting to {0} takes too long")]
    Timeout(String),
}

/// The memory of the fastest addresses.
#[derive(Debug)]
pub(crate) struct Fastest {
    /// Hosts of a race -> the winner, and since when.
    remembered: Mutex<HashMap<String, (String, Instant)>>,
    remember_for: Duration,
}

/// How long connecting may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectTimeouts {
    /// To a remembered address, before the others are tried.
    pub(crate) remembered: Duration,
    /// To any.
    pub(crate) any: Duration,
}

impl Fastest {
    pub(crate) fn new(remember_for: Duration) -> Self {
        Self { remembered: Mutex::new(HashMap::new()), remember_for }
    }

    /// The remembered winner among these hosts.
    pub(crate) fn remembered(&self, hosts: &[String]) -> Option<String> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let race = name_of(hosts);
        let (host, since) = remembered.get(&race)?;
        if since.elapsed() < self.remember_for {
            return Some(host.clone());
        }
        remembered.remove(&race);
        None
    }

    /// Notes that an exchange with this host could begin.
    pub(crate) fn remember(&self, hosts: &[String], host: &str) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.entry(name_of(hosts)).or_insert_with(|| (host.to_owned(), Instant::now()));
    }

    /// Forgets the winner: it has failed.
    pub(crate) fn forget(&self, hosts: &[String]) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).remove(&name_of(hosts));
    }

    /// Connects to the remembered host, else to whichever of `left` is fastest. `hosts` is the whole set, the name of
    /// the race; `left` are those of it that have not failed yet.
    pub(crate) async fn connect(
        &self,
        hosts: &[String],
        left: &[String],
        port: u16,
        timeouts: ConnectTimeouts,
    ) -> Result<(String, TcpStream), ReachError> {
        if let Some(host) = self.remembered(hosts)
            && left.contains(&host)
            && left.len() > 1
        {
            match reach(&host, port, timeouts.remembered).await {
                Ok(stream) => return Ok((host, stream)),
                Err(error) => {
                    tracing::info!(%error, "the remembered address has failed, trying all");
                    self.forget(hosts);
                }
            }
        }
        race(left, port, timeouts.any).await
    }
}

/// The set of hosts as a key, whatever their order.
fn name_of(hosts: &[String]) -> String {
    let mut sorted: Vec<&str> = hosts.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.join(" ")
}

/// The first host that accepts a connection.
async fn race(hosts: &[String], port: u16, patience: Duration) -> Result<(String, TcpStream), ReachError> {
    let mut order: Vec<&String> = hosts.iter().collect();
    let random = RandomState::new();
    order.sort_by_cached_key(|host| random.hash_one(host));
    let mut runners: FuturesUnordered<_> = order
        .into_iter()
        .map(|host| async move { reach(host, port, patience).await.map(|stream| (host.clone(), stream)) })
        .collect();
    let mut failure = ReachError::UnknownHost(String::new());
    while let Some(arrived) = runners.next().await {
        match arrived {
            Ok(winner) => return Ok(winner),
            Err(error) => {
                tracing::debug!(%error, "an address failed");
                // Somebody who refuses tells more than a name that does not resolve.
                if !matches!(error, ReachError::UnknownHost(_))
                    || matches!(failure, ReachError::UnknownHost(_))
                {
                    failure = error;
                }
            }
        }
    }
    Err(failure)
}

/// Connects to one host: its addresses one after the other.
pub(crate) async fn reach(host: &str, port: u16, patience: Duration) -> Result<TcpStream, ReachError> {
    let connect = async {
        let addresses = resolve(host, port).await?;
        let mut reason = String::new();
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(ReachError::Refused { host: host.to_owned(), reason })
    };
    timeout(patience, connect).await.unwrap_or_else(|_elapsed| Err(ReachError::Timeout(host.to_owned())))
}

/// The addresses of a host; never a link-local one: nothing of ours lives there, cloud metadata does (THREATS T35).
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ReachError> {
    let unknown = || ReachError::UnknownHost(host.to_owned());
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = lookup_host((bare, port)).await.map_err(|_unknown| unknown())?;
    let addresses: Vec<SocketAddr> = found.filter(|address| !is_link_local(address)).collect();
    if addresses.is_empty() { Err(unknown()) } else { Ok(addresses) }
}

fn is_link_local(address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => v4.ip().is_link_local(),
        SocketAddr::V6(v6) => {
            v6.ip().is_unicast_link_local() || v6.ip().to_ipv4_mapped().is_some_and(|v4| v4.is_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: ConnectTimeouts =
        ConnectTimeouts { remembered: Duration::from_secs(5), any: Duration::from_secs(5) };

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A port where 127.0.0.2 listens and 127.0.0.3 does not.
    async fn world() -> (tokio::net::TcpListener, u16) {
        let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn the_address_that_answers_wins_over_one_that_is_down() {
        let (_listener, port) = world().await;
        let fastest = Fastest::new(Duration::from_secs(60));
        let all = hosts(&["127.0.0.3", "127.0.0.2"]);
        let (host, _stream) = fastest.connect(&all, &all, port, PATIENCE).await.unwrap();
        assert_eq!(host, "127.0.0.2");
    }

    #[tokio::test]
    async fn the_winner_is_remembered_whatever_the_order_and_forgotten_when_it_fails() {
        let (_listener, port) = world().await;
        let fastest = Fastest::new(Duration::from_secs(60));
        let all = hosts(&["127.0.0.3", "127.0.0.2"]);
        fastest.remember(&all, "127.0.0.3");
        assert_eq!(fastest.remembered(&hosts(&["127.0.0.2", "127.0.0.3"])).as_deref(), Some("127.0.0.3"));
        let (host, _stream) = fastest.connect(&all, &all, port, PATIENCE).await.unwrap();
        assert_eq!(host, "127.0.0.2");
        assert_eq!(fastest.remembered(&all), None);
    }

    #[test]
    fn the_winner_is_remembered_for_a_time_only() {
        let fastest = Fastest::new(Duration::ZERO);
        let all = hosts(&["a", "b"]);
        fastest.remember(&all, "a");
        assert_eq!(fastest.remembered(&all), None);
    }

    #[tokio::test]
    async fn nobody_there_and_nobody_known_are_told_apart() {
        let (listener, port) = world().await;
        drop(listener);
        let down = race(&hosts(&["127.0.0.2", "no-such-host.invalid"]), port, PATIENCE.any).await;
        assert!(matches!(down, Err(ReachError::Refused { .. })), "{down:?}");
        let unknown = race(&hosts(&["no-such-host.invalid"]), port, PATIENCE.any).await;
        assert_eq!(unknown.unwrap_err(), ReachError::UnknownHost("no-such-host.invalid".to_owned()));
    }

    #[tokio::test]
    async fn link_local_addresses_are_never_called() {
        let refused = reach("169.254.169.254", 80, PATIENCE.any).await;
        assert!(matches!(refused, Err(ReachError::UnknownHost(_))), "{refused:?}");
    }
}
