//! Services that every gateway has by itself: it answers them, and they are signed and logged as any other.
//!
//! Specification: PR-META 3, 4; PR-MREST 4, 5; PR-OPMON 2, 3; X-Road Environmental Monitoring Messages. What they answer is in [`crate::builtin`].

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
    /// `getSecurityServerOperationalData` of SOAP: records of exchanges.
    OperationalData,
    /// `getSecurityServerHealthData` of SOAP: how the services are doing.
    HealthData,
    /// `getSecurityServerMetrics` of SOAP: the machine.
    ServerMetrics,
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
            (Request::Soap(soap), code) if soap.header.service.client().subsystem().is_none() => {
                Self::of_server(code)
            }
            _ => None,
        }
    }

    /// Services of a server, which are asked of its owner.
    fn of_server(code: &str) -> Option<Self> {
        match code {
            "getSecurityServerOperationalData" => Some(Self::OperationalData),
            "getSecurityServerHealthData" => Some(Self::HealthData),
            "getSecurityServerMetrics" => Some(Self::ServerMetrics),
            _ => None,
        }
    }

    /// Whether it is asked of the owner of the server, and of nobody else.
    pub const fn is_of_server(self) -> bool {
        matches!(self, Self::OperationalData | Self::HealthData | Self::ServerMetrics)
    }
}
