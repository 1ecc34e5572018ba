//! `getOpenAPI` and `getWsdl`: the description of a service, without the addresses behind the gateway.
//!
//! ```text
//! REST  GET .../getOpenAPI?serviceCode=records    SOAP  <x:getWsdl><x:serviceCode>find</x:serviceCode>
//!                                                         <x:serviceVersion>v1</x:serviceVersion></x:getWsdl>
//!  ◄──  the document                               ◄──  the request's element again, and an attachment
//! ```
//! It is the one that was taken up ([`crate::description::accepted`]): what is shown is what rights go by, and nobody who
//! asks makes the gateway fetch anything.
//!
//! Specification: PR-MREST 5; PR-META 4.
//!
//! # Compatibility
//! X-Road fetches the description anew for each question and writes it anew; here no byte but the addresses is changed.

use conf::identifier::{ClientId, ServiceId};

use super::{Own, multipart, ok};
use crate::description::{Content, DescriptionError, openapi, wsdl};
use crate::exchange::ports::{ServiceAnswer, View};
use crate::fault::soap::escape;
use crate::fault::{Fault, Leaf};
use crate::message::Protocol;
use crate::message::rest::RestRequest;
use crate::message::soap::SoapRequest;
use crate::metaservice::query::Query;

const XROAD: &str = "http://x-road.eu/xsd/xroad.xsd";
/// What stands for the address of a service: where it really is concerns nobody outside.
const ADDRESS: &str = "http://example.org/xroad-endpoint";

/// Answers `getOpenAPI`.
///
/// # Errors
/// The fault for a service that is not named, is not there, or has no such description.
pub fn open_api(request: &RestRequest, view: View<'_>) -> Result<ServiceAnswer, Fault> {
    let query = Query::read(request.query.as_deref().unwrap_or_default());
    let query = query.map_err(|error| Fault::new(Leaf::InvalidRequest, error.to_string()))?;
    let code = query.value_of_any_case("serviceCode").filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| Fault::new(Leaf::InvalidRequest, "Missing serviceCode in the query"))?;
    let id = service_id(request.header.service.client(), code, None)?;
    let internal = |text: String| Fault::new(Leaf::InternalError, text);
    let service = view.local.service(&id).filter(|service| service.access.protocol == Protocol::Rest);
    let service = service.ok_or_else(|| internal(format!("Service not found: {id}")))?;
    let described = service.description.as_deref().and_then(|document| match &document.content {
        Content::OpenApi(described) => Some((&document.bytes, described.format)),
        Content::Wsdl(_) => None,
    });
    let (document, format) =
        described.ok_or_else(|| internal(format!("The service has no OpenAPI description: {id}")))?;
    let shown = openapi::without_hosts(document).map_err(|error| unreadable(&id, &error))?;
    Ok(ok(format.media_type(), shown))
}

/// Answers `getWsdl`.
///
/// # Errors
/// The fault for a service that is not named, is not there, or has no such description.
pub fn wsdl(request: &SoapRequest, view: View<'_>, own: &Own) -> Result<ServiceAnswer, Fault> {
    let [code, version] = request.read_body(|element| {
        ["serviceCode", "serviceVersion"].map(|name| {
            let found = element.children().find(|child| child.has_tag_name((XROAD, name)));
            let text = found.and_then(|found| found.text()).map(|text| text.trim().to_owned());
            text.filter(|text| !text.is_empty())
        })
    })?;
    let code = code.ok_or_else(|| Fault::new(Leaf::InvalidRequest, "Missing serviceCode in message body"))?;
    let id = service_id(request.header.service.client(), &code, version.as_deref())?;
    let unknown = || Fault::new(Leaf::UnknownService, format!("Could not find the WSDL of service {id}"));
    let service = view.local.service(&id).ok_or_else(unknown)?;
    if service.access.protocol == Protocol::Rest {
        return Err(Fault::new(Leaf::ServiceType, "Service is a REST service and does not have a WSDL"));
    }
    let document = service.description.as_deref().ok_or_else(unknown)?;
    let shown = wsdl::with_address(&document.bytes, ADDRESS).map_err(|error| unreadable(&id, &error))?;

    let version = version.map(|version| format!("<x:serviceVersion>{}</x:serviceVersion>", escape(&version)));
    let answer = format!(
        "<x:getWsdlResponse xmlns:x=\"{XROAD}\"><x:serviceCode>{}</x:serviceCode>{}</x:getWsdlResponse>",
        escape(&code),
        version.unwrap_or_default()
    );
    let head = [
        ("Content-Transfer-Encoding".to_owned(), "binary".to_owned()),
        ("Content-ID".to_owned(), format!("<wsdl={}@x-road.eu>", own.ids.uuid())),
    ];
    Ok(multipart(own, &request.answered(&answer)?, "text/xml", &head, &shown))
}

fn service_id(provider: &ClientId, code: &str, version: Option<&str>) -> Result<ServiceId, Fault> {
    ServiceId::new(provider.clone(), code, version)
        .map_err(|error| Fault::new(Leaf::InvalidRequest, error.to_string()))
}

/// Where it lies and what is wrong with it concerns the operator alone.
fn unreadable(id: &ServiceId, error: &DescriptionError) -> Fault {
    tracing::warn!(service = %id, %error, "the description of a service cannot be shown");
    Fault::new(Leaf::InternalError, format!("Failed reading service description of {id}"))
}
