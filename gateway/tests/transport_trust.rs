//! Who is trusted as a peer, and for how long: the certificate, its path, its OCSP response, its registration.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

mod transport_world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::FixedClock;
use cert_authority::error::VerifyError;
use cert_authority::ocsp::CertStatus;
use cert_authority::x509::issue::Profile;
use gateway::transport::auth_trust::{AuthTrust, PeerTrusted, TrustError};
use gateway::transport::ocsp_cache::OcspCache;
use rustls_pki_types::CertificateDer;
use transport_world::{Authority, Conf, HOUR, InForce, Party, beginning, client, clock, server};

/// An authority, a server `ss1` of it with the client `portal`, and somebody who judges.
struct World {
    ca: Authority,
    peer: Party,
    conf: InForce,
    clock: FixedClock,
    cache: Arc<OcspCache>,
    trust: Arc<AuthTrust>,
}

impl World {
    async fn new() -> Self {
        Self::with(Profile::Auth).await
    }

    async fn with(profile: Profile) -> Self {
        let ca = Authority::new("CA").await;
        let peer = ca.issue(profile, "ss1").await;
        let conf = InForce::new(Conf {
            number: 0,
            authorities: vec![ca.certificate.clone()],
            servers: vec![(peer.certificate.clone(), server("ss1"), vec![client("portal")])],
            responders: Vec::new(),
        });
        let (fixed, shared) = clock();
        let cache = Arc::new(OcspCache::new(None));
        let trust = Arc::new(AuthTrust::new(shared, Arc::clone(&cache)));
        Self { ca, peer, conf, clock: fixed, cache, trust }
    }

    fn judge(&self, party: &Party, brought: &[Bytes]) -> Result<PeerTrusted, TrustError> {
        let shown = [CertificateDer::from(party.certificate.der())];
        self.trust.judge(self.conf.now().as_ref(), &shown, brought, &client("portal"))
    }

    fn refused(&self, brought: Bytes) -> VerifyError {
        match self.judge(&self.peer, &[brought]) {
            Err(TrustError::Ocsp { error, .. }) => error,
            other => panic!("not refused for its OCSP response: {other:?}"),
        }
    }
}

#[tokio::test]
async fn registered_server_with_a_good_certificate_is_trusted() {
    let world = World::new().await;
    let trusted = world.judge(&world.peer, &[world.ca.good(&world.peer.certificate).await]).unwrap();
    assert_eq!(trusted.server(), &server("ss1"));
    assert_eq!(trusted.certificate(), &world.peer.certificate);
}

#[tokio::test]
async fn certificate_of_an_approved_authority_that_is_not_registered_is_refused() {
    let world = World::new().await;
    let stranger = world.ca.issue(Profile::Auth, "ss9").await;
    let verdict = world.judge(&stranger, &[world.ca.good(&stranger.certificate).await]);
    assert_eq!(verdict.unwrap_err(), TrustError::NotRegistered);
}

#[tokio::test]
async fn registered_certificate_of_another_authority_is_refused() {
    let world = World::new().await;
    let other = Authority::new("Other CA").await;
    let stranger = other.issue(Profile::Auth, "ss9").await;
    world.conf.change(|conf| {
        conf.servers.push((stranger.certificate.clone(), server("ss9"), vec![client("portal")]));
    });
    let verdict = world.judge(&stranger, &[other.good(&stranger.certificate).await]);
    assert_eq!(verdict.unwrap_err(), TrustError::Chain(VerifyError::UnknownIssuer));
}

#[tokio::test]
async fn expired_certificate_is_refused() {
    let world = World::new().await;
    let old = world.ca.issue_until(Profile::Auth, "old", beginning() - HOUR).await;
    world
        .conf
        .change(|conf| conf.servers.push((old.certificate.clone(), server("old"), vec![client("portal")])));
    let verdict = world.judge(&old, &[world.ca.good(&old.certificate).await]);
    assert_eq!(verdict.unwrap_err(), TrustError::Chain(VerifyError::Expired));
}

#[tokio::test]
async fn signing_certificate_is_no_authentication_certificate() {
    let world = World::with(Profile::Sign).await;
    let verdict = world.judge(&world.peer, &[world.ca.good(&world.peer.certificate).await]);
    assert_eq!(verdict.unwrap_err(), TrustError::WrongKeyUsage);
}

#[tokio::test]
async fn server_without_this_client_is_refused() {
    let world = World::new().await;
    let good = world.ca.good(&world.peer.certificate).await;
    let shown = [CertificateDer::from(world.peer.certificate.der())];
    let verdict = world.trust.judge(world.conf.now().as_ref(), &shown, &[good], &client("other"));
    assert_eq!(verdict.unwrap_err(), TrustError::OtherClient(client("other").to_string()));
}

