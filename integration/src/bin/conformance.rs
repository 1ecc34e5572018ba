//! `conformance DIR`: judges a folder of recorded X-Road exchanges, a line a case.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use integration::conformance::judge;

/// Puts recorded exchanges of X-Road's own gateways through ours and compares, case by case. Exits with 0 only when
/// every case is as recorded, or stricter for a reason that is listed.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder with the recorded cases, certs/ and ocsp/.
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { folder } = Arguments::parse();
    match judge(&folder, |case| println!("{case}")).await {
        Ok(report) => {
            println!("{report}");
            if !report.cases.is_empty() && report.right() == report.cases.len() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}
