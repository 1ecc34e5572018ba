//! Exchanges as traces: a span for each, and one for each of its steps, sent to a collector.
//!
//! Nothing is asked of the exchanges for it: spans are made of what was observed, beside them. What a collector does not
//! take is lost, and counted.
//!
//! Specification: OpenTelemetry Protocol (OTLP) over HTTP, protobuf. Not here: which trace an exchange is part of
//! ([`super::trace_context`]).

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use cert_authority::clock::UnixTime;
use cert_authority::http::{Client, Limits};
use cert_authority::x509::Certificate;
use http::{Request, Response};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use rustls_pki_types::CertificateDer;

use super::observation::Observed;
use super::record::ServerType;
use super::trace_context::TraceContext;

/// What a collector may take of our time.
const LIMITS: Limits =
    Limits { max_bytes: 64 * 1024, connect: Duration::from_secs(5), total: Duration::from_secs(10) };

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Its address, with the path.
    pub endpoint: String,
    /// Who may have issued its certificate, for https.
    pub authorities: Vec<Certificate>,
}

impl Collector {
    fn client(&self) -> Result<Client, String> {
        let roots: Vec<_> =
            self.authorities.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
        if roots.is_empty() {
            Ok(Client::new())
        } else {
            Client::with_roots(&roots).map_err(|e| e.to_string())
        }
    }
}

/// Sends spans.
#[derive(Debug)]
pub(super) struct Exporter {
    exporter: SpanExporter,
    scope: InstrumentationScope,
}

impl Exporter {
    /// To a collector; `server` is who we are.
    pub(super) fn new(collector: &Collector, server: &str) -> Result<Self, String> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(Http(collector.client()?))
            .with_endpoint(&collector.endpoint)
            .build()
            .map_err(|error| error.to_string())?;
        let about = [
            KeyValue::new("service.name", "passerelle-gateway"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", server.to_owned()),
        ];
        exporter.set_resource(&Resource::builder_empty().with_attributes(about).build());
        let scope = InstrumentationScope::builder("passerelle").build();
        Ok(Self { exporter, scope })
    }

    /// The spans of an exchange; none when its trace is not recorded.
    pub(super) fn spans(&self, observed: &Observed) -> Vec<SpanData> {
        let Some(context) = observed.trace.as_ref().filter(|context| context.sampled) else {
            return Vec::new();
        };
        let began = system_time(observed.record.request_in);
        let mut spans = vec![self.whole(observed, context, began)];
        let ends = observed.steps.iter().skip(1).map(|(_, begins)| *begins).chain([observed.took]);
        for ((step, begins), ends) in observed.steps.iter().zip(ends) {
            let Ok(id) = cert_authority::crypto::random_array() else { continue };
            let mut span = self.span(context, id, Some(context.span), began);
            span.name = step.name().into();
            span.start_time = began + *begins;
            span.end_time = began + ends;
            spans.push(span);
        }
        spans
    }

    /// Sends them.
    pub(super) async fn export(&self, spans: Vec<SpanData>) {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        if let Err(error) = self.exporter.export(spans).await {
            tracing::warn!(%error, "traces could not be sent");
            metrics::counter!("passerelle_spans_lost_total").increment(count);
        }
    }

    fn whole(&self, observed: &Observed, context: &TraceContext, began: SystemTime) -> SpanData {
        let record = &observed.record;
        let mut span = self.span(context, context.span, context.parent, began);
        span.parent_span_is_remote = context.parent.is_some();
        span.end_time = began + observed.took;
        span.span_kind = SpanKind::Server;
        span.name = match record.server_type {
            ServerType::Client => "exchange, consumer".into(),
            ServerType::Producer => "exchange, provider".into(),
        };
        if let Some(asked) = &record.asked {
            span.attributes.push(KeyValue::new("xroad.client", asked.client.to_string()));
            span.attributes.push(KeyValue::new("xroad.service", asked.service.to_string()));
            span.attributes.push(KeyValue::new("xroad.message_id", asked.message_id.clone()));
            span.attributes.push(KeyValue::new("xroad.request_id", asked.request_id.clone()));
        }
        if let Some(status) = record.status {
            span.attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if let Some((code, _)) = &record.fault {
            span.attributes.push(KeyValue::new("error.type", code.clone()));
            span.status = Status::error(code.clone());
        }
        span
    }

    fn span(
        &self,
        context: &TraceContext,
        id: [u8; 8],
        parent: Option<[u8; 8]>,
        began: SystemTime,
    ) -> SpanData {
        let state = context.state.as_deref().and_then(|state| state.parse::<TraceState>().ok());
        let (trace, id) = (TraceId::from_bytes(context.trace), SpanId::from_bytes(id));
        SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, state.unwrap_or_default()),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "".into(),
            start_time: began,
            end_time: began,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0))
}

/// The one HTTP client that we have, as the exporter wants it.
struct Http(Client);

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().to_string();
        let answer = self.0.post(&url, "application/x-protobuf", request.into_body(), LIMITS).await?;
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        Ok(response)
    }
}
