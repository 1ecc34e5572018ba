//! The log in PostgreSQL: the same records, the same tree; nothing lost and nothing doubled when PostgreSQL is killed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod log_support;
mod postgres_support;

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use cert_authority::{clock::Clock as _, durable};
use futures_util::StreamExt as _;

use gateway::messagelog::{
    Config, Database, KeyGrouping, LogError, LogStore, MessageLog, MessageRecord, Record, erase,
    error::{Finding, Flaw},
    reader::{Filter, Material, Order},
    record::{CheckpointRecord, Kind, Outcome, OutcomeRecord, TimestampRecord},
    stamp::signature_digest,
    timestamper::stamp_pending,
    tree::{Tree, leaf_hash},
};
use log_support::*;
use postgres_support::Cluster;

fn in_database(cluster: &Cluster, directory: &Path) -> Config {
    Config { postgres: Some(cluster.database()), ..config(directory) }
}

/// A node of the log in this database.
fn node(cluster: &Cluster, directory: &Path) -> MessageLog {
    // The first one makes the key; an operator takes it to the others.
    let kek = config(directory).key_file;
    if cluster.kek().exists() && !kek.exists() {
        std::fs::copy(cluster.kek(), &kek).unwrap();
    }
    let log = MessageLog::create(in_database(cluster, directory), Arc::new(clock())).unwrap();
    std::fs::copy(&kek, cluster.kek()).unwrap();
    log
}

fn reopened(cluster: &Cluster, directory: &Path) -> Result<MessageLog, LogError> {
    MessageLog::open(in_database(cluster, directory), Arc::new(clock()))
}

/// The tree over the frames as they are read, which must be the one that the log says, and the leaves it gives.
fn assert_whole(log: &MessageLog) {
    let (reader, mut tree) = (log.reader(), Tree::default());
    let count = usize::try_from(reader.len()).unwrap();
    let leaves = reader.leaves(0, count).unwrap();
    assert_eq!(leaves.len(), count);
    for (sequence, leaf) in (0..).zip(leaves) {
        let frame = reader.frame(sequence).unwrap().unwrap();
        assert_eq!(leaf_hash(&[&frame]), leaf, "{sequence}");
        tree.push(leaf);
    }
    assert_eq!(tree, reader.tree());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_found_and_read_again_after_a_restart() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let big = vec![7; 300_000];
    {
        let log = node(&cluster, directory.path());
        assert_eq!(log.ready(), Ok(()));
        assert_eq!(append(&log, "first", b"small").await.unwrap().sequence, 0);
        assert_eq!(append(&log, "second", &big).await.unwrap().sequence, 1);
        let outcome = OutcomeRecord {
            request: 1,
            message_id: "second".into(),
            outcome: Outcome::InDoubt,
            fault_code: Some("server.serverproxy.network_error".into()),
            fault_text: None,
            status: Some(500),
        };
        assert_eq!(log.append(Record::Outcome(outcome), vec![]).await.unwrap().sequence, 2);
        assert_eq!(reopened(&cluster, directory.path()).err(), Some(LogError::Locked));
    }
    let log = reopened(&cluster, directory.path()).unwrap();
    let reader = log.reader();
    assert_eq!(reader.len(), 3);
    let found = reader.by_message_id("second").unwrap();
    assert_eq!(found.iter().map(|r| r.sequence).collect::<Vec<_>>(), [1, 2]);
    let bodies = reader.bodies(&found[0]).unwrap();
    assert_eq!(bodies[0].as_ref().unwrap().read().unwrap().as_ref(), b"GET /r1/second");
    assert_eq!(bodies[1].as_ref().unwrap().read().unwrap(), big);
    assert_eq!(append(&log, "third", b"").await.unwrap().sequence, 3);
    assert_eq!(reader.get(4).unwrap(), None);
    assert_eq!(
        stamp_pending(&log, &[]).await.unwrap_err().to_string(),
        "no time-stamping authority is configured"
    );
    assert_whole(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_read_together_are_what_each_is_alone() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, directory.path());
    let small = |n: usize| append_named(&log, format!("small-{n}"));
    futures_util::future::join_all((0..300).map(small)).await;
    // More than is read at once, several together and one alone.
    for length in [3_000_000, 3_000_000, 5_000_000, 3_000_000] {
        let signature = Bytes::from(vec![b's'; length]);
        let large = MessageRecord { signature, ..message("large", b"head", b"body") };
        log.append(Record::Request(large), vec![None, None]).await.unwrap();
    }
    futures_util::future::join_all((300..320).map(small)).await;
    let reader = log.reader();
    let same = || {
        let behind = reader.len() + 2;
        let orders: [Vec<u64>; 3] = [
            (0..behind).collect(),
            (0..behind).rev().collect(),
            (0..behind).map(|n| n * 307 % behind).collect(),
        ];
        let mut wrong = Vec::new();
        for numbers in orders {
            let together: Vec<_> = reader.each_of(numbers.clone()).collect();
            let alone: Vec<_> = numbers.iter().map(|number| (*number, reader.get(*number))).collect();
            assert!(together == alone);
            // Every seventh is enough: the larger ones are among the last.
            let few: Vec<u64> =
                numbers.iter().copied().filter(|number| number % 7 == 2 || *number > 299).collect();
            let exported = reader.exports(few.clone()).zip(&few);
            for ((found, exported), number) in exported {
                let alone = reader.export(*number);
                let parts = |of: &Result<Option<Material>, LogError>| {
                    of.as_ref()
                        .map(|of| of.as_ref().map(|of| (of.sequence, of.parts.len())))
                        .map_err(Clone::clone)
                };
                assert_eq!((found, parts(&exported)), (*number, parts(&alone)));
            }
            wrong = alone.into_iter().filter(|(_, found)| !matches!(found, Ok(Some(_)))).collect();
        }
        wrong.sort_unstable_by_key(|(number, _)| *number);
        wrong
    };
    let size = reader.len();
    assert_eq!(size, 324);
    assert_eq!(same(), [(size, Ok(None)), (size + 1, Ok(None))]);

    cluster.sql(
        "UPDATE passerelle_log.record SET frame = overlay(frame placing '\\x00' from 40) WHERE sequence = 5",
    );
    cluster.sql("UPDATE passerelle_log.record SET leaf = '' WHERE sequence = 30");
    cluster.sql("DELETE FROM passerelle_log.record WHERE sequence = 17");
    let changed = |sequence, flaw| {
        (sequence, Err(LogError::Damaged(Finding { segment: 0, offset: sequence, sequence, flaw })))
    };
    assert_eq!(
        same(),
        [
            changed(5, Flaw::Hash),
            changed(17, Flaw::Sequence),
            changed(30, Flaw::Hash),
            (size, Ok(None)),
            (size + 1, Ok(None)),
        ]
    );
}

