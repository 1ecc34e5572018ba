//! One service, rights of every kind, and clients with and without them.

use std::collections::HashSet;

use super::*;
use crate::access::endpoint::PathGlob;
use crate::message::rest::RestRequest;
use crate::message::rest::Verb;

const STRICT: PathRules = PathRules { encoded_slash: false, dot_segments: false };
const DOTS: PathRules = PathRules { encoded_slash: false, dot_segments: true };

/// The global configuration: one group with one client.
struct Ministries;

impl GlobalGroups for Ministries {
    fn has(&self, group: &GlobalGroupId, client: &ClientId) -> bool {
        group.to_string() == "EE/ministries" && client.to_string() == "EE/GOV/1/ministry"
    }
}

fn request(verb: &str, client: &str, path: &str) -> Request {
    let part = format!(
        "{verb}\r\n/r1/EE/COM/9/sub/service{path}\r\nX-Road-Client:{client}\r\nx-road-id:i\r\nx-road-request-id:r\r\n"
    );
    Request::Rest(RestRequest::parse(part.into()).unwrap())
}

fn client(id: &str) -> Subject {
    Subject::Client(id.parse().unwrap())
}

fn endpoints(of: &[(Option<Verb>, &str)]) -> Reach {
    Reach::Endpoints(
        of.iter().map(|(verb, path)| Endpoint { verb: *verb, path: PathGlob::new(path) }).collect(),
    )
}

fn service() -> ServiceAccess {
    let neighbours: LocalGroupId = "neighbours".parse().unwrap();
    let members: HashSet<ClientId> = ["EE/GOV/2/near".parse().unwrap()].into();
    ServiceAccess {
        protocol: Protocol::Rest,
        rights: [
            (client("EE/GOV/1/whole"), Reach::Service),
            (client("EE/GOV/1/reader"), endpoints(&[(Some(Verb::Get), "/records/*"), (None, "/open/**")])),
            (client("EE/GOV/1/reader"), endpoints(&[(Some(Verb::Post), "/records")])),
            (client("EE/GOV/1/nothing"), endpoints(&[])),
            (Subject::LocalGroup(neighbours.clone()), endpoints(&[(None, "/near/**")])),
            (Subject::LocalGroup("no-such-group".parse().unwrap()), Reach::Service),
            (Subject::GlobalGroup("EE/ministries".parse().unwrap()), Reach::Service),
        ]
        .into_iter()
        .collect(),
        groups: Arc::new([(neighbours, members)].into_iter().collect()),
        disabled: None,
    }
}

fn decide(request: Request, rules: PathRules) -> Result<(), AccessError> {
    authorize(request, Some(Access::Holders(&service())), &Ministries, rules).map(|_| ())
}

#[test]
fn what_the_gateway_answers_itself_is_open_to_everybody() {
    let asked = request("GET", "EE/GOV/1/other", "");
    assert!(authorize(asked, Some(Access::Everybody), &Ministries, STRICT).is_ok());
}

#[test]
fn an_endpoint_is_within_reach_when_a_right_takes_its_pattern() {
    let endpoint = |verb, path| Endpoint { verb, path: PathGlob::new(path) };
    let reach = endpoints(&[(Some(Verb::Get), "/records/*"), (None, "/open/**")]);
    for (verb, path, included) in [
        (Some(Verb::Get), "/records/*", true),
        (Some(Verb::Get), "/records/*/parts", false),
        (Some(Verb::Post), "/records/*", false),
        (None, "/records/*", false),
        (None, "/open/*/x", true),
        (Some(Verb::Put), "/open/**", true),
    ] {
        assert_eq!(reach.includes(&endpoint(verb, path)), included, "{verb:?} {path}");
        assert!(Reach::Service.includes(&endpoint(verb, path)));
    }
    assert!(reach.is_something() && Reach::Service.is_something() && !endpoints(&[]).is_something());
}

