//! The signatures in the recorded exchanges of the original: those that were found right verify at the time
//! of their recording, the altered ones are refused.

#[cfg(test)]
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs,
        path::{Path, PathBuf},
    };

    use bytes::Bytes;
    use cert_authority::{algorithm::DigestAlgorithm, clock::UnixTime, crypto::digest, x509::Certificate};
    use conf::{identifier::MemberId, snapshot::GlobalConf};
    use gateway::{
        evidence::signature::{SignatureBundle, TrustCache, verify},
        message::digests::PartDigests,
    };
    use serde_json::Value;

    use crate::evidence_support::{configuration, conformance};

    /// A message as it was on the wire.
    struct Recorded {
        at: UnixTime,
        checked: bool,
        sender: MemberId,
        digests: PartDigests,
        bundle: Option<SignatureBundle>,
    }

    fn load_conf(folder: &Path) -> GlobalConf {
        let certificate = |name: &str| {
            let pem = fs::read_to_string(folder.join(format!("certs/{name}.pem"))).unwrap();
            Certificate::from_pem(&pem).unwrap()
        };
        let responder = certificate("ocsp-responder");
        configuration("EE", &certificate("root-ca"), vec![certificate("sub-ca")], Some(&responder), None)
    }

    /// The message of one direction, if it has parts at all.
    fn load(case: &Path, direction: &str) -> Option<Recorded> {
        let json: Value = serde_json::from_slice(&fs::read(case.join("case.json")).ok()?).unwrap();
        let parts = json[format!("{direction}_parts")].as_array()?;
        let body = fs::read(case.join(format!("transport-{direction}.body"))).ok()?;
        let algorithm = match direction {
            "request" => &json["hash_algorithm"],
            _ => &json["response_hash_algorithm"],
        };
        let algorithm = DigestAlgorithm::from_name(algorithm.as_str()?)?;
        let mut message = None;
        let mut attachments = Vec::new();
        let (mut signature, mut result, mut chain) = (None, None, None);
        for part in parts {
            let at = |key: &str| usize::try_from(part[key].as_u64().unwrap()).unwrap();
            let bytes = body.get(at("offset")..at("offset") + at("length"))?;
            match part["content_type"].as_str().unwrap_or_default() {
                "application/ocsp-response" => {}
                "application/hash-chain-result" => result = Some(Bytes::copy_from_slice(bytes)),
                "application/hash-chain" => chain = Some(Bytes::copy_from_slice(bytes)),
                "signature/bdoc-1.0/ts" => signature = Some(Bytes::copy_from_slice(bytes)),
                kind if kind.starts_with("multipart/") && part["where"] == "top" => {}
                _ if message.is_none() => message = Some(bytes),
                _ => attachments.push(digest(algorithm, bytes)),
            }
        }
        let message = message?;
        Some(Recorded {
            at: UnixTime::from_rfc3339(json["clock_utc"].as_str()?).unwrap(),
            checked: json["checked"] == true,
            sender: sender(message, direction)?,
            digests: PartDigests { algorithm, message: digest(algorithm, message), attachments },
            bundle: signature.map(|signature_xml| SignatureBundle {
                signature_xml,
                hash_chain_result: result,
                hash_chain: chain,
            }),
        })
    }

    /// REST headers, or the member code in a SOAP header; all members are `EE/BUSINESS/...`.
    fn sender(message: &[u8], direction: &str) -> Option<MemberId> {
        let text = String::from_utf8_lossy(message);
        let lower = text.to_lowercase();
        let (rest, element) = match direction {
            "request" => ("x-road-client:", ":client "),
            _ => ("x-road-service:", ":service "),
        };
        let code = if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
            let after = &text[lower.find(element)?..];
            let name = after.find("memberCode>")? + "memberCode>".len();
            after[name..].split('<').next()?.to_owned()
        } else {
            let after = &text[lower.rfind(rest)? + rest.len()..];
            after.split(['/', '\r']).nth(2)?.to_owned()
        };
        format!("EE/BUSINESS/{code}").parse().ok()
    }

    fn judge(message: &Recorded, conf: &GlobalConf, trust: &TrustCache) -> Result<(), &'static str> {
        let bundle = message.bundle.as_ref().ok_or("missing_signature")?;
        verify((), &message.digests, bundle, conf, trust, &message.sender, message.at)
            .map(drop)
            .map_err(|error| error.code())
    }

    fn cases(folder: &Path) -> Vec<PathBuf> {
        let mut cases = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("case.json").exists())
            .collect::<Vec<_>>();
        cases.sort();
        cases
    }

    /// Requests and answers of all cases that were checked and not altered.
    const CHECKED_SIGNATURES: usize = 305;

    #[test]
    fn every_signature_that_was_checked_when_recorded_verifies() {
        let Some(folder) = conformance("xroad-7.3.2-recorded") else {
            return;
        };
        let conf = load_conf(&folder);
        let trust = TrustCache::default();
        let mut verified = 0;
        let mut wrong = Vec::new();
        for case in cases(&folder) {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            for direction in ["request", "response"] {
                let Some(message) = load(&case, direction) else { continue };
                if name.starts_with("altered-") || !message.checked || message.bundle.is_none() {
                    continue;
                }
                match judge(&message, &conf, &trust) {
                    Ok(()) => verified += 1,
                    Err(code) => wrong.push(format!("{name} {direction}: {code}")),
                }
            }
        }
        println!("recorded signatures: {verified} of {CHECKED_SIGNATURES}");
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(verified, CHECKED_SIGNATURES);
    }

    /// What the signature of an altered message is refused with: the recorded outcome unless said.
    /// Messages that the reader of transport messages refuses before are listed all the same.
    const ALTERED: [(&str, &str); 28] = [
        // Recorded: accepted. The body is not covered by the signature.
        ("altered-request-added-body request", "malformed_signature"),
        ("altered-request-body request", "malformed_signature.invalid_hash_chain"),
        // Recorded: accepted. The hash chain states a digest that is not the part's.
        ("altered-request-chain request", "malformed_signature.invalid_hash_chain_ref"),
        ("altered-request-chain-result request", "malformed_signature.invalid_hash_chain"),
        ("altered-request-client request", "incorrect_certificate"),
        // Refused by the reader: a part behind the signature.
        ("altered-request-extra-part request", "malformed_signature.hashchain_unused_inputs"),
        ("altered-request-hash-algorithm-sha256 request", "malformed_signature.invalid_reference"),
        ("altered-request-message request", "malformed_signature.invalid_hash_chain"),
        ("altered-request-message-lf request", "malformed_signature.invalid_hash_chain"),
        ("altered-request-message-no-request-id request", "malformed_signature.invalid_hash_chain"),
        // Refused by the reader: a header that must not be there.
        ("altered-request-message-skipped-header request", "malformed_signature.invalid_hash_chain"),
        ("altered-request-no-body request", "malformed_signature.invalid_reference"),
        ("altered-request-no-chain-result request", "internal_error"),
        ("altered-request-no-ocsp-in-signature request", "malformed_signature"),
        ("altered-request-signature-leading-space request", "invalid_xml"),
        ("altered-request-signature-not-xml request", "invalid_xml"),
        ("altered-request-signed-properties request", "invalid_xml"),
        ("altered-request-soap-attachment request", "malformed_signature.invalid_hash_chain"),
        ("altered-request-soap-message request", "invalid_signature_value"),
        // Refused by the reader: two bodies.
        ("altered-request-two-bodies request", "malformed_signature.hashchain_unused_inputs"),
        // Refused by the reader: a part behind the signature.
        ("altered-response-extra-part response", "malformed_signature.hashchain_unused_inputs"),
        // A fault instead of a signature.
        ("altered-response-fault-part response", "missing_signature"),
        ("altered-response-message response", "malformed_signature.invalid_hash_chain"),
        ("altered-response-no-chain response", "malformed_signature.invalid_reference"),
        ("altered-response-no-signature response", "missing_signature"),
        ("altered-response-soap-attachment response", "malformed_signature.invalid_hash_chain"),
        ("altered-response-status response", "malformed_signature.invalid_hash_chain"),
        ("altered-response-truncated response", "invalid_xml"),
    ];

    #[test]
    fn altered_messages_are_refused_as_recorded_or_more_strictly() {
        let Some(folder) = conformance("xroad-7.3.2-recorded") else {
            return;
        };
        let conf = load_conf(&folder);
        let trust = TrustCache::default();
        let mut refused = BTreeMap::new();
        for case in cases(&folder) {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            for direction in ["request", "response"] {
                if let Some(message) = load(&case, direction).filter(|_| name.starts_with("altered-"))
                    && let Err(code) = judge(&message, &conf, &trust)
                {
                    refused.insert(format!("{name} {direction}"), code);
                }
            }
        }
        let expected = ALTERED.map(|(case, code)| (case.to_owned(), code)).into();
        assert_eq!(refused, expected);
        println!("altered signatures refused: {} of {}", refused.len(), ALTERED.len());
    }
}
