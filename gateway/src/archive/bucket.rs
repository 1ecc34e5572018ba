//! Archives in a bucket of an S3-compatible object store.
//!
//! ```text
//! is there one of that name? ──► parts, one after the other ──► complete, only if there is none ──► read it back, hash it
//! died before complete: nothing is seen under the name; the parts are the store's to drop (a lifecycle rule)
//! ```
//! Memory: one part. The credentials are read anew for each use, so that they can be exchanged, and are never shown.
//!
//! Specification: the S3 API as the library speaks it; conditional writes where the store knows them.
//!
//! Not here: HTTP (`bucket_http`).

use std::{
    fs::File,
    future::Future,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use cert_authority::{
    algorithm::DigestAlgorithm, crypto::Hasher, keys::file::read_secret, x509::Certificate,
};
use futures_util::TryStreamExt as _;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::{
    bucket_http::Connector,
    target::{Parcel, Target, TargetError},
};
use crate::messagelog::disk::{Disk as _, SystemDisk};

/// Length of the parts; longer where an archive would have more of them than stores take.
const PART: u64 = 8 << 20;
const MOST_PARTS: u64 = 9_000;
const REFUSED: &str = "the object store refuses our credentials, or what we ask with them";

/// Where a bucket is, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `https://host[:port]`; `http://` for a store on the same machine.
    pub endpoint: String,
    /// The bucket. It must be there.
    pub bucket: String,
    /// What all names begin with, as if in a folder; may be empty.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
    /// File with the credentials, readable by its owner only.
    pub credentials: PathBuf,
    /// Who may have issued the certificate of the endpoint.
    pub authorities: Vec<Certificate>,
    /// How long the store may be silent.
    pub patience: Duration,
}

/// A bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    address: Address,
    staging: PathBuf,
}

/// What lies under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Same,
    Other,
}

impl Bucket {
    /// Archives go there; they are made in `staging`, in files without a name.
    pub fn new(address: Address, staging: impl Into<PathBuf>) -> Self {
        Self { address, staging: staging.into() }
    }

    fn store(&self) -> Result<AmazonS3, TargetError> {
        let Address { endpoint, bucket, region, authorities, patience, .. } = &self.address;
        let credentials = Credentials::read(&self.address.credentials)?;
        let connector = Connector::new(authorities, *patience).map_err(TargetError::Away)?;
        let retry = RetryConfig { max_retries: 2, retry_timeout: *patience, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_bucket_name(bucket)
            .with_region(region)
            .with_access_key_id(credentials.id.as_str())
            .with_secret_access_key(credentials.secret.as_str())
            // Which endpoints may be without TLS is said by the settings.
            .with_allow_http(true)
            .with_retry(retry)
            .with_http_connector(connector);
        if let Some(token) = &credentials.token {
            builder = builder.with_token(token.as_str());
        }
        builder.build().map_err(|error| away(&error))
    }

    fn path(&self, name: &str) -> Path {
        Path::from_iter(self.address.prefix.split('/').filter(|part| !part.is_empty()).chain([name]))
    }

    async fn found(&self, store: &AmazonS3, parcel: &Parcel) -> Result<Found, TargetError> {
        let got = match store.get(&self.path(&parcel.name)).await {
            Err(Error::NotFound { .. }) => return Ok(Found::Nothing),
            got => got.map_err(|error| away(&error))?,
        };
        if got.meta.size != parcel.length {
            return Ok(Found::Other);
        }
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        let mut content = got.into_stream();
        while let Some(piece) = content.try_next().await.map_err(|error| away(&error))? {
            hasher.update(&piece);
        }
        Ok(if hasher.finish() == parcel.hash { Found::Same } else { Found::Other })
    }

    async fn upload(&self, store: &AmazonS3, parcel: &Parcel, file: &mut File) -> Result<(), TargetError> {
        let mut upload = store.put_multipart(&self.path(&parcel.name)).await.map_err(|error| away(&error))?;
        let sent = send(upload.as_mut(), parcel.length, file).await;
        if sent.is_err() {
            // The store drops them some day, if this does not reach it.
            let _ = upload.abort().await;
        }
        sent
    }
}

/// Sends a file in parts, and makes them one object.
async fn send(upload: &mut dyn MultipartUpload, length: u64, file: &mut File) -> Result<(), TargetError> {
    file.seek(SeekFrom::Start(0))?;
    let size = PART.max(length.div_ceil(MOST_PARTS));
    let mut left = length;
    while left > 0 {
        let mut part = Vec::with_capacity(usize::try_from(size.min(left)).unwrap_or(0));
        let read = file.by_ref().take(size).read_to_end(&mut part)?;
        if read == 0 {
            return Err(TargetError::Away("the archive is shorter than it was".to_owned()));
        }
        left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        upload.put_part(PutPayload::from(part)).await.map_err(|error| away(&error))?;
    }
    upload.complete().await.map(drop).map_err(|error| away(&error))
}

impl Target for Bucket {
    fn check(&self) -> Result<(), TargetError> {
        let store = self.store()?;
        // A folder that is not there: nothing comes back, but from a bucket that is there, and for us.
        let nowhere = self.path("no-such-archive");
        wait(
            async move { store.list(Some(&nowhere)).try_next().await.map(drop).map_err(|error| away(&error)) },
        )
    }

