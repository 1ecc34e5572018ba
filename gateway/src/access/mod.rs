//! Who may do what. Pure decisions: of a request, and of the settings as they are at this moment.
//!
//! - [`client_auth`]: is the information system that asks one of the client it names? (consumer)
//! - [`rights`]: may this client call this service, at this endpoint? Gives [`rights::Authorized`] (provider)
//! - [`built_in`]: services that every gateway has by itself, open to nearly everybody
//! - [`endpoint`]: patterns of methods and paths; [`groups`]: who belongs to whom
//!
//! Specification: X-Road 7.8: access rights of services and endpoints, connection types of clients. Denied by default.
//! Not here: signatures, and the identity of gateways.

pub mod built_in;
pub mod client_auth;
pub mod endpoint;
pub mod groups;
pub mod rights;
