//! `/asic`: containers of logged messages, given to those whose messages they are.
//!
//! ```text
//! log ──stamp──► /asic ──► zip ──unzip──► containers ──► our verifier, openssl, xmlsec1
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod failing_disk;
mod log_support;
mod metaservice_support;

use std::{fs, io, process::Command};

use bytes::Bytes;
use conf::identifier::ClientId;
use failing_disk::{FailingDisk, Fault};
use gateway::{
    access::client_auth::IdentifyError,
    audit::register,
    evidence::asic::verify_container,
    messagelog::{
        Role,
        record::AccessRecord,
        timestamper::{PendingError, stamp_pending},
    },
    metaservice::{
        Body, Response, asic_download,
        container::{ContainerError, LoggedContainer},
    },
};
use metaservice_support::*;

const FROM: &str = "HTTP from 10.1.2.3";

async fn collect(body: Body) -> io::Result<Vec<u8>> {
    match body {
        Body::Whole(bytes) => Ok(bytes.to_vec()),
        Body::Stream(mut chunks) => {
            let mut all = Vec::new();
            while let Some(chunk) = chunks.recv().await {
                let chunk: Bytes = chunk?;
                assert!(chunk.len() <= 128 << 10, "a chunk of {}", chunk.len());
                all.extend_from_slice(&chunk);
            }
            Ok(all)
        }
    }
}

/// Status, content type, disposition, body.
fn get(scene: &Scene, query: &str) -> (u16, &'static str, String, Vec<u8>) {
    let stamp = async { panic!("a time-stamp was asked for without need") };
    let response =
        scene.runtime.block_on(asic_download::serve(query, FROM, |_: &ClientId| Ok(()), &scene.log, stamp));
    taken(scene, response)
}

fn taken(scene: &Scene, response: Response) -> (u16, &'static str, String, Vec<u8>) {
    let body = scene.runtime.block_on(collect(response.body)).unwrap();
    (response.status, response.content_type, response.content_disposition.unwrap_or_default(), body)
}

/// Status and text of a refusal.
fn refused(scene: &Scene, query: &str) -> (u16, String) {
    let (status, content_type, disposition, body) = get(scene, query);
    assert_eq!((content_type, disposition.as_str()), ("text/plain;charset=utf-8", ""), "{query}");
    (status, String::from_utf8(body).unwrap())
}

#[test]
fn a_zip_holds_the_containers_of_a_query_and_they_verify() {
    let scene = Scene::new();
    let id = "q 1/ä";
    let body = vec![b'x'; 300_000];
    for message in [Message { body: Some(&body), ..REQUEST }, RESPONSE] {
        scene.log(Message { id, ..message });
        scene.log(Message { id: "another", ..message });
        scene.log(Message { id, role: Role::Provider, ..message });
    }
    assert_eq!(scene.stamp(), 6);
    let (status, content_type, disposition, archive) = get(&scene, &format!("queryId=q+1%2F%C3%A4&{CLIENT}"));
    assert_eq!((status, content_type), (200, "application/zip"));
    assert_eq!(disposition, "attachment; filename=\"q+1%2F%C3%A4.zip\"");
    let (unpacked, names) = unzip(&archive);
    assert_eq!(names, ["q+1%2F%C3%A4-request-0.asice", "q+1%2F%C3%A4-response-3.asice"]);
    for name in &names {
        let container = fs::read(unpacked.path().join(name)).unwrap();
        let report = verify_container(&container, &scene.world.conf).unwrap();
        assert!(report.valid, "{name}: {report:?}");
        assert!(report.parts.iter().all(|part| part.present));
        let (files, entries) = unzip(&container);
        assert_eq!(entries[0], "mimetype");
        judge_unpacked(files.path(), &scene.world);
        if name.contains("request") {
            assert!(fs::read(files.path().join("attachment1")).unwrap() == body);
        }
    }

    let (.., provider) = get(&scene, &format!("queryId=q+1%2F%C3%A4&responseOnly&{PROVIDER}"));
    assert_eq!(unzip(&provider).1, ["q+1%2F%C3%A4-response-5.asice"], "each party has its own");
}

#[test]
fn one_container_is_given_as_it_is_when_it_is_to_be_unique() {
    let scene = Scene::new();
    scene.log(REQUEST);
    scene.log(RESPONSE);
    scene.log(Message { body: Some(b"again"), ..REQUEST });
    scene.stamp();
    let (status, content_type, disposition, container) =
        get(&scene, &format!("queryId=q-1&unique&requestOnly=whatever&{CLIENT}"));
    assert_eq!((status, content_type), (200, "application/vnd.etsi.asic-e+zip"));
    assert_eq!(disposition, "attachment; filename=\"q-1-request-0.asice\"");
    assert!(verify_container(&container, &scene.world.conf).unwrap().valid);
    let (files, _) = unzip(&container);
    assert_eq!(fs::read(files.path().join("attachment1")).unwrap(), b"question");
    judge_unpacked(files.path(), &scene.world);

    let (_, _, disposition, archive) = get(&scene, &format!("queryId=q-1&requestOnly&{CLIENT}"));
    assert_eq!(disposition, "attachment; filename=\"q-1-request.zip\"");
    assert_eq!(unzip(&archive).1, ["q-1-request-0.asice", "q-1-request-2.asice"]);
}

