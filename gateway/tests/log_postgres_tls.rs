//! TLS to PostgreSQL: the right server is spoken to, and no other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod log_support;
mod postgres_support;

use std::{path::Path, sync::Arc, time::Duration};

use cert_authority::{durable, x509::Certificate};
use gateway::messagelog::{Config, Database, LogError, LogStore as _, MessageLog};
use log_support::*;
use postgres_support::Cluster;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority: its certificate, and what issues.
fn authority(name: &str) -> (Certificate, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
    (certificate, Issuer::new(params, key))
}

/// A certificate for a server of this name, and its key.
fn issued(issuer: &Issuer<'static, KeyPair>, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

fn opened(directory: &Path, database: Database) -> Result<MessageLog, LogError> {
    MessageLog::create(Config { postgres: Some(database), ..config(directory) }, Arc::new(clock()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_by_its_certificate_and_refused_with_another_one_or_without_tls() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let ((ours, issuer), (other, _)) = (authority("ours"), authority("other"));
    let over_tls = |authority: &Certificate, host: &str| {
        let (host, authorities) = (host.to_owned(), vec![authority.clone()]);
        opened(directory.path(), Database { host, authorities, ..cluster.database() })
    };
    let refused = |opened: Result<MessageLog, LogError>| opened.err().unwrap().to_string();

    let reason = refused(over_tls(&ours, "127.0.0.1"));
    assert!(reason.contains("server does not support TLS"), "{reason}");

    let (chain, key) = issued(&issuer, "127.0.0.1");
    cluster.offer_tls(Some((&chain, &key)));
    let log = over_tls(&ours, "127.0.0.1").unwrap();
    append(&log, "first", &vec![7; 300_000]).await.unwrap();
    assert_eq!(ids(&log), ["first"]);
    let plain = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                 WHERE application_name = 'passerelle-gateway' AND ssl IS ";
    assert_eq!(cluster.value(&format!("{plain} FALSE")), "0");
    assert_ne!(cluster.value(&format!("{plain} TRUE")), "0");
    drop(log);

    let reason = refused(over_tls(&other, "127.0.0.1"));
    assert!(reason.contains("UnknownIssuer"), "{reason}");
    let reason = refused(over_tls(&ours, "localhost"));
    assert!(reason.contains("not valid for name"), "{reason}");

    // A server that gives up its TLS, or is another one, is not spoken to by a log that is open either.
    let log = over_tls(&ours, "127.0.0.1").unwrap();
    cluster.offer_tls(None);
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'passerelle-gateway'");
    let second = tokio::time::timeout(Duration::from_secs(2), append(&log, "second", b"")).await;
    assert!(!matches!(second, Ok(Ok(_))), "{second:?}");
    for _ in 0..100 {
        if log.ready().is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reason = log.ready().unwrap_err().to_string();
    assert!(reason.contains("server does not support TLS"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_bound_to_the_channel() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let (ours, issuer) = authority("ours");
    let (chain, key) = issued(&issuer, "localhost");
    cluster.offer_tls(Some((&chain, &key)));
    cluster.sql("CREATE ROLE gate LOGIN SUPERUSER PASSWORD 'right'");
    cluster.ask_for_passwords();
    let file = directory.path().join("password");
    durable::write_secret(&file, b"right").unwrap();
    let (user, host, authorities) = ("gate".to_owned(), "localhost".to_owned(), vec![ours]);
    let database =
        Database { user, host, authorities, password_file: Some(file.clone()), ..cluster.database() };
    let log = opened(directory.path(), database.clone()).unwrap();
    append(&log, "first", b"").await.unwrap();
    drop(log);
    durable::write_secret(&file, b"wrong").unwrap();
    let refused = opened(directory.path(), database).err().unwrap().to_string();
    assert!(refused.contains("28P01"), "{refused}");
}
