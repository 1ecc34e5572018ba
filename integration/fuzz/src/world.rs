//! What verification is told in advance, from the conformance data (`CONFORMANCE_DIR`).

use std::path::PathBuf;
use std::sync::OnceLock;

use cert_authority::x509::Certificate;
use conf::snapshot::GlobalConf;

/// The folder of the conformance data.
pub fn conformance() -> PathBuf {
    std::env::var_os("CONFORMANCE_DIR").expect("CONFORMANCE_DIR names the conformance data").into()
}

/// A certificate of the recorded exchanges.
pub fn recorded_certificate(name: &str) -> Certificate {
    let path = conformance().join(format!("xroad-7.3.2-recorded/certs/{name}.pem"));
    Certificate::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The configuration that the conformance data judges its containers with.
pub fn global_conf() -> &'static GlobalConf {
    static CONF: OnceLock<GlobalConf> = OnceLock::new();
    CONF.get_or_init(|| {
        let folder = conformance().join("xroad-7.8.0/global-configuration/globalconf_good2_v3");
        GlobalConf::load_dir(folder).unwrap()
    })
}
