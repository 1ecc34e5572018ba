//! Rights (T07, T19, T44): who may ask whom for what, and who they must be to say so.

use std::sync::Arc;

use gateway::transport::tls::{ServiceTrust, peer_client, service_client};
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;

use super::case::{Answer, Case, Evidence, Expected, asking};
use super::soap::{self, TEXT};
use crate::world::{Ask, PORTAL, RECORDS, World, envelope};

const PINNED: &str = "DEMO/GOV/1001/pinned";
const PROVIDER: &str = "/r1/DEMO/GOV/2002/registry";

/// T07: members whose information systems must prove who they are.
pub(super) async fn impersonation(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let target = format!("{RECORDS}/x");
    for spelling in [
        PINNED,
        "DEMO/GOV/1001/%70inned",
        "DEMO/GOV/1001/pinne%64",
        "%44EMO/GOV/1001/pinned",
        "DEMO/GOV/1001",
        "DEMO/GOV/100%31",
    ] {
        let ask = Ask::get(&target).client(spelling);
        cases.push(Case::ask(
            format!("{spelling} in the clear"),
            ask.clone(),
            asking("ssl_authentication_failed"),
        ));
        for (what, tls) in identities(world) {
            let expected = asking("ssl_authentication_failed");
            cases.push(Case::doing(format!("{spelling} {what}"), over_tls(ask.clone(), tls), expected));
        }
    }
    for spelling in [
        "DEMO/GOV/1001/PINNED",
        "DEMO/GOV/1001/pinned%20",
        "DEMO/GOV/1001/pinned%00",
        "demo/GOV/1001/portal",
        "DEMO/GOV/1001/Portal",
    ] {
        cases.push(Case::ask(
            format!("in other letters: {spelling}"),
            Ask::get(&target).client(spelling),
            asking("unknown_member"),
        ));
    }
    for (one, other) in
        [(PORTAL, PINNED), (PINNED, PORTAL), (PORTAL, PORTAL), (PORTAL, "nobody"), ("", PORTAL), (PORTAL, "")]
    {
        // The last is read, as X-Road does; one that is none is told before.
        let code = if other.contains('/') { "duplicate_header_field" } else { "internal_error" };
        for name in ["X-Road-Client", "x-road-client", "X-ROAD-CLIENT"] {
            let ask = Ask::get(&target).client(one).header(name, other);
            cases.push(
                Case::ask(format!("two clients: {one:?} and {name} {other:?}"), ask, asking(code))
                    .because("X-Road takes the last"),
            );
        }
    }
    let ask = Ask::get(&target).without("X-Road-Client");
    cases.push(Case::ask("no client", ask.clone(), asking("invalid_client_identifier")));
    for name in ["X-Road-Client-", "X_Road_Client", "XRoad-Client", "X-Road-Client2"] {
        cases.push(Case::ask(
            format!("{name} alone"),
            ask.clone().header(name, PORTAL),
            asking("invalid_client_identifier"),
        ));
    }
    for path in [
        "/asic?queryId=x&xRoadInstance=DEMO&memberClass=GOV&memberCode=1001&subsystemCode=pinned",
        "/asic?queryId=x&xRoadInstance=DEMO&memberClass=GOV&memberCode=1001",
    ] {
        cases.push(Case::doing(
            format!("evidence of another client: GET {path}"),
            move |world| {
                let ask = Ask::get(path).without("X-Road-Client");
                Box::pin(async move {
                    let reply = world.ask(&ask).await;
                    Answer::verdict(reply.status.to_string(), reply.text())
                })
            },
            Expected::Verdict("401".to_owned()),
        ));
    }
    cases
}

/// What somebody may show who is not the pinned information system.
fn identities(world: &World) -> Vec<(&'static str, Arc<ClientConfig>)> {
    let server = CertificateDer::from(world.consumer.tls.certificate.der().to_vec());
    let none = service_client(&ServiceTrust::Pinned(vec![server]), None).unwrap();
    let shown = |identity| Arc::new(peer_client(identity).unwrap());
    vec![
        ("over TLS without a certificate", Arc::new(none)),
        (
            "over TLS with the certificate of another information system",
            shown(world.provider.pinned.identity()),
        ),
        ("over TLS with the certificate of a gateway", shown(world.rogue.auth.identity())),
        ("over TLS with the certificate of a signer", shown(world.rogue.signatory.holder.identity())),
    ]
}

fn over_tls(
    ask: Ask,
    tls: Arc<ClientConfig>,
) -> impl for<'w> Fn(&'w World) -> futures_util::future::BoxFuture<'w, Answer> + Send + Sync {
    move |world| {
        let (ask, tls) = (ask.clone(), Arc::clone(&tls));
        Box::pin(async move { Answer::of_reply(ask.send_tls(&world.consumer.https(), &tls).await) })
    }
}

