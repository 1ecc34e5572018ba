//! The authority's register and what is published from it.

mod common;

use common::REGISTER;
use conf::authority::Registry;

/// The problems of a register in which `from` is replaced by `to`, as `line key`.
fn problems_with(changes: &[(&str, &str)]) -> Vec<String> {
    let folder = common::authority();
    let mut register = REGISTER.to_owned();
    for (from, to) in changes {
        assert!(register.contains(from), "{from} is not in the register");
        register = register.replacen(from, to, 1);
    }
    let path = common::write(folder.path(), &register);
    match Registry::load(&path) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.0.iter().map(|p| format!("{}: {}", p.key, p.reason)).collect(),
    }
}

#[test]
fn a_sound_register_is_resolved() {
    let folder = common::authority();
    let registry = Registry::load(&folder.path().join("authority.toml")).unwrap();
    assert_eq!(registry.shared.members.len(), 2);
    assert_eq!(registry.shared.servers.len(), 2);
    assert_eq!(registry.shared.servers[0].auth_cert_hashes[0].len(), 32);
    assert_eq!(registry.shared.global_groups[0].code, "security-server-owners");
    assert_eq!(registry.shared.global_groups[0].members.len(), 2);
    assert_eq!(registry.private.management.provider.to_string(), "DEMO/GOV/2002/registry");
    assert_eq!(registry.directory, folder.path().join("public"));
    assert_eq!(registry.files.len(), 5, "the register, one CA, one TSA, two servers");
}

#[test]
fn each_fault_is_found() {
    for (from, to, problem) in [
        (
            "\"DEMO/GOV/1001\"\nname",
            "\"DEMO/COM/1001\"\nname",
            "member[1].id: class COM does not stand under [classes]",
        ),
        ("\"DEMO/GOV/1001\"\nname", "\"EE/GOV/1001\"\nname", "member[1].id: is not of instance DEMO"),
        ("\"DEMO/GOV/2002\"\nname", "\"DEMO/GOV/1001\"\nname", "member[2].id: stands here twice"),
        ("\"Ministry of Examples\"", "\" \"", "member[1].name: is empty"),
        ("owner = \"DEMO/GOV/1001\"", "owner = \"DEMO/GOV/9\"", "server[1].owner: is no member of this file"),
        (
            "clients = [\"DEMO/GOV/1001/portal\"]",
            "clients = [\"DEMO/GOV/1001/x\"]",
            "server[1].clients: is no member or subsystem of this file",
        ),
        (
            "address = \"127.0.0.11\"",
            "address = \"127.0.0.11:5500\"",
            "server[1].address: is no host name or address without port",
        ),
        (
            "certificates/ss2.pem",
            "certificates/ss1.pem",
            "server[2].certificates: belongs to two servers, or stands here twice",
        ),
        (
            "certificates/ss2.pem",
            "certificates/stranger.pem",
            "server[2].certificates: is not issued by any CA of this file",
        ),
        (
            "certificates/ca.pem",
            "certificates/ss1.pem",
            "ca[1].certificate: is not the certificate of a certification authority",
        ),
        (
            "certificates/tsa.pem",
            "certificates/none.pem",
            "tsa[1].certificate: certificates/none.pem: No such file or directory (os error 2)",
        ),
        (
            "profile = \"basic\"",
            "profile = \"basik\"",
            "ca[1].profile: is neither a profile that is known here nor the class name of another one",
        ),
        (
            "\"http://127.0.0.1:7000/tsa\"",
            "\"ftp://127.0.0.1/tsa\"",
            "tsa[1].url: is no http:// or https:// address",
        ),
        (
            "code = \"ministries\"",
            "code = \"security-server-owners\"",
            "group[1].code: this group keeps itself",
        ),
        ("\"OTHER/GOV/1/x\"", "\"DEMO/GOV/1/x\"", "group[1].members: is no member or subsystem of this file"),
        (
            "provider = \"DEMO/GOV/2002/registry\"",
            "provider = \"DEMO/GOV/2002/r\"",
            "management.provider: is no member or subsystem of this file",
        ),
        ("sources = [\"127.0.0.1:7001\"]", "sources = []", "sources: at least one is needed"),
        ("sources = [\"127.0.0.1:7001\"]", "sources = [\"http://h\"]", "sources: is no host or host:port"),
        (
            "directory = \"public\"",
            "directory = \"public\"\nvalidity = \"60 s\"",
            "publish.validity: must be longer than publish.every",
        ),
        (
            "directory = \"public\"",
            "directory = \"public\"\nevery = \"60\"",
            "publish.every: a duration needs a unit: \"60 s\"",
        ),
    ] {
        let problems = problems_with(&[(from, to)]);
        assert!(problems.contains(&problem.to_owned()), "{to}: {problems:?}");
    }
}

#[test]
fn all_faults_are_told_together_with_their_lines() {
    let folder = common::authority();
    let register = REGISTER
        .replace("certificates/tsa.pem", "missing.pem")
        .replace("owner = \"DEMO/GOV/2002\"", "owner = \"DEMO/GOV/3\"");
    let path = common::write(folder.path(), &register);
    let error = Registry::load(&path).unwrap_err();
    let line = |text: &str| register.lines().position(|line| line.contains(text)).map(|n| n + 1);
    let lines: Vec<_> = error.problems.0.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [line("missing.pem"), line("DEMO/GOV/3")]);
    assert!(
        error.to_string().contains("line 31: server[2].owner")
            || error.to_string().contains("server[2].owner")
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Registry::load(std::path::Path::new("/nowhere/authority.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/authority.toml:"), "{error}");
}
