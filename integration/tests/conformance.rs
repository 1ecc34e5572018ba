//! Recorded exchanges of X-Road's own gateways, put through ours: every REST case is as recorded, or stricter for a
//! reason that is listed. How many there are is fixed here, so that none goes missing unseen.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use cert_authority::durable;
    use integration::conformance::stricter::STRICTER;
    use integration::conformance::{Verdict, judge};

    /// Cases of the recording.
    const CASES: usize = 244;
    /// Of these, those in which we are stricter.
    const STRICTER_CASES: usize = 21;

    fn recording() -> Option<PathBuf> {
        #[expect(clippy::disallowed_methods, reason = "where the data lies is told by the environment")]
        let directory = std::env::var("CONFORMANCE_DIR");
        if directory.is_err() {
            println!("not run: CONFORMANCE_DIR is not set");
        }
        Some(PathBuf::from(directory.ok()?).join("xroad-7.3.2-recorded"))
    }

    #[tokio::test]
    async fn every_recorded_exchange_is_as_recorded_or_stricter_for_a_reason() {
        let Some(folder) = recording() else { return };
        let report = judge(&folder, |case| println!("{case}")).await.unwrap();
        println!("{report}");
        let wrong: Vec<_> = report.cases.iter().filter(|case| case.verdict == Verdict::Wrong).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!((report.right(), report.cases.len()), (CASES, CASES));
        assert_eq!((report.stricter(), STRICTER.len()), (STRICTER_CASES, STRICTER_CASES));
    }

    /// A folder with one case of the recording, one of whose files says something else.
    fn one_case(recording: &Path, case: &str, file: &str, from: &[u8], to: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for sub in ["certs", case] {
            fs::create_dir(folder.path().join(sub)).unwrap();
            for entry in fs::read_dir(recording.join(sub)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap();
                let mut bytes = fs::read(&path).unwrap();
                if name == file {
                    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
                    bytes.splice(at..at + from.len(), to.iter().copied());
                }
                durable::write(folder.path().join(sub).join(name), &bytes).unwrap();
            }
        }
        folder
    }

    /// A file of the case, what stands there, what is put there instead, how the difference is told.
    const OTHERWISE: &[(&str, &str, &str, &str)] = &[
        ("client-request.http", "application/json", "application/jsom", "consumer signs"),
        ("client-request.http", "\r\n\r\nx", "\r\n\r\ny", "consumer signs a body"),
        ("client-response.http", "200 OK", "201 OK", "consumer answers"),
        ("client-response.http", "{\"ok\":true}", "{\"ok\":null}", "consumer answers with a body"),
        ("client-response.http", "\r\nx-road-id", "\r\nX-Other:1\r\nx-road-id", "consumer answers without"),
        (
            "transport-request.body",
            "Accept:",
            "Accepu:",
            "provider answers server.serverproxy.signature_verification",
        ),
        (
            "transport-response.body",
            "{\"ok\":true}",
            "{\"ok\":null}",
            "consumer answers 500: server.clientproxy",
        ),
        ("provider-request.http", "/base/b", "/base/c", "provider asks"),
        ("provider-request.http", "\r\n\r\nx", "\r\n\r\ny", "provider asks with a body"),
        ("provider-request.http", "Accept:", "X-Other:1\r\nAccept:", "provider asks without"),
        ("provider-response.http", "{\"ok\":true}", "{\"ok\":null}", "provider signs a body"),
        ("provider-response.http", "200 OK", "201 OK", "provider signs"),
    ];

    #[tokio::test]
    async fn a_recording_that_says_otherwise_is_found_out() {
        let Some(recording) = recording() else { return };
        let case = "rest-post-1b";
        let same = one_case(&recording, case, "none", b"", b"");
        let report = judge(same.path(), |_| {}).await.unwrap();
        assert_eq!((report.right(), report.cases.len()), (1, 1), "{:?}", report.cases);
        for (file, from, to, told) in OTHERWISE {
            let folder = one_case(&recording, case, file, from.as_bytes(), to.as_bytes());
            let report = judge(folder.path(), |_| {}).await.unwrap();
            assert_eq!((report.right(), report.cases.len()), (0, 1), "{file}: {to}");
            let seen = &report.cases[0].seen;
            assert!(seen.contains(told), "{file}: {to}: {seen}");
        }
    }

    #[tokio::test]
    async fn a_folder_without_cases_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        assert!(judge(folder.path(), |_| {}).await.unwrap_err().contains("no cases"));
        assert!(judge(&folder.path().join("none"), |_| {}).await.is_err());
    }
}
