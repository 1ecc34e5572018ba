//! A REST request.

use bytes::Bytes;
use conf::identifier::{ClientId, ServerId, ServiceId, decode_segment};

use super::part::{Headers, Lines, Taken, name};
use super::{MessageError, PathRules, ServicePath};
use crate::message::header::{MessageHeader, RepresentedParty};
use crate::message::text::breaks_lines;

/// The methods that X-Road carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are the methods of HTTP")]
pub enum Verb {
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
    Trace,
}

impl Verb {
    /// Every method.
    pub const ALL: [Self; 8] =
        [Self::Delete, Self::Get, Self::Head, Self::Options, Self::Patch, Self::Post, Self::Put, Self::Trace];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Trace => "TRACE",
        }
    }

    /// The method written so; upper case only.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }

    /// Whether the service gets the request's body. The body of the others is signed and kept, but not passed on.
    pub const fn passes_body_on(self) -> bool {
        matches!(self, Self::Patch | Self::Post | Self::Put)
    }
}

/// A request: the bytes that are signed, and what they say. Made only by reading such bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestRequest {
    part: Bytes,
    /// The method.
    pub verb: Verb,
    /// The path, raw: `/r1/…`.
    pub path: String,
    /// The query, raw, without the question mark.
    pub query: Option<String>,
    /// All headers, in order, as HTTP carries them.
    pub headers: Headers,
    /// Who asks whom for what.
    pub header: MessageHeader,
    /// What follows the service code in the path.
    pub service_path: ServicePath,
    /// The id of this one exchange.
    pub request_id: String,
}

impl RestRequest {
    /// Makes the request of an information system. `target` is path and query; values are without the blanks around
    /// them; `fresh_id` makes a message id when none was given.
    ///
    /// # Errors
    /// [`MessageError`].
    ///
    /// # Compatibility
    /// X-Road takes the last of several `X-Road-Client`; here that is refused. Path hazards: see [`ServicePath`].
    pub fn from_client(
        verb: &str,
        target: &str,
        headers: &[(Bytes, Bytes)],
        request_id: &str,
        fresh_id: impl FnOnce() -> String,
        rules: PathRules,
    ) -> Result<Self, MessageError> {
        let verb = Verb::read(verb).ok_or(MessageError::Verb)?;
        if breaks_lines(target)
            || headers.iter().any(|(name, value)| breaks_lines(name) || breaks_lines(value))
        {
            return Err(MessageError::HeaderCharacter);
        }
        let mut lines = Lines::new(verb.as_str(), target);
        lines.headers(headers, &[name::REQUEST_ID, name::REQUEST_HASH]);
        lines.header(name::REQUEST_ID, request_id);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(name::MESSAGE_ID.as_bytes())) {
            lines.header(name::MESSAGE_ID, &fresh_id());
        }
        let part = lines.finish();
        let taken = Taken::apart(&part)?;
        let request = Self::read(&part, &taken)?;
        if taken.count(name::CLIENT) > 1 {
            return Err(MessageError::ClientTwice);
        }
        if holds_unseen(&request.header.service) {
            return Err(MessageError::IdentifierCharacter);
        }
        request.service_path.check(rules)?;
        Ok(request)
    }

    /// Reads a received part.
    ///
    /// # Errors
    /// [`MessageError`]. Path hazards are not errors here: [`crate::access`] refuses them.
    pub fn parse(part: Bytes) -> Result<Self, MessageError> {
        let taken = Taken::apart(&part)?;
        Self::read(&part, &taken)
    }

    /// The bytes that are signed.
    pub fn part(&self) -> &Bytes {
        &self.part
    }

    fn read(part: &Bytes, taken: &Taken<'_>) -> Result<Self, MessageError> {
        let verb = Verb::read(taken.first).ok_or(MessageError::Verb)?;
        let (path, query) = read_target(taken.second)?;
        let (service, service_path) = read_path(path)?;
        let client = taken.last_value(name::CLIENT).ok_or(MessageError::ClientMissing)?;
        let security_server = taken.last_value(name::SECURITY_SERVER);
        let represented_party = taken.last_value(name::REPRESENTED_PARTY);
        let message_id =
            taken.last_value(name::MESSAGE_ID).ok_or(MessageError::HeaderMissing(name::MESSAGE_ID))?;
        if message_id.is_empty() {
            return Err(MessageError::MessageIdEmpty);
        }
        let request_id =
            taken.last_value(name::REQUEST_ID).ok_or(MessageError::HeaderMissing(name::REQUEST_ID))?;
        let identifier = |field| move |source| MessageError::Identifier { field, source };
        Ok(Self {
            part: part.clone(),
            verb,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers: taken.headers(),
            header: MessageHeader {
                client: ClientId::parse_encoded(client).map_err(identifier("client"))?,
                service,
                message_id: message_id.to_owned(),
                user_id: taken.first_value(name::USER_ID).map(str::to_owned),
                issue: taken.first_value(name::ISSUE).map(str::to_owned),
                represented_party: represented_party.map(read_represented_party).transpose()?,
                security_server: security_server
                    .map(ServerId::parse_encoded)
                    .transpose()
                    .map_err(identifier("security server"))?,
            },
            service_path: ServicePath::new(service_path),
            request_id: request_id.to_owned(),
        })
    }
}

