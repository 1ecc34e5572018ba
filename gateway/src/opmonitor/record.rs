//! The record of an exchange, and its fields as X-Road names them.
//!
//! Specification: Operational Monitoring Protocol (PR-OPMON) 1.7, annex B. Not here: who fills it
//! ([`super::observation`]), where it is kept (`store`).

use std::fmt::Display;
use std::io::Write as _;

use cert_authority::clock::UnixTime;
use conf::identifier::{ClientId, ServiceId};

use crate::message::Protocol;
use crate::message::header::RepresentedParty;

/// The fields of a record, in alphabetical order.
pub const FIELDS: [&str; 40] = [
    "clientMemberClass",
    "clientMemberCode",
    "clientSecurityServerAddress",
    "clientSubsystemCode",
    "clientXRoadInstance",
    "faultCode",
    "faultString",
    "messageId",
    "messageIssue",
    "messageProtocolVersion",
    "messageUserId",
    "monitoringDataTs",
    "representedPartyClass",
    "representedPartyCode",
    "requestAttachmentCount",
    "requestInTs",
    "requestMimeSize",
    "requestOutTs",
    "requestSize",
    "responseAttachmentCount",
    "responseInTs",
    "responseMimeSize",
    "responseOutTs",
    "responseSize",
    "restMethod",
    "restPath",
    "securityServerInternalIp",
    "securityServerType",
    "serviceCode",
    "serviceMemberClass",
    "serviceMemberCode",
    "serviceSecurityServerAddress",
    "serviceSubsystemCode",
    "serviceType",
    "serviceVersion",
    "serviceXRoadInstance",
    "statusCode",
    "succeeded",
    "xRequestId",
    "xRoadVersion",
];

/// The longest text of a field, and of `faultString`, in characters.
const LONGEST_TEXT: usize = 255;
const LONGEST_FAULT: usize = 2048;

/// On which side of the exchange the gateway was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerType {
    /// The consumer's.
    Client,
    /// The provider's.
    Producer,
}

impl ServerType {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "Client",
            Self::Producer => "Producer",
        }
    }
}

/// How long a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the message part.
    pub message: u64,
    /// Bytes of what follows it.
    pub attached: u64,
    /// How many attachments there are.
    pub attachments: u64,
}

/// What was asked: of a request that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The protocol.
    pub protocol: Protocol,
    /// Whether the service is described by OpenAPI, as far as we know.
    pub described: bool,
    /// Who asks.
    pub client: ClientId,
    /// What is asked for.
    pub service: ServiceId,
    /// The id of the message.
    pub message_id: String,
    /// The id of this one exchange.
    pub request_id: String,
    /// The user on whose behalf the information system asks.
    pub user_id: Option<String>,
    /// What the request is about.
    pub issue: Option<String>,
    /// On whose behalf the client asks.
    pub represented_party: Option<RepresentedParty>,
    /// The method, of REST.
    pub method: Option<&'static str>,
    /// The path below the service, of REST; only the provider notes it.
    pub path: Option<String>,
}

/// The record of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeRecord {
    /// On which side it was made.
    pub server_type: ServerType,
    /// When the request had come in.
    pub request_in: UnixTime,
    /// When it was about to go out.
    pub request_out: Option<UnixTime>,
    /// When the answer had come in.
    pub response_in: Option<UnixTime>,
    /// When it, or a fault, was about to go out.
    pub response_out: Option<UnixTime>,
    /// What was asked; nothing of a request that could not be read.
    pub asked: Option<Asked>,
    /// The address of the consumer's server in the global configuration.
    pub client_address: Option<String>,
    /// That of the provider's.
    pub service_address: Option<String>,
    /// How long the request is.
    pub request: Option<Size>,
    /// How long the answer is.
    pub response: Option<Size>,
    /// The status of the answer, of REST.
    pub status: Option<u16>,
    /// Whether an answer was given that is none of an error.
    pub succeeded: bool,
    /// Code and text of the fault.
    pub fault: Option<(String, String)>,
}

impl ExchangeRecord {
    /// A record of which only the beginning is known.
    pub const fn new(server_type: ServerType, request_in: UnixTime) -> Self {
        Self {
            server_type,
            request_in,
            request_out: None,
            response_in: None,
            response_out: None,
            asked: None,
            client_address: None,
            service_address: None,
            request: None,
            response: None,
            status: None,
            succeeded: false,
            fault: None,
        }
    }

    /// Milliseconds from the request to the answer.
    pub fn duration(&self) -> Option<u64> {
        let duration = self.response_out?.as_millis().saturating_sub(self.request_in.as_millis());
        Some(u64::try_from(duration).unwrap_or(0))
    }

