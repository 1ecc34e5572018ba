//! A REST response.

use bytes::Bytes;
use conf::identifier::{ClientId, ServiceId};

use super::part::{Headers, Lines, Taken, name};
use super::{MessageError, RestRequest};
use crate::message::text::{breaks_lines, latin1};

/// A response: the bytes that are signed, and what they say. Made only by reading such bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestResponse {
    part: Bytes,
    /// The HTTP status.
    pub status: u16,
    /// The reason phrase, as HTTP carries it.
    pub reason: Bytes,
    /// All headers, in order, as HTTP carries them.
    pub headers: Headers,
    /// The message id of the request.
    pub message_id: String,
    /// Who asked, if the response says.
    pub client: Option<ClientId>,
    /// What was asked for, if the response says.
    pub service: Option<ServiceId>,
    /// The id of the exchange, if the response says.
    pub request_id: Option<String>,
    /// What ties it to its request: [`super::request_hash`].
    pub request_hash: String,
}

impl RestResponse {
    /// Makes the response from a service's answer.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn from_service(
        status: u16,
        reason: &[u8],
        headers: &[(Bytes, Bytes)],
        request: &RestRequest,
        request_hash: &str,
    ) -> Result<Self, MessageError> {
        if breaks_lines(reason)
            || headers.iter().any(|(name, value)| breaks_lines(name) || breaks_lines(value))
        {
            return Err(MessageError::HeaderCharacter);
        }
        let mut lines = Lines::new(&status.to_string(), &latin1(reason));
        lines.headers(headers, &[name::MESSAGE_ID, name::CLIENT, name::REQUEST_ID, name::REQUEST_HASH]);
        lines.header(name::MESSAGE_ID, &request.header.message_id);
        lines.header(name::CLIENT, &request.header.client.encoded());
        lines.header(name::SERVICE, &request.header.service.encoded());
        lines.header(name::REQUEST_ID, &request.request_id);
        lines.header(name::REQUEST_HASH, request_hash);
        Self::parse(lines.finish())
    }

    /// Reads a received part.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(part: Bytes) -> Result<Self, MessageError> {
        let taken = Taken::apart(&part)?;
        let identifier = |field| move |source| MessageError::Identifier { field, source };
        let required = |name| {
            let value = taken.last_value(name).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or(MessageError::HeaderMissing(name))
        };
        Ok(Self {
            status: read_status(taken.first)?,
            reason: taken.for_http(taken.second),
            headers: taken.headers(),
            message_id: required(name::MESSAGE_ID)?,
            client: taken
                .last_value(name::CLIENT)
                .map(ClientId::parse_encoded)
                .transpose()
                .map_err(identifier("client"))?,
            service: taken
                .last_value(name::SERVICE)
                .map(ServiceId::parse_encoded)
                .transpose()
                .map_err(identifier("service"))?,
            request_id: taken.last_value(name::REQUEST_ID).map(str::to_owned),
            request_hash: required(name::REQUEST_HASH)?,
            part: part.clone(),
        })
    }

    /// The bytes that are signed.
    pub fn part(&self) -> &Bytes {
        &self.part
    }
}

fn read_status(line: &str) -> Result<u16, MessageError> {
    let digits = Some(line).filter(|line| line.len() == 3 && line.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .filter(|status| (200..=999).contains(status)) // 1xx is no answer, and 101 gives the connection away
        .ok_or(MessageError::Status)
}
