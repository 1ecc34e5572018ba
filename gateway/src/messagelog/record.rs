//! What is logged: the kinds of records and all their fields.
//!
//! Specification: X-Road's message log keeps message, signature, hash chain and time-stamp; the further fields are
//! ours, and there from the first day so that an earlier period can be shown to be complete. FORMAT.md has the bytes.
//!
//! Not here: where a record stands (the frame's head, [`super::frame`]), bodies ([`super::body`]).

use bytes::Bytes;
use cert_authority::{clock::UnixTime, crypto::Digest};
use conf::identifier::{ClientId, MemberId, ServerId, ServiceId};

use super::encoding::{Reader, Unreadable, Writer};

mod archive;

pub use archive::ArchiveRecord;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A request that was signed by us or by a peer.
    Request,
    /// The answer to one.
    Response,
    /// How an exchange ended that has no signed answer.
    Outcome,
    /// A time-stamp over earlier records.
    Timestamp,
    /// A signed head of the tree.
    Checkpoint,
    /// A configuration that came into force.
    Configuration,
    /// Somebody read the log.
    Access,
    /// Messages went into an archive.
    Archive,
}

impl Kind {
    /// Its number in the bytes.
    pub const fn code(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
            Self::Outcome => 3,
            Self::Timestamp => 4,
            Self::Checkpoint => 5,
            Self::Configuration => 6,
            Self::Access => 7,
            Self::Archive => 8,
        }
    }

    /// The kind with this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Outcome,
            4 => Self::Timestamp,
            5 => Self::Checkpoint,
            6 => Self::Configuration,
            7 => Self::Access,
            8 => Self::Archive,
            _ => return None,
        })
    }

    /// Whether it is a signed message, which gets a time-stamp.
    pub const fn is_message(self) -> bool {
        matches!(self, Self::Request | Self::Response)
    }
}

/// On which side of the exchange the record was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The gateway of the consumer.
    Consumer,
    /// The gateway of the provider.
    Provider,
}

/// Anything that is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A signed request.
    Request(MessageRecord),
    /// A signed response.
    Response(MessageRecord),
    /// The end of an exchange without a signed response.
    Outcome(OutcomeRecord),
    /// A time-stamp.
    Timestamp(TimestampRecord),
    /// A checkpoint.
    Checkpoint(CheckpointRecord),
    /// A configuration.
    Configuration(ConfigurationRecord),
    /// A reading of the log.
    Access(AccessRecord),
    /// An archive.
    Archive(ArchiveRecord),
}

/// A signed message, request or response. Who makes it: the exchange, when the signature is made or verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Which side we are.
    pub role: Role,
    /// `X-Road-Id`: the query.
    pub message_id: String,
    /// `X-Road-Request-Id`: this transport of it.
    pub request_id: String,
    /// Who acts for the client, as it says.
    pub user_id: Option<String>,
    /// File, case or permit the query belongs to.
    pub issue: Option<String>,
    /// Whom the client represents.
    pub represented_party: Option<String>,
    /// The client.
    pub client: ClientId,
    /// The service.
    pub service: ServiceId,
    /// Our server.
    pub own_server: Option<ServerId>,
    /// The server on the other side, as authenticated.
    pub peer_server: Option<ServerId>,
    /// Of a response: the number of its request's record.
    pub request: Option<u64>,
    /// When the first byte came or went.
    pub began: Option<UnixTime>,
    /// The signing time that the signature claims.
    pub signed_at: Option<UnixTime>,
    /// `META-INF/signatures.xml`, byte for byte.
    pub signature: Bytes,
    /// The hash chain result, byte for byte; what was signed when there is one.
    pub hash_chain_result: Option<Bytes>,
    /// The hash chain, byte for byte.
    pub hash_chain: Option<Bytes>,
    /// OCSP responses that came beside the message (DER); those of the signer are in the signature.
    pub ocsp_responses: Vec<Bytes>,
    /// The message part first, then body or attachments.
    pub parts: Vec<Part>,
    /// What else decided the exchange; empty until used.
    pub circumstances: Circumstances,
}

