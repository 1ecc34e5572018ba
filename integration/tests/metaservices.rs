//! The services that every gateway has by itself, asked through two gateways.

#[cfg(test)]
mod tests {
    use cert_authority::algorithm::DigestAlgorithm;
    use cert_authority::crypto::digest;
    use integration::world::{Ask, Reply, Wishes, World, envelope, within};
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
                within("the settings are taken up", async { while world.ask(&ask).await.status != 200 {} })
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
    const OPENAPI: &str = "openapi: 3.0.3\ninfo: {title: Records, version: '1'}\nservers:\n\
        - url: https://inside.example:9000/api # not for strangers\npaths:\n  /towns/{id}:\n    get: {responses: {}}\n";

    const WSDL: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/"><!-- é -->
  <w:binding name="b" type="t"><s:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <w:operation name="people"><v:version xmlns:v="http://x-road.eu/xsd/xroad.xsd">v1</v:version></w:operation>
  </w:binding>
  <w:service name="people"><w:port name="p" binding="b"><s:address location='http://inside.example/x' /></w:port></w:service>
</w:definitions>
"#;

    /// Takes descriptions up, as `service refresh` does.
    fn take_up(world: &World, documents: &[(&str, &str)]) {
        let mut list = String::new();
        for (name, document) in documents {
            let sha256 = digest(DigestAlgorithm::Sha256, document.as_bytes()).hex();
            world.provider.put(&format!("descriptions/{sha256}"), document.as_bytes());
            list += &format!(
                "[[description]]\nclient = \"DEMO/GOV/2002/registry\"\ndescription = \"{name}\"\n\
                 sha256 = \"{sha256}\"\ntaken_up = \"2026-02-03T04:05:06Z\"\n"
            );
        }
        world.provider.put("descriptions/accepted.toml", list.as_bytes());
    }

    async fn described() -> World {
        let described = |from: &'static str, file| (from, format!("{from}description = \"{file}\"\n"));
        let provider = vec![
            described("code = \"records\"\n", "openapi.yaml"),
            described("code = \"people\"\n", "people.wsdl"),
        ];
        let world = World::wish(Wishes { provider, ..Wishes::default() }).await;
        std::fs::create_dir(world.provider.folder.join("descriptions")).unwrap();
        world
    }

    #[tokio::test]
    async fn a_description_of_rest_is_shown_without_the_addresses_behind_the_gateway() {
        let world = described().await;
        let ask = |id: &str| rest("getOpenAPI?serviceCode=records").id(id);
        let reply = world.ask(&ask("none")).await;
        assert_eq!(reply.error(), Some("server.serverproxy.internal_error"), "none was taken up");

        let json = r#"{"openapi":"3.1.0","info":{"title":"x","version":"1"},"servers":[{"url":"http://in/v2"}],"paths":{}}"#;
        let yaml = OPENAPI.replace("https://inside.example:9000/api", "\"/api\"");
        for (document, content_type, shown) in [
            (OPENAPI, "application/x-yaml", yaml),
            (json, "application/json", json.replace("http://in/v2", "/v2")),
        ] {
            take_up(&world, &[("openapi.yaml", document)]);
            within("it is taken up", async {
                while world.ask(&ask("wait")).await.header("Content-Type") != Some(content_type) {}
            })
            .await;
            let reply = world.ask(&ask(content_type)).await;
            assert_eq!((reply.status, reply.text()), (200, shown));
            is_evidence(&world, content_type);
            let list: Value = serde_json::from_str(&world.ask(&rest("listMethods")).await.text()).unwrap();
            let services = list["service"].as_array().unwrap();
            let records = services.iter().find(|one| one["service_code"] == "records").unwrap();
            let endpoints = json!([{ "method": "GET", "path": "/towns/*" }]);
            let endpoints = if document == OPENAPI { endpoints } else { json!([]) };
            assert_eq!(
                (&records["service_type"], &records["endpoint_list"]),
                (&json!("OPENAPI"), &endpoints)
            );
        }
        assert_eq!(world.service.calls(), 0);
    }

    #[tokio::test]
    async fn a_wsdl_is_an_attachment_without_the_addresses_behind_the_gateway() {
        let world = described().await;
        let failed = "server.serverproxy.service_failed";
        let body = "<x:serviceCode>people</x:serviceCode><x:serviceVersion>v1</x:serviceVersion>";
        let none = world.ask(&soap("getWsdl", "none", body)).await;
        assert_eq!(fault(&none), format!("{failed}.unknown_service"), "none was taken up");
        take_up(&world, &[("people.wsdl", WSDL)]);
        within("it is taken up", async {
            while world
                .ask(&soap("getWsdl", "wait", body))
                .await
                .header("Content-Type")
                .unwrap()
                .starts_with("text")
            {}
        })
        .await;
        let reply = world.ask(&soap("getWsdl", "wsdl", body)).await;
        let content_type = reply.header("Content-Type").unwrap().to_owned();
        assert!(content_type.starts_with("multipart/related; type=\"text/xml\"; "), "{content_type}");
        let boundary = content_type.split("boundary=").nth(1).unwrap();
        let text = reply.text();
        let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
        assert_eq!((parts.len(), parts[3]), (4, "--\r\n"));
        assert!(
            parts[1]
                .contains(&format!("<x:getWsdlResponse xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\">{body}")),
            "{text}"
        );
        assert!(parts[1].contains("<x:requestHash"), "{text}");
        let (head, wsdl) = parts[2].split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Transfer-Encoding: binary") && head.contains("<wsdl="), "{head}");
        let shown = WSDL.replace("http://inside.example/x", "http://example.org/xroad-endpoint");
        assert_eq!(wsdl, format!("{shown}\r\n"));
        is_evidence(&world, "wsdl");

        let unknown = "<x:serviceCode>people</x:serviceCode>"; // without its version it is another service
        let refused = world.ask(&soap("getWsdl", "unknown", unknown)).await;
        assert_eq!(fault(&refused), format!("{failed}.unknown_service"));
        assert_eq!(world.service.calls(), 0);
    }
}
