//! Operational monitoring over two gateways: what is known of exchanges afterwards, and by whom.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cert_authority::algorithm::DigestAlgorithm;
    use cert_authority::crypto::digest;
    use integration::world::{Ask, Message, Mode, Node, RECORDS, Wishes, World};
    use serde_json::Value;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;

    const TOKEN: &str = "an-operators-token";

    /// A world whose administration ports let an operator in.
    async fn start() -> World {
        let hash = digest(DigestAlgorithm::Sha256, TOKEN.as_bytes()).hex();
        let token =
            format!("[[administration.token]]\nname = \"op\"\nrole = \"operator\"\nsha256 = \"{hash}\"\n\n");
        let wish = vec![("[timestamping]\n", format!("{token}[timestamping]\n"))];
        World::wish(Wishes { consumer: wish.clone(), provider: wish }).await
    }

    async fn get(node: &Node, path: &str, token: &str) -> (String, Value) {
        let answer = ask(node, path, token).await;
        (answer.first.clone(), serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    async fn raw(node: &Node, path: &str, token: &str) -> String {
        String::from_utf8_lossy(&ask(node, path, token).await.body).into_owned()
    }

    async fn ask(node: &Node, path: &str, token: &str) -> Message {
        let mut stream = TcpStream::connect((node.host, 4000)).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n",
            node.host
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Message::read(&mut stream, false).await.unwrap()
    }

    async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
        for _ in 0..500 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("not so: {what}");
    }

    /// The record of a message, once it is there.
    async fn record(node: &Node, id: &str) -> Value {
        let find = async || {
            let (_, found) = get(node, "/monitoring/exchanges?limit=1000", TOKEN).await;
            let records = found["records"].as_array().cloned().unwrap_or_default();
            let mut records = records.into_iter().filter(|record| record["messageId"] == id);
            let first = records.next();
            assert_eq!(records.next(), None, "{id} has one record");
            first
        };
        eventually(id, async || find().await.is_some()).await;
        find().await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_sides_have_a_record_of_an_exchange() {
        let mut world = start().await;
        let ask = Ask::post(&format!("{RECORDS}/some/path?q=secret"), "twelve bytes")
            .id("m-1")
            .header("X-Road-UserId", "EE1")
            .header("X-Road-Issue", "case 7")
            .header("X-Road-Represented-Party", "COM/99");
        assert_eq!(world.ask(&ask).await.status, 200);
        let consumer = record(&world.consumer, "m-1").await;
        let provider = record(&world.provider, "m-1").await;
        for record in [&consumer, &provider] {
            for (name, expected) in [
                ("clientXRoadInstance", "DEMO"),
                ("clientMemberClass", "GOV"),
                ("clientMemberCode", "1001"),
                ("clientSubsystemCode", "portal"),
                ("serviceMemberCode", "2002"),
                ("serviceSubsystemCode", "registry"),
                ("serviceCode", "records"),
                ("serviceType", "REST"),
                ("messageUserId", "EE1"),
                ("messageIssue", "case 7"),
                ("messageProtocolVersion", "1"),
                ("representedPartyClass", "COM"),
                ("representedPartyCode", "99"),
                ("restMethod", "POST"),
                ("xRoadVersion", "7.8.0"),
            ] {
                assert_eq!(record[name], expected, "{name}");
            }
            assert_eq!((&record["succeeded"], &record["statusCode"]), (&true.into(), &200.into()));
            assert_eq!(record["clientSecurityServerAddress"], world.consumer.host.to_string());
            assert_eq!(record["serviceSecurityServerAddress"], world.provider.host.to_string());
            let times = ["requestInTs", "requestOutTs", "responseInTs", "responseOutTs"];
            let times: Vec<u64> = times.iter().map(|name| record[*name].as_u64().unwrap()).collect();
            assert!(times.is_sorted(), "{times:?}");
            assert_eq!(record.get("faultCode"), None);
        }
        assert_eq!(consumer["xRequestId"], provider["xRequestId"]);
        assert_eq!(consumer["requestSize"], provider["requestSize"]);
        assert_eq!(consumer["responseSize"], provider["responseSize"]);
        assert!(consumer["requestSize"].as_u64().unwrap() > 12);
        assert_eq!(consumer["securityServerType"], "Client");
        assert_eq!(provider["securityServerType"], "Producer");
        assert_eq!(consumer.get("restPath"), None, "the consumer does not note paths");
        assert_eq!(provider["restPath"], "/some/path", "without the query");
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn refused_and_failed_exchanges_have_records_with_the_fault_that_was_told() {
        let mut world = start().await;
        let refused = world.ask(&Ask::get("/r1/DEMO/GOV/2002/registry/closed/x").id("m-2")).await;
        let told = refused.error().unwrap();
        for node in [&world.consumer, &world.provider] {
            let record = record(node, "m-2").await;
            assert_eq!((&record["succeeded"], &record["faultCode"]), (&false.into(), &told.into()));
            assert!(record["faultString"].as_str().is_some_and(|text| !text.is_empty()));
        }
        world.service.mode(Mode::Raw(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n".to_vec()));
        assert_eq!(world.ask(&Ask::get(&format!("{RECORDS}/x")).id("m-3")).await.status, 404);
        for node in [&world.consumer, &world.provider] {
            let record = record(node, "m-3").await;
            assert_eq!((&record["succeeded"], &record["statusCode"]), (&false.into(), &404.into()));
            assert_eq!(record.get("faultCode"), None, "the service's own error is no fault");
        }
        assert!(world.ask(&Ask::get("/r1/DEMO")).await.error().is_some());
        eventually("a request that cannot be read has a record", async || {
            let (_, found) = get(&world.consumer, "/monitoring/exchanges", TOKEN).await;
            let mut all = found["records"].as_array().unwrap().iter();
            all.any(|record| record.get("messageId").is_none() && record["succeeded"] == false)
        })
        .await;
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_operator_sees_how_the_services_do_and_nobody_else_does() {
        let mut world = start().await;
        world.is_alive().await;
        world.ask(&Ask::get("/r1/DEMO/GOV/2002/registry/closed/x")).await;
        eventually("both services are known", async || {
            let (_, shown) = get(&world.provider, "/monitoring/health", TOKEN).await;
            shown["services"].as_array().is_some_and(|services| services.len() == 2)
        })
        .await;
        let (_, shown) = get(&world.provider, "/monitoring/health", TOKEN).await;
        assert_eq!(shown["statisticsPeriodSeconds"], 600);
        let services = shown["services"].as_array().unwrap();
        let of = |code: &str| {
            let id = format!("DEMO/GOV/2002/registry/{code}");
            services.iter().find(|service| service["service"] == id.as_str()).unwrap()["lastPeriodStatistics"]
                .clone()
        };
        assert_eq!(
            (&of("records")["successfulRequestCount"], &of("closed")["unsuccessfulRequestCount"]),
            (&1.into(), &1.into())
        );
        assert!(
            of("records")["requestMinDuration"].is_u64() && of("closed").get("requestMinDuration").is_none()
        );

        for path in ["/monitoring/exchanges", "/monitoring/health"] {
            let (first, _) = get(&world.provider, path, "no-such-token").await;
            assert!(first.contains(" 401 "), "{path}: {first}");
        }
        let (first, told) = get(&world.provider, "/monitoring/exchanges?limits=1", TOKEN).await;
        assert!(first.contains(" 400 "), "{first} {told}");
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn exchanges_go_on_without_a_place_for_their_records_and_health_tells() {
        let nowhere = "[monitoring]\ndirectory = \"anchor.xml\"\n\n[timestamping]\n".to_owned();
        let consumer = vec![("[timestamping]\n", nowhere)];
        let mut world = World::wish(Wishes { consumer, provider: Vec::new() }).await;
        world.is_alive().await;
        let health = world.consumer.is_well(false).await;
        assert!(health.contains("1 records of exchanges were lost"), "{health}");
        world.is_alive().await;
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_dashboard_asks_for_is_measured() {
        let mut world = start().await;
        world.is_alive().await;
        world.ask(&Ask::get("/r1/DEMO/GOV/2002/registry/closed/x")).await;
        let measured = async || {
            let text = raw(&world.provider, "/metrics", TOKEN).await;
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines
                .filter_map(|line| line.split(['{', ' ']).next())
                .map(str::to_owned)
                .collect::<BTreeSet<String>>()
        };
        let expected = [
            "conf_expires_seconds",
            "passerelle_certificate_expires_seconds",
            "passerelle_exchange_seconds_bucket",
            "passerelle_exchange_seconds_count",
            "passerelle_exchanges_total",
            "passerelle_faults_total",
            "passerelle_log_records",
            "passerelle_log_unstamped_seconds",
            "passerelle_ocsp_responses_total",
            "passerelle_own_certificates_without_ocsp",
            "passerelle_peer_exchanges_total",
            "passerelle_signatures_total",
            "passerelle_signed_messages_total",
            "passerelle_step_seconds_bucket",
            "passerelle_step_seconds_sum",
            "passerelle_timestamps_total",
        ];
        eventually("everything is measured", async || {
            let measured = measured().await;
            expected.iter().all(|name| measured.contains(*name))
        })
        .await;
        let text = raw(&world.provider, "/metrics", TOKEN).await;
        for line in [
            "passerelle_exchanges_total{side=\"provider\",outcome=\"fault\"}",
            "passerelle_exchanges_total{side=\"provider\",outcome=\"answered\"}",
            "passerelle_faults_total{side=\"consumer\",code=\"access_denied\"}",
            "passerelle_peer_exchanges_total{side=\"consumer\",peer=\"DEMO/GOV/2002/ss2\",outcome=\"answered\"}",
            "# HELP passerelle_exchanges_total ",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        world.stop().await;
    }
}