impl MessageRecord {
    /// A record with what every message has; the rest is empty.
    pub fn new(
        role: Role,
        message_id: impl Into<String>,
        request_id: impl Into<String>,
        client: ClientId,
        service: ServiceId,
        signature: Bytes,
    ) -> Self {
        Self {
            role,
            message_id: message_id.into(),
            request_id: request_id.into(),
            user_id: None,
            issue: None,
            represented_party: None,
            client,
            service,
            own_server: None,
            peer_server: None,
            request: None,
            began: None,
            signed_at: None,
            signature,
            hash_chain_result: None,
            hash_chain: None,
            ocsp_responses: Vec::new(),
            parts: Vec::new(),
            circumstances: Circumstances::default(),
        }
    }
}

/// What lawful exchange needs to know later about why and how bytes went where they went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Digest of the global configuration that decided.
    pub global_configuration: Option<Digest>,
    /// Digest of our own configuration that decided.
    pub local_configuration: Option<Digest>,
    /// Purpose code.
    pub purpose: Option<String>,
    /// Agreement under which the data went.
    pub agreement: Option<String>,
    /// Digest of the jurisdiction statement of the server that bytes went to.
    pub jurisdiction: Option<Digest>,
    /// Class of the data.
    pub data_class: Option<String>,
    /// What the policy decided and by which rule.
    pub policy_decision: Option<String>,
    /// Group of the TLS key exchange with the peer.
    pub tls_group: Option<String>,
    /// TLS cipher suite with the peer.
    pub tls_suite: Option<String>,
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Media type.
    pub media_type: String,
    /// Bytes of plain text.
    pub length: u64,
    /// Digest of the plain text as it was signed.
    pub digest: Digest,
    /// The encrypted content, when it is kept. The log fills this in.
    pub stored: Option<Stored>,
}

impl Part {
    /// A part whose content is not (yet) stored.
    pub fn new(media_type: impl Into<String>, length: u64, digest: Digest) -> Self {
        Self { media_type: media_type.into(), length, digest, stored: None }
    }
}

/// Where the encrypted content of a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 of the encrypted content; its name too.
    pub ciphertext: [u8; 32],
    /// Its length.
    pub length: u64,
    /// The data key it was encrypted with.
    pub key: String,
    /// Where.
    pub place: Place,
}

/// Where an encrypted content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a blob chunk of the segment, just before the frame.
    Chunk,
    /// In a file of the body directory, named by its digest.
    File,
}

/// How an exchange ended that has no signed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeRecord {
    /// The number of the request's record.
    pub request: u64,
    /// The id of the query, to find it by.
    pub message_id: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The fault code.
    pub fault_code: Option<String>,
    /// The fault's text.
    pub fault_text: Option<String>,
    /// HTTP status that was answered.
    pub status: Option<u64>,
}

/// What came of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The answer was delivered.
    Success,
    /// A fault was answered.
    Fault,
    /// It is not known whether the other side acted.
    InDoubt,
}

/// A time-stamp over the signatures of earlier records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRecord {
    /// The token (RFC 3161), DER.
    pub token: Bytes,
    /// The time it states.
    pub time: UnixTime,
    /// The authority's name.
    pub authority: String,
    /// The covered records, ascending, and the digest of each one's signature file.
    pub covered: Vec<(u64, Digest)>,
    /// What was stamped: the hash chain result. None for a single record: then it is its signature value.
    pub chain_result: Option<Bytes>,
}

/// A signed head of the tree (C2SP tlog-checkpoint).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointRecord {
    /// How many frames the tree has.
    pub size: u64,
    /// Its root.
    pub root: [u8; 32],
    /// The signed note.
    pub note: Bytes,
    /// Signatures of witnesses.
    pub cosignatures: Vec<Bytes>,
    /// A time-stamp token over the note.
    pub token: Option<Bytes>,
}

/// A configuration that came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationRecord {
    /// What it is: `global`, `local`.
    pub scope: String,
    /// Of the global one: the instance.
    pub instance: Option<String>,
    /// Its digest.
    pub digest: Digest,
    /// Until when it holds.
    pub expires: Option<UnixTime>,
    /// What changed, or where it came from.
    pub note: Option<String>,
}

/// Somebody read the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRecord {
    /// Who: the name of the token, or the user of the machine.
    pub who: String,
    /// Role of the reader.
    pub role: Option<String>,
    /// What was done: `show`, `list`, `export`; `erase` of a data key.
    pub action: String,
    /// What was asked for.
    pub query: String,
    /// Why.
    pub reason: Option<String>,
    /// The records that were shown.
    pub records: Vec<u64>,
    /// Whether bodies were shown.
    pub bodies: bool,
}

