//! Places at a door when more come than it has: whoever waits with most places gives way to whoever has fewer.
//!
//! ```text
//! newcomer ──► a place free? ── yes ─► taken
//!                └ no ─► the address with most: has its place that waits longest waited long enough? ── yes ─► its holder goes
//!                          └ no ─► the next one, and last of all the newcomer's own; nobody: the newcomer waits
//! ```
//! Long enough is [`PATIENCE`], and the less, the more the address has beyond the newcomer's: so a flood from some addresses
//! crowds out itself and not others. Only as many addresses as there are places keep others out, and each of them has to
//! begin anew every second.
//!
//! Two kinds of places: those of connections, which wait while no request is under way, and those of handshakes, which do
//! all the time.
//!
//! Specification: THREATS T21, T37.
//!
//! Knows addresses and times, no bytes.

use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::head::Heads;

/// An honest handshake, and the first head of a connection, take less.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks whether somebody has waited for long enough.
const LOOK: Duration = Duration::from_millis(50);

/// What is counted together: whoever has an IPv6 address has the 64 bits behind it too.
pub(super) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// The places of one kind that a door has.
pub(super) struct Places {
    most: usize,
    patience: Duration,
    taken: Mutex<Taken>,
    freed: Notify,
    /// Held by the one who looks for a place; the others stand in line behind.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    by_address: HashMap<IpAddr, Vec<Arc<Holder>>>,
}

struct Holder {
    since: Instant,
    heads: OnceLock<Arc<Heads>>,
    leave: Notify,
}

/// A place that is taken; free when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    holder: Arc<Holder>,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Self::with(most, PATIENCE)
    }

    fn with(most: usize, patience: Duration) -> Arc<Self> {
        let turn = tokio::sync::Mutex::default();
        Arc::new(Self { most, patience, taken: Mutex::default(), freed: Notify::new(), turn })
    }

    /// A place for somebody from this address, once there is one.
    pub(super) async fn take(self: &Arc<Self>, address: IpAddr) -> Place {
        let address = counted_as(address);
        // Not at the end of the line: a flood that stands there must not be in the way of who has less than it.
        if let Some(place) = self.find(address) {
            return place;
        }
        let _turn = self.turn.lock().await;
        loop {
            if let Some(place) = self.find(address) {
                return place;
            }
            // One that was freed before only makes us look once more.
            let _ = timeout(LOOK, self.freed.notified()).await;
        }
    }

    fn find(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut taken = self.lock();
        if taken.count >= self.most && !taken.makes_way(address, self.patience) {
            return None;
        }
        let holder = Arc::new(Holder { since: Instant::now(), heads: OnceLock::new(), leave: Notify::new() });
        taken.by_address.entry(address).or_default().push(Arc::clone(&holder));
        taken.count = taken.count.saturating_add(1);
        Some(Place { places: Arc::clone(self), address, holder })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of(&self, address: IpAddr) -> &[Arc<Holder>] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Takes a place from whoever has more than this address, or from itself; whether there was one to take.
    fn makes_way(&mut self, newcomer: IpAddr, patience: Duration) -> bool {
        let own = self.of(newcomer).len();
        let mut most: BinaryHeap<_> = self
            .by_address
            .iter()
            .map(|(address, holders)| (holders.len(), *address))
            .filter(|(theirs, address)| *theirs > own || *address == newcomer)
            .collect();
        while let Some((theirs, address)) = most.pop() {
            let longest = self.of(address).iter().filter_map(|one| Some((one.waits_since()?, one)));
            let Some((since, holder)) = longest.min_by_key(|(since, _)| *since) else { continue };
            let share = |places: usize| u32::try_from(places).unwrap_or(u32::MAX);
            let enough = patience.saturating_mul(share(own).saturating_add(1)) / share(theirs).max(1);
            if since.elapsed() >= enough && holder.is_dismissed() {
                let holder = Arc::clone(holder);
                self.remove(address, &holder);
                holder.leave.notify_one();
                return true;
            }
        }
        false
    }

    /// Once: whoever gave way has no place any more when it is dropped.
    fn remove(&mut self, address: IpAddr, holder: &Arc<Holder>) {
        let Some(holders) = self.by_address.get_mut(&address) else { return };
        let Some(at) = holders.iter().position(|one| Arc::ptr_eq(one, holder)) else { return };
        holders.swap_remove(at);
        if holders.is_empty() {
            self.by_address.remove(&address);
        }
        self.count = self.count.saturating_sub(1);
    }
}

impl Holder {
    fn waits_since(&self) -> Option<Instant> {
        self.heads.get().map_or(Some(self.since), |heads| heads.waits_since())
    }

    /// Nothing is served from now on; whether nothing was.
    fn is_dismissed(&self) -> bool {
        self.heads.get().is_none_or(|heads| heads.dismiss())
    }
}

impl Place {
    /// From now on the heads say whether its holder waits.
    pub(super) fn reads(&self, heads: &Arc<Heads>) {
        let taken = self.places.lock();
        let _ = self.holder.heads.set(Arc::clone(heads));
        if !taken.of(self.address).iter().any(|one| Arc::ptr_eq(one, &self.holder)) {
            heads.dismiss();
        }
    }

