//! Time-stamps over what was logged.
//!
//! ```text
//! log ──► stamp_pending ──HTTP──► a real authority of the test, which can be made to answer wrongly
//!  ▲            │
//!  └── token ◄──┘        log ──► export ──► container ──► the offline verifier
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;

use std::{
    io::Read,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::{Clock, FixedClock, UnixTime},
    clocks::{self, Clocks},
    crypto::digest,
    http::{self, Client, Limits},
    keys::KeyType,
    timestamp::{self, Failure, REQUEST_TYPE, RESPONSE_TYPE, Request},
};
use evidence_support::{World, now};
use gateway::{
    evidence::{
        asic::{self, Container, TimeStamp, verify_container},
        signature::{SignatureBundle, sign},
    },
    message::digests::PartDigests,
    messagelog::{
        LogError, LogStore, MessageLog, MessageRecord, Part, Record, Role,
        reader::{Material, TimestampMaterial},
        stamp::{Granted, StampError, StampFuture, TimestampAuthority},
        timestamper::{HttpAuthority, PendingError, stamp_pending},
    },
};
use log_support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const HEAD: &[u8] =
    b"POST\r\n/r1/EE/GOV/2002/registry/records\r\nX-Road-Client:EE/GOV/1001/portal\r\nx-road-id:1\r\n";

/// What the authority does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Right,
    OtherNonce,
    OtherImprint,
    Stale,
    /// So many seconds from our clock.
    Apart(i64),
    Early,
    /// Not under any policy that it knows.
    Policy,
    Status500,
    Rubbish,
    /// 200 MB, of which it says how many they are.
    TooLong,
    /// Its answer comes, but too late.
    Slow,
    /// Its answer never comes.
    Silent,
}

struct Tsa {
    url: String,
    mode: Arc<Mutex<Mode>>,
    asked: Arc<AtomicUsize>,
}

impl Tsa {
    async fn start(world: Arc<World>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tsa", listener.local_addr().unwrap());
        let mode = Arc::new(Mutex::new(Mode::Right));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shared_mode, shared_asked) = (Arc::clone(&mode), Arc::clone(&asked));
        let handler = move |question: hyper::Request<hyper::body::Incoming>| {
            let (world, mode) = (Arc::clone(&world), *shared_mode.lock().unwrap());
            shared_asked.fetch_add(1, Ordering::SeqCst);
            async move {
                assert_eq!(question.headers()["content-type"], REQUEST_TYPE);
                let body = http::read_body(question.into_body(), 1 << 16).await.unwrap();
                let mut request = Request::from_der(&body).unwrap();
                assert!(request.certificates && request.nonce.as_ref().is_some_and(|n| n.len() >= 8));
                let mut at = now();
                match mode {
                    Mode::OtherNonce => request.nonce = Some(vec![1, 2, 3]),
                    Mode::OtherImprint => request.imprint = vec![7; 64],
                    Mode::Stale => at = now() - Duration::from_secs(3600),
                    Mode::Apart(seconds) => at = UnixTime::from_secs(now().as_secs() + seconds),
                    Mode::Early => at = now() + Duration::from_secs(3600),
                    Mode::Slow => tokio::time::sleep(Duration::from_secs(1)).await,
                    Mode::Silent => std::future::pending().await,
                    Mode::Right | Mode::Policy | Mode::Status500 | Mode::Rubbish | Mode::TooLong => {}
                }
                let answer = match mode {
                    Mode::Rubbish => b"<html>".to_vec(),
                    Mode::Policy => timestamp::reject(Failure::UnacceptedPolicy).unwrap(),
                    Mode::TooLong => vec![0; 200_000_000],
                    _ => world.answer(&request, at).await,
                };
                let status = if mode == Mode::Status500 { 500 } else { 200 };
                http::respond(hyper::StatusCode::from_u16(status).unwrap(), RESPONSE_TYPE, answer)
            }
        };
        tokio::spawn(http::serve(listener, handler, std::future::pending()));
        Self { url, mode, asked }
    }

    fn authority(&self, world: &World, clock: &FixedClock) -> Box<dyn TimestampAuthority> {
        authority("TSA", &self.url, world, clock, PATIENCE)
    }
}

/// How long an authority may take that is to answer soon.
const PATIENCE: Duration = Duration::from_millis(300);

