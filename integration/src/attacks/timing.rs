//! What somebody learns from being refused before anybody knows who he is (T46): whether a certificate is registered, whether
//! its authority is approved. All are told the same, in the same time.

use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::Clock as _;
use cert_authority::x509::issue::Profile;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::time::Instant;

use super::case::{Answer, Case, Expected};
use crate::world::{Holder, Wishes, World};

/// How often each stranger tries, in turns.
const ROUNDS: usize = 200;
/// By how much the middle of the times of two kinds of strangers may differ.
pub(super) const APART: Duration = Duration::from_millis(1);

/// Who is refused in the handshake, each for another reason.
async fn strangers(world: &World) -> Vec<(&'static str, Holder)> {
    let (trust, subject) = (&world.trust, "C=DEMO, CN=ss3");
    let ended = world.clock.now() - Duration::from_secs(60);
    let without_key = |of: &Holder, key: Holder| Holder { certificate: of.certificate.clone(), key: key.key };
    let key = trust.other.issue(Profile::Auth, subject).await;
    vec![
        ("a certificate of no server", trust.ca.issue(Profile::Auth, subject).await),
        ("one with the subject of a server", trust.ca.issue(Profile::Auth, "C=DEMO, CN=ss1").await),
        ("one of another authority", trust.other.issue(Profile::Auth, subject).await),
        ("one that has expired", trust.ca.issue_until(Profile::Auth, subject, ended).await),
        ("one for signing", world.rogue.signatory.holder.clone()),
        ("one of an authority", trust.ca.issue(Profile::RootCa { path_len: None }, subject).await),
        ("that of a server without its key", without_key(&world.consumer.auth, key.clone())),
        ("that of the provider without its key", without_key(&world.provider.auth, key)),
    ]
}

/// T46: they are told the same.
pub(super) async fn alike(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let strangers = strangers(world).await;
    for (version, versions) in [("TLS 1.3", [&TLS13]), ("TLS 1.2", [&TLS12])] {
        let usual = world.rogue.refusal(&strangers[0].1, &versions, &world.provider.peers()).await;
        assert!(usual.contains("alert"), "{usual}");
        let usual = Arc::new(usual);
        for (what, holder) in &strangers {
            let (holder, usual) = (holder.clone(), Arc::clone(&usual));
            let versions: [&'static SupportedProtocolVersion; 1] = versions;
            cases.push(Case::doing(
                format!("{version}: {what}"),
                move |world| {
                    let (holder, usual) = (holder.clone(), Arc::clone(&usual));
                    Box::pin(async move {
                        let told = world.rogue.refusal(&holder, &versions, &world.provider.peers()).await;
                        Answer::verdict(
                            if told == *usual { "told as all are" } else { "told otherwise" },
                            told,
                        )
                    })
                },
                Expected::Verdict("told as all are".to_owned()),
            ));
        }
    }
    cases
}

/// Measures how long each stranger waits for the refusal, in turns; a line each. Whether their middles are within
/// a millisecond of each other.
pub async fn measure() -> (Vec<String>, bool) {
    let world = World::wish(Wishes::default()).await;
    let strangers = strangers(&world).await;
    let mut times = vec![Vec::with_capacity(ROUNDS); strangers.len()];
    for _ in 0..ROUNDS {
        for ((_, holder), times) in strangers.iter().zip(&mut times) {
            let began = Instant::now();
            world.rogue.refusal(holder, &[&TLS13], &world.provider.peers()).await;
            times.push(began.elapsed());
        }
    }
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let middles: Vec<Duration> = times.iter_mut().map(middle).collect();
    let lines = strangers.iter().zip(&middles).map(|((what, _), middle)| format!("{middle:>12?}  {what}"));
    let apart = middles.iter().max().zip(middles.iter().min()).map_or(APART, |(most, least)| *most - *least);
    let mut lines: Vec<String> = lines.collect();
    lines.push(format!("{apart:>12?}  apart, of {ROUNDS} refusals each"));
    (lines, apart < APART)
}
