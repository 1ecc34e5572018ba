//! Requests that the gateway answers itself: what their body says, and their answer.

use bytes::Bytes;
use roxmltree::Node;

use super::envelope::{child, parse, root, text};
use super::{SoapError, SoapRequest};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

impl SoapRequest {
    /// Lets the body's element be read.
    ///
    /// # Errors
    /// [`SoapError`]; none that reading the request has not met.
    pub fn read_body<T>(&self, read: impl FnOnce(Node<'_, '_>) -> T) -> Result<T, SoapError> {
        let (_, text) = text(&self.part.content)?;
        let document = parse(&text)?;
        let body = child(root(&document)?, SOAP, "Body")?.ok_or(SoapError::NoBody)?;
        body.first_element_child().map(read).ok_or(SoapError::Body)
    }

    /// The envelope again, with `answer` where the body's element was: its header, in UTF-8. The request's hash is put
    /// in where every answer gets it ([`super::SoapResponse::from_service`]).
    ///
    /// # Errors
    /// [`SoapError`]; none that reading the request has not met.
    pub fn answered(&self, answer: &str) -> Result<Bytes, SoapError> {
        let (_, text) = text(&self.part.content)?;
        let document = parse(&text)?;
        let root = root(&document)?;
        let body = child(root, SOAP, "Body")?.ok_or(SoapError::NoBody)?;
        let asked = body.first_element_child().ok_or(SoapError::Body)?.range();
        let pieces = [root.range().start..asked.start, asked.end..root.range().end];
        let [before, after] = pieces.map(|piece| text.get(piece).unwrap_or_default());
        Ok(["<?xml version=\"1.0\" encoding=\"UTF-8\"?>", before, answer, after].concat().into())
    }
}
