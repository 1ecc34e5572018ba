//! NIST's Public Key Interoperability Test Suite (PKITS), and odd certificates, requests and OCSP messages, from the Python
//! package `cryptography-vectors`.
//!
//! Every path of PKITS is put to [`chain::build`], with all CA certificates of the suite at hand. What comes of it is what the
//! suite expects at its default settings, or the name stands in a table of deviations, under its reason. Two reasons let
//! something pass that the suite refuses: revocation lists are not read here (whoever builds a path asks for the status of
//! each of [`chain::ValidChain::pairs`] by OCSP), and policies are nobody's business as long as no critical extension says
//! that they are.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use cert_authority::clock::UnixTime;
    use cert_authority::error::PkiError;
    use cert_authority::ocsp;
    use cert_authority::x509::request::CertificateRequest;
    use cert_authority::x509::{Certificate, chain};

    /// The counts are of this version.
    const VERSION: &str = "50.0.2";

    /// Paths that are as the suite expects: accepted, refused.
    const AS_EXPECTED: (usize, usize) = (64, 69);

    /// Accepted, though the suite refuses them: by a revocation list, or because none that counts can be had.
    const BY_REVOCATION_LIST: [&str; 46] = [
        "InvalidBadCRLIssuerNameTest5",
        "InvalidBadCRLSignatureTest4",
        "InvalidBasicSelfIssuedCRLSigningKeyTest7",
        "InvalidBasicSelfIssuedNewWithOldTest5",
        "InvalidBasicSelfIssuedOldWithNewTest2",
        "InvalidIDPwithindirectCRLTest23",
        "InvalidIDPwithindirectCRLTest26",
        "InvalidLongSerialNumberTest18",
        "InvalidMissingCRLTest1",
        "InvalidNegativeSerialNumberTest15",
        "InvalidOldCRLnextUpdateTest11",
        "InvalidRevokedCATest2",
        "InvalidRevokedEETest3",
        "InvalidSeparateCertificateandCRLKeysTest20",
        "InvalidSeparateCertificateandCRLKeysTest21",
        "InvalidUnknownCRLEntryExtensionTest8",
        "InvalidUnknownCRLExtensionTest10",
        "InvalidUnknownCRLExtensionTest9",
        "InvalidWrongCRLTest6",
        "InvalidcRLIssuerTest27",
        "InvalidcRLIssuerTest31",
        "InvalidcRLIssuerTest32",
        "InvalidcRLIssuerTest34",
        "InvalidcRLIssuerTest35",
        "InvaliddeltaCRLIndicatorNoBaseTest1",
        "InvaliddeltaCRLTest10",
        "InvaliddeltaCRLTest3",
        "InvaliddeltaCRLTest4",
        "InvaliddeltaCRLTest6",
        "InvaliddeltaCRLTest9",
        "InvaliddistributionPointTest2",
        "InvaliddistributionPointTest3",
        "InvaliddistributionPointTest6",
        "InvaliddistributionPointTest8",
        "InvaliddistributionPointTest9",
        "InvalidkeyUsageCriticalcRLSignFalseTest4",
        "InvalidkeyUsageNotCriticalcRLSignFalseTest5",
        "InvalidonlyContainsAttributeCertsTest14",
        "InvalidonlyContainsCACertsTest12",
        "InvalidonlyContainsUserCertsTest11",
        "InvalidonlySomeReasonsTest15",
        "InvalidonlySomeReasonsTest16",
        "InvalidonlySomeReasonsTest17",
        "InvalidonlySomeReasonsTest20",
        "InvalidonlySomeReasonsTest21",
        "Invalidpre2000CRLnextUpdateTest12",
    ];

    /// Accepted, though the suite refuses them: a CA demands a policy, in an extension that it has not marked as critical, as
    /// RFC 5280 §4.2.1.11 demands of it. Nobody here asks for policies.
    const BY_POLICY: [&str; 6] = [
        "DifferentPoliciesTest12",
        "DifferentPoliciesTest4",
        "DifferentPoliciesTest5",
        "DifferentPoliciesTest7",
        "DifferentPoliciesTest8",
        "DifferentPoliciesTest9",
    ];

    /// Refused, though the suite accepts them: names are constrained, in a critical extension that is not understood here.
    const CONSTRAINED_NAMES: [&str; 16] = [
        "ValidDNSnameConstraintsTest30",
        "ValidDNSnameConstraintsTest32",
        "ValidDNandRFC822nameConstraintsTest27",
        "ValidDNnameConstraintsTest1",
        "ValidDNnameConstraintsTest11",
        "ValidDNnameConstraintsTest14",
        "ValidDNnameConstraintsTest18",
        "ValidDNnameConstraintsTest19",
        "ValidDNnameConstraintsTest4",
        "ValidDNnameConstraintsTest5",
        "ValidDNnameConstraintsTest6",
        "ValidRFC822nameConstraintsTest21",
        "ValidRFC822nameConstraintsTest23",
        "ValidRFC822nameConstraintsTest25",
        "ValidURInameConstraintsTest34",
        "ValidURInameConstraintsTest36",
    ];

    /// Refused, though the suite accepts them: policies are mapped, demanded or inhibited, in critical extensions that are not
    /// understood here.
    const CONSTRAINED_POLICIES: [&str; 20] = [
        "ValidPolicyMappingTest1",
        "ValidPolicyMappingTest11",
        "ValidPolicyMappingTest12",
        "ValidPolicyMappingTest13",
        "ValidPolicyMappingTest14",
        "ValidPolicyMappingTest3",
        "ValidPolicyMappingTest5",
        "ValidPolicyMappingTest6",
        "ValidPolicyMappingTest9",
        "ValidSelfIssuedinhibitAnyPolicyTest7",
        "ValidSelfIssuedinhibitAnyPolicyTest9",
        "ValidSelfIssuedinhibitPolicyMappingTest7",
        "ValidSelfIssuedrequireExplicitPolicyTest6",
        "ValidinhibitAnyPolicyTest2",
        "ValidinhibitPolicyMappingTest2",
        "ValidinhibitPolicyMappingTest4",
        "ValidrequireExplicitPolicyTest1",
        "ValidrequireExplicitPolicyTest2",
        "ValidrequireExplicitPolicyTest4",
        "inhibitAnyPolicyTest3",
    ];

    /// Refused, though the suite accepts them: DSA.
    const DSA: [&str; 2] = ["ValidDSAParameterInheritanceTest5", "ValidDSASignaturesTest4"];

    /// The folder of certificates; says so where it is not.
    #[expect(clippy::disallowed_methods, reason = "the interpreter is named in the environment")]
    fn vectors() -> Option<PathBuf> {
        let Ok(python) = std::env::var("PASSERELLE_PYTHON") else {
            eprintln!("not run: PASSERELLE_PYTHON is not set");
            return None;
        };
        let program =
            "import cryptography_vectors as v, os; print(os.path.dirname(v.__file__), v.__version__)";
        let output = std::process::Command::new(python).args(["-c", program]).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let (folder, version) = told.trim().rsplit_once(' ').expect("integration/test.sh installs them");
        assert_eq!(version, VERSION, "the counts are of another version");
        Some(PathBuf::from(folder).join("x509"))
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        files
    }

    fn name(path: &Path) -> String {
        path.file_stem().unwrap().to_str().unwrap().to_owned()
    }

    /// Whether the suite accepts the path at its default settings. A name says so; where it does not, policies decide: those of
    /// the path have nothing in common, and one of its CAs demands a policy.
    fn expected(name: &str) -> bool {
        name.starts_with("Valid") || (!name.starts_with("Invalid") && !BY_POLICY.contains(&name))
    }

    /// The table of deviations that a path stands in, by what it lets pass.
    fn deviation(name: &str) -> Option<(bool, &'static str)> {
        let tables: [(bool, &'static str, &[&str]); 5] = [
            (true, "no revocation list is read", &BY_REVOCATION_LIST),
            (true, "no policy is asked for", &BY_POLICY),
            (false, "constraints on names are not understood", &CONSTRAINED_NAMES),
            (false, "constraints on policies are not understood", &CONSTRAINED_POLICIES),
            (false, "DSA is not believed", &DSA),
        ];
        let found = tables.into_iter().find(|(_, _, names)| names.contains(&name));
        found.map(|(accepted, reason, _)| (accepted, reason))
    }

    #[test]
    fn every_path_is_judged_as_expected_or_for_a_reason() {
        let Some(folder) = vectors() else { return };
        let certificates: Vec<_> = files(&folder.join("PKITS_data/certs"))
            .iter()
            .map(|path| (name(path), Certificate::from_der(&std::fs::read(path).unwrap())))
            .collect();
        let of_authorities = |anchor: bool| -> Vec<Certificate> {
            let named = certificates.iter().filter(|(name, _)| {
                !name.ends_with("EE") && (name == "TrustAnchorRootCertificate") == anchor
            });
            named.map(|(_, certificate)| certificate.clone().unwrap()).collect()
        };
        let (anchors, authorities) = (of_authorities(true), of_authorities(false));
        let at = UnixTime::from_rfc3339("2026-06-01T12:00:00Z").unwrap();

        let (mut counts, mut wrong, mut deviations) = ((0, 0), Vec::new(), BTreeMap::new());
        for (name, leaf) in &certificates {
            let Some(name) = name.strip_suffix("EE") else { continue };
            let verdict = leaf.clone().and_then(|leaf| Ok(chain::build(&leaf, &authorities, &anchors, at)?));
            match (expected(name), verdict.is_ok(), deviation(name)) {
                (true, true, None) => counts.0 += 1,
                (false, false, None) => counts.1 += 1,
                (expected, accepted, Some((passes, reason)))
                    if expected != accepted && accepted == passes =>
                {
                    *deviations.entry(reason).or_insert(0) += 1;
                }
                _ => wrong.push(format!("{name}: {verdict:?}")),
            }
        }
        println!("PKITS: {counts:?} as expected (accepted, refused); deviations {deviations:#?}");
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(counts, AS_EXPECTED);
        let tables = BY_REVOCATION_LIST.len()
            + BY_POLICY.len()
            + CONSTRAINED_NAMES.len()
            + CONSTRAINED_POLICIES.len()
            + DSA.len();
        assert_eq!(deviations.values().sum::<usize>(), tables);
        assert_eq!(counts.0 + counts.1 + tables, 223, "paths of the suite");
    }

    /// What is refused, and for what: everything else can be read. Reading is lenient, and believes nothing.
    const REFUSED: [(&str, usize); 5] = [
        ("no certificate", 25),
        ("malformed certificate", 10),
        ("request", 18),
        ("OCSP request", 0),
        ("OCSP response", 4),
    ];

    #[test]
    fn odd_certificates_requests_and_ocsp_messages_are_read_or_refused() {
        let Some(folder) = vectors() else { return };
        let (mut read, mut refused) = (0, BTreeMap::new());
        let mut count = |kind: &'static str, result: Result<(), PkiError>| match result {
            Ok(()) => read += 1,
            Err(_) => *refused.entry(kind).or_insert(0) += 1,
        };
        for path in files(&folder.join("custom")) {
            let bytes = std::fs::read(&path).unwrap();
            let certificate = match std::str::from_utf8(&bytes) {
                Ok(pem) => Certificate::from_pem(pem),
                Err(_) => Certificate::from_der(&bytes),
            };
            let kind =
                if name(&path).starts_with("crl_") { "no certificate" } else { "malformed certificate" };
            count(kind, certificate.map(|read| assert!(!read.to_pem().is_empty())));
        }
        for path in files(&folder.join("requests")) {
            let bytes = std::fs::read(&path).unwrap();
            let request = match std::str::from_utf8(&bytes) {
                Ok(pem) => CertificateRequest::from_pem(pem),
                Err(_) => CertificateRequest::from_der(&bytes),
            };
            count("request", request.map(drop));
        }
        for path in files(&folder.join("ocsp")) {
            let bytes = std::fs::read(&path).unwrap();
            if name(&path).contains("req") {
                count("OCSP request", ocsp::Request::from_der(&bytes).map(drop));
            } else {
                count("OCSP response", ocsp::Response::from_der(bytes).map(drop));
            }
        }
        println!("{read} read; refused {refused:#?}");
        let refused: Vec<_> =
            REFUSED.iter().map(|(kind, _)| (*kind, refused.get(kind).copied().unwrap_or(0))).collect();
        assert_eq!(refused, REFUSED);
        assert_eq!(read, 117);
    }
}
