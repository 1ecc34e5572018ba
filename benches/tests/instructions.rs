//! How many instructions the hot steps of an exchange take, beside how many they took when that was last written down. Counts
//! repeat where times do not, whatever else the machine does; a step that takes more than it is allowed is told by name.
//!
//! They are those of the development build, as CI has it: our own code is not optimised in it, what it stands on little. They say
//! that something has become more work, not how long it takes.
//!
//! `PASSERELLE_RECORD_INSTRUCTIONS=yes cargo test --workspace --test instructions` writes the counts down anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use cert_authority::durable;

const STEPS: [&str; 6] = [
    "hot_sign_one",
    "hot_sign_batch_of_32",
    "hot_verify_one",
    "hot_verify_batch_of_32",
    "hot_receive_1_kib",
    "hot_receive_1_mib",
];
/// By how much a step may differ, parts of a hundred: hash tables are seeded by chance.
const MARGIN: u64 = 5;

/// The instructions of each step, with all that it calls.
fn counted() -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=counts"]).arg(env!("CARGO_BIN_EXE_hot"));
    let ran = valgrind.current_dir(folder.path()).output().expect("valgrind, which counts, is there");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = std::fs::read_to_string(folder.path().join("counts")).unwrap();
    // `cfn=(12) name` or, where it was named before, `cfn=(12)`; `calls=3 ...`; then a place and what the calls took.
    let (mut names, mut costs) = (HashMap::new(), BTreeMap::new());
    let (mut callee, mut lines) = ("", text.lines());
    while let Some(line) = lines.next() {
        if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            let name = if name.is_empty() { names.get(number).copied().unwrap_or("") } else { name };
            names.insert(number, name);
            callee = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let Some(step) = STEPS.into_iter().find(|step| callee.ends_with(step)) else { continue };
            let times: u64 = calls.split(' ').next().unwrap().parse().unwrap();
            let cost: u64 = lines.next().unwrap().split(' ').next_back().unwrap().parse().unwrap();
            assert_eq!(costs.insert(step.to_owned(), cost / times), None, "called from one place: {step}");
        }
    }
    costs
}

#[test]
fn no_hot_step_takes_more_instructions_than_it_did() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
    let counts = counted();
    assert_eq!(counts.len(), STEPS.len(), "each step is counted: {counts:?}");
    assert!(counts.values().all(|count| *count > 10_000), "{counts:?}");
    if std::env::var_os("PASSERELLE_RECORD_INSTRUCTIONS").is_some() {
        let mut text =
            "# Instructions of each hot step in the development build; tests/instructions.rs.\n".to_owned();
        counts.iter().for_each(|(step, count)| writeln!(text, "{step} = {count}").unwrap());
        durable::write(&file, text.as_bytes()).unwrap();
    }
    let recorded: BTreeMap<String, u64> = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut grown = Vec::new();
    for (step, count) in &counts {
        let recorded = *recorded.get(step).unwrap_or_else(|| panic!("{step} is not in {}", file.display()));
        println!("{step}: {count} instructions, recorded {recorded}");
        if *count > recorded + recorded * MARGIN / 100 {
            grown.push(format!("{step}: {count}, recorded {recorded}"));
        }
        if *count < recorded - recorded * MARGIN / 100 {
            println!("{step} has become less work: write the counts down anew, so that it stays so");
        }
    }
    assert!(grown.is_empty(), "more work than was recorded: {grown:#?}");
}
