//! Documents as people write them, and as nobody should.

use super::*;

const PETS: &str = "\
openapi: 3.0.3
info:
  title: Pets of the municipality
  version: '7'
servers:
  - url: https://pets.internal.example:8443/api/v1
    description: behind the firewall # not for strangers
  - url: 'http://10.0.0.7/'
  - url: https://{region}.example.org/api
paths:
  /pets:
    summary: All of them
    parameters:
      - $ref: 'parameters.yaml#/limit'
    get:
      responses:
        200: {description: fine}
    post:
      responses: {'201': {description: made}}
  /pets/{petId}:
    get: &read
      responses: {'200': {description: fine}}
    delete: *read
  /pets/{petId}/photos/{number}.jpg:
    get: *read
  /pets/{a}-{b}:
    get: *read
  x-internal: {get: {}}
components:
  schemas:
    Pet:
      properties:
        parent: {$ref: '#/components/schemas/Pet'}
        owner: {$ref: 'https://elsewhere.example/owner.json'}
";

fn endpoints(text: &str) -> Vec<String> {
    read(text.as_bytes()).unwrap().endpoints.iter().map(ToString::to_string).collect()
}

fn refused(text: &str) -> DescriptionError {
    read(text.as_bytes()).unwrap_err()
}

fn with_paths(paths: &str) -> String {
    format!("openapi: 3.1.0\ninfo: {{title: t, version: '1'}}\npaths:\n{paths}")
}

#[test]
fn endpoints_are_methods_and_paths_with_stars_for_parameters() {
    let pets = read(PETS.as_bytes()).unwrap();
    assert_eq!((pets.version.as_str(), pets.format), ("3.0.3", Format::Yaml));
    assert_eq!(pets.server.as_deref(), Some("https://pets.internal.example:8443/api/v1"));
    assert_eq!(
        endpoints(PETS),
        ["GET /pets", "POST /pets", "GET /pets/*", "DELETE /pets/*", "GET /pets/*/photos/*.jpg"]
    );
}

#[test]
fn json_is_read_as_yaml_is() {
    let text = r#"{"openapi": "3.1.0", "info": {"title": "\ud83d\ude00"}, "servers": [{"url": "\/v1"}],
        "paths": {"/a/{x}/{y}z": {"trace": {}, "get": {"operationId": 1e400, "x": [[[{}]]]}}}}"#;
    let read = read(format!("\u{feff}\n\t{text}").as_bytes()).unwrap();
    assert_eq!((read.format, read.format.media_type()), (Format::Json, "application/json"));
    assert_eq!(read.server.as_deref(), Some("/v1"));
    assert_eq!(endpoints(text), ["TRACE /a/*/*z", "GET /a/*/*z"]);
}

#[test]
fn versions_3_0_and_3_1_are_read_and_no_others() {
    for version in ["3.0", "'3.0'", "3.0.4", "3.1", "3.1.0", "3.1.1", "3.0.0-rc2"] {
        assert!(read(format!("openapi: {version}\npaths: {{}}").as_bytes()).is_ok(), "{version}");
    }
    for (text, found) in [
        ("swagger: '2.0'\npaths: {}", "Swagger 2.0"),
        ("openapi: 3.2.0\npaths: {}", "OpenAPI 3.2.0"),
        ("openapi: 3.01\npaths: {}", "OpenAPI 3.01"),
        ("openapi: 4.0.0", "OpenAPI 4.0.0"),
        ("title: nothing of the kind", "another language"),
        ("{}", "another language"),
        ("", "another language"),
    ] {
        let expected = DescriptionError::Version { expected: "OpenAPI 3.0 or 3.1", found: found.to_owned() };
        assert_eq!(refused(text), expected, "{text}");
    }
}

#[test]
fn a_document_without_paths_describes_no_endpoint() {
    assert!(endpoints("openapi: 3.1.0\nwebhooks: {}").is_empty());
}

