//! Records as JSON: one form for the command line, exports and the administration port.
//!
//! Not here: what messages contain; it is given out in containers only.

use cert_authority::clock::UnixTime;
use serde_json::{Value, json};

use crate::evidence::timestamp::signature_digest;
use crate::messagelog::{
    MessageRecord, Record, Role,
    reader::StoredRecord,
    record::{Kind, Outcome, OutcomeRecord, TimestampRecord},
};

/// As it is called outside.
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Request => "request",
        Kind::Response => "response",
        Kind::Outcome => "outcome",
        Kind::Timestamp => "timestamp",
        Kind::Checkpoint => "checkpoint",
        Kind::Configuration => "configuration",
        Kind::Access => "access",
        Kind::Archive => "archive",
    }
}

/// As it is called outside.
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Consumer => "consumer",
        Role::Provider => "provider",
    }
}

/// As it is called outside.
pub const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Fault => "fault",
        Outcome::InDoubt => "in doubt",
    }
}

/// Bytes of all parts of a message.
pub fn length(message: &MessageRecord) -> u64 {
    message.parts.iter().map(|part| part.length).sum()
}

/// All that is known of a record, but not what it contains.
pub fn whole(record: &StoredRecord, stamp: Option<&TimestampRecord>) -> Value {
    let mut all = summary(record, stamp);
    if let Some(fields) = all.as_object_mut() {
        fields.extend(record.record.message().map(details).into_iter().flatten());
        fields.insert("leaf".to_owned(), hex::encode(record.leaf).into());
    }
    all
}

/// What stands in a line of JSON. `null` is what is not known, or not yet there.
pub fn summary(record: &StoredRecord, stamp: Option<&TimestampRecord>) -> Value {
    let mut all = json!({
        "number": record.sequence,
        "time": record.time.to_rfc3339_millis(),
        "kind": kind_name(record.record.kind()),
    });
    let more = match &record.record {
        Record::Request(message) | Record::Response(message) => json!({
            "role": role_name(message.role),
            "message_id": message.message_id,
            "request_id": message.request_id,
            "client": message.client.to_string(),
            "service": message.service.to_string(),
            "length": length(message),
            "timestamped_at": stamp.map(|stamp| stamp.time.to_rfc3339()),
            "tsa": stamp.map(|stamp| &stamp.authority),
        }),
        Record::Outcome(outcome) => outcome_fields(outcome),
        Record::Timestamp(stamp) => json!({
            "timestamped_at": stamp.time.to_rfc3339(),
            "tsa": stamp.authority,
            "covers": stamp.covered.iter().map(|(covered, _)| covered).collect::<Vec<_>>(),
        }),
        Record::Checkpoint(checkpoint) => {
            json!({ "size": checkpoint.size, "root": hex::encode(checkpoint.root) })
        }
        Record::Configuration(configuration) => json!({
            "scope": configuration.scope,
            "instance": configuration.instance,
            "digest": configuration.digest.hex(),
            "expires": configuration.expires.map(UnixTime::to_rfc3339),
            "note": configuration.note,
        }),
        Record::Access(access) => json!({
            "who": access.who,
            "role": access.role,
            "action": access.action,
            "query": access.query,
            "reason": access.reason,
            "records": access.records,
            "bodies": access.bodies,
        }),
        Record::Archive(archive) => json!({
            "file": archive.file,
            "group": archive.group,
            "announced_by": archive.begun,
            "digest": archive.digest.hex(),
            "sha256": archive.hash.hex(),
            "length": archive.length,
            "records": archive.records,
        }),
    };
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

fn outcome_fields(outcome: &OutcomeRecord) -> Value {
    json!({
        "message_id": outcome.message_id,
        "request": outcome.request,
        "outcome": outcome_name(outcome.outcome),
        "fault_code": outcome.fault_code,
        "fault_text": outcome.fault_text,
        "status": outcome.status,
    })
}

/// What is known of a message besides, but not what it contains.
pub fn details(message: &MessageRecord) -> serde_json::Map<String, Value> {
    let parts = message.parts.iter().map(|part| {
        json!({
            "media_type": part.media_type,
            "length": part.length,
            "algorithm": part.digest.algorithm().name(),
            "digest": part.digest.hex(),
            "kept": part.stored.is_some(),
            "data_key": part.stored.as_ref().map(|stored| &stored.key),
        })
    });
    let more = &message.circumstances;
    let all = json!({
        "user_id": message.user_id,
        "issue": message.issue,
        "represented_party": message.represented_party,
        "own_server": message.own_server.as_ref().map(ToString::to_string),
        "peer_server": message.peer_server.as_ref().map(ToString::to_string),
        "request": message.request,
        "began": message.began.map(UnixTime::to_rfc3339_millis),
        "signed_at": message.signed_at.map(UnixTime::to_rfc3339),
        "signature_length": message.signature.len(),
        "signature_sha512": signature_digest(&message.signature).hex(),
        "hash_chain": message.hash_chain.is_some(),
        "parts": parts.collect::<Vec<_>>(),
        "global_configuration": more.global_configuration.map(|digest| digest.hex()),
        "local_configuration": more.local_configuration.map(|digest| digest.hex()),
        "purpose": more.purpose,
        "agreement": more.agreement,
        "jurisdiction": more.jurisdiction.map(|digest| digest.hex()),
        "data_class": more.data_class,
        "policy_decision": more.policy_decision,
        "ocsp_responses": message.ocsp_responses.len(),
        "tls_group": more.tls_group,
        "tls_suite": more.tls_suite,
    });
    all.as_object().cloned().unwrap_or_default()
}