impl AsRef<Self> for RestRequest {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Whether an identifier holds characters that nobody can see, and that a log line could be broken with.
fn holds_unseen(service: &ServiceId) -> bool {
    let member = service.client().member();
    [member.instance(), member.class(), member.code(), service.code()]
        .into_iter()
        .chain(service.client().subsystem())
        .flat_map(str::chars)
        .any(|c| c.is_control() || matches!(c, '\u{200b}' | '\u{feff}'))
}

/// Path and query of a target, whose characters and escapes are those of RFC 3986 or beyond ASCII.
fn read_target(target: &str) -> Result<(&str, Option<&str>), MessageError> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    // A backslash is a hazard of its own, with its own name; a NUL or a line end cannot come this far.
    let fits = |more: &'static str| {
        move |c: char| {
            !c.is_ascii()
                || c.is_ascii_alphanumeric()
                || "-._~!$&'()*+,;=:@%/".contains(c)
                || more.contains(c)
        }
    };
    if !path.chars().all(fits("\\")) || !query.unwrap_or_default().chars().all(fits("?[]")) {
        return Err(MessageError::TargetCharacter);
    }
    let is_escape =
        |text: &[u8]| matches!(text, [h, l, ..] if h.is_ascii_hexdigit() && l.is_ascii_hexdigit());
    if target.as_bytes().split(|&byte| byte == b'%').skip(1).all(is_escape) {
        Ok((path, query))
    } else {
        Err(MessageError::TargetEscape)
    }
}

/// The service that a path names, and what follows it.
fn read_path(path: &str) -> Result<(ServiceId, &str), MessageError> {
    let named = path.strip_prefix("/r1/").ok_or(MessageError::PathShape)?;
    let end = named.match_indices('/').nth(4).map_or(named.len(), |(at, _)| at);
    let (service, rest) = named.split_at(end);
    if service.matches('/').count() < 4 {
        return Err(MessageError::PathShape);
    }
    let service = ServiceId::parse_encoded(service)
        .map_err(|source| MessageError::Identifier { field: "service", source })?;
    Ok((service, rest))
}

fn read_represented_party(value: &str) -> Result<RepresentedParty, MessageError> {
    let refused = |source| MessageError::Identifier { field: "represented party", source };
    let (class, code) = match value.split_once('/') {
        Some((class, code)) => (Some(class), code),
        None => (None, value),
    };
    Ok(RepresentedParty {
        class: class.map(decode_segment).transpose().map_err(refused)?.map(Into::into),
        code: decode_segment(code).map_err(refused)?.into(),
    })
}
