//! What the log holds of an exchange: every field that can be filled is filled, with what is known of it otherwise.
#![allow(clippy::unwrap_used, reason = "tests")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock as _, UnixTime};
use cert_authority::crypto::digest;
use cert_authority::ocsp;
use cert_authority::x509::Certificate;
use gateway::messagelog::reader::{Filter, Order};
use gateway::messagelog::record::{Circumstances, ConfigurationRecord, Kind};
use gateway::messagelog::{MessageRecord, Record, Role};
use integration::world::{Ask, INSTANCE, Node, PORTAL, RECORDS, World, soon};

/// What stands between two texts in a signature.
fn between<'a>(signature: &'a [u8], begin: &str, end: &str) -> &'a str {
    let text = std::str::from_utf8(signature).unwrap();
    text.split_once(begin).unwrap().1.split_once(end).unwrap().0
}

/// The certificate of the signer.
fn signer(message: &MessageRecord) -> Vec<u8> {
    let text = between(&message.signature, "<ds:X509Certificate>", "</ds:X509Certificate>");
    STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap()
}

/// The certificates that these OCSP responses are about, by their serial numbers.
fn serials(message: &MessageRecord) -> Vec<Vec<u8>> {
    let read = |der: &bytes::Bytes| ocsp::Response::from_der(der.clone()).unwrap();
    let responses: Vec<ocsp::Response> = message.ocsp_responses.iter().map(read).collect();
    let singles = responses.iter().flat_map(ocsp::Response::responses);
    singles.map(|single| single.cert_id.serial().to_vec()).collect()
}

fn serial(certificate: &Certificate) -> Vec<u8> {
    certificate.serial().as_bytes().to_vec()
}

fn sha256(text: &str) -> cert_authority::crypto::Digest {
    digest(DigestAlgorithm::Sha256, text.as_bytes())
}

/// The configurations that a node has noted.
fn configurations(node: &Node, scope: &str) -> Vec<ConfigurationRecord> {
    let filter = Filter { kinds: vec![Kind::Configuration], ..Filter::default() };
    let found = node.log().find(&filter, Order::OldestFirst, None, 100).unwrap().into_iter();
    let all = found.filter_map(|stored| match stored.record {
        Record::Configuration(configuration) => Some(configuration),
        _ => None,
    });
    all.filter(|configuration| configuration.scope == scope).collect()
}

fn messages(node: &Node, id: &str) -> [(u64, UnixTime, MessageRecord); 2] {
    let records = node.records(id).into_iter();
    let all: Vec<_> = records
        .map(|stored| {
            let message = stored.record.message().unwrap().clone();
            (stored.sequence, stored.time, message)
        })
        .collect();
    all.try_into().unwrap()
}