impl Record {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Request(_) => Kind::Request,
            Self::Response(_) => Kind::Response,
            Self::Outcome(_) => Kind::Outcome,
            Self::Timestamp(_) => Kind::Timestamp,
            Self::Checkpoint(_) => Kind::Checkpoint,
            Self::Configuration(_) => Kind::Configuration,
            Self::Access(_) => Kind::Access,
            Self::Archive(_) => Kind::Archive,
        }
    }

    /// The message, if it is one.
    pub const fn message(&self) -> Option<&MessageRecord> {
        match self {
            Self::Request(message) | Self::Response(message) => Some(message),
            Self::Outcome(_)
            | Self::Timestamp(_)
            | Self::Checkpoint(_)
            | Self::Configuration(_)
            | Self::Access(_)
            | Self::Archive(_) => None,
        }
    }

    /// The id of the query that it belongs to.
    pub fn message_id(&self) -> Option<&str> {
        match self {
            Self::Request(message) | Self::Response(message) => Some(&message.message_id),
            Self::Outcome(outcome) => Some(&outcome.message_id),
            Self::Timestamp(_)
            | Self::Checkpoint(_)
            | Self::Configuration(_)
            | Self::Access(_)
            | Self::Archive(_) => None,
        }
    }

    /// Its fields, encoded.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_room(self.message().map_or(0, MessageRecord::room));
        match self {
            Self::Request(message) | Self::Response(message) => message.write(&mut out),
            Self::Outcome(outcome) => outcome.write(&mut out),
            Self::Timestamp(stamp) => stamp.write(&mut out),
            Self::Checkpoint(checkpoint) => checkpoint.write(&mut out),
            Self::Configuration(configuration) => configuration.write(&mut out),
            Self::Access(access) => access.write(&mut out),
            Self::Archive(archive) => archive.write(&mut out),
        }
        out.finish()
    }

    /// Reads the fields of a record.
    pub(crate) fn decode(kind: Kind, fields: &Bytes) -> Result<Self, Unreadable> {
        let mut from = Reader::new(fields);
        Ok(match kind {
            Kind::Request => Self::Request(MessageRecord::read(&mut from)?),
            Kind::Response => Self::Response(MessageRecord::read(&mut from)?),
            Kind::Outcome => Self::Outcome(OutcomeRecord::read(&mut from)?),
            Kind::Timestamp => Self::Timestamp(TimestampRecord::read(&mut from)?),
            Kind::Checkpoint => Self::Checkpoint(CheckpointRecord::read(&mut from)?),
            Kind::Configuration => Self::Configuration(ConfigurationRecord::read(&mut from)?),
            Kind::Access => Self::Access(AccessRecord::read(&mut from)?),
            Kind::Archive => Self::Archive(ArchiveRecord::read(&mut from)?),
        })
    }
}

impl MessageRecord {
    /// About how long its fields are.
    fn room(&self) -> usize {
        let chain = self.hash_chain.as_ref().map_or(0, Bytes::len);
        let result = self.hash_chain_result.as_ref().map_or(0, Bytes::len);
        let responses = self.ocsp_responses.iter().map(Bytes::len);
        responses.chain([chain, result, 2048]).fold(self.signature.len(), usize::saturating_add)
    }