    /// Bytes of a message of this exchange: of REST its body counts, of SOAP its attachments do not.
    pub fn message_size(&self, size: Option<Size>) -> Option<u64> {
        let Size { message, attached, .. } = size?;
        Some(if self.is_soap() { message } else { message.saturating_add(attached) })
    }

    fn is_soap(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.protocol == Protocol::Soap)
    }

    /// Writes the fields, but for `monitoringDataTs`, as those of a JSON object that follow others; `internal_ip` is our own
    /// address in our own network.
    pub fn write_fields(&self, internal_ip: &str, out: &mut Vec<u8>) {
        let mut fields = Fields(out);
        fields.text("securityServerInternalIp", Some(internal_ip));
        fields.text("securityServerType", Some(self.server_type.as_str()));
        fields.time("requestInTs", Some(self.request_in));
        fields.time("requestOutTs", self.request_out);
        fields.time("responseInTs", self.response_in);
        fields.time("responseOutTs", self.response_out);
        if let Some(asked) = &self.asked {
            fields.asked(asked);
        }
        fields.text("clientSecurityServerAddress", self.client_address.as_deref());
        fields.text("serviceSecurityServerAddress", self.service_address.as_deref());
        let request = ["requestSize", "requestAttachmentCount", "requestMimeSize"];
        let response = ["responseSize", "responseAttachmentCount", "responseMimeSize"];
        for ([of_message, of_attachments, of_all], size) in
            [(request, self.request), (response, self.response)]
        {
            fields.number(of_message, self.message_size(size));
            let attachments = size.map(|size| if self.is_soap() { size.attachments } else { 0 });
            fields.number(of_attachments, attachments);
            let whole = size.filter(|_| attachments.is_some_and(|count| count > 0));
            let whole = whole.map(|size| size.message.saturating_add(size.attached));
            fields.number(of_all, whole);
        }
        fields.number("statusCode", self.status.map(u64::from));
        fields.plain("succeeded", self.succeeded);
        if let Some((code, text)) = &self.fault {
            fields.text("faultCode", Some(code));
            fields.string("faultString", shortened(text, LONGEST_FAULT));
        }
        fields.text("xRoadVersion", Some(super::XROAD_VERSION));
    }
}

/// Writes fields where others have been written before.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(name, shortened(value, LONGEST_TEXT));
        }
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.plain(name, value);
        }
    }

    fn time(&mut self, name: &str, value: Option<UnixTime>) {
        self.number(name, value.and_then(|time| u64::try_from(time.as_millis()).ok()));
    }

    /// A value that is the same in JSON. Writing to memory never fails.
    fn plain(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, ",\"{name}\":{value}");
    }

    fn string(&mut self, name: &str, value: &str) {
        let _ = write!(self.0, ",\"{name}\":");
        let _ = serde_json::to_writer(&mut *self.0, value);
    }

    fn asked(&mut self, asked: &Asked) {
        let (client, service) = (&asked.client, &asked.service);
        self.text("clientXRoadInstance", Some(client.instance()));
        self.text("clientMemberClass", Some(client.member().class()));
        self.text("clientMemberCode", Some(client.member().code()));
        self.text("clientSubsystemCode", client.subsystem());
        let provider = service.client();
        self.text("serviceXRoadInstance", Some(provider.instance()));
        self.text("serviceMemberClass", Some(provider.member().class()));
        self.text("serviceMemberCode", Some(provider.member().code()));
        self.text("serviceSubsystemCode", provider.subsystem());
        self.text("serviceCode", Some(service.code()));
        self.text("serviceVersion", service.version());
        if let Some(party) = &asked.represented_party {
            self.text("representedPartyClass", party.class.as_deref());
            self.text("representedPartyCode", Some(&party.code));
        }
        self.text("messageId", Some(&asked.message_id));
        self.text("messageUserId", asked.user_id.as_deref());
        self.text("messageIssue", asked.issue.as_deref());
        self.text("messageProtocolVersion", Some(protocol_version(asked.protocol)));
        self.text("serviceType", Some(asked.service_type()));
        self.text("xRequestId", Some(&asked.request_id));
        self.text("restMethod", asked.method);
        self.text("restPath", asked.path.as_deref());
    }
}

const fn protocol_version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rest => "1",
        Protocol::Soap => "4.0",
    }
}

impl Asked {
    /// The type of the service, as X-Road names it.
    pub const fn service_type(&self) -> &'static str {
        match self.protocol {
            Protocol::Rest if self.described => "OPENAPI3",
            Protocol::Rest => "REST",
            Protocol::Soap => "WSDL",
        }
    }
}

