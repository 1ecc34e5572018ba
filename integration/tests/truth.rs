//! One form of a request decides its rights and is forwarded: real services understand every request as the gateway does.
//!
//! ```text
//! peer (signs anything) ──────────────► provider's gateway ──► hyper | nginx, hyper behind it | node | Python
//! information system (any bytes) ► consumer's gateway ┘                    │
//!                                          its log: what was decided  ═  what they say they were asked
//! ```
//! Whatever a service was asked stands in the provider's log, once, with the same method, path, query, host and length
//! of the body; and a path that a service reads by its own rules (decoded, slashes merged, as a URL; by the rules of
//! servlets, too) is one that the client has a right to. The rest is refused. Nothing comes to a service twice.

#[cfg(test)]
mod truth {
    pub(crate) mod mutations;
    pub(crate) mod services;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use futures_util::StreamExt as _;
    use gateway::message::rest::{RestRequest, Verb};
    use gateway::messagelog::Record;
    use gateway::messagelog::reader::{Filter, Order};
    use integration::world::{Line, PORTAL, Wishes, World};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use crate::truth::mutations::{self, ID, Signed};
    use crate::truth::services::{Seen, Service};

    const OTHER: &str = "DEMO/GOV/3003/other";
    /// Requests for each service, at the least: a list that shrinks fails.
    const MUTATIONS: usize = 3_169;
    /// Of which so many at the least are served by each: what is refused shows little.
    const SERVED: usize = 700;

    /// What clients may call, as the settings have it and as [`may`] has it.
    const ENDPOINTS: &str = "[\"GET /open/**\", \"POST /open/**\"]";

    /// Whether the clients may, by a rule of our own that knows nothing of patterns.
    fn may(method: &str, path: &str) -> bool {
        matches!(method, "GET" | "POST") && path.starts_with("/open/")
    }

    /// A service at the root of its host, and one below a path.
    const BASES: [&str; 2] = ["/base", ""];

    async fn world(services: &[Service]) -> World {
        let mut settings = String::new();
        for service in services {
            for base in BASES {
                settings.push_str(&format!(
                    "[[client.service]]\ncode = \"{}\"\nurl = \"http://127.0.0.1:{}{base}\"\n",
                    code(service, base),
                    service.port
                ));
                for client in [PORTAL, OTHER] {
                    settings.push_str(&format!(
                        "[[client.service.allow]]\nto = \"{client}\"\nendpoints = {ENDPOINTS}\n"
                    ));
                }
            }
        }
        let before = "[[client.service]]\ncode = \"closed\"";
        let provider = vec![(before, format!("{settings}{before}"))];
        // Whoever waits for more of a request does not wait long.
        let impatient = "[timeouts]\nhead = \"300 ms\"\nidle = \"300 ms\"\n".to_owned();
        World::wish(Wishes { provider, consumer: vec![("[timeouts]\n", impatient)] }).await
    }

    fn code(service: &Service, base: &str) -> String {
        format!("{}{}", service.name, if base.is_empty() { "-root" } else { "" })
    }

    fn target(code: &str) -> String {
        format!("/r1/DEMO/GOV/2002/registry/{code}")
    }

    /// What the provider's gateway has decided on, by the message id.
    struct Decided {
        request: RestRequest,
        body: u64,
    }

    async fn decided(world: &World) -> BTreeMap<String, Decided> {
        let log = world.provider.log();
        let mut all = BTreeMap::new();
        for stored in log.find(&Filter::default(), Order::OldestFirst, None, 1_000_000).unwrap() {
            let Record::Request(message) = &stored.record else { continue };
            let parts = log.bodies(&stored).unwrap();
            let mut part = Vec::new();
            let mut stream = parts[0].as_ref().unwrap().stream();
            while let Some(piece) = stream.next().await {
                part.extend_from_slice(&piece.unwrap());
            }
            let request = RestRequest::parse(Bytes::from(part)).unwrap();
            let body = message.parts.get(1).map_or(0, |part| part.length);
            let twice = all.insert(message.message_id.clone(), Decided { request, body });
            assert!(twice.is_none(), "{} was let in twice", message.message_id);
        }
        all
    }

    // -- what services may make of a path ------------------------------------------------------------------------------

