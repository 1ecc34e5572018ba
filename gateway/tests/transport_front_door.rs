//! The information systems' door, over real sockets: heads as received, doubtful framing, slow callers, graceful stop.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod transport_world;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cert_authority::x509::issue::Profile;
use gateway::transport::body::{BodyError, IncomingBody, OutgoingBody};
use gateway::transport::front_door::{self, ClientReply, ClientRequest, FrontService};
use gateway::transport::{DoorLimits, tls};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use transport_world::{Authority, directory, soon};

/// What the service saw of one request.
#[derive(Debug)]
struct Seen {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Result<Vec<u8>, BodyError>,
    certificate: Option<Vec<u8>>,
}

/// Answers each request with its body, after `hold` has been released if there is one, and tells what it saw.
struct Echo {
    seen: mpsc::UnboundedSender<Seen>,
    begun: Arc<Notify>,
    hold: Option<Arc<Notify>>,
    served: AtomicUsize,
}

impl FrontService for Echo {
    async fn serve(&self, mut request: ClientRequest) -> ClientReply {
        self.begun.notify_one();
        self.served.fetch_add(1, Ordering::SeqCst);
        let mut body = Ok(Vec::new());
        loop {
            match request.body.next().await {
                Ok(None) => break,
                Ok(Some(chunk)) => body.as_mut().unwrap().extend_from_slice(&chunk),
                Err(error) => {
                    body = Err(error);
                    break;
                }
            }
        }
        if let Some(hold) = &self.hold {
            hold.notified().await;
        }
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let echo = body.clone().unwrap_or_default();
        let tls = request.caller.tls.as_ref();
        let _ = self.seen.send(Seen {
            method: request.head.method.clone(),
            target: request.head.target.clone(),
            headers: request.head.headers.iter().map(|(name, value)| (text(name), text(value))).collect(),
            body,
            certificate: tls.and_then(|tls| tls.certificates.first()).map(|leaf| leaf.to_vec()),
        });
        ClientReply {
            status: StatusCode::OK,
            reason: Some(Bytes::from_static(b"As you say")),
            headers: vec![
                (Bytes::from_static(b"X-Echo"), Bytes::from_static(b"one")),
                (Bytes::from_static(b"Content-Length"), Bytes::from_static(b"999")),
                (Bytes::from_static(b"Transfer-Encoding"), Bytes::from_static(b"gzip")),
            ],
            body: OutgoingBody::whole(echo.into()),
        }
    }
}

struct Door {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    service: Arc<Echo>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Door {
    async fn open(limits: DoorLimits, hold: Option<Arc<Notify>>, tls: Option<tls::Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let begun = Arc::new(Notify::new());
        let service = Arc::new(Echo { seen: sender, begun, hold, served: AtomicUsize::new(0) });
        let (stop, stopped) = watch::channel(false);
        let tls =
            tls.map(|identity| Arc::new(ArcSwap::from_pointee(tls::front_server(identity).unwrap().into())));
        let running = tokio::spawn(front_door::serve(listener, tls, limits, Arc::clone(&service), stopped));
        Self { address, seen, service, stop, running }
    }

    async fn plain() -> Self {
        Self::open(DoorLimits::default(), None, None).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn seen(&mut self) -> Seen {
        soon(self.seen.recv()).await.unwrap()
    }

    fn served(&self) -> usize {
        self.service.served.load(Ordering::SeqCst)
    }
}

/// Everything until the other side closes.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    soon(async {
        let mut piece = [0; 4096];
        // A reset after the last byte is an end too.
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..length]);
        }
    })
    .await;
    String::from_utf8_lossy(&all).into_owned()
}

/// One answer with a Content-Length, leaving the connection open.
async fn one_answer(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    soon(async {
        loop {
            all.push(stream.read_u8().await.unwrap());
            let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
                if body.len() >= length.parse().unwrap() {
                    break;
                }
            }
        }
    })
    .await;
    String::from_utf8_lossy(&all).into_owned()
}

