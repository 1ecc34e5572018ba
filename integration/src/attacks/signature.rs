//! Signatures (T06, T10 to T12): of somebody else, over something else, taken to pieces. Each element and each attribute
//! of the signature and of the hash chain is removed, doubled, renamed, moved to another namespace, changed.

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use cert_authority::x509::issue::Profile;
use gateway::message::digests::PartDigests;
use gateway::message::transport::part;

use super::case::{Case, Expected, serving};
use super::mutants::{Kind, Mutant, mutants};
use crate::world::{Envelope, RECORDS, Signatory, World};

type Spoil = Box<dyn FnOnce(&mut PartDigests) + Send>;

/// T06: good signatures of the wrong signer.
pub(super) async fn signers(world: &World) -> Vec<Case> {
    let (trust, rogue) = (&world.trust, &world.rogue);
    let mut cases = Vec::new();
    for (what, profile, subject, of_other_ca, code) in [
        ("of the consumer's member", Profile::Sign, "C=DEMO, O=GOV, CN=1001", false, "incorrect_certificate"),
        ("of the provider's member", Profile::Sign, "C=DEMO, O=GOV, CN=2002", false, "incorrect_certificate"),
        (
            "of a member that does not exist",
            Profile::Sign,
            "C=DEMO, O=GOV, CN=9999",
            false,
            "incorrect_certificate",
        ),
        ("of another class", Profile::Sign, "C=DEMO, O=COM, CN=3003", false, "incorrect_certificate"),
        ("of another instance", Profile::Sign, "C=OTHER, O=GOV, CN=3003", false, "incorrect_certificate"),
        (
            "of a member in other letters",
            Profile::Sign,
            "C=DEMO, O=gov, CN=3003",
            false,
            "incorrect_certificate",
        ),
        (
            "of a member with a blank",
            Profile::Sign,
            "C=DEMO, O=GOV, CN=3003\\ ",
            false,
            "incorrect_certificate",
        ),
        ("of nobody", Profile::Sign, "CN=nobody", false, "incorrect_certificate"),
        (
            "by an authentication certificate",
            Profile::Auth,
            "C=DEMO, O=GOV, CN=3003",
            false,
            "malformed_signature",
        ),
        ("by a TLS certificate", Profile::Tls, "C=DEMO, O=GOV, CN=3003", false, "malformed_signature"),
        ("by an OCSP responder", Profile::Ocsp, "C=DEMO, O=GOV, CN=3003", false, "malformed_signature"),
        ("by a time-stamper", Profile::Tsa, "C=DEMO, O=GOV, CN=3003", false, "malformed_signature"),
        (
            "by an authority",
            Profile::RootCa { path_len: None },
            "C=DEMO, O=GOV, CN=3003",
            false,
            "malformed_signature",
        ),
        (
            "by a certificate of another authority",
            Profile::Sign,
            "C=DEMO, O=GOV, CN=3003",
            true,
            "incorrect_certificate",
        ),
    ] {
        let authority = if of_other_ca { &trust.other } else { &trust.ca };
        let holder = authority.issue(profile, subject).await;
        let ocsp = trust.ocsp(&holder.certificate).await;
        let signatory = Signatory { holder, ocsp };
        let code = format!("signature_verification.{code}");
        let target = format!("{RECORDS}/x");
        let body = Some(b"body".as_slice());
        let message = rogue.request_signed(trust, "POST", &target, "signer", body, &signatory, |_| {}).await;
        cases.push(Case::message(format!("a request {what}"), message, serving(&code)));
        cases.push(Case::answered(
            format!("an answer {what}"),
            move |plan| plan.signatory = signatory.clone(),
            &code,
        ));
    }
    cases
}

