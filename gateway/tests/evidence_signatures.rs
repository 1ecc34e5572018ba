//! The signatures of X-Road's own tests, each with its verdict.

#[cfg(test)]
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use bytes::Bytes;
    use cert_authority::{
        algorithm::DigestAlgorithm::Sha512,
        clock::UnixTime,
        crypto::{EcdsaForm, digest},
        x509::Certificate,
    };
    use conf::snapshot::GlobalConf;
    use gateway::{
        evidence::{
            canonical::canonicalize,
            signature::{SignatureBundle, TrustCache, read, verify},
        },
        message::digests::PartDigests,
    };

    use crate::evidence_support::conformance;

    /// One judgement.
    struct Row {
        file: &'static str,
        /// Message, attachment.
        parts: (&'static str, Option<&'static [u8]>),
        /// Hash chain result and hash chain.
        chain: Option<[&'static str; 2]>,
        conf: &'static str,
        signer: &'static str,
        at: &'static str,
        code: Option<&'static str>,
    }

    const OLD: Row = Row {
        file: "",
        parts: ("message-1.xml", None),
        chain: None,
        conf: "globalconf_good_v4",
        signer: "EE/BUSINESS/consumer",
        at: "2014-10-30T00:00:00Z",
        code: Some("malformed_signature"),
    };

    const NEW: Row = Row {
        file: "non-batch-sig/signatures.xml",
        parts: ("non-batch-sig/message.xml", None),
        chain: None,
        conf: "globalconf_good2_v3",
        signer: "DEV/COM/4321",
        at: "2024-07-09T07:39:00Z",
        code: None,
    };

    const ROWS: [Row; 18] = [
        Row { parts: (NEW.parts.0, Some(b"attachment")), ..NEW },
        Row { parts: (NEW.parts.0, Some(&[1])), code: Some("invalid_signature_value"), ..NEW },
        // Not all that is signed is there; not all that is there is signed.
        Row { code: Some("malformed_signature.invalid_reference"), ..NEW },
        Row { parts: ("message-1.xml", Some(b"attachment")), code: Some("invalid_signature_value"), ..NEW },
        Row {
            parts: (NEW.parts.0, Some(b"attachment")),
            signer: "DEV/COM/1234",
            code: Some("incorrect_certificate"),
            ..NEW
        },
        Row {
            parts: (NEW.parts.0, Some(b"attachment")),
            conf: "globalconf_good_v4",
            code: Some("incorrect_certificate"),
            ..NEW
        },
        // Before the OCSP response was made (X-Road's own test does it so, and accepts), and long after.
        Row {
            parts: (NEW.parts.0, Some(b"attachment")),
            at: "2024-07-09T00:00:00Z",
            code: Some("invalid_cert_path.incorrect_validation_info"),
            ..NEW
        },
        Row {
            parts: (NEW.parts.0, Some(b"attachment")),
            at: "2024-07-11T00:00:00Z",
            code: Some("invalid_cert_path.incorrect_validation_info"),
            ..NEW
        },
        Row { file: "empty.xml", code: Some("invalid_xml"), ..OLD },
        Row { file: "sign-0-malformed-xml.xml", code: Some("invalid_xml"), ..OLD },
        Row { file: "sign-0-no-signature.xml", ..OLD },
        Row { file: "sign-0-no-objectcontainer.xml", ..OLD },
        Row { file: "sign-0-schema-fail.xml", ..OLD },
        Row { file: "sign-0-no-signing-cert.xml", ..OLD },
        Row { file: "sign-0-ocsp-no-responses.xml", ..OLD },
        Row { file: "extra-certs-missing-id.xml", signer: "EE/BUSINESS/Test Org", ..OLD },
        Row { file: "extra-certs-missing-cert.xml", signer: "EE/BUSINESS/Test Org", ..OLD },
        Row { file: "extra-certs-digest-invalid.xml", signer: "EE/BUSINESS/Test Org", ..OLD },
    ];

    fn judge(folder: &Path, row: &Row) -> Option<&'static str> {
        let signatures = folder.join("signatures");
        let load = |name: &str| fs::read(signatures.join(name)).unwrap();
        let attachment = match row.parts.1 {
            Some(b"attachment") => Some(load("non-batch-sig/attachment1")),
            other => other.map(<[u8]>::to_vec),
        };
        let digests = PartDigests {
            algorithm: Sha512,
            message: digest(Sha512, &load(row.parts.0)),
            attachments: attachment.iter().map(|attachment| digest(Sha512, attachment)).collect(),
        };
        let bundle = SignatureBundle {
            signature_xml: Bytes::from(load(row.file)),
            hash_chain_result: row.chain.map(|[result, _]| Bytes::from(load(result))),
            hash_chain: row.chain.map(|[_, chain]| Bytes::from(load(chain))),
        };
        let conf = GlobalConf::load_dir(folder.join("global-configuration").join(row.conf)).unwrap();
        let signer = row.signer.parse().unwrap();
        let at = UnixTime::from_rfc3339(row.at).unwrap();
        let verdict = verify((), &digests, &bundle, &conf, &TrustCache::default(), &signer, at);
        println!("{}: {:?}", row.file, verdict.as_ref().err());
        verdict.err().map(|error| error.code())
    }

    #[test]
    fn the_conformance_signatures_have_their_verdicts() {
        let Some(folder) = conformance("xroad-7.8.0") else {
            return;
        };
        let mut right = 0;
        for (number, row) in ROWS.iter().enumerate() {
            assert_eq!(judge(&folder, row), row.code, "row {number}: {}", row.file);
            right += 1;
        }
        println!("signatures: {right} of {}", ROWS.len());
    }

    /// Files whose signers were certified, with SHA-1, by an authority whose certificate is not among the
    /// data. X-Road's tests put in that authority, ours cannot, so that the verdict is that the signer is
    /// not known. What X-Road's tests are about is looked at one by one.
    #[test]
    fn signers_of_an_unknown_authority_are_refused() {
        let Some(folder) = conformance("xroad-7.8.0") else {
            return;
        };
        let chain = Some(["hash-chain-result.xml", "hash-chain-1.xml"]);
        let rows = [
            // X-Road: valid.
            Row { file: "batch-sig.xml", parts: ("message-1.xml", Some(b"blaah")), chain, ..OLD },
            // X-Road: invalid_signature_value.
            Row { file: "sign-0-invalid-signature-value.xml", ..OLD },
        ];
        for row in rows {
            assert_eq!(judge(&folder, &row), Some("incorrect_certificate"), "{}", row.file);
        }
        let swapped = Some(["hash-chain-result.xml", "hash-chain-2.xml"]);
        for (attachment, chain, code) in [
            (Some(b"other".as_slice()), chain, "malformed_signature.invalid_hash_chain"),
            (None, chain, "malformed_signature.invalid_reference"),
            (Some(b"blaah".as_slice()), swapped, "malformed_signature.invalid_hash_chain"),
        ] {
            let row = Row { file: "batch-sig.xml", parts: ("message-1.xml", attachment), chain, ..OLD };
            assert_eq!(judge(&folder, &row), Some(code));
        }
        assert!(value_holds(&folder.join("signatures/batch-sig.xml")));
        assert!(!value_holds(&folder.join("signatures/sign-0-invalid-signature-value.xml")));
    }

    /// Whether the signature value is that of the certificate's key, whoever that is.
    fn value_holds(file: &Path) -> bool {
        let bytes = fs::read(file).unwrap();
        let document = read::parse(&bytes).unwrap();
        let signature = read::read(&document).unwrap();
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            signature.certificate.replace("\r\n", "\n").trim()
        );
        let signed_info = canonicalize(signature.signed_info, signature.canonicalization);
        Certificate::from_pem(&pem)
            .unwrap()
            .public_key()
            .verify(signature.algorithm, EcdsaForm::Raw, &signed_info, &signature.value)
            .is_ok()
    }

    #[test]
    fn a_manifest_in_a_signature_is_refused() {
        let Some(folder) = conformance("xroad-7.8.0") else {
            return;
        };
        let row = Row { file: "xades.signature.ts.xml", ..OLD };
        assert_eq!(judge(&folder, &row), Some("malformed_signature"));
    }
}
