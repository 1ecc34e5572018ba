//! Whether a message that we have sent would be believed by a gateway that receives it.

use gateway::evidence::signature::{TrustCache, verify};
use gateway::exchange::incoming::Incoming;
use gateway::message::transport::Direction;

use super::recording::Http;
use super::world::{InMemory, World, said};

/// Why it would not, if so.
pub(super) async fn problem(world: &World, direction: Direction, message: &Http) -> Option<String> {
    read_and_verify(world, direction, message)
        .await
        .err()
        .map(|error| format!("sends what does not verify: {error}"))
}

async fn read_and_verify(world: &World, direction: Direction, message: &Http) -> Result<(), String> {
    let content_type = message.header("content-type").unwrap_or_default();
    let now = world.now();
    let source = InMemory::boxed(message.body.clone());
    let incoming = Incoming::new(direction, &content_type, Some("SHA-512"), source, now).map_err(said)?;
    let vault = world.provider.log.vault();
    let (sender, (digests, bundle)) = match direction {
        Direction::Request => {
            let request =
                incoming.request_head().await.map_err(said)?.read_body(vault).await.map_err(said)?;
            (request.message.client.member().clone(), request.evidence())
        }
        Direction::Response => {
            let answer = incoming.answer_head().await.map_err(said)?.read_body(vault).await.map_err(said)?;
            let service = answer.message.service.clone().ok_or("an answer of nobody")?;
            (service.client().member().clone(), answer.evidence())
        }
    };
    let conf = &world.conf;
    verify((), &digests, &bundle, conf, &TrustCache::default(), &sender, now).map(drop).map_err(said)
}
