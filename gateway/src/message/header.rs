//! What every request says, whatever its protocol: who asks whom for what, and why.
//!
//! Specification: PR-MESS 2.2; PR-REST 4.3.

use conf::identifier::{ClientId, ServerId, ServiceId};

/// The header of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHeader {
    /// Who asks.
    pub client: ClientId,
    /// What is asked for.
    pub service: ServiceId,
    /// The id that the information system gave, or our own.
    pub message_id: String,
    /// The user on whose behalf the information system asks.
    pub user_id: Option<String>,
    /// What the request is about: a case, an issue.
    pub issue: Option<String>,
    /// On whose behalf the client asks.
    pub represented_party: Option<RepresentedParty>,
    /// The provider's gateway that is to answer.
    pub security_server: Option<ServerId>,
}

/// On whose behalf a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepresentedParty {
    /// The class of the party.
    pub class: Option<String>,
    /// The code of the party.
    pub code: String,
}
