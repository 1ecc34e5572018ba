//! `log verify` against logs whose bytes are whole and whose evidence is not: signers that were not in good standing when
//! they signed, OCSP responses and time-stamps of something else. Each is named at its record, and nothing else is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;
mod verify_support;

use std::sync::Arc;

use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::UnixTime,
    crypto::digest,
    ocsp::CertStatus,
    timestamp::{Request, Token},
};
use evidence_support::{World, now};
use gateway::{
    evidence::signature::SigningKey,
    messagelog::{
        Record,
        stamp::{Granted, StampFuture, TimestampAuthority},
    },
};
use metaservice_support::*;
use verify_support::Judged;

const VALID: &str = "2026-03-01T00:00:00Z";

/// Two hours ago: older than responses may be.
fn long_ago() -> UnixTime {
    UnixTime::from_secs(now().as_secs() - 2 * 3600)
}

#[test]
fn a_signer_not_in_good_standing_at_signing_time_is_named_at_its_message() {
    type Make = fn(&World) -> SigningKey;
    let cases: [(&str, Make, &str); 8] = [
        (
            "revoked before it signed",
            |world| {
                let revoked = CertStatus::Revoked { at: long_ago(), reason: Some(1) };
                world.signing_key_with(&world.ocsp(revoked, now()))
            },
            "the certificate is revoked",
        ),
        (
            "not known to the responder",
            |world| world.signing_key_with(&world.ocsp(CertStatus::Unknown, now())),
            "does not know the certificate",
        ),
        ("without an OCSP response", |world| world.signing_key_with(&[]), "no OCSP response"),
        (
            "with a response of another certificate",
            |world| world.signing_key_with(&world.ocsp_of_another()),
            "status is not proven",
        ),
        (
            "with a response that is too old",
            |world| world.signing_key_with(&world.ocsp(CertStatus::Good, long_ago())),
            "the OCSP response is too old",
        ),
        (
            "with a response of another authority",
            |world| {
                let other = World::new(world.key_type);
                world.signing_key_with(&other.ocsp(CertStatus::Good, now()))
            },
            "status is not proven",
        ),
        (
            "with an expired certificate",
            |world| world.key_certified("C=EE, O=GOV, CN=1001", "2026-02-02T00:00:00Z"),
            "the certificate has expired",
        ),
        ("of another member", |world| world.key_certified("C=EE, O=GOV, CN=9999", VALID), "EE/GOV/9999"),
    ];
    for (name, make, said) in cases {
        let mut scene = Scene::new();
        scene.log(REQUEST);
        let good = std::mem::replace(&mut scene.key, make(&scene.world));
        let request = scene.log(Message { id: "bad", ..REQUEST });
        let response = scene.log(Message { id: "bad", ..RESPONSE });
        scene.key = good;
        let judged = Judged::within(scene, 7);
        let report = judged.report(&judged.directory());
        let found: Vec<u64> = report.problems.iter().map(|problem| problem.record).collect();
        assert_eq!(found, [request, response], "{name}: {:?}", report.problems);
        for problem in &report.problems {
            let said_so = problem.what.starts_with("the signature of the message is not valid: ");
            assert!(said_so && problem.what.contains(said), "{name}: {problem:?}");
        }
        assert_eq!((report.signatures, report.stamped), (15, 17), "{name}: all others are right");
    }
}

#[test]
fn a_certificate_that_was_revoked_after_it_signed_proves_what_it_signed_before() {
    // The response in the signature is of the time when it was made.
    let mut scene = Scene::new();
    let before = scene.world.ocsp(CertStatus::Good, UnixTime::from_secs(now().as_secs() - 60));
    scene.key = scene.world.signing_key_with(&before);
    let judged = Judged::within(scene, 7);
    assert_eq!(judged.report(&judged.directory()).problems, []);
}

/// Stamps something else than it is asked for, in good form.
struct Elsewhere(Arc<World>);

impl TimestampAuthority for Elsewhere {
    fn name(&self) -> &str {
        "TSA"
    }

    fn stamp<'a>(&'a self, _: &'a [u8]) -> StampFuture<'a> {
        Box::pin(async move {
            let request = Request {
                imprint_algorithm: DigestAlgorithm::Sha512,
                imprint: digest(DigestAlgorithm::Sha512, b"something else").as_ref().to_vec(),
                nonce: None,
                certificates: true,
                policy: None,
            };
            let token = Token::from_response(&self.0.answer(&request, now()).await).unwrap();
            Ok(Granted { token: token.der().clone(), time: token.gen_time() })
        })
    }
}

#[test]
fn a_checkpoint_under_a_time_stamp_over_something_else_is_named() {
    let judged =
        Judged::sealed_by(Scene::new(), 14, &|scene| vec![Box::new(Elsewhere(Arc::clone(&scene.world)))]);
    let reader = judged.scene.reader();
    let sealed: Vec<u64> = (0..reader.len())
        .filter(|number| match reader.get(*number).unwrap().unwrap().record {
            Record::Checkpoint(checkpoint) => checkpoint.token.is_some(),
            _ => false,
        })
        .collect();
    assert_eq!(sealed.len(), 2);
    let report = judged.report(&judged.directory());
    let found: Vec<u64> = report.problems.iter().map(|problem| problem.record).collect();
    assert_eq!(found, sealed, "{:?}", report.problems);
    assert!(report.problems.iter().all(|problem| problem.what.starts_with("the time-stamp is not valid")));
    assert_eq!((report.signatures, report.stamped), (28, 28));
}

#[test]
fn messages_under_a_time_stamp_over_something_else_are_named_at_the_time_stamp() {
    let scene = Scene::new();
    scene.log(REQUEST);
    scene.log(RESPONSE);
    let wrong: Vec<Box<dyn TimestampAuthority>> = vec![Box::new(Elsewhere(Arc::clone(&scene.world)))];
    let stamping = gateway::messagelog::timestamper::stamp_pending(&scene.log, &wrong);
    assert_eq!(scene.runtime.block_on(stamping).unwrap(), 2);
    let judged = Judged::within(scene, 7);
    let report = judged.report(&judged.directory());
    let found: Vec<u64> = report.problems.iter().map(|problem| problem.record).collect();
    assert_eq!(found, [2], "{:?}", report.problems);
    assert_eq!((report.signatures, report.stamped), (16, 14));
}
