//! The log as a transparency log on the administration port, for tokens with the role of an auditor.
//!
//! | path | what is answered |
//! |---|---|
//! | `/log/checkpoint` | the newest checkpoint that witnesses have cosigned, else the last one: a signed note |
//! | `/log/verifier` | the verifier keys of the log and of its witnesses, a line each |
//! | `/log/witnesses` | JSON: how it goes with each witness |
//! | `/log/tile/L/N`, `/log/tile/L/N.p/W` | hashes |
//! | `/log/tile/entries/N?reason=R`, with `.p/W` | records; this reading is logged itself, with its reason |
//! | `/log/proof/inclusion?number=N` | the proof for that checkpoint (tlog-proof) |
//! | `/log/proof/consistency?from=A&to=B` | JSON: sizes, roots, proof; `to` is that checkpoint's size when it is left out |
//!
//! Specification: C2SP tlog-tiles with `/log` as the prefix, tlog-proof. Entries are people's: unlike there, whoever wants
//! them says why.
//!
//! Not here: who is let in ([`crate::admin`]).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{Method, StatusCode};
use serde_json::json;

use super::{Consistency, ShowError, Shown, TilePath};
use crate::admin::{Admin, AdminCall, AdminReply, Role};
use crate::messagelog::checkpoint::{Checkpoints, Signed};
use crate::messagelog::record::AccessRecord;
use crate::messagelog::tiles::BundleError;
use crate::messagelog::{LogError, LogStore as _, MessageLog, Record};
use crate::metaservice::query::Query;

const AUDITORS: &[Role] = &[Role::Auditor];
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// Adds them to the administration port.
#[must_use]
pub fn endpoints(admin: Admin, log: &MessageLog, checkpoints: &Checkpoints) -> Admin {
    let here = Here {
        shown: Shown::new(log.reader(), checkpoints.tiles().clone()),
        log: log.clone(),
        checkpoints: checkpoints.clone(),
    };
    let get = |admin: Admin, path, answer: fn(&Here, &AdminCall) -> Result<AdminReply, ShowError>| {
        let here = here.clone();
        admin.endpoint(Method::GET, path, AUDITORS, move |call| here.clone().answer(call, answer))
    };
    let admin = get(admin, "/log/checkpoint", Here::checkpoint);
    let admin = get(admin, "/log/verifier", Here::verifier);
    let admin = get(admin, "/log/witnesses", Here::witnesses);
    let admin = get(admin, "/log/proof/inclusion", Here::inclusion);
    let admin = get(admin, "/log/proof/consistency", Here::consistency);
    admin.endpoints_below(Method::GET, "/log/tile/", AUDITORS, move |call| here.clone().tile(call))
}

#[derive(Clone)]
struct Here {
    shown: Shown,
    log: MessageLog,
    checkpoints: Checkpoints,
}

