//! `attacks`: the attack table, against a whole system in this process; a line a row.

use std::process::ExitCode;

use clap::Parser;
use integration::attacks::{ROWS, Row, count_panics, keep_lines, list, measure, run};

/// Attacks two gateways that run, row by row, and prints what came of it. Exits with 0 only when every case came out as
/// it must.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this row (`T14`); may be given several times.
    #[arg(long)]
    row: Vec<String>,
    /// Lists the cases, and tries none.
    #[arg(long)]
    list: bool,
    /// Measures how long those wait for their refusal who are refused before anybody knows who they are, and nothing else.
    #[arg(long)]
    timing: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.timing {
        let (lines, alike) = measure().await;
        lines.iter().for_each(|line| println!("{line}"));
        return if alike { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let is_wanted = |row: &&Row| arguments.row.is_empty() || arguments.row.iter().any(|id| id == row.id);
    let rows: Vec<&'static Row> = ROWS.iter().filter(is_wanted).collect();
    if rows.is_empty() {
        eprintln!("attacks: no such row");
        return ExitCode::FAILURE;
    }
    if arguments.list {
        for row in rows {
            list(row).await.iter().for_each(|case| println!("{case}"));
        }
        return ExitCode::SUCCESS;
    }
    count_panics();
    keep_lines();
    let report = run(&rows, |row| {
        println!("{row}");
        row.wrong.iter().for_each(|wrong| println!("  FAILED {wrong}"));
    })
    .await;
    println!("{report}");
    if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