    fn temporary(&self) -> Result<File, TargetError> {
        Ok(SystemDisk.temporary(&self.staging)?)
    }

    fn put(&self, parcel: &Parcel, file: &mut File) -> Result<(), TargetError> {
        let store = self.store()?;
        wait(async {
            let sent = match self.found(&store, parcel).await? {
                Found::Same => return Ok(()),
                Found::Other => return Err(TargetError::Other(parcel.name.clone())),
                Found::Nothing => self.upload(&store, parcel, file).await,
            };
            // It may be there although the answer was lost, and another one may have come first.
            match (self.found(&store, parcel).await?, sent) {
                (Found::Same, _) => Ok(()),
                (Found::Other, _) => Err(TargetError::Other(parcel.name.clone())),
                (Found::Nothing, Err(error)) => Err(error),
                (Found::Nothing, Ok(())) => {
                    Err(TargetError::Away(format!("the store took {} and has it not", parcel.name)))
                }
            }
        })
    }

    fn holds(&self, parcel: &Parcel) -> Result<bool, TargetError> {
        let store = self.store()?;
        wait(async { Ok(self.found(&store, parcel).await? == Found::Same) })
    }
}

/// The calls of a target block, on a thread that the runtime has for that.
fn wait<T>(work: impl Future<Output = Result<T, TargetError>>) -> Result<T, TargetError> {
    Handle::try_current().map_err(|error| TargetError::Away(error.to_string()))?.block_on(work)
}

/// Whatever goes wrong is tried again. Answers of stores may repeat parts of requests: they are not shown.
fn away(error: &Error) -> TargetError {
    TargetError::Away(match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => REFUSED.to_owned(),
        Error::NotFound { .. } => "the object store has no such bucket".to_owned(),
        Error::AlreadyExists { .. } | Error::Precondition { .. } => "there is one already".to_owned(),
        other => {
            let text = other.to_string();
            if text.contains("status code: 403") || text.contains("status code: 401") {
                return TargetError::Away(REFUSED.to_owned());
            }
            // Where the answer of the server begins.
            let end = text.find(": <").unwrap_or(text.len()).min(300);
            text.chars().take(end).collect()
        }
    })
}

/// Who we are to the store.
struct Credentials {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
}

impl Credentials {
    /// Lines `aws_access_key_id = ...`, `aws_secret_access_key = ...` and, where there is one, `aws_session_token = ...`,
    /// as in the credentials file of AWS's own tools; heads of sections and comments are passed over.
    fn read(path: &std::path::Path) -> Result<Self, TargetError> {
        let failed = |reason: String| TargetError::Away(format!("the credentials: {reason}"));
        let bytes = read_secret(path).map_err(|error| failed(error.to_string()))?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| failed(format!("{} is no text", path.display())))?;
        let value = |key: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            let mut values = lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
            values.next().map(|value| Zeroizing::new(value.to_owned()))
        };
        let needed = |key: &str| value(key).ok_or_else(|| failed(format!("{} has no {key}", path.display())));
        Ok(Self {
            id: needed("aws_access_key_id")?,
            secret: needed("aws_secret_access_key")?,
            token: value("aws_session_token"),
        })
    }
}
