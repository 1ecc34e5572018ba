//! `getSecurityServerOperationalData`: records of exchanges, for those whose exchanges they are.
//!
//! ```text
//! <om:getSecurityServerOperationalData>              <om:getSecurityServerOperationalDataResponse>
//!   <om:searchCriteria>                                <om:recordsCount>122</om:recordsCount>
//!     <om:recordsFrom>1480512828</om:recordsFrom>      <om:records>cid:operational-monitoring-data.json.gz</om:records>
//!     <om:recordsTo>1480512832</om:recordsTo>          <om:nextRecordsFrom>1480512831</om:nextRecordsFrom>
//!     <om:client>...</om:client>                     and the records beside it, as compressed JSON
//! ```
//! The owner, who must name this server, and the network's monitoring client get every record. Everybody else gets those of
//! exchanges that he was a party of, without our internal address.
//!
//! Specification: PR-OPMON 2. Not here: what a record holds ([`crate::opmonitor::record`]).

use std::io::Write as _;

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use conf::identifier::ClientId;
use flate2::Compression;
use flate2::write::GzEncoder;
use roxmltree::Node;
use serde_json::{Map, Value};

use super::{Own, multipart, refused};
use crate::exchange::ports::{ServiceAnswer, View};
use crate::fault::{Fault, Leaf};
use crate::message::header::MessageHeader;
use crate::message::soap::SoapRequest;
use crate::opmonitor::record::FIELDS;
use crate::opmonitor::search::{Found, Search};
use crate::opmonitor::{SearchError, Settings};

/// The namespace of operational monitoring.
pub(super) const NAMESPACE: &str = "http://x-road.eu/xsd/op-monitoring.xsd";
const RECORDS: &str = "operational-monitoring-data.json.gz";
/// What only those see who may see every record.
const INTERNAL: &str = "securityServerInternalIp";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    from: i64,
    to: i64,
    provider: Option<ClientId>,
    /// None for all.
    fields: Vec<String>,
}

/// Answers it.
///
/// # Errors
/// The fault for what is wrong with the question, and when the records cannot be read.
pub(super) async fn answer(request: &SoapRequest, view: View<'_>, own: &Own) -> Result<ServiceAnswer, Fault> {
    let invalid = |text: String| refused(own, Leaf::InvalidRequest, &text);
    let asked = request.read_body(Asked::read)?.map_err(invalid)?;
    let off = || refused(own, Leaf::UnknownService, "Records of exchanges are not kept here");
    let settings = own.monitor.settings().filter(|settings| settings.directory.is_some()).ok_or_else(off)?;
    let party = limited_to(&request.header, view.conf.monitoring_client());
    let (search, later) = asked.plan(party.clone(), own.clock.now(), settings).map_err(invalid)?;
    let found = own.monitor.search(search).await.map_err(unreadable)?;
    let (records, next) = (found.records.len(), found.next.or(later));
    let payload = payload(found, &asked.fields, party.is_none()).map_err(|error| unreadable(error.into()))?;
    let envelope = request.answered(&body(records, next))?;
    let head = [
        ("content-transfer-encoding".to_owned(), "binary".to_owned()),
        ("content-id".to_owned(), format!("<{RECORDS}>")),
    ];
    Ok(multipart(own, &envelope, "application/gzip", &head, &payload))
}

fn unreadable(error: SearchError) -> Fault {
    tracing::error!(%error, "records of exchanges");
    Fault::new(Leaf::InternalError, "Failed to get records for response")
}

/// The party whose exchanges may be shown; none when all may.
fn limited_to(header: &MessageHeader, monitoring: Option<&ClientId>) -> Option<ClientId> {
    let (client, server) = (&header.client, header.security_server.as_ref());
    let owner = server.is_some_and(|server| ClientId::from(server.owner().clone()) == *client);
    (!owner && monitoring != Some(client)).then(|| client.clone())
}