/// T10: no signature, half of one, one over something else, one too many.
pub(super) async fn values(world: &World) -> Vec<Case> {
    let target = format!("{RECORDS}/x");
    let mut cases = Vec::new();
    let rogue = &world.rogue;
    let good = rogue.request(&world.trust, "POST", &target, "value", Some(b"body")).await;
    contents(&good, &mut cases);
    lines(&good, &mut cases);
    let other = |text: &'static [u8]| digest(DigestAlgorithm::Sha512, text);
    let chain = "signature_verification.malformed_signature.invalid_hash_chain";
    let spoilt: Vec<(&str, Option<&'static [u8]>, Spoil, &str)> = vec![
        ("another message part", Some(b"body"), Box::new(move |d| d.message = other(b"other")), chain),
        ("another body", Some(b"body"), Box::new(move |d| d.attachments[0] = other(b"other")), chain),
        ("an empty body", Some(b"body"), Box::new(move |d| d.attachments[0] = other(b"")), chain),
        (
            "both in each other's place",
            Some(b"body"),
            Box::new(|d| std::mem::swap(&mut d.message, &mut d.attachments[0])),
            chain,
        ),
        (
            "the body twice",
            Some(b"body"),
            Box::new(|d| d.attachments.push(d.attachments[0])),
            "signature_verification.malformed_signature.invalid_reference",
        ),
        (
            "a part more",
            Some(b"body"),
            Box::new(move |d| d.attachments.push(other(b"unseen"))),
            "signature_verification.malformed_signature.invalid_reference",
        ),
        (
            "the message part alone",
            Some(b"body"),
            Box::new(|d| d.attachments.clear()),
            "signature_verification.malformed_signature",
        ),
        (
            "another message",
            None,
            Box::new(move |d| d.message = other(b"other")),
            "signature_verification.invalid_signature_value",
        ),
        (
            "a body that is not there",
            None,
            Box::new(move |d| d.attachments.push(other(b"unseen"))),
            "signature_verification.malformed_signature.invalid_reference",
        ),
    ];
    for (what, body, spoil, code) in spoilt {
        let verb = if body.is_some() { "POST" } else { "GET" };
        let message =
            rogue.request_signed(&world.trust, verb, &target, "over", body, &rogue.signatory, spoil).await;
        cases.push(Case::message(format!("signed over {what}"), message, serving(code)));
    }
    for algorithm in ALGORITHMS {
        let mut message = good.clone();
        message.replace(part::SIGNATURE, "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", algorithm);
        let code = "signature_verification.malformed_signature";
        cases.push(Case::message(format!("the algorithm {algorithm:?}"), message, serving(code)));
    }
    for algorithm in DIGESTS {
        let mut message = good.clone();
        message.replace(part::SIGNATURE, "http://www.w3.org/2001/04/xmlenc#sha512", algorithm);
        let code = "signature_verification.malformed_signature";
        cases.push(Case::message(format!("the digest {algorithm:?}"), message, serving(code)));
    }
    cases
}

/// Signature algorithms that nobody may use.
const ALGORITHMS: &[&str] = &[
    "",
    "none",
    "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
    "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
    "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
    "http://www.w3.org/2001/04/xmldsig-more#hmac-md5",
    "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1",
    "http://www.w3.org/2001/04/xmldsig-more#ECDSA-SHA256",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256 ",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-ripemd160",
    "urn:unheard-of",
];

/// Digest algorithms that nobody may use.
const DIGESTS: &[&str] = &[
    "",
    "none",
    "http://www.w3.org/2000/09/xmldsig#sha1",
    "http://www.w3.org/2001/04/xmldsig-more#md5",
    "http://www.w3.org/2001/04/xmldsig-more#sha224",
    "http://www.w3.org/2001/04/xmlenc#ripemd160",
    "http://www.w3.org/2001/04/xmlenc#SHA512",
    "urn:unheard-of",
];

