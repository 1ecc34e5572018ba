//! The attack table, in every change: the same rows and cases as `cargo run -p integration --bin attacks`.

#[cfg(test)]
mod tests {
    use integration::attacks::{Case, Evidence, Expected, Judge, ROWS, count_panics, keep_lines, run};
    use integration::world::{Ask, RECORDS, World};

    /// What gateways write is kept for the whole process: one at a time.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[tokio::test]
    async fn every_row_of_the_attack_table_holds() {
        let _alone = ALONE.lock().await;
        count_panics();
        keep_lines();
        let rows: Vec<_> = ROWS.iter().collect();
        let mut wrong = Vec::new();
        let report = run(&rows, |row| {
            println!("{row}");
            wrong.extend(row.wrong.iter().map(|what| format!("{} {what}", row.row.id)));
        })
        .await;
        println!("{report}");
        // For whoever runs all tests, and sees nothing of those that pass.
        let table = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("attack-table.txt");
        cert_authority::durable::write(table, format!("{report}\n").as_bytes()).unwrap();
        assert_eq!(wrong, Vec::<String>::new());
        assert!(report.is_right());
    }

    /// A row that names a test which is not there would say what is not so.
    #[test]
    fn every_test_that_the_table_names_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let named: Vec<_> = ROWS.iter().flat_map(|row| row.elsewhere).collect();
        assert!(named.len() > 40, "{}", named.len());
        for test in named {
            let (file, name) = test.split_once("::").unwrap();
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            let (before, _) =
                text.split_once(&format!("fn {name}()")).unwrap_or_else(|| panic!("{test} is not there"));
            let attribute = before.rsplit_once("#[").unwrap().1;
            assert!(
                attribute.starts_with("test]") || attribute.starts_with("tokio::test"),
                "{test} is no test"
            );
        }
        for row in ROWS {
            assert!(row.cases > 0 || !row.elsewhere.is_empty() || row.open.is_some(), "{}", row.id);
        }
    }

    #[tokio::test]
    async fn the_judge_sees_what_no_attack_may_do() {
        let _alone = ALONE.lock().await;
        keep_lines();
        let world = World::start().await;
        let mut judge = Judge::new(&world);
        let good = || Ask::get(&format!("{RECORDS}/x"));
        let passes = || Expected::Passes("GET /base/x HTTP/1.1".to_owned());
        let refused = Expected::Code(500, "server.serverproxy.access_denied".to_owned());
        for (case, wrong) in [
            (Case::ask("good", good(), passes()), 0),
            // Another answer, a call, two exchanges in the logs; nothing tells of a refusal.
            (Case::ask("refused?", good(), refused.clone()), 4),
            (Case::ask("another line?", good(), Expected::Passes("GET /other HTTP/1.1".to_owned())), 1),
            (Case::ask("another evidence?", good(), passes()).leaves(Evidence::None), 1),
            (Case::ask("closed?", good(), Expected::Closed), 4),
            (Case::plain("open?", "GET / HTTP/1.0\r\n\r\n", Expected::Bare(404)), 1),
        ] {
            let answer = case.attack.make(&world).await;
            let found = judge.judge(&world, &case, &answer);
            assert_eq!(found.len(), wrong, "{}: {found:?}", case.name);
        }
        let mut told = Case::ask("told", good(), refused).leaves(Evidence::Exchange);
        told.calls = 1;
        let mut answer = told.attack.make(&world).await;
        answer.text = format!("cannot open {}/keys", world.folder.path().display());
        let found = judge.judge(&world, &told, &answer);
        assert!(found.iter().any(|what| what.contains("the answer tells")), "{found:?}");
    }
}
