//! What the demo shows once everything runs, and checks: exchanges, evidence on both sides, containers.
//!
//! Each step says what it expects; what is otherwise is an error that names what was expected and what was seen.
//!
//! Not here: making and starting the ecosystem.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::{self, Reply};
use super::ecosystem::Ecosystem;
use super::layout::{
    CLASS, CONSUMER, INSTANCE, Layout, ORGANISATIONS, Organisation, PROVIDER, SERVICE, SOAP_SERVICE,
};
use super::narrator::Narrator;

/// Why the demo reads the logs.
const REASON: &str = "the demo";
/// The longest wait for a time-stamp; they come every 2 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the POST carries.
const DECLARATION: &str =
    r#"{"municipality":"66023","subject":"noise","text":"Works at night on rue Sainte-Catherine."}"#;

/// Bytes of the plan.
const ATTACHED: usize = 100_000_000;

/// The path of the service at the consumer's door.
#[must_use]
pub fn service_path() -> String {
    format!("/r1/{}/{SERVICE}", PROVIDER.client())
}

/// Tells and checks all of it. Gives the id of an exchange that can be asked for by hand.
///
/// # Errors
/// In words: what was expected, and what was seen.
pub async fn tell(ecosystem: &Ecosystem, narrator: &Narrator) -> Result<String, String> {
    let teller = Teller { ecosystem, layout: &ecosystem.layout, narrator };
    let get = teller.get().await?;
    let post = teller.post().await?;
    let plan = teller.plan().await?;
    teller.refused().await?;
    teller.evidence(&[("GET", &get), ("POST", &post), ("SOAP message", &plan)])?;
    teller.timestamps(&[&get, &post, &plan]).await?;
    // Each side proves what the other one signed.
    teller.container(&PROVIDER, "request", &post, &CONSUMER)?;
    teller.container(&CONSUMER, "response", &post, &PROVIDER)?;
    teller.container(&PROVIDER, "request", &plan, &CONSUMER)?;
    Ok(post)
}

/// What to try by hand; `id` is that of an exchange, if there was one.
pub fn by_hand(ecosystem: &Ecosystem, id: Option<&str>, narrator: &Narrator) {
    let layout = &ecosystem.layout;
    let consumer = layout.folder(CONSUMER.folder);
    let client = format!("-H 'X-Road-Client: {}'", CONSUMER.client());
    let (http, https) = (layout.http(&CONSUMER), layout.https(&CONSUMER));
    let path = service_path();
    let Organisation { member, subsystem, .. } = CONSUMER;
    narrator.step("Try it by hand");
    narrator.say(&format!(
        "# the same exchange, over HTTP and over HTTPS; what comes back has crossed both gateways\n\
         curl -i {client} http://{http}{path}/municipalities/66023\n\
         curl -i {client} --cacert {ca} https://{https}{path}/municipalities\n\
         curl -i {client} --json '{{\"a\":1}}' http://{http}{path}/declarations\n\
         # no right to it: access denied\n\
         curl -i {client} -X DELETE http://{http}{path}/municipalities/66023\n\
         # who there is in the network\n\
         curl -H 'Accept: application/json' http://{http}/listClients\n\
         # how the gateway is; numbers for Prometheus\n\
         curl http://{health}/health\n\
         curl -H \"Authorization: Bearer $(cat {token})\" http://{health}/metrics\n\
         # the log in a browser, with the token of the auditor: http://{health}/audit/\n\
         # what is logged\n\
         {gateway} --config {config} log list --reason curious\n\
         # a message as a container{hint}; the signed configuration alone verifies it\n\
         curl -o by-hand.asice {client} 'http://{http}/asic?queryId={id}&xRoadInstance={INSTANCE}\
         &memberClass={CLASS}&memberCode={member}&subsystemCode={subsystem}&unique&requestOnly&force'\n\
         {gateway} asic verify --conf {globalconf} by-hand.asice\n\
         # what is inside: the message, the signature, the time-stamp\n\
         unzip -l by-hand.asice",
        ca = layout.folder("ca").join("ca.pem").display(),
        health = layout.administration(&CONSUMER),
        token = consumer.join("operator.token").display(),
        gateway = ecosystem.programs.path("passerelle-gateway").display(),
        config = consumer.join("gateway.toml").display(),
        hint = if id.is_some() { "" } else { " (ID: the X-Road-Id of an answer above)" },
        id = id.unwrap_or("ID"),
        globalconf = consumer.join("globalconf").display(),
    ));
    narrator.say("\nTokens for the administration ports (only their hashes stand in the settings):");
    for organisation in ORGANISATIONS {
        let folder = layout.folder(organisation.folder);
        for name in super::init::TOKENS {
            let token = std::fs::read_to_string(folder.join(format!("{name}.token"))).unwrap_or_default();
            let port = layout.administration(&organisation);
            narrator.say(&format!("{:<9} {name:<9} http://{port}  {token}", organisation.folder));
        }
    }
}

