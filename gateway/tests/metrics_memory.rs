//! What measurements hold in memory while nobody asks for them. Alone in its process, whose memory is measured.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use gateway::admin::{Admin, Health, Metrics, Tokens};
use gateway::transport::DoorLimits;
use tokio::{net::TcpListener, sync::watch};

const SAMPLES: u64 = 500_000;
const ROUNDS: u64 = 16;
/// How often the administration port tidies up.
const TIDYING: Duration = Duration::from_millis(250);

#[tokio::test]
async fn samples_do_not_pile_up_while_nobody_scrapes_them() {
    let metrics = Metrics::install().unwrap();
    let hosts = Arc::new(ArcSwap::default());
    let admin = Admin::new(Tokens::new(Vec::new()), hosts, Health::new()).metrics(metrics.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(admin.serve(listener, DoorLimits::default(), stopped));

    let samples = metrics::histogram!("samples");
    let mut after_the_first = None;
    for _ in 0..ROUNDS {
        (0..SAMPLES).for_each(|_| samples.record(0.02));
        // On the one thread of this runtime: what has been due for longer comes first.
        tokio::time::sleep(2 * TIDYING).await;
        after_the_first.get_or_insert_with(resident);
    }
    let grown = resident().saturating_sub(after_the_first.unwrap());
    // Each sample that is held takes 24 bytes.
    assert!(grown < SAMPLES * ROUNDS * 24 / 4, "{ROUNDS} x {SAMPLES} samples: grown by {grown} bytes");
    let count = format!("samples_count {}", SAMPLES * ROUNDS);
    assert!(metrics.render().contains(&count), "none is lost");
}

/// Bytes in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