#[test]
fn it_is_noted_who_is_given_which_documents_before_they_are_given() {
    let scene = Scene::new();
    scene.log(REQUEST);
    scene.log(RESPONSE);
    scene.stamp();
    let readings = |number| register::readings(&scene.reader(), &[number]).unwrap();
    assert_eq!(get(&scene, &format!("queryId=q-2&{CLIENT}")).0, 404);
    assert_eq!(get(&scene, &format!("queryId=q-1&unique&{CLIENT}")).0, 400);
    assert_eq!((readings(0), readings(1)), (vec![], vec![]), "who is given nothing has read nothing");

    let query = format!("queryId=q-1&{CLIENT}&reason=a%20complaint");
    assert_eq!(get(&scene, &query).0, 200);
    assert_eq!(get(&scene, &format!("queryId=q-1&responseOnly&{CLIENT}")).0, 200);
    let all = AccessRecord {
        who: format!("EE/GOV/1001/portal over {FROM}"),
        role: Some("information system".to_owned()),
        action: "export".to_owned(),
        query: format!("/asic?{query}"),
        reason: Some("a complaint".to_owned()),
        records: vec![0, 1],
        bodies: true,
    };
    let query = format!("/asic?queryId=q-1&responseOnly&{CLIENT}");
    let one = AccessRecord { query, reason: None, records: vec![1], ..all.clone() };
    let told = |number| readings(number).into_iter().map(|(_, access)| access).collect::<Vec<_>>();
    assert_eq!((told(0), told(1)), (vec![all.clone()], vec![all, one]));
}

#[test]
fn without_its_note_in_the_log_nothing_is_given() {
    let disk = FailingDisk::new(usize::MAX, Fault::Io);
    let scene = Scene::on(disk.clone(), |config| config);
    scene.log(REQUEST);
    scene.stamp();
    disk.strike_next();
    let query = format!("queryId=q-1&{CLIENT}");
    assert_eq!(refused(&scene, &query), (500, "The signed documents cannot be read".to_owned()));
}

#[test]
fn each_bad_query_gets_its_status_and_text() {
    let scene = Scene::new();
    scene.log(REQUEST);
    scene.stamp();
    let missing = |name: &str| (400, format!("Parameter \"{name}\"  must be specified."));
    let text = |status: u16, text: &str| (status, text.to_owned());
    let not_found = || text(404, "No signed documents found");
    let member = "memberClass=GOV&memberCode=1001";
    for (query, expected) in [
        (String::new(), missing("xRoadInstance")),
        (format!("queryId=q-1&{member}"), missing("xRoadInstance")),
        ("queryId=q-1&xRoadInstance=EE&memberCode=1001".to_owned(), missing("memberClass")),
        ("queryId=q-1&xRoadInstance=EE&memberClass=GOV".to_owned(), missing("memberCode")),
        (CLIENT.to_owned(), missing("queryId")),
        (format!("queryId=q-1&xRoadInstance=+&{member}"), text(500, "'xRoadInstance' must not be blank")),
        (
            format!("queryId=q-1&xRoadInstance=EE&{member}&subsystemCode="),
            text(500, "'subsystemCode' must not be blank"),
        ),
        (
            format!("queryId=q-1&{CLIENT}&requestOnly&responseOnly"),
            text(400, "Parameters \"requestOnly\" and \"responseOnly\" cannot be used at the same time."),
        ),
        (
            format!("queryId=q-1&{CLIENT}&unique"),
            text(400, "Parameter \"unique\" not applicable without \"requestOnly\" or \"responseOnly\"."),
        ),
        (format!("queryId=q-1&{CLIENT}&x=%zz"), text(400, "the query of the request is malformed")),
        (format!("queryId=q-2&{CLIENT}"), not_found()),
        (format!("queryId=&{CLIENT}"), not_found()),
        (format!("queryId=q-1&{CLIENT}&responseOnly"), not_found()),
        (format!("queryId=q-2&{CLIENT}&unique"), not_found()),
        (format!("queryId=q-1&{PROVIDER}"), not_found()),
        (format!("queryId=q-1&xRoadInstance=EE&{member}"), not_found()),
        (format!("queryId=q-1&{}", CLIENT.replace("EE", "FI")), not_found()),
    ] {
        assert_eq!(refused(&scene, &query), expected, "{query}");
    }
}

