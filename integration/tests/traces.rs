//! Exchanges as traces, at a collector that takes OTLP over HTTP.

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use integration::world::{Ask, Message, Mode, RECORDS, Wishes, World, envelope};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Spans with the name of the server that sent them.
    type Spans = Arc<Mutex<Vec<(String, Span)>>>;

    /// A collector: its address, and what it was sent.
    async fn collector() -> (String, Spans) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let spans = Spans::default();
        let taken = Arc::clone(&spans);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let taken = Arc::clone(&taken);
                tokio::spawn(async move {
                    let Some(request) = Message::read(&mut stream, false).await else { return };
                    assert!(request.first.starts_with("POST /v1/traces "), "{}", request.first);
                    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
                    let sent = ExportTraceServiceRequest::decode(request.body).unwrap();
                    for resource in sent.resource_spans {
                        let named = resource.resource.unwrap().attributes;
                        let server = named.iter().find(|named| named.key == "service.instance.id").unwrap();
                        let server = format!("{:?}", server.value);
                        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                        taken.lock().unwrap().extend(spans.map(|span| (server.clone(), span)));
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                });
            }
        });
        (address, spans)
    }

    async fn start(address: &str) -> World {
        let traces = format!("[monitoring.traces]\nendpoint = \"{address}\"\n\n[timestamping]\n");
        let wish = vec![("[timestamping]\n", traces)];
        World::wish(Wishes { consumer: wish.clone(), provider: wish }).await
    }

    fn whole<'a>(spans: &'a [(String, Span)], side: &str) -> &'a Span {
        let name = format!("exchange, {side}");
        &spans.iter().find(|(_, span)| span.name == name).unwrap_or_else(|| panic!("no span {name}")).1
    }

    /// The names of a span's steps, by their beginnings.
    fn steps(spans: &[(String, Span)], of: &Span) -> Vec<String> {
        let mut steps: Vec<&Span> =
            spans.iter().map(|(_, span)| span).filter(|span| span.parent_span_id == of.span_id).collect();
        steps.retain(|span| !span.name.starts_with("exchange"));
        steps.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
        for span in &steps {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            assert!(of.start_time_unix_nano <= span.start_time_unix_nano);
            assert!(span.end_time_unix_nano <= of.end_time_unix_nano);
        }
        steps.into_iter().map(|span| span.name.clone()).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_exchange_is_one_trace_from_the_information_system_to_the_provider() {
        let (address, spans) = collector().await;
        let mut world = start(&address).await;
        let ask = Ask::get(&format!("{RECORDS}/x")).id("t-1");
        let ask = ask.header("traceparent", PARENT).header("tracestate", "vendor=1");
        assert_eq!(world.ask(&ask).await.status, 200);
        let service = world.service.last();
        assert_eq!(service.header("traceparent"), Some(PARENT), "the service gets what the client said");
        assert_eq!(service.header("tracestate"), Some("vendor=1"));
        world.stop().await; // what is waiting is sent

        let spans = spans.lock().unwrap().clone();
        let (consumer, provider) = (whole(&spans, "consumer"), whole(&spans, "provider"));
        assert!(
            spans.iter().all(|(_, span)| hex::encode(&span.trace_id) == "0af7651916cd43dd8448eb211c80319c")
        );
        assert_eq!(hex::encode(&consumer.parent_span_id), "b7ad6b7169203331");
        assert_eq!(
            provider.parent_span_id, consumer.span_id,
            "the provider's part belongs to the consumer's"
        );
        assert_eq!(consumer.trace_state, "vendor=1");
        assert_eq!(
            steps(&spans, consumer),
            [
                "read",
                "know",
                "route",
                "connect",
                "stream",
                "sign",
                "log",
                "release",
                "wait",
                "receive",
                "verify",
                "match",
                "log answer",
                "reply"
            ]
        );
        assert_eq!(
            steps(&spans, provider),
            [
                "receive",
                "check",
                "trust",
                "authorise",
                "verify",
                "log",
                "call",
                "stream",
                "sign",
                "log answer",
                "release"
            ]
        );
        let attribute = |name: &str| consumer.attributes.iter().find(|attribute| attribute.key == name);
        assert!(format!("{:?}", attribute("xroad.service")).contains("DEMO/GOV/2002/registry/records"));
        assert!(format!("{:?}", attribute("xroad.message_id")).contains("t-1"));
        let servers: std::collections::BTreeSet<_> = spans.iter().map(|(server, _)| server.clone()).collect();
        assert_eq!(servers.len(), 2, "{servers:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_refusal_is_an_error_in_its_trace_and_what_is_not_to_be_recorded_is_not() {
        let (address, spans) = collector().await;
        let mut world = start(&address).await;
        let refused = world.ask(&Ask::get("/r1/DEMO/GOV/2002/registry/closed/x")).await;
        let told = refused.error().unwrap().to_owned();
        let quiet = PARENT.replace("-01", "-00").replace("0af7", "ffff");
        assert_eq!(
            world.ask(&Ask::get(&format!("{RECORDS}/x")).header("traceparent", &quiet)).await.status,
            200
        );
        world.stop().await;
        let spans = spans.lock().unwrap().clone();
        let (consumer, provider) = (whole(&spans, "consumer"), whole(&spans, "provider"));
        assert_eq!(consumer.trace_id, provider.trace_id, "also a trace that begins with us");
        assert!(consumer.parent_span_id.is_empty());
        for span in [consumer, provider] {
            let status = span.status.clone().unwrap();
            assert_eq!((status.code, status.message), (2, told.clone()));
        }
        assert!(!spans.iter().any(|(_, span)| hex::encode(&span.trace_id).starts_with("ffff")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_soap_service_gets_the_trace_of_its_client_though_no_traces_are_made() {
        let mut world = World::start().await;
        let body = "<people xmlns=\"urn:people\"/>";
        let answer = envelope(("people", "v1"), "t-3", "", &body.replace("people ", "peopleResponse "));
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n", answer.len());
        world.service.mode(Mode::Raw([head, answer].concat().into_bytes()));
        let ask = Ask::post("/", envelope(("people", "v1"), "t-3", "", body)).without("X-Road-Client");
        let ask = ask.header("Content-Type", "text/xml").header("traceparent", PARENT);
        let reply = world.ask(&ask).await;
        assert!(reply.text().contains("peopleResponse"), "{}", reply.text());
        assert_eq!(world.service.last().header("traceparent"), Some(PARENT));
        let bad = Ask::post("/", envelope(("people", "v1"), "t-4", "", body)).without("X-Road-Client");
        world.ask(&bad.header("Content-Type", "text/xml").header("traceparent", "00-no-trace")).await;
        assert_eq!(world.service.last().header("traceparent"), None, "what is none is not handed on");
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_away_holds_up_nothing() {
        let mut world = start("http://127.0.0.1:1/v1/traces").await;
        world.is_alive().await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        world.is_alive().await;
        world.stop().await;
    }
}