#[test]
fn a_path_item_may_refer_to_another_of_the_same_document() {
    let text = "\
openapi: 3.1.0
paths:
  /one: {$ref: '#/components/pathItems/shared~1item'}
  /two/{x}: {$ref: '#/paths/~1one', put: {}}
components:
  pathItems:
    shared/item: {get: {}, head: {}}
";
    assert_eq!(endpoints(text), ["GET /one", "HEAD /one", "PUT /two/*", "GET /two/*", "HEAD /two/*"]);
}

#[test]
fn references_in_a_circle_end() {
    let circle = with_paths("  /a: {$ref: '#/paths/~1b'}\n  /b: {$ref: '#/paths/~1a'}\n");
    assert!(matches!(refused(&circle), DescriptionError::Reference(_)));
    let itself = with_paths("  /a: {$ref: '#/paths/~1a'}\n");
    assert_eq!(refused(&itself), DescriptionError::Reference("#/paths/~1a".to_owned()));
    let nothing = with_paths("  /a: {$ref: '#/paths/~1c'}\n");
    assert_eq!(refused(&nothing), DescriptionError::Reference("#/paths/~1c".to_owned()));
}

#[test]
fn an_endpoint_in_another_document_is_refused_and_nothing_is_fetched() {
    for reference in ["https://127.0.0.1:1/x.yaml#/paths/~1a", "other.yaml", "file:///etc/passwd"] {
        let text = with_paths(&format!("  /a: {{$ref: '{reference}'}}\n"));
        let expected =
            DescriptionError::Elsewhere { place: "the path /a".to_owned(), reference: reference.to_owned() };
        assert_eq!(refused(&text), expected);
    }
}

#[test]
fn a_path_that_stands_twice_is_refused() {
    let yaml = refused(&with_paths("  /a: {get: {}}\n  /a: {put: {}}\n"));
    let json = refused(r#"{"openapi": "3.0.0", "paths": {"/a": {"get": {}}, "/a": {"put": {}}}}"#);
    for error in [yaml, json] {
        assert!(matches!(&error, DescriptionError::Malformed(reason) if reason.contains("/a")), "{error}");
    }
}

#[test]
fn what_is_no_document_is_refused() {
    for text in
        ["openapi", "- openapi: 3.0.0", "[]", "{\"openapi\": \"3.0.0\",", "a: b: c", "{\"openapi\": 3}"]
    {
        assert!(matches!(refused(text), DescriptionError::Malformed(_)), "{text:?}: {}", refused(text));
    }
    for text in ["paths: []", "paths: {/a: 7}", "servers: {}", "paths: {/a: {get: {}}}\n---\nopenapi: 3.0.0"]
    {
        let error = refused(&format!("openapi: 3.0.0\n{text}"));
        assert!(
            matches!(error, DescriptionError::Malformed(_) | DescriptionError::TooInvolved(_)),
            "{text:?}: {error}"
        );
    }
    assert_eq!(read(b"openapi: 3.0.0\ninfo: \xff").unwrap_err(), DescriptionError::Encoding);
    let utf16: Vec<u8> = "openapi: 3.0.0".encode_utf16().flat_map(u16::to_le_bytes).chain([0xff]).collect();
    assert!(read(&utf16).is_err());
}

#[test]
fn an_alias_bomb_is_stopped() {
    let mut text =
        "openapi: 3.0.0\npaths: {}\nx0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*x{}", level - 1); 9].join(", ");
        text.push_str(&format!("x{level}: &x{level} [{aliases}]\n"));
    }
    assert!(matches!(refused(&text), DescriptionError::TooInvolved(_)), "{}", refused(&text));
    let itself = refused("openapi: 3.0.0\npaths: &paths\n  /a: *paths\n");
    assert!(matches!(itself, DescriptionError::Malformed(_)), "{itself}");
}