    fn write(&self, out: &mut Writer) {
        out.number(
            1,
            Some(match self.role {
                Role::Consumer => 1,
                Role::Provider => 2,
            }),
        )
        .text(2, &self.message_id)
        .text(3, &self.request_id)
        .maybe_text(4, self.user_id.as_deref())
        .maybe_text(5, self.issue.as_deref())
        .maybe_text(6, self.represented_party.as_deref())
        .text(7, &self.client.encoded())
        .list(8, service_segments(&self.service))
        .maybe_text(9, self.own_server.as_ref().map(ServerId::encoded).as_deref())
        .maybe_text(10, self.peer_server.as_ref().map(ServerId::encoded).as_deref())
        .number(11, self.request)
        .time(12, self.began)
        .time(13, self.signed_at)
        .bytes(14, &self.signature)
        .bytes(15, self.hash_chain_result.as_deref().unwrap_or_default())
        .bytes(16, self.hash_chain.as_deref().unwrap_or_default())
        .list(17, &self.ocsp_responses)
        .list(18, self.parts.iter().map(Part::encode));
        let more = &self.circumstances;
        out.digest(19, more.global_configuration.as_ref())
            .digest(20, more.local_configuration.as_ref())
            .maybe_text(21, more.purpose.as_deref())
            .maybe_text(22, more.agreement.as_deref())
            .digest(23, more.jurisdiction.as_ref())
            .maybe_text(24, more.data_class.as_deref())
            .maybe_text(25, more.policy_decision.as_deref())
            .maybe_text(26, more.tls_group.as_deref())
            .maybe_text(27, more.tls_suite.as_deref());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            role: match from.number(1)? {
                Some(1) => Role::Consumer,
                Some(2) => Role::Provider,
                _ => return Err(Unreadable),
            },
            message_id: from.text(2)?,
            request_id: from.text(3)?,
            user_id: from.maybe_text(4)?,
            issue: from.maybe_text(5)?,
            represented_party: from.maybe_text(6)?,
            client: ClientId::parse_encoded(utf8(from.raw(7)?)?).map_err(|_| Unreadable)?,
            service: service(&from.each(8, |segment| utf8(segment.rest()))?)?,
            own_server: server(from, 9)?,
            peer_server: server(from, 10)?,
            request: from.number(11)?,
            began: from.time(12)?,
            signed_at: from.time(13)?,
            signature: from.bytes(14)?,
            hash_chain_result: from.maybe_bytes(15)?,
            hash_chain: from.maybe_bytes(16)?,
            ocsp_responses: from.list(17)?,
            parts: from.each(18, |part| Part::read(part))?,
            circumstances: Circumstances {
                global_configuration: from.digest(19)?,
                local_configuration: from.digest(20)?,
                purpose: from.maybe_text(21)?,
                agreement: from.maybe_text(22)?,
                jurisdiction: from.digest(23)?,
                data_class: from.maybe_text(24)?,
                policy_decision: from.maybe_text(25)?,
                tls_group: from.maybe_text(26)?,
                tls_suite: from.maybe_text(27)?,
            },
        })
    }
}

/// Instance, class, member, subsystem, code, version; empty where there is none. The text form has no version.
fn service_segments(service: &ServiceId) -> [&str; 6] {
    let (client, member) = (service.client(), service.client().member());
    let subsystem = client.subsystem().unwrap_or_default();
    let version = service.version().unwrap_or_default();
    [member.instance(), member.class(), member.code(), subsystem, service.code(), version]
}

fn service(segments: &[&str]) -> Result<ServiceId, Unreadable> {
    let &[instance, class, member, subsystem, code, version] = segments else {
        return Err(Unreadable);
    };
    let member = MemberId::new(instance, class, member).map_err(|_| Unreadable)?;
    let client = match subsystem {
        "" => member.into(),
        subsystem => member.subsystem(subsystem).map_err(|_| Unreadable)?,
    };
    ServiceId::new(client, code, Some(version).filter(|v| !v.is_empty())).map_err(|_| Unreadable)
}

fn utf8(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable)
}

fn server(from: &mut Reader<'_>, tag: u64) -> Result<Option<ServerId>, Unreadable> {
    let text = Some(utf8(from.raw(tag)?)?).filter(|text| !text.is_empty());
    text.map(ServerId::parse_encoded).transpose().map_err(|_| Unreadable)
}

impl Part {
    fn encode(&self) -> Vec<u8> {
        let stored = self.stored.as_ref();
        let mut out = Writer::with_room(256);
        out.text(1, &self.media_type)
            .number(2, Some(self.length))
            .digest(3, Some(&self.digest))
            .bytes(4, stored.map(|s| s.ciphertext.as_slice()).unwrap_or_default())
            .number(5, stored.map(|s| s.length))
            .maybe_text(6, stored.map(|s| s.key.as_str()))
            .number(
                7,
                stored.map(|s| match s.place {
                    Place::Chunk => 1,
                    Place::File => 2,
                }),
            );
        out.finish()
    }

    fn read(mut from: Reader<'_>) -> Result<Self, Unreadable> {
        let (media_type, length) = (from.text(1)?, from.number(2)?.ok_or(Unreadable)?);
        let digest = from.digest(3)?.ok_or(Unreadable)?;
        let ciphertext = Some(from.raw(4)?).filter(|ciphertext| !ciphertext.is_empty());
        let (stored_length, key, place) = (from.number(5)?, from.maybe_text(6)?, from.number(7)?);
        let stored = match (ciphertext, stored_length, key, place) {
            (None, None, None, None) => None,
            (Some(ciphertext), Some(length), Some(key), Some(place)) => Some(Stored {
                ciphertext: ciphertext.try_into().map_err(|_| Unreadable)?,
                length,
                key,
                place: match place {
                    1 => Place::Chunk,
                    2 => Place::File,
                    _ => return Err(Unreadable),
                },
            }),
            _ => return Err(Unreadable),
        };
        Ok(Self { media_type, length, digest, stored })
    }
}

