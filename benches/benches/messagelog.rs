//! Appending to the message log on a real disk, with a real `fdatasync`, beside what one `fdatasync` takes.
//!
//! The logs are made below `target/` of the source tree, which must not be a file system in memory.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::process;
use benches::world::{MESSAGE, World, at_once, digests, now};
use bytes::Bytes;
use cert_authority::clock::SystemClock;
use cert_authority::keys::KeyType;
use criterion::{Criterion, Throughput};
use gateway::evidence::signature::{SignatureBundle, sign};
use gateway::message::digests::PartDigests;
use gateway::message::transport::part;
use gateway::messagelog::{Config, LogStore as _, MessageLog, MessageRecord, Part, Record, Role};
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use tokio::runtime::Runtime;

const BODY: [u8; 1024] = [b'x'; 1024];

fn main() {
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(5)).configure_from_args();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target");
    assert!(!process::on_tmpfs(&target), "{} is a file system in memory", target.display());
    let directory = tempfile::Builder::new().prefix("bench-log").tempdir_in(target).unwrap();
    floor(&mut criterion, directory.path());
    appends(&mut criterion, directory.path());
    criterion.final_summary();
}

/// 8 KiB (about one record) written into a preallocated file, and synced.
fn floor(criterion: &mut Criterion, directory: &Path) {
    const LENGTH: u64 = 64 << 20;
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(true).open(directory.join("floor")).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, LENGTH).unwrap();
    let mut group = criterion.benchmark_group("floor");
    for (name, records) in [("1 record", 1_usize), ("32 records", 32)] {
        let data = vec![b'x'; records * 8192];
        let mut at = 0;
        group.bench_function(format!("write {name} of 8 KiB and fdatasync"), |timer| {
            timer.iter(|| {
                file.write_all_at(&data, at).unwrap();
                fdatasync(&file).unwrap();
                at = (at + u64::try_from(data.len()).unwrap()) % (LENGTH - (1 << 20));
            });
        });
    }
    group.finish();
}

/// Time of one append while 1 and 32 tasks append one after the other: 32 share their syncs.
fn appends(criterion: &mut Criterion, directory: &Path) {
    let world = World::new(KeyType::EcP256).unwrap();
    let parts = digests(Some(&BODY));
    let bundle = at_once(sign(&parts, &world.signing, &world.keys, now())).unwrap().unwrap();
    let message = Arc::new(Message { parts, bundle });
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(1));
    for tasks in [1_u64, 32] {
        let folder = directory.join(format!("tasks-{tasks}"));
        std::fs::create_dir(&folder).unwrap();
        let config = Config { key_file: folder.join("key"), ..Config::new(folder.join("log")) };
        let log = MessageLog::create(config, Arc::new(SystemClock)).unwrap();
        group.bench_function(format!("append and sync, {tasks} tasks"), |timer| {
            timer.iter_custom(|count| {
                let begin = Instant::now();
                runtime.block_on(append_many(&log, &message, tasks, count));
                begin.elapsed()
            });
        });
    }
    group.finish();
}

struct Message {
    parts: PartDigests,
    bundle: SignatureBundle,
}

async fn append_many(log: &MessageLog, message: &Arc<Message>, tasks: u64, count: u64) {
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let (log, message) = (log.clone(), Arc::clone(message));
            let share = count / tasks + u64::from(task < count % tasks);
            tokio::spawn(async move {
                for _ in 0..share {
                    append(&log, &message).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// As the exchange does it: message part and body sealed, record appended.
async fn append(log: &MessageLog, Message { parts, bundle }: &Message) {
    let part =
        |kind: &str, content: &[u8], digest| Part::new(kind, content.len().try_into().unwrap(), digest);
    let client = "DEMO/GOV/1001/portal".parse().unwrap();
    let service = conf::identifier::ServiceId::parse_encoded("DEMO/GOV/2002/registry/records").unwrap();
    let signature = Bytes::clone(&bundle.signature_xml);
    let (id, request) = ("DEMO-6f6d2c5e-7f0b-4b4f-9a43-0b2e4f9c3a11", "d41f3a52-2bb5-4a0c-8a77-3f0f6c3b9d20");
    let mut record = MessageRecord::new(Role::Consumer, id, request, client, service, signature);
    record.hash_chain_result.clone_from(&bundle.hash_chain_result);
    record.hash_chain.clone_from(&bundle.hash_chain);
    record.parts = vec![
        part(part::REST_REQUEST, MESSAGE, parts.message),
        part(part::REST_BODY, &BODY, *parts.attachments.first().unwrap()),
    ];
    let mut body = log.vault().writer().unwrap();
    body.write(&BODY).await.unwrap();
    let contents = vec![Some(log.vault().seal(MESSAGE).unwrap()), Some(body.finish().await.unwrap())];
    log.append(Record::Request(record), contents).await.unwrap();
}