fn authority(
    name: &str,
    url: &str,
    world: &World,
    clock: &FixedClock,
    total: Duration,
) -> Box<dyn TimestampAuthority> {
    Box::new(HttpAuthority {
        name: name.into(),
        url: url.to_owned(),
        approved: world.conf.tsa_certificates().to_vec(),
        client: Client::new(),
        limits: Limits { total, ..Limits::default() },
        clocks: Arc::new(Clocks::new(Arc::new(clock.clone()), clocks::Limits::default())),
    })
}

/// An authority whose answer has 200 MB in chunks, without saying how many they will be. Gives where, and how much of it
/// was taken.
async fn endless() -> (String, Arc<AtomicUsize>) {
    const CHUNK: usize = 1 << 16;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/tsa", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {RESPONSE_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = [format!("{CHUNK:x}\r\n").into_bytes(), vec![0; CHUNK], b"\r\n".to_vec()].concat();
        while counted.load(Ordering::SeqCst) < 200_000_000 && stream.write_all(&chunk).await.is_ok() {
            counted.fetch_add(CHUNK, Ordering::SeqCst);
        }
    });
    (url, taken)
}

/// Grants whatever it is asked for, or nothing.
struct Stub(&'static str, bool);

impl TimestampAuthority for Stub {
    fn name(&self) -> &str {
        self.0
    }

    fn stamp<'a>(&'a self, data: &'a [u8]) -> StampFuture<'a> {
        let granted =
            Granted { token: digest(DigestAlgorithm::Sha512, data).as_ref().to_vec().into(), time: now() };
        let refused = StampError { authority: self.0.into(), reason: "closed".into() };
        let grants = self.1;
        Box::pin(async move { if grants { Ok(granted) } else { Err(refused) } })
    }
}

fn grants() -> Vec<Box<dyn TimestampAuthority>> {
    vec![Box::new(Stub("closed", false)), Box::new(Stub("open", true))]
}

fn new_log(directory: &Path, clock: &FixedClock) -> MessageLog {
    MessageLog::create(config(directory), Arc::new(clock.clone())).unwrap()
}

async fn log_signed(
    log: &MessageLog,
    world: &World,
    key: &gateway::evidence::signature::SigningKey,
    body: &[u8],
) {
    let sha512 = |bytes: &[u8]| digest(DigestAlgorithm::Sha512, bytes);
    let digests = PartDigests::of_message(DigestAlgorithm::Sha512, HEAD).with_attachment(sha512(body));
    let bundle = sign(&digests, key, &world.keys, now()).await.unwrap();
    let client = "EE/GOV/1001/portal".parse().unwrap();
    let service = "EE/GOV/2002/registry/records".parse().unwrap();
    let mut record = MessageRecord::new(Role::Consumer, "1", "r", client, service, bundle.signature_xml);
    (record.hash_chain, record.hash_chain_result) = (bundle.hash_chain, bundle.hash_chain_result);
    let part =
        |kind: &str, content: &[u8]| Part::new(kind, u64::try_from(content.len()).unwrap(), sha512(content));
    record.parts = vec![part("head", HEAD), part("body", body)];
    let bodies = vec![Some(log.vault().seal(HEAD).unwrap()), Some(sealed(log, body).await)];
    log.append(Record::Request(record), bodies).await.unwrap();
}

/// The container of an exported message.
fn container(material: &Material) -> Vec<u8> {
    let (_, timestamp) = material.timestamp.as_ref().unwrap();
    let timestamp = match timestamp {
        TimestampMaterial::Single { token } => TimeStamp::Single { token },
        TimestampMaterial::Batch { token, hash_chain_result, hash_chain } => {
            TimeStamp::Batch { token, hash_chain_result, hash_chain }
        }
    };
    let signature = SignatureBundle {
        signature_xml: material.message.signature.clone(),
        hash_chain: material.message.hash_chain.clone(),
        hash_chain_result: material.message.hash_chain_result.clone(),
    };
    let parts: Vec<Bytes> =
        material.parts.iter().map(|part| part.as_ref().unwrap().read().unwrap()).collect();
    let (message, attachments) = parts.split_first().unwrap();
    let attachments =
        attachments.iter().map(|part| -> Box<dyn Read + '_> { Box::new(part.as_ref()) }).collect();
    let container =
        Container { message, signature: &signature, timestamp, attachments, logged_at: material.time };
    asic::write(container, std::io::Cursor::new(Vec::new())).unwrap().into_inner()
}

#[test]
fn a_logged_message_is_stamped_exported_and_judged_valid_alone_and_in_a_batch() {
    let world = Arc::new(World::new(KeyType::EcP256));
    let key = world.signing_key();
    for count in [1u64, 2, 5] {
        let world = Arc::clone(&world);
        let directory = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let clock = FixedClock::new(now());
            let log = new_log(directory.path(), &clock);
            for n in 0..count {
                let body = vec![b'b'; usize::try_from(n).unwrap() * 90_000];
                log_signed(&log, &world, &key, &body).await;
            }
            assert_eq!(log.reader().export(0).unwrap().unwrap().timestamp, None);
            let tsa = Tsa::start(Arc::clone(&world)).await;
            let stamped = stamp_pending(&log, &[tsa.authority(&world, &clock)]).await.unwrap();
            assert_eq!((stamped, tsa.asked.load(Ordering::SeqCst)), (usize::try_from(count).unwrap(), 1));
            for n in 0..count {
                let material = log.reader().export(n).unwrap().unwrap();
                let report = verify_container(&container(&material), &world.conf).unwrap();
                assert!(report.valid, "{n} of {count}: {report:?}");
                let alone = matches!(material.timestamp, Some((_, TimestampMaterial::Single { .. })));
                assert_eq!(alone, count == 1);
            }
            assert_eq!(
                stamp_pending(&log, &[tsa.authority(&world, &clock)]).await.unwrap(),
                0,
                "once is enough"
            );
            assert_eq!(tsa.asked.load(Ordering::SeqCst), 1);
        });
    }
}

