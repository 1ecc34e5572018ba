//! Why an exchange failed, in the words of the X-Road protocol, and how that is written on each wire.
//!
//! - [`code`]: the table of codes: wire text, who may mend it, meaning
//! - [`rest`]: what an information system is answered: JSON or XML, status, header
//! - [`soap`]: what another gateway is answered, and reading what it answered
//!
//! ```text
//! step             Fault::new(Leaf::UnknownService, "…")         unknown_service
//! scope            .within(Scope::ServiceFailed)                 service_failed.unknown_service
//! door             .at(Side::ServerProxy)        server.serverproxy.service_failed.unknown_service
//! from a peer      Fault::relayed(received)      passes every step and door unchanged
//! ```
//!
//! Specification: PR-REST 4.6; PR-MESS 2.5; the codes of release 7.8.
//! Not here: which error of which part becomes which fault (`exchange`).

pub mod code;
pub mod rest;
pub mod soap;

use std::fmt;

use bytes::Bytes;

pub use code::{FaultCode, Leaf, Mender, Scope, Side};
pub use soap::ReceivedFault;

/// The target of the lines that tell of refusals, of exchanges and at doors, for whoever looks for attacks.
pub const REFUSED: &str = "gateway::refused";

/// A failed exchange. The text is read by strangers: no path, no key, no chain of causes in it; what only the
/// operator may know is logged beside [`Fault::id`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    code: Code,
    text: String,
    id: Option<String>,
    status: Option<u16>,
    envelope: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Code {
    Own(FaultCode),
    Relayed(String),
}

impl Fault {
    /// A fault found here.
    pub fn new(leaf: Leaf, text: impl Into<String>) -> Self {
        Self {
            code: Code::Own(FaultCode::new(leaf)),
            text: text.into(),
            id: None,
            status: None,
            envelope: None,
        }
    }

    /// A fault that another gateway reported: its code, text and id stay as they are.
    pub fn relayed(received: ReceivedFault) -> Self {
        let ReceivedFault { code, text, detail, envelope } = received;
        Self { code: Code::Relayed(code), text, id: detail, status: None, envelope: Some(envelope) }
    }

    /// A fault that somebody sent where a message belongs: its code stays, below the side that is at fault.
    pub fn sent_by(side: Side, received: ReceivedFault) -> Self {
        let code = format!("{}.{}", side.wire(), received.code);
        Self { code: Code::Relayed(code), text: received.text, id: None, status: None, envelope: None }
    }

    /// Puts the code below a scope. Nothing changes when it begins with that scope already, or was relayed.
    #[must_use]
    pub fn within(mut self, scope: Scope) -> Self {
        if let Code::Own(code) = &mut self.code {
            code.push_scope(scope);
        }
        self
    }

    /// Says on which side it was found: the door's task. The first door counts.
    #[must_use]
    pub fn at(mut self, side: Side) -> Self {
        if let Code::Own(code) = &mut self.code {
            code.set_side(side);
        }
        self
    }

    /// Gives it the id by which operators find it in their logs, a random UUID. A fault that has one keeps it.
    #[must_use]
    pub fn identified(mut self, id: impl Into<String>) -> Self {
        self.id.get_or_insert_with(|| id.into());
        self
    }

    /// Whether somebody else found it, and we only hand it on.
    pub const fn is_relayed(&self) -> bool {
        matches!(self.code, Code::Relayed(_))
    }

    /// What was received, of a fault that was.
    pub fn envelope(&self) -> Option<&Bytes> {
        self.envelope.as_ref()
    }

    /// Fixes the HTTP status that an information system gets: for what is wrong with the HTTP request itself,
    /// which X-Road answers below the level of its own codes (400, 413, 414, 431).
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The code found here; none for a relayed fault.
    pub fn own_code(&self) -> Option<&FaultCode> {
        match &self.code {
            Code::Own(code) => Some(code),
            Code::Relayed(_) => None,
        }
    }

    /// The code as written on the wire.
    pub fn code(&self) -> String {
        match &self.code {
            Code::Own(code) => code.to_string(),
            Code::Relayed(code) => code.clone(),
        }
    }

    /// What happened, for people.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The id; empty as long as none was given.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// The HTTP status towards a REST information system: 500 for everything that a server answers for, else
    /// 400.
    ///
    /// # Compatibility
    /// X-Road 7.8 compares `server.` with case and so answers 400 where a peer of an older release writes
    /// `Server.`; here both are 500.
    pub fn http_status(&self) -> u16 {
        let by_server = |code: &str| code.get(..7).is_some_and(|side| side.eq_ignore_ascii_case("server."));
        self.status.unwrap_or_else(|| if by_server(&self.code()) { 500 } else { 400 })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.text)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn relayed(code: &str) -> Fault {
        let envelope = Bytes::from_static(b"<fault/>");
        let (text, detail) = ("t".into(), Some("peer-id".into()));
        Fault::relayed(ReceivedFault { code: code.into(), text, detail, envelope })
    }

    #[test]
    fn a_fault_gathers_its_code_on_its_way_to_the_door() {
        let fault = Fault::new(Leaf::InvalidHashChain, "t")
            .within(Scope::MalformedSignature)
            .within(Scope::SignatureVerification)
            .at(Side::ServerProxy);
        assert_eq!(
            fault.code(),
            "server.serverproxy.signature_verification.malformed_signature.invalid_hash_chain"
        );
        assert_eq!(fault.own_code().map(FaultCode::leaf), Some(Leaf::InvalidHashChain));
    }

    #[test]
    fn a_scope_that_is_there_is_not_added_again() {
        let fault = Fault::new(Leaf::LoggingFailed, "t").within(Scope::LoggingFailed).at(Side::ClientProxy);
        assert_eq!(fault.code(), "server.clientproxy.logging_failed");
        let fault = Fault::new(Leaf::IoError, "t").within(Scope::ServiceFailed).within(Scope::ServiceFailed);
        assert_eq!(fault.code(), "service_failed.io_error");
    }

    #[test]
    fn the_first_door_says_the_side() {
        let fault = Fault::new(Leaf::IoError, "t").at(Side::ServerProxy).at(Side::ClientProxy);
        assert_eq!(fault.code(), "server.serverproxy.io_error");
    }

    #[test]
    fn a_relayed_fault_passes_unchanged() {
        let fault = relayed("Server.ServerProxy.X")
            .within(Scope::ServiceFailed)
            .at(Side::ClientProxy)
            .identified("ours");
        assert_eq!(
            (fault.code().as_str(), fault.id(), fault.text()),
            ("Server.ServerProxy.X", "peer-id", "t")
        );
    }

    #[test]
    fn only_what_a_server_answers_for_is_a_500() {
        for (code, status) in [
            ("server.serverproxy.x", 500),
            ("Server.ServerProxy.X", 500),
            ("Client.X", 400),
            ("serverless", 400),
            ("ser", 400),
            ("é.server.", 400),
        ] {
            assert_eq!(relayed(code).http_status(), status, "{code}");
        }
        assert_eq!(
            Fault::new(Leaf::BadRequest, "t").at(Side::ClientProxy).with_status(414).http_status(),
            414
        );
    }
}
