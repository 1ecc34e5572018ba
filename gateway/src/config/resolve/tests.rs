use super::*;

const EXAMPLE: &str = include_str!("../../../../conf/examples/gateway.toml");

fn faults(text: &str) -> Vec<String> {
    let problems = Config::parse(text, Path::new("/nowhere")).unwrap_err();
    problems.0.iter().map(|problem| format!("{:?} {}", problem.line, problem.key)).collect()
}

const LEAST: &str = "[server]\nid = \"DEMO/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n";

#[test]
fn the_example_is_read_once_its_certificates_are_there() {
    let keys = rcgen_certificate();
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "portal.pem",
        "service.pem",
        "authorities.pem",
        "witness-ca.pem",
        "collector-ca.pem",
        "postgres-ca.pem",
    ] {
        cert_authority::durable::write(folder.path().join(name), keys.as_bytes()).unwrap();
    }
    let config = Config::parse(EXAMPLE, folder.path()).unwrap();
    assert_eq!(config.server.to_string(), "DEMO/GOV/1001/ss1");
    assert_eq!(config.clients[0].services[0].allow[0].endpoints.as_ref().unwrap().len(), 2);
    assert!(!config.log.keeps_bodies_of(&[&config.clients[0].id]));
    assert_eq!(config.log.checkpoints.unwrap().witnesses.len(), 1);
    assert_eq!(config.witness.unwrap().logs.len(), 1);
    let archive = config.archive.unwrap();
    assert!(archive.settings.recipients.is_some());
    let settings = crate::archive::archiver::Settings { recipients: None, ..archive.settings };
    assert_eq!(settings, crate::archive::archiver::Settings::default());
    assert_eq!(archive.every, Duration::from_secs(6 * 3600));
    assert_eq!((archive.keep_bodies, archive.keep_records), (None, None));
}

#[test]
fn the_example_shows_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "portal.pem",
        "service.pem",
        "authorities.pem",
        "witness-ca.pem",
        "collector-ca.pem",
        "postgres-ca.pem",
    ] {
        cert_authority::durable::write(folder.path().join(name), rcgen_certificate().as_bytes()).unwrap();
    }
    let mut shown = Config::parse(EXAMPLE, folder.path()).unwrap();
    // It shows a database, which is where no service is.
    shown.transport.services.never.pop();
    let least = Config::parse(LEAST, folder.path()).unwrap();
    assert_eq!(shown.transport, least.transport);
    assert_eq!((shown.keys, shown.signing), (least.keys, least.signing));
    assert_eq!(shown.timestamping, least.timestamping);
    assert_eq!(shown.output, least.output);
    assert!(shown.monitoring.traces.is_some());
    assert_eq!(crate::opmonitor::Settings { traces: None, ..shown.monitoring }, least.monitoring);
    assert_eq!((shown.hardening, shown.dangerous), (least.hardening, least.dangerous));
    assert_eq!(
        (shown.doors.http, shown.doors.peers, shown.doors.ocsp),
        (least.doors.http, least.doors.peers, least.doors.ocsp)
    );
    assert_eq!(
        (shown.administration.listen, shown.administration.hosts),
        (least.administration.listen, least.administration.hosts)
    );
    assert_eq!(
        (shown.log.directory, shown.log.key, shown.log.bodies, shown.log.body_quota, shown.log.reserve),
        (least.log.directory, least.log.key, least.log.bodies, least.log.body_quota, least.log.reserve)
    );
}

#[test]
fn the_socket_of_a_signer_is_found_from_the_folder_of_the_settings() {
    let shown = EXAMPLE.lines().find_map(|line| line.strip_prefix("# signer = ")).unwrap();
    for (written, meant) in [(shown, "/run/passerelle/signer.sock"), ("\"a.sock\"", "/nowhere/a.sock")] {
        let text = format!("{LEAST}[keys]\nsigner = {written}\n");
        let config = Config::parse(&text, Path::new("/nowhere")).unwrap();
        assert_eq!(config.keys.signer.as_deref(), Some(Path::new(meant)));
    }
}

#[test]
fn a_batch_of_no_messages_is_refused() {
    let most = |most: &str| format!("{LEAST}[signing]\nmost = {most}\n");
    for wrong in ["0", "-1", "\"64\""] {
        assert_eq!(faults(&most(wrong)), ["Some(6) signing"], "{wrong}");
    }
    let config = Config::parse(&most("1"), Path::new("/nowhere")).unwrap();
    assert_eq!((config.signing.batch, config.signing.most.get()), (true, 1));
}

#[test]
fn every_key_of_the_example_has_a_comment_above_it() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let mut keys = 0;
    for (n, line) in lines.iter().enumerate() {
        let key = !line.starts_with('#') && !line.is_empty();
        if key {
            keys += 1;
            assert!(n > 0 && lines[n - 1].starts_with('#'), "line {}: {line}", n + 1);
        }
    }
    assert!(keys > 70, "{keys}");
}

