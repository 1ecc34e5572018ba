//! The settings files of the demo, as an administrator could have written them: what has a default is left out.
//!
//! Every key is explained in `conf/examples/`. Not here: keys, certificates, tokens; see [`super::init`].

use super::layout::{
    CLASS, CONSUMER, INSTANCE, Layout, ORGANISATIONS, Organisation, PROVIDER, SERVICE, SOAP_SERVICE,
};

/// What the consumer's portal may do: `gateway.toml` of the provider.
pub const RIGHTS: [&str; 4] =
    ["GET /municipalities", "GET /municipalities/*", "GET /bytes/*", "POST /declarations"];

/// `ca/ca.toml`.
#[must_use]
pub fn ca(layout: &Layout, key: &str) -> String {
    let trust = layout.trust();
    format!(
        r#"# passerelle-ca: certificates, OCSP and time-stamps for the demo network.

listen = "{trust}"
# Stands in every certificate: where its revocation is asked for.
url = "http://{trust}"

[root]
name = "CN=Demo Root CA, O=Demo Trust Services, C=CA"
key = "{key}"

[ocsp]
name = "CN=Demo OCSP, O=Demo Trust Services, C=CA"
key = "{key}"

[tsa]
name = "CN=Demo TSA, O=Demo Trust Services, C=CA"
key = "{key}"
"#
    )
}

/// `authority/authority.toml`.
#[must_use]
pub fn authority(layout: &Layout) -> String {
    let (listen, trust) = (layout.authority(), layout.trust());
    let mut text = format!(
        r#"# passerelle-conf: who takes part in the demo network, and whom its gateways trust.

instance = "{INSTANCE}"
sources = ["{listen}"]

[publish]
directory = "public"
listen = "{listen}"
# A busy demo; 60 s is usual.
every = "5 s"

[signing]
keys = "keys"
pin = "keys/pin"

[timestamping]
# A busy demo; 60 s is usual.
interval = "2 s"

# X-Road's format demands these entries; nobody listens there.
[management]
registration_address = "https://{listen}/managementservice/"
provider = "{provider}"

[classes]
{CLASS} = "Public bodies"

[[ca]]
name = "Demo Root CA"
certificate = "certificates/ca.pem"
# The subject names a member by serialNumber (code) and businessCategory (class).
profile = "basic"
ocsp = [{{ url = "http://{trust}/ocsp" }}]

[[tsa]]
name = "Demo TSA"
url = "http://{trust}/tsa"
certificate = "certificates/tsa.pem"
"#,
        provider = PROVIDER.client(),
    );
    for organisation in ORGANISATIONS {
        text.push_str(&member(layout, &organisation));
    }
    text
}

fn member(layout: &Layout, organisation: &Organisation) -> String {
    let Organisation { name, server, subsystem, subsystem_name, .. } = organisation;
    format!(
        r#"
[[member]]
id = "{owner}"
name = "{name}"
subsystems = [{{ code = "{subsystem}", name = "{subsystem_name}" }}]

[[server]]
owner = "{owner}"
code = "{server}"
# No port: the ports of peers are the same in the whole network.
address = "{address}"
certificates = ["certificates/{server}-auth.pem"]
clients = ["{client}"]
"#,
        owner = organisation.owner(),
        client = organisation.client(),
        address = layout.peer(organisation).ip(),
    )
}

/// `service/service.toml`.
#[must_use]
pub fn service(layout: &Layout) -> String {
    format!(
        "# passerelle-demo service: the register behind the provider's gateway. Plain HTTP.\n\nlisten = \"{}\"\n",
        layout.service()
    )
}

/// `gateway.toml` of an organisation; `tokens` are (name, SHA-256 in hex).
#[must_use]
pub fn gateway(layout: &Layout, organisation: &Organisation, tokens: &[(&str, String)]) -> String {
    let mut text = format!(
        r#"# passerelle-gateway: the gateway of the {name}.

[server]
id = "{id}"

[configuration]
# What this gateway trusts first; the authority has handed it over.
anchor = "../anchor.xml"
# A busy demo; 60 s is usual.
every = "2 s"

# For information systems of the organisation.
[doors]
http = "{http}"
https = "{https}"

# Between gateways. The ports are the network's, the address is ours.
[peers]
listen = "{peer}"
ocsp_listen = "{ocsp}"
port = {port}
ocsp_port = {ocsp_port}

[administration]
listen = "{administration}"
"#,
        name = organisation.name,
        id = organisation.server_id(),
        http = layout.http(organisation),
        https = layout.https(organisation),
        peer = layout.peer(organisation),
        ocsp = layout.peer_ocsp(organisation),
        port = layout.peer(organisation).port(),
        ocsp_port = layout.peer_ocsp(organisation).port(),
        administration = layout.administration(organisation),
    );
    for (name, sha256) in tokens {
        text.push_str(&format!(
            "\n# The token itself lies in {name}.token.\n[[administration.token]]\nname = \"{name}\"\nrole = \"{name}\"\nsha256 = \"{sha256}\"\n"
        ));
    }
    text.push_str(&format!(
        r#"
[[client]]
id = "{}"
# Anyone who reaches a door may speak for it: fit for a demo only.
authentication = "http"
"#,
        organisation.client()
    ));
    if *organisation == PROVIDER {
        let endpoints: Vec<String> = RIGHTS.iter().map(|right| format!("\"{right}\"")).collect();
        text.push_str(&format!(
            r#"
[[client.service]]
code = "{SERVICE}"
url = "http://{service}"

[[client.service.allow]]
to = "{consumer}"
endpoints = [{endpoints}]

[[client.service]]
code = "{SOAP_SERVICE}"
version = "v1"
protocol = "soap"
url = "http://{service}/plans"

[[client.service.allow]]
to = "{consumer}"
"#,
            service = layout.service(),
            consumer = CONSUMER.client(),
            endpoints = endpoints.join(", "),
        ));
    }
    text
}
