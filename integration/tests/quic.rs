//! QUIC between two gateways: the same exchanges and the same evidence as over TCP, the same refusals, and TCP where QUIC
//! does not pass; nothing is lost, nothing is done twice.
//!
//! ```text
//! Ask ──► consumer ══ QUIC ══► Relay (a test's hand on the datagrams) ══► provider ──► service
//!             └────── TCP ──────────────────────────────────────────────────┘
//! ```

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use cert_authority::x509::issue::Profile;
    use conf::identifier::ServerId;
    use gateway::message::transport::part;
    use gateway::transport::quic::{OFFER, PROTOCOL};
    use integration::world::{
        Ask, FAKE, Manner, Mode, OcspMode, QuicLine, RECORDS, Relay, Stranger, Wishes, World, echo, initials,
        member, over_tcp, soon, within,
    };
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UdpSocket;
    use tokio::time::Instant;

    const NETWORK_ERROR: &str = "server.clientproxy.io_error";
    const UNTRUSTED_PEER: &str = "server.serverproxy.service_failed.ssl_authentication_failed";
    const UNTRUSTED_PROVIDER: &str = "server.clientproxy.ssl_authentication_failed";

    /// Where the relay takes datagrams for the provider.
    const RELAY: u16 = 5600;

    /// A gateway that speaks QUIC, with more settings of it.
    fn speaking(more: &str) -> Vec<(&'static str, String)> {
        let quic = format!("[quic]\nlisten = \"{{host}}:5500\"\n{more}\n[administration]\n");
        vec![("[administration]\n", quic), ("revocations = \"off\"", "revocations = \"200 ms\"".to_owned())]
    }

    /// Exchanges wait for QUIC for as long as it takes.
    const PATIENT: &str = "wait = \"10 s\"\n";

    async fn world(consumer: &str, provider: &str) -> World {
        World::wish(Wishes { consumer: speaking(consumer), provider: speaking(provider) }).await
    }

    fn quic(world: &World) -> SocketAddr {
        (world.provider.host, 5500).into()
    }

    /// Puts a relay before the provider's QUIC, and tells everybody of it.
    async fn relayed(world: &World) -> Relay {
        let relay = Relay::start((world.provider.host, RELAY).into(), quic(world)).await;
        world.network.speaks_quic(ServerId::new(member("2002"), "ss2").unwrap(), RELAY);
        world.publish(|_| {}).await;
        relay
    }

    /// Has everybody told that the rogue peer speaks QUIC.
    async fn announced(world: &World) {
        world.network.speaks_quic(ServerId::new(member("3003"), "ss3").unwrap(), 5500);
        world.publish(|_| {}).await;
    }

    async fn line(world: &World) -> QuicLine {
        Stranger::with(&world.rogue.auth).connect(&world.rogue, quic(world)).await.unwrap()
    }

    async fn good(world: &World, id: &str) {
        let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "body").id(id)).await;
        assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());
        for node in [&world.consumer, &world.provider] {
            assert_eq!(node.trace(id), ["request", "response"]);
            node.verifies(id);
        }
    }

    #[tokio::test]
    async fn an_exchange_is_the_same_byte_for_byte_and_so_is_its_evidence() {
        let world = world(PATIENT, "").await;
        let body: Vec<u8> = (0..300_000_u32).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect();
        let cases = [("GET", None), ("DELETE", None), ("POST", Some(&body)), ("PUT", Some(&body))];
        let mut over = Vec::new();
        for way in ["tcp", "quic"] {
            let relay = if way == "quic" { Some(relayed(&world).await) } else { None };
            let mut seen = Vec::new();
            for (verb, body) in cases {
                let id = format!("{way}-{verb}");
                let mut ask = Ask::with(verb, &format!("{RECORDS}/people/7?name=a%20b")).id(&id);
                if let Some(body) = body {
                    ask = ask.body(body.clone());
                }
                let reply = world.ask(&ask).await;
                assert_eq!((reply.status, reply.error()), (200, None), "{id}: {}", reply.text());
                let mut evidence = Vec::new();
                for node in [&world.consumer, &world.provider] {
                    assert_eq!(node.trace(&id), ["request", "response"], "{id}");
                    node.verifies(&id);
                    for stored in node.records(&id) {
                        let message = stored.record.message().unwrap();
                        assert!(message.signature.starts_with(b"<?xml"));
                        let more = &message.circumstances;
                        let more = (more.tls_group.clone(), more.tls_suite.clone());
                        assert!(more.0.is_some() && more.1.is_some(), "{id}: {more:?}");
                        let parts: Vec<_> = message.parts.iter().map(|part| part.length).collect();
                        evidence.push((more, message.peer_server.clone(), message.role, parts));
                    }
                }
                let headers: Vec<_> = reply.message.headers.iter().map(|(name, _)| name.clone()).collect();
                let called = world.service.last();
                let names: Vec<_> = called.headers.iter().map(|(name, _)| name.clone()).collect();
                seen.push((
                    reply.message.first.clone(),
                    headers,
                    reply.text(),
                    called.first,
                    names,
                    called.body,
                    evidence,
                ));
            }
            if let Some(relay) = relay {
                let (there, back) = relay.carried();
                // Two bodies went and came.
                assert!(there > 600_000 && back > 600_000, "{there} {back}");
            }
            over.push(seen);
        }
        let [tcp, quic] = over.try_into().unwrap();
        // The name of an exchange stands in its message part, and is one byte longer.
        for (tcp, quic) in tcp.into_iter().zip(quic) {
            assert_eq!(
                (tcp.0, tcp.1, tcp.2, tcp.3, tcp.4, tcp.5),
                (quic.0, quic.1, quic.2, quic.3, quic.4, quic.5)
            );
            for (tcp, quic) in tcp.6.into_iter().zip(quic.6) {
                assert_eq!((tcp.0, tcp.1, tcp.2, tcp.3.len()), (quic.0, quic.1, quic.2, quic.3.len()));
                assert!(
                    tcp.3.iter().zip(&quic.3).all(|(tcp, quic)| quic - tcp <= 1),
                    "{:?} {:?}",
                    tcp.3,
                    quic.3
                );
            }
        }
    }

    #[tokio::test]
    async fn what_goes_to_a_peer_is_the_same_over_both_ways_and_an_answer_tells_of_the_other() {
        let world = world(PATIENT, "").await;
        let streams = world.rogue.speak_quic(&world.rogue.auth, Manner::Answers);
        world.rogue.plan(|plan| {
            plan.envelope = std::sync::Arc::new(|envelope| {
                envelope.headers.push((OFFER.to_owned(), "5500".to_owned()));
            });
        });
        let mut seen = Vec::new();
        for (n, expected) in [0, 1, 2].into_iter().enumerate() {
            let reply = world.ask(&Ask::post(FAKE, "a question").id("same")).await;
            assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());
            assert_eq!(streams.load(Ordering::SeqCst), expected, "exchange {n}");
            let message = world.rogue.last();
            let names: Vec<_> = message.headers.iter().map(|(name, _)| name.clone()).collect();
            let text = String::from_utf8_lossy(&message.body).into_owned();
            let request = text.split("X-Road-Client").next().unwrap().lines().last().map(str::to_owned);
            seen.push((message.first, names, request, text.matches("--xtop").count()));
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[1], seen[2]);
        assert_eq!(world.rogue.calls(), 3);
        assert_eq!(world.consumer.trace("same").len(), 6);
    }

    #[tokio::test]
    async fn a_gateway_tells_that_it_speaks_quic_only_when_it_does() {
        for (wishes, expected) in [(speaking(""), Some("5500")), (vec![over_tcp()], None)] {
            let world = World::wish(Wishes { consumer: vec![over_tcp()], provider: wishes }).await;
            let message = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "1", None).await;
            let reply = world.rogue.send(&world.provider.peers(), &message).await.unwrap();
            assert!(reply.is_signed());
            assert_eq!(reply.0.header(OFFER), expected);
            if expected.is_none() {
                // One that does not speak it does not use it either.
                relayed(&world).await;
                good(&world, "off").await;
                let stranger = Stranger::with(&world.rogue.auth);
                let nobody = stranger.connect(&world.rogue, quic(&world));
                assert!(tokio::time::timeout(Duration::from_secs(1), nobody).await.is_err());
            }
        }
    }

    #[tokio::test]
    async fn strangers_are_refused_in_the_handshake_and_early_data_is_not_taken() {
        let world = world("", "").await;
        let usual = Stranger::with(&world.rogue.auth);
        let unregistered = world.trust.ca.issue(Profile::Auth, "C=DEMO, CN=ss3").await;
        let foreign = world.trust.other.issue(Profile::Auth, "C=DEMO, CN=ss3").await;
        let mut stolen = world.rogue.auth.clone();
        stolen.key = unregistered.key.clone();
        for (what, stranger) in [
            ("no certificate", Stranger { holder: None, ..usual.clone() }),
            ("one that is not registered", Stranger::with(&unregistered)),
            ("one of another authority", Stranger::with(&foreign)),
            ("a registered one without its key", Stranger::with(&stolen)),
            ("no protocol", Stranger { protocols: Vec::new(), ..usual.clone() }),
            ("HTTP/3", Stranger { protocols: vec![b"h3".to_vec()], ..usual.clone() }),
        ] {
            let refused = stranger.connect(&world.rogue, quic(&world)).await;
            assert!(refused.is_err(), "{what}");
        }
        assert_eq!(world.service.connections(), 0);
        // A ticket for the next time says nothing of early data.
        let early = Stranger { early: true, protocols: vec![PROTOCOL.to_vec()], ..usual };
        let endpoint = early.endpoint(&world.rogue);
        let name = world.provider.host.to_string();
        let first = within("a handshake", endpoint.connect(quic(&world), &name).unwrap()).await.unwrap();
        let message = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "1", None).await;
        let (mut sending, mut receiving) = first.open_bi().await.unwrap();
        sending.write_all(&message.bytes()).await.unwrap();
        let answer = within("an answer", integration::world::Message::read(&mut receiving, false)).await;
        assert!(answer.is_some());
        let again = endpoint.connect(quic(&world), &name).unwrap();
        let again = again.into_0rtt().map(|_| "early data").unwrap_err();
        assert!(within("a handshake", again).await.is_ok());
    }

    #[tokio::test]
    async fn an_untrusted_peer_is_told_the_same_as_over_tcp() {
        let world = world(PATIENT, "").await;
        announced(&world).await;
        // As a client: a response that says revoked comes with the message.
        let revoked = world.trust.ocsp_as(&world.rogue.auth.certificate, OcspMode::Revoked).await;
        let target = format!("{RECORDS}/x");
        let mut message = world.rogue.request(&world.trust, "GET", &target, "revoked", None).await;
        message.change(part::OCSP_RESPONSE, |der| *der = revoked.to_vec());
        let by_tcp = world.rogue.send(&world.provider.peers(), &message).await.unwrap().fault();
        let by_quic = line(&world).await.send(&message).await.unwrap().fault();
        assert_eq!(by_tcp.as_deref(), Some(UNTRUSTED_PEER));
        assert_eq!(by_quic, by_tcp);
        // As a server: whatever it shows over QUIC is judged as over TCP, and not a byte of a message is sent.
        let unregistered = world.trust.ca.issue(Profile::Auth, "C=DEMO, CN=ss3").await;
        let ocsp = world.trust.ocsp(&unregistered.certificate).await;
        let streams = world.rogue.speak_quic(&unregistered, Manner::Answers);
        world.rogue.show(&unregistered, ocsp);
        let reply = world.ask(&Ask::post(FAKE, "a secret question").id("untrusted")).await;
        assert_eq!(reply.error(), Some(UNTRUSTED_PROVIDER));
        assert_eq!((world.rogue.calls(), streams.load(Ordering::SeqCst)), (0, 0));
        // A good certificate over TCP does not make that over QUIC better.
        world.rogue.show_own(&world.trust).await;
        assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200);
        assert_eq!((world.rogue.calls(), streams.load(Ordering::SeqCst)), (1, 0));
    }

    #[tokio::test]
    async fn a_peer_that_is_revoked_is_refused_within_the_interval_over_connections_that_were_open() {
        let world = world(PATIENT, "").await;
        let streams = world.rogue.speak_quic(&world.rogue.auth, Manner::Answers);
        announced(&world).await;
        let line = line(&world).await;
        let good = world.trust.ocsp(&world.rogue.auth.certificate).await;
        let target = format!("{RECORDS}/x");
        let fault = async |number: u32| {
            let mut message =
                world.rogue.request(&world.trust, "GET", &target, &format!("kept-{number}"), None).await;
            message.change(part::OCSP_RESPONSE, |der| *der = good.to_vec());
            line.send(&message).await.expect("the connection is kept").fault()
        };
        assert_eq!(fault(0).await, None);
        assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200);
        assert_eq!(streams.load(Ordering::SeqCst), 1);

        world.trust.say(&world.rogue.auth.certificate, OcspMode::Revoked);
        let mut number = 0;
        within("the provider refuses the revoked peer", async {
            while {
                number += 1;
                fault(number).await.as_deref() != Some(UNTRUSTED_PEER)
            } {}
        })
        .await;
        within("the consumer refuses the revoked provider", async {
            while world.ask(&Ask::get(FAKE)).await.error() != Some(UNTRUSTED_PROVIDER) {}
        })
        .await;
        let (calls, sent) = (world.service.calls(), world.rogue.calls());
        for number in 10_000..10_005 {
            assert_eq!(fault(number).await.as_deref(), Some(UNTRUSTED_PEER));
            assert_eq!(world.ask(&Ask::get(FAKE)).await.error(), Some(UNTRUSTED_PROVIDER));
        }
        assert_eq!((world.service.calls(), world.rogue.calls()), (calls, sent));
    }

    #[tokio::test]
    async fn a_peer_that_leaves_the_configuration_is_refused_over_an_open_connection() {
        let world = world("", "").await;
        let line = line(&world).await;
        world.publish(|shared| shared.servers.retain(|server| server.code != "ss3")).await;
        let message = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "1", None).await;
        let by_quic = line.send(&message).await.unwrap().fault();
        assert_eq!(by_quic.as_deref(), Some("server.serverproxy.ssl_authentication_failed"));
        assert_eq!(world.service.connections(), 0);
    }

    #[tokio::test]
    async fn where_udp_does_not_pass_tcp_is_taken_soon_and_the_next_exchange_does_not_wait() {
        let world = world("wait = \"300 ms\"\n", "").await;
        let relay = relayed(&world).await;
        relay.block(true);
        let began = Instant::now();
        good(&world, "first").await;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        // The time that a handshake may take, and then it is known.
        tokio::time::sleep(Duration::from_secs(10)).await;
        relay.block(false);
        for n in 0..5 {
            good(&world, &format!("later-{n}")).await;
        }
        assert_eq!(relay.carried(), (0, 0), "it is remembered");
    }

    #[tokio::test]
    async fn udp_that_stops_passing_costs_one_exchange_its_answer_and_nothing_is_done_twice() {
        let world = world(&format!("{PATIENT}idle = \"1 s\"\n"), "").await;
        let relay = relayed(&world).await;
        good(&world, "before").await;
        assert!(relay.carried().0 > 0);
        // In the middle of an answer.
        world.service.mode(Mode::Held);
        let ask = Ask::post(&format!("{RECORDS}/x"), "once").id("lost");
        let door = world.consumer.http();
        let asked = ask.send_to(&door);
        let lose = async {
            soon("the service is called", || world.service.calls() == 2).await;
            relay.block(true);
            world.service.release();
        };
        let (reply, ()) = tokio::join!(within("the loss is found", asked), lose);
        assert_eq!(reply.error(), Some(NETWORK_ERROR), "{}", reply.text());
        assert_eq!(world.consumer.trace("lost"), ["request", format!("in doubt {NETWORK_ERROR}").as_str()]);
        world.service.mode(Mode::Echo);
        soon("the provider ends it", || world.provider.trace("lost") == ["request", "response"]).await;
        // In the middle of a request: from the next connection on by TCP.
        good(&world, "after").await;
        assert_eq!(world.service.calls(), 3);
    }

    #[tokio::test]
    async fn a_request_that_is_cut_off_is_no_request() {
        let world = world(&format!("{PATIENT}idle = \"1 s\"\n"), "idle = \"1 s\"\n").await;
        let relay = relayed(&world).await;
        good(&world, "before").await;
        let before = relay.carried().0;
        let ask = Ask::post(&format!("{RECORDS}/x"), vec![b'x'; 3_000_000]).id("cut");
        let mut stream = ask.begin(&world.consumer.http(), 1_500_000).await;
        soon("half of it is on its way", || relay.carried().0 > before + 1_000_000).await;
        relay.block(true);
        let _ = stream.write_all(&vec![b'x'; 1_500_000]).await;
        let answer = within("an answer", integration::world::Message::read(&mut stream, false)).await;
        if let Some(answer) = answer {
            assert!(answer.first.contains(" 500 "), "{}", answer.first);
        }
        soon("the provider is rid of it", || world.provider.trace("cut").is_empty()).await;
        assert_eq!(world.service.calls(), 1);
        relay.block(false);
        good(&world, "after").await;
        assert_eq!(world.service.calls(), 2);
    }

    /// What a peer does with a request over QUIC, and whether it comes again by TCP.
    #[tokio::test]
    async fn a_request_goes_by_tcp_after_quic_only_when_nobody_can_have_read_it() {
        for (manner, again) in [
            (Manner::Unread, true),
            (Manner::ClosesUnread, true),
            (Manner::Resets, false),
            (Manner::Closes, false),
            (Manner::CutShort, false),
        ] {
            let world = world(PATIENT, "").await;
            let streams = world.rogue.speak_quic(&world.rogue.auth, manner);
            announced(&world).await;
            let reply = world.ask(&Ask::post(FAKE, "once").id("once")).await;
            assert_eq!(streams.load(Ordering::SeqCst), 1, "{manner:?}");
            assert_eq!(world.rogue.calls(), 1, "{manner:?}: read once, over one way or the other");
            if again {
                assert_eq!((reply.status, reply.error()), (200, None), "{manner:?}: {}", reply.text());
                assert_eq!(world.consumer.trace("once"), ["request", "response"], "{manner:?}");
            } else {
                assert_eq!(reply.status, 500, "{manner:?}");
                let trace = world.consumer.trace("once");
                assert!(trace.len() == 2 && trace[1].starts_with("in doubt"), "{manner:?}: {trace:?}");
            }
        }
    }

    #[tokio::test]
    async fn more_exchanges_at_once_than_a_connection_takes_go_over_tcp() {
        let mut provider = speaking("exchanges = 2\n");
        provider.push(("timeout = \"500 ms\"", "timeout = \"10 s\"".to_owned()));
        let world = World::wish(Wishes { consumer: speaking(PATIENT), provider }).await;
        let relay = relayed(&world).await;
        good(&world, "before").await;
        // The room of an exchange that is over is given back in a packet of its own.
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.service.mode(Mode::Held);
        let asks: Vec<_> =
            (0..3).map(|n| Ask::post(&format!("{RECORDS}/x"), "body").id(&format!("held-{n}"))).collect();
        let door = world.consumer.http();
        let both = async {
            let before = relay.carried().0;
            let (one, other) = tokio::join!(asks[0].send_to(&door), asks[1].send_to(&door));
            (before, one, other)
        };
        let third = async {
            soon("two are with the service", || world.service.calls() == 3).await;
            // The third cannot go over QUIC: there is none now.
            relay.block(true);
            let last = asks[2].send_to(&door);
            let release = async {
                soon("the third is with the service", || world.service.calls() == 4).await;
                relay.block(false);
                for _ in 0..3 {
                    world.service.release();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::join!(last, release).0
        };
        let ((_, one, other), third) = within("all are answered", async { tokio::join!(both, third) }).await;
        assert_eq!((one.status, other.status, third.status), (200, 200, 200));
        assert_eq!(world.service.calls(), 4);
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_refused_and_those_below_are_served() {
        for (settings, from) in [
            ("connections_per_address = 2\n", [[127, 0, 0, 1]; 3]),
            ("connections = 2\n", [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]]),
        ] {
            let world = world("", settings).await;
            let mut lines = Vec::new();
            for (n, from) in from.into_iter().enumerate() {
                let stranger = Stranger { from: from.into(), ..Stranger::with(&world.rogue.auth) };
                let connected = stranger.connect(&world.rogue, quic(&world)).await;
                assert_eq!(connected.is_ok(), n < 2, "{settings} {n}");
                lines.extend(connected.ok());
            }
            for (n, line) in lines.iter().enumerate() {
                let target = format!("{RECORDS}/x");
                let message = world.rogue.request(&world.trust, "GET", &target, &format!("{n}"), None).await;
                assert!(line.send(&message).await.unwrap().is_signed(), "{settings} {n}");
            }
            // One that leaves makes room.
            lines.pop().unwrap().connection.close(0_u32.into(), b"");
            let usual = Stranger { from: from[1].into(), ..Stranger::with(&world.rogue.auth) };
            within("there is room", async {
                while usual.connect(&world.rogue, quic(&world)).await.is_err() {}
            })
            .await;
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_packet_is_given_up() {
        let world = world("", "idle = \"1 s\"\n").await;
        let line = line(&world).await;
        let closed = within("the end of an idle connection", line.connection.closed()).await;
        assert_eq!(closed, quinn::ConnectionError::TimedOut);
    }

    #[tokio::test]
    async fn addresses_are_proven_first_when_too_many_are_not() {
        let world = world("", "unproven = 0\n").await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let greeting = initials(&world.rogue, 1).await.remove(0);
        let came = echo(&socket, quic(&world), &greeting, Duration::from_secs(2)).await;
        // RFC 9000 17.2.5: a Retry, and nothing else; with less in it than was sent.
        assert_eq!(came.len(), 1, "{came:?}");
        assert_eq!(came[0][0] & 0xf0, 0xf0);
        assert!(came[0].len() < 300);
        let message = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "1", None).await;
        assert!(line(&world).await.send(&message).await.unwrap().is_signed());
    }

    #[tokio::test]
    async fn a_gateway_that_stops_finishes_what_it_has_begun_and_refuses_the_rest_unread() {
        let mut world = world(PATIENT, "").await;
        let relay = relayed(&world).await;
        good(&world, "before").await;
        world.service.mode(Mode::Held);
        let ask = Ask::post(&format!("{RECORDS}/x"), "body").id("under-way");
        let door = world.consumer.http();
        let asked = tokio::spawn(async move { ask.send_to(&door).await });
        soon("it is with the service", || world.service.calls() == 2).await;
        let stopping = world.provider.begin_to_stop();
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The provider is going: its request is certain not to have been read, and there is nobody else to ask.
        let refused = world.ask(&Ask::post(&format!("{RECORDS}/x"), "body").id("late")).await;
        assert_eq!(refused.error(), Some("server.clientproxy.network_error"), "{}", refused.text());
        let trace = world.consumer.trace("late");
        assert!(!trace.iter().any(|kind| kind.contains("doubt")), "{trace:?}");
        world.service.release();
        assert_eq!(asked.await.unwrap().status, 200);
        within("stopping", stopping).await.unwrap().unwrap();
        assert_eq!(world.service.calls(), 2);
        // And when it is back: over QUIC again.
        world.service.mode(Mode::Echo);
        world.provider.start().await;
        world.provider.is_well(true).await;
        let before = relay.carried().0;
        good(&world, "again").await;
        assert!(relay.carried().0 > before);
    }

    #[tokio::test]
    async fn a_gateway_that_was_killed_is_noticed_when_it_is_back() {
        let mut world = world(PATIENT, "").await;
        let relay = relayed(&world).await;
        good(&world, "before").await;
        // The answer's last bytes are acknowledged a little later than they are read; whoever stops waits for that.
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Nobody hears it go.
        relay.block(true);
        world.provider.stop().await;
        world.provider.start().await;
        world.provider.is_well(true).await;
        relay.block(false);
        // Its answer to a packet of the lost connection says so at once; the exchange that asked may be told an error.
        let began = Instant::now();
        let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "body").id("finds")).await;
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}: {}", began.elapsed(), reply.text());
        good(&world, "after").await;
    }
}