#[test]
fn a_wrong_answer_of_an_authority_stamps_nothing_and_the_next_authority_is_asked() {
    let (world, stranger) = (Arc::new(World::new(KeyType::EcP256)), World::new(KeyType::EcP256));
    let key = world.signing_key();
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let clock = FixedClock::new(now());
        let log = new_log(directory.path(), &clock);
        log_signed(&log, &world, &key, b"body").await;
        let (first, second) = (Tsa::start(Arc::clone(&world)).await, Tsa::start(Arc::clone(&world)).await);
        let told = |result: Result<usize, PendingError>| match result {
            Err(PendingError::Refused(errors)) => errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        // Nothing but silence takes time: who passes for the wrong reason has another one here.
        let minute = Duration::from_secs(60);
        for (mode, patience, reason) in [
            (Mode::OtherNonce, minute, "the time-stamp has another nonce"),
            (Mode::OtherImprint, minute, "the time-stamp is over other data"),
            (Mode::Stale, minute, "the time-stamp's time is not acceptable"),
            (Mode::Early, minute, "the time-stamp's time is not acceptable"),
            (Mode::Apart(-70), minute, "the time-stamp's time is not acceptable"),
            (Mode::Apart(70), minute, "the time-stamp's time is not acceptable"),
            (Mode::Policy, minute, "the time-stamping authority refused: rejection, unacceptedPolicy"),
            (Mode::Status500, minute, "HTTP status 500"),
            (Mode::TooLong, minute, "body is longer than 65536 bytes"),
            (Mode::Slow, PATIENCE, "no answer in time"),
            (Mode::Silent, PATIENCE, "no answer in time"),
        ] {
            *first.mode.lock().unwrap() = mode;
            let began = tokio::time::Instant::now();
            let one = authority("first", &first.url, &world, &clock, patience);
            assert_eq!(told(stamp_pending(&log, &[one]).await), [format!("first: {reason}")], "{mode:?}");
            let took = began.elapsed();
            assert!(took < minute && (patience == minute || took >= patience), "{mode:?} took {took:?}");
        }
        *first.mode.lock().unwrap() = Mode::Rubbish;
        let one = authority("first", &first.url, &world, &clock, minute);
        let rubbish = told(stamp_pending(&log, &[one]).await);
        assert!(rubbish[0].starts_with("first: time-stamp response"), "{rubbish:?}");

        let (url, taken) = endless().await;
        let one = authority("first", &url, &world, &clock, minute);
        let reason = "first: body is longer than 65536 bytes";
        assert_eq!(told(stamp_pending(&log, &[one]).await), [reason]);
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken < 20_000_000, "{taken} bytes of it were taken");

        // Of the same name as an approved one, but with another key; and of a name that is none of theirs.
        let one = authority("first", &second.url, &stranger, &clock, minute);
        assert_eq!(told(stamp_pending(&log, &[one]).await), ["first: the signature does not match"]);
        let one: Box<dyn TimestampAuthority> = Box::new(HttpAuthority {
            name: "first".into(),
            url: second.url.clone(),
            approved: Vec::new(),
            client: Client::new(),
            limits: Limits::default(),
            clocks: Arc::new(Clocks::new(Arc::new(clock.clone()), clocks::Limits::default())),
        });
        let unapproved = "first: the time-stamp is not by an approved authority";
        assert_eq!(told(stamp_pending(&log, &[one]).await), [unapproved]);
        assert_eq!(log.reader().len(), 1, "nothing was logged for them");

        // Each in its turn, and none after the one that grants.
        let third = Tsa::start(Arc::clone(&world)).await;
        *first.mode.lock().unwrap() = Mode::OtherNonce;
        let before = [&first, &second, &third].map(|tsa| tsa.asked.load(Ordering::SeqCst));
        let in_turn = [
            authority("first", &first.url, &world, &clock, minute),
            authority("second", &second.url, &world, &clock, minute),
            authority("third", &third.url, &world, &clock, minute),
        ];
        assert_eq!(stamp_pending(&log, &in_turn).await.unwrap(), 1);
        let after = [&first, &second, &third].map(|tsa| tsa.asked.load(Ordering::SeqCst));
        assert_eq!(after, [before[0] + 1, before[1] + 1, before[2]]);
        assert_eq!(log.reader().timestamp_of(0).unwrap().unwrap().authority, "second");
    });
}

