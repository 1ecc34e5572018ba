//! `GET /asic?queryId=..&xRoadInstance=..&memberClass=..&memberCode=..[&subsystemCode=..]`: the containers of a query.
//!
//! | parameter | meaning |
//! |---|---|
//! | `requestOnly`, `responseOnly` | only these messages; not both |
//! | `unique` | one container as it is, with one of the two above; else a ZIP of all |
//! | `force` | what waits for a time-stamp gets one now |
//! | `reason` | why the documents are wanted; ours, and for the register only |
//!
//! A client gets the messages that its own gateway has logged for it: those that it has sent or received as consumer,
//! and those that it has received or sent as provider. Before it gets them, the log notes who is given which.
//!
//! | status | when | text |
//! |---|---|---|
//! | 400 | a parameter is missing or does not fit the others | which |
//! | 401 | the information system may not speak for the client | why |
//! | 404 | there is no such message | `No signed documents found` |
//! | 500 | no time-stamp yet, or none to be had | which of the two |
//!
//! Specification: X-Road Signed Document Download (UG-SIGDOC); order of the checks and texts as X-Road 7.8.
//!
//! # Compatibility
//! A query that cannot be decoded gives 400, not 500. Failures of the log are told to the operator, not to the client.

use std::io::{self, Write};

use conf::identifier::{ClientId, MemberId};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::container::{ContainerError, LoggedContainer, form_encoded};
use super::query::Query;
use super::{Body, Response, ZIP, outgoing};
use crate::access::client_auth::IdentifyError;
use crate::evidence::asic;
use crate::messagelog::{
    LogError, LogStore as _, MessageLog, Role,
    reader::{Reader, StoredRecord},
    record::{AccessRecord, Kind, Record},
    timestamper::PendingError,
};

const CONTAINER: &str = "application/vnd.etsi.asic-e+zip";

/// Answers it. `query` is what stands behind the question mark; `authenticate` says whether the information system may
/// speak for a client, `connection` how it has come in, for the register; `stamp` gets time-stamps for what has none, and is awaited only when it is needed.
pub async fn serve(
    query: &str,
    connection: &str,
    authenticate: impl FnOnce(&ClientId) -> Result<(), IdentifyError>,
    log: &MessageLog,
    stamp: impl Future<Output = Result<usize, PendingError>>,
) -> Response {
    match download(query, connection, authenticate, log, stamp).await {
        Ok(response) => response,
        Err(refusal) => {
            if let Refusal::Internal(reason) = &refusal {
                tracing::error!(%reason, "signed documents could not be given");
            }
            Response::refusal(refusal.status(), refusal.to_string())
        }
    }
}

