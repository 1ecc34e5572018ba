//! The codes: side, scopes and leaf, joined by dots when they are written.
//!
//! Specification: the error codes of X-Road 7.8 (lower case; up to 7.7 they were written `AccessDenied`).
//! Not here: the codes of services that do not exist yet; each leaf has a test that provokes it.

use std::fmt;

/// On which side of an exchange a fault was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// In the request of the information system.
    Client,
    /// At the consumer's gateway.
    ClientProxy,
    /// At the provider's gateway.
    ServerProxy,
    /// Where the keys are.
    Signer,
}

impl Side {
    /// As written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ClientProxy => "server.clientproxy",
            Self::ServerProxy => "server.serverproxy",
            Self::Signer => "signer",
        }
    }
}

/// The step in which a fault was found, where X-Road names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// While a message of the other gateway was taken apart.
    ServiceFailed,
    /// While a signature was verified.
    SignatureVerification,
    /// In the form of a signature.
    MalformedSignature,
    /// While the other gateway's certificate was judged.
    SslAuthenticationFailed,
    /// While a certificate's path was built and validated.
    InvalidCertPath,
    /// While evidence was made durable.
    LoggingFailed,
    /// While time-stamps were asked for.
    TimestampingFailed,
    /// While a signature was made.
    CannotCreateSignature,
}

impl Scope {
    /// As written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            Self::ServiceFailed => "service_failed",
            Self::SignatureVerification => "signature_verification",
            Self::MalformedSignature => "malformed_signature",
            Self::SslAuthenticationFailed => "ssl_authentication_failed",
            Self::InvalidCertPath => "invalid_cert_path",
            Self::LoggingFailed => "logging_failed",
            Self::TimestampingFailed => "timestamping_failed",
            Self::CannotCreateSignature => "cannot_create_signature",
        }
    }
}

/// Who can do something about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mender {
    /// Whoever wrote the information system that asks.
    InformationSystem,
    /// The operator of the gateway that found the fault.
    Operator,
    /// The operator of the gateway at the other end.
    Peer,
    /// Whoever offers the service and grants rights to it.
    Provider,
    /// The authority of the instance, or one of its trust services.
    Authority,
}

/// Makes the table: the enum, the wire texts, who may mend each, and the list of all.
macro_rules! fault_codes {
    ($($leaf:ident $wire:literal $mender:ident $meaning:literal;)+) => {
        /// What went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Leaf {
            $(#[doc = concat!("`", $wire, "`: ", $meaning)] $leaf,)+
        }

        impl Leaf {
            /// Every leaf.
            pub const ALL: &[Self] = &[$(Self::$leaf),+];

            /// As written on the wire.
            pub const fn wire(self) -> &'static str {
                match self { $(Self::$leaf => $wire,)+ }
            }

            /// Who can do something about it.
            pub const fn mender(self) -> Mender {
                match self { $(Self::$leaf => Mender::$mender,)+ }
            }

            /// One sentence for the operator's table.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$leaf => $meaning,)+ }
            }
        }
    };
}