    /// Completes when another has got the place; no request is under way then, and none is read any more.
    pub(super) async fn given_up(&self) {
        self.holder.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.address, &self.holder);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::DoorLimits;

    /// So that the tests do not last long.
    const SHORT: Duration = Duration::from_millis(400);
    /// For what must not take for ever.
    const LONG: Duration = Duration::from_secs(20);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    async fn taken(all: &Arc<Places>, of: u8, count: usize) -> Vec<Place> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(all.take(address(of)).await);
        }
        taken
    }

    /// How many of these have given way since they were asked last.
    async fn gone(places: &[Place]) -> usize {
        let mut gone = 0;
        for place in places {
            gone += usize::from(timeout(Duration::ZERO, place.given_up()).await.is_ok());
        }
        gone
    }

    fn places(most: usize) -> Arc<Places> {
        Places::with(most, SHORT)
    }

    fn nothing_is_left(all: &Places) {
        let taken = all.lock();
        assert_eq!((taken.count, taken.by_address.len()), (0, 0));
    }

    #[tokio::test]
    async fn whoever_has_most_gives_way_and_its_oldest_first() {
        let all = places(5);
        let (greedy, modest) = (taken(&all, 1, 4).await, taken(&all, 2, 1).await);
        let begun = Instant::now();
        let newcomer = taken(&all, 3, 1).await;
        assert!(begun.elapsed() >= SHORT / 4, "four times as many, a quarter of the time");
        assert_eq!((gone(&greedy[..1]).await, gone(&greedy[1..]).await), (1, 0));
        assert_eq!((gone(&modest).await, gone(&newcomer).await), (0, 0));
        drop((greedy, modest, newcomer));
        nothing_is_left(&all);
    }

    #[tokio::test]
    async fn among_equals_a_place_is_kept_for_longer_than_an_honest_handshake_takes() {
        let all = places(8);
        let mut crowd = Vec::new();
        for of in 1..=8 {
            crowd.extend(taken(&all, of, 1).await);
        }
        let begun = Instant::now();
        let honest = taken(&all, 9, 1).await;
        assert!(begun.elapsed() >= SHORT);
        assert_eq!((gone(&crowd).await, gone(&honest).await), (1, 0));
        // Of one address alone, too.
        let (all, begun) = (places(4), Instant::now());
        let (alone, next) = (taken(&all, 1, 4).await, taken(&all, 1, 1).await);
        assert!(begun.elapsed() >= SHORT && gone(&alone).await == 1 && gone(&next).await == 0);
    }

    #[tokio::test]
    async fn a_flood_that_stands_in_line_is_in_nobodys_way() {
        let all = places(8);
        let mut flood = tokio::task::JoinSet::new();
        for number in 0..200 {
            let all = Arc::clone(&all);
            flood.spawn(async move {
                loop {
                    let place = all.take(address(number % 4)).await;
                    place.given_up().await;
                }
            });
        }
        // Behind all that stand in line it would be ten seconds for each.
        let begun = Instant::now();
        for _ in 0..10 {
            tokio::time::sleep(SHORT).await;
            let honest = taken(&all, 9, 1).await;
            assert_eq!(gone(&honest).await, 0);
            assert!(all.lock().count <= 8);
        }
        assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
        flood.shutdown().await;
        nothing_is_left(&all);
    }

    #[tokio::test]
    async fn whoever_has_a_request_under_way_stays_and_serves_nothing_once_dismissed() {
        let all = places(1);
        let busy = taken(&all, 1, 1).await;
        let heads = Arc::new(Heads::new(&DoorLimits::default()));
        busy[0].reads(&heads);
        assert!(heads.observe(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
        let answering = heads.answering();
        let (parts, ()) = http::Request::get("/").header("Host", "h").body(()).unwrap().into_parts();
        heads.take(&parts).unwrap();
        let waiting = timeout(SHORT * 3, all.take(address(2))).await;
        assert!(waiting.is_err() && gone(&busy).await == 0);
        drop(answering);
        let begun = Instant::now();
        let newcomer = all.take(address(2)).await;
        assert!(begun.elapsed() >= SHORT, "it waits since its answer");
        assert_eq!(gone(&busy).await, 1);
        assert!(
            !heads.observe(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            "a request that comes too late is not read"
        );
        drop((newcomer, busy));
        nothing_is_left(&all);
    }

    #[tokio::test]
    async fn a_place_that_falls_free_goes_to_who_waits_and_who_gave_up_waiting_takes_none() {
        let all = Places::with(1, LONG);
        let held = taken(&all, 1, 1).await;
        let waits = |of: u8| {
            let all = Arc::clone(&all);
            tokio::spawn(async move { all.take(address(of)).await })
        };
        let (leaves, stays) = (waits(2), waits(3));
        tokio::task::yield_now().await;
        leaves.abort();
        let _ = leaves.await;
        drop(held);
        let place = timeout(LONG, stays).await.unwrap().unwrap();
        assert_eq!(all.lock().count, 1);
        drop(place);
        nothing_is_left(&all);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let counted = |text: &str| counted_as(text.parse().unwrap());
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_eq!(counted("::ffff:192.0.2.1"), address(1));
    }
}
