//! One exchange through the real programs, and other people's programs as the judges of what is kept of it.
//!
//! | judge | of |
//! |---|---|
//! | `curl` | the doors: it is the information system here |
//! | `xmlsec1`, signxml | the signatures in exported containers, and in those of archives |
//! | `xmllint` | signatures, hash chains and manifests under the XML Schemas of X-Road (where its data is at hand) |
//! | `openssl` | the signer's certificate, its OCSP response in the signature, the time-stamp |
//!
//! signxml is a Python package: `PASSERELLE_PYTHON` names the interpreter that has it, as `integration/test.sh` does.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Duration;

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, Organisation, PROVIDER};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;
    use integration::demo::story::service_path;
    use serde_json::Value;
    use tempfile::TempDir;

    const PORTS: u16 = 18_700;

    /// What a program says when it is content, and what it says when it is not.
    fn judge(command: &mut Command) -> Result<String, String> {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{command:?}: {}{}", text(&output.stdout), text(&output.stderr))),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a directory of this test")]
    fn put(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
    }

    /// An exported container, unpacked; and whose signature it is.
    struct Exported {
        file: PathBuf,
        unpacked: TempDir,
        signer: PathBuf,
        ca: PathBuf,
    }

    impl Exported {
        fn new(file: PathBuf, signer: PathBuf, ca: PathBuf) -> Self {
            let unpacked = tempfile::tempdir().unwrap();
            judge(Command::new("unzip").arg("-tq").arg(&file)).unwrap();
            judge(Command::new("unzip").arg("-q").arg(&file).arg("-d").arg(unpacked.path())).unwrap();
            Self { file, unpacked, signer, ca }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.unpacked.path().join(name)
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).unwrap()
        }

        /// The decoded content of the first element of this name in the signature.
        fn decoded(&self, element: &str) -> Vec<u8> {
            let signature = self.read("META-INF/signatures.xml");
            let document = roxmltree::Document::parse(&signature).unwrap();
            let node = document.descendants().find(|node| node.tag_name().name() == element).unwrap();
            let base64: String = node.text().unwrap().split_whitespace().collect();
            STANDARD.decode(base64).unwrap()
        }

        fn xmlsec1(&self) -> Result<String, String> {
            judge(
                Command::new("xmlsec1")
                    .args(["--verify", "--insecure", "--enabled-key-data", "x509"])
                    .args(["--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties"])
                    .arg("--url-map:/message.xml")
                    .arg(self.path("message.xml"))
                    .arg("--url-map:/sig-hashchainresult.xml")
                    .arg(self.path("sig-hashchainresult.xml"))
                    .arg(self.path("META-INF/signatures.xml")),
            )
        }

        fn signxml(&self) -> Result<String, String> {
            let python = std::env::var_os("PASSERELLE_PYTHON").unwrap_or_else(|| {
                panic!("PASSERELLE_PYTHON must name a Python that has signxml: run integration/test.sh")
            });
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges/container.py");
            judge(Command::new(python).arg(script).arg(&self.file).arg(&self.signer))
        }

        /// Certificate, OCSP response and time-stamp, by openssl.
        fn openssl(&self, tsa: &Path) {
            let openssl = || Command::new("openssl");
            judge(openssl().arg("verify").arg("-CAfile").arg(&self.ca).arg(&self.signer)).unwrap();
            let ocsp = self.path("ocsp.der");
            put(&ocsp, &self.decoded("EncapsulatedOCSPValue"));
            let said = judge(
                openssl()
                    .args(["ocsp", "-sha1", "-respin"])
                    .arg(&ocsp)
                    .arg("-CAfile")
                    .arg(&self.ca)
                    .arg("-issuer")
                    .arg(&self.ca)
                    .arg("-cert")
                    .arg(&self.signer),
            )
            .unwrap();
            assert!(said.contains(": good"), "{said}");
            let (token, data) = match self.path("META-INF/timestamp.tst").exists() {
                true => (self.path("META-INF/timestamp.tst"), self.path("ts-hashchainresult.xml")),
                false => {
                    put(&self.path("token"), &self.decoded("EncapsulatedTimeStamp"));
                    put(&self.path("value"), &self.decoded("SignatureValue"));
                    (self.path("token"), self.path("value"))
                }
            };
            judge(
                openssl()
                    .args(["ts", "-verify", "-token_in", "-in"])
                    .arg(token)
                    .arg("-data")
                    .arg(data)
                    .arg("-CAfile")
                    .arg(&self.ca)
                    .arg("-untrusted")
                    .arg(tsa),
            )
            .unwrap();
        }

        fn xmllint(&self, schemas: &Path) {
            let validate = |schema: &str, file: &Path| {
                judge(
                    Command::new("xmllint")
                        .args(["--noout", "--nonet", "--schema"])
                        .arg(schemas.join(schema))
                        .arg(file),
                )
                .unwrap();
            };
            // X-Road's schemas have no wrapper of signatures: the signature cut out of it.
            let wrapped = self.read("META-INF/signatures.xml");
            let (_, rest) = wrapped.split_once("<asic:XAdESSignatures").unwrap();
            let (namespaces, rest) = rest.split_once('>').unwrap();
            let signature = rest.trim_end().strip_suffix("</asic:XAdESSignatures>").unwrap();
            let signature = signature.replacen("<ds:Signature ", &format!("<ds:Signature{namespaces} "), 1);
            // libxml2 reads an xs:integer of at most 24 digits; a serial number has up to 49 (RFC 5280, 4.1.2.2).
            let signature = with_short_serial_number(&signature);
            put(&self.path("signature.xml"), signature.as_bytes());
            validate("xades-schema.xsd", &self.path("signature.xml"));
            let mut chains = 0;
            for name in
                ["sig-hashchain.xml", "sig-hashchainresult.xml", "ts-hashchain.xml", "ts-hashchainresult.xml"]
            {
                if self.path(name).exists() {
                    validate("hashchain.xsd", &self.path(name));
                    chains += 1;
                }
            }
            assert!(chains >= 2, "a body is signed by a hash chain");
        }
    }

    fn with_short_serial_number(signature: &str) -> String {
        let (before, rest) = signature.split_once("<ds:X509SerialNumber>").unwrap();
        let (number, rest) = rest.split_once('<').unwrap();
        assert!(number.bytes().all(|byte| byte.is_ascii_digit()), "{number}");
        format!("{before}<ds:X509SerialNumber>{}<{rest}", &number[..number.len().min(24)])
    }

    /// `curl` as the information system; the id of the exchange.
    fn ask(layout: &Layout, scheme: &str, more: &[&str]) -> String {
        let door = if scheme == "https" { layout.https(&CONSUMER) } else { layout.http(&CONSUMER) };
        let url = format!("{scheme}://{door}{}/declarations", service_path());
        let answer = judge(
            Command::new("curl")
                .args(["-sS", "-i", "--fail-with-body", "-m", "30", "-H"])
                .arg(format!("X-Road-Client: {}", CONSUMER.client()))
                .arg("--cacert")
                .arg(layout.folder("ca").join("ca.pem"))
                .args(["--json", r#"{"municipality":"66023","subject":"noise"}"#])
                .args(more)
                .arg(url),
        )
        .unwrap();
        let id = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("x-road-id").then(|| value.trim().to_owned())
        });
        id.unwrap_or_else(|| panic!("no X-Road-Id in {answer}"))
    }

    fn gateway(programs: &Programs, folder: &Path, arguments: &[&str]) -> String {
        programs.run(folder, "passerelle-gateway", arguments).unwrap()
    }

    /// Waits for the time-stamp of a record, and exports it.
    fn export(
        programs: &Programs,
        layout: &Layout,
        holder: &Organisation,
        (kind, id): (&str, &str),
        signer: &Organisation,
    ) -> Exported {
        let folder = layout.folder(holder.folder);
        let mut patience = 300;
        let number = loop {
            let lines = gateway(
                programs,
                &folder,
                &["log", "list", "--json", "--message-id", id, "--reason", "judges"],
            );
            let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let record = records.iter().find(|record| record["kind"] == kind).unwrap();
            if record["timestamped_at"].is_string() {
                break record["number"].as_u64().unwrap();
            }
            assert!(patience > 0, "no time-stamp: {record}");
            patience -= 1;
            std::thread::sleep(Duration::from_millis(100));
        };
        let file = folder.join(format!("{kind}-{number}.asice"));
        let out = file.to_str().unwrap();
        gateway(
            programs,
            &folder,
            &["log", "export", &number.to_string(), "--out", out, "--reason", "judges"],
        );
        let certificate = layout.folder(signer.folder).join("certificates/sign.pem");
        Exported::new(file, certificate, layout.folder("ca").join("ca.pem"))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn others_programs_find_the_evidence_of_a_real_exchange_right_and_notice_changes() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        let layout =
            init(&programs, &folder.path().join("demo"), PORTS, "p256", &Narrator::silent()).unwrap();
        let ecosystem = Ecosystem::start(programs.clone(), layout.clone()).await.unwrap();

        let tsa = layout.folder("ca").join("tsa.pem");
        for (scheme, more) in [("http", &[][..]), ("https", &["-H", "X-Road-Issue: noise-7"])] {
            let id = ask(&layout, scheme, more);
            for (holder, kind, signer) in [
                (&PROVIDER, "request", &CONSUMER),
                (&CONSUMER, "response", &PROVIDER),
                (&CONSUMER, "request", &CONSUMER),
                (&PROVIDER, "response", &PROVIDER),
            ] {
                let exported = export(&programs, &layout, holder, (kind, &id), signer);
                exported.xmlsec1().unwrap();
                exported.signxml().unwrap();
                exported.openssl(&tsa);
                match std::env::var_os("CONFORMANCE_DIR") {
                    Some(data) => exported.xmllint(&Path::new(&data).join("xroad-7.8.0/schemas")),
                    None => eprintln!("xmllint was not asked: CONFORMANCE_DIR is not set"),
                }
                notices_changes(&exported, &layout.folder(holder.folder).join("certificates/tls.pem"));
            }
        }
        drop(ecosystem);
        for holder in [&CONSUMER, &PROVIDER] {
            judge_archives(&programs, &layout, holder);
        }
    }

    /// Archives a log whose gateway has stopped, and has the containers in the archives judged.
    fn judge_archives(programs: &Programs, layout: &Layout, holder: &Organisation) {
        let folder = layout.folder(holder.folder);
        let settings = fs::read_to_string(folder.join("gateway.toml")).unwrap();
        put(
            &folder.join("gateway.toml"),
            format!("{settings}\n[archive]\ndirectory = \"archives\"\n").as_bytes(),
        );
        fs::create_dir(folder.join("archives")).unwrap();
        let said = gateway(programs, &folder, &["archive", "run"]);
        assert!(said.ends_with("4 messages in 1 archives\n"), "{said}");
        let file = format!("archives/{}", said.lines().next().unwrap());
        gateway(programs, &folder, &["archive", "verify", &file, "--conf", "globalconf"]);
        let unpacked = tempfile::tempdir().unwrap();
        judge(Command::new("unzip").arg("-q").arg(folder.join(&file)).arg("-d").arg(unpacked.path()))
            .unwrap();
        let mut judged = 0;
        for entry in fs::read_dir(unpacked.path()).unwrap() {
            let file = entry.unwrap().path();
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.ends_with(".asice") {
                continue;
            }
            let signer = if name.contains("-request-") { &CONSUMER } else { &PROVIDER };
            let certificate = layout.folder(signer.folder).join("certificates/sign.pem");
            let container = Exported::new(file, certificate, layout.folder("ca").join("ca.pem"));
            container.xmlsec1().unwrap();
            container.signxml().unwrap();
            container.openssl(&layout.folder("ca").join("tsa.pem"));
            judged += 1;
        }
        assert_eq!(judged, 4, "{}", holder.folder);
    }

    /// What was signed is changed in the file, and the judges, who said yes before, say no.
    fn notices_changes(exported: &Exported, another: &Path) {
        let result = exported.read("sig-hashchainresult.xml");
        let changed = result.replacen("sha512", "sha384", 1);
        assert_ne!(changed, result);
        put(&exported.path("sig-hashchainresult.xml"), changed.as_bytes());
        exported.xmlsec1().unwrap_err();
        let file = exported.path("changed.asice");
        repack(&exported.file, &file, exported.unpacked.path());
        let python = |container: &Path, signer: &Path| Exported {
            file: container.to_owned(),
            unpacked: tempfile::tempdir().unwrap(),
            signer: signer.to_owned(),
            ca: exported.ca.clone(),
        };
        let refused = python(&file, &exported.signer).signxml().unwrap_err();
        assert!(refused.contains("refused: InvalidDigest"), "{refused}");
        let refused = python(&exported.file, another).signxml().unwrap_err();
        assert!(refused.contains("refused: InvalidSignature"), "{refused}");
    }
    /// An archive with the names of `old`, and the contents that now lie in `folder`.
    fn repack(old: &Path, new: &Path, folder: &Path) {
        let old = zip::ZipArchive::new(fs::File::open(old).unwrap()).unwrap();
        let mut new = zip::ZipWriter::new(fs::File::create(new).unwrap());
        for name in old.file_names().map(Result::unwrap) {
            new.start_file(&*name, zip::write::SimpleFileOptions::default()).unwrap();
            new.write_all(&fs::read(folder.join(&*name)).unwrap()).unwrap();
        }
        new.finish().unwrap();
    }
}
