//! Recorded exchanges, read from their folders: facts, HTTP messages, and the parts of transport messages.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use gateway::fault::soap;
use gateway::message::Protocol;
use gateway::message::multipart::{Part, PartHead};
use gateway::message::transport::{Direction, Incoming, Item};
use serde::Deserialize;

/// One recorded exchange.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) facts: Facts,
    /// When it was recorded, and is judged.
    pub(super) at: UnixTime,
    folder: PathBuf,
}

/// What `case.json` says, as far as it is needed.
#[derive(Debug, Deserialize)]
pub(super) struct Facts {
    clock_utc: String,
    pub(super) error_code: Option<String>,
}

/// Reads all cases of a folder, in the order of their recording: what one leaves behind, the next must not show.
pub(super) fn cases(folder: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let folder = entry.map_err(|error| error.to_string())?.path();
        let Ok(facts) = fs::read(folder.join("case.json")) else { continue };
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let facts: Facts = serde_json::from_slice(&facts).map_err(|error| format!("{name}: {error}"))?;
        let at = UnixTime::from_rfc3339(&facts.clock_utc).map_err(|error| format!("{name}: {error}"))?;
        cases.push(Case { name, facts, at, folder });
    }
    cases.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    Ok(cases)
}

impl Case {
    /// Whether it is an exchange of SOAP messages. A REST request for a SOAP service is none.
    pub(super) fn is_soap(&self) -> bool {
        let mut words = self.name.split('-');
        words.next() != Some("rest") && self.name.split('-').any(|word| word == "soap")
    }

    /// Its protocol.
    pub(super) fn protocol(&self) -> Protocol {
        if self.is_soap() { Protocol::Soap } else { Protocol::Rest }
    }

    /// A file of the case.
    pub(super) fn file(&self, name: &str) -> Option<Bytes> {
        fs::read(self.folder.join(name)).ok().map(Bytes::from)
    }

    /// A message of the client's or the service's leg.
    pub(super) fn http(&self, name: &str) -> Option<Http> {
        let bodiless = name.contains("response") && self.client_verb() == "HEAD";
        Http::read(&self.file(name)?, bodiless, true)
    }

    /// The method that the client has used.
    pub(super) fn client_verb(&self) -> String {
        let request = self.file("client-request.http").unwrap_or_default();
        String::from_utf8_lossy(request.split(|&byte| byte == b' ').next().unwrap_or_default()).into_owned()
    }

    /// A message between the gateways (`request`, `response`) as it was received.
    pub(super) fn received(&self, direction: &str) -> Option<Http> {
        let head = self.file(&format!("transport-{direction}.head"))?;
        let body = self.file(&format!("transport-{direction}.body")).unwrap_or_default();
        Some(Http { body, ..Http::read(&head, true, true)? })
    }

    /// The same as it was sent.
    pub(super) fn sent(&self, direction: &str) -> Option<Http> {
        match self.file(&format!("transport-{direction}.unaltered.http")) {
            Some(whole) => Http::read(&whole, false, true),
            None => self.received(direction),
        }
    }
}

/// An HTTP message as it stood on the wire, its chunks put together.
#[derive(Debug, Clone)]
pub(super) struct Http {
    pub(super) start: String,
    pub(super) headers: Vec<(Bytes, Bytes)>,
    pub(super) body: Bytes,
}

impl Http {
    /// The first message that is no interim answer. Without its end it is none, unless the connection has `ended`.
    pub(super) fn read(mut bytes: &[u8], bodiless: bool, ended: bool) -> Option<Self> {
        loop {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
            let (head, rest) = (bytes.get(..end)?, bytes.get(end.checked_add(4)?..)?);
            let mut lines =
                head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            let start = String::from_utf8_lossy(lines.next()?).into_owned();
            let headers = lines.filter_map(header_line).collect();
            let message = Self { start, headers, body: Bytes::new() };
            if matches!(message.status(), Some(100..=199)) {
                bytes = rest;
                continue;
            }
            let body = if bodiless || matches!(message.status(), Some(204 | 304)) {
                Some(Bytes::new())
            } else {
                message.framed(rest, ended)
            };
            return body.map(|body| Self { body, ..message });
        }
    }

