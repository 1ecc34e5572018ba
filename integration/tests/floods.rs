//! Floods, in small: whoever only wants work done gets it done meanwhile. How long it takes then, and ten thousand
//! connections, are for `cargo run --release -p integration --bin floods`.

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use integration::floods::{Case, HEAD, Row, Scene};

    const TIME: Duration = Duration::from_secs(1);
    /// The gateway is not optimised here, and few connections share what does not grow with them.
    const MOST_MEMORY_EACH: u64 = 100 * 1024;

    fn nobody_is_harmed(row: &Row) {
        println!("{row}");
        for (times, of) in row.exchanges.iter().zip(["before", "with", "after"]) {
            assert!(times.count() > 0 && times.failed == 0, "{of}: {:?}", times.first);
        }
        for (times, of) in row.newcomers.iter().zip(["before", "with", "after"]) {
            assert!(times.count() > 0 && times.failed == 0, "newcomers {of}: {:?}", times.first);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn exchanges_and_newcomers_succeed_while_a_door_is_flooded() {
        let folder = tempfile::tempdir().unwrap();
        let mut scene = Scene::make(folder.path(), 19_500).await.unwrap();
        println!("{HEAD}");

        // Room for all: they stay.
        for case in [Case::AskedTls, Case::IdlePlain] {
            let row = scene.measure(case, (300, 10), TIME, "").await.unwrap();
            nobody_is_harmed(&row);
            assert_eq!((row.held, row.ended), (300, (0, 0)), "{row}");
            assert!(row.memory_each() < MOST_MEMORY_EACH, "{row}");
        }
        // More than there is room for: those that wait give way to newcomers.
        let narrow = "[limits]\nconnections = 100\nhandshakes = 16\nhandshakes_per_address = 4\n";
        for (case, connections) in [(Case::SlowHeads, 150), (Case::HalfHandshakes, 400)] {
            let row = scene.measure(case, (connections, 10), TIME, narrow).await.unwrap();
            nobody_is_harmed(&row);
            assert!(row.held > 0 && row.ended.0 > 0, "{row}");
        }
        scene.stop().unwrap();
    }
}