/// T19: services that one may not call, or not so.
pub(super) async fn rights(_world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut refused = |what: String, ask: Ask, code: &str| {
        let expected = Expected::Code(500, format!("server.serverproxy.{code}"));
        cases.push(Case::ask(what, ask, expected).leaves(Evidence::Refused));
    };
    for verb in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
        for (service, code) in [
            ("closed", "access_denied"),
            ("nothing", "unknown_service"),
            ("off", "service_disabled"),
            ("people", "unknown_service"),
            ("shut", "service_type"),
            ("Records", "unknown_service"),
            ("records%20", "unknown_service"),
        ] {
            refused(format!("{verb} {service}"), Ask::with(verb, &format!("{PROVIDER}/{service}/x")), code);
        }
    }
    // Of this one: GET /open/* and POST /open/*/notes, where `*` stands for a piece of one segment.
    for (verb, path) in [
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/open"),
        ("GET", "/closed"),
        ("GET", "/open/a/b"),
        ("GET", "//open/a"),
        ("GET", "/open//a"),
        ("GET", "/Open/a"),
        ("GET", "/x/open/a"),
        ("GET", "/open/a/notes"),
        ("POST", "/open/a"),
        ("POST", "/open//notes"),
        ("POST", "/open/a/Notes"),
        ("POST", "/open/a/notes/"),
        ("POST", "/open/a/b/notes"),
        ("PUT", "/open/a"),
        ("DELETE", "/open/a"),
        ("PATCH", "/open/a"),
        ("OPTIONS", "/open/a"),
        ("TRACE", "/open/a"),
        ("GET", "/%6Fpen"),
        ("GET", "/open%3Fa"),
        ("GET", "/open;a"),
        ("GET", "/open%20/a"),
    ] {
        refused(
            format!("{verb} {path:?} of a service with rights for some"),
            Ask::with(verb, &format!("{PROVIDER}/parted{path}")),
            "access_denied",
        );
    }
    for verb in ["CONNECT", "PROPFIND", "get", "Get", "GETX", "X"] {
        if verb != "CONNECT" {
            cases.push(Case::ask(
                format!("the method {verb}"),
                Ask::with(verb, &format!("{RECORDS}/x")),
                asking("internal_error"),
            ));
        }
    }
    for (what, target) in [
        ("another member", "/r1/DEMO/GOV/9999/registry/records"),
        ("another subsystem", "/r1/DEMO/GOV/2002/other/records"),
        ("another class", "/r1/DEMO/COM/2002/registry/records"),
        ("another instance", "/r1/OTHER/GOV/2002/registry/records"),
        ("other letters", "/r1/DEMO/GOV/2002/Registry/records"),
    ] {
        cases.push(Case::ask(format!("a provider of {what}"), Ask::get(target), asking("unknown_member")));
    }
    for server in [
        "DEMO/GOV/1001/ss1",
        "DEMO/GOV/3003/ss3",
        "DEMO/GOV/2002/ss9",
        "DEMO/GOV/2002/SS2",
        "OTHER/GOV/2002/ss2",
    ] {
        let ask = Ask::get(&format!("{RECORDS}/x")).header("X-Road-Security-Server", server);
        cases.push(Case::ask(format!("by way of {server}"), ask, asking("invalid_security_server")));
    }
    cases
}

/// T44: what descriptions and lists tell, and to whom.
pub(super) async fn metaservices(_world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/metrics",
        "/health",
        "/log/records",
        "/audit/",
        "/monitoring/exchanges",
        "/api/v1/",
        "/actuator",
        "/.git/config",
        "/wsdl",
        "/listMethods",
        "/verificationconf/",
        "/listClients/",
        "/r2/DEMO",
        "/R1/DEMO",
        "/r1",
        "/",
    ] {
        let ask = Ask::get(path).without("X-Road-Client");
        cases.push(Case::ask(
            format!("GET {path} at the door of information systems"),
            ask,
            Expected::Code(200, "client.invalid_http_method".to_owned()),
        ));
    }
    for description in [
        "getOpenAPI?serviceCode=nothing",
        "getOpenAPI?serviceCode=../records",
        "getOpenAPI?serviceCode=%2e%2e%2fx",
        "getOpenAPI?serviceCode=people",
    ] {
        let ask = Ask::get(&format!("{PROVIDER}/{description}"));
        cases.push(
            Case::ask(
                format!("GET {description}"),
                ask,
                Expected::Code(500, "server.serverproxy.internal_error".to_owned()),
            )
            .leaves(Evidence::Failed),
        );
    }
    for (service, evidence) in [
        ("getWsdl", Evidence::Failed),
        ("getSecurityServerMetrics", Evidence::Refused),
        ("getSecurityServerOperationalData", Evidence::Refused),
        ("getSecurityServerHealthData", Evidence::Refused),
    ] {
        let text = envelope((service, ""), "meta", "", &format!("<{service}/>"));
        cases.push(
            Case::doing(
                format!("{service} by somebody who may not, or says nothing"),
                move |world| {
                    let ask = soap::post(TEXT, text.clone());
                    Box::pin(async move {
                        let reply = world.ask(&ask).await;
                        let told = Answer::of_reply(Some(reply));
                        let verdict = if told.code.is_some() { "refused" } else { "told" };
                        Answer::verdict(verdict, told.text)
                    })
                },
                Expected::Verdict("refused".to_owned()),
            )
            .leaves(evidence),
        );
    }
    cases
}