#[test]
fn deep_nesting_is_stopped_and_does_no_harm() {
    let flow = format!("openapi: 3.0.0\nx: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let error = refused(&flow);
    assert!(matches!(error, DescriptionError::TooInvolved(_) | DescriptionError::Malformed(_)), "{error}");
    let block: String = (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let error = refused(&format!("openapi: 3.0.0\nx:\n {}", block.replace('\n', "\n ")));
    assert!(matches!(error, DescriptionError::TooInvolved(_) | DescriptionError::Malformed(_)), "{error}");
    // What is passed over in JSON costs no stack.
    let json = |inner: &str| format!("{{\"openapi\": \"3.0.0\", \"x\": {inner}}}");
    assert!(read(json(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).as_bytes()).is_ok());
    assert!(read(json(&"[".repeat(100_000)).as_bytes()).is_err());
}

#[test]
fn a_huge_document_is_refused_and_a_large_one_is_read() {
    let huge = vec![b' '; LIMITS.max_bytes + 1];
    assert_eq!(read(&huge).unwrap_err(), DescriptionError::TooLarge(LIMITS.max_bytes));
    let paths: String = (0..20_000).map(|n| format!("  /things/{n}/{{id}}: {{get: {{}}}}\n")).collect();
    assert_eq!(endpoints(&with_paths(&paths)).len(), 20_000);
    let references: String =
        (0..20_000).map(|n| format!("  /things/{n}: {{$ref: '#/paths/~1things~1{}'}}\n", n + 1)).collect();
    assert!(matches!(refused(&with_paths(&references)), DescriptionError::Reference(_)));
}

#[test]
fn without_hosts_only_paths_are_left_and_all_else_is_as_it_was() {
    let changed = String::from_utf8(without_hosts(PETS.as_bytes()).unwrap()).unwrap();
    let expected = PETS
        .replace("https://pets.internal.example:8443/api/v1", "\"/api/v1\"")
        .replace("'http://10.0.0.7/'", "\"/\"");
    assert_eq!(changed, expected);
    let json =
        r#"{"openapi": "3.1.0", "servers": [ {"url":"https:\/\/h.example"} ,{"url": "/v2?x"}], "paths": {}}"#;
    let expected = r#"{"openapi": "3.1.0", "servers": [ {"url":""} ,{"url": "/v2"}], "paths": {}}"#;
    assert_eq!(without_hosts(json.as_bytes()).unwrap(), expected.as_bytes());
    let none = "openapi: 3.0.0\npaths: {}\n";
    assert_eq!(without_hosts(none.as_bytes()).unwrap(), none.as_bytes());
}

#[test]
fn a_server_without_an_address_is_passed_over() {
    let yaml = "openapi: 3.0.0\nservers:\n  - url:\n  - description: none\n  - url: http://h/x\n";
    assert_eq!(read(yaml.as_bytes()).unwrap().server, None);
    assert_eq!(without_hosts(yaml.as_bytes()).unwrap(), yaml.replace("http://h/x", "\"/x\"").as_bytes());
    let json = r#"{"openapi": "3.0.0", "servers": [{"url": null}, {}, {"url": "http://h/x"}]}"#;
    assert_eq!(read(json.as_bytes()).unwrap().server, None);
    assert_eq!(without_hosts(json.as_bytes()).unwrap(), json.replace("http://h/x", "/x").as_bytes());
}

#[test]
fn addresses_in_every_style_of_yaml_lose_their_host_or_are_refused() {
    for (url, left) in [
        ("https://h.example/a", Some("/a")),
        ("\"https://h.example/a\" # said", Some("/a")),
        ("https://h.example/ä#x", Some("/ä")),
        ("//h.example", Some("")),
        ("!!str https://h.example/a", Some("/a")),
        ("&base https://h.example/a", Some("/a")),
        (">-\n      https://h.example/a", Some("/a")),
        ("|-\n      https://h.example/a", Some("/a")),
        ("relative/a", Some("relative/a")),
    ] {
        let text = format!("openapi: 3.0.0\n# é\nservers:\n  - url: {url}\n  - {{url: x}}\npaths: {{}}\n");
        match without_hosts(text.as_bytes()) {
            Ok(changed) => {
                let read = read(&changed).unwrap();
                assert_eq!(read.server.as_deref(), left, "{text}{}", String::from_utf8_lossy(&changed));
                assert!(!String::from_utf8(changed).unwrap().contains("h.example"), "{text}");
            }
            Err(error) => assert!(matches!(error, DescriptionError::Malformed(_)), "{text}: {error}"),
        }
    }
}
