//! Gets time-stamps in the background, and asks authorities over HTTP.
//!
//! Specification: RFC 3161 3.4. What is pending is never dropped: it is found again in the log after a restart.
//!
//! Not here: what is stamped ([`super::stamp`]), judging tokens (`cert_authority::timestamp`).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cert_authority::{
    algorithm::DigestAlgorithm,
    clocks::{Clocks, Witness},
    crypto,
    http::{Client, Limits},
    timestamp::{self, Request, Token},
    x509::Certificate,
};
use tokio::sync::{OwnedMutexGuard, watch};

use super::{
    body::blocking,
    error::LogError,
    record::Record,
    service::MessageLog,
    stamp::{Authorities, Granted, Health, MOST, Question, StampError, StampFuture, TimestampAuthority},
};

/// How far the authority's clock and ours may be apart, beside the time that its answer took.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// An authority that is asked over HTTP.
pub struct HttpAuthority {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub url: String,
    /// The certificates that may sign for it.
    pub approved: Vec<Certificate>,
    /// How it is reached.
    pub client: Client,
    /// What a question may cost.
    pub limits: Limits,
    /// The time, and who states it.
    pub clocks: Arc<Clocks>,
}

impl HttpAuthority {
    async fn ask(&self, data: &[u8]) -> Result<Granted, String> {
        // A number without leading zeros, so that nobody can write it differently.
        let mut nonce: [u8; 16] = crypto::random_array().map_err(|e| e.to_string())?;
        if let Some(first) = nonce.first_mut() {
            *first = *first & 0x7f | 0x40;
        }
        let request = Request {
            imprint_algorithm: DigestAlgorithm::Sha512,
            imprint: crypto::digest(DigestAlgorithm::Sha512, data).as_ref().to_vec(),
            nonce: Some(nonce.to_vec()),
            certificates: true,
            policy: None,
        };
        let der = request.to_der().map_err(|e| e.to_string())?;
        let clock = self.clocks.clock();
        let began = clock.elapsed();
        let answer = self
            .client
            .post(&self.url, timestamp::REQUEST_TYPE, Bytes::from(der), self.limits)
            .await
            .map_err(|e| e.to_string())?;
        if answer.status.as_u16() != 200 {
            return Err(format!("HTTP status {}", answer.status.as_u16()));
        }
        let token = Token::from_response(&answer.body).map_err(|e| e.to_string())?;
        let valid =
            timestamp::verify(&token, data, &self.approved, Some(&nonce)).map_err(|e| e.to_string())?;
        let took = clock.elapsed().saturating_sub(began);
        self.clocks.saw(Witness::Authority(&self.name), valid.gen_time(), took);
        valid.check_fresh(clock.now(), CLOCKS_APART + took).map_err(|e| e.to_string())?;
        Ok(Granted { token: token.der().clone(), time: valid.gen_time() })
    }
}

impl TimestampAuthority for HttpAuthority {
    fn name(&self) -> &str {
        &self.name
    }

    fn stamp<'a>(&'a self, data: &'a [u8]) -> StampFuture<'a> {
        Box::pin(async move {
            self.ask(data).await.map_err(|reason| StampError { authority: self.name.clone(), reason })
        })
    }
}

/// Stamps what is pending every `interval`, until `shutdown` changes or its sender is gone. Both closures are asked anew each time.
pub async fn run(
    log: MessageLog,
    authorities: impl Fn() -> Vec<Box<dyn TimestampAuthority>>,
    interval: impl Fn() -> Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval()) => {}
            _ = shutdown.changed() => return,
        }
        let outcome = match stamp_pending(&log, &authorities()).await {
            Ok(0) => continue, // nothing was pending
            Ok(_) => "granted",
            Err(error) => {
                tracing::warn!(%error, "no time-stamp for the logged messages");
                if let Some((failing, acceptable)) = log.half_unstamped() {
                    let (failing, acceptable) = (failing.as_secs(), acceptable.as_secs());
                    tracing::error!(
                        failing_seconds = failing,
                        acceptable_seconds = acceptable,
                        "time-stamping has failed for more than half of what is acceptable; then exchanges are refused"
                    );
                }
                "failed"
            }
        };
        metrics::counter!("passerelle_timestamps_total", "outcome" => outcome).increment(1);
    }
}

/// Why what is pending stays pending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PendingError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No authority granted.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<StampError>),
    /// There is no authority to ask.
    #[error("no time-stamping authority is configured")]
    NoAuthority,
}

/// Stamps everything that is pending, the oldest first, in batches. Gives how many messages were stamped.
///
/// Waits while others do the same, so that nothing is stamped twice.
///
/// # Errors
/// [`PendingError`]; what was stamped before stays stamped.
pub async fn stamp_pending(
    log: &MessageLog,
    authorities: &[Box<dyn TimestampAuthority>],
) -> Result<usize, PendingError> {
    let mut stamped = 0;
    loop {
        let turn = log.stamper().lock_owned().await;
        let count = stamp_batch(log, authorities, turn).await?;
        stamped += count;
        if count < MOST {
            return Ok(stamped);
        }
    }
}

/// Returns when the message with this number has its time-stamp: at once, if another's time-stamp covers it meanwhile.
pub(crate) async fn stamp_at_once(
    log: &MessageLog,
    authorities: &Authorities,
    sequence: u64,
) -> Result<(), PendingError> {
    loop {
        let turn = log.stamper().lock_owned().await;
        let reader = log.reader();
        if blocking(reader.work(), move || reader.stamped_below()).await? > sequence {
            return Ok(());
        }
        match stamp_batch(log, &authorities(), turn).await {
            Ok(0) => return Ok(()),
            // Another node was faster: perhaps with this message too.
            Ok(_) | Err(PendingError::Log(LogError::Overtaken)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// One time-stamp over the oldest that have none; gives how many, 0 when there are none.
async fn stamp_batch(
    log: &MessageLog,
    authorities: &[Box<dyn TimestampAuthority>],
    turn: OwnedMutexGuard<()>,
) -> Result<usize, PendingError> {
    let reader = log.reader();
    let Some(pending) = blocking(reader.work(), move || reader.unstamped(MOST)).await? else {
        log.set_stamping(Health::default());
        return Ok(0);
    };
    let count = pending.covered.len();
    let failing = Health { failing_since: Some(pending.oldest) };
    let question =
        blocking(log.work(), move || Ok(Question::new(pending.covered, &pending.signature))).await?;
    let record = match question.ask(authorities).await {
        Ok(record) => record,
        Err(errors) => {
            log.set_stamping(failing);
            let none = errors.is_empty();
            return Err(if none { PendingError::NoAuthority } else { PendingError::Refused(errors) });
        }
    };
    log.commit_in_turn(Record::Timestamp(record), turn).await?;
    log.set_stamping(Health::default());
    Ok(count)
}
