//! The connection between two gateways breaks at every place where it can: at the ends of TLS records and a byte beside
//! them, and at random, in both directions. Nothing is lost, nothing is doubled, nothing is left open.
//!
//! ```text
//! Ask ──► consumer ──► proxy: so many bytes, then RST to both ──► provider ──► service
//! ```
//! `PASSERELLE_RESETS` raises the number of random places; the seed is printed.
//!
//! Specification: THREATS F10.

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use gateway::messagelog::reader::Reader;
    use integration::world::{Ask, RECORDS, Wishes, World, kinds, over_tcp, soon};
    use rustix::net::sockopt::set_socket_linger;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    const RANDOM: usize = 60;
    const SEED: u64 = 0x5eed_0010;
    /// More than fits into one TLS record.
    const LARGE: usize = 40_000;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Way {
        There,
        Back,
    }

    /// What goes through, both ways, and where it is to break.
    #[derive(Default)]
    struct Plan {
        cut: Option<(Way, usize)>,
        /// Where TLS records have ended, of the last connection that began.
        ends: [Vec<usize>; 2],
    }

    struct Proxy {
        plan: Arc<Mutex<Plan>>,
        close: watch::Sender<u64>,
        carried: Arc<()>,
    }

    impl Proxy {
        async fn start(door: SocketAddr, behind: SocketAddr) -> Self {
            let listener = TcpListener::bind(door).await.unwrap();
            let (plan, (close, closed)) = (Arc::<Mutex<Plan>>::default(), watch::channel(0));
            let (shared, carried) = (Arc::clone(&plan), Arc::new(()));
            let counted = Arc::clone(&carried);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let other = TcpStream::connect(behind).await.unwrap();
                    let (shared, closed, counted) =
                        (Arc::clone(&shared), closed.clone(), Arc::clone(&counted));
                    tokio::spawn(async move {
                        carry(stream, other, shared, closed).await;
                        drop(counted);
                    });
                }
            });
            Self { plan, close, carried }
        }

        fn cut(&self, cut: Option<(Way, usize)>) {
            self.plan.lock().unwrap().cut = cut;
        }

        /// Closes all connections well, and waits until both gateways have: the next exchange makes a new one.
        async fn close(&self) {
            self.close.send_modify(|number| *number += 1);
            // One belongs to this, one to whoever accepts.
            soon("connections are closed", || Arc::strong_count(&self.carried) == 2).await;
        }

        fn ends(&self) -> [Vec<usize>; 2] {
            self.plan.lock().unwrap().ends.clone()
        }
    }

    async fn carry(
        mut near: TcpStream,
        mut far: TcpStream,
        plan: Arc<Mutex<Plan>>,
        mut closed: watch::Receiver<u64>,
    ) {
        plan.lock().unwrap().ends = Default::default();
        closed.mark_unchanged();
        let broken = {
            let ((from_near, to_near), (from_far, to_far)) = (near.split(), far.split());
            tokio::select! {
                broken = pump(from_near, to_far, Way::There, &plan) => broken,
                broken = pump(from_far, to_near, Way::Back, &plan) => broken,
                _ = closed.changed() => false,
            }
        };
        for stream in [&mut near, &mut far] {
            if broken {
                set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
            } else {
                // Whoever would take it for open still, and send over it, would be right to call that a break.
                let _ = stream.shutdown().await;
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            }
        }
    }

    /// Whether it was broken on purpose.
    async fn pump(
        mut from: tokio::net::tcp::ReadHalf<'_>,
        mut to: tokio::net::tcp::WriteHalf<'_>,
        way: Way,
        plan: &Mutex<Plan>,
    ) -> bool {
        let (mut done, mut records, mut piece) = (0, Records::default(), vec![0; 16_384]);
        loop {
            let read = from.read(&mut piece).await.unwrap_or(0);
            let allowed = {
                let mut plan = plan.lock().unwrap();
                plan.ends[usize::from(way == Way::Back)].extend(records.ends(&piece[..read]));
                plan.cut.filter(|(cut, _)| *cut == way).map_or(read, |(_, at)| read.min(at - done))
            };
            if read == 0 || to.write_all(&piece[..allowed]).await.is_err() {
                return false;
            }
            done += allowed;
            if plan.lock().unwrap().cut == Some((way, done)) {
                return true;
            }
        }
    }

    /// Finds the ends of TLS records: five bytes of head, of which the last two are the length.
    #[derive(Default)]
    struct Records {
        head: Vec<u8>,
        left: usize,
        at: usize,
    }

    impl Records {
        fn ends(&mut self, bytes: &[u8]) -> Vec<usize> {
            let mut ends = Vec::new();
            for byte in bytes {
                self.at += 1;
                if self.left == 0 {
                    self.head.push(*byte);
                    if let [_, _, _, high, low] = self.head[..] {
                        self.left = usize::from(u16::from_be_bytes([high, low]));
                        self.head.clear();
                    }
                } else {
                    self.left -= 1;
                    if self.left == 0 {
                        ends.push(self.at);
                    }
                }
            }
            ends
        }
    }

    /// xorshift: the same places for the same seed.
    fn random(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state >> 16).unwrap()
    }

    fn wanted() -> usize {
        let more = std::env::var_os("PASSERELLE_RESETS").and_then(|text| text.to_str()?.parse().ok());
        more.unwrap_or(RANDOM).max(RANDOM)
    }

    /// Open files, and of them those that have no name any more.
    fn files() -> (usize, usize) {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let names: Vec<_> = links.filter_map(|link| std::fs::read_link(link.path()).ok()).collect();
        let unnamed = names.iter().filter(|name| name.to_string_lossy().ends_with("(deleted)"));
        (names.len(), unnamed.count())
    }

    async fn ask(world: &World, id: &str, length: usize) -> bool {
        let ask = Ask::post(&format!("{RECORDS}/reset"), vec![b'x'; length]).id(id);
        let reply = world.ask(&ask).await;
        let good = (reply.status, reply.error()) == (200, None);
        assert!(good || reply.error().is_some_and(|code| code.starts_with("server.")), "{id}: {reply:?}");
        good
    }

    /// What each side's log says of an exchange; whether its request was logged by whoever sent it, and by whoever got it.
    fn judge(logs: &[Reader; 2], id: &str, good: bool) -> (bool, bool) {
        let [here, there] = logs.each_ref().map(|log| kinds(&log.by_message_id(id).unwrap()));
        let count = |trace: &[String], kind: &str| trace.iter().filter(|one| *one == kind).count();
        let requests = (count(&here, "request"), count(&there, "request"));
        let responses = (count(&here, "response"), count(&there, "response"));
        assert!(requests.1 <= requests.0 && requests.0 <= 1, "{id}: before it leaves: {here:?}, {there:?}");
        assert!(responses.0 <= responses.1 && responses.1 <= requests.1, "{id}: {here:?}, {there:?}");
        assert_eq!(responses.0, usize::from(good), "{id}: {here:?}, {there:?}");
        (requests.0 == 1, requests.1 == 1)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_exchange_that_breaks_anywhere_is_whole_or_refused_and_leaves_nothing_behind() {
        let behind = vec![(":5500\"", ":5511\"".to_owned()), over_tcp()];
        let world = World::wish(Wishes { consumer: vec![over_tcp()], provider: behind }).await;
        let host = world.provider.host;
        let proxy = Proxy::start((host, 5500).into(), (host, 5511).into()).await;

        // The first handshake is a full one, the next ones are resumed.
        let mut places = Vec::new();
        for (round, length) in [(0, 100), (1, 100), (2, LARGE)] {
            assert!(ask(&world, &format!("whole-{round}"), length).await);
            places.push((length, proxy.ends()));
            proxy.close().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = files();
        let (mut trials, mut seed) = (Vec::new(), SEED);
        for (length, ends) in places {
            for (way, ends) in [Way::There, Way::Back].into_iter().zip(ends) {
                assert!(ends.len() > 2, "{way:?}: {ends:?}");
                for end in &ends {
                    trials.extend([end - 1, *end, end + 1].map(|at| (length, way, at)));
                }
                let all = *ends.last().unwrap();
                trials.extend((0..wanted() / 6).map(|_| (length, way, 1 + random(&mut seed) % all)));
            }
        }
        let (mut outcomes, mut at_ends, calls) = (Vec::new(), 0, world.service.calls());
        for (number, (length, way, at)) in trials.iter().enumerate() {
            // So that there is a ticket again.
            assert!(ask(&world, &format!("between-{number}"), 100).await);
            proxy.close().await;
            let id = format!("reset-{number}-{way:?}-{at}");
            proxy.cut(Some((*way, *at)));
            let good = ask(&world, &id, *length).await;
            proxy.cut(None);
            proxy.close().await;
            let [there, back] = proxy.ends();
            let ends = if *way == Way::There { there } else { back };
            at_ends += usize::from(ends.iter().any(|end| end.abs_diff(*at) <= 1));
            outcomes.push((id, good));
        }
        let resets = trials.len();
        soon("nothing is left open", || {
            let now = files();
            now.0 <= before.0 && now.1 <= before.1
        })
        .await;

        let logs = [world.consumer.log(), world.provider.log()];
        let judged: Vec<_> = outcomes.iter().map(|(id, good)| judge(&logs, id, *good)).collect();
        let (sent, got): (Vec<_>, Vec<_>) = judged.into_iter().unzip();
        let [sent, got] = [sent, got].map(|those| those.into_iter().filter(|one| *one).count());
        let good: Vec<_> = outcomes.iter().filter(|(_, good)| *good).map(|(id, _)| id).collect();
        for id in &good {
            world.consumer.verifies(id);
            world.provider.verifies(id);
        }
        let good = good.len();
        println!(
            "seed {SEED:#x}: {resets} resets, {at_ends} of them at the end of a TLS record or a byte beside it; requests logged by \
             who sends {sent}, by who gets them {got}; {good} answered all the same"
        );
        assert!(resets >= wanted() && at_ends >= 30, "{at_ends} of {resets}");
        assert!(good < got && got < sent && sent < resets, "each kind of break has been met");
        assert_eq!(world.service.calls() - calls, u64::try_from(got + resets).unwrap(), "once each");
    }
}