/// The text, no longer than so many characters.
fn shortened(text: &str, longest: usize) -> &str {
    if text.len() <= longest {
        return text;
    }
    text.char_indices().nth(longest).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Map, Value};

    use super::*;

    impl ExchangeRecord {
        fn fields(&self, internal_ip: &str) -> Map<String, Value> {
            let mut line = b"{\"first\":0".to_vec();
            self.write_fields(internal_ip, &mut line);
            line.push(b'}');
            let mut fields: Map<String, Value> = serde_json::from_slice(&line).unwrap();
            assert_eq!(fields.remove("first"), Some(0.into()));
            fields
        }
    }

    pub(crate) fn full(protocol: Protocol) -> ExchangeRecord {
        let at = |millis| Some(UnixTime::from_millis(millis));
        ExchangeRecord {
            request_out: at(11),
            response_in: at(12),
            response_out: at(52),
            asked: Some(Asked {
                protocol,
                described: false,
                client: "DEMO/GOV/1001/portal".parse().unwrap(),
                service: ServiceId::new("DEMO/GOV/2002/registry".parse().unwrap(), "get", Some("v1"))
                    .unwrap(),
                message_id: "m-1".to_owned(),
                request_id: "r-1".to_owned(),
                user_id: Some("EE1".to_owned()),
                issue: Some("7".to_owned()),
                represented_party: Some(RepresentedParty { class: Some("COM".into()), code: "9".into() }),
                method: Some("GET"),
                path: Some("/a".to_owned()),
            }),
            client_address: Some("one".to_owned()),
            service_address: Some("two".to_owned()),
            request: Some(Size { message: 100, attached: 20, attachments: 1 }),
            response: Some(Size { message: 30, attached: 0, attachments: 0 }),
            status: Some(200),
            fault: Some(("server.x".to_owned(), "é".repeat(3000))),
            ..ExchangeRecord::new(ServerType::Producer, UnixTime::from_millis(10))
        }
    }

    #[test]
    fn a_full_record_has_each_field_of_the_protocol_and_no_other() {
        let mut record = full(Protocol::Soap);
        record.response = record.request;
        let fields = record.fields("10.0.0.1");
        let names: BTreeSet<&str> = fields.keys().map(String::as_str).chain(["monitoringDataTs"]).collect();
        assert_eq!(names, FIELDS.into_iter().collect());
        assert!(FIELDS.is_sorted());
    }

    #[test]
    fn sizes_are_those_of_the_protocol() {
        let rest = full(Protocol::Rest).fields("0.0.0.0");
        assert_eq!((&rest["requestSize"], &rest["requestAttachmentCount"]), (&120.into(), &0.into()));
        assert!(!rest.contains_key("requestMimeSize"));
        assert_eq!(rest["serviceType"], "REST");
        let mut described = full(Protocol::Rest);
        described.asked.as_mut().unwrap().described = true;
        assert_eq!(described.fields("0.0.0.0")["serviceType"], "OPENAPI3");
        let soap = full(Protocol::Soap).fields("0.0.0.0");
        assert_eq!((&soap["requestSize"], &soap["requestAttachmentCount"]), (&100.into(), &1.into()));
        assert_eq!(soap["requestMimeSize"], 120);
        assert!(!soap.contains_key("responseMimeSize"), "no attachment, no size of the whole");
    }

    #[test]
    fn long_texts_are_cut_where_the_schema_ends_them() {
        let mut record = full(Protocol::Rest);
        let asked = record.asked.as_mut().unwrap();
        (asked.path, asked.issue) = (Some("/".repeat(400)), Some("a \"quoted\"\n line \\".to_owned()));
        let fields = record.fields("0.0.0.0");
        assert_eq!(fields["messageIssue"], "a \"quoted\"\n line \\");
        assert_eq!(fields["restPath"].as_str().unwrap().len(), 255);
        assert_eq!(fields["faultString"].as_str().unwrap().chars().count(), 2048);
    }

    #[test]
    fn a_request_that_could_not_be_read_has_a_record_without_parties() {
        let mut record = ExchangeRecord::new(ServerType::Client, UnixTime::from_millis(1));
        record.fault = Some(("client.bad".to_owned(), "t".to_owned()));
        let fields = record.fields("0.0.0.0");
        assert_eq!((&fields["succeeded"], &fields["faultCode"]), (&false.into(), &"client.bad".into()));
        assert!(!fields.keys().any(|name| name.starts_with("client") || name.starts_with("service")));
        assert_eq!(record.duration(), None);
        assert_eq!(full(Protocol::Rest).duration(), Some(42));
    }
}