#[test]
fn every_fault_is_told_with_line_and_key() {
    let text = format!(
        "{LEAST}[limits]\nhead = \"64\"\n[[client]]\nid = \"DEMO/GOV\"\n[[client]]\nid = \"DEMO/GOV/1/a\"\n\
         colour = \"red\"\n[doors]\nhttp = \"here\"\n[strange]\n"
    );
    assert_eq!(faults(&text), ["Some(6) limits", "Some(11) client[2]", "Some(13) doors", "Some(14) strange"]);
}

#[test]
fn a_collector_that_cannot_be_reached_safely_is_refused() {
    for endpoint in ["collector:4318", "https://collector/v1/traces", "http://collector/ v1"] {
        let text = format!("{LEAST}[monitoring.traces]\nendpoint = \"{endpoint}\"\n");
        assert_eq!(faults(&text), ["Some(6) monitoring.traces.endpoint"], "{endpoint}");
    }
    let text = format!("{LEAST}[monitoring]\nkeep = \"off\"\nroom = \"1 MiB\"\n");
    let config = Config::parse(&text, Path::new("/nowhere")).unwrap();
    assert_eq!((config.monitoring.directory, config.monitoring.room), (None, 1 << 20));
}

#[test]
fn faults_of_meaning_are_told_together() {
    let text = format!(
        "{LEAST}[[client]]\nid = \"DEMO/GOV/1/a\"\nauthentication = \"http\"\n\
         [[client.service]]\ncode = \"listMethods\"\nurl = \"ftp://x\"\n\
         [[client.service]]\ncode = \"b\"\nurl = \"https://x\"\n\
         [[client.service.allow]]\nto = \"group:none\"\n\
         [[client.service.allow]]\nto = \"DEMO/GOV/2/b\"\nendpoints = [\"GET x\"]\n\
         [[client]]\nid = \"DEMO/GOV/1/a\"\ncertificates = [\"absent.pem\"]\n"
    );
    assert_eq!(
        faults(&text),
        [
            "Some(9) client[1].service[1].code",
            "Some(10) client[1].service[1].url",
            "Some(13) client[1].service[2].url",
            "Some(15) client[1].service[2].allow.to",
            "Some(18) client[1].service[2].allow.endpoints",
            "Some(20) client[2].id",
            "Some(21) client[2].certificates",
        ]
    );
}

#[test]
fn no_service_is_at_our_own_ports_or_at_a_link_local_address() {
    let least = format!(
        "{LEAST}[administration]\nlisten = \"127.0.0.1:4000\"\n[log.postgres]\nhost = \"127.0.0.1\"\n\
         [[client]]\nid = \"DEMO/GOV/1/a\"\nauthentication = \"http\"\n"
    );
    let service = |url: &str| format!("{least}[[client.service]]\ncode = \"a\"\nurl = \"{url}\"\n");
    for url in [
        "http://127.0.0.1:4000/metrics",
        "http://localhost:4000",
        "http://[::ffff:127.0.0.1]:4000",
        "http://127.0.0.1:5432/",
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.1.1:8080",
        "http://[fe80::1]/",
    ] {
        assert_eq!(faults(&service(url)), ["Some(14) client[1].service[1].url"], "{url}");
    }
    for url in ["http://127.0.0.1:4001/", "http://127.0.0.2:5432/", "http://database.example:5432/"] {
        assert!(Config::parse(&service(url), Path::new("/nowhere")).is_ok(), "{url}");
    }
}

#[test]
fn versions_belong_to_soap_and_endpoints_to_rest() {
    let text = format!(
        "{LEAST}[[client]]\nid = \"DEMO/GOV/1/a\"\nauthentication = \"http\"\n\
         [[client.service]]\ncode = \"a\"\nversion = \"v1\"\nurl = \"http://x\"\n\
         [[client.service]]\ncode = \"b\"\nprotocol = \"soap\"\nversion = \" \"\nurl = \"http://x\"\n\
         [[client.service.allow]]\nto = \"DEMO/GOV/2/b\"\nendpoints = [\"GET /x\"]\n\
         [[client.service]]\ncode = \"c\"\nprotocol = \"soap\"\nversion = \"v1\"\nurl = \"http://x\"\n\
         [[client.service]]\ncode = \"c\"\nprotocol = \"soap\"\nversion = \"v2\"\nurl = \"http://x\"\n"
    );
    assert_eq!(
        faults(&text),
        [
            "Some(10) client[1].service[1].version",
            "Some(15) client[1].service[2].version",
            "Some(18) client[1].service[2].allow.endpoints",
        ]
    );
}

#[test]
fn a_client_is_known_by_certificate_unless_the_file_says_otherwise() {
    assert_eq!(
        faults(&format!("{LEAST}[[client]]\nid = \"DEMO/GOV/1/a\"\n")),
        ["Some(6) client[1].authentication"]
    );
}

