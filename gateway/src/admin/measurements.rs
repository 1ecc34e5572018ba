//! What is measured, by its name at `/metrics`. A test holds this table and the code together, and the dashboard
//! `conf/grafana/passerelle.json` to both.

/// What kind of a measurement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Many values, by how large they are.
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Every measurement: name, kind, what it says.
pub const MEASUREMENTS: &[(&str, Kind, &str)] = &[
    ("conf_expires_seconds", Gauge, "When the global configuration expires, in Unix time, by instance."),
    ("conf_fetch_total", Counter, "How asking for the global configuration went, by instance and outcome."),
    (
        "passerelle_certificate_expires_seconds",
        Gauge,
        "When the newest certificate expires, in Unix time, by usage.",
    ),
    (
        "passerelle_clock_difference_seconds",
        Gauge,
        "By how much our clock differs from others', as far as an authority or two servers say so.",
    ),
    ("passerelle_connections_refused_total", Counter, "Connections for which a door had no room."),
    ("passerelle_exchange_seconds", Histogram, "How long an exchange took, by side."),
    ("passerelle_exchanges_total", Counter, "Exchanges, by side and outcome (answered, fault, given up)."),
    ("passerelle_faults_total", Counter, "Faults, by side and the last part of their code."),
    ("passerelle_handshakes_refused_total", Counter, "TLS handshakes that failed, by door."),
    ("passerelle_legacy_tls", Gauge, "1 while peers that have CBC suites only are spoken with."),
    ("passerelle_log_checkpoints_total", Counter, "Checkpoints of the message log that were made."),
    ("passerelle_log_cosignatures_total", Counter, "How asking witnesses went, by witness and outcome."),
    ("passerelle_log_records", Gauge, "Records in the message log."),
    (
        "passerelle_log_unstamped_seconds",
        Gauge,
        "For how long time-stamping has failed; 0 while it goes well.",
    ),
    ("passerelle_monitoring_records_lost_total", Counter, "Records of exchanges that were lost, by place."),
    ("passerelle_ocsp_responses_total", Counter, "How asking for OCSP responses of our certificates went."),
    ("passerelle_own_certificates_without_ocsp", Gauge, "Our certificates without a fresh OCSP response."),
    (
        "passerelle_peer_exchanges_total",
        Counter,
        "Exchanges, by side, the server on the other side, and outcome.",
    ),
    (
        "passerelle_peer_ocsp_responses_total",
        Counter,
        "What responders said of certificates of peers (good, revoked, other, failed).",
    ),
    (
        "passerelle_places_given_up_total",
        Counter,
        "Connections and handshakes that gave way to others, by door.",
    ),
    ("passerelle_quic_answers_total", Counter, "Answers of other gateways that came over QUIC."),
    ("passerelle_quic_connections_total", Counter, "How opening connections over QUIC went, by outcome."),
    ("passerelle_quic_retries_total", Counter, "Connections over QUIC whose address had to be proven first."),
    ("passerelle_repeated_requests_total", Counter, "Requests with the id of an earlier one, signed anew."),
    ("passerelle_replayed_requests_total", Counter, "Requests that were received before, byte for byte."),
    ("passerelle_requests_refused_total", Counter, "Requests that a door refused, by door."),
    ("passerelle_settings_refused_total", Counter, "Changed settings that were faulty."),
    ("passerelle_settings_taken_up_total", Counter, "Changed settings that were taken up."),
    ("passerelle_signatures_total", Counter, "Signatures over messages that were made."),
    (
        "passerelle_signed_messages_total",
        Counter,
        "Messages that were signed; by signatures: how many share one.",
    ),
    ("passerelle_spans_lost_total", Counter, "Spans of traces that the collector did not take."),
    ("passerelle_step_seconds", Histogram, "How long a step of an exchange took, by side and step."),
    ("passerelle_timestamps_total", Counter, "How asking for time-stamps went, by outcome."),
];

/// Tells whoever collects what each one says.
pub(super) fn describe() {
    for (name, kind, meaning) in MEASUREMENTS {
        match kind {
            Counter => metrics::describe_counter!(*name, *meaning),
            Gauge => metrics::describe_gauge!(*name, *meaning),
            Histogram => metrics::describe_histogram!(*name, metrics::Unit::Seconds, *meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }

    /// Names as they stand in the macros that measure.
    fn measured() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = Vec::new();
        for package in ["gateway/src", "conf/src", "cert-authority/src"] {
            sources(&root.join(package), &mut files);
        }
        let mut names = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            for kind in ["counter!(", "gauge!(", "histogram!("] {
                for (at, _) in text.match_indices(&format!("metrics::{kind}")) {
                    let rest = text[at..].split_once('(').unwrap().1.trim_start();
                    let name =
                        rest.strip_prefix('"').and_then(|rest| rest.split_once('"')).map(|(name, _)| name);
                    names.extend(name.map(str::to_owned));
                }
            }
        }
        names
    }

    /// Names as they stand in the queries of the dashboard.
    fn shown() -> BTreeSet<String> {
        let dashboard = include_str!("../../../conf/grafana/passerelle.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let mut names = BTreeSet::new();
        let mut panels = 0;
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                panels += 1;
                let query = target["expr"].as_str().unwrap();
                let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                names.extend(
                    words
                        .filter(|word| ["passerelle_", "conf_"].iter().any(|start| word.starts_with(start)))
                        .map(str::to_owned),
                );
            }
        }
        assert!(panels >= 15, "{panels} queries");
        names
    }

    #[test]
    fn what_is_measured_and_what_the_table_says_are_the_same() {
        let table: BTreeSet<String> = MEASUREMENTS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(measured(), table);
        assert!(MEASUREMENTS.is_sorted_by_key(|(name, ..)| *name));
    }

    #[test]
    fn the_dashboard_asks_for_what_is_measured_and_for_nothing_else() {
        let known: BTreeSet<String> = MEASUREMENTS
            .iter()
            .flat_map(|(name, kind, _)| match kind {
                Counter | Gauge => vec![(*name).to_owned()],
                Histogram => ["bucket", "sum", "count"].map(|end| format!("{name}_{end}")).to_vec(),
            })
            .collect();
        let unknown: Vec<_> = shown().difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