#[tokio::test]
async fn both_sides_log_all_that_there_is_to_know_of_an_exchange() {
    let world = World::start().await;
    let before = world.clock.now();
    let ask = Ask::post(&format!("{RECORDS}/people/7"), "a body")
        .id("all")
        .header("X-Road-UserId", "EE1234")
        .header("X-Road-Issue", "case-5")
        .header("X-Road-Represented-Party", "COM/12345");
    let reply = world.ask(&ask).await;
    assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());
    let after = world.clock.now();
    let (consumer, provider) = (&world.consumer, &world.provider);
    let sides = [
        (consumer, Role::Consumer, "DEMO/GOV/1001/ss1", "DEMO/GOV/2002/ss2"),
        (provider, Role::Provider, "DEMO/GOV/2002/ss2", "DEMO/GOV/1001/ss1"),
    ];
    for (node, role, own, peer) in sides {
        let [(number, logged, request), (_, answered, response)] = messages(node, "all");
        for (message, logged) in [(&request, logged), (&response, answered)] {
            assert_eq!((message.role, message.message_id.as_str()), (role, "all"));
            assert_eq!(Some(message.request_id.as_str()), reply.header("X-Road-Request-Id"));
            assert_eq!(message.user_id.as_deref(), Some("EE1234"));
            assert_eq!(message.issue.as_deref(), Some("case-5"));
            assert_eq!(message.represented_party.as_deref(), Some("COM/12345"));
            assert_eq!(message.client.to_string(), PORTAL);
            assert_eq!(message.service.to_string(), "DEMO/GOV/2002/registry/records");
            assert_eq!(message.own_server.as_ref().unwrap().to_string(), own);
            assert_eq!(message.peer_server.as_ref().unwrap().to_string(), peer);
            let began = message.began.unwrap();
            assert!(before <= began && began <= logged && logged <= after, "{role:?}");
            let stated = between(&message.signature, "<xades:SigningTime>", "</xades:SigningTime>");
            assert_eq!(message.signed_at, Some(UnixTime::from_rfc3339(stated).unwrap()), "{role:?}");
            assert!(message.parts.iter().all(|part| part.stored.is_some() && part.length > 0), "{role:?}");
            // What nobody says yet is empty; what TLS agreed is there.
            let known = &message.circumstances;
            assert!(known.tls_suite.as_deref().unwrap().starts_with("TLS"), "{known:?}");
            assert!(known.tls_group.as_deref().is_some_and(|group| !group.is_empty()), "{known:?}");
            let expected = Circumstances {
                global_configuration: Some(*node.conf().digest()),
                local_configuration: Some(sha256(&node.settings())),
                tls_group: known.tls_group.clone(),
                tls_suite: known.tls_suite.clone(),
                ..Circumstances::default()
            };
            assert_eq!(*known, expected, "{role:?}");
        }
        assert_eq!((request.request, response.request), (None, Some(number)));
        assert_eq!(request.parts.len(), 2);
        assert_eq!(signer(&request), consumer.sign.certificate.der());
        assert_eq!(signer(&response), provider.sign.certificate.der());
        // The consumer's gateway sends the status of its TLS certificate before its message; a provider's sends none.
        assert_eq!(serials(&request), [serial(&consumer.auth.certificate)], "{role:?}");
        assert_eq!(serials(&response), Vec::<Vec<u8>>::new(), "{role:?}");
    }
    // What both have seen is the same on both sides.
    for n in [0, 1] {
        let [ours, theirs] = [consumer, provider].map(|node| messages(node, "all")[n].2.clone());
        assert_eq!(ours.signature, theirs.signature);
        assert_eq!(ours.signed_at, theirs.signed_at);
        assert_eq!(ours.ocsp_responses, theirs.ocsp_responses);
        assert_eq!(ours.circumstances.tls_group, theirs.circumstances.tls_group);
        assert_eq!(ours.circumstances.tls_suite, theirs.circumstances.tls_suite);
        let digests =
            |message: &MessageRecord| message.parts.iter().map(|part| part.digest).collect::<Vec<_>>();
        assert_eq!(digests(&ours), digests(&theirs));
    }
}

#[tokio::test]
async fn the_log_says_which_configurations_have_decided_and_since_when() {
    let world = World::start().await;
    let node = &world.consumer;
    let first = sha256(&node.settings());
    soon("the settings are noted", || configurations(node, "local").len() == 1).await;
    let [noted] = configurations(node, "local").try_into().unwrap();
    let expected = ConfigurationRecord {
        scope: "local".to_owned(),
        instance: None,
        digest: first,
        expires: None,
        note: Some("gateway.toml".to_owned()),
    };
    assert_eq!(noted, expected);
    // What is refused never came into force.
    let good = node.settings();
    node.put("gateway.toml", b"nonsense = true\n");
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    node.put("gateway.toml", good.as_bytes());
    node.edit("[administration]", "# Changed.\n[administration]");
    let second = sha256(&node.settings());
    soon("the change is noted", || configurations(node, "local").len() > 1).await;
    let digests: Vec<_> = configurations(node, "local").iter().map(|noted| noted.digest).collect();
    assert_eq!(digests, [first, second]);
    let reply = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("changed")).await;
    assert_eq!(reply.status, 200);
    let [(number, _, request), _] = messages(node, "changed");
    assert_eq!(request.circumstances.local_configuration, Some(second));
    let filter = Filter { kinds: vec![Kind::Configuration], ..Filter::default() };
    let last = node.log().find(&filter, Order::NewestFirst, None, 1).unwrap().remove(0);
    assert!(last.sequence < number, "it was noted before an exchange went by it");
    // The global one too, with its instance and the end of its validity.
    let global = configurations(node, "global");
    assert_eq!(global.last().unwrap().digest, *node.conf().digest());
    assert!(
        global.iter().all(|noted| noted.instance.as_deref() == Some(INSTANCE) && noted.expires.is_some())
    );
}
