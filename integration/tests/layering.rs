//! The architecture, executable: which part of the gateway may import which, and what its core may not name.
//!
//! It reads the sources as text. A line counts when it names `crate::<part>`; comments and `#[cfg(test)]`
//! modules do not count. A new edge is added here, with its reason, or not at all.

#![expect(clippy::unwrap_used, reason = "a test stops at once when its sources cannot be read")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Part of the gateway, the parts that it may import. Floor first: nothing imports what stands below it in this table.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("fault", &[]),
    ("message", &["fault"]),
    ("access", &["message"]),
    ("evidence", &["message"]),
    ("description", &["message"]),
    ("messagelog", &["message", "evidence"]),
    // what stands in metaservice is the container of a logged message
    ("archive", &["evidence", "messagelog", "metaservice"]),
    // the administration port is where it shows the log to auditors; what stands in metaservice is how a query is read
    ("transparency", &["messagelog", "evidence", "admin", "metaservice"]),
    // what stands in metaservice is the container of a logged message; the archives are part of what a log says
    ("audit", &["message", "evidence", "messagelog", "metaservice", "archive"]),
    // pages on the administration port; what stands in metaservice is the container, and how a query is read; archives are
    // judged with the log
    ("auditor", &["messagelog", "evidence", "metaservice", "admin", "audit", "archive"]),
    // on the administration port; what stands in metaservice is how a query is read
    ("monitoring", &["opmonitor", "metaservice", "admin"]),
    // the machine, as Linux shows it
    ("environment", &[]),
    // what the two stories say of an exchange on its way
    ("opmonitor", &["fault", "message"]),
    // serverconf is the settings as one immutable, indexed value; it reads no file while an exchange goes by it
    ("exchange", &["fault", "message", "access", "evidence", "messagelog", "opmonitor", "serverconf"]),
    // services that are answered here, behind a port of exchange; what stands in metaservice is how a query is read
    (
        "builtin",
        &[
            "fault",
            "message",
            "access",
            "opmonitor",
            "environment",
            "exchange",
            "serverconf",
            "metaservice",
            "description",
        ],
    ),
];

/// Parts that hold decisions only: no runtime, no socket, no file, no clock, no chance.
const CORE: &[&str] = &[
    "fault/",
    "message/",
    "access/",
    "evidence/",
    "exchange/",
    "description/openapi.rs",
    "description/wsdl.rs",
    "description/difference.rs",
    "messagelog/record.rs",
    "messagelog/append.rs",
    "messagelog/stamp.rs",
    "messagelog/tree.rs",
    "messagelog/verify.rs",
];

const NOT_IN_THE_CORE: &[&str] =
    &["tokio::", "hyper::", "hyper_util::", "std::net", "std::fs", "SystemTime", "Instant::now", "rand::"];

/// Package, the packages of ours that it may depend on.
const PACKAGES: &[(&str, &[&str])] =
    &[("cert-authority", &[]), ("conf", &["cert_authority"]), ("gateway", &["cert_authority", "conf"])];

#[test]
fn no_part_of_the_gateway_imports_a_storey_above_it() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, line, text) in code_lines(&root().join("gateway/src")) {
        let part = part_of(&file);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == part) else { continue };
        seen.insert(part.clone());
        for imported in imports(&text) {
            let known = imported == part || allowed.contains(&imported.as_str());
            if !known {
                wrong.push(format!("{file}:{line}: {part} imports {imported}: {}", text.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the architecture does not have:\n{}", wrong.join("\n"));
    assert_eq!(seen.len(), MAY_IMPORT.len(), "a part of the table has no code: {seen:?}");
}

#[test]
fn the_core_names_no_runtime_no_file_and_no_clock() {
    let mut wrong = Vec::new();
    let mut read = 0;
    for (file, line, text) in code_lines(&root().join("gateway/src")) {
        if !CORE.iter().any(|core| file.starts_with(core)) {
            continue;
        }
        read += 1;
        for name in NOT_IN_THE_CORE {
            if text.contains(name) {
                wrong.push(format!("{file}:{line}: {}", text.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "the core reaches out:\n{}", wrong.join("\n"));
    assert!(read > 1000, "only {read} lines of core were found: the table of core files is out of date");
}

#[test]
fn packages_depend_downwards_only() {
    let ours = ["cert_authority", "conf", "gateway"];
    for (package, allowed) in PACKAGES {
        let own = package.replace('-', "_");
        let mut lines = 0;
        for (file, line, text) in code_lines(&root().join(package).join("src")) {
            lines += 1;
            for name in ours {
                let named = text.contains(&format!("use {name}::")) || text.contains(&format!(" {name}::"));
                assert!(
                    !named || name == own || allowed.contains(&name),
                    "{package}/src/{file}:{line} names {name}"
                );
            }
        }
        assert!(lines > 0, "no source found for {package}");
    }
}

#[test]
fn no_source_file_grows_past_a_page_that_can_be_held_in_mind() {
    let mut long = Vec::new();
    for package in ["cert-authority", "conf", "gateway", "integration", "benches"] {
        for path in sources(&root().join(package)) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > 900 {
                long.push(format!("{} has {lines} lines", path.display()));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn programs_hold_no_tests_for_nobody_runs_them() {
    let mut programs = 0;
    for package in ["cert-authority", "conf", "gateway", "integration", "benches"] {
        for path in sources(&root().join(package).join("src/bin")) {
            programs += 1;
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("test]"), "{} has a test: it belongs into the library", path.display());
        }
        // Each would be linked once more for tests that it does not have.
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        for program in manifest.split("[[bin]]").skip(1) {
            assert!(program.lines().nth(2) == Some("test = false"), "{package}:{program}");
        }
    }
    assert!(programs > 10, "only {programs} programs were found");
}

/// Test programs run beside each other, and the ports of those that start real programs are written into them.
#[test]
fn no_two_test_programs_listen_on_the_same_ports() {
    let mut first = BTreeMap::new();
    for path in sources(&root().join("integration/tests")) {
        let text = fs::read_to_string(&path).unwrap();
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '_');
        for port in numbers.filter(|port| port.starts_with("18_") || port.starts_with("19_")) {
            let other = first.entry(port.to_owned()).or_insert_with(|| path.clone());
            assert!(*other == path, "{port} is in {} and in {}", other.display(), path.display());
        }
    }
    assert!(first.len() > 10, "only {first:?} were found");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every line of code below a folder, as (file relative to it, line number, text); comments and test modules left out.
fn code_lines(folder: &Path) -> Vec<(String, usize, String)> {
    let mut lines = Vec::new();
    for path in sources(folder) {
        if path.ends_with("tests.rs") {
            continue;
        }
        let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("mod tests {") {
                break;
            }
            if !line.trim_start().starts_with("//") {
                lines.push((name.clone(), index + 1, line.to_owned()));
            }
        }
    }
    lines
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn part_of(file: &str) -> String {
    file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

fn imports(line: &str) -> Vec<String> {
    line.match_indices("crate::")
        .map(|(at, matched)| {
            let rest = &line[at + matched.len()..];
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}
