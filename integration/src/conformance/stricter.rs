//! Where ours is another outcome than the recorded one, on purpose: what is then seen, and why.

/// One case in which we differ on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stricter {
    /// The case.
    pub case: &'static str,
    /// What is seen instead, exactly.
    pub seen: &'static str,
    /// Why that is right.
    pub reason: &'static str,
}

/// All of them. A case that stands here and is as recorded is wrong, too: the list would say what is not so.
pub const STRICTER: &[Stricter] = &[
    Stricter {
        case: "rest-client-twice",
        seen: "consumer sends nothing; consumer answers 500: server.clientproxy.duplicate_header_field",
        reason: "which of two clients asks would be the reader's choice (T07)",
    },
    Stricter {
        case: "rest-get-dot-segments",
        seen: "provider answers server.serverproxy.access_denied; provider does not call the service; \
               consumer sends nothing; consumer answers 400: server.clientproxy.bad_request",
        reason: "one path with two readings; rights must not be decided on one and the service called with \
               the other (T18)",
    },
    Stricter {
        case: "rest-get-dot-encoded",
        seen: "provider answers server.serverproxy.access_denied; provider does not call the service; \
               consumer sends nothing; consumer answers 400: server.clientproxy.bad_request",
        reason: "one path with two readings (T18)",
    },
    Stricter {
        case: "rest-get-encoded-slash",
        seen: "provider answers server.serverproxy.access_denied; provider does not call the service; \
               consumer sends nothing; consumer answers 400: server.clientproxy.bad_request",
        reason: "one path with two readings (T18)",
    },
    Stricter {
        case: "rest-get-lowercase-escape",
        seen: "provider answers server.serverproxy.access_denied; provider does not call the service; \
               consumer sends nothing; consumer answers 400: server.clientproxy.bad_request",
        reason: "one path with two readings: its %2f (T18)",
    },
    Stricter {
        case: "soap-answer-requesthash-oneline",
        seen: "provider signs without [\"Zm9v\"]",
        reason: "a hash that the service has put into its answer is taken out whole; the original leaves its text \
               behind (XROAD-FACTS 7.13)",
    },
    Stricter {
        case: "soap-attach-nested",
        seen: "consumer signs attachments [\"content-type:multipart/mixed; boundary=INNER\", \"64 bytes, \
               93175aa7823aaaf4be27b96fc9416481602c033f222e7b2d153aa32c1f4f337b\"] instead of \
               [\"content-type:text/plain\", \"x-in:1\", \"5 bytes, \
               33bf6fbd7cd8379785a21e233d8e09f824e7bab459168a96312c1c882c1d7e1f\"]",
        reason: "an attachment that is itself multipart is passed on as it is; the original takes it apart and passes \
               on what was inside",
    },
    Stricter {
        case: "soap-error-multipart-broken",
        seen: "consumer sends nothing; consumer answers 200: client.mime_parsing_failed",
        reason: "a message that is cut short is not sent on",
    },
    Stricter {
        case: "rest-error-provider-no-address",
        seen: "provider answers server.serverproxy.service_malformed_url",
        reason: "refused, too; settings without an address are not taken up, so the empty one is faulty",
    },
    Stricter {
        case: "rest-answer-deflate",
        seen: "provider signs also [\"content-encoding:deflate\"]; provider signs a body of 21 bytes instead \
               of 13 bytes",
        reason: "bytes of an answer are signed and passed on as the service wrote them; a coding is not \
               undone (XROAD-FACTS 7.4)",
    },
    Stricter {
        case: "rest-answer-set-cookie-twice",
        seen: "provider asks without [\"cookie:a=1\"]",
        reason: "nothing of an earlier answer may reach another request (XROAD-FACTS 7.7)",
    },
    Stricter {
        case: "rest-cookie-after-set-cookie",
        seen: "provider asks without [\"cookie:a=1; b=2\"]",
        reason: "nothing of an earlier answer may reach another request (XROAD-FACTS 7.7)",
    },
    Stricter {
        case: "rest-cookie-after-set-cookie-own",
        seen: "provider asks without [\"cookie:a=1; b=2\"]",
        reason: "nothing of an earlier answer may reach another request (XROAD-FACTS 7.7)",
    },
    Stricter {
        case: "altered-request-added-body",
        seen: "provider answers server.serverproxy.signature_verification.malformed_signature; provider \
               does not call the service",
        reason: "a part that the signature does not cover is refused before anything is forwarded \
               (XROAD-FACTS 7.8)",
    },
    Stricter {
        case: "altered-request-chain",
        seen: "provider answers \
               server.serverproxy.signature_verification.malformed_signature.invalid_hash_chain_ref; \
               provider does not call the service",
        reason: "a digest in a hash chain must be that of its part (XROAD-FACTS 7.9)",
    },
    Stricter {
        case: "altered-request-bad-ocsp-part",
        seen: "provider answers server.serverproxy.service_failed.ssl_authentication_failed",
        reason: "refused, too; the recording had no TLS, with TLS the part must prove that the peer's \
               certificate is good",
    },
    Stricter {
        case: "altered-request-message-no-client",
        seen: "provider answers server.serverproxy.service_failed.invalid_client_identifier",
        reason: "refused, too; who asks must be known before anything is judged",
    },
    Stricter {
        case: "altered-request-message-no-request-id",
        seen: "provider answers server.serverproxy.service_failed.internal_error",
        reason: "refused, too; every message part has the header, so it is missed when the part is read",
    },
    Stricter {
        case: "altered-request-no-request-id",
        seen: "provider does not call the service",
        reason: "refused, too, but before the service is called",
    },
    Stricter {
        case: "altered-request-other-request-id",
        seen: "provider answers server.serverproxy.internal_error; provider does not call the service",
        reason: "one exchange has one id; refused before the service is called, not when its answer has come \
               back",
    },
    Stricter {
        case: "altered-response-truncated",
        seen: "consumer answers 500: server.clientproxy.service_failed.mime_parsing_failed",
        reason: "refused, too; a message that is cut short is not believed, whatever of it could be read",
    },
];
