//! The smaller ports of a gateway: ids, keys, signing, the service behind it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cert_authority::clock::UnixTime;
use cert_authority::error::KeyError;
use conf::identifier::MemberId;
use conf::snapshot::GlobalConf;
use gateway::evidence::signature::{SignatureBundle, SignatureError, SigningKey, sign_batch};
use gateway::exchange::ports::{
    Ids, KeyUnavailable, MessageSigner, ServiceAnswer, ServiceBody, ServiceFailure, Services, SigningKeys,
    View, Wait,
};
use gateway::exchange::provider::Deliverable;
use gateway::message::digests::PartDigests;
use gateway::message::multipart::Boundary;
use tokio::sync::oneshot;

use super::executor::{Sim, locked};
use super::ground::Ground;
use super::ledger::{Ledger, answer_to};
use super::life::Life;
use super::network::in_pieces;

/// Ids by chance.
pub(super) struct Chance(pub(super) Sim);

impl Ids for Chance {
    fn uuid(&self) -> String {
        let bytes: [u8; 16] = self.0.bytes();
        let hex = hex::encode(bytes);
        let (a, rest) = hex.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        format!("{a}-{b}-{c}-{d}-{e}")
    }

    fn boundary(&self) -> Boundary {
        Boundary::from_random(self.0.bytes())
    }
}

/// One key.
pub(super) struct Keys(pub(super) Arc<SigningKey>);

impl SigningKeys for Keys {
    fn signing_key(
        &self,
        _: &MemberId,
        _: &GlobalConf,
        _: UnixTime,
    ) -> Result<Arc<SigningKey>, KeyUnavailable> {
        Ok(Arc::clone(&self.0))
    }

    fn own_ocsp_responses(&self, _: UnixTime) -> Vec<Bytes> {
        Vec::new()
    }
}

/// Signs with it; messages that come while it lets others run share a signature.
pub(super) struct Signing {
    sim: Sim,
    ground: Arc<Ground>,
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    digests: PartDigests,
    answer: oneshot::Sender<Result<SignatureBundle, SignatureError>>,
}

impl Signing {
    pub(super) fn new(sim: &Sim, ground: &Arc<Ground>) -> Self {
        Self { sim: sim.clone(), ground: Arc::clone(ground), waiting: Mutex::default() }
    }
}

impl MessageSigner for Signing {
    fn sign<'a>(
        &'a self,
        digests: &'a PartDigests,
        key: &'a Arc<SigningKey>,
        now: UnixTime,
    ) -> Wait<'a, Result<SignatureBundle, SignatureError>> {
        Box::pin(async move {
            let (answer, mut signed) = oneshot::channel();
            locked(&self.waiting).push(Waiting { digests: digests.clone(), answer });
            let wait = if self.sim.chance(300) { Duration::from_millis(10) } else { Duration::ZERO };
            self.sim.sleep_below(wait).await;
            let batch = std::mem::take(&mut *locked(&self.waiting));
            if !batch.is_empty() {
                let all: Vec<&PartDigests> = batch.iter().map(|waiting| &waiting.digests).collect();
                let bundles = sign_batch(&all, key, &self.ground.key, now).await?;
                for (waiting, bundle) in batch.into_iter().zip(bundles) {
                    let _ = waiting.answer.send(Ok(bundle));
                }
            }
            signed.try_recv().unwrap_or(Err(KeyError::Crypto("nothing was signed").into()))
        })
    }
}

/// A service that answers with what follows from the request.
pub(super) struct Echo {
    pub(super) sim: Sim,
    pub(super) ledger: Arc<Ledger>,
    pub(super) life: Arc<Life>,
    pub(super) trouble: usize,
}

impl Services for Echo {
    fn call<'a>(
        &'a self,
        request: &'a Deliverable,
        _: View<'a>,
    ) -> Wait<'a, Result<ServiceAnswer, ServiceFailure>> {
        Box::pin(async move {
            let sim = &self.sim;
            if sim.chance(self.trouble) {
                return Err(ServiceFailure::Network("connection refused".to_owned()));
            }
            let mut body = BytesMut::new();
            for attachment in request.attachments() {
                let mut content = ServiceBody::unsealed(&attachment.body).content;
                let broken = |error: gateway::exchange::ports::Interrupted| ServiceFailure::NoAnswer(error.0);
                while let Some(chunk) = content.next().await.map_err(broken)? {
                    body.extend_from_slice(&chunk);
                }
            }
            if !self.life.lives() {
                return Err(ServiceFailure::NoAnswer("the gateway has ended".to_owned()));
            }
            let message = request.request();
            self.ledger.served(message.request_id(), request.sequence(), &body);
            sim.trace(format_args!("service: {} is served", message.header().message_id));
            sim.sleep_below(Duration::from_millis(40)).await;
            if sim.chance(self.trouble) {
                return Err(ServiceFailure::NoAnswer("it hung up".to_owned()));
            }
            let answer = answer_to(&body);
            let content_type =
                (Bytes::from_static(b"Content-Type"), Bytes::from_static(b"application/octet-stream"));
            Ok(ServiceAnswer {
                status: 200,
                reason: Bytes::from_static(b"OK"),
                headers: vec![content_type],
                body: Some(in_pieces(sim, answer, sim.chance(self.trouble))),
            })
        })
    }
}
