//! `getSecurityServerMetrics`: the machine that the gateway runs on.
//!
//! ```text
//! <m:metricSet><m:name>SERVER:DEMO/GOV/1001/ss1</m:name>
//!   <m:stringMetric><m:name>proxyVersion</m:name><m:value>...</m:value></m:stringMetric>
//!   <m:metricSet><m:name>systemMetrics</m:name> ...
//! ```
//! For the owner of the server, and the network's monitoring client: [`crate::serverconf::ServerConf::access`].
//!
//! Specification: X-Road Environmental Monitoring Messages, and its XML Schema. Not here: the metrics
//! ([`crate::environment`]).

use std::fmt::Write as _;
use std::sync::Arc;

use conf::identifier::{ClientId, ServerId};
use roxmltree::Node;

use super::{Own, XML, ok};
use crate::environment::Metric;
use crate::exchange::PROXY_VERSION;
use crate::exchange::ports::ServiceAnswer;
use crate::fault::{Fault, Leaf, soap::escape};
use crate::message::soap::SoapRequest;

const NAMESPACE: &str = "http://x-road.eu/xsd/monitoring";

/// Answers it.
///
/// # Errors
/// None that reading the request has not met, unless the machine cannot be looked at.
pub(super) async fn answer(request: &SoapRequest, own: &Own) -> Result<ServiceAnswer, Fault> {
    let names = request.read_body(asked)?;
    let owner = request.header.client == ClientId::from(own.server.owner().clone());
    let whole = owner || !own.monitor.settings().is_some_and(|settings| settings.limited);
    let environment = Arc::clone(&own.environment);
    let metrics = tokio::task::spawn_blocking(move || environment.metrics(&names, whole)).await;
    let metrics = metrics.map_err(|_| Fault::new(Leaf::InternalError, "Unable to read metrics"))?;
    Ok(ok(XML, request.answered(&body(&own.server, metrics))?))
}

/// The names of the metrics that are wanted; none for all.
fn asked(body: Node<'_, '_>) -> Vec<String> {
    let fields = body.descendants().filter(|node| node.has_tag_name((NAMESPACE, "outputField")));
    let names = fields.filter_map(|field| field.text()).map(|name| name.trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

fn body(server: &ServerId, metrics: Vec<Metric>) -> String {
    let version = Metric::Text("proxyVersion".to_owned(), PROXY_VERSION.to_owned());
    let system = Metric::Set("systemMetrics".to_owned(), metrics);
    let all = Metric::Set(format!("SERVER:{server}"), vec![version, system]);
    let mut out = format!("<m:getSecurityServerMetricsResponse xmlns:m=\"{NAMESPACE}\">");
    write(&mut out, &all);
    out.push_str("</m:getSecurityServerMetricsResponse>");
    out
}

/// A set of nothing is left out: the schema has none.
fn write(out: &mut String, metric: &Metric) {
    let kind = match metric {
        Metric::Set(_, metrics) if metrics.is_empty() => return,
        Metric::Set(..) => "metricSet",
        Metric::Number(..) => "numericMetric",
        Metric::Text(..) => "stringMetric",
        Metric::Histogram(..) => "histogramMetric",
    };
    let _ = write!(out, "<m:{kind}><m:name>{}</m:name>", escape(metric.name()));
    match metric {
        Metric::Set(_, metrics) => metrics.iter().for_each(|metric| write(out, metric)),
        Metric::Number(_, value) | Metric::Text(_, value) => {
            let _ = write!(out, "<m:value>{}</m:value>", escape(value));
        }
        Metric::Histogram(_, told) => {
            let _ = write!(
                out,
                "<m:updated>{}</m:updated><m:min>{}</m:min><m:max>{}</m:max><m:mean>{}</m:mean>\
                 <m:median>{}</m:median><m:stddev>{}</m:stddev>",
                told.updated.to_rfc3339(),
                told.min,
                told.max,
                told.mean,
                told.median,
                told.deviation
            );
        }
    }
    let _ = write!(out, "</m:{kind}>");
}
