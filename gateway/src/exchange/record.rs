//! What of an exchange is logged: its messages, and how it ended when it has no signed answer.

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::digest;
use conf::identifier::{ClientId, ServerId};
use conf::snapshot::GlobalConf;

use super::attached::Attachment;
use super::ports::{FarEnd, Gateway};
use crate::evidence::signature::SignatureBundle;
use crate::fault::{Fault, REFUSED};
use crate::message::digests::PartDigests;
use crate::message::{MessagePart, Protocol, Request};
use crate::messagelog::record::{Circumstances, Outcome, OutcomeRecord};
use crate::messagelog::{LogError, LogStore as _, Logged, MessageRecord, Part, Record, Role, SealedBody};
use crate::opmonitor::record::Size;
use crate::serverconf::ServerConf;

/// What all records of one exchange have in common; borrowed from the story.
pub struct Exchange<'a> {
    /// Our gateway.
    pub gateway: &'a Gateway,
    /// The global configuration that decides.
    pub conf: &'a GlobalConf,
    /// Our settings that decide.
    pub local: &'a ServerConf,
    /// On which side we are.
    pub role: Role,
    /// The request.
    pub request: &'a Request,
    /// The gateway on the other side.
    pub far_end: &'a FarEnd,
}

/// One message of it.
pub struct Message<'a> {
    /// The message part.
    pub part: MessagePart<'a>,
    /// What followed it.
    pub attachments: &'a [Attachment],
    /// Digests of all parts.
    pub digests: &'a PartDigests,
    /// The signature.
    pub signature: &'a SignatureBundle,
    /// When it began to come or go.
    pub began: UnixTime,
    /// When its signer says to have signed it.
    pub signed_at: Option<UnixTime>,
    /// The OCSP responses beside it, for the TLS certificates of the gateway that sent it.
    pub ocsp_responses: &'a [Bytes],
}

impl<'a> Message<'a> {
    /// A message with this signature.
    pub const fn of(
        part: MessagePart<'a>,
        attachments: &'a [Attachment],
        digests: &'a PartDigests,
        signature: &'a SignatureBundle,
        began: UnixTime,
    ) -> Self {
        Self { part, attachments, digests, signature, began, signed_at: None, ocsp_responses: &[] }
    }

    /// Signed by us; these OCSP responses went beside it.
    #[must_use]
    pub fn sent(self, ocsp_responses: &'a [Bytes]) -> Self {
        Self { signed_at: self.signature.stated_time(), ocsp_responses, ..self }
    }

    /// Signed by the other side then, as it says; these OCSP responses came beside it.
    #[must_use]
    pub const fn came(self, signed_at: Option<UnixTime>, ocsp_responses: &'a [Bytes]) -> Self {
        Self { signed_at, ocsp_responses, ..self }
    }

    /// How long it is.
    pub fn size(&self) -> Size {
        let bytes = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        Size {
            message: bytes(self.part.content.len()),
            attached: self.attachments.iter().map(|attachment| attachment.body.length()).sum(),
            attachments: bytes(self.attachments.len()),
        }
    }
}

impl<'a> Exchange<'a> {
    /// By the configuration and the settings that decide.
    pub fn new(
        gateway: &'a Gateway,
        (conf, local): (&'a GlobalConf, &'a ServerConf),
        role: Role,
        request: &'a Request,
        far_end: &'a FarEnd,
    ) -> Self {
        Self { gateway, conf, local, role, request, far_end }
    }