/// A SOAP message with an attachment of so many bytes: its content type, and its bytes.
#[must_use]
pub fn soap_message(id: &str, attached: usize) -> (String, Vec<u8>) {
    let identifier = |organisation: &Organisation| {
        format!(
            "<id:xRoadInstance>{INSTANCE}</id:xRoadInstance><id:memberClass>{CLASS}</id:memberClass>\
             <id:memberCode>{}</id:memberCode><id:subsystemCode>{}</id:subsystemCode>",
            organisation.member, organisation.subsystem
        )
    };
    let envelope = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xroad=\"http://x-road.eu/xsd/xroad.xsd\" xmlns:id=\"http://x-road.eu/xsd/identifiers\">\n\
         <soap:Header>\n  <xroad:client id:objectType=\"SUBSYSTEM\">{}</xroad:client>\n  \
         <xroad:service id:objectType=\"SERVICE\">{}<id:serviceCode>{SOAP_SERVICE}</id:serviceCode>\
         <id:serviceVersion>v1</id:serviceVersion></xroad:service>\n  <xroad:id>{id}</xroad:id>\n  \
         <xroad:protocolVersion>4.0</xroad:protocolVersion>\n</soap:Header>\n\
         <soap:Body><depositPlan xmlns=\"urn:register\"><plan href=\"cid:plan\"/></depositPlan></soap:Body></soap:Envelope>",
        identifier(&CONSUMER),
        identifier(&PROVIDER),
    );
    let mut body = format!(
        "--part\r\nContent-Type: text/xml; charset=UTF-8\r\nContent-ID: <envelope>\r\n\r\n{envelope}\r\n--part\r\n\
         Content-Type: application/octet-stream\r\nContent-ID: <plan>\r\n\r\n"
    )
    .into_bytes();
    body.resize(body.len() + attached, b'.');
    body.extend_from_slice(b"\r\n--part--\r\n");
    ("multipart/related; type=\"text/xml\"; start=\"<envelope>\"; boundary=part".to_owned(), body)
}

struct Teller<'a> {
    ecosystem: &'a Ecosystem,
    layout: &'a Layout,
    narrator: &'a Narrator,
}

