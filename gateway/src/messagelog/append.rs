//! The commit point: a message that has been logged, by type.
//!
//! Not here: how it is made durable ([`super::service`]); what is in a record ([`super::record`]).

use std::future::Future;

use super::{
    error::LogError,
    record::{MessageRecord, Record},
};

/// A message whose record is durable: the only thing that may be delivered or answered.
///
/// Made by [`LogStore::append_request`] and [`LogStore::append_response`] alone.
#[derive(Debug)]
pub struct Logged<M> {
    message: M,
    receipt: Receipt,
}

impl<M> Logged<M> {
    /// The number of the message's record.
    pub const fn sequence(&self) -> u64 {
        self.receipt.sequence
    }

    /// Where and when the message was logged.
    pub const fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// The message.
    pub const fn message(&self) -> &M {
        &self.message
    }

    /// The message, out of its proof.
    pub fn into_message(self) -> M {
        self.message
    }
}

/// What one gets for a record that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the record. Numbers are dense and begin with 0; they order the log, times do not.
    pub sequence: u64,
    /// The hash of its frame: the leaf of the tree.
    pub leaf: [u8; 32],
}

/// A log that records can be appended to.
///
/// # Contract
/// - The future resolves with a receipt only when the record, and the bodies given with it, survive a power cut.
/// - An error before anything was written is reported as such and changes nothing. After an error while writing the
///   outcome is unknown: the store accepts nothing more ([`LogError::Stopped`]).
/// - Dropping the future does not take the record back.
/// - Appends may run at the same time; their numbers need not follow the order of the calls.
pub trait LogStore: Send + Sync {
    /// An encrypted body, as it was held in flight.
    type Body: Send;

    /// Whether an exchange may begin: there is room, the store works, time-stamps can be had.
    ///
    /// # Errors
    /// The reason why not.
    fn ready(&self) -> Result<(), LogError>;

    /// Makes a record durable. `bodies` are the contents of the parts of a message, in their order, `None` where a
    /// content is not to be kept; other records have none.
    ///
    /// # Errors
    /// Any [`LogError`]; nothing was promised.
    fn append(
        &self,
        record: Record,
        bodies: Vec<Option<Self::Body>>,
    ) -> impl Future<Output = Result<Receipt, LogError>> + Send;

    /// Logs a request and grants the proof.
    ///
    /// # Errors
    /// As [`Self::append`].
    fn append_request<M: Send>(
        &self,
        message: M,
        record: MessageRecord,
        bodies: Vec<Option<Self::Body>>,
    ) -> impl Future<Output = Result<Logged<M>, LogError>> + Send {
        async move {
            let receipt = self.append(Record::Request(record), bodies).await?;
            Ok(Logged { message, receipt })
        }
    }

    /// Logs a response and grants the proof.
    ///
    /// # Errors
    /// As [`Self::append`].
    fn append_response<M: Send>(
        &self,
        message: M,
        record: MessageRecord,
        bodies: Vec<Option<Self::Body>>,
    ) -> impl Future<Output = Result<Logged<M>, LogError>> + Send {
        async move {
            let receipt = self.append(Record::Response(record), bodies).await?;
            Ok(Logged { message, receipt })
        }
    }
}
