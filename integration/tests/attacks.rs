//! The attack table, in every change: the same rows and cases as `cargo run -p integration --bin attacks`.

#[cfg(test)]
mod tests {
    use integration::attacks::{Case, Evidence, Expected, Judge, ROWS, count_panics, run};
    use integration::world::{Ask, RECORDS, World};

    #[tokio::test]
    async fn every_row_of_the_attack_table_holds() {
        count_panics();
        let rows: Vec<_> = ROWS.iter().collect();
        let mut wrong = Vec::new();
        let report = run(&rows, |row| {
            println!("{row}");
            wrong.extend(row.wrong.iter().map(|what| format!("{} {what}", row.row.id)));
        })
        .await;
        println!("{report}");
        assert_eq!(wrong, Vec::<String>::new());
        assert!(report.is_right());
    }

    #[tokio::test]
    async fn the_judge_sees_what_no_attack_may_do() {
        let world = World::start().await;
        let mut judge = Judge::new(&world);
        let good = || Ask::get(&format!("{RECORDS}/x"));
        let passes = || Expected::Passes("GET /base/x HTTP/1.1".to_owned());
        let refused = Expected::Code(500, "server.serverproxy.access_denied".to_owned());
        for (case, wrong) in [
            (Case::ask("good", good(), passes()), 0),
            // Another answer, a call, two exchanges in the logs.
            (Case::ask("refused?", good(), refused.clone()), 3),
            (Case::ask("another line?", good(), Expected::Passes("GET /other HTTP/1.1".to_owned())), 1),
            (Case::ask("another evidence?", good(), passes()).leaves(Evidence::None), 1),
            (Case::ask("closed?", good(), Expected::Closed), 3),
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