async fn ask(door: &Door, request: &str) -> String {
    let mut stream = door.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    to_the_end(&mut stream).await
}

#[tokio::test]
async fn request_reaches_the_service_as_it_was_written() {
    let mut door = Door::plain().await;
    let mut stream = door.connect().await;
    let request = "POST /r1/A%2fB//c/../d;x?q=%20&ä=1 HTTP/1.1\r\nHost: h\r\nX-Road-Client: A/B/C\r\nACCEPT: a\r\n\
        x-mIxed:  1 \r\nX-Mixed: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = one_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 As you say\r\n"), "{answer}");
    assert!(answer.contains("content-length: 3\r\n") && !answer.contains("gzip"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
    let seen = door.seen().await;
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/r1/A%2fB//c/../d;x?q=%20&ä=1"));
    let expected = [
        ("Host", "h"),
        ("X-Road-Client", "A/B/C"),
        ("ACCEPT", "a"),
        ("x-mIxed", "1"),
        ("X-Mixed", "2"),
        ("Transfer-Encoding", "chunked"),
    ];
    let headers: Vec<(&str, &str)> =
        seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, expected);
    assert_eq!(seen.body.unwrap(), b"abc");

    // The same connection serves the next one.
    stream.write_all(b"get http://other/x?y HTTP/1.1\r\nhost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(to_the_end(&mut stream).await.starts_with("HTTP/1.1 200"));
    let seen = door.seen().await;
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("get", "http://other/x?y"));
}