fault_codes! {
    // leaf                       wire text                            who may mend it    meaning
    InternalError                 "internal_error"                     Operator           "Something unexpected, or a request that X-Road answers with no better code.";
    IoError                       "io_error"                           Operator           "A connection broke, or ended too early.";
    NetworkError                  "network_error"                      Peer               "A host cannot be reached.";
    UnknownHost                   "unknown_host"                       Peer               "A host name has no address.";
    BadRequest                    "bad_request"                        InformationSystem  "The HTTP request is not one that may be passed on.";
    InvalidRequest                "invalid_request"                    InformationSystem  "The HTTP request is larger than the limits allow, or does not say whose description it wants.";

    InvalidClientIdentifier       "invalid_client_identifier"          InformationSystem  "The request does not say which client it comes from.";
    DuplicateHeaderField          "duplicate_header_field"             InformationSystem  "A header that may stand once stands twice.";
    UnknownMember                 "unknown_member"                     InformationSystem  "A client or a provider is not registered.";
    UnknownService                "unknown_service"                    InformationSystem  "The provider offers no such service.";
    ServiceType                   "service_type"                       InformationSystem  "The service speaks another protocol.";
    MissingHeader                 "missing_header"                     InformationSystem  "A SOAP message has no header.";
    MissingHeaderField            "missing_header_field"               InformationSystem  "A field of the SOAP header is missing.";
    MissingBody                   "missing_body"                       InformationSystem  "A SOAP message has no body.";
    InvalidBody                   "invalid_body"                       InformationSystem  "A SOAP body has not exactly one element.";
    InconsistentHeaders           "inconsistent_headers"               InformationSystem  "SOAP header and body ask for different services.";
    InvalidProtocolVersion        "invalid_protocol_version"           InformationSystem  "The version of the message protocol is not known.";
    InvalidSoapAction             "invalid_soap_action"                InformationSystem  "SOAPAction is not a URI in quotation marks.";
    InvalidSecurityServer         "invalid_security_server"            InformationSystem  "The gateway that the request asks for is not one of the provider's.";
    InvalidHttpMethod             "invalid_http_method"                InformationSystem  "This method is not served here.";

    AccessDenied                  "access_denied"                      Provider           "The client has no right to this service, or not to this endpoint.";
    ServiceDisabled               "service_disabled"                   Provider           "The provider has switched the service off for now.";
    HttpError                     "http_error"                         Provider           "The service answered with an HTTP error, not with a message.";
    ServiceMissingUrl             "service_missing_url"                Provider           "The service has no address.";
    ServiceMalformedUrl           "service_malformed_url"              Provider           "The service's address is no URL.";
    MaintenanceMode               "maintenance_mode"                   Provider           "The provider's gateway is being maintained.";

    SslAuthenticationFailed       "ssl_authentication_failed"          Operator           "Somebody on the other end of a connection is not who they must be.";
    ClientProxyVersionNotSupported "client_proxy_version_not_supported" Operator          "The consumer's gateway is too old for the provider's.";

    InvalidContentType            "invalid_content_type"               Peer               "A part of a message is not the one that comes next.";
    MimeParsingFailed             "mime_parsing_failed"                Peer               "A message is no well-formed multipart.";
    InvalidMessage                "invalid_message"                    Peer               "A message has more parts than it may, or was seen before.";
    MissingRest                   "missing_rest"                       Peer               "A message has no REST part.";
    MissingSoap                   "missing_soap"                       Peer               "There is no SOAP message where one must be.";
    MissingSignature              "missing_signature"                  Peer               "A message has no signature.";
    InvalidSoap                   "invalid_soap"                       Peer               "A SOAP message, or a fault, cannot be read.";
    InvalidXml                    "invalid_xml"                        Peer               "An XML document is not well-formed, or not valid.";
    InconsistentResponse          "inconsistent_response"              Peer               "The answer does not belong to the request.";

    InvalidSignatureValue         "invalid_signature_value"            Peer               "A signature does not fit what was signed.";
    MalformedSignature            "malformed_signature"                Peer               "A signature is not built as X-Road demands.";
    InvalidReference              "invalid_reference"                  Peer               "A signature refers to something else than the message.";
    InvalidHashChain              "invalid_hash_chain"                 Peer               "The result of a hash chain is another one.";
    MalformedHashChain            "malformed_hash_chain"               Peer               "A hash chain is not built as X-Road demands.";
    HashchainUnusedInputs         "hashchain_unused_inputs"            Peer               "A part of the message is not covered by the hash chain.";
    InvalidHashChainRef           "invalid_hash_chain_ref"             Peer               "A hash chain refers to a part that is not there.";
    UnsupportedAlgorithm          "unsupported_algorithm"              Peer               "An algorithm is unknown or too weak.";

    IncorrectCertificate          "incorrect_certificate"              Peer               "A certificate is not that of the member that sends.";
    WrongCertUsage                "wrong_cert_usage"                   Peer               "A certificate is made for another use.";
    CertValidation                "cert_validation"                    Peer               "A certificate is not valid: its time, or its status.";
    CannotCreateCertPath          "cannot_create_cert_path"            Peer               "A certificate does not lead to an approved authority.";
    IncorrectValidationInfo       "incorrect_validation_info"          Authority          "An OCSP response is not one that proves anything.";

    CannotCreateSignature         "cannot_create_signature"            Operator           "No signature can be made: no usable key, certificate or OCSP response.";
    CannotSign                    "cannot_sign"                        Operator           "The key store refuses to sign.";
    LoggingFailed                 "logging_failed"                     Operator           "The evidence cannot be made durable.";
    TimestampingFailed            "timestamping_failed"                Operator           "Time-stamps have been failing for longer than is acceptable.";

    GlobalConfOutdated            "global_conf_outdated"               Authority          "The global configuration has expired.";
    MalformedGlobalConf           "malformed_global_conf"              Authority          "There is no global configuration that can be read.";
}

/// A code: `server.serverproxy.service_failed.network_error` is side, scopes and leaf.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FaultCode {
    side: Option<Side>,
    /// The innermost first.
    scopes: Vec<Scope>,
    leaf: Leaf,
}

impl FaultCode {
    pub(super) const fn new(leaf: Leaf) -> Self {
        Self { side: None, scopes: Vec::new(), leaf }
    }

    /// What went wrong.
    pub const fn leaf(&self) -> Leaf {
        self.leaf
    }

    /// Where; none before a door has said it.
    pub const fn side(&self) -> Option<Side> {
        self.side
    }

    pub(super) fn push_scope(&mut self, scope: Scope) {
        let outermost = self.scopes.last().map_or_else(|| self.leaf.wire(), |scope| scope.wire());
        if outermost != scope.wire() {
            self.scopes.push(scope);
        }
    }

    pub(super) fn set_side(&mut self, side: Side) {
        self.side.get_or_insert(side);
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(side) = self.side {
            write!(f, "{}.", side.wire())?;
        }
        for scope in self.scopes.iter().rev() {
            write!(f, "{}.", scope.wire())?;
        }
        f.write_str(self.leaf.wire())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn wire_texts_are_unique_and_fit_a_header() {
        let texts: HashSet<_> = Leaf::ALL.iter().map(|leaf| leaf.wire()).collect();
        assert_eq!(texts.len(), Leaf::ALL.len());
        for text in texts {
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
        }
    }

    #[test]
    fn every_meaning_is_a_sentence() {
        for leaf in Leaf::ALL {
            assert!(leaf.meaning().ends_with('.') && leaf.meaning().len() > 20, "{leaf:?}");
        }
    }
}
