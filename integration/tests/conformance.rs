//! Recorded exchanges of X-Road's own gateways, put through ours: every REST case is as recorded, or stricter for a reason
//! that is listed. How many there are is fixed here, so that none goes missing unseen.

use std::path::PathBuf;

use integration::conformance::stricter::STRICTER;
use integration::conformance::{Verdict, judge};

/// REST cases of the recording.
const REST: usize = 171;
/// Of these, those in which we are stricter.
const STRICTER_CASES: usize = 19;
/// SOAP cases, which are not judged yet.
const SOAP: usize = 73;

#[tokio::test]
async fn every_recorded_rest_exchange_is_as_recorded_or_stricter_for_a_reason() {
    #[expect(clippy::disallowed_methods, reason = "where the data lies is told by the environment")]
    let Ok(directory) = std::env::var("CONFORMANCE_DIR") else {
        println!("not run: CONFORMANCE_DIR is not set");
        return;
    };
    let folder = PathBuf::from(directory).join("xroad-7.3.2-recorded");
    let report = judge(&folder, |case| println!("{case}")).await.unwrap();
    println!("{report}");
    let wrong: Vec<_> = report.cases.iter().filter(|case| case.verdict == Verdict::Wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((report.right(), report.judged()), (REST, REST));
    assert_eq!((report.stricter(), STRICTER.len()), (STRICTER_CASES, STRICTER_CASES));
    assert_eq!(report.count(|verdict| *verdict == Verdict::NotJudged), SOAP);
}
