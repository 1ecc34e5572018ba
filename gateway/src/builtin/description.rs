//! `getOpenAPI` and `getWsdl`: the description of a service.
//!
//! ```text
//! REST  GET .../getOpenAPI?serviceCode=records    SOAP  <x:getWsdl><x:serviceCode>find</x:serviceCode>
//!                                                         <x:serviceVersion>v1</x:serviceVersion></x:getWsdl>
//! ```
//! Specification: PR-MREST 5; PR-META 4.

use conf::identifier::ServiceId;

use crate::exchange::ports::{ServiceAnswer, View};
use crate::fault::{Fault, Leaf};
use crate::message::Protocol;
use crate::message::rest::RestRequest;
use crate::message::soap::SoapRequest;
use crate::metaservice::query::Query;

const XROAD: &str = "http://x-road.eu/xsd/xroad.xsd";

/// Answers `getOpenAPI`.
///
/// # Errors
/// The fault for a service that is not named, not there, or has no such description.
pub fn open_api(request: &RestRequest, view: View<'_>) -> Result<ServiceAnswer, Fault> {
    let missing = || Fault::new(Leaf::InvalidRequest, "Missing serviceCode in the query");
    let query = Query::read(request.query.as_deref().unwrap_or_default());
    let query = query.map_err(|error| Fault::new(Leaf::InvalidRequest, error.to_string()))?;
    let code = query.value_of_any_case("serviceCode").filter(|code| !code.is_empty()).ok_or_else(missing)?;
    let id = ServiceId::new(request.header.service.client().clone(), code, None)
        .map_err(|error| Fault::new(Leaf::InvalidRequest, error.to_string()))?;
    let service = view.local.service(&id);
    let _service = service
        .filter(|service| service.access.protocol == Protocol::Rest)
        .ok_or_else(|| Fault::new(Leaf::InternalError, format!("Service not found: {id}")))?;
    Err(Fault::new(Leaf::InternalError, format!("The service has no OpenAPI description: {id}")))
}

/// Answers `getWsdl`.
///
/// # Errors
/// The fault for a service that is not named, not there, or has no such description.
pub fn wsdl(request: &SoapRequest, view: View<'_>) -> Result<ServiceAnswer, Fault> {
    let [code, version] = request.read_body(|element| {
        ["serviceCode", "serviceVersion"].map(|name| {
            let found = element.children().find(|child| child.has_tag_name((XROAD, name)));
            found
                .and_then(|found| found.text())
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        })
    })?;
    let code = code.ok_or_else(|| Fault::new(Leaf::InvalidRequest, "Missing serviceCode in message body"))?;
    let id = ServiceId::new(request.header.service.client().clone(), code, version.as_deref())
        .map_err(|error| Fault::new(Leaf::InvalidRequest, error.to_string()))?;
    if view.local.service(&id).is_some_and(|service| service.access.protocol == Protocol::Rest) {
        return Err(Fault::new(Leaf::ServiceType, "Service is a REST service and does not have a WSDL"));
    }
    Err(Fault::new(Leaf::UnknownService, format!("Could not find the WSDL of service {id}")))
}
