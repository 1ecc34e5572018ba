//! The services that every gateway has by itself, asked through two gateways.

#[cfg(test)]
mod tests {
    use integration::world::{Ask, Reply, World, envelope};
    use serde_json::{Value, json};

    const OTHER: &str = "DEMO/GOV/1001/pinned";

    fn rest(target: &str) -> Ask {
        Ask::get(&format!("/r1/DEMO/GOV/2002/registry/{target}"))
    }

    fn soap(code: &str, id: &str, body: &str) -> Ask {
        let body = format!("<x:{code}>{body}</x:{code}>");
        Ask::post("/", envelope((code, ""), id, "", &body))
            .without("X-Road-Client")
            .header("Content-Type", "text/xml; charset=utf-8")
    }

    fn service(code: &str, endpoints: &[(&str, &str)]) -> Value {
        let endpoints: Vec<_> =
            endpoints.iter().map(|(method, path)| json!({"method": method, "path": path})).collect();
        json!({"member_class": "GOV", "member_code": "2002", "object_type": "SERVICE", "service_code": code,
            "service_type": "REST", "subsystem_code": "registry", "xroad_instance": "DEMO",
            "endpoint_list": endpoints})
    }

    /// Codes and versions that a list in XML holds.
    fn listed(reply: &Reply) -> Vec<(String, Option<String>)> {
        assert_eq!((reply.status, reply.header("Content-Type")), (200, Some("text/xml; charset=UTF-8")));
        let text = reply.text();
        let document = roxmltree::Document::parse(&text).unwrap();
        let named = |name: &'static str| {
            move |node: &roxmltree::Node<'_, '_>| {
                node.has_tag_name(("http://x-road.eu/xsd/identifiers", name))
            }
        };
        let body = document.descendants().find(|node| node.tag_name().name() == "Body").unwrap();
        let services = body.descendants().filter(|node| {
            node.has_tag_name(("http://x-road.eu/xsd/xroad.xsd", "service"))
                && node.attribute(("http://x-road.eu/xsd/identifiers", "objectType")) == Some("SERVICE")
        });
        let text = |node: roxmltree::Node<'_, '_>| node.text().unwrap().to_owned();
        services
            .map(|service| {
                let code = service.children().find(named("serviceCode")).map(text).unwrap();
                (code, service.children().find(named("serviceVersion")).map(text))
            })
            .collect()
    }

    fn fault(reply: &Reply) -> String {
        let text = reply.text();
        let code = text.split("<faultcode>").nth(1).unwrap_or_else(|| panic!("no fault: {text}"));
        code.split('<').next().unwrap().to_owned()
    }

    fn is_evidence(world: &World, id: &str) {
        for node in [&world.consumer, &world.provider] {
            assert_eq!(node.trace(id), ["request", "response"]);
            node.verifies(id);
        }
    }

    #[tokio::test]
    async fn methods_of_rest_are_listed_with_their_endpoints_signed_and_logged() {
        let world = World::start().await;
        let parted = [("GET", "/open/*"), ("POST", "/open/*/notes")];
        let all = [
            service("closed", &[]),
            service("down", &[]),
            service("off", &[]),
            service("parted", &parted),
            service("records", &[]),
        ];
        let reply = world.ask(&rest("listMethods").id("list-1")).await;
        assert_eq!((reply.status, reply.header("Content-Type")), (200, Some("application/json")));
        let list: Value = serde_json::from_str(&reply.text()).unwrap();
        assert_eq!(list, json!({ "service": all }));
        is_evidence(&world, "list-1");

        let [_, down, off, parted, records] = all;
        for (client, expected) in
            [("DEMO/GOV/1001/portal", vec![down, off, parted, records]), (OTHER, vec![])]
        {
            let ask = rest("allowedMethods").client(client).id(client);
            if client == OTHER {
                world.consumer.edit("authentication = \"certificate\"", "authentication = \"http\"");
                world.consumer.edit("certificates = ", "# certificates = ");
                integration::world::within("the settings are taken up", async {
                    while world.ask(&ask).await.status != 200 {}
                })
                .await;
            }
            let list: Value = serde_json::from_str(&world.ask(&ask).await.text()).unwrap();
            assert_eq!(list, json!({ "service": expected }), "{client}");
        }
        assert_eq!(world.service.calls(), 0);
    }

    #[tokio::test]
    async fn methods_of_soap_are_listed_signed_and_logged() {
        let world = World::start().await;
        let people = ("people".to_owned(), Some("v1".to_owned()));
        for (code, id, expected) in [
            ("listMethods", "soap-list", vec![people.clone(), ("shut".to_owned(), None)]),
            ("allowedMethods", "soap-allowed", vec![people]),
        ] {
            let reply = world.ask(&soap(code, id, "")).await;
            assert_eq!(listed(&reply), expected, "{}", reply.text());
            assert!(reply.text().contains(&format!("<x:{code}Response ")), "{}", reply.text());
            assert!(
                reply.text().contains("</x:id><x:requestHash") || reply.text().contains("<x:requestHash")
            );
            is_evidence(&world, id);
        }
        assert_eq!(world.service.calls(), 0);
    }

    #[tokio::test]
    async fn what_is_no_question_to_the_gateway_is_refused() {
        let world = World::start().await;
        let service_failed = "server.serverproxy.service_failed";
        for (ask, expected) in [
            // Only GET asks: to any other method there is no such service.
            (Ask::post("/r1/DEMO/GOV/2002/registry/listMethods", "x"), "server.serverproxy.unknown_service"),
            (rest("getOpenAPI"), "server.serverproxy.invalid_request"),
            (rest("getOpenAPI?serviceCode="), "server.serverproxy.invalid_request"),
            (rest("getOpenAPI?serviceCode=%ff"), "server.serverproxy.invalid_request"),
            (rest("getOpenAPI?serviceCode=%zz"), "server.clientproxy.bad_request"),
            (rest("getOpenAPI?serviceCode=nosuch"), "server.serverproxy.internal_error"),
            (rest("getOpenAPI?serviceCode=people"), "server.serverproxy.internal_error"),
            (rest("getOpenAPI?servicecode=records"), "server.serverproxy.internal_error"),
            (rest("getWsdl"), "server.serverproxy.unknown_service"),
        ] {
            let reply = world.ask(&ask).await;
            assert_eq!(reply.error(), Some(expected), "{ask:?} {}", reply.text());
        }
        for (code, body, expected) in [
            ("getWsdl", "", "invalid_request"),
            ("getWsdl", "<x:serviceCode> </x:serviceCode>", "invalid_request"),
            ("getWsdl", "<x:serviceCode>nosuch</x:serviceCode>", "unknown_service"),
            ("getWsdl", "<x:serviceCode>records</x:serviceCode>", "service_type"),
            ("getWsdl", "<x:serviceCode>people</x:serviceCode>", "unknown_service"),
            ("getOpenAPI", "<x:serviceCode>people</x:serviceCode>", "unknown_service"),
        ] {
            let expected = match code {
                "getWsdl" => format!("{service_failed}.{expected}"),
                _ => format!("server.serverproxy.{expected}"),
            };
            assert_eq!(fault(&world.ask(&soap(code, "refused", body)).await), expected, "{code} {body}");
        }
        // A subsystem that is not the provider's has none.
        let reply = world.ask(&Ask::get("/r1/DEMO/GOV/2002/nosuch/listMethods")).await;
        assert_eq!(reply.error(), Some("server.clientproxy.unknown_member"), "{}", reply.text());
        assert_eq!(world.service.calls(), 0);
        world.is_alive().await;
    }
}