    fn framed(&self, rest: &[u8], ended: bool) -> Option<Bytes> {
        if self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return unchunked(rest, ended);
        }
        let length = self.header("content-length").and_then(|length| length.parse::<usize>().ok());
        match length {
            Some(length) => match rest.get(..length) {
                Some(body) => Some(Bytes::copy_from_slice(body)),
                None => ended.then(|| Bytes::copy_from_slice(rest)),
            },
            None if self.status().is_none() => Some(Bytes::new()),
            None => ended.then(|| Bytes::copy_from_slice(rest)),
        }
    }

    /// The first value of a header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| latin1(value))
    }

    /// The status of an answer.
    pub(super) fn status(&self) -> Option<u16> {
        let status = self.start.strip_prefix("HTTP/")?.split(' ').nth(1)?;
        status.parse().ok()
    }
}

fn header_line(line: &[u8]) -> Option<(Bytes, Bytes)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = line.split_at(colon);
    Some((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value.get(1..)?.trim_ascii())))
}

fn unchunked(mut rest: &[u8], ended: bool) -> Option<Bytes> {
    let mut body = Vec::new();
    let whole = loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { break false };
        let size = String::from_utf8_lossy(rest.get(..end)?).into_owned();
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        let data = rest.get(end.checked_add(2)?..)?;
        if size == 0 {
            break !data.is_empty();
        }
        let Some(chunk) = data.get(..size) else {
            body.extend_from_slice(data);
            break false;
        };
        body.extend_from_slice(chunk);
        rest = data.get(size.checked_add(2)?..).unwrap_or_default();
    };
    (whole || ended).then(|| body.into())
}

/// Bytes as characters of ISO-8859-1, as HTTP has them.
pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// The parts of a transport message, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) message: Option<Part>,
    /// The body of REST, the attachments of SOAP.
    pub(super) attachments: Vec<Part>,
    pub(super) has_chain: bool,
    pub(super) fault: Option<Bytes>,
}

impl Parts {
    /// Takes a message apart.
    pub(super) fn of(direction: Direction, protocol: Protocol, message: &Http) -> Self {
        let mut parts = Self::default();
        let content_type = message.header("content-type").unwrap_or_default();
        let Ok(mut incoming) = Incoming::new(direction, protocol, &content_type, DigestAlgorithm::Sha512)
        else {
            return parts;
        };
        incoming.push(message.body.clone());
        let mut under_way: Option<(PartHead, Vec<u8>)> = None;
        while let Ok(item) = incoming.pull() {
            match item {
                Item::NeedMore | Item::End => break,
                Item::Message(message) if soap::parse(&message.content).is_ok() => {
                    parts.fault = Some(message.content);
                }
                Item::Message(message) => parts.message = Some(message),
                Item::AttachmentBegin(head) => under_way = Some((head, Vec::new())),
                Item::AttachmentData(data) => {
                    under_way.iter_mut().for_each(|(_, content)| content.extend_from_slice(&data));
                }
                Item::AttachmentEnd => {
                    let ended = under_way.take();
                    let part = ended.map(|(head, content)| Part { head, content: content.into() });
                    parts.attachments.extend(part);
                }
                Item::HashChain(_) => parts.has_chain = true,
                Item::Fault(fault) => parts.fault = Some(fault),
                Item::OcspResponse(_) | Item::HashChainResult(_) | Item::Signature(_) => {}
            }
        }
        parts
    }

    /// The bytes of the message part.
    pub(super) fn signed(&self) -> Option<&Bytes> {
        self.message.as_ref().map(|message| &message.content)
    }

    /// The body of REST.
    pub(super) fn body(&self) -> Option<&Bytes> {
        self.attachments.first().map(|body| &body.content)
    }
}
