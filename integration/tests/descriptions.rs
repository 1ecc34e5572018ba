//! A description that an administrator takes up changes what a running gateway offers; one that only lies there does not.
//!
//! ```text
//! settings name records.yaml, people.wsdl ─► nothing changes ─► taken up ─► listed, callable ─► another one taken up ─► gone
//! ```

#[cfg(test)]
mod tests {
    use cert_authority::clock::UnixTime;
    use gateway::description::Accepted;
    use integration::world::{Ask, Node, World, client, envelope, within};
    use serde_json::Value;

    const RECORDS: &str = "openapi: 3.0.3\npaths:\n  /towns/{id}: {get: {}, put: {}}\n";

    /// Operations, each in version v1; nobody is at the address.
    fn wsdl(operations: &[&str]) -> String {
        let operation = |name: &&str| {
            format!("<operation name='{name}'><x:version xmlns:x='urn:x'>v1</x:version></operation>")
        };
        let operations: String = operations.iter().map(operation).collect();
        format!(
            "<definitions xmlns='http://schemas.xmlsoap.org/wsdl/' targetNamespace='urn:t' xmlns:t='urn:t' \
             xmlns:s='http://schemas.xmlsoap.org/wsdl/soap/'><binding name='b'>\
             <s:binding transport='http://schemas.xmlsoap.org/soap/http'/>{operations}</binding>\
             <service><port binding='t:b'><s:address location='http://127.0.0.1:1/'/></port></service></definitions>"
        )
    }

    fn take_up(node: &Node, description: &str, document: &str) {
        let mut accepted = Accepted::load(&node.folder).unwrap();
        let registry = client("2002", "registry");
        accepted.take_up(&registry, description, document.to_owned().into(), UnixTime::from_secs(0));
        accepted.write().unwrap();
    }

    /// The endpoints of `records` that the gateway lists.
    async fn endpoints(world: &World) -> Vec<String> {
        let reply = world.ask(&Ask::get("/r1/DEMO/GOV/2002/registry/listMethods")).await;
        let list: Value = serde_json::from_str(&reply.text()).unwrap();
        let services = list["service"].as_array().unwrap();
        let records = services.iter().find(|service| service["service_code"] == "records").unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let endpoints = records["endpoint_list"].as_array().unwrap().iter();
        endpoints.map(|each| format!("{} {}", text(&each["method"]), text(&each["path"]))).collect()
    }

    /// What the call of an operation ends with.
    async fn call(world: &World, operation: &str) -> String {
        let body = format!("<x:{operation}/>");
        let ask = Ask::post("/", envelope((operation, "v1"), "call", "", &body))
            .without("X-Road-Client")
            .header("Content-Type", "text/xml; charset=utf-8");
        let text = world.ask(&ask).await.text();
        let code = text.split("<faultcode>").nth(1).and_then(|rest| rest.split('<').next());
        code.unwrap_or("answered").to_owned()
    }

    #[tokio::test]
    async fn descriptions_count_from_when_they_are_taken_up() {
        let world = World::start().await;
        let provider = &world.provider;
        provider.put("records.yaml", RECORDS.as_bytes());
        provider.put("people.wsdl", wsdl(&["findPeople"]).as_bytes());
        provider.edit("code = \"records\"", "code = \"records\"\ndescription = \"records.yaml\"");
        let soap = "[[client.wsdl]]\ndescription = \"people.wsdl\"\n\
                    [[client.wsdl.allow]]\nto = \"DEMO/GOV/1001/portal\"\n\n[[client.service]]\ncode = \"closed\"";
        provider.edit("[[client.service]]\ncode = \"closed\"", soap);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(endpoints(&world).await.is_empty());
        let (unknown, unreachable) =
            ("server.serverproxy.unknown_service", "server.serverproxy.service_failed.network_error");
        assert_eq!(call(&world, "findPeople").await, unknown);

        take_up(provider, "records.yaml", RECORDS);
        take_up(provider, "people.wsdl", &wsdl(&["findPeople", "countPeople"]));
        within("what is described is offered", async {
            while call(&world, "countPeople").await == unknown {}
        })
        .await;
        assert_eq!(endpoints(&world).await, ["GET /towns/*", "PUT /towns/*"]);
        assert_eq!(call(&world, "findPeople").await, unreachable);

        take_up(provider, "people.wsdl", &wsdl(&["countPeople"]));
        within("what is not described any more is gone", async {
            while call(&world, "findPeople").await != unknown {}
        })
        .await;
        assert_eq!(call(&world, "countPeople").await, unreachable);

        // Damage does not unsettle a gateway that runs.
        provider.put("descriptions/accepted.toml", b"nonsense");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(call(&world, "countPeople").await, unreachable);
        world.is_alive().await;
    }
}