#[tokio::test]
async fn expectation_is_answered_when_the_body_is_wanted() {
    let mut door = Door::plain().await;
    let mut stream = door.connect().await;
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    assert_eq!(one_answer(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    assert!(one_answer(&mut stream).await.ends_with("\r\n\r\nabc"));
    assert_eq!(door.seen().await.body.unwrap(), b"abc");
}

#[tokio::test]
async fn request_that_can_be_framed_in_two_ways_is_refused_and_the_connection_closed() {
    let door = Door::plain().await;
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        "Content-Length: 3\nX: y\r\n",
        "Upgrade: foo/1\r\n",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
        );
        let answer = ask(&door, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lines:?}: {answer}");
    }
    assert!(ask(&door, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    assert!(
        ask(&door, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await.contains(" 400 ")
    );
    assert_eq!(door.served(), 0);
}

#[tokio::test]
async fn broken_chunk_ends_the_connection_and_nothing_behind_it_is_served() {
    let mut door = Door::plain().await;
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n\
        GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    ask(&door, request).await;
    assert!(matches!(door.seen().await.body, Err(BodyError::CutOff(_))));
    assert_eq!(door.served(), 1);
}

#[tokio::test]
async fn oversized_heads_are_refused_with_their_own_status() {
    let door = Door::plain().await;
    let long = "x".repeat(17 * 1024);
    let line = ask(&door, &format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n")).await;
    assert!(line.starts_with("HTTP/1.1 431 "), "{line}");
    let many = ask(&door, &format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(300))).await;
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
    let target = ask(&door, &format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    assert!(target.starts_with("HTTP/1.1 414 "), "{target}");
    assert_eq!(door.served(), 0);
}

#[tokio::test]
async fn slow_loris_and_idle_callers_are_closed() {
    let short = Duration::from_millis(150);
    let limits = DoorLimits { head_timeout: short, idle_timeout: short, ..DoorLimits::default() };
    let door = Door::open(limits, None, None).await;
    // Nothing at all; a head that trickles for ever; a kept connection that is not used.
    let mut silent = door.connect().await;
    let mut trickling = door.connect().await;
    let mut idle = door.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    one_answer(&mut idle).await;
    let trickle = async {
        while trickling.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(trickle).await;
    assert_eq!(to_the_end(&mut silent).await, "");
    assert_eq!(to_the_end(&mut idle).await, "");
    assert_eq!(door.served(), 1);
}

#[tokio::test]
async fn exchange_that_takes_longer_than_the_idle_limit_is_not_cut() {
    let hold = Arc::new(Notify::new());
    let limits = DoorLimits { idle_timeout: Duration::from_millis(50), ..DoorLimits::default() };
    let door = Door::open(limits, Some(Arc::clone(&hold)), None).await;
    let mut stream = door.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    soon(door.service.begun.notified()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    hold.notify_one();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn body_that_stops_or_trickles_is_given_up() {
    let limits = DoorLimits {
        idle_timeout: Duration::from_millis(100),
        body_grace: Duration::from_millis(300),
        ..DoorLimits::default()
    };
    let mut door = Door::open(limits, None, None).await;
    let mut stopped = door.connect().await;
    stopped.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
    assert!(matches!(door.seen().await.body, Err(BodyError::Stalled(_))));
    let mut trickling = door.connect().await;
    trickling.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n").await.unwrap();
    let trickle = async {
        while trickling.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let seen = tokio::select! {
        seen = door.seen() => seen,
        () = trickle => door.seen().await,
    };
    assert_eq!(seen.body, Err(BodyError::TooSlow));
}

#[tokio::test]
async fn body_cut_off_by_the_client_is_no_whole_body() {
    let mut door = Door::plain().await;
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut stream = door.connect().await;
        stream.write_all(format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}").as_bytes()).await.unwrap();
        drop(stream);
        assert!(matches!(door.seen().await.body, Err(BodyError::CutOff(_))), "{framing}");
    }
}

#[tokio::test]
async fn exchange_reaches_its_end_although_the_client_hangs_up() {
    let hold = Arc::new(Notify::new());
    let mut door = Door::open(DoorLimits::default(), Some(Arc::clone(&hold)), None).await;
    let mut stream = door.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    soon(door.service.begun.notified()).await;
    drop(stream);
    hold.notify_one();
    assert_eq!(door.seen().await.body.unwrap(), b"");
}

#[tokio::test]
async fn graceful_stop_finishes_the_exchange_under_way_and_accepts_no_other() {
    let hold = Arc::new(Notify::new());
    let door = Door::open(DoorLimits::default(), Some(Arc::clone(&hold)), None).await;
    let mut idle = door.connect().await;
    let mut stream = door.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    soon(door.service.begun.notified()).await;
    door.stop.send(true).unwrap();
    // The idle connection is closed: the door has taken notice.
    assert_eq!(to_the_end(&mut idle).await, "");
    assert!(TcpStream::connect(door.address).await.is_err(), "the door still accepts");
    hold.notify_one();
    let answer = to_the_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    soon(door.running).await.unwrap();
}

#[tokio::test]
async fn graceful_stop_does_not_wait_for_ever() {
    let limits = DoorLimits { drain: Duration::from_millis(100), ..DoorLimits::default() };
    let door = Door::open(limits, Some(Arc::new(Notify::new())), None).await;
    let mut stream = door.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    soon(door.service.begun.notified()).await;
    door.stop.send(true).unwrap();
    soon(door.running).await.unwrap();
    assert_eq!(to_the_end(&mut stream).await, "");
}

/// Longer than a connection waits until it rests, whenever that began.
const RESTED: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn a_connection_that_has_rested_is_served_as_before() {
    let mut door = Door::plain().await;
    let mut stream = door.connect().await;
    for round in 0..2 {
        if round > 0 {
            tokio::time::sleep(RESTED).await;
        }
        // Several at once, and a head that is longer than what is read at first.
        let long = "x".repeat(5000);
        let asked = format!(
            "GET /{round}/1 HTTP/1.1\r\nHost: h\r\n\r\n\
             POST /{round}/2 HTTP/1.1\r\nHost: h\r\nX-Long: {long}\r\nContent-Length: 3\r\n\r\nabc"
        );
        stream.write_all(asked.as_bytes()).await.unwrap();
        one_answer(&mut stream).await;
        assert!(one_answer(&mut stream).await.ends_with("\r\n\r\nabc"));
        assert_eq!(
            (door.seen().await.target, door.seen().await.target),
            (format!("/{round}/1"), format!("/{round}/2"))
        );
    }
    // In the middle of a head it does not rest.
    stream.write_all(b"GET /3 HTTP/1.1\r\nHo").await.unwrap();
    tokio::time::sleep(RESTED).await;
    stream.write_all(b"st: h\r\n\r\n").await.unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(door.seen().await.target, "/3");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_for_a_while_is_whole_in_the_end() {
    let door = Door::plain().await;
    let mut stream = door.connect().await;
    let body = "answer".repeat(2 << 20);
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    // All that the service has to say is with the door long before the caller takes it.
    tokio::time::sleep(RESTED).await;
    let mut answer = Vec::new();
    soon(async {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
    })
    .await;
    let mut echo = vec![0; body.len()];
    soon(stream.read_exact(&mut echo)).await.unwrap();
    assert!(echo == body.as_bytes());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"), "the connection is kept");
}

/// Answers at once, and leaves the body where it is for as long as it lives.
#[derive(Default)]
struct Blind(Mutex<Vec<(String, IncomingBody)>>);

impl FrontService for Blind {
    async fn serve(&self, request: ClientRequest) -> ClientReply {
        self.0.lock().unwrap().push((request.head.target, request.body));
        ClientReply { status: StatusCode::OK, reason: None, headers: Vec::new(), body: OutgoingBody::empty() }
    }
}

#[tokio::test]
async fn a_body_that_nobody_has_read_is_never_taken_for_a_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Arc::new(Blind::default());
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(front_door::serve(listener, None, DoorLimits::default(), Arc::clone(&service), stopped));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    one_answer(&mut stream).await;
    tokio::time::sleep(RESTED).await;
    let _ = stream.write_all(b"GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    to_the_end(&mut stream).await;
    let served: Vec<String> = service.0.lock().unwrap().iter().map(|(target, _)| target.clone()).collect();
    assert!(!served.iter().any(|target| target == "/smuggled"), "{served:?}");
}

#[tokio::test]
async fn one_address_may_not_take_all_connections() {
    let limits = DoorLimits { connections_per_address: 1, ..DoorLimits::default() };
    let door = Door::open(limits, None, None).await;
    let mut first = door.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    one_answer(&mut first).await;
    assert_eq!(ask(&door, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await, "");
    drop(first);
}

#[tokio::test]
async fn a_door_holds_as_many_connections_as_it_may_and_the_next_waits_for_a_place() {
    let limits = DoorLimits { connections: 2, ..DoorLimits::default() };
    let door = Door::open(limits, None, None).await;
    let (mut first, mut second, mut third) =
        (door.connect().await, door.connect().await, door.connect().await);
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for stream in [&mut first, &mut second] {
        stream.write_all(request).await.unwrap();
        one_answer(stream).await;
    }
    third.write_all(request).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), third.readable()).await;
    assert!(early.is_err() && door.served() == 2, "one more than the door may hold was served");
    drop(first);
    one_answer(&mut third).await;
    assert_eq!(door.served(), 3);
}

#[tokio::test]
async fn in_a_full_door_whoever_asks_for_nothing_gives_way_and_whoever_is_served_stays() {
    let hold = Arc::new(Notify::new());
    let limits = DoorLimits { connections: 2, ..DoorLimits::default() };
    let door = Door::open(limits, Some(Arc::clone(&hold)), None).await;
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let mut busy = door.connect().await;
    busy.write_all(request).await.unwrap();
    soon(door.service.begun.notified()).await;
    let mut idle = door.connect().await;
    idle.write_all(&request[..20]).await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut newcomer = socket.connect(door.address).await.unwrap();
    newcomer.write_all(request).await.unwrap();
    soon(door.service.begun.notified()).await;
    assert_eq!(to_the_end(&mut idle).await, "");
    for mut served in [busy, newcomer] {
        hold.notify_one();
        let answer = to_the_end(&mut served).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_door_is_in_as_many_handshakes_as_it_may_and_the_next_waits_for_a_place() {
    for limits in [
        DoorLimits { handshakes: 2, ..DoorLimits::default() },
        DoorLimits { handshakes_per_address: 2, ..DoorLimits::default() },
    ] {
        let ca = Authority::new("CA").await;
        let own = ca.issue(Profile::Tls, "gateway").await;
        let door = Door::open(limits, None, Some(own.identity.clone())).await;
        // The beginning of a handshake, which goes no further.
        let config = Arc::new(tls::peer_client(own.identity.clone()).unwrap());
        let mut client = rustls::ClientConnection::new(config, "gateway".try_into().unwrap()).unwrap();
        let mut begun = Vec::new();
        client.write_tls(&mut begun).unwrap();
        let mut held = door.connect().await;
        held.write_all(&begun).await.unwrap();
        let url = format!("https://127.0.0.1:{}/", door.address.port());
        let asked = || curl(vec!["-sk".to_owned(), url.clone()]);
        assert_eq!(asked().await.0, Some(0), "the last place is free");
        let mut other = door.connect().await;
        other.write_all(&begun).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut waiting = Box::pin(asked());
        let early = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
        assert!(early.is_err() && door.served() == 1, "one more than may be under way");
        drop(other);
        assert_eq!(soon(waiting).await.0, Some(0), "a place was given back");
        drop(held);
    }
}

/// curl with its arguments, off the runtime's threads.
async fn curl(arguments: Vec<String>) -> (Option<i32>, String) {
    let run = move || Command::new("curl").args(["-s", "-S", "-m", "15"]).args(arguments).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn https_with_curl_shows_the_clients_certificate_or_none() {
    let ca = Authority::new("CA").await;
    let own = ca.issue(Profile::Tls, "gateway").await;
    let system = ca.issue(Profile::Tls, "system").await;
    let mut door = Door::open(DoorLimits::default(), None, Some(own.identity.clone())).await;
    let files = directory();
    let path = |name: &str| files.path().join(name).display().to_string();
    std::fs::File::create(path("key.der")).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        std::io::Write::write_all(&mut std::fs::File::create(path(name)).unwrap(), bytes).unwrap();
    };
    write("key.der", &system.key.pkcs8);
    write("cert.pem", system.certificate.to_pem().as_bytes());
    let pin = {
        let spki = own.certificate.public_key().spki_der();
        cert_authority::crypto::digest(cert_authority::algorithm::DigestAlgorithm::Sha256, spki).base64()
    };
    let url = format!("https://127.0.0.1:{}/r1/x", door.address.port());
    let pinned = vec!["-k".to_owned(), "--pinnedpubkey".to_owned(), format!("sha256//{pin}")];

    let without = [pinned.clone(), vec![url.clone(), "-d".to_owned(), "hello".to_owned()]].concat();
    assert_eq!(curl(without).await, (Some(0), "hello".to_owned()));
    assert_eq!(door.seen().await.certificate, None);

    let certificate = ["--cert", &path("cert.pem"), "--key-type", "DER", "--key", &path("key.der")];
    let with = [pinned, certificate.map(str::to_owned).to_vec(), vec![url.clone()]].concat();
    let answer = curl(with).await;
    assert_eq!(answer.0, Some(0), "{}", answer.1);
    assert_eq!(door.seen().await.certificate.as_deref(), Some(system.certificate.der()));

    let other = ["-k", "--pinnedpubkey", "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &url];
    assert_eq!(
        curl(other.map(str::to_owned).to_vec()).await.0,
        Some(90),
        "curl accepted another certificate"
    );
    assert_eq!(door.served(), 2);
}

#[tokio::test]
async fn handshake_that_never_comes_is_given_up() {
    let ca = Authority::new("CA").await;
    let own = ca.issue(Profile::Tls, "gateway").await;
    let limits = DoorLimits { handshake_timeout: Duration::from_millis(100), ..DoorLimits::default() };
    let door = Door::open(limits, None, Some(own.identity)).await;
    assert_eq!(to_the_end(&mut door.connect().await).await, "");
}