impl Asked {
    fn read(body: Node<'_, '_>) -> Result<Self, String> {
        let criteria = child(body, "searchCriteria").ok_or("searchCriteria is missing")?;
        let time = |name: &str| {
            let text = child(criteria, name).and_then(|node| node.text());
            let text = text.ok_or_else(|| format!("{name} is missing"))?;
            text.trim().parse::<i64>().map_err(|_| format!("{name} is no number"))
        };
        let provider = child(criteria, "client").map(ClientId::read_xml).transpose();
        let spec = child(body, "outputSpec").into_iter().flat_map(|spec| spec.children());
        let fields = spec.filter(|node| node.has_tag_name((NAMESPACE, "outputField")));
        Ok(Self {
            from: time("recordsFrom")?,
            to: time("recordsTo")?,
            provider: provider.map_err(|error| format!("client: {error}"))?,
            fields: fields.map(|node| node.text().unwrap_or_default().trim().to_owned()).collect(),
        })
    }

    /// What is looked for, and from where a later question goes on when not all of its time is over yet.
    fn plan(
        &self,
        party: Option<ClientId>,
        now: UnixTime,
        settings: &Settings,
    ) -> Result<(Search, Option<u64>), String> {
        let seconds = |seconds: i64, what: &str| {
            u64::try_from(seconds).map_err(|_| format!("{what} is a negative number"))
        };
        let from = seconds(self.from, "Records from timestamp")?;
        let to = seconds(self.to, "Records to timestamp")?;
        let before = u64::try_from((now - settings.offset).as_secs()).unwrap_or(0);
        if to < from {
            return Err("Records to timestamp is earlier than records from timestamp".to_owned());
        }
        if from >= before {
            return Err(format!("Records not available from {from} yet"));
        }
        if let Some(field) = self.fields.iter().find(|field| !FIELDS.contains(&field.as_str())) {
            return Err(format!("Unknown output field in search criteria: {field}"));
        }
        let later = (to >= before).then_some(before);
        let to = to.min(before.saturating_sub(1));
        let (provider, limit) = (self.provider.clone(), settings.most_records);
        Ok((Search { from, to, party, provider, limit, ..Search::default() }, later))
    }
}

pub(super) fn child<'a, 'input>(parent: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    parent.children().find(|node| node.has_tag_name((NAMESPACE, name)))
}

fn body(records: usize, next: Option<u64>) -> String {
    let next =
        next.map(|next| format!("<om:nextRecordsFrom>{next}</om:nextRecordsFrom>")).unwrap_or_default();
    format!(
        "<om:getSecurityServerOperationalDataResponse xmlns:om=\"{NAMESPACE}\">\
         <om:recordsCount>{records}</om:recordsCount><om:records>cid:{RECORDS}</om:records>{next}\
         </om:getSecurityServerOperationalDataResponse>"
    )
}

