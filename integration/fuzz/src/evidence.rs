//! Evidence: signatures, hash chains, canonical XML, time-stamps in signatures, containers, archives.

use std::borrow::Cow;
use std::io::{Cursor, Read as _};
use std::sync::OnceLock;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::timestamp::Token;
use conf::identifier::MemberId;
use gateway::archive::linking::LinkingInfo;
use gateway::evidence::asic::{signature_of, verify_container};
use gateway::evidence::canonical::{Method, canonicalize, canonicalize_document};
use gateway::evidence::hash_chain::{self, Content, Input, Unresolved};
use gateway::evidence::signature::{self, Facts, SignatureBundle, TrustCache, read};
use gateway::evidence::timestamp;
use gateway::message::digests::PartDigests;
use gateway::message::well_formed;

use crate::world;

/// A signature that verifies, with what it signs.
struct Signed {
    bundle: SignatureBundle,
    digests: PartDigests,
    member: MemberId,
    at: UnixTime,
    facts: Facts,
}

impl Signed {
    fn get() -> &'static Self {
        static SIGNED: OnceLock<Signed> = OnceLock::new();
        SIGNED.get_or_init(|| {
            let path = world::conformance().join("xroad-7.8.0/containers/valid-non-batch-rest.asice");
            let container = std::fs::read(path).unwrap();
            let report = verify_container(&container, world::global_conf()).unwrap();
            let member: MemberId = report.signer.unwrap().parse().unwrap();
            let at = UnixTime::from_rfc3339(&report.timestamped_at.unwrap()).unwrap();
            let bundle = signature_of(&container).unwrap();
            let mut zip = zip::ZipArchive::new(Cursor::new(&container)).unwrap();
            let mut entry = |name: &str| {
                let mut content = Vec::new();
                zip.by_name(name).ok()?.read_to_end(&mut content).unwrap();
                Some(content)
            };
            let algorithm = DigestAlgorithm::Sha512;
            let mut digests = PartDigests::of_message(algorithm, &entry("message.xml").unwrap());
            for number in 1.. {
                let Some(content) = entry(&format!("attachment{number}")) else { break };
                digests = digests.with_attachment(cert_authority::crypto::digest(algorithm, &content));
            }
            let facts = judge(&bundle, &digests, &member, at).expect("the sample verifies");
            Self { bundle, digests, member, at, facts }
        })
    }
}

fn judge(bundle: &SignatureBundle, digests: &PartDigests, member: &MemberId, at: UnixTime) -> Option<Facts> {
    let trust = TrustCache::default();
    let verified = signature::verify((), digests, bundle, world::global_conf(), &trust, member, at).ok()?;
    Some(verified.facts().clone())
}

/// A signature, taken apart.
pub fn signature_read(data: &[u8]) {
    let Ok(document) = read::parse(data) else { return };
    let _ = read::read(&document);
}

/// A signature, verified over a message that one signature is good for: whatever is accepted says what that one says.
pub fn signature_verify(data: &[u8]) {
    let signed = Signed::get();
    let bundle = SignatureBundle { signature_xml: Bytes::copy_from_slice(data), ..signed.bundle.clone() };
    if let Some(facts) = judge(&bundle, &signed.digests, &signed.member, signed.at) {
        assert_eq!(facts.covered, signed.facts.covered, "a forged signature");
        assert_eq!(facts.certificate, signed.facts.certificate, "a forged signature");
        assert_eq!(facts.signing_time, signed.facts.signing_time, "a forged signature");
    }
}

/// A hash chain result, a line of `=`, a hash chain: verified over a message that no chain is good for.
pub fn hash_chain(data: &[u8]) {
    const BETWEEN: &[u8] = b"\n=\n";
    let at = data.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    let (result, chain) = at.map_or((data, &b""[..]), |at| (&data[..at], &data[at + BETWEEN.len()..]));
    let input =
        Input { name: Cow::Borrowed(signature::MESSAGE), content: Content::Bytes(b"nobody chained this") };
    for unresolved in [Unresolved::Refuse, Unresolved::Report] {
        let files = [(signature::HASH_CHAIN, chain)];
        let verdict = hash_chain::verify(result, &files, std::slice::from_ref(&input), unresolved);
        assert!(verdict.is_err(), "a digest that was found by chance");
    }
}

/// Canonical XML: what is canonical stays as it is, and says the same.
pub fn canonical(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The parser's time grows with the square of these; where it matters they are bounded.
    if text.matches("xmlns").count() > 64 || text.matches('=').count() > 256 {
        return;
    }
    let Ok(document) = roxmltree::Document::parse(text) else { return };
    if well_formed::check(text, &document).is_err() {
        return;
    }
    for method in [Method::Inclusive, Method::Exclusive] {
        let once = canonicalize_document(&document, method);
        let again = String::from_utf8(once).unwrap();
        let reread = roxmltree::Document::parse(&again).unwrap_or_else(|error| panic!("{error}: {again:?}"));
        let twice = canonicalize_document(&reread, method);
        assert_eq!(String::from_utf8(twice).unwrap(), again, "{method:?}");
        if let Some(child) = document.root_element().first_element_child() {
            let _ = canonicalize(child, method);
        }
    }
}

/// A time-stamp put into a signature, and taken out again: the signature is as it was.
pub fn signature_timestamp(data: &[u8]) {
    let _ = timestamp::remove(data);
    let _ = timestamp::single(data);
    let Ok(stamped) = timestamp::insert(data, b"token") else { return };
    assert!(timestamp::insert(&stamped, b"token").is_err(), "stamped twice");
    assert_eq!(timestamp::remove(&stamped).as_deref(), Ok(data));
    let document = read::parse(&stamped).unwrap();
    assert!(read::read(&document).unwrap().timestamp.is_some());
    let _ = Token::from_der(data.to_vec());
}

/// A container.
pub fn container(data: &[u8]) {
    let _ = signature_of(data);
    let Ok(report) = verify_container(data, world::global_conf()) else { return };
    if report.valid {
        // Whatever verifies was signed by somebody of the samples, and time-stamped.
        assert!(report.signer.is_some() && report.timestamped_at.is_some() && !report.parts.is_empty());
    }
}

/// An archive of the message log.
pub fn archive(data: &[u8]) {
    let _ = gateway::archive::read::read(Cursor::new(data), Some(world::global_conf()));
}

/// Linking information: one list, one text.
pub fn linking_info(data: &[u8]) {
    let Ok(info) = LinkingInfo::parse(data) else { return };
    let again = LinkingInfo::parse(info.to_text().as_bytes());
    assert_eq!(again.map(|again| again.to_text()), Ok(info.to_text()));
    let _ = info.chain();
}