/// The example says the other place in comments.
#[test]
fn the_example_shows_how_archives_go_to_a_bucket() {
    let begin = EXAMPLE.find("# [archive.s3]").unwrap();
    let lines = EXAMPLE[begin..].lines().take_while(|line| line.starts_with('#'));
    let settings = lines.map(|line| line.trim_start_matches("# ")).filter(|line| !line.starts_with('#'));
    let settings: Vec<&str> = settings.collect();
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("store-ca.pem");
    cert_authority::durable::write(&pem, rcgen_certificate().as_bytes()).unwrap();
    let text = format!("{LEAST}[archive]\n{}", settings.join("\n"));
    let place = Config::parse(&text, folder.path()).unwrap().archive.unwrap().place;
    let super::super::archive::Place::Bucket(at) = place else { panic!("{place:?}") };
    assert_eq!(
        (at.bucket.as_str(), at.prefix.as_str(), at.region.as_str()),
        ("archives", "ss1", "us-east-1")
    );
    assert_eq!((at.authorities.len(), at.credentials), (1, folder.path().join("keys/s3")));
    let without = |key: &str| {
        let left = settings.iter().filter(|line| !line.starts_with(key)).copied();
        format!("{LEAST}[archive]\n{}", left.collect::<Vec<_>>().join("\n"))
    };
    for (faulty, told) in [
        (without("authorities"), "Some(7) archive.s3.endpoint"),
        (without("bucket"), "Some(6) archive"),
        (without("credentials"), "Some(6) archive"),
        (without("allow_http").replace("https://", "http://"), "Some(7) archive.s3.endpoint"),
        (text.replace("https://", "ftp://"), "Some(7) archive.s3.endpoint"),
        (format!("{LEAST}[archive]\nevery = \"1 h\"\n"), "Some(5) archive"),
        (text.replace("[archive]", "[archive]\ndirectory = \"x\""), "Some(5) archive"),
    ] {
        let told_of = faults(&faulty);
        let of_it = told_of.iter().filter(|fault| !fault.ends_with(".authorities")).count();
        assert!(of_it == 1 && told_of.iter().any(|fault| fault.starts_with(told)), "{told}: {told_of:?}");
    }
    let open = text.replace("https://", "http://").replace("allow_http = false", "allow_http = true");
    assert!(Config::parse(&open, folder.path()).is_ok());
}

#[test]
fn a_database_on_another_machine_needs_tls() {
    let folder = tempfile::tempdir().unwrap();
    cert_authority::durable::write(folder.path().join("ca.pem"), rcgen_certificate().as_bytes()).unwrap();
    let read = |settings: &str| Config::parse(&format!("{LEAST}[log.postgres]\n{settings}"), folder.path());
    let with_tls = "\nauthorities = \"ca.pem\"";
    for host in ["db.example", "192.0.2.1", "localhost"] {
        let problems = read(&format!("host = \"{host}\"")).unwrap_err();
        assert_eq!(
            (problems.0[0].line, problems.0[0].key.as_str()),
            (Some(6), "log.postgres.host"),
            "{host}"
        );
        let log = read(&format!("host = \"{host}\"{with_tls}")).unwrap().log;
        assert_eq!(log.postgres.unwrap().authorities.len(), 1, "{host}");
    }
    assert!(read("host = \"/run/postgresql\"").is_ok());
    let cleaned = "[archive]\ndirectory = \"archives\"\nkeep_bodies = \"30 d\"\nkeep_records = \"365 d\"";
    let archive = read(&format!("host = \"/run/postgresql\"\n{cleaned}")).unwrap().archive.unwrap();
    assert_eq!(archive.keep_records, Some(Duration::from_secs(365 * 24 * 3600)));
    assert!(read(&format!("host = \"/run/postgresql\"{with_tls}")).is_err(), "a socket has no TLS");
    let problems = read("host = \"db.example\"\nauthorities = \"missing.pem\"").unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert_eq!(problems.0[0].key, "log.postgres.authorities");
}

#[test]
fn faults_of_checkpoints_and_witnesses_are_told() {
    let log_key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let text = format!(
        "{LEAST}[log.checkpoints]\norigin = \"a b\"\nkey = \"x\"\nquorum = 3\nprevious_keys = [\"x\"]\n\
         [[log.checkpoints.witness]]\nurl = \"ftp://x\"\nkey = \"{log_key}\"\n\
         [[log.checkpoints.witness]]\nurl = \"https://x\"\nkey = \"nothing\"\n\
         [witness]\nname = \"w\"\nlisten = \"127.0.0.1:1\"\nkey = \"x\"\n"
    );
    assert_eq!(
        faults(&text),
        [
            "Some(6) log.checkpoints.origin",
            "Some(7) log.checkpoints.key",
            "Some(8) log.checkpoints.quorum",
            "Some(9) log.checkpoints.previous_keys",
            "Some(11) log.checkpoints.witness.url",
            "Some(12) log.checkpoints.witness.key",
            "Some(14) log.checkpoints.witness.url",
            "Some(15) log.checkpoints.witness.key",
            "Some(19) witness.key",
        ]
    );
}

#[test]
fn missing_entries_are_told() {
    assert_eq!(faults("[doors]\n"), ["None server", "None configuration"]);
}

fn rcgen_certificate() -> String {
    let output = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=test", "-keyout", "/dev/null"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
