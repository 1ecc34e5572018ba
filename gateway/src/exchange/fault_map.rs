//! Every step's error in X-Road's words.
//!
//! Only here are all of them seen. No match has a catch-all arm: a new error does not compile until somebody has
//! decided its code. The side is added at the door; the text of a fault tells no path, no key and no chain of causes.
//!
//! Specification: codes and their order as X-Road 7.8 gives them (XROAD-FACTS 2.11, 7).

use cert_authority::clocks::WrongClock;
use cert_authority::error::VerifyError;
use conf::error::ConfError;

use super::attached::TakeError;
use super::check::{Mismatch, OtherMethod, OtherRequestId, OtherServer, RouteError, TooOld, UnknownClient};
use super::incoming::ReceiveError;
use super::outgoing::SendError;
use super::ports::{Gone, Interrupted, KeyUnavailable, PeerFailure, ServiceFailure};
use crate::access::client_auth::IdentifyError;
use crate::access::rights::AccessError;
use crate::evidence::hash_chain::HashChainError;
use crate::evidence::signature::SignatureError;
use crate::fault::{Fault, Leaf, Scope};
use crate::message::ParseError;
use crate::message::rest::MessageError;
use crate::message::soap::SoapError;
use crate::messagelog::LogError;
use crate::messagelog::replays::ReplayError;

impl From<ConfError> for Fault {
    fn from(error: ConfError) -> Self {
        match error {
            ConfError::Expired { .. } => {
                Self::new(Leaf::GlobalConfOutdated, "Global configuration is expired")
            }
            other => {
                tracing::error!(error = %other, "no global configuration");
                Self::new(Leaf::MalformedGlobalConf, "There is no valid global configuration")
            }
        }
    }
}

impl From<MessageError> for Fault {
    fn from(error: MessageError) -> Self {
        let fault = Self::new(error.leaf(), error.to_string());
        match error.http_status() {
            Some(status) => fault.with_status(status),
            None => fault,
        }
    }
}

impl From<SoapError> for Fault {
    fn from(error: SoapError) -> Self {
        match error {
            SoapError::Fault(fault) => Self::relayed(*fault),
            error => Self::new(error.leaf(), error.to_string()),
        }
    }
}

impl From<ParseError> for Fault {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Rest(error) => error.into(),
            ParseError::Soap(error) => error.into(),
        }
    }
}

impl From<TakeError> for Fault {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Soap(error) => error.into(),
            TakeError::Interrupted(error) => error.into(),
        }
    }
}

impl From<IdentifyError> for Fault {
    fn from(error: IdentifyError) -> Self {
        let leaf = match error {
            IdentifyError::UnknownClient => Leaf::UnknownMember,
            IdentifyError::Plain | IdentifyError::NoCertificate | IdentifyError::OtherCertificate => {
                Leaf::SslAuthenticationFailed
            }
        };
        Self::new(leaf, error.to_string())
    }
}

impl From<OtherMethod> for Fault {
    fn from(error: OtherMethod) -> Self {
        Self::new(Leaf::InvalidHttpMethod, error.to_string())
    }
}

impl From<TooOld> for Fault {
    fn from(error: TooOld) -> Self {
        Self::new(Leaf::ClientProxyVersionNotSupported, error.to_string())
    }
}

impl From<WrongClock> for Fault {
    fn from(_by: WrongClock) -> Self {
        Self::new(Leaf::CannotCreateSignature, "The clock of the security server is not right")
    }
}

impl From<KeyUnavailable> for Fault {
    fn from(error: KeyUnavailable) -> Self {
        match error {
            KeyUnavailable::NoKey | KeyUnavailable::NoOcsp => {
                Self::new(Leaf::CannotCreateSignature, error.to_string())
            }
        }
    }
}

impl From<RouteError> for Fault {
    fn from(error: RouteError) -> Self {
        let leaf = match error {
            RouteError::UnknownProvider(_) => Leaf::UnknownMember,
            RouteError::InvalidServer(_) => Leaf::InvalidSecurityServer,
            RouteError::Maintenance { .. } => Leaf::MaintenanceMode,
        };
        Self::new(leaf, error.to_string())
    }
}