    /// Every escape decoded, once.
    fn decode(text: &str) -> Vec<u8> {
        let bytes = text.as_bytes();
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
            match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) => {
                    decoded.push(byte);
                    at += 3;
                }
                None => {
                    decoded.push(bytes[at]);
                    at += 1;
                }
            }
        }
        decoded
    }

    fn merged(path: &str) -> String {
        let mut merged = path.to_owned();
        while merged.contains("//") {
            merged = merged.replace("//", "/");
        }
        merged
    }

    /// As servlets read it: parameters cut off each segment, then decoded, then dot segments led where they lead.
    fn servlet(path: &str) -> String {
        let segments = path.split('/').map(|segment| segment.split(';').next().unwrap());
        let decoded = segments.map(|segment| String::from_utf8_lossy(&decode(segment)).into_owned());
        let mut led = Vec::new();
        for segment in decoded.skip(1) {
            match segment.as_str() {
                "." => {}
                ".." => drop(led.pop()),
                _ => led.push(segment),
            }
        }
        format!("/{}", led.join("/"))
    }

    /// What is wrong with what a service has seen, where the gateway had decided so.
    fn difference(seen: &Seen, decided: &Decided, base: &str, port: u16) -> Option<String> {
        let Decided { request, body } = decided;
        let raw = match &request.query {
            Some(query) => format!("{base}{}?{query}", request.service_path.raw()),
            None => format!("{base}{}", request.service_path.raw()),
        };
        let raw = if raw.is_empty() { "/".to_owned() } else { raw };
        let path = seen.target.split('?').next().unwrap();
        let own = format!("{base}{}", request.service_path.decided());
        let is_known =
            |routed: &String| *routed == own || *routed == merged(&own) || own.is_empty() && routed == "/";
        let below = |path: &str| path.strip_prefix(base).unwrap_or("(outside)").to_owned();
        let readings = seen.routed.iter().map(|routed| below(routed));
        let readings = readings.chain([below(&servlet(path)), below(&merged(&servlet(path)))]);
        let forbidden = readings.into_iter().find(|reading| !may(&seen.method, reading));
        if seen.method != request.verb.as_str() {
            return Some(format!("the method {}", request.verb.as_str()));
        }
        if decode(&seen.target) != decode(&raw) {
            return Some(format!("the target {raw}"));
        }
        if let Some(routed) = seen.routed.iter().find(|routed| !is_known(routed)) {
            return Some(format!("the path {own}, and the service reads {routed}"));
        }
        if let Some(reading) = forbidden {
            return Some(format!("a path that may be called, and {reading} may not"));
        }
        if seen.host != format!("127.0.0.1:{port}") {
            return Some(format!("the host 127.0.0.1:{port}"));
        }
        let passed_on = if Verb::passes_body_on(request.verb) { *body } else { 0 };
        (seen.length != passed_on).then(|| format!("a body of {passed_on} bytes"))
    }

    // -- sending ---------------------------------------------------------------------------------------------------------

    /// The peer, with a connection that it keeps for as long as it can.
    struct Peer<'w> {
        world: &'w World,
        line: Option<Line>,
    }

    impl Peer<'_> {
        async fn send(&mut self, code: &str, signed: &Signed, id: &str) {
            let Signed { verb, path, headers, body } = signed;
            let exchange = format!("exchange-{id}");
            let part = format!(
                "{verb}\r\n{}{path}\r\nX-Road-Client:{OTHER}\r\nx-road-id:{id}\r\nx-road-request-id:{exchange}\r\n{headers}",
                target(code)
            );
            let rogue = &self.world.rogue;
            let body = body.map(Bytes::from_static);
            let trust = &self.world.trust;
            let envelope =
                rogue.request_of(trust, part.into(), &exchange, body, &rogue.signatory, |_| {}).await;
            for _ in 0..2 {
                if self.line.is_none() {
                    self.line = rogue.connect_as(&rogue.auth, &self.world.provider.peers()).await;
                }
                if self.line.as_mut().unwrap().send(&envelope).await.is_some() {
                    return;
                }
                // It was ended before, or by this.
                self.line = None;
            }
        }
    }

    /// Everything to one service; gives how much it was. Below the root of its host the paths that begin oddly are sent
    /// once more, to its root.
    async fn send_all(world: &World, number: usize, service: &Service) -> usize {
        let (below, root) = (code(service, BASES[0]), code(service, BASES[1]));
        let mut sent = 0;
        let mut next = || {
            sent += 1;
            format!("{number}{sent:07}")
        };
        let mut peer = Peer { world, line: None };
        let paths = mutations::paths();
        for signed in paths.iter().chain(&mutations::heads()) {
            peer.send(&below, signed, &next()).await;
        }
        for signed in paths.iter().filter(|signed| !signed.path.starts_with("/open/a")) {
            peer.send(&root, signed, &next()).await;
        }
        for Signed { path, .. } in &paths {
            let head = format!(
                "Host: gateway\r\nX-Road-Client: {PORTAL}\r\nX-Road-Id: {}\r\nConnection: close",
                next()
            );
            write(world, &format!("GET {}{path} HTTP/1.1\r\n{head}\r\n\r\n", target(&below))).await;
        }
        for bytes in mutations::bytes(&target(&below), PORTAL) {
            write(world, &bytes.replace(ID, &next())).await;
        }
        sent
    }

    async fn write(world: &World, bytes: &str) {
        let mut stream = TcpStream::connect(world.consumer.http()).await.unwrap();
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(std::time::Duration::from_secs(10), reading).await.expect("an end").ok();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn services_understand_every_request_as_the_gateway_does() {
        let folder = tempfile::tempdir().unwrap();
        let services = Service::all(folder.path()).await;
        let world = world(&services).await;
        let sending = services.iter().enumerate().map(|(number, service)| send_all(&world, number, service));
        let sent: usize = futures_util::future::join_all(sending).await.into_iter().sum();
        let decided = decided(&world).await;
        let (mut served, mut wrong) = (0, Vec::new());
        for service in &services {
            let is_own = |decided: &&Decided| {
                let code = decided.request.header.service.code();
                BASES.iter().any(|base| code == crate::tests::code(service, base))
            };
            let expected = decided.values().filter(is_own).count();
            let seen = service.seen(expected).await;
            let mut ids: Vec<&String> = seen.iter().map(|seen| &seen.id).collect();
            ids.sort();
            if let Some(twice) = ids.windows(2).find(|two| two[0] == two[1]) {
                wrong.push(format!("{} was asked twice for {}", service.name, twice[0]));
            }
            println!("{}: {} requests let in, {} seen", service.name, expected, seen.len());
            served += seen.len();
            for seen in &seen {
                let Some(decided) = decided.get(&seen.id).filter(is_own) else {
                    wrong.push(format!("{} saw what nobody decided on: {seen:?}", service.name));
                    continue;
                };
                let is_root = decided.request.header.service.code().ends_with("-root");
                let base = BASES[usize::from(is_root)];
                if let Some(what) = difference(seen, decided, base, service.port) {
                    wrong.push(format!("{}: decided was {what}: {seen:?}", service.name));
                }
            }
        }
        let mutations = sent / services.len();
        println!(
            "{mutations} mutations x {} services: {served} served, {} refused, {} differently understood",
            services.len(),
            sent - served.min(sent),
            wrong.len()
        );
        assert!(
            wrong.is_empty(),
            "{} differently understood: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(40)]
        );
        assert!(mutations >= MUTATIONS, "only {mutations} mutations");
        assert!(served >= SERVED * services.len(), "only {served} were served");
        world.is_alive().await;
    }

    #[test]
    fn a_service_that_understands_something_else_is_found_out() {
        let decided = |verb: &str, path: &str, body: u64| {
            let part = format!(
                "{verb}\r\n{}{path}\r\nX-Road-Client:{OTHER}\r\nx-road-id:i\r\nx-road-request-id:r\r\n",
                target("hyper")
            );
            Decided { request: RestRequest::parse(part.into()).unwrap(), body }
        };
        let seen = |method: &str, target: &str, routed: &str, host: &str, length: u64| Seen {
            id: "i".to_owned(),
            method: method.to_owned(),
            target: target.to_owned(),
            routed: vec![routed.to_owned()],
            host: host.to_owned(),
            length,
        };
        let (post, get) = (decided("POST", "/open/x", 6), decided("GET", "/open//x?a=b", 0));
        let host = "127.0.0.1:80";
        for (decided, seen, differs) in [
            (&post, seen("POST", "/base/open/x", "/base/open/x", host, 6), false),
            (&get, seen("GET", "/base/open//x?a=b", "/base/open/x", host, 0), false),
            (&post, seen("GET", "/base/open/x", "/base/open/x", host, 6), true),
            (&post, seen("POST", "/base/open/y", "/base/open/x", host, 6), true),
            (&post, seen("POST", "/base/open/x", "/base/open/y", host, 6), true),
            (&post, seen("POST", "/base/open/x", "/base/open/x", "evil", 6), true),
            (&post, seen("POST", "/base/open/x", "/base/open/x", host, 5), true),
            (&get, seen("GET", "/base/open//x", "/base/open/x", host, 0), true),
        ] {
            assert_eq!(difference(&seen, decided, "/base", 80).is_some(), differs, "{seen:?}");
        }
        // Where services would be led by other rules than ours.
        for path in ["/shut", "/open/..;/shut", "/open/%2e%2e;x/shut", "/open"] {
            let target = format!("/base{path}");
            let plain = seen("GET", &target, &String::from_utf8(decode(&target)).unwrap(), host, 0);
            assert!(difference(&plain, &decided("GET", path, 0), "/base", 80).is_some(), "{path}");
        }
    }
}
