//! Information systems, which ask, lose patience, hang up, and ask again under the same message id; and chance, which
//! kills gateways, cuts power, fills disks and turns clocks.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gateway::access::client_auth::Connection;
use gateway::exchange::consumer::{self, ClientCall};
use gateway::exchange::ports::ServiceBody;
use gateway::message::{Protocol, Response};
use tokio::sync::oneshot;

use super::executor::{Sim, WORLD};
use super::ground::Side;
use super::ledger::{Answered, Ledger};
use super::life::End;
use super::machine::{Machine, Running};
use super::network::in_pieces;

/// How long an information system waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it asks for the same thing.
const ATTEMPTS: usize = 4;

/// Somebody who asks.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) sim: Sim,
    pub(super) consumer: Arc<Machine>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) trouble: usize,
}

/// What comes of a question.
enum Told {
    Answer(Answered),
    Fault(String),
}

impl Client {
    /// Asks for so many things, each until it is answered, or given up.
    pub(super) fn begin(self, name: usize, questions: usize) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        let sim = self.sim.clone();
        sim.spawn(WORLD, async move {
            for question in 0..questions {
                self.sim.sleep_below(Duration::from_millis(300)).await;
                self.ask_until_answered(&format!("id-{name}-{question}")).await;
            }
            let _ = done.send(());
        });
        ended
    }

    /// Whether it was answered in the end.
    pub(super) async fn ask_until_answered(&self, id: &str) -> bool {
        for _ in 0..ATTEMPTS {
            if self.ask(id).await {
                return true;
            }
            self.sim.sleep_below(Duration::from_millis(500)).await;
        }
        false
    }

    /// Asks once.
    async fn ask(&self, id: &str) -> bool {
        let sim = &self.sim;
        let Some(running) = self.consumer.running() else {
            sim.trace(format_args!("{id}: nobody is there"));
            return false;
        };
        let asked = self.body();
        sim.trace(format_args!("{id}: asks with {} bytes", asked.len()));
        let (tell, told) = oneshot::channel();
        let arriving = in_pieces(sim, asked.clone(), sim.chance(self.trouble));
        let id_of_it = id.to_owned();
        sim.spawn(running.life.owner, async move {
            let (life, gateway) = (&running.life, &running.gateway);
            let headers = [
                ("X-Road-Client", Side::Consumer.client()),
                ("X-Road-Id", &id_of_it),
                ("Content-Type", "application/octet-stream"),
            ];
            let headers = headers.map(|(name, value)| (Bytes::from(name), Bytes::from(value.to_owned())));
            let target = format!("/r1/{}/echo/anything", Side::Provider.client());
            let call = ClientCall {
                protocol: Protocol::Rest,
                address: "198.51.100.7:1",
                verb: "POST",
                target: &target,
                headers: &headers,
                connection: Connection::Plain,
                body: arriving,
            };
            let told = match consumer::serve(gateway, call).await {
                Ok(reply) => whole(&reply, &id_of_it, asked).await,
                Err(fault) => Ok(Told::Fault(fault.code())),
            };
            // A process that has ended says nothing more.
            if let Ok(told) = told
                && life.lives()
            {
                let _ = tell.send(told);
            }
        });
        match sim.within(PATIENCE, told).await {
            Some(Ok(Told::Answer(answered))) => {
                sim.trace(format_args!("{id}: is answered"));
                self.ledger.answered(answered);
                true
            }
            Some(Ok(Told::Fault(code))) => {
                sim.trace(format_args!("{id}: {code}"));
                self.judge(id, &code);
                false
            }
            Some(Err(_)) => {
                sim.trace(format_args!("{id}: the connection broke"));
                false
            }
            None => {
                sim.trace(format_args!("{id}: no answer in time"));
                false
            }
        }
    }

    /// Nobody forges anything in this world.
    fn judge(&self, id: &str, code: &str) {
        if FORBIDDEN.iter().any(|forbidden| code.contains(forbidden)) {
            self.sim.wrong(format!("{id} is refused: {code}"));
        }
    }

    fn body(&self) -> Bytes {
        let length = match self.sim.below(20) {
            0 => 0,
            1 => 60_000 + self.sim.below(30_000),
            2..8 => self.sim.below(8_000),
            _ => self.sim.below(300),
        };
        let word: [u8; 16] = self.sim.bytes();
        let mut body = BytesMut::with_capacity(length);
        while body.len() < length {
            body.extend_from_slice(word.get(..word.len().min(length - body.len())).unwrap_or_default());
        }
        body.freeze()
    }
}

/// Refusals that no trouble explains.
const FORBIDDEN: &[&str] =
    &["signature", "internal", "Mismatch", "inconsistent", "access_denied", "unknown_member"];

async fn whole(reply: &consumer::Reply, id: &str, asked: Bytes) -> Result<Told, ()> {
    let received = reply.message().message();
    let Response::Rest(head) = &received.message else { return Err(()) };
    let mut answer = BytesMut::new();
    for attachment in &received.attachments {
        let mut content = ServiceBody::unsealed(&attachment.body).content;
        while let Some(chunk) = content.next().await.map_err(drop)? {
            answer.extend_from_slice(&chunk);
        }
    }
    Ok(Told::Answer(Answered {
        message_id: id.to_owned(),
        request_id: head.request_id.clone().unwrap_or_default(),
        asked,
        answer: answer.freeze(),
    }))
}

/// Troubles two machines, so many times.
pub(super) async fn chaos(sim: Sim, machines: [Arc<Machine>; 2], times: usize) {
    for _ in 0..times {
        sim.sleep_below(Duration::from_millis(900)).await;
        let [consumer, provider] = &machines;
        let machine = if sim.chance(500) { consumer } else { provider };
        let end = |running: Arc<Running>, end: End| running.life.end(end);
        match sim.below(9) {
            0 | 1 => machine.running().into_iter().for_each(|running| end(running, End::Killed)),
            2..5 => machine.running().into_iter().for_each(|running| end(running, End::PowerCut)),
            5 => {
                for machine in &machines {
                    machine.running().into_iter().for_each(|running| end(running, End::PowerCut));
                }
            }
            6 => {
                sim.trace(format_args!("{}: the disk is full", machine.side.name()));
                machine.platter.set_full(true);
                sim.sleep_below(Duration::from_millis(500)).await;
                machine.platter.set_full(false);
            }
            _ => {
                // Within the window in which replays are known, whichever of two clocks is looked at.
                let hours = i64::try_from(sim.below(22)).unwrap_or(0) - 11;
                let millis = i64::try_from(sim.below(3_600_000)).unwrap_or(0);
                sim.trace(format_args!(
                    "{}: the clock is set {hours} h {millis} ms off",
                    machine.side.name()
                ));
                machine.clock.set(hours * 3_600_000 + millis);
            }
        }
    }
}