impl OutcomeRecord {
    fn write(&self, out: &mut Writer) {
        let outcome = match self.outcome {
            Outcome::Success => 1,
            Outcome::Fault => 2,
            Outcome::InDoubt => 3,
        };
        out.number(1, Some(self.request))
            .text(2, &self.message_id)
            .number(3, Some(outcome))
            .maybe_text(4, self.fault_code.as_deref())
            .maybe_text(5, self.fault_text.as_deref())
            .number(6, self.status);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            request: from.number(1)?.ok_or(Unreadable)?,
            message_id: from.text(2)?,
            outcome: match from.number(3)? {
                Some(1) => Outcome::Success,
                Some(2) => Outcome::Fault,
                Some(3) => Outcome::InDoubt,
                _ => return Err(Unreadable),
            },
            fault_code: from.maybe_text(4)?,
            fault_text: from.maybe_text(5)?,
            status: from.number(6)?,
        })
    }
}

impl TimestampRecord {
    /// Which of the covered records this one is.
    pub fn position(&self, sequence: u64) -> Option<usize> {
        self.covered.binary_search_by_key(&sequence, |(covered, _)| *covered).ok()
    }

    fn write(&self, out: &mut Writer) {
        let covered = self.covered.iter().map(|(sequence, digest)| {
            let mut one = Writer::default();
            one.number(1, Some(*sequence)).digest(2, Some(digest));
            one.finish()
        });
        out.bytes(1, &self.token)
            .time(2, Some(self.time))
            .text(3, &self.authority)
            .list(4, covered)
            .bytes(5, self.chain_result.as_deref().unwrap_or_default());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let one = |mut from: Reader<'_>| {
            Ok((from.number(1)?.ok_or(Unreadable)?, from.digest(2)?.ok_or(Unreadable)?))
        };
        Ok(Self {
            token: from.bytes(1)?,
            time: from.time(2)?.ok_or(Unreadable)?,
            authority: from.text(3)?,
            covered: from.each(4, one)?,
            chain_result: from.maybe_bytes(5)?,
        })
    }
}

impl CheckpointRecord {
    fn write(&self, out: &mut Writer) {
        out.number(1, Some(self.size))
            .bytes(2, &self.root)
            .bytes(3, &self.note)
            .list(4, &self.cosignatures)
            .bytes(5, self.token.as_deref().unwrap_or_default());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            size: from.number(1)?.ok_or(Unreadable)?,
            root: from.raw(2)?.try_into().map_err(|_| Unreadable)?,
            note: from.bytes(3)?,
            cosignatures: from.list(4)?,
            token: from.maybe_bytes(5)?,
        })
    }
}

impl ConfigurationRecord {
    fn write(&self, out: &mut Writer) {
        out.text(1, &self.scope)
            .maybe_text(2, self.instance.as_deref())
            .digest(3, Some(&self.digest))
            .time(4, self.expires)
            .maybe_text(5, self.note.as_deref());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            scope: from.text(1)?,
            instance: from.maybe_text(2)?,
            digest: from.digest(3)?.ok_or(Unreadable)?,
            expires: from.time(4)?,
            note: from.maybe_text(5)?,
        })
    }
}

impl AccessRecord {
    fn write(&self, out: &mut Writer) {
        out.text(1, &self.who)
            .maybe_text(2, self.role.as_deref())
            .text(3, &self.action)
            .text(4, &self.query)
            .maybe_text(5, self.reason.as_deref())
            .list(6, self.records.iter().map(|sequence| sequence.to_be_bytes()))
            .number(7, Some(u64::from(self.bodies)));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            who: from.text(1)?,
            role: from.maybe_text(2)?,
            action: from.text(3)?,
            query: from.text(4)?,
            reason: from.maybe_text(5)?,
            records: from.numbers(6)?,
            bodies: from.number(7)? == Some(1),
        })
    }
}

#[cfg(test)]
mod tests;
