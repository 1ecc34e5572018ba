//! Certificate profiles: how the subject of a certificate names a member or a server.
//!
//! The configuration names the profile of each approved authority by the class that X-Road uses for it.
//!
//! | profile | signing certificate | authentication certificate |
//! |---|---|---|
//! | Basic, BasicACME | businessCategory = class, serialNumber = code | serialNumber = owner's code |
//! | EJBCA | C = instance, O = class, CN = code | C = instance, CN = server code |
//! | FiVRK | C = FI, serialNumber = `instance/server/class`, CN = code | the same serialNumber |
//! | Fo, Is | O = instance, OU = class, CN = code, serialNumber | CN, serialNumber = `I/C/M/server` |
//!
//! FiVRK also reads two older forms (C, O, OU, CN and C, O, CN), and so does Is the second of them.
//! Where the subject does not hold the instance it is the one that was asked about; where it does, it must be
//! exactly that. An attribute that occurs twice is refused, because X-Road and others would take different
//! ones.
//!
//! Specification: the class names and the order of attributes are those of X-Road 7.8
//! (`ee.ria.xroad.common.certificateprofile.impl`). Not here: the Estonian SK profiles.

use cert_authority::x509::{Name, ObjectIdentifier, oid};

use crate::error::ProfileError;
use crate::identifier::{MemberId, ServerId};

/// How the subject of a certificate names a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateProfile {
    /// Class and code; the instance goes without saying.
    Basic,
    /// The same for authorities with ACME.
    BasicAcme,
    /// Instance, class and code as country, organisation and name.
    Ejbca,
    /// Finland.
    FiVrk,
    /// Faroe Islands.
    Fo,
    /// Iceland.
    Is,
}

const PACKAGE: &str = "ee.ria.xroad.common.certificateprofile.impl.";

