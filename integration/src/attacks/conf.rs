//! The global configuration (T24 to T27) and time-stamps (T28): expired, rolled back, changed, of somebody else.

use std::time::Duration;

use bytes::Bytes;
use cert_authority::clock::Clock as _;

use super::case::{Answer, Case, Expected, asking, serving};
use crate::world::{Ask, RECORDS, Served, TsaMode, World};

/// T24: nothing goes by a configuration that has expired, and all goes on once there is another.
pub(super) async fn expired(world: &World) -> Vec<Case> {
    let message = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "expired", None).await;
    world.clock.advance(Duration::from_secs(601));
    let mut cases = Vec::new();
    for verb in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let ask = Ask::with(verb, &format!("{RECORDS}/x"));
        cases.push(Case::ask(
            format!("{verb} after the configuration has expired"),
            ask,
            asking("global_conf_outdated"),
        ));
    }
    cases.push(Case::message(
        "a peer's message after the configuration has expired",
        message,
        Expected::Closed,
    ));
    cases.push(Case::doing(
        "and a fresh one resumes exchanges",
        |world| {
            Box::pin(async {
                world.publish(|_| {}).await;
                Answer::of_reply(Some(world.ask(&Ask::get(&format!("{RECORDS}/again"))).await))
            })
        },
        Expected::Passes("GET /base/again HTTP/1.1".to_owned()),
    ));
    cases
}

/// T25, T26: whatever a source gives that is not the authority's next configuration, nothing changes.
pub(super) async fn sources(world: &World) -> (Vec<Case>, Vec<Case>) {
    let older = world.network.served();
    world.publish(|_| {}).await;
    let (now, later) = (world.clock.now(), world.network.expires() + Duration::from_secs(60));
    // What each would bring about: nobody could be reached any more.
    let mut emptied = world.network.shared();
    emptied.servers.clear();
    let next = world.network.sign("DEMO", later, &emptied).await;
    let spoil = |name: &str, change: &dyn Fn(&mut Vec<u8>)| -> Served {
        let mut served = next.clone();
        let path = served.keys().find(|path| path.ends_with(name)).unwrap().clone();
        let mut bytes = served[&path].to_vec();
        change(&mut bytes);
        served.insert(path, Bytes::from(bytes));
        served
    };
    let replace = |name: &str, from: &'static str, to: &'static str| {
        spoil(name, &|bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(from), "{from} is not in {text}");
            *bytes = text.replacen(from, to, 1).into_bytes();
        })
    };
    let mut mixed = next.clone();
    let mut partless = next.clone();
    partless.retain(|path, _| !path.ends_with("shared-params.xml"));
    for (path, bytes) in &older {
        if let Some(name) = path.strip_prefix("/V6/").and_then(|path| path.split('/').nth(1)) {
            let path = mixed.keys().find(|path| path.ends_with(name)).unwrap().clone();
            mixed.insert(path, bytes.clone());
        }
    }
    let rolled_back: Vec<(&str, Served)> = vec![
        ("the one before", older),
        (
            "an older one that is still valid",
            world.network.sign("DEMO", now + Duration::from_secs(60), &emptied).await,
        ),
        ("one that has expired", world.network.sign("DEMO", now - Duration::from_secs(60), &emptied).await),
        ("the parts of an older one", mixed),
        ("no parts", partless),
        ("one of another instance", world.network.sign("OTHER", later, &emptied).await),
    ];
    let directory = "/internalconf";
    let mut changed: Vec<(String, Served)> = vec![
        ("nothing".to_owned(), Served::new()),
        ("nonsense".to_owned(), spoil(directory, &|bytes| *bytes = b"nonsense".to_vec())),
        ("nothing in the directory".to_owned(), spoil(directory, &Vec::clear)),
        ("a megabyte of zeros".to_owned(), spoil(directory, &|bytes| *bytes = vec![0; 1 << 20])),
    ];
    for (from, to) in [
        ("Version: 6", "Version: 5"),
        ("Version: 6", "Version: 99"),
        ("instance='DEMO'", "instance='OTHER'"),
        ("shared-params.xml", "../../../etc/passwd"),
        ("shared-params.xml", "/etc/passwd"),
        ("SHARED-PARAMETERS", "PRIVATE-PARAMETERS"),
        ("Expire-date: 2", "Expire-date: 3"),
        ("Content-location: ", "Content-location: http://127.0.0.1"),
        ("multipart/mixed", "text/plain"),
        ("Signature-Algorithm-Id: ", "Signature-Algorithm-Id: x"),
        ("Verification-certificate-hash: ", "Verification-certificate-hash: A"),
    ] {
        changed.push((format!("a directory with {to:?} for {from:?}"), replace(directory, from, to)));
    }
    for tenth in 1..10 {
        changed.push((
            format!("a directory cut off after {tenth} tenths"),
            spoil(directory, &|bytes| bytes.truncate(bytes.len() * tenth / 10)),
        ));
    }
    // Last, because of these the directory is good: a gateway that has just read it must not find its part in what comes next.
    // A part whose hash is that of the one at hand is not fetched again: changed is the part that is new.
    let part = "shared-params.xml";
    changed.push((format!("{part} with a byte more"), spoil(part, &|bytes| bytes.push(b'\n'))));
    changed.push((format!("{part} empty"), spoil(part, &Vec::clear)));
    for tenth in 1..10 {
        let at = move |bytes: &[u8]| bytes.len() * tenth / 10;
        changed.push((
            format!("{part} cut off after {tenth} tenths"),
            spoil(part, &|bytes| bytes.truncate(at(bytes))),
        ));
        changed.push((
            format!("{part} with another byte after {tenth} tenths"),
            spoil(part, &|bytes| {
                let at = at(bytes);
                bytes[at] ^= 1;
            }),
        ));
    }
    (
        rolled_back.into_iter().map(|(what, served)| unchanged(what, served)).collect(),
        changed.into_iter().map(|(what, served)| unchanged(&what, served)).collect(),
    )
}