#[test]
fn what_each_authority_said_is_told_in_their_order_when_none_grants() {
    let world = Arc::new(World::new(KeyType::EcP256));
    let key = world.signing_key();
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let clock = FixedClock::new(now());
        let log = new_log(directory.path(), &clock);
        log_signed(&log, &world, &key, b"body").await;
        let (first, second) = (Tsa::start(Arc::clone(&world)).await, Tsa::start(Arc::clone(&world)).await);
        *first.mode.lock().unwrap() = Mode::Status500;
        *second.mode.lock().unwrap() = Mode::OtherImprint;
        let minute = Duration::from_secs(60);
        let both = [
            authority("first", &first.url, &world, &clock, minute),
            authority("second", &second.url, &world, &clock, minute),
        ];
        let none = stamp_pending(&log, &both).await.unwrap_err();
        assert_eq!(none.to_string(), "first: HTTP status 500; second: the time-stamp is over other data");
    });
}

#[test]
fn a_clock_that_differs_by_a_minute_is_put_up_with() {
    let world = Arc::new(World::new(KeyType::EcP256));
    let key = world.signing_key();
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let clock = FixedClock::new(now());
        let log = new_log(directory.path(), &clock);
        let tsa = Tsa::start(Arc::clone(&world)).await;
        // A token states whole seconds: behind is a part of one more.
        for (n, seconds) in [-59, 60, 0].into_iter().enumerate() {
            log_signed(&log, &world, &key, format!("body {n}").as_bytes()).await;
            *tsa.mode.lock().unwrap() = Mode::Apart(seconds);
            assert_eq!(stamp_pending(&log, &[tsa.authority(&world, &clock)]).await.unwrap(), 1, "{seconds}");
        }
    });
}

#[tokio::test]
async fn pending_messages_survive_a_restart_and_are_stamped_once_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    for n in 0..3 {
        append(&log, &format!("m{n}"), b"").await.unwrap();
    }
    assert!(matches!(stamp_pending(&log, &[]).await, Err(PendingError::NoAuthority)));
    assert_eq!(stamp_pending(&log, &grants()).await.unwrap(), 3);
    for n in 3..6 {
        append(&log, &format!("m{n}"), b"").await.unwrap();
    }
    drop(log);
    // Also with an index that is built anew.
    std::fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    let log = open(directory.path()).unwrap();
    assert_eq!(stamp_pending(&log, &grants()).await.unwrap(), 3);
    assert_eq!(stamp_pending(&log, &grants()).await.unwrap(), 0);
    let reader = log.reader();
    let covered =
        |n| reader.timestamp_of(n).unwrap().map(|s| s.covered.iter().map(|c| c.0).collect::<Vec<_>>());
    assert_eq!(covered(1), Some(vec![0, 1, 2]));
    assert_eq!(covered(3), None, "the first time-stamp itself");
    assert_eq!(covered(5), Some(vec![4, 5, 6]));
    assert_eq!(reader.timestamp_of(5).unwrap().unwrap().authority, "open", "the second one granted");
}