impl CertificateProfile {
    /// All, with the names of their classes.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Basic, "BasicCertificateProfileInfoProvider"),
        (Self::BasicAcme, "BasicACMECertificateProfileInfoProvider"),
        (Self::Ejbca, "EjbcaCertificateProfileInfoProvider"),
        (Self::FiVrk, "FiVRKCertificateProfileInfoProvider"),
        (Self::Fo, "FoCertificateProfileInfoProvider"),
        (Self::Is, "IsCertificateProfileInfoProvider"),
    ];

    /// The profile that `certificateProfileInfo` names.
    pub fn from_class_name(name: &str) -> Result<Self, ProfileError> {
        let class = name.trim().strip_prefix(PACKAGE);
        let found = Self::ALL.into_iter().find(|(_, known)| Some(*known) == class);
        found.map(|(profile, _)| profile).ok_or_else(|| ProfileError::Unknown(name.to_owned()))
    }

    /// The full class name, as it stands in a configuration.
    pub fn class_name(self) -> String {
        let found = Self::ALL.into_iter().find(|(profile, _)| *profile == self);
        format!("{PACKAGE}{}", found.map_or("", |(_, class)| class))
    }

    /// The member that a signing certificate of this subject belongs to, in the instance asked about.
    pub fn member(self, subject: &Name, instance: &str) -> Result<MemberId, ProfileError> {
        let named = Subject(subject);
        let (found, class, code) = match self {
            Self::Basic | Self::BasicAcme => {
                (instance, named.get(BUSINESS_CATEGORY)?, named.get(SERIAL_NUMBER)?)
            }
            Self::Ejbca => named.ejbca()?,
            Self::FiVrk => match (named.find(SERIAL_NUMBER)?, named.find(UNIT)?) {
                (Some(serial_number), _) => named.fi_vrk(serial_number)?,
                (None, Some(class)) => named.with_unit("FI", class)?,
                (None, None) => named.ejbca()?,
            },
            Self::Is if named.find(SERIAL_NUMBER)?.is_none() && named.find(UNIT)?.is_none() => {
                named.ejbca()?
            }
            Self::Fo | Self::Is => {
                named.get(SERIAL_NUMBER)?;
                named.with_unit(if self == Self::Fo { "FO" } else { "IS" }, named.get(UNIT)?)?
            }
        };
        if found == instance {
            Ok(MemberId::new(found, class, code)?)
        } else {
            Err(ProfileError::OtherInstance { expected: instance.to_owned(), found: found.to_owned() })
        }
    }

    /// Whether an authentication certificate of this subject can be that of the server: for the authority, when
    /// one is registered. (Later a server is known by the hash of its certificate alone.)
    pub fn fits_server(self, subject: &Name, server: &ServerId) -> Result<(), ProfileError> {
        let named = Subject(subject);
        let owner = server.owner();
        let expect = |attribute: Attribute, value: &str| {
            let found = named.get(attribute)?;
            if found == value { Ok(()) } else { Err(ProfileError::WrongAttribute(attribute.1)) }
        };
        match self {
            Self::Basic | Self::BasicAcme => expect(SERIAL_NUMBER, owner.code()),
            Self::Ejbca => {
                expect(COUNTRY, owner.instance()).and_then(|()| expect(COMMON_NAME, server.code()))
            }
            Self::FiVrk => expect(SERIAL_NUMBER, &fi_vrk_serial_number(owner, server.code())),
            Self::Fo => {
                expect(ORGANIZATION, owner.instance()).and_then(|()| expect(COMMON_NAME, &server.to_string()))
            }
            Self::Is => expect(SERIAL_NUMBER, &server.to_string()),
        }
    }

    /// The subject of a signing certificate for a member at a server, most general attribute first.
    pub fn signing_subject(
        self,
        member: &MemberId,
        server: &ServerId,
        member_name: &str,
        country: &str,
    ) -> Vec<(ObjectIdentifier, String)> {
        let subject = match self {
            Self::Basic | Self::BasicAcme => vec![
                (COUNTRY, country.to_owned()),
                (ORGANIZATION, member_name.to_owned()),
                (BUSINESS_CATEGORY, member.class().to_owned()),
                (SERIAL_NUMBER, member.code().to_owned()),
                (COMMON_NAME, member_name.to_owned()),
            ],
            Self::Ejbca => vec![
                (COUNTRY, member.instance().to_owned()),
                (ORGANIZATION, member.class().to_owned()),
                (COMMON_NAME, member.code().to_owned()),
            ],
            Self::FiVrk => vec![
                (COUNTRY, "FI".to_owned()),
                (ORGANIZATION, member_name.to_owned()),
                (SERIAL_NUMBER, fi_vrk_serial_number(member, server.code())),
                (COMMON_NAME, member.code().to_owned()),
            ],
            Self::Fo | Self::Is => vec![
                (COUNTRY, if self == Self::Fo { "FO" } else { "IS" }.to_owned()),
                (ORGANIZATION, member.instance().to_owned()),
                (UNIT, member.class().to_owned()),
                (SERIAL_NUMBER, server.to_string()),
                (COMMON_NAME, member.code().to_owned()),
            ],
        };
        subject.into_iter().map(|(Attribute(oid, _), text)| (oid, text)).collect()
    }

    /// The subject of an authentication certificate for a server, most general attribute first.
    pub fn authentication_subject(
        self,
        server: &ServerId,
        owner_name: &str,
        country: &str,
        host: &str,
    ) -> Vec<(ObjectIdentifier, String)> {
        let owner = server.owner();
        let subject = match self {
            Self::Basic | Self::BasicAcme => vec![
                (COUNTRY, country.to_owned()),
                (ORGANIZATION, owner_name.to_owned()),
                (SERIAL_NUMBER, owner.code().to_owned()),
                (COMMON_NAME, host.to_owned()),
            ],
            Self::Ejbca => {
                vec![(COUNTRY, owner.instance().to_owned()), (COMMON_NAME, server.code().to_owned())]
            }
            Self::FiVrk => vec![
                (COUNTRY, "FI".to_owned()),
                (ORGANIZATION, owner_name.to_owned()),
                (SERIAL_NUMBER, fi_vrk_serial_number(owner, server.code())),
                (COMMON_NAME, host.to_owned()),
            ],
            Self::Fo => vec![
                (COUNTRY, "FO".to_owned()),
                (ORGANIZATION, owner.instance().to_owned()),
                (COMMON_NAME, server.to_string()),
            ],
            Self::Is => vec![
                (COUNTRY, "IS".to_owned()),
                (SERIAL_NUMBER, server.to_string()),
                (COMMON_NAME, host.to_owned()),
            ],
        };
        subject.into_iter().map(|(Attribute(oid, _), text)| (oid, text)).collect()
    }
}

