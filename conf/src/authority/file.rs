//! `authority.toml` as it is written.
//!
//! Every fault that can be seen without opening another file is found here, each with its line and key, and all are
//! reported together: an administrator mends a file once, not once for each fault. What the entries mean together
//! (does a server's owner exist, are the certificates readable) is [`super::registry`]'s business.

use std::num::NonZeroU16;

use cert_authority::settings::{Problems, Reader, Text};
use cert_authority::tlog::settings::WitnessFile;
use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) instance: Text,
    pub(crate) sources: Vec<Text>,
    pub(crate) publish: Publish,
    pub(crate) signing: Signing,
    pub(crate) ocsp: Ocsp,
    pub(crate) timestamping: Timestamping,
    pub(crate) monitoring: Monitoring,
    pub(crate) management: Management,
    pub(crate) witness: Option<WitnessFile>,
    pub(crate) classes: Vec<(String, String)>,
    pub(crate) ca: Vec<Ca>,
    pub(crate) tsa: Vec<Tsa>,
    pub(crate) member: Vec<Member>,
    pub(crate) server: Vec<Server>,
    pub(crate) group: Vec<Group>,
    pub(crate) federated: Vec<Federated>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    pub(crate) directory: Text,
    pub(crate) listen: Option<Spanned<std::net::SocketAddr>>,
    pub(crate) every: Option<Text>,
    pub(crate) validity: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signing {
    pub(crate) keys: Text,
    pub(crate) pin: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ocsp {
    pub(crate) freshness: Option<Text>,
    pub(crate) fetch_interval: Option<Text>,
    pub(crate) check_next_update: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timestamping {
    pub(crate) interval: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Monitoring {
    pub(crate) client: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Management {
    pub(crate) registration_address: Text,
    pub(crate) registration_certificate: Option<Text>,
    pub(crate) provider: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ca {
    pub(crate) name: Text,
    pub(crate) certificate: Text,
    pub(crate) profile: Text,
    #[serde(default)]
    pub(crate) authentication_only: bool,
    pub(crate) request_format: Option<RequestFormat>,
    #[serde(default)]
    pub(crate) ocsp: Vec<OcspResponder>,
    #[serde(default)]
    pub(crate) intermediate: Vec<Intermediate>,
    pub(crate) acme: Option<Acme>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RequestFormat {
    Pem,
    Der,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cost {
    Free,
    Paid,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OcspResponder {
    pub(crate) url: Text,
    pub(crate) certificate: Option<Text>,
    pub(crate) cost: Option<Cost>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intermediate {
    pub(crate) certificate: Text,
    #[serde(default)]
    pub(crate) ocsp: Vec<OcspResponder>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acme {
    pub(crate) directory: Text,
    pub(crate) ip_address: Option<String>,
    pub(crate) authentication_profile: Option<String>,
    pub(crate) signing_profile: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tsa {
    pub(crate) name: Text,
    pub(crate) url: Text,
    pub(crate) certificate: Text,
    pub(crate) cost: Option<Cost>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) id: Text,
    pub(crate) name: Text,
    #[serde(default)]
    pub(crate) subsystems: Vec<Subsystem>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subsystem {
    pub(crate) code: Text,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) owner: Text,
    pub(crate) code: Text,
    pub(crate) address: Text,
    #[serde(default)]
    pub(crate) certificates: Vec<Text>,
    #[serde(default)]
    pub(crate) clients: Vec<Text>,
    pub(crate) maintenance: Option<String>,
    pub(crate) quic: Option<Spanned<NonZeroU16>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) code: Text,
    pub(crate) description: Text,
    #[serde(default)]
    pub(crate) members: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Federated {
    pub(crate) anchor: Text,
}

impl File {
    /// Reads the text of `authority.toml`.
    ///
    /// # Errors
    /// All faults of form, together.
    pub(crate) fn parse(text: &str) -> Result<Self, Problems> {
        let mut reader = Reader::new(text)?;
        let instance = reader.one("instance");
        let sources = reader.one("sources");
        let publish = reader.one("publish");
        let signing = reader.one("signing");
        let ocsp = reader.optional("ocsp").unwrap_or_default();
        let timestamping = reader.optional("timestamping").unwrap_or_default();
        let monitoring = reader.optional("monitoring").unwrap_or_default();
        let management = reader.one("management");
        let witness = reader.optional("witness");
        let classes: std::collections::BTreeMap<_, _> = reader.optional("classes").unwrap_or_default();
        let ca = reader.list("ca");
        let tsa = reader.list("tsa");
        let member = reader.list("member");
        let server = reader.list("server");
        let group = reader.list("group");
        let federated = reader.list("federated");
        let problems = reader.finish();
        let (Some(instance), Some(sources), Some(publish), Some(signing), Some(management)) =
            (instance, sources, publish, signing, management)
        else {
            // What could not be read has been told.
            return Err(problems.or(()).err().unwrap_or_default());
        };
        let classes = classes.into_iter().collect();
        problems.or(Self {
            instance,
            sources,
            publish,
            signing,
            ocsp,
            timestamping,
            monitoring,
            management,
            witness,
            classes,
            ca,
            tsa,
            member,
            server,
            group,
            federated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../examples/authority.toml");

    /// The patterns name every field, so a new key does not compile here until the example shows it.
    #[test]
    fn the_example_holds_every_key() {
        let file = File::parse(EXAMPLE).unwrap();
        let File { instance, sources, publish, signing, ocsp, timestamping, monitoring, management, .. } =
            &file;
        assert_eq!(instance.get_ref(), "DEMO");
        assert!(!sources.is_empty());
        let Publish { directory: _, listen, every, validity } = publish;
        assert!(listen.is_some() && every.is_some() && validity.is_some());
        let Signing { keys: _, pin: _ } = signing;
        let Ocsp { freshness, fetch_interval, check_next_update } = ocsp;
        assert!(freshness.is_some() && fetch_interval.is_some() && check_next_update.is_some());
        let Timestamping { interval } = timestamping;
        assert!(interval.is_some());
        let Monitoring { client } = monitoring;
        assert!(client.is_some());
        let Management { registration_address: _, registration_certificate, provider: _ } = management;
        assert!(registration_certificate.is_some());
    }

    #[test]
    fn the_example_holds_every_key_of_the_lists() {
        let file = File::parse(EXAMPLE).unwrap();
        assert!(file.witness.is_some());
        let File { classes, ca, tsa, member, server, group, federated, .. } = &file;
        assert!(!classes.is_empty());
        let Ca {
            name: _,
            certificate: _,
            profile: _,
            authentication_only: _,
            request_format,
            ocsp,
            intermediate,
            acme,
        } = &ca[0];
        let OcspResponder { url: _, certificate, cost } = &ocsp[0];
        assert!(request_format.is_some() && certificate.is_some() && cost.is_some());
        let Intermediate { certificate: _, ocsp } = &intermediate[0];
        assert!(!ocsp.is_empty());
        let Acme { directory: _, ip_address, authentication_profile, signing_profile } =
            acme.as_ref().unwrap();
        assert!(ip_address.is_some() && authentication_profile.is_some() && signing_profile.is_some());
        let Tsa { name: _, url: _, certificate: _, cost } = &tsa[0];
        assert!(cost.is_some());
        let Member { id: _, name: _, subsystems } = &member[0];
        let Subsystem { code: _, name } = &subsystems[0];
        assert!(name.is_some());
        let Server { owner: _, code: _, address: _, certificates, clients, maintenance, quic } = &server[1];
        assert!(!certificates.is_empty() && !clients.is_empty());
        assert!(maintenance.is_some() && quic.is_some());
        let Group { code: _, description: _, members } = &group[0];
        assert!(!members.is_empty());
        let Federated { anchor: _ } = &federated[0];
    }

    #[test]
    fn each_key_of_the_example_has_its_comment() {
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        let mut keys = 0;
        for (n, line) in lines.iter().enumerate() {
            if line.starts_with('[') || (!line.starts_with('#') && line.contains(" = ")) {
                keys += 1;
                assert!(lines[n - 1].starts_with('#'), "line {}: no comment above {line}", n + 1);
            }
        }
        assert!(keys > 50, "only {keys} keys were seen");
    }

    #[test]
    fn all_faults_are_reported_together_with_line_and_key() {
        let text = EXAMPLE
            .replace("code = \"ss1\"", "kode = \"ss1\"")
            .replace("url = \"http://127.0.0.1:7000/tsa\"", "url = 7")
            .replace("instance = \"DEMO\"", "instances = \"DEMO\"");
        let problems = File::parse(&text).unwrap_err();
        let line = |of: &str| text.lines().position(|line| line.contains(of)).map(|n| n + 1);
        let found: Vec<_> = problems.0.iter().map(|p| (p.line, p.key.as_str())).collect();
        assert_eq!(
            found,
            [
                (None, "instance"),
                (line("instances ="), "instances"),
                (line("url = 7"), "tsa[1]"),
                (line("kode ="), "server[1]"),
            ]
        );
        assert!(problems.to_string().contains("unknown field `kode`"), "{problems}");
    }

    #[test]
    fn broken_syntax_is_told_with_its_line() {
        let problems = File::parse("instance = \"DEMO\"\nsources = [\n\n[publish\n").unwrap_err();
        assert!(problems.0.iter().all(|p| p.line.is_some_and(|line| line >= 2)), "{problems}");
    }

    #[test]
    fn a_single_table_where_a_list_belongs_is_explained() {
        let text = EXAMPLE.replace("[[group]]", "[group]");
        let problems = File::parse(&text).unwrap_err();
        assert_eq!(problems.0[0].reason, "is a list: write [[group]] above each entry");
    }
}