impl From<UnknownClient> for Fault {
    fn from(error: UnknownClient) -> Self {
        Self::new(Leaf::UnknownMember, error.to_string()).within(Scope::ServiceFailed)
    }
}

impl From<OtherServer> for Fault {
    fn from(error: OtherServer) -> Self {
        Self::new(Leaf::InvalidSecurityServer, error.to_string()).within(Scope::ServiceFailed)
    }
}

impl From<OtherRequestId> for Fault {
    fn from(error: OtherRequestId) -> Self {
        Self::new(Leaf::InternalError, error.to_string())
    }
}

impl From<ReplayError> for Fault {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Replayed => Self::new(Leaf::InvalidMessage, "The request was received before"),
            ReplayError::Log(error) => error.into(),
        }
    }
}

impl From<AccessError> for Fault {
    fn from(error: AccessError) -> Self {
        let leaf = match error {
            AccessError::UnknownService => Leaf::UnknownService,
            AccessError::OtherProtocol => Leaf::ServiceType,
            AccessError::Path(_) | AccessError::Denied => Leaf::AccessDenied,
            AccessError::Disabled { .. } => Leaf::ServiceDisabled,
        };
        Self::new(leaf, error.to_string())
    }
}

impl From<ReceiveError> for Fault {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Fault(received) => Self::relayed(received),
            ReceiveError::UnreadableFault => {
                Self::new(Leaf::InvalidSoap, "The peer answered with a fault that cannot be read")
            }
            ReceiveError::HashAlgorithm(_) => Self::new(Leaf::InternalError, error.to_string()),
            ReceiveError::Transport(error) => {
                let fault = Self::new(error.leaf(), error.to_string());
                if error.is_service_failure() { fault.within(Scope::ServiceFailed) } else { fault }
            }
            ReceiveError::Message(error) => Self::from(error).within(Scope::ServiceFailed),
            ReceiveError::Interrupted(error) => Self::from(error).within(Scope::ServiceFailed),
            ReceiveError::Held(error) => error.into(),
        }
    }
}

impl From<Interrupted> for Fault {
    fn from(error: Interrupted) -> Self {
        Self::new(Leaf::IoError, error.to_string())
    }
}

impl From<Gone> for Fault {
    fn from(error: Gone) -> Self {
        Self::new(Leaf::IoError, error.to_string())
    }
}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Gone(error) => error.into(),
            SendError::Source(error) => error.into(),
            SendError::Held(error) => error.into(),
        }
    }
}

impl From<PeerFailure> for Fault {
    fn from(error: PeerFailure) -> Self {
        match error {
            PeerFailure::UnknownHost(_) => Self::new(Leaf::UnknownHost, error.to_string()),
            PeerFailure::Network(_) => Self::new(Leaf::NetworkError, error.to_string()),
            PeerFailure::Untrusted(_) => Self::new(Leaf::SslAuthenticationFailed, error.to_string()),
            PeerFailure::NoAnswer(_) => Self::new(Leaf::IoError, error.to_string()),
        }
    }
}

