//! Whether a message that we have sent would be believed by a gateway that receives it.

use gateway::evidence::signature::{TrustCache, verify};
use gateway::exchange::incoming::Incoming;
use gateway::message::transport::Direction;
use gateway::message::{Beside, Protocol, Response};

use super::recording::Http;
use super::world::{InMemory, World, said};

/// Why it would not, if so.
pub(super) async fn problem(
    world: &World,
    direction: Direction,
    protocol: Protocol,
    message: &Http,
) -> Option<String> {
    read_and_verify(world, direction, protocol, message)
        .await
        .err()
        .map(|error| format!("sends what does not verify: {error}"))
}

async fn read_and_verify(
    world: &World,
    direction: Direction,
    protocol: Protocol,
    message: &Http,
) -> Result<(), String> {
    let content_type = message.header("content-type").unwrap_or_default();
    let now = world.now();
    let source = InMemory::boxed(message.body.clone());
    let incoming =
        Incoming::new(direction, protocol, &content_type, Some("SHA-512"), source, now).map_err(said)?;
    let vault = world.provider.log.vault();
    let (sender, (digests, bundle)) = match direction {
        Direction::Request => {
            let head = incoming.request_head(Beside::default()).await.map_err(said)?;
            let request = head.read_rest(vault).await.map_err(said)?;
            (request.message.header().client.member().clone(), request.evidence())
        }
        Direction::Response => {
            let head = incoming.answer_head(None).await.map_err(said)?;
            let answer = head.read_rest(vault).await.map_err(said)?;
            let service = match &answer.message {
                Response::Rest(answer) => answer.service.clone().ok_or("an answer of nobody")?,
                Response::Soap(answer) => answer.header.service.clone(),
            };
            (service.client().member().clone(), answer.evidence())
        }
    };
    let conf = &world.conf;
    verify((), &digests, &bundle, conf, &TrustCache::default(), &sender, now).map(drop).map_err(said)
}