/// Why there are no containers. What is displayed is the answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Query(#[from] super::query::Malformed),
    #[error("Parameter \"{0}\"  must be specified.")]
    Missing(&'static str),
    #[error("'{0}' must not be blank")]
    Blank(&'static str),
    #[error("Parameters \"requestOnly\" and \"responseOnly\" cannot be used at the same time.")]
    BothOnly,
    #[error("Parameter \"unique\" not applicable without \"requestOnly\" or \"responseOnly\".")]
    UniqueOfBoth,
    #[error("{0}")]
    NotAuthenticated(#[from] IdentifyError),
    #[error("No signed documents found")]
    NotFound,
    #[error("Message signature has not been timestamped yet!")]
    NotStamped,
    #[error("Could not create missing timestamp!")]
    StampFailed,
    #[error("The signed documents cannot be read")]
    Internal(String),
}

impl Refusal {
    const fn status(&self) -> u16 {
        match self {
            Self::Query(_) | Self::Missing(_) | Self::BothOnly | Self::UniqueOfBoth => 400,
            Self::NotAuthenticated(_) => 401,
            Self::NotFound => 404,
            Self::Blank(_) | Self::NotStamped | Self::StampFailed | Self::Internal(_) => 500,
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<ContainerError> for Refusal {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::NotStamped(_) => Self::NotStamped,
            other => Self::Internal(other.to_string()),
        }
    }
}

/// Which messages are wanted.
#[derive(Debug, Clone)]
struct Wanted {
    client: ClientId,
    query_id: String,
    /// Requests or responses; none: both.
    only: Option<Kind>,
}

async fn download(
    query: &str,
    connection: &str,
    authenticate: impl FnOnce(&ClientId) -> Result<(), IdentifyError>,
    log: &MessageLog,
    stamp: impl Future<Output = Result<usize, PendingError>>,
) -> Result<Response, Refusal> {
    let asked = query;
    let query = Query::read(asked)?;
    let client = client(&query)?;
    authenticate(&client)?;
    let query_id = query.value("queryId").ok_or(Refusal::Missing("queryId"))?.to_owned();
    let only = match (query.has("requestOnly"), query.has("responseOnly")) {
        (true, true) => return Err(Refusal::BothOnly),
        (true, false) => Some(Kind::Request),
        (false, true) => Some(Kind::Response),
        (false, false) => None,
    };
    let wanted = Wanted { client, query_id, only };

    let reader = log.reader();
    let found = find(&reader, &wanted).await?;
    if found.iter().any(|message| !message.stamped) {
        if !query.has("force") {
            return Err(Refusal::NotStamped);
        }
        stamp.await.map_err(|error| {
            tracing::warn!(%error, "a time-stamp that was asked for is not to be had");
            Refusal::StampFailed
        })?;
    }
    let unique = query.has("unique");
    if unique && wanted.only.is_none() {
        return Err(Refusal::UniqueOfBoth);
    }
    let numbers: Vec<u64> =
        found.iter().map(|message| message.number).take(if unique { 1 } else { usize::MAX }).collect();
    let first = opened(reader.clone(), numbers.clone()).await?;
    let access = AccessRecord {
        who: format!("{} over {connection}", wanted.client),
        role: Some("information system".to_owned()),
        action: "export".to_owned(),
        query: format!("/asic?{asked}"),
        reason: query.reason(),
        records: numbers.clone(),
        bodies: true,
    };
    log.append(Record::Access(access), Vec::new()).await?;
    Ok(answer(reader, &wanted, numbers, first, unique))
}

/// The client that the parameters name.
fn client(query: &Query<'_>) -> Result<ClientId, Refusal> {
    let required = |name| query.value(name).ok_or(Refusal::Missing(name));
    let (instance, class, code) =
        (required("xRoadInstance")?, required("memberClass")?, required("memberCode")?);
    let subsystem = query.value("subsystemCode");
    let named = [("xRoadInstance", instance), ("memberClass", class), ("memberCode", code)];
    let blank = |value: &str| value.trim().is_empty();
    let all = named.into_iter().chain(subsystem.map(|subsystem| ("subsystemCode", subsystem)));
    if let Some((name, _)) = all.into_iter().find(|(_, value)| blank(value)) {
        return Err(Refusal::Blank(name));
    }
    let invalid = |error: conf::error::IdentifierError| Refusal::Internal(error.to_string());
    let member = MemberId::new(instance, class, code).map_err(invalid)?;
    match subsystem {
        Some(subsystem) => member.subsystem(subsystem).map_err(invalid),
        None => Ok(member.into()),
    }
}

/// A message that is wanted.
struct Found {
    number: u64,
    stamped: bool,
}

/// The messages that are wanted, as they were logged.
async fn find(reader: &Reader, wanted: &Wanted) -> Result<Vec<Found>, Refusal> {
    let (reader, wanted) = (reader.clone(), wanted.clone());
    blocking(move || {
        let mut found = Vec::new();
        let records = match reader.by_message_id(&wanted.query_id) {
            Err(LogError::Removed { .. }) => return Err(Refusal::NotFound),
            records => records?,
        };
        for record in records {
            if wanted.holds(&record) {
                let stamped = reader.timestamp_of(record.sequence)?.is_some();
                found.push(Found { number: record.sequence, stamped });
            }
        }
        if found.is_empty() { Err(Refusal::NotFound) } else { Ok(found) }
    })
    .await
}

impl Wanted {
    fn holds(&self, found: &StoredRecord) -> bool {
        let (Record::Request(message) | Record::Response(message)) = &found.record else { return false };
        let own = match message.role {
            Role::Consumer => &message.client,
            Role::Provider => message.service.client(),
        };
        *own == self.client && self.only.is_none_or(|only| only == found.record.kind())
    }
}

/// Opens every container before the first byte is sent, so that an answer that has begun mostly ends well too; gives the
/// first.
async fn opened(reader: Reader, numbers: Vec<u64>) -> Result<LoggedContainer, Refusal> {
    blocking(move || {
        let mut first = None;
        for number in numbers {
            let container = LoggedContainer::open(&reader, number)?;
            first.get_or_insert(container);
        }
        first.ok_or(Refusal::NotFound)
    })
    .await
}

fn answer(
    reader: Reader,
    wanted: &Wanted,
    numbers: Vec<u64>,
    first: LoggedContainer,
    unique: bool,
) -> Response {
    let (content_type, file_name) = if unique {
        (CONTAINER, first.file_name())
    } else {
        let only = match wanted.only {
            Some(Kind::Response) => "-response",
            Some(_) => "-request",
            None => "",
        };
        (ZIP, format!("{}{only}.zip", form_encoded(&wanted.query_id)))
    };
    let body = outgoing::stream("an answer with signed documents", move |out| {
        if unique { first.stream(out).map(drop) } else { all(&reader, &numbers, out) }
    });
    let disposition = format!("attachment; filename=\"{file_name}\"");
    Response::ok(content_type, Some(disposition), Body::Stream(body))
}

/// The ZIP of the containers.
fn all(reader: &Reader, numbers: &[u64], out: impl Write) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(out);
    for number in numbers {
        let container = LoggedContainer::open(reader, *number).map_err(io::Error::other)?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .last_modified_time(asic::date_time(container.logged_at()));
        zip.start_file(container.file_name(), options)?;
        container.stream(&mut zip)?;
    }
    zip.finish()?;
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::Internal(error.to_string()))?
}