#[tokio::test]
async fn a_backlog_is_stamped_in_batches_of_ten_thousand() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    let mut appends = tokio::task::JoinSet::new();
    for n in 0..10_050 {
        let log = log.clone();
        appends.spawn(async move {
            let mut record = message(&format!("m{n}"), b"", b"");
            record.parts.clear();
            log.append(Record::Response(record), vec![]).await.unwrap();
        });
    }
    appends.join_all().await;
    assert_eq!(stamp_pending(&log, &grants()).await.unwrap(), 10_050);
    let reader = log.reader();
    assert_eq!(reader.len(), 10_052);
    assert_eq!(reader.timestamp_of(9_999).unwrap().unwrap().covered.len(), 10_000);
    assert_eq!(reader.timestamp_of(10_049).unwrap().unwrap().covered.len(), 50);
}

#[tokio::test]
async fn when_time_stamps_fail_for_too_long_no_exchange_begins_until_one_is_had() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = new_log(directory.path(), &clock);
    let closed = || -> Vec<Box<dyn TimestampAuthority>> { vec![Box::new(Stub("closed", false))] };
    assert_eq!(stamp_pending(&log, &closed()).await.unwrap(), 0, "nothing pending is no failure");
    append(&log, "m0", b"").await.unwrap();
    let since = clock.now();
    clock.advance(Duration::from_secs(4 * 3600));
    assert!(stamp_pending(&log, &closed()).await.is_err());
    assert_eq!(log.ready(), Ok(()), "for four hours it is acceptable");
    clock.advance(Duration::from_secs(1));
    let too_long = LogError::Timestamping { since: since.to_rfc3339() };
    assert_eq!(log.ready(), Err(too_long.clone()));
    append(&log, "under way", b"").await.unwrap();
    drop(log);
    let log = MessageLog::open(config(directory.path()), Arc::new(clock.clone())).unwrap();
    assert_eq!(log.ready(), Ok(()), "after a restart it is tried first");
    assert!(stamp_pending(&log, &closed()).await.is_err());
    assert_eq!(log.ready(), Err(too_long));
    assert_eq!(stamp_pending(&log, &grants()).await.unwrap(), 2, "nothing pending was dropped");
    assert_eq!(log.ready(), Ok(()));
}

/// Grants after a while; counts how often it is asked.
struct Counting(Arc<AtomicUsize>, Duration);

impl TimestampAuthority for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn stamp<'a>(&'a self, data: &'a [u8]) -> StampFuture<'a> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::time::sleep(self.1).await;
            Stub("counting", true).stamp(data).await
        })
    }
}

#[tokio::test]
async fn two_who_stamp_at_the_same_time_do_not_stamp_the_same_twice() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    for n in 0..5 {
        append(&log, &format!("m{n}"), b"").await.unwrap();
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let authorities = || -> Vec<Box<dyn TimestampAuthority>> {
        vec![Box::new(Counting(Arc::clone(&asked), Duration::from_millis(100)))]
    };
    let (one, two) = (authorities(), authorities());
    let (background, forced) = tokio::join!(stamp_pending(&log, &one), stamp_pending(&log, &two));
    assert_eq!((background.unwrap(), forced.unwrap()), (5, 0));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(log.reader().len(), 6, "five messages and one time-stamp");
}

#[tokio::test]
async fn messages_that_are_stamped_at_once_wait_for_it_and_share_time_stamps() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    log.stamp_at_once(Arc::new(move || {
        vec![Box::new(Counting(Arc::clone(&counted), Duration::from_millis(50)))]
    }));
    let mut appends = tokio::task::JoinSet::new();
    for n in 0..100 {
        let log = log.clone();
        appends.spawn(async move {
            let receipt = append(&log, &format!("m{n}"), b"").await.unwrap();
            let stamp = log.reader().timestamp_of(receipt.sequence).unwrap();
            assert!(stamp.is_some(), "{n} was answered without its time-stamp");
        });
    }
    appends.join_all().await;
    let asked = asked.load(Ordering::SeqCst);
    assert!((1..50).contains(&asked), "{asked} time-stamps for 100 messages at the same time");
    assert_eq!(log.reader().len(), 100 + u64::try_from(asked).unwrap(), "each asked for once, and logged");
}

#[tokio::test]
async fn a_message_that_cannot_be_stamped_at_once_fails_but_stays_logged_and_is_stamped_later() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    log.stamp_at_once(Arc::new(|| vec![Box::new(Stub("closed", false))]));
    let failed = append(&log, "m0", b"").await;
    assert_eq!(failed.unwrap_err(), LogError::Unstamped("closed: closed".into()));
    assert_eq!(ids(&log), ["m0"]);
    assert_eq!(stamp_pending(&log, &grants()).await.unwrap(), 1);
    assert!(log.reader().timestamp_of(0).unwrap().is_some());
}