#[tokio::test]
async fn missing_response_is_named_and_nothing_shown_is_refused() {
    let world = World::new().await;
    assert_eq!(
        world.judge(&world.peer, &[]).unwrap_err().missing(),
        std::slice::from_ref(&world.peer.certificate)
    );
    let nobody = world.trust.judge(world.conf.now().as_ref(), &[], &[], &client("portal"));
    assert_eq!(nobody.unwrap_err(), TrustError::NoCertificate);
    let garbage = [CertificateDer::from(&b"no certificate"[..])];
    let nothing = world.trust.judge(world.conf.now().as_ref(), &garbage, &[], &client("portal"));
    assert!(matches!(nothing, Err(TrustError::Unreadable(_))), "{nothing:?}");
}

#[tokio::test]
async fn responses_that_do_not_prove_it_are_refused() {
    let world = World::new().await;
    let certificate = &world.peer.certificate;
    let revoked = CertStatus::Revoked { at: beginning(), reason: None };
    assert_eq!(
        world.refused(world.ca.ocsp(certificate, revoked, beginning()).await),
        VerifyError::OcspRevoked
    );
    assert_eq!(
        world.refused(world.ca.ocsp(certificate, CertStatus::Unknown, beginning()).await),
        VerifyError::OcspUnknown
    );
    let old = beginning() - HOUR - Duration::from_secs(1);
    assert_eq!(
        world.refused(world.ca.ocsp(certificate, CertStatus::Good, old).await),
        VerifyError::OcspTooOld
    );
    let early = beginning() + Duration::from_secs(61);
    assert_eq!(
        world.refused(world.ca.ocsp(certificate, CertStatus::Good, early).await),
        VerifyError::OcspNotYetValid
    );
    let other = Authority::new("Other CA").await;
    let foreign = other.ocsp_about(certificate, &world.ca.certificate, CertStatus::Good, beginning()).await;
    assert_eq!(world.refused(foreign), VerifyError::OcspUnauthorizedResponder);
    let mut broken = world.ca.good(certificate).await.to_vec();
    let last = broken.len() - world.ca.certificate.der().len() - 40;
    broken[last] ^= 1;
    assert_eq!(world.refused(broken.into()), VerifyError::BadSignature);
}

#[tokio::test]
async fn response_for_another_certificate_counts_as_none() {
    let world = World::new().await;
    let other = world.ca.issue(Profile::Auth, "ss9").await;
    let verdict = world.judge(&world.peer, &[world.ca.good(&other.certificate).await]);
    assert_eq!(verdict.unwrap_err().missing().len(), 1);
}

#[tokio::test]
async fn trust_is_remembered_until_the_response_is_no_longer_fresh() {
    let world = World::new().await;
    world.judge(&world.peer, &[world.ca.good(&world.peer.certificate).await]).unwrap();
    world.clock.advance(HOUR - Duration::from_secs(1));
    world.judge(&world.peer, &[]).unwrap();
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.judge(&world.peer, &[]).unwrap_err().missing().len(), 1);
}

#[tokio::test]
async fn a_newer_response_that_says_revoked_ends_remembered_trust_at_once() {
    let world = World::new().await;
    let good = world.ca.good(&world.peer.certificate).await;
    world.judge(&world.peer, &[good]).unwrap();
    let revoked = CertStatus::Revoked { at: beginning(), reason: None };
    let response =
        world.ca.ocsp(&world.peer.certificate, revoked, beginning() + Duration::from_secs(1)).await;
    assert_eq!(world.refused(response), VerifyError::OcspRevoked);
}

#[tokio::test]
async fn remembered_trust_does_not_outlive_the_registration() {
    let world = World::new().await;
    let good = [world.ca.good(&world.peer.certificate).await];
    world.judge(&world.peer, &good).unwrap();
    let registered = world.trust.registered(world.conf.registry());
    assert!(registered(&world.peer.der()));
    world.conf.change(|conf| conf.servers.clear());
    assert_eq!(world.judge(&world.peer, &good).unwrap_err(), TrustError::NotRegistered);
    assert!(!registered(&world.peer.der()));
}

#[tokio::test]
async fn remembered_trust_does_not_outlive_the_authority() {
    let world = World::new().await;
    let good = [world.ca.good(&world.peer.certificate).await];
    world.judge(&world.peer, &good).unwrap();
    world.conf.change(|conf| conf.authorities.clear());
    assert_eq!(world.judge(&world.peer, &good).unwrap_err(), TrustError::Chain(VerifyError::UnknownIssuer));
}

#[tokio::test]
async fn verified_response_serves_the_next_message_and_an_unverified_one_does_not() {
    let world = World::new().await;
    let fingerprint = world.peer.certificate.fingerprint(DigestAlgorithm::Sha256);
    let unknown = world.ca.ocsp(&world.peer.certificate, CertStatus::Unknown, beginning()).await;
    world.refused(unknown);
    assert_eq!(world.cache.get(&fingerprint), None);
    let good = world.ca.good(&world.peer.certificate).await;
    world.judge(&world.peer, std::slice::from_ref(&good)).unwrap();
    assert_eq!(world.cache.get(&fingerprint), Some(good));
    // Another snapshot, nothing brought: the cached response is judged anew.
    world.conf.change(|_| {});
    world.judge(&world.peer, &[]).unwrap();
}