#[test]
fn only_who_may_speak_for_the_client_gets_its_documents() {
    let scene = Scene::new();
    scene.log(REQUEST);
    scene.stamp();
    for error in [IdentifyError::UnknownClient, IdentifyError::Plain, IdentifyError::OtherCertificate] {
        // The same whether there are documents or not, and before the rest of the query is looked at.
        for rest in ["queryId=q-1&", "queryId=q-2&", "requestOnly&responseOnly&", ""] {
            let authenticate = |client: &ClientId| {
                assert_eq!(client.to_string(), "EE/GOV/1001/portal");
                Err(error)
            };
            let query = format!("{rest}{CLIENT}&force");
            let stamp = async { panic!("a stranger had a time-stamp made") };
            let served = asic_download::serve(&query, FROM, authenticate, &scene.log, stamp);
            let (status, _, _, body) = taken(&scene, scene.runtime.block_on(served));
            assert_eq!((status, String::from_utf8(body).unwrap()), (401, error.to_string()), "{rest}");
        }
    }
}

#[test]
fn without_a_time_stamp_there_is_no_container_unless_one_is_forced() {
    let scene = Scene::new();
    scene.log(REQUEST);
    let query = format!("queryId=q-1&{CLIENT}");
    assert_eq!(refused(&scene, &query), (500, "Message signature has not been timestamped yet!".to_owned()));

    let forced = format!("{query}&force");
    let closed = async { Err(PendingError::NoAuthority) };
    let served = asic_download::serve(&forced, FROM, |_: &ClientId| Ok(()), &scene.log, closed);
    let (status, _, _, body) = taken(&scene, scene.runtime.block_on(served));
    assert_eq!((status, body.as_slice()), (500, &b"Could not create missing timestamp!"[..]));

    let authorities = scene.authorities();
    let stamp = stamp_pending(&scene.log, &authorities);
    let served = asic_download::serve(&forced, FROM, |_: &ClientId| Ok(()), &scene.log, stamp);
    let (status, _, _, archive) = taken(&scene, scene.runtime.block_on(served));
    assert_eq!(status, 200);
    let (unpacked, names) = unzip(&archive);
    assert_eq!(names, ["q-1-request-0.asice"]);
    let (files, entries) = unzip(&fs::read(unpacked.path().join(&names[0])).unwrap());
    assert!(
        !entries.contains(&"META-INF/timestamp.tst".to_owned()),
        "a time-stamp of its own is in the signature"
    );
    judge_unpacked(files.path(), &scene.world);
    assert_eq!(get(&scene, &forced).0, 200, "the second time there is nothing to stamp");
}

#[test]
fn a_body_that_was_not_kept_is_signed_but_not_present() {
    let scene = Scene::new();
    scene.log(Message { keep: false, ..REQUEST });
    scene.stamp();
    let (.., container) = get(&scene, &format!("queryId=q-1&unique&requestOnly&{CLIENT}"));
    let report = verify_container(&container, &scene.world.conf).unwrap();
    assert!(report.valid, "{report:?}");
    let present: Vec<_> = report.parts.iter().map(|part| (part.name.as_str(), part.present)).collect();
    assert_eq!(present, [("message.xml", true), ("attachment1", false)]);
    let (files, names) = unzip(&container);
    assert!(!names.iter().any(|name| name.contains("attachment")));
    judge_unpacked(files.path(), &scene.world);
}

#[test]
fn without_its_message_part_there_is_no_container() {
    let scene = Scene::new();
    let number = scene.log(REQUEST);
    scene.stamp();
    let material = scene.reader().export(number).unwrap().unwrap();
    let key = material.parts[0].as_ref().unwrap().key_id().to_owned();
    scene.log.vault().destroy_key(&key).unwrap();
    let opened = LoggedContainer::open(&scene.reader(), number).err();
    assert_eq!(opened, Some(ContainerError::MessageGone(number)));
    let query = format!("queryId=q-1&{CLIENT}");
    assert_eq!(refused(&scene, &query), (500, "The signed documents cannot be read".to_owned()));
}

#[test]
fn a_large_body_streams_and_one_that_was_changed_on_disk_breaks_the_answer_off() {
    let scene = Scene::new();
    let body: Vec<u8> = (0..5_000_000u32).map(|n| u8::try_from(n.wrapping_mul(n) % 251).unwrap()).collect();
    scene.log(Message { body: Some(&body), ..REQUEST });
    scene.stamp();
    let query = format!("queryId=q-1&unique&requestOnly&{CLIENT}");
    let (.., container) = get(&scene, &query);
    assert!(verify_container(&container, &scene.world.conf).unwrap().valid);
    let (files, _) = unzip(&container);
    assert!(fs::read(files.path().join("attachment1")).unwrap() == body);

    let bodies = scene.directory.path().join("log/bodies");
    let found = run(Command::new("find").arg(&bodies).args(["-type", "f", "-size", "+1M"]));
    let file = found.lines().next().unwrap();
    let mut bytes = fs::read(file).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    run(Command::new("chmod").args(["u+w", file]));
    put(file.as_ref(), &bytes);
    let served = asic_download::serve(&query, FROM, |_: &ClientId| Ok(()), &scene.log, async { Ok(0) });
    let response = scene.runtime.block_on(served);
    assert_eq!(response.status, 200, "it has begun before that is known");
    let broken = scene.runtime.block_on(collect(response.body)).unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::InvalidData, "{broken}");
}
