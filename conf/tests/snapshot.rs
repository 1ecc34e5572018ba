//! The view that a gateway asks, on the original's sample configurations.
//!
//! The tables say for every file of conformance/global-configuration what the original's own tests expect.

use std::path::PathBuf;

use conf::error::ConfError;
use conf::snapshot::GlobalConf;

fn samples() -> Option<PathBuf> {
    let dir = std::env::var_os("CONFORMANCE_DIR");
    if dir.is_none() {
        eprintln!("not run: CONFORMANCE_DIR is unset");
    }
    dir.map(|dir| PathBuf::from(dir).join("xroad-7.8.0/global-configuration"))
}

#[test]
fn conformance_configurations_are_loaded_or_refused() {
    let Some(dir) = samples() else { return };
    // Configuration, then the instances that are read, or why there is no view.
    let missing = |what: &str| Err(ConfError::Missing(what.to_owned()));
    let table: [(&str, Result<&[&str], ConfError>); 9] = [
        ("globalconf_empty", missing("EE")),
        ("globalconf_good2_v3", Ok(&["DEV"])),
        ("globalconf_good_v2", Ok(&["EE", "bar", "foo"])),
        ("globalconf_good_v3", Ok(&["EE", "bar", "foo_v2"])),
        ("globalconf_good_v4", Ok(&["EE", "bar", "baz_v3", "foo_v2"])),
        ("globalconf_good_v5", Ok(&["EE", "bar", "baz_v3", "foo_v2", "qux_v4"])),
        ("globalconf_good_v6", Ok(&["EE", "bar", "baz_v3", "foo_v2", "quux_v5", "qux_v4"])),
        ("globalconf_malformed", missing("EE")),
        ("globalconf_missing_identifier", missing("instance-identifier")),
    ];
    for (name, expected) in table {
        let found = GlobalConf::load_dir(dir.join(name)).map(|conf| {
            assert_eq!(conf.ignored(), [], "{name}");
            conf.instances().map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(
            found,
            expected.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            "{name}"
        );
    }
}