/// The records with the fields that are wanted, and may be seen.
fn payload(found: Found, fields: &[String], all: bool) -> std::io::Result<Bytes> {
    let wanted = |name: &str| fields.is_empty() || fields.iter().any(|field| field == name);
    let mut records = found.records;
    for record in &mut records {
        record.retain(|name, _| wanted(name) && (all || name != INTERNAL));
    }
    let records = records.into_iter().map(Value::Object).collect();
    let json = Value::Object(Map::from_iter([("records".to_owned(), Value::Array(records))]));
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(json.to_string().as_bytes())?;
    Ok(out.finish()?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use conf::identifier::ServerId;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(10_000);

    fn read(criteria: &str) -> Result<Asked, String> {
        let xml = format!(
            "<om:x xmlns:om=\"{NAMESPACE}\" xmlns:id=\"http://x-road.eu/xsd/identifiers\">{criteria}</om:x>"
        );
        Asked::read(roxmltree::Document::parse(&xml).unwrap().root_element())
    }

    fn times(from: &str, to: &str) -> String {
        format!(
            "<om:searchCriteria><om:recordsFrom>{from}</om:recordsFrom><om:recordsTo>{to}</om:recordsTo></om:searchCriteria>"
        )
    }

    fn settings() -> Settings {
        Settings {
            directory: None,
            keep: Duration::from_secs(1),
            room: 1,
            period: Duration::from_secs(600),
            offset: Duration::from_secs(60),
            most_records: 7,
            traces: None,
            limited: false,
        }
    }

    fn plan(criteria: &str) -> Result<(u64, u64, Option<u64>), String> {
        let (search, later) = read(criteria)?.plan(None, NOW, &settings())?;
        assert_eq!(search.limit, 7);
        Ok((search.from, search.to, later))
    }

    #[test]
    fn what_is_not_yet_complete_is_left_for_the_next_question() {
        assert_eq!(plan(&times("9000", " 9500 ")), Ok((9000, 9500, None)));
        assert_eq!(plan(&times("9000", "9940")), Ok((9000, 9939, Some(9940))));
        assert_eq!(plan(&times("9000", "99999")), Ok((9000, 9939, Some(9940))));
    }

    #[test]
    fn each_fault_of_a_question_is_told() {
        let field = |name: &str| {
            format!(
                "{}<om:outputSpec><om:outputField>{name}</om:outputField></om:outputSpec>",
                times("1", "2")
            )
        };
        for (criteria, told) in [
            (String::new(), "searchCriteria is missing"),
            ("<om:searchCriteria/>".to_owned(), "recordsFrom is missing"),
            (times("x", "1"), "recordsFrom is no number"),
            (times("-1", "1"), "Records from timestamp is a negative number"),
            (times("1", "-1"), "Records to timestamp is a negative number"),
            (times("2", "1"), "Records to timestamp is earlier than records from timestamp"),
            (times("9940", "9999"), "Records not available from 9940 yet"),
            (field("bodies"), "Unknown output field in search criteria: bodies"),
        ] {
            assert_eq!(plan(&criteria), Err(told.to_owned()), "{criteria}");
        }
        let client = times("1", "2")
            .replace("</om:searchCriteria>", "<om:client id:objectType=\"MEMBER\"/></om:searchCriteria>");
        assert!(plan(&client).unwrap_err().starts_with("client: "));
        assert!(plan(&field("messageId")).is_ok());
    }

    #[test]
    fn only_the_owner_who_names_the_server_and_the_monitoring_client_see_all() {
        let header = |client: &str, server: Option<&str>| MessageHeader {
            client: client.parse().unwrap(),
            service: "D/G/1/getSecurityServerOperationalData".parse().unwrap_or_else(|_| {
                conf::identifier::ServiceId::new(
                    "D/G/1".parse().unwrap(),
                    "getSecurityServerOperationalData",
                    None,
                )
                .unwrap()
            }),
            message_id: "m".to_owned(),
            user_id: None,
            issue: None,
            represented_party: None,
            security_server: server.map(|server| server.parse::<ServerId>().unwrap()),
        };
        let monitoring: ClientId = "D/G/9/monitor".parse().unwrap();
        let limited =
            |client, server| limited_to(&header(client, server), Some(&monitoring)).map(|id| id.to_string());
        assert_eq!(limited("D/G/1", Some("D/G/1/ss")), None);
        assert_eq!(limited("D/G/9/monitor", None), None);
        for (client, server) in
            [("D/G/1", None), ("D/G/1/sub", Some("D/G/1/ss")), ("D/G/2", Some("D/G/1/ss")), ("D/G/9", None)]
        {
            assert_eq!(limited(client, server).as_deref(), Some(client));
        }
    }

    #[test]
    fn a_payload_has_the_fields_that_are_wanted_and_may_be_seen() {
        let record = |n: u64| {
            Map::from_iter([
                (INTERNAL.to_owned(), "10.0.0.1".into()),
                ("messageId".to_owned(), n.into()),
                ("succeeded".to_owned(), true.into()),
            ])
        };
        let show = |fields: &[&str], all| {
            let found = Found { records: vec![record(1), record(2)], next: None };
            let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
            let mut text = String::new();
            flate2::read::GzDecoder::new(&*payload(found, &fields, all).unwrap())
                .read_to_string(&mut text)
                .unwrap();
            text
        };
        assert_eq!(show(&["messageId"], true), r#"{"records":[{"messageId":1},{"messageId":2}]}"#);
        assert!(show(&[], true).contains("10.0.0.1"));
        assert!(!show(&[], false).contains("10.0.0.1") && !show(&[INTERNAL], false).contains("10.0.0.1"));
    }
}
