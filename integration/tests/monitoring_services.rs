//! The monitoring services of a server, asked over the network: who gets what.

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use integration::world::{Ask, Reply, Wishes, World, client, envelope};
    use serde_json::Value;

    const OPMON: &str = "xmlns:om=\"http://x-road.eu/xsd/op-monitoring.xsd\"";
    const SERVER: &str = "<x:securityServer id:objectType=\"SERVER\"><id:xRoadInstance>DEMO</id:xRoadInstance>\
        <id:memberClass>GOV</id:memberClass><id:memberCode>2002</id:memberCode><id:serverCode>ss2</id:serverCode>\
        </x:securityServer>";
    /// The portal, and the owner of the provider's server.
    const PORTAL: &str = "<id:memberCode>1001</id:memberCode><id:subsystemCode>portal</id:subsystemCode>";
    const OWNER: &str = "<id:memberCode>2002</id:memberCode>";

    /// A world in which records can be asked for after a second, and the provider's owner has an information system.
    async fn start() -> World {
        let owner = "[[client]]\nid = \"DEMO/GOV/2002\"\nauthentication = \"http\"\n\n".to_owned();
        let registry = "[[client]]\nid = \"DEMO/GOV/2002/registry\"";
        let monitoring =
            "[monitoring]\noffset = \"1 s\"\nmost_records = 3\nlimited = true\n\n[timestamping]\n";
        let provider = vec![(registry, owner + registry), ("[timestamping]\n", monitoring.to_owned())];
        World::wish(Wishes { consumer: Vec::new(), provider }).await
    }

    /// Asks the provider's server, as `asker`, through its own gateway's door.
    async fn ask(world: &World, asker: &str, service: &str, id: &str, body: &str) -> Reply {
        let text = envelope((service, ""), id, SERVER, body)
            .replacen("<id:subsystemCode>registry</id:subsystemCode>", "", 1)
            .replace(PORTAL, asker);
        let text = if asker == OWNER {
            text.replace("objectType=\"SUBSYSTEM\"", "objectType=\"MEMBER\"")
        } else {
            text
        };
        let ask = Ask::post("/", text).without("X-Road-Client").header("Content-Type", "text/xml");
        let door = if asker == OWNER { world.provider.http() } else { world.consumer.http() };
        ask.send_to(&door).await
    }

    fn operational(from: &str, to: &str, rest: &str) -> String {
        format!(
            "<om:getSecurityServerOperationalData {OPMON}><om:searchCriteria><om:recordsFrom>{from}</om:recordsFrom>\
             <om:recordsTo>{to}</om:recordsTo></om:searchCriteria>{rest}</om:getSecurityServerOperationalData>"
        )
    }

    /// The records of an answer, its number of them, and where to go on.
    fn records(reply: &Reply) -> (Vec<Value>, String, Option<u64>) {
        let body = &reply.message.body;
        let text = reply.text();
        let between = |from: &str, to: &str| Some(text.split_once(from)?.1.split_once(to)?.0.to_owned());
        let count = between("<om:recordsCount>", "</om:recordsCount>").unwrap_or_else(|| panic!("{text}"));
        let next = between("<om:nextRecordsFrom>", "</om:nextRecordsFrom>").map(|next| next.parse().unwrap());
        assert!(text.contains("<om:records>cid:operational-monitoring-data.json.gz</om:records>"));
        let at = body.windows(2).position(|window| window == [0x1f, 0x8b]).unwrap();
        let mut json = String::new();
        flate2::read::GzDecoder::new(body.get(at..).unwrap()).read_to_string(&mut json).unwrap();
        let all: Value = serde_json::from_str(&json).unwrap();
        (all["records"].as_array().unwrap().clone(), count, next)
    }

    /// What fields of all records are.
    fn fields(records: &[Value], name: &str) -> Vec<Option<Value>> {
        records.iter().map(|record| record.get(name).cloned()).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn operational_data_are_for_the_owner_and_for_the_parties_of_an_exchange() {
        let mut world = start().await;
        world.is_alive().await;
        tokio::time::sleep(Duration::from_millis(3200)).await;
        let service = "getSecurityServerOperationalData";

        let all = operational("0", "99999999999", "");
        let reply = ask(&world, PORTAL, service, "op-1", &all).await;
        let (own, count, next) = records(&reply);
        assert_eq!((own.len().to_string(), own.len()), (count, 1));
        assert!(next.is_some(), "not all of the time asked for is over");
        assert_eq!(fields(&own, "clientSubsystemCode"), [Some("portal".into())]);
        assert_eq!(fields(&own, "securityServerType"), [Some("Producer".into())]);
        assert_eq!(fields(&own, "securityServerInternalIp"), [None], "the address inside is not told");
        assert_eq!(world.provider.trace("op-1"), ["request", "response"], "signed and logged as any other");
        world.provider.verifies("op-1");

        tokio::time::sleep(Duration::from_millis(3200)).await;
        let reply = ask(&world, OWNER, service, "op-2", &all).await;
        let (every, ..) = records(&reply);
        assert!(every.len() >= 2 && fields(&every, "securityServerInternalIp").iter().all(Option::is_some));
        let wanted = "<om:outputSpec><om:outputField>messageId</om:outputField></om:outputSpec>";
        let reply = ask(&world, OWNER, service, "op-3", &operational("0", "99999999999", wanted)).await;
        assert!(records(&reply).0.iter().all(|record| record.as_object().unwrap().len() == 1));

        for (body, told) in [
            (operational("5", "4", ""), "Records to timestamp is earlier than records from timestamp"),
            (operational("99999999998", "99999999999", ""), "Records not available from 99999999998 yet"),
            (operational("1", "2", &wanted.replace("messageId", "body")), "Unknown output field"),
        ] {
            let refused = ask(&world, PORTAL, service, "op-4", &body).await.text();
            assert!(refused.contains("client.invalid_request") && refused.contains(told), "{refused}");
        }
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn health_data_tell_how_the_services_do_in_the_form_of_the_protocol() {
        let mut world = start().await;
        world.is_alive().await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let body = format!("<om:getSecurityServerHealthData {OPMON}/>");
        let text = ask(&world, PORTAL, "getSecurityServerHealthData", "h-1", &body).await.text();
        for told in [
            "<om:statisticsPeriodSeconds>600</om:statisticsPeriodSeconds>",
            "<id:serviceCode>records</id:serviceCode></om:service>",
            "<om:serviceType>REST</om:serviceType>",
            "<om:successfulRequestCount>1</om:successfulRequestCount>",
            "<om:requestMinDuration>",
        ] {
            assert!(text.contains(told), "{told} is not in {text}");
        }
        let of = |code: &str| {
            format!(
                "<om:getSecurityServerHealthData {OPMON}><om:filterCriteria><om:client id:objectType=\"SUBSYSTEM\">\
                 <id:xRoadInstance>DEMO</id:xRoadInstance><id:memberClass>GOV</id:memberClass>\
                 <id:memberCode>2002</id:memberCode><id:subsystemCode>{code}</id:subsystemCode></om:client>\
                 </om:filterCriteria></om:getSecurityServerHealthData>"
            )
        };
        let some = ask(&world, PORTAL, "getSecurityServerHealthData", "h-2", &of("registry")).await.text();
        assert!(some.contains("<id:serviceCode>records</id:serviceCode>"), "{some}");
        let none = ask(&world, PORTAL, "getSecurityServerHealthData", "h-3", &of("other")).await.text();
        assert!(none.contains("<om:servicesEvents></om:servicesEvents>"), "{none}");
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_machine_is_shown_to_its_owner_and_not_to_any_client() {
        let mut world = start().await;
        let body = "<m:getSecurityServerMetrics xmlns:m=\"http://x-road.eu/xsd/monitoring\"/>";
        let service = "getSecurityServerMetrics";
        let denied = ask(&world, PORTAL, service, "e-1", body).await.text();
        assert!(denied.contains("server.serverproxy.access_denied"), "{denied}");
        let text = ask(&world, OWNER, service, "e-2", body).await.text();
        for told in [
            "<m:name>SERVER:DEMO/GOV/2002/ss2</m:name>",
            "<m:name>proxyVersion</m:name><m:value>7.8.0</m:value>",
            "<m:name>OperatingSystem</m:name><m:value>Linux version",
            "<m:name>certificateType</m:name><m:value>AUTH_OR_SIGN</m:value>",
            "<m:name>Xroad Processes</m:name>",
            "<m:histogramMetric><m:name>FreePhysicalMemory</m:name><m:updated>",
        ] {
            assert!(text.contains(told), "{told} is not in {text}");
        }
        let wanted = body.replace(
            "/>",
            "><m:outputSpec><m:outputField>TotalPhysicalMemory</m:outputField></m:outputSpec></m:getSecurityServerMetrics>",
        );
        let text = ask(&world, OWNER, service, "e-3", &wanted).await.text();
        assert!(text.contains("TotalPhysicalMemory") && !text.contains("OperatingSystem"), "{text}");
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_client_that_monitors_the_network_sees_every_record_and_what_is_not_limited_of_the_machine() {
        let mut world = start().await;
        let body = "<m:getSecurityServerMetrics xmlns:m=\"http://x-road.eu/xsd/monitoring\"/>";
        let denied = ask(&world, PORTAL, "getSecurityServerMetrics", "n-1", body).await.text();
        assert!(denied.contains("access_denied"), "{denied}");
        world.network.monitored_by(client("1001", "portal"));
        world.publish(|_| {}).await;
        let text = ask(&world, PORTAL, "getSecurityServerMetrics", "n-2", body).await.text();
        assert!(text.contains("<m:name>OperatingSystem</m:name>"), "{text}");
        assert!(text.contains("<m:name>Certificates</m:name>"), "{text}");
        assert!(!text.contains("Processes") && !text.contains("TotalPhysicalMemory"), "limited: {text}");
        tokio::time::sleep(Duration::from_millis(3200)).await;
        let service = "getSecurityServerOperationalData";
        let reply = ask(&world, PORTAL, service, "n-3", &operational("0", "99999999999", "")).await;
        let (every, ..) = records(&reply);
        assert!(every.len() >= 2);
        assert!(fields(&every, "securityServerInternalIp").iter().all(Option::is_some));
        world.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_no_records_are_kept_none_are_given_and_the_statistics_are_told_all_the_same() {
        let off = vec![("[timestamping]\n", "[monitoring]\nkeep = \"off\"\n\n[timestamping]\n".to_owned())];
        let mut world = World::wish(Wishes { consumer: Vec::new(), provider: off }).await;
        world.is_alive().await;
        let body = operational("0", "99999999999", "");
        let text = ask(&world, PORTAL, "getSecurityServerOperationalData", "o-1", &body).await.text();
        assert!(text.contains("client.unknown_service"), "{text}");
        let body = format!("<om:getSecurityServerHealthData {OPMON}/>");
        tokio::time::sleep(Duration::from_millis(600)).await;
        let text = ask(&world, PORTAL, "getSecurityServerHealthData", "o-2", &body).await.text();
        assert!(text.contains("<om:successfulRequestCount>1<"), "{text}");
        assert!(!world.provider.folder.join("monitoring").exists());
        world.stop().await;
    }
}
