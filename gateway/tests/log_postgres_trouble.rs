//! What PostgreSQL does to those who share it: serialisation failures, dead-locks, a server that does not answer when a
//! key is wanted. Nothing is lost or doubled, and nobody waits who need not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;
mod postgres_support;

use std::{path::Path, sync::Arc, time::Duration};

use gateway::messagelog::{Config, KeyGrouping, LogError, LogStore as _, MessageLog, audit::audit};
use log_support::*;
use postgres_support::Cluster;
use tempfile::TempDir;

fn settings(cluster: &Cluster, directory: &Path) -> Config {
    Config { postgres: Some(cluster.database()), ..config(directory) }
}

fn node(cluster: &Cluster, directory: &TempDir) -> MessageLog {
    MessageLog::create(settings(cluster, directory.path()), Arc::new(clock())).unwrap()
}

/// The log verifies, and holds these.
fn assert_holds(cluster: &Cluster, directory: &TempDir, log: &MessageLog, expected: &[String]) {
    assert_eq!(ids(log), expected);
    assert_eq!(audit(&settings(cluster, directory.path()), &mut ()).unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_could_not_be_serialised_is_tried_again_and_nothing_is_doubled() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, &directory);
    // Before the records are there, and when the commit is under way.
    for (when, number) in [("BEFORE INSERT ON passerelle_log.record", 1), ("", 2)] {
        let trigger = match when {
            "" => "CREATE CONSTRAINT TRIGGER trouble AFTER INSERT ON passerelle_log.record DEFERRABLE INITIALLY \
                   DEFERRED FOR EACH ROW"
                .to_owned(),
            when => format!("CREATE TRIGGER trouble {when} FOR EACH ROW"),
        };
        // A sequence keeps its value when a transaction is rolled back.
        cluster.sql(&format!(
            "CREATE SEQUENCE tries{number}; \
             CREATE FUNCTION trouble{number}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('tries{number}') <= 3 THEN \
             RAISE 'could not serialize access' USING ERRCODE = 'serialization_failure'; END IF; \
             RETURN NEW; END $$; {trigger} EXECUTE FUNCTION trouble{number}()"
        ));
        append(&log, &format!("m-{number}"), b"body").await.unwrap();
        assert_eq!(cluster.value(&format!("SELECT last_value FROM tries{number}")), "4", "tried four times");
        cluster.sql("DROP TRIGGER trouble ON passerelle_log.record");
    }
    assert_holds(&cluster, &directory, &log, &["m-1".to_owned(), "m-2".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_dead_lock_has_ended_is_tried_again_and_nothing_is_doubled() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, &directory);
    append(&log, "before", b"").await.unwrap();
    let (log, cluster) = (log, Arc::new(cluster));
    let other = Arc::clone(&cluster);
    // It has the table, and then wants the head row, which the gateway has when it wants the table. The gateway looks
    // for dead-locks first, and is the one whose transaction is ended.
    let other = tokio::task::spawn_blocking(move || {
        other.sql(
            "BEGIN; SET LOCAL deadlock_timeout = '60s'; LOCK TABLE passerelle_log.record IN EXCLUSIVE MODE; \
             DO $$ BEGIN LOOP EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE NOT granted \
             AND relation = 'passerelle_log.record'::regclass); PERFORM pg_sleep(0.02); END LOOP; END $$; \
             SELECT * FROM passerelle_log.head FOR UPDATE; COMMIT",
        );
    });
    let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock' AND granted \
                  AND relation = 'passerelle_log.record'::regclass";
    while cluster.value(locked) == "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    append(&log, "during", b"body").await.unwrap();
    other.await.unwrap();
    let mut counted = false;
    for _ in 0..100 {
        counted |= cluster.value("SELECT sum(deadlocks) > 0 FROM pg_stat_database") == "t";
        tokio::time::sleep(Duration::from_millis(50)).await;
        if counted {
            break;
        }
    }
    assert!(counted, "there was no dead-lock");
    append(&log, "after", b"").await.unwrap();
    let expected = ["before", "during", "after"].map(str::to_owned);
    assert_holds(&cluster, &directory, &log, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_batches_holds_a_row_for_each_life_of_a_node_and_no_more() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, &directory);
    for number in 0..50 {
        append(&log, &format!("a-{number}"), b"").await.unwrap();
    }
    assert_eq!(cluster.value("SELECT count(*) FROM passerelle_log.batch"), "1");
    assert_eq!(
        cluster.value("SELECT max(first) FROM passerelle_log.batch"),
        "49",
        "the one that is asked for"
    );
    // Tries whose outcome is not known keep their name until it is.
    cluster.kill();
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { append(&log, "refused or late", b"").await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.start_again();
    let late = waiting.await.unwrap();
    while log.ready().is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    append(&log, "after", b"").await.unwrap();
    assert_eq!(cluster.value("SELECT count(*) FROM passerelle_log.batch"), "1");
    drop(log);
    let log = MessageLog::open(settings(&cluster, directory.path()), Arc::new(clock())).unwrap();
    append(&log, "next life", b"").await.unwrap();
    assert_eq!(cluster.value("SELECT count(*) FROM passerelle_log.batch"), "2");
    let mut expected: Vec<String> = (0..50).map(|number| format!("a-{number}")).collect();
    expected.extend(late.ok().map(|_| "refused or late".to_owned()));
    expected.extend(["after".to_owned(), "next life".to_owned()]);
    assert_holds(&cluster, &directory, &log, &expected);
}

/// On one thread: who blocks it blocks all.
#[test]
fn while_the_key_of_a_day_is_fetched_everything_else_goes_on() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let config = Config { key_grouping: KeyGrouping::Subsystem, ..settings(&cluster, directory.path()) };
    let day = Duration::from_secs(24 * 3600);
    let time = Arc::new(clock());
    let log = MessageLog::create(config, time.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (one, two) = (client(), service().client().clone());
        let before = log.vault().keyed(&one).await.unwrap().seal(b"x").unwrap().key_id().to_owned();
        log.vault().keyed(&two).await.unwrap();
        cluster.signal("STOP");
        // The key of the other one's day is not at hand: PostgreSQL is asked, which does not answer.
        let third = "DEMO/GOV/3003/third".parse().unwrap();
        let fetched = log.vault().keyed(&third);
        let others = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                // Whose keys are at hand is not kept from sealing.
                log.vault().keyed(&two).await.unwrap().seal(b"x").unwrap();
            }
            cluster.signal("CONT");
        };
        let (fetched, ()) = tokio::join!(fetched, others);
        assert!(fetched.is_ok(), "it was waited for before anything else went on: {:?}", fetched.err());
        // A new day has another key; what was begun the day before ends with the key that it began with.
        let vault = log.vault().keyed(&one).await.unwrap();
        time.advance(day);
        assert_eq!(vault.seal(b"x").unwrap().key_id(), before);
        let next = log.vault().keyed(&one).await.unwrap().seal(b"x").unwrap().key_id().to_owned();
        assert_ne!(next, before);
        // Nobody else waits for longer than one who asks.
        cluster.kill();
        let fourth = "DEMO/GOV/4004/fourth".parse().unwrap();
        let refused = log.vault().keyed(&fourth).await.err();
        assert!(matches!(refused, Some(LogError::Io { .. })), "{refused:?}");
        assert_eq!(log.vault().keyed(&one).await.unwrap().seal(b"x").unwrap().key_id(), next);
    });
}
