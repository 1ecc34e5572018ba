//! A flood at the door for QUIC: datagrams that are none, and handshakes that go no further. In a process of its own, because
//! its memory is measured.

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use integration::attacks::memory;
    use integration::world::{RECORDS, Stranger, Wishes, World, initials};
    use tokio::net::UdpSocket;
    use tokio::time::Instant;

    const HANDSHAKES: usize = 1000;
    const GARBAGE: u32 = 20_000;
    /// What the process may grow by from the first wave to the last, in MiB: its own sockets and greetings among it.
    const ALLOWED: u64 = 32;

    async fn garbage(to: SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for n in 0..GARBAGE {
            let mut datagram = vec![u8::try_from(n % 251).unwrap(); usize::try_from(n % 1500).unwrap()];
            if let [first, ..] = datagram.as_mut_slice() {
                *first = u8::try_from(n % 256).unwrap();
            }
            let _ = socket.send_to(&datagram, to).await;
        }
    }

    /// Each handshake from an address of its own.
    async fn half_handshakes(greetings: &[Vec<u8>], to: SocketAddr) -> Vec<(UdpSocket, usize)> {
        let mut sockets = Vec::new();
        for (n, greeting) in (0_u32..).zip(greetings) {
            let [_, _, y, z] = n.to_be_bytes();
            let socket = UdpSocket::bind(SocketAddr::from(([127, 9, y, z.max(1)], 0))).await.unwrap();
            let sent = socket.send_to(greeting, to).await.unwrap();
            sockets.push((socket, sent));
        }
        sockets
    }

    #[tokio::test]
    async fn a_flood_of_garbage_and_of_half_handshakes_keeps_nobody_out_and_takes_little_memory() {
        let quic = "[quic]\nlisten = \"{host}:5500\"\n\n[administration]\n".to_owned();
        let provider = vec![("[administration]\n", quic)];
        let world = World::wish(Wishes { provider, ..Wishes::default() }).await;
        let to = (world.provider.host, 5500).into();
        let mut memories = Vec::new();
        for wave in 0..4 {
            let greetings = initials(&world.rogue, HANDSHAKES).await;
            garbage(to).await;
            let sockets = half_handshakes(&greetings, to).await;
            // Who comes now: the flood has proven none of its addresses, so this one must.
            let began = Instant::now();
            let line = Stranger::with(&world.rogue.auth).connect(&world.rogue, to).await.unwrap();
            let (target, id) = (format!("{RECORDS}/x"), format!("wave-{wave}"));
            let message = world.rogue.request(&world.trust, "GET", &target, &id, None).await;
            assert!(line.send(&message).await.unwrap().is_signed());
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            // Until those that were begun are given up.
            tokio::time::sleep(Duration::from_secs(6)).await;
            let (mut most, mut all, mut sent) = (0, 0, 0);
            let mut datagram = vec![0; 65_536];
            for (socket, greeted) in &sockets {
                let mut came = 0;
                while let Ok(length) = socket.try_recv(&mut datagram) {
                    came += length;
                }
                // quinn lets the datagram pass that exceeds three times what came (RFC 9000 8.1), and none behind it.
                assert!(came < 4 * greeted, "{came} for {greeted}");
                (most, all, sent) = (most.max(came), all + came, sent + greeted);
            }
            memories.push(memory());
            println!("{sent} bytes sent, {all} came back, {most} to one; memory {memories:?} MiB");
            // After the first 32 nothing comes back but a Retry.
            assert!(most > 0 && all < sent / 2, "{all} for {sent}");
        }
        let (first, last) = (memories[0], memories[3]);
        assert!(last < first + ALLOWED, "{memories:?}");
    }
}