impl From<ServiceFailure> for Fault {
    fn from(error: ServiceFailure) -> Self {
        let leaf = match error {
            ServiceFailure::Address => Leaf::ServiceMalformedUrl,
            ServiceFailure::UnknownHost => Leaf::UnknownHost,
            ServiceFailure::Network(_) => Leaf::NetworkError,
            ServiceFailure::Untrusted => Leaf::SslAuthenticationFailed,
            ServiceFailure::NoAnswer(_) => Leaf::IoError,
            ServiceFailure::Refused(fault) => return *fault,
        };
        Self::new(leaf, error.to_string())
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        use Scope::{InvalidCertPath, MalformedSignature, SignatureVerification};
        let text = error.to_string();
        let verification = |leaf| Self::new(leaf, text.as_str()).within(SignatureVerification);
        let malformed =
            |leaf| Self::new(leaf, text.as_str()).within(MalformedSignature).within(SignatureVerification);
        match error {
            SignatureError::Signing(_) => {
                tracing::error!(error = text, "cannot sign");
                Self::new(Leaf::CannotCreateSignature, "The signature could not be made")
            }
            SignatureError::InvalidXml(_) => verification(Leaf::InvalidXml),
            SignatureError::Malformed(_)
            | SignatureError::NotCovered(_)
            | SignatureError::NotASigningCertificate(_) => verification(Leaf::MalformedSignature),
            SignatureError::InvalidReference(_) => malformed(Leaf::InvalidReference),
            SignatureError::MissingHashChainResult => verification(Leaf::InternalError),
            SignatureError::HashChain(error) => malformed(match error {
                HashChainError::Malformed(_) => Leaf::MalformedHashChain,
                HashChainError::UnknownReference(_) => Leaf::InvalidReference,
                HashChainError::WrongReferenceDigest(_) => Leaf::InvalidHashChainRef,
                HashChainError::WrongResult => Leaf::InvalidHashChain,
                HashChainError::UnusedInputs(_) => Leaf::HashchainUnusedInputs,
            }),
            SignatureError::OtherSigner { .. } => verification(Leaf::IncorrectCertificate),
            SignatureError::WrongDigest(_) | SignatureError::InvalidValue(_) => {
                verification(Leaf::InvalidSignatureValue)
            }
            SignatureError::Path(_) => verification(Leaf::CannotCreateCertPath),
            SignatureError::Status(error) => {
                use VerifyError::{OcspMissing, OcspRevoked, OcspUnknown};
                let says_no = matches!(error, OcspMissing | OcspRevoked | OcspUnknown);
                let leaf = if says_no { Leaf::CertValidation } else { Leaf::IncorrectValidationInfo };
                Self::new(leaf, text.as_str()).within(InvalidCertPath).within(SignatureVerification)
            }
        }
    }
}

impl From<LogError> for Fault {
    fn from(error: LogError) -> Self {
        // What the log says of itself is for the operator: it names paths and numbers of records.
        tracing::error!(%error, "the message log refuses");
        match error {
            LogError::Timestamping { .. } => {
                Self::new(Leaf::TimestampingFailed, "Time-stamps have been failing for too long")
                    .within(Scope::LoggingFailed)
            }
            LogError::Unstamped(_) => {
                Self::new(Leaf::TimestampingFailed, "The message could not be time-stamped")
                    .within(Scope::LoggingFailed)
            }
            LogError::Quota(_) => {
                Self::new(Leaf::LoggingFailed, "There is no room for the message at the moment")
            }
            LogError::Stopped(_)
            | LogError::NoSpace(_)
            | LogError::Missing(_)
            | LogError::NotEmpty(_)
            | LogError::Moved(_)
            | LogError::Locked
            | LogError::Overtaken
            | LogError::Damaged(_)
            | LogError::Removed { .. }
            | LogError::CutOff { .. }
            | LogError::KeyGone(_)
            | LogError::Key(_)
            | LogError::Body(_)
            | LogError::Record(_)
            | LogError::Index(_)
            | LogError::Io { .. } => Self::new(Leaf::LoggingFailed, "The message could not be made evidence"),
        }
    }
}

impl From<Mismatch> for Fault {
    fn from(error: Mismatch) -> Self {
        let fault = Self::new(Leaf::InconsistentResponse, error.to_string());
        match error {
            Mismatch::Field(_) => fault.within(Scope::ServiceFailed),
            Mismatch::Client
            | Mismatch::MessageId
            | Mismatch::Service
            | Mismatch::RequestId
            | Mismatch::RequestHash => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;

    #[test]
    fn only_what_fails_while_a_message_is_read_is_a_service_failure() {
        let code = |fault: Fault| fault.at(Side::ServerProxy).code();
        let no_answer = ServiceFailure::NoAnswer("closed".to_owned());
        assert_eq!(code(no_answer.into()), "server.serverproxy.io_error");
        let cut_off = ReceiveError::Interrupted(Interrupted("closed".to_owned()));
        assert_eq!(code(cut_off.into()), "server.serverproxy.service_failed.io_error");
    }
}
