//! Makes an ecosystem's directory: settings files, then what the real programs make of them.
//!
//! ```text
//! passerelle-ca init ──────────► ca.pem, tsa.pem ─────────────┐
//! gateways: keys create, request ─► ca issue ─► keys import ──┼─► passerelle-conf init, check, anchor ─► anchor.xml
//! ```
//! Both gateways are set up at the same time. Nothing is done that an administrator could not do by hand.

use std::fs;
use std::path::Path;
use std::thread;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::{digest, random_array};
use cert_authority::durable;
use cert_authority::keys::inventory::{Inventory, Usage};

use super::files;
use super::layout::{CLASS, Layout, ORGANISATIONS, Organisation};
use super::narrator::Narrator;
use super::programs::Programs;

/// The names, and roles, of the tokens that open a gateway's administration port.
pub const TOKENS: [&str; 2] = ["operator", "auditor"];

/// Makes an ecosystem in a directory that is not there yet, or empty. `key` is the kind of all keys: `p256`, `rsa2048`...
///
/// # Errors
/// In words: a directory with something in it, a program that failed.
pub fn init(
    programs: &Programs,
    directory: &Path,
    base: u16,
    key: &str,
    narrator: &Narrator,
) -> Result<Layout, String> {
    let layout = Layout::new(directory, base)?;
    make_folders(&layout)?;
    let maker = Maker { programs, layout: &layout, key, narrator };
    maker.trust_services()?;
    maker.organisations()?;
    maker.authority()?;
    Ok(layout)
}

fn make_folders(layout: &Layout) -> Result<(), String> {
    let directory = layout.directory.display();
    fs::create_dir_all(&layout.directory).map_err(|error| format!("{directory}: {error}"))?;
    let mut entries = fs::read_dir(&layout.directory).map_err(|error| format!("{directory}: {error}"))?;
    if entries.next().is_some() {
        return Err(format!("{directory} is not empty: name a new directory, or remove it first"));
    }
    let organisations = ORGANISATIONS.iter().map(|organisation| organisation.folder);
    for part in ["ca", "authority", "service"].into_iter().chain(organisations) {
        let certificates = layout.folder(part).join("certificates");
        let folder = if matches!(part, "ca" | "service") { layout.folder(part) } else { certificates };
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    Ok(())
}

struct Maker<'a> {
    programs: &'a Programs,
    layout: &'a Layout,
    key: &'a str,
    narrator: &'a Narrator,
}

