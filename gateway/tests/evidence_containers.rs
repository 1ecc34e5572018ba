//! Containers of X-Road: each file with its verdict.

#[cfg(test)]
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;

#[cfg(test)]
mod tests {
    use std::fs;

    use conf::snapshot::GlobalConf;
    use gateway::evidence::asic::{NotAZip, verify_container};

    use crate::evidence_support::conformance;

    /// File and code; none: valid. The time of judgement is that of the time-stamp inside.
    const CONTAINERS: [(&str, Option<&str>); 8] = [
        ("valid-signed-message", None),
        ("valid-non-batch-rest", None),
        ("valid-non-batch-soap-attachments", None),
        ("invalid-not-signed-hashchain", None),
        ("wrong-message", Some("invalid_signature_value")),
        ("invalid-digest", Some("invalid_signature_value")),
        ("invalid-signed-hashchain", Some("malformed_signature.invalid_hash_chain_ref")),
        ("invalid-ts-hashchainresult", Some("malformed_signature")),
    ];

    #[test]
    fn the_conformance_containers_have_their_verdicts() {
        let Some(folder) = conformance("xroad-7.8.0") else { return };
        let conf = GlobalConf::load_dir(folder.join("global-configuration/globalconf_good2_v3")).unwrap();
        let mut right = 0;
        for (file, code) in CONTAINERS {
            let bytes = fs::read(folder.join(format!("containers/{file}.asice"))).unwrap();
            let report = verify_container(&bytes, &conf).unwrap();
            println!("{file}: {}", serde_json::to_string_pretty(&report).unwrap());
            assert_eq!(report.code.as_deref(), code, "{file}: {report:?}");
            assert_eq!(report.valid, code.is_none(), "{file}");
            right += 1;
        }
        println!("containers: {right} of {}", CONTAINERS.len());
    }

    #[test]
    fn files_that_are_no_containers_are_refused_each_for_its_reason() {
        let Some(folder) = conformance("xroad-7.8.0") else { return };
        let conf = GlobalConf::load_dir(folder.join("global-configuration/globalconf_good2_v3")).unwrap();
        let judge = |file: &str| {
            let bytes = fs::read(folder.join(format!("containers-shape/{file}.asice"))).unwrap();
            let report = verify_container(&bytes, &conf);
            println!("{file}: {report:?}");
            report.map(|report| report.code.unwrap_or_default())
        };
        assert_eq!(judge("no-mimetype").unwrap(), "asic_mime_type_not_found");
        assert_eq!(judge("no-message").unwrap(), "asic_message_not_found");
        assert_eq!(judge("no-signature").unwrap(), "asic_signature_not_found");
        assert_eq!(judge("not-asic"), Err(NotAZip));
        // These two open; the message of the first, of 2014, is of a SOAP protocol before X-Road 6.
        assert_eq!(judge("valid-signed-message").unwrap(), "internal_error");
        assert_eq!(judge("valid-signed-message-with-attachments").unwrap(), "");
    }
}
