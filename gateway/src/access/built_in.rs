//! Services that every gateway has by itself: it answers them, and they are signed and logged as any other.
//!
//! Specification: PR-META 3, 4; PR-MREST 4, 5. What they answer is in [`crate::builtin`].

use crate::message::Request;
use crate::message::rest::Verb;

/// A service of the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// `listMethods`: what the provider offers in this protocol.
    ListMethods,
    /// `allowedMethods`: what of it the client may call.
    AllowedMethods,
    /// `getOpenAPI` of REST, `getWsdl` of SOAP: the description of a service.
    GetDescription,
}

impl BuiltIn {
    /// Codes under which nobody may offer a service, in any protocol.
    pub const RESERVED: &[&str] = &["listMethods", "allowedMethods", "getOpenAPI", "getWsdl", "listClients"];

    /// What a request asks for, if it is one of them. Of REST only GET asks.
    pub fn asked_for(request: &Request) -> Option<Self> {
        let code = request.header().service.code();
        match (request, code) {
            (Request::Rest(rest), _) if rest.verb != Verb::Get => None,
            (_, "listMethods") => Some(Self::ListMethods),
            (_, "allowedMethods") => Some(Self::AllowedMethods),
            (Request::Rest(_), "getOpenAPI") => Some(Self::GetDescription),
            (Request::Soap(_), "getWsdl") => Some(Self::GetDescription),
            _ => None,
        }
    }
}