/// What a part holds is something else, or nothing.
fn contents(good: &Envelope, cases: &mut Vec<Case>) {
    const CHAIN: &str = "signature_verification.malformed_signature.invalid_hash_chain";
    const MALFORMED_CHAIN: &str = "signature_verification.malformed_signature.malformed_hash_chain";
    const INVALID_XML: &str = "signature_verification.invalid_xml";
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 7] = [
        ("is empty", Vec::clear),
        ("is cut in half", |content| content.truncate(content.len() / 2)),
        ("lacks its last bytes", |content| {
            let end = content.iter().rposition(|byte| !byte.is_ascii_whitespace()).unwrap();
            content.truncate(end);
        }),
        ("has its first byte behind", |content| content.rotate_left(1)),
        ("begins twice", |content| content.extend_from_within(..content.len() / 2)),
        ("stands twice", |content| content.extend_from_within(..)),
        ("is nonsense", |content| *content = b"nonsense".to_vec()),
    ];
    for (name, media_type, code) in [
        ("the body", part::REST_BODY, CHAIN),
        ("the chain", part::HASH_CHAIN, MALFORMED_CHAIN),
        ("the chain result", part::HASH_CHAIN_RESULT, MALFORMED_CHAIN),
        ("the signature", part::SIGNATURE, INVALID_XML),
    ] {
        for (what, change) in changes {
            let mut message = good.clone();
            message.change(media_type, change);
            cases.push(Case::message(format!("{name} {what}"), message, serving(code)));
        }
    }
}

/// Each line of the message part, changed where rights do not depend on it.
fn lines(good: &Envelope, cases: &mut Vec<Case>) {
    let code = "signature_verification.malformed_signature.invalid_hash_chain";
    for (what, from, to) in [
        ("another method", "POST\r\n", "PUT\r\n"),
        ("another path", "/x\r\n", "/y\r\n"),
        ("a query", "/x\r\n", "/x?y\r\n"),
        ("an escaped path", "/x\r\n", "/%78\r\n"),
        ("a header more", "x-road-id:", "x-own:1\r\nx-road-id:"),
        ("a header in front", "\r\nX-Road-Client:", "\r\nx-own:1\r\nX-Road-Client:"),
        ("a header behind", "value\r\n", "value\r\nx-own:1\r\n"),
        ("another message id", "x-road-id:value", "x-road-id:other"),
        ("a second message id", "x-road-id:value", "x-road-id:value\r\nx-road-id:other"),
        ("a header name in other letters", "x-road-id:", "X-Road-Id:"),
        ("a blank behind a colon", "x-road-id:", "x-road-id: "),
        ("a blank at the end of a line", "x-road-id:value", "x-road-id:value "),
        ("the client in escapes", "DEMO/GOV/3003/other", "DEMO/GOV/3003/%6fther"),
        ("the client twice", "X-Road-Client:DEMO", "X-Road-Client:DEMO/GOV/3003/other\r\nX-Road-Client:DEMO"),
        ("a user", "x-road-id:", "x-road-userid:admin\r\nx-road-id:"),
        ("a represented party", "x-road-id:", "x-road-represented-party:GOV/2002\r\nx-road-id:"),
    ] {
        let mut message = good.clone();
        message.replace(part::REST_REQUEST, from, to);
        cases.push(Case::message(format!("after signing: {what}"), message, serving(code)));
    }
}

/// T11: the hash chain, taken to pieces.
pub(super) async fn chains(world: &World) -> Vec<Case> {
    let good =
        world.rogue.request(&world.trust, "POST", &format!("{RECORDS}/x"), "chain", Some(b"body")).await;
    let mut cases = Vec::new();
    for media_type in [part::HASH_CHAIN, part::HASH_CHAIN_RESULT] {
        for Mutant { name, text, kind, element, .. } in mutants(&content(&good, media_type)) {
            let mut message = good.clone();
            message.change(media_type, |part| *part = text.into_bytes());
            let code = format!("signature_verification.{}", chain_code(media_type, kind, &element));
            let name = format!("{}: {name}", media_type.trim_start_matches("application/"));
            cases.push(Case::message(name, message, serving(&code)));
        }
    }
    cases
}