async fn append_named(log: &MessageLog, id: String) {
    append(log, &id, b"body").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_write_one_log_with_dense_numbers_and_see_each_others_records() {
    let cluster = Cluster::start();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let nodes = [node(&cluster, one.path()), node(&cluster, two.path())];
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let log = nodes[task % 2].clone();
            tokio::spawn(async move {
                let mut numbers = Vec::new();
                for n in 0..10 {
                    numbers.push(append(&log, &format!("{task}-{n}"), b"body").await.unwrap().sequence);
                }
                numbers
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.extend(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..320).collect::<Vec<_>>());
    for log in &nodes {
        seen(log, 320).await;
        assert_whole(log);
        let filter = Filter { client: Some(client()), kinds: vec![Kind::Request], ..Filter::default() };
        let found = log.reader().find(&filter, Order::NewestFirst, Some(300), 280).unwrap();
        let numbers: Vec<_> = found.iter().map(|record| record.sequence).collect();
        assert_eq!(numbers, (20..300).rev().collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_large_and_small_are_read_by_every_node_until_any_of_them_destroys_their_key() {
    let cluster = Cluster::start();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (node(&cluster, one.path()), node(&cluster, two.path()));
    let large: Vec<u8> = (0..3_500_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    append(&first, "large", &large).await.unwrap();
    append(&first, "small", b"few").await.unwrap();
    seen(&second, 2).await;
    let of = |log: &MessageLog, n: u64| {
        let found = log.reader().get(n).unwrap().unwrap();
        log.reader().bodies(&found).unwrap()
    };
    assert_eq!(of(&second, 0)[1].as_ref().unwrap().read().unwrap(), large);
    assert_eq!(of(&second, 1)[1].as_ref().unwrap().read().unwrap().as_ref(), b"few");
    let streamed: Vec<_> = of(&second, 0)[1].as_ref().unwrap().stream().collect().await;
    let streamed: Vec<u8> = streamed.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(streamed, large);

    let keys = second.vault().keys().unwrap();
    assert_eq!(keys.len(), 1, "both use the key of the day");
    let messages = erase::erase(&second, &keys[0], "operator", "test").await.unwrap();
    assert_eq!(messages, [0, 1]);
    assert_eq!(cluster.value("SELECT count(*) FROM passerelle_log.body"), "0");
    assert_eq!(cluster.value("SELECT count(*) FROM passerelle_log.data_key"), "0");
    for _ in 0..100 {
        if of(&first, 0)[1].is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for n in 0..2 {
        assert!(of(&first, n)[1].is_none(), "{n}");
    }
    // What comes now is sealed with a new key by the node that had the destroyed one in memory.
    append(&first, "later", b"new").await.unwrap();
    assert_eq!(of(&second, 3)[1].as_ref().unwrap().read().unwrap().as_ref(), b"new");
    assert_whole(&first);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_the_data_key_of_a_member_and_erase_its_bodies_alone() {
    let cluster = Cluster::start();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop((node(&cluster, one.path()), node(&cluster, two.path())));
    let by_member = |directory: &Path| {
        let config = Config { key_grouping: KeyGrouping::Member, ..in_database(&cluster, directory) };
        MessageLog::open(config, Arc::new(clock())).unwrap()
    };
    let (first, second) = (by_member(one.path()), by_member(two.path()));
    let [member, other] = ["DEMO/GOV/1001/portal", "DEMO/GOV/3003/other"].map(|id| id.parse().unwrap());
    for (n, (log, owner)) in [(&first, &member), (&second, &member), (&first, &other)].into_iter().enumerate()
    {
        let (vault, id) = (log.vault().of(owner), format!("m-{n}"));
        let parts = [vault.seal(b"head").unwrap(), vault.seal(id.as_bytes()).unwrap()];
        let record = message(&id, b"head", id.as_bytes());
        log.append(Record::Request(record), parts.map(Some).to_vec()).await.unwrap();
    }
    let keys = first.vault().keys().unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    let (own, others): (Vec<_>, Vec<_>) =
        keys.iter().partition(|key| erase::is_of(key, &"DEMO/GOV/1001".parse().unwrap()));
    assert_eq!((own.len(), others.len()), (1, 1), "{keys:?}");

    seen(&second, 3).await;
    assert_eq!(erase::erase(&second, own[0], "operator", "it has left").await.unwrap(), [0, 1]);
    let left: Vec<bool> = (0..3)
        .map(|n| second.reader().bodies(&second.reader().get(n).unwrap().unwrap()).unwrap()[1].is_some())
        .collect();
    assert_eq!(left, [false, false, true]);
    assert_eq!(first.vault().keys().unwrap().iter().collect::<Vec<_>>(), others);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_whose_rows_were_changed_or_removed_is_not_believed() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, directory.path());
    append(&log, "large", &vec![5; 2_500_000]).await.unwrap();
    let read = || {
        let found = log.reader().get(0).unwrap().unwrap();
        log.reader().bodies(&found).unwrap()[1].as_ref().unwrap().read()
    };
    cluster.sql("UPDATE passerelle_log.body SET content = set_byte(content, 700, 255 - get_byte(content, 700)) WHERE chunk = 1");
    assert!(matches!(read(), Err(LogError::Body(_))));
    cluster.sql("DELETE FROM passerelle_log.body WHERE chunk = 2");
    assert!(matches!(read(), Err(LogError::Body(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_key_encryption_key_of_the_log_is_refused() {
    let cluster = Cluster::start();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(node(&cluster, one.path()));
    let migrate = || MessageLog::create(in_database(&cluster, two.path()), Arc::new(clock())).map(drop);
    assert!(matches!(migrate(), Err(LogError::Key(_))), "missing");
    assert!(!config(two.path()).key_file.exists(), "none is made");
    let other = "ab".repeat(32);
    durable::write_secret(config(two.path()).key_file, other.as_bytes()).unwrap();
    assert!(matches!(migrate(), Err(LogError::Key(_))), "another");
    durable::write_secret(config(one.path()).key_file, other.as_bytes()).unwrap();
    assert!(matches!(reopened(&cluster, one.path()).err(), Some(LogError::Key(_))), "changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_doubled_when_postgresql_is_killed_under_load() {
    let cluster = Cluster::start();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let nodes = [node(&cluster, one.path()), node(&cluster, two.path())];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (log, stopped) = (nodes[task % 2].clone(), stopped.clone());
            tokio::spawn(async move {
                let (mut given, mut asked) = (Vec::new(), 0);
                while !*stopped.borrow() {
                    let id = format!("{task}-{asked}");
                    asked += 1;
                    match append(&log, &id, b"body").await {
                        Ok(receipt) => given.push((id, receipt)),
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
                given
            })
        })
        .collect();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        cluster.kill();
        assert_refused(&nodes[0]).await;
        cluster.start_again();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.send(true).unwrap();
    let mut given = Vec::new();
    for task in tasks {
        given.extend(task.await.unwrap());
    }
    assert!(given.len() > 100, "{}", given.len());
    drop(nodes);
    let log = reopened(&cluster, one.path()).unwrap();
    assert_whole(&log);
    let all = ids(&log);
    let reader = log.reader();
    let found = reader.each_of(given.iter().map(|(_, receipt)| receipt.sequence));
    for ((id, receipt), (_, found)) in given.iter().zip(found) {
        let found = found.unwrap().unwrap();
        assert_eq!((found.record.message_id(), found.leaf), (Some(id.as_str()), receipt.leaf));
    }
    let mut once = all.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), all.len(), "doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_set_back_to_a_backup_is_seen_and_the_log_stops() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, directory.path());
    append(&log, "first", b"").await.unwrap();
    cluster.sql("CREATE TABLE kept AS SELECT * FROM passerelle_log.head");
    append(&log, "second", b"").await.unwrap();
    cluster.sql(
        "DELETE FROM passerelle_log.record WHERE sequence > 0; DELETE FROM passerelle_log.head; \
                 INSERT INTO passerelle_log.head SELECT * FROM kept",
    );
    let refused = append(&log, "third", b"").await.unwrap_err();
    assert!(
        matches!(refused, LogError::CutOff { expected: 2, found: 1 } | LogError::Stopped(_)),
        "{refused}"
    );
    assert!(matches!(log.ready(), Err(LogError::Stopped(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_changed_in_the_table_is_not_believed() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, directory.path());
    append(&log, "first", b"small").await.unwrap();
    cluster.sql("UPDATE passerelle_log.record SET frame = set_byte(frame, 40, 255 - get_byte(frame, 40))");
    assert!(matches!(log.reader().get(0), Err(LogError::Damaged(_))));
    assert!(matches!(log.reader().frame(0), Err(LogError::Damaged(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_another_log_is_refused() {
    let cluster = Cluster::start();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(create(one.path()));
    let refused = MessageLog::create(in_database(&cluster, one.path()), Arc::new(clock()));
    assert!(matches!(refused.err(), Some(LogError::NotEmpty(_))));
    assert!(matches!(reopened(&cluster, one.path()).err(), Some(LogError::Missing(_))));
    assert!(matches!(reopened(&cluster, two.path()).err(), Some(LogError::Missing(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_sync_is_refused() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    drop(node(&cluster, directory.path()));
    cluster.sql("ALTER SYSTEM SET fsync = off");
    cluster.sql("SELECT pg_reload_conf()");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = reopened(&cluster, directory.path()).err().unwrap();
    assert!(refused.to_string().contains("fsync"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_leads_and_only_it_may_write_checkpoints() {
    let cluster = Cluster::start();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = node(&cluster, one.path());
    leads(&first).await;
    let second = node(&cluster, two.path());
    let checkpoint = || {
        Record::Checkpoint(CheckpointRecord {
            size: 0,
            root: [0; 32],
            note: Bytes::new(),
            cosignatures: vec![],
            token: None,
        })
    };
    assert_eq!(second.append(checkpoint(), vec![]).await.unwrap_err(), LogError::Overtaken);
    first.append(checkpoint(), vec![]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(first.leads() && !second.leads(), "the lease is renewed");
    // The second takes the lead behind the back of the first, as when the first has slept.
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let work = first.clone();
    let worker = tokio::spawn(async move {
        work.while_leading(stopped, || {
            begun.send(()).unwrap();
            std::future::pending()
        })
        .await;
    });
    begins.recv().await.unwrap();
    cluster.sql("UPDATE passerelle_log.head SET leader = decode('00', 'hex'), lease = clock_timestamp() + interval '3 s'");
    assert_eq!(first.append(checkpoint(), vec![]).await.unwrap_err(), LogError::Overtaken);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!first.leads());
    drop(second);
    tokio::time::timeout(Duration::from_secs(10), begins.recv()).await.unwrap().unwrap();
    assert!(first.leads(), "the work begins anew when it leads again");
    worker.abort();
    append(&first, "after", b"").await.unwrap();
    assert_whole(&first);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stamped_twice_whichever_node_asks() {
    let cluster = Cluster::start();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let nodes = [node(&cluster, one.path()), node(&cluster, two.path())];
    append(&nodes[0], "one", b"").await.unwrap();
    append(&nodes[1], "two", b"").await.unwrap();
    let found = nodes[0].reader().get(0).unwrap().unwrap();
    let covered = vec![(found.sequence, signature_digest(&found.record.message().unwrap().signature))];
    let stamp = || {
        let (token, time) = (Bytes::from_static(b"token"), clock().now());
        let (authority, covered) = ("test".to_owned(), covered.clone());
        Record::Timestamp(TimestampRecord { token, time, authority, covered, chain_result: None })
    };
    nodes[0].append(stamp(), vec![]).await.unwrap();
    assert_eq!(nodes[1].append(stamp(), vec![]).await.unwrap_err(), LogError::Overtaken);
    append(&nodes[1], "three", b"").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_or_asleep_the_log_is_not_ready_and_then_it_is_again() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, directory.path());
    append(&log, "before", b"").await.unwrap();
    cluster.signal("STOP");
    assert_refused(&log).await;
    let refused = tokio::time::timeout(Duration::from_secs(5), append(&log, "meanwhile", b"")).await;
    assert!(matches!(refused, Ok(Err(LogError::Io { what: "PostgreSQL", .. }))), "{refused:?}");
    cluster.signal("CONT");
    ready(&log).await;
    append(&log, "after", b"").await.unwrap();
    cluster.kill();
    assert_refused(&log).await;
    cluster.start_again();
    ready(&log).await;
    append(&log, "at last", b"").await.unwrap();
    assert_eq!(ids(&log), ["before", "after", "at last"]);
    assert_whole(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_password_that_others_can_read_are_refused() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    drop(node(&cluster, directory.path()));
    cluster.sql("CREATE ROLE gate LOGIN SUPERUSER PASSWORD 'right'");
    cluster.ask_for_passwords();
    let file = directory.path().join("password");
    let open = |password: &str, mode: u32| {
        durable::write_secret(&file, password.as_bytes()).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let database =
            Database { user: "gate".into(), password_file: Some(file.clone()), ..cluster.database() };
        let config = Config { postgres: Some(database), ..config(directory.path()) };
        MessageLog::open(config, Arc::new(clock())).map(drop)
    };
    let refused = open("wrong", 0o600).unwrap_err().to_string();
    assert!(refused.contains("28P01") && !refused.contains("wrong"), "{refused}");
    let refused = open("right", 0o640).unwrap_err().to_string();
    assert!(refused.contains("can be read by others"), "{refused}");
    open("right\n", 0o600).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_connections_to_spare_is_waited_for() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, directory.path());
    append(&log, "before", b"").await.unwrap();
    cluster.sql("ALTER DATABASE postgres CONNECTION LIMIT 0; CREATE ROLE gate LOGIN");
    cluster.sql("GRANT ALL ON SCHEMA passerelle_log TO gate; GRANT ALL ON ALL TABLES IN SCHEMA passerelle_log TO gate");
    drop(log);
    let database = Database { user: "gate".into(), ..cluster.database() };
    let config = Config { postgres: Some(database), ..config(directory.path()) };
    let refused = MessageLog::open(config.clone(), Arc::new(clock())).err().unwrap().to_string();
    assert!(refused.contains("53300"), "{refused}");
    cluster.sql("ALTER DATABASE postgres CONNECTION LIMIT -1");
    let log = MessageLog::open(config, Arc::new(clock())).unwrap();
    append(&log, "opened", b"").await.unwrap();
    // The connections that are there are taken away, and no new ones given, for a while.
    cluster.sql("ALTER DATABASE postgres CONNECTION LIMIT 0");
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gate'");
    assert_refused(&log).await;
    cluster.sql("ALTER DATABASE postgres CONNECTION LIMIT -1");
    ready(&log).await;
    append(&log, "after", b"").await.unwrap();
    assert_eq!(ids(&log), ["before", "opened", "after"]);
}

/// Waits until a node leads.
async fn leads(log: &MessageLog) {
    for _ in 0..200 {
        if log.leads() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody leads");
}

/// Waits until exchanges can begin again.
async fn ready(log: &MessageLog) {
    for _ in 0..600 {
        if log.ready().is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", log.ready());
}

/// Waits until a node knows of so many records.
async fn seen(log: &MessageLog, count: u64) {
    for _ in 0..100 {
        if log.reader().len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} records", log.reader().len());
}

/// Waits until a node says that no exchange can begin.
async fn assert_refused(log: &MessageLog) {
    for _ in 0..600 {
        if log.ready().is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("ready without PostgreSQL");
}