impl Here {
    /// Reads off the runtime's threads.
    async fn answer(
        self,
        call: AdminCall,
        answer: fn(&Self, &AdminCall) -> Result<AdminReply, ShowError>,
    ) -> AdminReply {
        let answered = tokio::task::spawn_blocking(move || answer(&self, &call)).await;
        match answered {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => refuse(&error),
            Err(error) => AdminReply::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    fn newest(&self) -> Result<Signed, ShowError> {
        self.checkpoints.shown().ok_or(ShowError::NoCheckpoint)
    }

    fn checkpoint(&self, _call: &AdminCall) -> Result<AdminReply, ShowError> {
        Ok(AdminReply::bytes(TEXT, self.newest()?.note.to_string().into()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "one form for all")]
    fn verifier(&self, _call: &AdminCall) -> Result<AdminReply, ShowError> {
        let mut lines = format!("{}\n", self.checkpoints.verifier());
        for key in self.checkpoints.witness_keys() {
            lines.push_str(&format!("{key}\n"));
        }
        Ok(AdminReply::bytes(TEXT, lines.into()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "one form for all")]
    fn witnesses(&self, _call: &AdminCall) -> Result<AdminReply, ShowError> {
        let each = self.checkpoints.witnesses().into_iter().map(|witness| {
            json!({
                "name": witness.name,
                "cosigned": witness.cosigned,
                "problem": witness.problem,
                "refused": witness.refused,
            })
        });
        Ok(AdminReply::json(StatusCode::OK, &each.collect()))
    }

    fn inclusion(&self, call: &AdminCall) -> Result<AdminReply, ShowError> {
        let Some(number) = parameter(&call.query, "number") else { return Ok(missing("number")) };
        let proof = self.shown.inclusion(number, &self.newest()?)?;
        Ok(AdminReply::bytes(TEXT, proof.to_string().into()))
    }

    fn consistency(&self, call: &AdminCall) -> Result<AdminReply, ShowError> {
        let Some(from) = parameter(&call.query, "from") else { return Ok(missing("from")) };
        let to = match parameter(&call.query, "to") {
            Some(to) => to,
            None => self.newest()?.checkpoint.size(),
        };
        Ok(AdminReply::json(StatusCode::OK, &as_json(&self.shown.consistency(from, to)?)))
    }

    async fn tile(self, call: AdminCall) -> AdminReply {
        let path = call.path.strip_prefix("/log/tile/").and_then(TilePath::parse);
        let Some(path) = path else { return refuse(&ShowError::NoTile) };
        // Records are evidence about people: first it is noted who reads them.
        let last = path.index.saturating_mul(256).saturating_add(u64::try_from(path.width).unwrap_or(0));
        if path.level.is_none() && last <= self.shown.tiles().records() {
            let reason = Query::read(&call.query).ok().and_then(|query| query.reason());
            let Some(reason) = reason else {
                return AdminReply::error(StatusCode::BAD_REQUEST, "reason is missing");
            };
            if let Err(error) = self.log.append(reading(&call, &path, reason), Vec::new()).await {
                return refuse(&ShowError::Log(error));
            }
        }
        let shown = self.shown;
        match tokio::task::spawn_blocking(move || shown.tile(&path)).await {
            Ok(Ok(bytes)) => AdminReply::bytes(BYTES, bytes.into()),
            Ok(Err(error)) => refuse(&error),
            Err(error) => AdminReply::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

fn reading(call: &AdminCall, path: &TilePath, reason: String) -> Record {
    let first = path.index.saturating_mul(256);
    Record::Access(AccessRecord {
        who: call.token.clone(),
        role: Some("auditor".to_owned()),
        action: "entries".to_owned(),
        query: call.path.clone(),
        reason: Some(reason),
        records: (first..).take(path.width).collect(),
        bodies: false,
    })
}

/// As JSON, hashes in base64.
pub(crate) fn as_json(proof: &Consistency) -> serde_json::Value {
    let tree = |(size, root): (u64, _)| json!({ "size": size, "root": BASE64.encode(root) });
    let path: Vec<String> = proof.path.iter().map(|hash| BASE64.encode(hash)).collect();
    json!({ "from": tree(proof.from), "to": tree(proof.to), "proof": path })
}

fn parameter(query: &str, name: &str) -> Option<u64> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
}

fn missing(name: &str) -> AdminReply {
    AdminReply::error(StatusCode::BAD_REQUEST, &format!("{name} = a number is expected"))
}

fn refuse(error: &ShowError) -> AdminReply {
    let status = match error {
        ShowError::NoCheckpoint | ShowError::NotCovered { .. } | ShowError::NoTile => StatusCode::NOT_FOUND,
        ShowError::Sizes { .. } => StatusCode::BAD_REQUEST,
        ShowError::Bundle(BundleError::TooLong { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
        ShowError::Bundle(BundleError::Log(LogError::Removed { .. })) => StatusCode::GONE,
        ShowError::Log(_) | ShowError::Checkpoint(_) | ShowError::Bundle(_) | ShowError::Changed(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    if status.is_server_error() {
        tracing::error!(%error, "the log cannot show itself");
    }
    AdminReply::error(status, &error.to_string())
}