/// An attribute of a subject, and what we call it.
#[derive(Clone, Copy)]
struct Attribute(ObjectIdentifier, &'static str);

const COUNTRY: Attribute = Attribute(oid::COUNTRY, "country");
const ORGANIZATION: Attribute = Attribute(oid::ORGANIZATION, "organization");
const UNIT: Attribute = Attribute(oid::ORGANIZATIONAL_UNIT, "organizational unit");
const COMMON_NAME: Attribute = Attribute(oid::COMMON_NAME, "common name");
const SERIAL_NUMBER: Attribute = Attribute(oid::SERIAL_NUMBER, "serial number");
const BUSINESS_CATEGORY: Attribute = Attribute(oid::BUSINESS_CATEGORY, "business category");

/// Instance, class and code.
type Parts<'a> = (&'a str, &'a str, &'a str);

struct Subject<'a>(&'a Name);

impl<'a> Subject<'a> {
    fn find(&self, Attribute(oid, name): Attribute) -> Result<Option<&'a str>, ProfileError> {
        let mut values = self.0.attributes(&oid);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(ProfileError::RepeatedAttribute(name)),
            (value, None) => Ok(value),
        }
    }

    fn get(&self, attribute: Attribute) -> Result<&'a str, ProfileError> {
        self.find(attribute)?.ok_or(ProfileError::MissingAttribute(attribute.1))
    }

    fn country_is(&self, country: &str) -> Result<(), ProfileError> {
        if self.get(COUNTRY)? == country { Ok(()) } else { Err(ProfileError::WrongAttribute(COUNTRY.1)) }
    }

    fn ejbca(&self) -> Result<Parts<'a>, ProfileError> {
        Ok((self.get(COUNTRY)?, self.get(ORGANIZATION)?, self.get(COMMON_NAME)?))
    }

    fn with_unit(&self, country: &str, class: &'a str) -> Result<Parts<'a>, ProfileError> {
        self.country_is(country)?;
        Ok((self.get(ORGANIZATION)?, class, self.get(COMMON_NAME)?))
    }

    fn fi_vrk(&self, serial_number: &'a str) -> Result<Parts<'a>, ProfileError> {
        self.country_is("FI")?;
        self.get(ORGANIZATION)?;
        let code = self.get(COMMON_NAME)?;
        let mut parts = serial_number.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(instance), Some(_server), Some(class), None) => Ok((instance, class, code)),
            _ => Err(ProfileError::WrongAttribute(SERIAL_NUMBER.1)),
        }
    }
}

