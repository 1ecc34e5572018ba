//! `getSecurityServerHealthData`: how the services of this server have been doing in the last period.
//!
//! Whoever may send us a message may ask, as with X-Road.
//!
//! Specification: PR-OPMON 3. Not here: the numbers ([`crate::opmonitor::statistics`]).

use std::fmt::Write as _;

use cert_authority::clock::UnixTime;
use conf::identifier::ClientId;
use roxmltree::Node;

use super::methods::write_service;
use super::operational_data::{NAMESPACE, child};
use super::{Own, XML, ok, refused};
use crate::exchange::ports::ServiceAnswer;
use crate::fault::{Fault, Leaf};
use crate::message::soap::SoapRequest;
use crate::opmonitor::statistics::Statistics;

/// Answers it.
///
/// # Errors
/// The fault for what is wrong with the question.
pub(super) fn answer(request: &SoapRequest, own: &Own) -> Result<ServiceAnswer, Fault> {
    let of = request.read_body(asked)?.map_err(|text| refused(own, Leaf::InvalidRequest, &text))?;
    let body = own.monitor.statistics(|statistics, now| body(statistics, of.as_ref(), now));
    let off = || refused(own, Leaf::UnknownService, "Nothing is monitored here");
    Ok(ok(XML, request.answered(&body.ok_or_else(off)?)?))
}

/// Of whose services.
fn asked(body: Node<'_, '_>) -> Result<Option<ClientId>, String> {
    let client = child(body, "filterCriteria").and_then(|criteria| child(criteria, "client"));
    client.map(ClientId::read_xml).transpose().map_err(|error| format!("client: {error}"))
}

fn body(statistics: &Statistics, of: Option<&ClientId>, now: UnixTime) -> String {
    let mut out = format!(
        "<om:getSecurityServerHealthDataResponse xmlns:om=\"{NAMESPACE}\" \
         xmlns:id=\"http://x-road.eu/xsd/identifiers\">\
         <om:monitoringStartupTimestamp>{}</om:monitoringStartupTimestamp>\
         <om:statisticsPeriodSeconds>{}</om:statisticsPeriodSeconds><om:servicesEvents>",
        statistics.started().as_millis(),
        statistics.period().as_secs()
    );
    for (id, service, sums) in statistics.services(of, now) {
        out.push_str("<om:serviceEvents>");
        write_service(&mut out, "om:service", id);
        for (name, last) in [
            ("lastSuccessfulRequestTimestamp", service.last_successful),
            ("lastUnsuccessfulRequestTimestamp", service.last_unsuccessful),
        ] {
            if let Some(last) = last {
                let _ = write!(out, "<om:{name}>{}</om:{name}>", last.as_millis());
            }
        }
        let _ =
            write!(out, "<om:serviceType>{}</om:serviceType><om:lastPeriodStatistics>", service.service_type);
        for (name, value) in sums.fields() {
            let _ = write!(out, "<om:{name}>{value}</om:{name}>");
        }
        out.push_str("</om:lastPeriodStatistics></om:serviceEvents>");
    }
    out.push_str("</om:servicesEvents></om:getSecurityServerHealthDataResponse>");
    out
}