/// The source gives this; both gateways go by what they had.
fn unchanged(what: &str, served: Served) -> Case {
    Case::doing(
        format!("the source gives {what}"),
        move |world| {
            let served = served.clone();
            Box::pin(async move {
                let (good, before) = (world.network.served(), world.network.directory());
                world.network.serve(served);
                world.network.is_fetched().await;
                let nodes = [&world.consumer, &world.provider];
                let kept = nodes.iter().all(|node| node.signed_directory().as_ref() == Some(&before));
                world.network.serve(good);
                Answer::verdict(if kept { "unchanged" } else { "taken up" }, "")
            })
        },
        Expected::Verdict("unchanged".to_owned()),
    )
}

/// T27: what another instance could claim, while none is followed.
pub(super) async fn federation(world: &World) -> Vec<Case> {
    let target = "/r1/OTHER/GOV/2002/registry/records/x";
    let mut cases = Vec::new();
    for verb in ["GET", "POST", "DELETE"] {
        let ask = Ask::with(verb, target);
        cases.push(Case::ask(
            format!("{verb} to a service of another instance"),
            ask,
            asking("unknown_member"),
        ));
    }
    let ask = Ask::get(&format!("{RECORDS}/x")).client("OTHER/GOV/1001/portal");
    cases.push(Case::ask("a client of another instance asks", ask, asking("unknown_member")));
    let message = super::headers::written(world, "DEMO/GOV/3003/other", "OTHER/GOV/3003/other").await;
    cases.push(Case::message(
        "a peer speaks for a client of another instance",
        message,
        serving("service_failed.ssl_authentication_failed"),
    ));
    let message = world.rogue.request(&world.trust, "GET", target, "of-another-instance", None).await;
    cases.push(Case::message(
        "a peer asks for a service of another instance",
        message,
        serving("service_failed.unknown_member"),
    ));
    cases
}

/// T28: time-stamps that are not what was asked for.
pub(super) async fn stamps(_world: &World) -> Vec<Case> {
    let modes = [
        TsaMode::Down,
        TsaMode::WrongImprint,
        TsaMode::WrongNonce,
        TsaMode::Unapproved,
        TsaMode::Apart(70),
        TsaMode::Apart(-70),
        TsaMode::Rejecting,
        TsaMode::Rubbish,
        TsaMode::Endless,
    ];
    modes
        .into_iter()
        .map(|mode| {
            Case::doing(
                format!("an authority that is {mode:?}"),
                move |world| {
                    Box::pin(async move {
                        world.trust.stamp(mode);
                        let pending = world.consumer.log().len();
                        world.is_alive().await;
                        let asked = world.trust.tsa_calls();
                        crate::world::soon("time-stamps are asked for", || {
                            world.trust.tsa_calls() >= asked + 4
                        })
                        .await;
                        let taken = world.consumer.timestamp_of(pending).is_some();
                        world.trust.stamp(TsaMode::Good);
                        crate::world::soon("it is stamped", || {
                            world.consumer.timestamp_of(pending).is_some()
                        })
                        .await;
                        Answer::verdict(if taken { "taken" } else { "pending, then stamped" }, "")
                    })
                },
                Expected::Verdict("pending, then stamped".to_owned()),
            )
            .leaves(super::case::Evidence::Exchange)
            .called()
        })
        .collect()
}