impl Maker<'_> {
    fn trust_services(&self) -> Result<(), String> {
        self.narrator.step("A certification authority, with OCSP and time-stamps");
        self.narrator
            .say("It certifies keys, says whether a certificate is still good, and what existed when.");
        let folder = self.layout.folder("ca");
        write(&folder.join("ca.toml"), &files::ca(self.layout, self.key))?;
        self.run("ca", "passerelle-ca", &["init"])?;

        let inventory = Inventory::load(folder.join("data/keys")).map_err(|error| error.to_string())?;
        let certificates = self.layout.folder("authority").join("certificates");
        for (usage, name) in [(Usage::Ca, "ca.pem"), (Usage::Tsa, "tsa.pem")] {
            let entry = inventory.entries().iter().find(|entry| entry.key.usage == usage);
            let certificate = entry.and_then(|entry| entry.certificate());
            let pem = certificate.ok_or_else(|| format!("the CA has no certificate for {name}"))?.to_pem();
            write(&folder.join(name), &pem)?;
            write(&certificates.join(name), &pem)?;
        }
        self.done("passerelle-ca init", &folder, "ca.toml, keys and register in data/, ca.pem");
        Ok(())
    }

    fn organisations(&self) -> Result<(), String> {
        self.narrator.step("Two organisations, each with its gateway");
        self.narrator.say(
            "Each makes its own keys; they never leave its folder. The CA certifies one that signs messages,\n\
             one that authenticates the gateway to others, and one for its HTTPS door.",
        );
        // The service's settings need no program.
        write(&self.layout.folder("service").join("service.toml"), &files::service(self.layout))?;
        thread::scope(|scope| {
            let made = ORGANISATIONS.map(|organisation| {
                let begun =
                    thread::Builder::new().spawn_scoped(scope, move || self.organisation(&organisation));
                begun.map_err(|error| format!("a thread: {error}"))
            });
            made.into_iter().try_for_each(|thread| {
                thread?.join().unwrap_or_else(|_| Err("setting up an organisation failed".to_owned()))
            })
        })?;
        for organisation in ORGANISATIONS {
            let what = format!("{}, the {}", organisation.owner(), organisation.name);
            let folder = self.layout.folder(organisation.folder);
            self.done("passerelle-gateway keys ...", &folder, &format!("gateway.toml, keys/; {what}"));
        }
        Ok(())
    }

    fn organisation(&self, organisation: &Organisation) -> Result<(), String> {
        let folder = self.layout.folder(organisation.folder);
        let mut tokens = Vec::new();
        for name in TOKENS {
            let token = random_array::<24>().map(hex::encode).map_err(|error| error.to_string())?;
            let file = folder.join(format!("{name}.token"));
            durable::write_secret(&file, token.as_bytes())
                .map_err(|error| format!("{}: {error}", file.display()))?;
            tokens.push((name, digest(DigestAlgorithm::Sha256, token.as_bytes()).hex()));
        }
        write(&folder.join("gateway.toml"), &files::gateway(self.layout, organisation, &tokens))?;
        for usage in ["sign", "auth", "tls"] {
            self.certified_key(organisation, usage)?;
        }
        Ok(())
    }

    /// One key with its certificate, by the steps that an administrator takes.
    fn certified_key(&self, organisation: &Organisation, usage: &str) -> Result<(), String> {
        let gateway = |arguments: &[&str]| self.run(organisation.folder, "passerelle-gateway", arguments);
        let request = format!("certificates/{usage}.csr.pem");
        let certificate = format!("certificates/{usage}.pem");
        let common_name = if usage == "sign" { organisation.name } else { organisation.server };
        let subject = format!(
            "CN={common_name}, serialNumber={}, businessCategory={CLASS}, O={}, C=CA",
            organisation.member, organisation.name
        );
        let id = gateway(&["keys", "create", "--usage", usage, "--type", self.key])?;
        let mut ask = vec!["keys", "request", id.trim(), "--out", &request];
        // An authentication key has a usual subject: a server is known by its certificate's hash.
        if usage != "auth" {
            ask.extend(["--subject", &subject]);
        }
        gateway(&ask)?;

        let folder = self.layout.folder(organisation.folder);
        let (from, to) = (folder.join(&request), folder.join(&certificate));
        let (from, to) = (from.display().to_string(), to.display().to_string());
        let mut issue = vec!["issue", "--profile", usage, "--request", &from, "--out", &to];
        if usage == "tls" {
            issue.extend(["--host", "localhost", "--host", "127.0.0.1"]);
        }
        self.run("ca", "passerelle-ca", &issue)?;
        gateway(&["keys", "import", &certificate])?;
        Ok(())
    }

    fn authority(&self) -> Result<(), String> {
        self.narrator.step("The authority of the network");
        self.narrator.say(
            "It says who takes part and whom to trust, in a configuration that it signs again and again.\n\
             anchor.xml is what each gateway gets from it once, by hand: it holds the certificate that it signs with.",
        );
        let folder = self.layout.folder("authority");
        for organisation in ORGANISATIONS {
            let from = self.layout.folder(organisation.folder).join("certificates/auth.pem");
            let pem = fs::read_to_string(&from).map_err(|error| format!("{}: {error}", from.display()))?;
            write(&folder.join(format!("certificates/{}-auth.pem", organisation.server)), &pem)?;
        }
        write(&folder.join("authority.toml"), &files::authority(self.layout))?;
        let anchor = self.layout.anchor().display().to_string();
        let conf = |arguments: &[&str]| self.run("authority", "passerelle-conf", arguments);
        conf(&["init", "--key", self.key])?;
        conf(&["check"])?;
        conf(&["anchor", "--out", &anchor])?;
        self.done("passerelle-conf init, check, anchor", &folder, "authority.toml, certificates/, keys/");
        self.narrator.say(&format!("{:<36} {anchor}", ""));
        Ok(())
    }

    fn run(&self, part: &str, program: &str, arguments: &[&str]) -> Result<String, String> {
        self.programs.run(&self.layout.folder(part), program, arguments)
    }

    fn done(&self, command: &str, folder: &Path, what: &str) {
        self.narrator.say(&format!("{command:<36} {}: {what}", folder.display()));
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    durable::write(path, text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))
}