#[test]
fn rights_reach_as_far_as_they_were_given() {
    for (verb, client, path, allowed) in [
        ("GET", "EE/GOV/1/whole", "", true),
        ("DELETE", "EE/GOV/1/whole", "/any/thing", true),
        ("GET", "EE/GOV/1/reader", "/records/7", true),
        ("GET", "EE/GOV/1/reader", "/records/%37", true),
        ("HEAD", "EE/GOV/1/reader", "/records/7", false),
        ("GET", "EE/GOV/1/reader", "/records", false),
        ("GET", "EE/GOV/1/reader", "/records/7/8", false),
        ("POST", "EE/GOV/1/reader", "/records", true),
        ("PATCH", "EE/GOV/1/reader", "/open/a/b", true),
        ("GET", "EE/GOV/1/reader", "", false),
        ("GET", "EE/GOV/1/nothing", "/records/7", false),
        ("GET", "EE/GOV/2/near", "/near/1", true),
        ("GET", "EE/GOV/2/near", "/records/7", false),
        ("GET", "EE/GOV/1/ministry", "/x", true),
        ("GET", "EE/GOV/1/other", "/records/7", false),
    ] {
        let expected = if allowed { Ok(()) } else { Err(AccessError::Denied) };
        assert_eq!(decide(request(verb, client, path), STRICT), expected, "{verb} {client} {path}");
    }
}

#[test]
fn a_right_of_a_subsystem_is_not_the_members_nor_the_other_way_round() {
    let mut service = service();
    service.rights = [(client("EE/GOV/1"), Reach::Service)].into_iter().collect();
    let decide = |client| {
        authorize(request("GET", client, ""), Some(Access::Holders(&service)), &Ministries, STRICT).is_ok()
    };
    assert!(decide("EE/GOV/1"));
    assert!(!decide("EE/GOV/1/whole"));
    assert!(!decide("EE/GOV/1/ministry"));
}

#[test]
fn an_unknown_service_is_told_before_anything_else() {
    let refused = authorize(request("GET", "EE/GOV/1/other", "/.."), None, &Ministries, STRICT);
    assert_eq!(refused.unwrap_err(), AccessError::UnknownService);
}

#[test]
fn a_disabled_service_tells_its_notice_only_to_those_with_rights() {
    let mut service = service();
    service.disabled = Some("out of order".into());
    let decide = |client| {
        authorize(request("GET", client, ""), Some(Access::Holders(&service)), &Ministries, STRICT)
            .unwrap_err()
    };
    assert_eq!(decide("EE/GOV/1/whole"), AccessError::Disabled { notice: "out of order".into() });
    assert_eq!(decide("EE/GOV/1/other"), AccessError::Denied);
}

#[test]
fn a_path_with_two_meanings_is_refused_even_with_all_rights() {
    for (path, hazard) in [
        ("/open/../admin", PathHazard::DotSegment),
        ("/open/%2e%2e/admin", PathHazard::DotSegment),
        ("/open%2Fadmin", PathHazard::EncodedSlash),
        ("/open/..%5cadmin", PathHazard::Backslash),
        ("/open/%00", PathHazard::Nul),
    ] {
        let refused = decide(request("GET", "EE/GOV/1/whole", path), STRICT);
        assert_eq!(refused, Err(AccessError::Path(hazard)), "{path}");
    }
}

#[test]
fn where_dot_segments_are_allowed_the_right_is_that_of_where_they_lead() {
    let decide = |path| decide(request("PUT", "EE/GOV/1/reader", path), DOTS);
    assert_eq!(decide("/open/../admin"), Err(AccessError::Denied));
    assert_eq!(decide("/open/a/../b"), Ok(()));
    assert_eq!(decide("/admin/../open/b"), Ok(()));
    assert_eq!(decide("/open/../../open/b"), Err(AccessError::Path(PathHazard::AboveRoot)));
}

#[test]
fn an_authorized_message_is_the_one_that_was_judged() {
    let asked = request("GET", "EE/GOV/1/whole", "/x");
    let authorized =
        authorize(asked.clone(), Some(Access::Holders(&service())), &Ministries, STRICT).unwrap();
    assert_eq!(authorized.message(), &asked);
    assert_eq!(authorized.as_ref().part(), asked.part());
    assert_eq!(authorized.into_message(), asked);
}