    /// Logs the request: `proven` comes back as logged.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn log_request<M: Send>(
        &self,
        proven: M,
        message: &Message<'_>,
    ) -> Result<Logged<M>, LogError> {
        let (record, contents) = self.record(message, None).await?;
        self.gateway.log.append_request(proven, record, contents).await
    }

    /// Logs the answer to the request with this number.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn log_response<M: Send>(
        &self,
        proven: M,
        message: &Message<'_>,
        request: u64,
    ) -> Result<Logged<M>, LogError> {
        let (record, contents) = self.record(message, Some(request)).await?;
        self.gateway.log.append_response(proven, record, contents).await
    }

    /// The record, and the sealed contents of the parts in their order. Whether a body is kept is for the settings to
    /// say; SOAP has one in its message part, REST has none there.
    async fn record(
        &self,
        message: &Message<'_>,
        answers: Option<u64>,
    ) -> Result<(MessageRecord, Vec<Option<SealedBody>>), LogError> {
        let request = self.request.header();
        let mut record = MessageRecord::new(
            self.role,
            request.message_id.as_str(),
            self.request.request_id(),
            request.client.clone(),
            request.service.clone(),
            message.signature.signature_xml.clone(),
        );
        record.hash_chain_result.clone_from(&message.signature.hash_chain_result);
        record.hash_chain.clone_from(&message.signature.hash_chain);
        record.user_id.clone_from(&request.user_id);
        record.issue.clone_from(&request.issue);
        record.represented_party = request.represented_party.as_ref().map(|party| match &party.class {
            Some(class) => format!("{class}/{}", party.code),
            None => party.code.clone(),
        });
        record.own_server = Some(self.gateway.server.clone());
        record.peer_server = Some(self.far_end.server.clone());
        record.request = answers;
        record.began = Some(message.began);
        record.signed_at = message.signed_at;
        record.ocsp_responses = message.ocsp_responses.to_vec();
        record.circumstances = Circumstances {
            global_configuration: Some(*self.conf.digest()),
            local_configuration: Some(self.local.digest()),
            tls_group: self.far_end.agreed.group.clone(),
            tls_suite: self.far_end.agreed.suite.clone(),
            ..Circumstances::default()
        };
        let MessagePart { content_type, content, .. } = message.part;
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        record.parts.push(Part::new(content_type, length, message.digests.message));
        let keeps = self.local.keeps_bodies_of(&request.client, request.service.client());
        let whole = keeps || self.request.protocol() == Protocol::Rest;
        let vault = self.gateway.log.vault().keyed(self.own()).await?;
        let mut contents = vec![whole.then(|| vault.seal(content)).transpose()?];
        for (Attachment { head, body }, digest) in
            message.attachments.iter().zip(&message.digests.attachments)
        {
            record.parts.push(Part::new(head.media_type(), body.length(), *digest));
            contents.push(Some(body.clone()).filter(|_| keeps));
        }
        Ok((record, contents))
    }

    /// Our own party to the exchange.
    fn own(&self) -> &ClientId {
        match self.role {
            Role::Consumer => &self.request.header().client,
            Role::Provider => self.request.header().service.client(),
        }
    }
}

/// Who is at the other end of an exchange, as far as it is known when it fails.
#[derive(Debug, Default)]
pub struct About {
    /// Address and port that the request came from.
    pub address: String,
    /// The certificate that the sender has shown, DER; believed or not.
    pub certificate: Option<Bytes>,
    /// The gateway on the other side, as authenticated.
    pub peer: Option<ServerId>,
    /// For whom the request says that it is, proven or not, and its id.
    pub client: Option<(ClientId, String)>,
}

impl About {
    /// What was asked.
    pub fn asked(&mut self, request: &Request) {
        let header = request.header();
        self.client = Some((header.client.clone(), header.message_id.clone()));
    }
}

/// The audit line of an exchange that failed: who, which code, and the id by which whoever was refused asks about it.
/// Bodies, headers and paths are in the message log, encrypted, not here; what others have written is cut short.
pub fn tell(side: &'static str, about: &About, fault: &Fault) {
    let certificate = about.certificate.as_ref().filter(|_| about.peer.is_none());
    let certificate = certificate.map(|der| digest(DigestAlgorithm::Sha256, der).hex());
    let peer = about.peer.as_ref().map(ToString::to_string);
    tracing::warn!(
        target: REFUSED,
        side,
        from = about.address,
        peer = peer.as_deref().map(short),
        certificate,
        client = about.client.as_ref().map(|(client, _)| short(&client.to_string())),
        message_id = about.client.as_ref().map(|(_, id)| short(id)),
        id = short(fault.id()),
        code = short(&fault.code()),
        text = short(fault.text()),
        "exchange failed"
    );
}

/// At most this many characters of what others have written go into a line.
const SHORT: usize = 200;

fn short(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What must be noted when an exchange fails whose request is logged.
#[derive(Debug, Default)]
pub struct Progress {
    /// Number of the request's record, and its message id.
    pub logged: Option<(u64, String)>,
    /// Whether the other side may have acted without our knowing how it ended.
    pub in_doubt: bool,
    /// Who is at the other end.
    pub about: About,
}

impl Progress {
    /// An exchange begins that was asked for from this address, with this certificate.
    pub fn asked_from(address: &str, certificate: Option<&Bytes>) -> Self {
        let about =
            About { address: address.to_owned(), certificate: certificate.cloned(), ..About::default() };
        Self { about, ..Self::default() }
    }

    /// The request is logged.
    pub fn logged<M>(&mut self, logged: &Logged<M>, request: &Request, in_doubt: bool) {
        self.logged = Some((logged.sequence(), request.header().message_id.clone()));
        self.in_doubt = in_doubt;
    }

    /// Notes in the log how the exchange ended. That this fails is told, but changes nothing: the fault is on its way.
    pub async fn conclude(&self, gateway: &Gateway, fault: &Fault) {
        let Some((request, message_id)) = &self.logged else { return };
        let record = Record::Outcome(OutcomeRecord {
            request: *request,
            message_id: message_id.clone(),
            outcome: if self.in_doubt { Outcome::InDoubt } else { Outcome::Fault },
            fault_code: Some(fault.code()),
            fault_text: Some(fault.text().to_owned()),
            status: Some(u64::from(fault.http_status())),
        });
        if let Err(error) = gateway.log.append(record, Vec::new()).await {
            tracing::error!(request, %error, "the outcome of an exchange could not be logged");
        }
    }
}
