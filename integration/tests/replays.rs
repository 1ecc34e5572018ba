//! A request that was received before (T08): over a restart, at the same moment, after the window, and as configured.

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;
    use integration::world::{Envelope, RECORDS, Wishes, World};

    const REPLAYED: &str = "server.serverproxy.invalid_message";

    async fn request(world: &World, id: &str) -> Envelope {
        world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), id, None).await
    }

    /// The code that the provider answers; none for a signed answer.
    async fn fault(world: &World, message: &Envelope) -> Option<String> {
        let reply = world.rogue.send(&world.provider.peers(), message).await.expect("an answer");
        assert_eq!(reply.is_signed(), reply.fault().is_none());
        reply.fault()
    }

    async fn with(replays: &str) -> World {
        let wish = ("revocations = \"off\"", format!("revocations = \"off\"\n{replays}"));
        World::wish(Wishes { provider: vec![wish], ..Wishes::default() }).await
    }

    #[tokio::test]
    async fn a_restart_forgets_no_request() {
        let mut world = World::start().await;
        let (one, other) = (request(&world, "one").await, request(&world, "other").await);
        assert_eq!(fault(&world, &one).await, None);
        world.provider.stop().await;
        world.provider.start().await;
        let calls = world.service.calls();
        assert_eq!(fault(&world, &one).await.as_deref(), Some(REPLAYED));
        assert_eq!((world.service.calls(), world.provider.trace("one").len()), (calls, 2));
        assert_eq!(fault(&world, &other).await, None);
        assert_eq!(fault(&world, &other).await.as_deref(), Some(REPLAYED));
    }

    #[tokio::test]
    async fn of_many_that_come_at_once_one_is_served() {
        let world = World::start().await;
        let message = request(&world, "at-once").await;
        let calls = world.service.calls();
        let answers = join_all((0..20).map(|_| fault(&world, &message))).await;
        let refused = answers.iter().filter(|code| code.as_deref() == Some(REPLAYED)).count();
        assert_eq!((answers.len(), refused), (20, 19));
        assert_eq!((world.service.calls(), world.provider.trace("at-once").len()), (calls + 1, 2));
    }

    #[tokio::test]
    async fn a_request_is_forgotten_after_the_window() {
        let world = with("replay_window = \"5 min\"\n").await;
        let message = request(&world, "window").await;
        assert_eq!(fault(&world, &message).await, None);
        world.clock.advance(Duration::from_secs(290));
        assert_eq!(fault(&world, &message).await.as_deref(), Some(REPLAYED));
        world.clock.advance(Duration::from_secs(11));
        assert_eq!(fault(&world, &message).await, None);
    }

    #[tokio::test]
    async fn replays_are_told_or_not_looked_for_as_configured() {
        for setting in ["warn", "off"] {
            let world = with(&format!("replays = \"{setting}\"\n")).await;
            let message = request(&world, "again").await;
            for _ in 0..3 {
                assert_eq!(fault(&world, &message).await, None, "{setting}");
            }
            assert_eq!(world.provider.trace("again").len(), 6);
        }
    }
}