impl Teller<'_> {
    /// Gives the exchange's id.
    async fn get(&self) -> Result<String, String> {
        self.narrator.step("A request from the portal to the register");
        self.narrator.say(&format!(
            "The portal ({}) asks its own gateway, over plain HTTP. That gateway signs and\n\
             logs the request and sends it to the provider's over mutual TLS; there it is verified, its rights are\n\
             checked, it is logged, the register is asked, and the answer is signed. The portal gets the answer once it\n\
             is verified and logged.",
            CONSUMER.client()
        ));
        let path = format!("{}/municipalities/66023", service_path());
        let reply = self.ask("GET", &path, "").await?;
        expect("the status of the answer", "200 OK", reply.status)?;
        let answer = json(&reply.body)?;
        expect("the municipality's name", "Montréal", text(&answer, "name"))?;
        exchange_id(&reply)
    }

    async fn post(&self) -> Result<String, String> {
        self.narrator.step("A declaration with a body");
        self.narrator.say("The body is streamed, encrypted in the logs, and covered by the signature, too.");
        let reply = self.ask("POST", &format!("{}/declarations", service_path()), DECLARATION).await?;
        expect("the status of the answer", "200 OK", reply.status)?;
        let answer = json(&reply.body)?;
        let received = answer.get("received_bytes").and_then(Value::as_u64).unwrap_or_default();
        expect("the bytes that the register received", &DECLARATION.len().to_string(), received)?;
        exchange_id(&reply)
    }

    /// SOAP, with an attachment of 100 MB. Gives the exchange's id.
    async fn plan(&self) -> Result<String, String> {
        self.narrator.step("A plan of 100 MB, attached to a SOAP message");
        self.narrator.say(
            "The same gateways and the same story, in the older protocol: an envelope, and an attachment that flows\n\
             through both gateways without being held in memory. The envelope and the attachment are signed.",
        );
        let id = "demo-plan-1";
        let (content_type, body) = soap_message(id, ATTACHED);
        let length = body.len();
        self.narrator.say(&format!("\n> POST /\n> Content-Type: {content_type}\n> {length} bytes"));
        let began = Instant::now();
        let headers = [("Content-Type", content_type.as_str()), ("SOAPAction", "\"\"")];
        let reply = client::send(self.layout.http(&CONSUMER), "POST", "/", &headers, body).await?;
        let seconds = began.elapsed().as_secs_f64();
        let answer = String::from_utf8_lossy(&reply.body);
        self.narrator.say(&format!("< {}   ({seconds:.2} s)\n< {answer}", reply.status));
        expect("the status of the answer", "200 OK", reply.status)?;
        let between = |begin: &str, end: &str| {
            let found = answer.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
            found.map_or("", |(text, _)| text).to_owned()
        };
        expect("whether the answer names its request's hash", "yes", yes(answer.contains("requestHash")))?;
        expect("the id in the answer", id, between("<xroad:id>", "</xroad:id>"))?;
        let received = between("<received>", "</received>").parse::<usize>().unwrap_or_default();
        // The boundary between the parts is each gateway's own.
        expect(
            "whether all of it has arrived",
            "yes",
            yes(received >= ATTACHED && received < length + 1000),
        )?;
        Ok(id.to_owned())
    }

    async fn refused(&self) -> Result<(), String> {
        self.narrator.step("A request that nobody has allowed");
        self.narrator
            .say("The provider's settings let the portal read and declare; DELETE is not among its rights.");
        let reply = self.ask("DELETE", &format!("{}/municipalities/66023", service_path()), "").await?;
        expect("the status of the refusal", "500 Internal Server Error", reply.status)?;
        let code = reply.header("x-road-error");
        expect("the X-Road-Error of the refusal", "server.serverproxy.access_denied", code)?;

        let unknown = format!("/r1/DEMO/GOV/9999/nobody/{SERVICE}/municipalities");
        let reply = self.ask("GET", &unknown, "").await?;
        let code = reply.header("x-road-error");
        expect("whether it names an unknown member", "yes", yes(code.ends_with(".unknown_member")))
            .map_err(|error| format!("{error} (X-Road-Error {code:?})"))
    }

    async fn ask(&self, method: &str, path: &str, body: &'static str) -> Result<Reply, String> {
        let client = CONSUMER.client();
        let mut headers = vec![("X-Road-Client", client.as_str()), ("Accept", "application/json")];
        self.narrator.say(&format!("\n> {method} {path}\n> X-Road-Client: {client}"));
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
            self.narrator.say(&format!("> {body}"));
        }
        let began = Instant::now();
        let reply = client::send(self.layout.http(&CONSUMER), method, path, &headers, body).await?;
        let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
        self.narrator.say(&format!("< {}   ({milliseconds:.1} ms)", reply.status));
        for (shown, name) in [
            ("X-Road-Id", "x-road-id"),
            ("X-Road-Request-Hash", "x-road-request-hash"),
            ("X-Road-Error", "x-road-error"),
        ] {
            if !reply.header(name).is_empty() {
                self.narrator.say(&format!("< {shown}: {}", reply.header(name)));
            }
        }
        self.narrator.say(&format!("< {}", String::from_utf8_lossy(&reply.body)));
        Ok(reply)
    }

    /// Exactly one request and one answer of each exchange, on both sides.
    fn evidence(&self, exchanges: &[(&str, &String)]) -> Result<(), String> {
        self.narrator.step("The evidence, on both sides");
        self.narrator.say(
            "Nothing was answered before this was on disk (passerelle-gateway log list). What was refused\n\
             is known to the one who asked: the signed request, and the fault that came back.",
        );
        for organisation in ORGANISATIONS {
            let folder = self.layout.folder(organisation.folder);
            let lines =
                self.gateway(&folder, &["log", "list", "--json", "--oldest-first", "--reason", REASON])?;
            self.narrator.say(&format!("\n{}, {}", organisation.name, folder.join("log").display()));
            for line in lines.lines() {
                self.narrator.say(&listed(&json(line.as_bytes())?));
            }
            for (name, id) in exchanges {
                let what = format!("what the {} has logged of the {name}", organisation.folder);
                let kinds: Vec<String> =
                    self.records(&organisation, id)?.iter().map(|one| text(one, "kind").to_owned()).collect();
                expect(&what, "request, response", kinds.join(", "))?;
            }
        }
        Ok(())
    }

    async fn timestamps(&self, ids: &[&String]) -> Result<(), String> {
        self.narrator.step("Time-stamps");
        self.narrator.say(
            "Both gateways have what they logged stamped by the authority, every 2 s, in the background.",
        );
        let began = Instant::now();
        for organisation in ORGANISATIONS {
            for id in ids {
                while let Some(waiting) = self.without_stamp(&organisation, id)? {
                    if began.elapsed() > PATIENCE {
                        let seconds = PATIENCE.as_secs();
                        let folder = organisation.folder;
                        return Err(format!(
                            "{folder}: record {waiting}: expected a time-stamp within {seconds} s, saw none"
                        ));
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
            let records = self.records(&organisation, ids.first().copied().map_or("", |id| id))?;
            let record = records.first().unwrap_or(&Value::Null);
            self.narrator.say(&format!(
                "{:<9} stamped at {} by {}",
                organisation.folder,
                text(record, "timestamped_at"),
                text(record, "tsa")
            ));
        }
        Ok(())
    }

    fn without_stamp(&self, organisation: &Organisation, id: &str) -> Result<Option<u64>, String> {
        let records = self.records(organisation, id)?;
        let waiting = records.iter().find(|record| text(record, "timestamped_at").is_empty());
        Ok(waiting.map(number))
    }

    /// Exports a message of an exchange from a log, and verifies the container as the other side's.
    fn container(
        &self,
        holder: &Organisation,
        kind: &str,
        id: &str,
        signer: &Organisation,
    ) -> Result<(), String> {
        self.narrator.step(&format!("The {kind}, as a container from the {}'s log", holder.folder));
        self.narrator.say(&format!(
            "An ASiC-E container: the message, its signature by the {}, the OCSP response for\n\
             the signer's certificate, the time-stamp. Whoever has the signed configuration can verify it, offline,\n\
             years later.",
            signer.name
        ));
        let records = self.records(holder, id)?;
        let record = records.iter().find(|record| text(record, "kind") == kind);
        let number = record.map(number).ok_or_else(|| format!("no {kind} of {id} in the log"))?;
        let folder = self.layout.folder(holder.folder);
        let file = container_file(self.layout, holder, number, kind).display().to_string();
        self.gateway(&folder, &["log", "export", &number.to_string(), "--out", &file, "--reason", REASON])?;
        self.narrator.say(&format!("passerelle-gateway log export {number} --reason {REASON} --out {file}"));

        let verify = ["asic", "verify", "--conf", "globalconf", "--json", &file];
        let report = json(self.gateway(&folder, &verify)?.as_bytes())?;
        self.narrator
            .say(&format!("passerelle-gateway asic verify --conf {}/globalconf {file}", folder.display()));
        expect("whether the container is valid", "true", report.get("valid").unwrap_or(&Value::Null))?;
        expect("the signer of the container", &signer.owner(), text(&report, "signer"))?;
        for fact in ["signed_at", "timestamped_at", "tsa", "ocsp_at"] {
            expect(
                &format!("whether the container has {fact}"),
                "yes",
                yes(!text(&report, fact).is_empty()),
            )?;
        }
        let parts = report.get("parts").and_then(Value::as_array).cloned().unwrap_or_default();
        // The head of the message and its body.
        expect("the number of signed parts", "2", parts.len())?;
        self.narrator.say(&format!(
            "\n{}\n  signed by       {}\n  signed at       {}\n  time-stamped at {} by {}\n  OCSP response   {}",
            text(&report, "message"),
            text(&report, "signer"),
            text(&report, "signed_at"),
            text(&report, "timestamped_at"),
            text(&report, "tsa"),
            text(&report, "ocsp_at"),
        ));
        for part in &parts {
            let digest: String = text(part, "digest").chars().take(32).collect();
            self.narrator.say(&format!(
                "  part            {} {} {digest}...",
                text(part, "name"),
                text(part, "algorithm")
            ));
        }
        Ok(())
    }

    /// The messages of an exchange in a log, oldest first.
    fn records(&self, organisation: &Organisation, id: &str) -> Result<Vec<Value>, String> {
        let folder = self.layout.folder(organisation.folder);
        let list = ["log", "list", "--json", "--oldest-first", "--reason", REASON, "--message-id", id];
        let lines = self.gateway(&folder, &list)?;
        let records: Result<Vec<Value>, String> = lines.lines().map(|line| json(line.as_bytes())).collect();
        Ok(records?.into_iter().filter(|one| matches!(text(one, "kind"), "request" | "response")).collect())
    }

    fn gateway(&self, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        self.ecosystem.programs.run(folder, "passerelle-gateway", arguments)
    }
}

fn container_file(layout: &Layout, holder: &Organisation, number: u64, kind: &str) -> PathBuf {
    layout.folder(holder.folder).join(format!("{number}-{kind}.asice"))
}

fn exchange_id(reply: &Reply) -> Result<String, String> {
    for name in ["x-road-id", "x-road-request-id", "x-road-request-hash"] {
        expect(
            &format!("whether the answer has the header {name}"),
            "yes",
            yes(!reply.header(name).is_empty()),
        )?;
    }
    Ok(reply.header("x-road-id").to_owned())
}

fn expect(what: &str, expected: &str, seen: impl ToString) -> Result<(), String> {
    let seen = seen.to_string();
    if seen == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected}, saw {}", if seen.is_empty() { "nothing" } else { &seen }))
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes)
        .map_err(|error| format!("expected JSON, saw {} ({error})", String::from_utf8_lossy(bytes)))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A line of the log.
fn listed(record: &Value) -> String {
    let time = text(record, "time");
    let fault = text(record, "fault_code");
    format!(
        "{:>3}  {time}  {:<8}  {}  {fault}",
        number(record),
        text(record, "kind"),
        text(record, "message_id")
    )
}

fn number(record: &Value) -> u64 {
    record.get("number").and_then(Value::as_u64).unwrap_or_default()
}