fn fi_vrk_serial_number(member: &MemberId, server_code: &str) -> String {
    format!("{}/{}/{}", member.instance(), server_code, member.class())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::IdentifierError;

    fn name(text: &str) -> Name {
        Name::parse_rfc4514(text).unwrap()
    }

    fn member(profile: CertificateProfile, subject: &str) -> Result<String, ProfileError> {
        profile.member(&name(subject), "FI").map(|member| member.to_string())
    }

    use CertificateProfile::{Basic, BasicAcme, Ejbca, FiVrk, Fo, Is};

    #[test]
    fn each_profile_reads_its_subjects() {
        let basic = "CN=Ministry, serialNumber=1001, businessCategory=GOV, O=Ministry, C=EE";
        assert_eq!(member(Basic, basic).unwrap(), "FI/GOV/1001");
        assert_eq!(member(BasicAcme, basic).unwrap(), "FI/GOV/1001");
        assert_eq!(member(Ejbca, "CN=1001, O=GOV, C=FI").unwrap(), "FI/GOV/1001");
        let names = "serialNumber=FI/ss1/GOV, O=Ministry, C=FI";
        assert_eq!(member(FiVrk, &format!("CN=1001, {names}")).unwrap(), "FI/GOV/1001");
        assert_eq!(member(FiVrk, "CN=1001, OU=GOV, O=FI, C=FI").unwrap(), "FI/GOV/1001");
        assert_eq!(member(FiVrk, "CN=1001, O=GOV, C=FI").unwrap(), "FI/GOV/1001");
        let island = "CN=1001, serialNumber=x, OU=GOV, O=FI";
        assert_eq!(member(Fo, &format!("{island}, C=FO")).unwrap(), "FI/GOV/1001");
        assert_eq!(member(Is, &format!("{island}, C=IS")).unwrap(), "FI/GOV/1001");
        assert_eq!(member(Is, "CN=1001, O=GOV, C=FI").unwrap(), "FI/GOV/1001");
    }

    #[test]
    fn a_subject_of_another_instance_is_refused() {
        let other = |found: &str| {
            Err(ProfileError::OtherInstance { expected: "FI".to_owned(), found: found.to_owned() })
        };
        assert_eq!(member(Ejbca, "CN=1001, O=GOV, C=FI-TEST"), other("FI-TEST"));
        assert_eq!(member(Ejbca, "CN=1001, O=GOV, C=fi"), other("fi"));
        assert_eq!(member(FiVrk, "CN=1001, serialNumber=FI-TEST/s/GOV, O=x, C=FI"), other("FI-TEST"));
        assert_eq!(member(Fo, "CN=1001, serialNumber=x, OU=GOV, O=FO, C=FO"), other("FO"));
    }

    #[test]
    fn a_subject_that_does_not_fit_is_refused() {
        let missing = |what| Err(ProfileError::MissingAttribute(what));
        let wrong = |what| Err(ProfileError::WrongAttribute(what));
        assert_eq!(member(Basic, "CN=x, serialNumber=1001"), missing("business category"));
        assert_eq!(member(Basic, "CN=x, businessCategory=GOV"), missing("serial number"));
        assert_eq!(member(Ejbca, "CN=1001, C=FI"), missing("organization"));
        assert_eq!(member(Ejbca, "O=GOV, C=FI"), missing("common name"));
        assert_eq!(member(Ejbca, "CN=1001, O=GOV"), missing("country"));
        assert_eq!(member(FiVrk, "CN=1001, serialNumber=FI/s/GOV, O=x, C=SE"), wrong("country"));
        assert_eq!(member(FiVrk, "CN=1001, serialNumber=FI/s/GOV, C=FI"), missing("organization"));
        for parts in ["FI/GOV", "FI/s/GOV/x", "FI"] {
            let subject = format!("CN=1001, serialNumber={parts}, O=x, C=FI");
            assert_eq!(member(FiVrk, &subject), wrong("serial number"), "{parts}");
        }
        let blank = "CN=1001, serialNumber=FI/s/, O=x, C=FI";
        assert_eq!(member(FiVrk, blank), Err(IdentifierError::Blank("member class").into()));
        assert_eq!(member(Fo, "CN=1001, OU=GOV, O=FI, C=FO"), missing("serial number"));
        assert_eq!(member(Is, "CN=1001, serialNumber=x, O=FI, C=IS"), missing("organizational unit"));
    }

    #[test]
    fn an_attribute_that_occurs_twice_is_refused() {
        let twice = |what| Err(ProfileError::RepeatedAttribute(what));
        let subject = "CN=x, serialNumber=1002, serialNumber=1001, businessCategory=GOV";
        assert_eq!(member(Basic, subject), twice("serial number"));
        assert_eq!(member(Ejbca, "CN=1002, CN=1001, O=GOV, C=FI"), twice("common name"));
        assert_eq!(member(Ejbca, "CN=1002+CN=1001, O=GOV, C=FI"), twice("common name"));
    }

    #[test]
    fn a_profile_is_known_by_its_whole_class_name_only() {
        for (profile, class) in CertificateProfile::ALL {
            let full = profile.class_name();
            assert!(full.ends_with(class));
            assert_eq!(CertificateProfile::from_class_name(&full), Ok(profile));
        }
        for name in
            ["", "EjbcaCertificateProfileInfoProvider", "com.example.EjbcaCertificateProfileInfoProvider"]
        {
            let unknown = ProfileError::Unknown(name.to_owned());
            assert_eq!(CertificateProfile::from_class_name(name), Err(unknown));
        }
    }

    #[test]
    fn the_subjects_that_we_ask_for_are_read_as_what_they_were_asked_for() {
        let owner = MemberId::new("FI", "GOV", "1001").unwrap();
        let server = ServerId::new(owner.clone(), "ss1").unwrap();
        let another = ServerId::new(MemberId::new("FI", "GOV", "2002").unwrap(), "ss2").unwrap();
        let build = |attributes: Vec<(ObjectIdentifier, String)>| {
            let attributes: Vec<_> = attributes.iter().map(|(oid, text)| (*oid, text.as_str())).collect();
            Name::build(&attributes).unwrap()
        };
        for (profile, _) in CertificateProfile::ALL {
            let subject = build(profile.signing_subject(&owner, &server, "Ministry", "FI"));
            assert_eq!(profile.member(&subject, "FI").as_ref(), Ok(&owner), "{profile:?}");
            let subject = build(profile.authentication_subject(&server, "Ministry", "FI", "ss1.example"));
            assert_eq!(profile.fits_server(&subject, &server), Ok(()), "{profile:?}");
            assert!(profile.fits_server(&subject, &another).is_err(), "{profile:?}");
        }
    }
}
