//! Is the information system that asks one of the client it names?
//!
//! Each client says how its information systems come in: over HTTP or HTTPS, whoever they are; or over HTTPS with a
//! certificate that is known. A certificate is compared byte for byte: it is neither validated nor read.
//!
//! Specification: X-Road 7.8, connection types of clients (HTTP, HTTPS NO AUTH, HTTPS). Threat T07.

use cert_authority::x509::Certificate;

/// How a client's information systems are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    Http,
    /// Not at all, but nobody else may listen.
    Https,
    /// By one of these certificates.
    Certificate(Vec<Certificate>),
}

/// How an information system has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection<'a> {
    /// Over HTTP.
    Plain,
    /// Over HTTPS.
    Tls {
        /// The certificate it has shown, DER.
        certificate: Option<&'a [u8]>,
    },
}

/// Why an information system is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// The client is none of this gateway's (`unknown_member`).
    #[error("the client is not known here")]
    UnknownClient,
    /// The client demands HTTPS (`ssl_authentication_failed`).
    #[error("the client demands HTTPS, the request came over HTTP")]
    Plain,
    /// The client demands a certificate, and none was shown (`ssl_authentication_failed`).
    #[error("the client demands a certificate, and none was shown")]
    NoCertificate,
    /// The certificate is none of the client's (`ssl_authentication_failed`).
    #[error("the certificate is none of the client's")]
    OtherCertificate,
}

/// Decides whether an information system may speak for a client; `authentication` is what is set for the client that
/// the request names, `own` the certificate of this gateway's HTTPS door, which every client's list holds by itself.
///
/// # Errors
/// [`IdentifyError`].
pub fn identify(
    authentication: Option<&Authentication>,
    connection: Connection<'_>,
    own: Option<&Certificate>,
) -> Result<(), IdentifyError> {
    match (authentication.ok_or(IdentifyError::UnknownClient)?, connection) {
        (Authentication::Http, _) | (Authentication::Https, Connection::Tls { .. }) => Ok(()),
        (Authentication::Https | Authentication::Certificate(_), Connection::Plain) => {
            Err(IdentifyError::Plain)
        }
        (Authentication::Certificate(_), Connection::Tls { certificate: None }) => {
            Err(IdentifyError::NoCertificate)
        }
        (Authentication::Certificate(known), Connection::Tls { certificate: Some(shown) }) => {
            let is_known = known.iter().chain(own).any(|known| known.der() == shown);
            if is_known { Ok(()) } else { Err(IdentifyError::OtherCertificate) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Certificate::from_der(made.der()).unwrap()
    }

    fn shown(certificate: &Certificate) -> Connection<'_> {
        Connection::Tls { certificate: Some(certificate.der()) }
    }

    const ANONYMOUS: Connection<'static> = Connection::Tls { certificate: None };

    #[test]
    fn each_connection_type_takes_what_it_says() {
        use Connection::Plain;
        let (known, stranger, own) = (certificate("known"), certificate("known"), certificate("own"));
        let pinned = Authentication::Certificate(vec![certificate("other"), known.clone()]);
        for (authentication, connection, expected) in [
            (&Authentication::Http, Plain, Ok(())),
            (&Authentication::Http, ANONYMOUS, Ok(())),
            (&Authentication::Https, Plain, Err(IdentifyError::Plain)),
            (&Authentication::Https, ANONYMOUS, Ok(())),
            (&Authentication::Https, shown(&stranger), Ok(())),
            (&pinned, Plain, Err(IdentifyError::Plain)),
            (&pinned, ANONYMOUS, Err(IdentifyError::NoCertificate)),
            (&pinned, shown(&stranger), Err(IdentifyError::OtherCertificate)),
            (&pinned, Connection::Tls { certificate: Some(b"") }, Err(IdentifyError::OtherCertificate)),
            (&pinned, shown(&known), Ok(())),
            (&pinned, shown(&own), Ok(())),
        ] {
            assert_eq!(identify(Some(authentication), connection, Some(&own)), expected, "{connection:?}");
        }
        assert_eq!(identify(Some(&pinned), shown(&own), None), Err(IdentifyError::OtherCertificate));
    }

    #[test]
    fn a_client_of_another_gateway_is_refused_however_it_comes() {
        let certificate = certificate("known");
        for connection in [Connection::Plain, ANONYMOUS, shown(&certificate)] {
            assert_eq!(identify(None, connection, None), Err(IdentifyError::UnknownClient));
        }
    }

    #[test]
    fn an_empty_list_of_certificates_lets_nobody_in() {
        let certificate = certificate("known");
        let none = Authentication::Certificate(Vec::new());
        assert_eq!(identify(Some(&none), shown(&certificate), None), Err(IdentifyError::OtherCertificate));
    }
}
