//! A peer that is not to be believed any more: revoked by its authority, or taken out of the configuration. Refused within
//! the interval at which we ask, in both directions, also over connections that were open before, and whatever good
//! response it keeps bringing.
//!
//! ```text
//! rogue ss3 ── kept connection ──► provider      the authority's responder says "revoked", the rogue peer brings "good"
//! rogue ss3 ◄── kept connection ── consumer
//! ```

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use gateway::message::transport::part;
    use integration::world::{Ask, FAKE, OcspMode, RECORDS, Signatory, Wishes, World, within};

    const UNTRUSTED_PEER: &str = "server.serverproxy.service_failed.ssl_authentication_failed";
    const UNTRUSTED_PROVIDER: &str = "server.clientproxy.ssl_authentication_failed";
    const SIGNER: &str = "signature_verification.invalid_cert_path.cert_validation";

    /// Gateways that ask often.
    async fn world() -> World {
        let often = vec![("revocations = \"off\"", "revocations = \"200 ms\"".to_owned())];
        World::wish(Wishes { consumer: often.clone(), provider: often }).await
    }

    /// What the provider answers to the next good request of the rogue peer, whose OCSP response is this one.
    async fn fault(
        world: &World,
        line: &mut integration::world::Line,
        ocsp: &Bytes,
        number: &mut u32,
    ) -> Option<String> {
        *number += 1;
        let (target, id) = (format!("{RECORDS}/x"), format!("kept-{number}"));
        let mut message = world.rogue.request(&world.trust, "GET", &target, &id, None).await;
        message.change(part::OCSP_RESPONSE, |der| *der = ocsp.to_vec());
        let reply = within("an answer over the kept connection", line.send(&message)).await;
        reply.expect("the connection is kept").fault()
    }

    #[tokio::test]
    async fn a_server_that_is_revoked_is_refused_within_the_interval_over_connections_that_were_open() {
        let world = world().await;
        let mut line = world.rogue.connect_as(&world.rogue.auth, &world.provider.peers()).await.unwrap();
        let (good, mut number) = (world.trust.ocsp(&world.rogue.auth.certificate).await, 0);
        assert_eq!(fault(&world, &mut line, &good, &mut number).await, None);
        assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200);

        world.trust.say(&world.rogue.auth.certificate, OcspMode::Revoked);
        let refused = async {
            while fault(&world, &mut line, &good, &mut number).await.as_deref() != Some(UNTRUSTED_PEER) {}
        };
        within("the provider refuses the revoked peer", refused).await;
        let refused = async { while world.ask(&Ask::get(FAKE)).await.error() != Some(UNTRUSTED_PROVIDER) {} };
        within("the consumer refuses the revoked provider", refused).await;
        let (calls, sent) = (world.service.calls(), world.rogue.calls());
        for _ in 0..5 {
            assert_eq!(fault(&world, &mut line, &good, &mut number).await.as_deref(), Some(UNTRUSTED_PEER));
            assert_eq!(world.ask(&Ask::get(FAKE)).await.error(), Some(UNTRUSTED_PROVIDER));
        }
        assert_eq!((world.service.calls(), world.rogue.calls()), (calls, sent));
        world.is_alive().await;

        // A suspension that is lifted: a response that is newer than the word of the revocation is believed.
        world.trust.say(&world.rogue.auth.certificate, OcspMode::Good);
        world.clock.advance(Duration::from_secs(2));
        let newer = world.trust.ocsp(&world.rogue.auth.certificate).await;
        assert_eq!(fault(&world, &mut line, &newer, &mut number).await, None);
    }

    #[tokio::test]
    async fn a_signer_that_is_revoked_is_refused_within_the_interval_whatever_its_signatures_bring() {
        let world = world().await;
        let mut line = world.rogue.connect_as(&world.rogue.auth, &world.provider.peers()).await.unwrap();
        let (good, mut number) = (world.trust.ocsp(&world.rogue.auth.certificate).await, 0);
        assert_eq!(fault(&world, &mut line, &good, &mut number).await, None);
        assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200);

        world.trust.say(&world.rogue.signatory.holder.certificate, OcspMode::Revoked);
        let (asked, answered) =
            (format!("server.serverproxy.{SIGNER}"), format!("server.clientproxy.{SIGNER}"));
        let refused =
            async { while fault(&world, &mut line, &good, &mut number).await.as_ref() != Some(&asked) {} };
        within("the provider refuses the revoked signer", refused).await;
        let refused = async { while world.ask(&Ask::get(FAKE)).await.error() != Some(answered.as_str()) {} };
        within("the consumer refuses the revoked signer", refused).await;
        let calls = world.service.calls();
        assert_eq!(fault(&world, &mut line, &good, &mut number).await.as_ref(), Some(&asked));
        assert_eq!(world.service.calls(), calls);
        // What was signed before stays evidence.
        world.provider.verifies("kept-1");
        world.is_alive().await;
    }

    #[tokio::test]
    async fn a_responder_that_is_down_or_knows_nothing_keeps_nobody_out() {
        let world = world().await;
        let mut line = world.rogue.connect_as(&world.rogue.auth, &world.provider.peers()).await.unwrap();
        let (good, mut number) = (world.trust.ocsp(&world.rogue.auth.certificate).await, 0);
        for mode in [OcspMode::Down, OcspMode::Unknown, OcspMode::WrongSigner, OcspMode::TooOld] {
            for holder in [&world.rogue.auth, &world.rogue.signatory.holder] {
                world.trust.say(&holder.certificate, mode);
            }
            let asked = world.trust.ocsp_calls();
            let uninterrupted = async {
                while world.trust.ocsp_calls() < asked + 8 {
                    assert_eq!(fault(&world, &mut line, &good, &mut number).await, None, "{mode:?}");
                    assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200, "{mode:?}");
                }
            };
            within("responders are asked", uninterrupted).await;
        }
    }

    /// The setting that is shipped: less than a minute, for both ways of going.
    #[tokio::test]
    async fn by_default_nobody_who_has_gone_is_heard_for_longer_than_a_minute() {
        let usual = gateway::transport::PeerSettings::default();
        assert!(usual.revocations.is_some_and(|interval| interval <= Duration::from_secs(45)));
        let least = "[server]\nid = \"DEMO/GOV/1/ss1\"\n[configuration]\nanchor = \"a.xml\"\n";
        let config = gateway::config::Config::parse(least, std::path::Path::new("/")).unwrap();
        assert!(config.configuration.every <= Duration::from_secs(45));
        assert_eq!(config.transport.peers.revocations, usual.revocations);
    }

    /// Responses that are inside of signatures outlive their signer's revocation only in the past.
    #[tokio::test]
    async fn a_fresh_signature_with_an_older_response_does_not_help() {
        let world = world().await;
        let holder = world.rogue.signatory.holder.clone();
        let old = Signatory { ocsp: world.trust.ocsp(&holder.certificate).await, holder };
        let target = format!("{RECORDS}/x");
        let (trust, rogue) = (&world.trust, &world.rogue);
        let request = |id: &'static str| rogue.request_signed(trust, "GET", &target, id, None, &old, |_| {});
        assert!(rogue.send(&world.provider.peers(), &request("1").await).await.unwrap().is_signed());
        trust.say(&old.holder.certificate, OcspMode::Revoked);
        let asked = trust.ocsp_calls();
        let expected = Some(format!("server.serverproxy.{SIGNER}"));
        let refused = async {
            while rogue.send(&world.provider.peers(), &request("2").await).await.unwrap().fault() != expected
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within("the provider has heard of it", refused).await;
        assert!(trust.ocsp_calls() > asked);
    }
}
