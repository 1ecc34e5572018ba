//! x509-limbo, put to [`chain::build`]. `integration/vectors/fetch.sh FOLDER` brings it, `PASSERELLE_VECTORS=FOLDER` names it;
//! where it is not, the test says so, and what came of it when it last ran.
//!
//! Much of limbo is about the Web: names of hosts, purposes, what browsers demand of authorities. Here a path leads from a
//! certificate to an authority that the signed configuration names; what the certificate may be used for, and whose it is, is
//! judged by who asks for the path. Each deviation from the expected verdict stands in the table, with its reason.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use cert_authority::clock::UnixTime;
    use cert_authority::x509::{Certificate, chain};
    use serde_json::Value;

    /// As expected: accepted, refused.
    const AS_EXPECTED: (usize, usize) = (55, 57);
    const RECORDED: &str = "208 cases of the generators (all but bettertls): 112 as expected, 88 accepted and 8 refused for a reason";

    const ANCHOR: &str =
        "an anchor is believed as it was configured: its name and its key (RFC 5280 §6.1.1 d)";
    const HOST: &str = "no host has a name here: who a certificate is of is judged by who asks for the path";
    const PURPOSE: &str = "purposes are judged by who asks for the path";
    const LIST: &str = "no revocation list is read: the status of each certificate is asked for by OCSP";
    const DEPTH: &str = "no depth can be chosen: eight certificates at most";
    const FORM: &str = "a rule for authorities, which makes nobody believe anything that was not signed";
    const WEB: &str = "a rule of the Web's authorities";
    const POLICY: &str =
        "a constraint that is not critical, as it must be, is not looked at: nobody asks for policies";
    const NAMES: &str =
        "constraints on names are not understood, so that a critical one makes the path invalid";

    /// Beginning of the name, whether it is accepted, reason, how many.
    const DEVIATIONS: &[(&str, bool, &str, usize)] = &[
        ("crl::", true, LIST, 4),
        ("pathlen::max-chain-depth-", true, DEPTH, 2),
        ("pathological::nc-dos-", true, ANCHOR, 2),
        ("rfc5280::aki::", true, FORM, 4),
        ("rfc5280::eku::", true, PURPOSE, 2),
        ("rfc5280::nc::not-allowed-in-ee-noncritical", true, FORM, 1),
        ("rfc5280::nc::nc-", false, NAMES, 7),
        ("rfc5280::nc::", true, ANCHOR, 18),
        ("rfc5280::pc::ica-noncritical-pc", true, POLICY, 1),
        ("rfc5280::san::", true, HOST, 3),
        ("rfc5280::serial::", true, FORM, 2),
        ("rfc5280::ski::", true, FORM, 3),
        ("rfc5280::validity::expired-root", true, ANCHOR, 1),
        ("rfc5280::ca-empty-subject", true, FORM, 1),
        ("rfc5280::unknown-critical-extension-root", true, ANCHOR, 1),
        ("rfc5280::root-non-critical-basic-constraints", true, ANCHOR, 1),
        ("rfc5280::leaf-ku-keycertsign", true, FORM, 1),
        ("rfc5280::ee-critical-aia-invalid", true, FORM, 1),
        ("rfc5280::ca-as-leaf-wrong-san", true, HOST, 1),
        ("webpki::aki::root-", true, ANCHOR, 5),
        ("webpki::cn::", true, HOST, 9),
        ("webpki::eku::root-has-eku", true, ANCHOR, 1),
        ("webpki::eku::", true, PURPOSE, 3),
        ("webpki::nc::", false, NAMES, 1),
        ("webpki::san::", true, HOST, 16),
        ("webpki::", true, WEB, 5),
    ];

    /// The folder; says what was not run where there is none.
    fn vectors() -> Option<PathBuf> {
        #[expect(clippy::disallowed_methods, reason = "where the vectors lie is told by the environment")]
        let folder = std::env::var("PASSERELLE_VECTORS");
        if let Ok(folder) = folder {
            return Some(PathBuf::from(folder).join("limbo.json"));
        }
        eprintln!("NOT RUN: x509-limbo: PASSERELLE_VECTORS is not set. When it last ran: {RECORDED}");
        None
    }

    fn judge(case: &Value) -> Result<(), String> {
        let read = |pem: &Value| Certificate::from_pem(pem.as_str().unwrap()).map_err(|e| e.to_string());
        let all = |key: &str| case[key].as_array().unwrap().iter().map(read).collect::<Result<Vec<_>, _>>();
        // What states no time was made for the day it was made on.
        let at = case["validation_time"].as_str().unwrap_or("2026-06-29T12:00:00+00:00");
        let at = UnixTime::from_rfc3339(&at.replace("+00:00", "Z")).unwrap();
        let leaf = read(&case["peer_certificate"])?;
        let found = chain::build(&leaf, &all("untrusted_intermediates")?, &all("trusted_certs")?, at);
        found.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn every_case_is_judged_as_expected_or_for_a_reason() {
        let Some(file) = vectors() else { return };
        let limbo: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let (mut counts, mut wrong, mut deviations) = ((0, 0), Vec::new(), BTreeMap::new());
        // Its thousands of cases about names of hosts and their constraints were not at hand when the table was written.
        let known = |id: &str| !id.starts_with("bettertls::");
        let cases = limbo["testcases"].as_array().unwrap();
        for case in cases.iter().filter(|case| known(case["id"].as_str().unwrap())) {
            let (id, expected) = (case["id"].as_str().unwrap(), case["expected_result"] == "SUCCESS");
            let verdict = judge(case);
            if expected == verdict.is_ok() {
                if expected {
                    counts.0 += 1
                } else {
                    counts.1 += 1
                }
                continue;
            }
            let row = DEVIATIONS
                .iter()
                .find(|(name, accepted, _, _)| id.starts_with(name) && *accepted == verdict.is_ok());
            match row {
                Some((name, accepted, _, _)) => *deviations.entry((*name, *accepted)).or_insert(0) += 1,
                None => wrong.push(format!("{id}: {verdict:?}")),
            }
        }
        println!("x509-limbo: {counts:?} as expected (accepted, refused)");
        for (name, accepted, reason, number) in DEVIATIONS {
            println!(
                "  {number:3} {name}: {} because {reason}",
                if *accepted { "accepted" } else { "refused" }
            );
        }
        assert_eq!(wrong, Vec::<String>::new());
        let table =
            DEVIATIONS.iter().map(|(name, accepted, _, number)| ((*name, *accepted), *number)).collect();
        assert_eq!(deviations, table);
        assert_eq!(counts, AS_EXPECTED);
    }
}