/// What must come of a change: the walk comes first, then the digest that the signature has of the result.
fn chain_code(media_type: &str, kind: Kind, element: &str) -> &'static str {
    const MALFORMED: &str = "malformed_signature.malformed_hash_chain";
    const OTHER: &str = "malformed_signature.invalid_hash_chain";
    match (media_type == part::HASH_CHAIN, kind, element) {
        (_, Kind::Twice, _) => MALFORMED,
        // The chain has one step that names two parts: without one of them it leads elsewhere.
        (true, Kind::Removed, "DataRef") => OTHER,
        (true, Kind::Changed("URI"), "DataRef") => "malformed_signature.invalid_reference",
        (true, Kind::Text, "DigestValue") => "malformed_signature.invalid_hash_chain_ref",
        (false, Kind::Text, "DigestValue") => OTHER,
        (false, Kind::Changed("URI"), _) => "malformed_signature.invalid_reference",
        _ => MALFORMED,
    }
}

/// T12: the signature, taken to pieces.
pub(super) async fn wrapping(world: &World) -> Vec<Case> {
    let good = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "wrapping", None).await;
    let signature = content(&good, part::SIGNATURE);
    let mut cases = Vec::new();
    let changed = |text: String| {
        let mut message = good.clone();
        message.change(part::SIGNATURE, |part| *part = text.into_bytes());
        message
    };
    let refused = |code: &str| serving(&format!("signature_verification.{code}"));
    for mutant in mutants(&signature) {
        let (code, because) = signature_code(&mutant);
        let expected = match code {
            "" => Expected::Passes("GET /base/x HTTP/1.1".to_owned()),
            code => refused(code),
        };
        let mut case = Case::message(mutant.name, changed(mutant.text), expected);
        case.because = because;
        cases.push(case);
    }
    for (what, from, to, code) in WRAPPED {
        assert!(signature.contains(from), "{from} is not in the signature: {signature}");
        cases.push(Case::message(*what, changed(signature.replacen(from, to, 1)), refused(code)));
    }
    cases
}

/// What must come of a change to a signature, and why; no code where nothing is signed, and nothing refers to it.
fn signature_code(mutant: &Mutant) -> (&'static str, Option<&'static str>) {
    const MALFORMED: &str = "malformed_signature";
    const VALUE: &str = "invalid_signature_value";
    const UNREAD: &str =
        "X-Road's schema says malformed_signature; what nobody reads is digested all the same";
    let Mutant { kind, element, within, .. } = mutant;
    let within = |name: &str| element == name || within.iter().any(|outer| outer == name);
    match (*kind, element.as_str()) {
        (Kind::Twice, _) => ("invalid_xml", None),
        (Kind::Without("Id") | Kind::Changed("Id"), "SignatureValue" | "EncapsulatedOCSPValue") => {
            ("", Some("it is not signed, and nothing refers to it"))
        }
        (Kind::Without("Id") | Kind::Changed("Id"), "Reference") => (VALUE, None),
        (Kind::Changed("URI"), "Reference") if mutant.name.contains("no. 1 ") => {
            ("malformed_signature.invalid_reference", None)
        }
        (Kind::Text, "EncapsulatedOCSPValue") => ("invalid_cert_path.incorrect_validation_info", None),
        (Kind::Text, "SignatureValue") => (VALUE, None),
        (Kind::Text, "DigestValue") if within("Reference") => (VALUE, None),
        (Kind::Removed, "SigningTime" | "SignaturePolicyIdentifier" | "SignedDataObjectProperties") => {
            (VALUE, None)
        }
        (Kind::Doubled, "CertDigest") => (VALUE, Some(UNREAD)),
        _ if within("IssuerSerial") || within("SignaturePolicyId") || within("DataObjectFormat") => {
            (VALUE, Some(UNREAD))
        }
        _ => (MALFORMED, None),
    }
}

