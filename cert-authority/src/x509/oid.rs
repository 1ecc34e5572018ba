//! Object identifiers of certificates: attributes of names, extensions, purposes.

use const_oid::ObjectIdentifier;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: ObjectIdentifier = ObjectIdentifier::new_unwrap($text);)*
    };
}

oids! {
    /// CN
    COMMON_NAME = "2.5.4.3";
    /// surname
    SURNAME = "2.5.4.4";
    /// serialNumber of a subject
    SERIAL_NUMBER = "2.5.4.5";
    /// C
    COUNTRY = "2.5.4.6";
    /// L
    LOCALITY = "2.5.4.7";
    /// ST
    STATE = "2.5.4.8";
    /// STREET
    STREET = "2.5.4.9";
    /// O
    ORGANIZATION = "2.5.4.10";
    /// OU
    ORGANIZATIONAL_UNIT = "2.5.4.11";
    /// title
    TITLE = "2.5.4.12";
    /// businessCategory
    BUSINESS_CATEGORY = "2.5.4.15";
    /// givenName
    GIVEN_NAME = "2.5.4.42";
    /// organizationIdentifier
    ORGANIZATION_IDENTIFIER = "2.5.4.97";
    /// DC
    DOMAIN_COMPONENT = "0.9.2342.19200300.100.1.25";
    /// UID
    USER_ID = "0.9.2342.19200300.100.1.1";
    /// e-mail address
    EMAIL_ADDRESS = "1.2.840.113549.1.9.1";

    /// purpose: TLS server
    SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
    /// purpose: TLS client
    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
    /// purpose: time-stamping
    TIME_STAMPING = "1.3.6.1.5.5.7.3.8";
    /// purpose: OCSP responses
    OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
    /// purpose: any
    ANY_PURPOSE = "2.5.29.37.0";

    /// extension: extended key usage
    EXTENDED_KEY_USAGE = "2.5.29.37";
    /// extension: subject key identifier
    SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
    /// extension: where to find things about the authority
    AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1";
    /// access method: OCSP
    ACCESS_OCSP = "1.3.6.1.5.5.7.48.1";
    /// access method: the issuer's certificate
    ACCESS_CA_ISSUERS = "1.3.6.1.5.5.7.48.2";
    /// extension: a responder's certificate need not be checked for revocation
    OCSP_NO_CHECK = "1.3.6.1.5.5.7.48.1.5";
}