/// What is wrapped around, moved or referred to otherwise.
const WRAPPED: &[(&str, &str, &str, &str)] = &[
    (
        "a reference to a file",
        "URI=\"/message.xml\"",
        "URI=\"file:///etc/passwd\"",
        "malformed_signature.invalid_reference",
    ),
    (
        "a reference to the network",
        "URI=\"/message.xml\"",
        "URI=\"http://127.0.0.1/x\"",
        "malformed_signature.invalid_reference",
    ),
    ("a reference to nothing", "URI=\"/message.xml\"", "URI=\"\"", "malformed_signature.invalid_reference"),
    (
        "a reference to the properties as data",
        "URI=\"/message.xml\"",
        "URI=\"#signed-properties\"",
        "malformed_signature.invalid_reference",
    ),
    (
        "a reference to the signature",
        "URI=\"/message.xml\"",
        "URI=\"#signature\"",
        "malformed_signature.invalid_reference",
    ),
    (
        "a reference by XPointer",
        "URI=\"/message.xml\"",
        "URI=\"#xpointer(/)\"",
        "malformed_signature.invalid_reference",
    ),
    (
        "a reference above the package",
        "URI=\"/message.xml\"",
        "URI=\"/../message.xml\"",
        "malformed_signature.invalid_reference",
    ),
    (
        "a reference without its slash",
        "URI=\"/message.xml\"",
        "URI=\"message.xml\"",
        "malformed_signature.invalid_reference",
    ),
    (
        "a reference to an attachment",
        "URI=\"/message.xml\"",
        "URI=\"/attachment1\"",
        "malformed_signature.invalid_reference",
    ),
    (
        "a reference to a chain that is not there",
        "URI=\"/message.xml\"",
        "URI=\"/sig-hashchainresult.xml\"",
        "internal_error",
    ),
    ("a comment", "<ds:SignedInfo>", "<ds:SignedInfo><!-- x -->", "malformed_signature"),
    ("a comment inside a value", "<ds:DigestValue>", "<ds:DigestValue><!-- x -->", "malformed_signature"),
    ("a processing instruction", "<ds:SignedInfo>", "<ds:SignedInfo><?x y?>", "malformed_signature"),
    ("text between elements", "<ds:SignedInfo>", "<ds:SignedInfo>text", "malformed_signature"),
    ("an object more", "</ds:Signature>", "<ds:Object Id=\"o\"/></ds:Signature>", "malformed_signature"),
    (
        "a manifest",
        "</ds:Signature>",
        "<ds:Object><ds:Manifest Id=\"m\"/></ds:Object></ds:Signature>",
        "malformed_signature",
    ),
    ("a key value", "<ds:X509Data>", "<ds:KeyValue/><ds:X509Data>", "malformed_signature"),
    ("a key name", "<ds:X509Data>", "<ds:KeyName>x</ds:KeyName><ds:X509Data>", "malformed_signature"),
    (
        "a retrieval method",
        "<ds:X509Data>",
        "<ds:RetrievalMethod URI=\"http://127.0.0.1/\"/><ds:X509Data>",
        "malformed_signature",
    ),
    ("xml:id", "Id=\"signature\"", "Id=\"signature\" xml:id=\"x\"", "malformed_signature"),
    (
        "an ID in other letters",
        "Id=\"signature\"",
        "Id=\"signature\" ID=\"signed-properties\"",
        "malformed_signature",
    ),
    ("a document type", "<asic:", "<!DOCTYPE a []><asic:", "invalid_xml"),
    (
        "a document type with an entity",
        "<asic:",
        "<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><asic:",
        "invalid_xml",
    ),
    ("an entity that nobody defined", "<ds:SignedInfo>", "<ds:SignedInfo>&e;", "invalid_xml"),
    ("a second root", "</asic:XAdESSignatures>", "</asic:XAdESSignatures><x/>", "invalid_xml"),
];

fn content(envelope: &Envelope, media_type: &str) -> String {
    String::from_utf8(envelope.parts[envelope.place(media_type)].1.to_vec()).unwrap()
}
