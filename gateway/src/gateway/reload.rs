//! Takes up changed settings and keys while the gateway runs, without dropping an exchange.
//!
//! The settings file, the list of descriptions and the folder of the keys are looked at every half second. A faulty file is refused with line,
//! key and reason, and what was in force stays in force. What cannot change without a restart (addresses, folders,
//! limits) is told.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::{Digest, digest};
use cert_authority::keys::inventory::Usage;
use tokio::sync::watch;

use super::{Live, hosts, tasks};
use crate::config::Config;
use crate::description::accepted;
use crate::exchange::Gateway;
use crate::keyring::Keyring;
use crate::serverconf::ServerConf;
use crate::transport::tls::{self, PeerTls, Registered};

const EVERY: Duration = Duration::from_millis(500);
/// So long after a file was touched its time tells of every change.
const SETTLED: Duration = Duration::from_secs(2);

/// Looks for changes; the log says which settings came into force.
pub(super) struct Reload {
    gateway: Arc<Gateway>,
    started_with: Config,
    live: Live,
    keyring: Arc<Keyring>,
    registered: Registered,
    wake: watch::Sender<()>,
    seen: Seen,
}

/// What the files looked like.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Of the settings file.
    path: PathBuf,
    settings: Content,
    descriptions: Content,
    keys: Vec<(PathBuf, Option<SystemTime>)>,
}

/// What is in a file. It may be large, and is read again only when it may have changed.
#[derive(Debug, Default)]
struct Content {
    digest: Option<Digest>,
    /// Length, number of the file, when it was last touched: as they were before it was read.
    written: Option<(u64, u64, SystemTime)>,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Content {}

impl Content {
    /// As it is now; `before` is what was seen last.
    fn now(path: &Path, before: &Self) -> Self {
        let written = fs::metadata(path).ok().and_then(|now| {
            let (seconds, nanos) = (u64::try_from(now.ctime()).ok()?, u64::try_from(now.ctime_nsec()).ok()?);
            let touched = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanos);
            Some((now.len(), now.ino(), touched))
        });
        // One that was just touched may be touched again without its time telling: clocks of file systems are coarse.
        let settled = |(_, _, touched): (u64, u64, SystemTime)| {
            system_now().duration_since(touched).is_ok_and(|passed| passed > SETTLED)
        };
        if written.is_some() && written == before.written && written.is_some_and(settled) {
            return Self { digest: before.digest, written };
        }
        let digest = fs::read(path).ok().map(|content| digest(DigestAlgorithm::Sha256, &content));
        Self { digest, written }
    }
}

#[expect(clippy::disallowed_methods, reason = "compared with times of files, which are the machine's")]
fn system_now() -> SystemTime {
    SystemTime::now()
}

impl Seen {
    /// Before anything of it is read, so that no change in between is missed.
    pub(super) fn settings(path: &Path) -> Self {
        Self { path: path.to_path_buf(), ..Self::default() }.settings_now()
    }

    /// With the keys and certificates, before they are read. Other files may lie beside them: the log makes its key there.
    pub(super) fn with_keys(self, directory: &Path) -> Self {
        let is_ours =
            |path: &PathBuf| path.extension().is_some_and(|ending| ending == "pem" || ending == "toml");
        let mut keys: Vec<_> = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| (entry.path(), entry.metadata().and_then(|metadata| metadata.modified()).ok()))
            .filter(|(path, _)| is_ours(path))
            .collect();
        keys.sort();
        Self { keys, ..self }
    }

    fn settings_now(&self) -> Self {
        let path = self.path.clone();
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let descriptions = folder.join(accepted::FOLDER).join(accepted::LIST);
        Self {
            settings: Content::now(&path, &self.settings),
            descriptions: Content::now(&descriptions, &self.descriptions),
            keys: Vec::new(),
            path,
        }
    }
}

impl Reload {
    pub(super) fn new(
        config: &Config,
        live: Live,
        keyring: Arc<Keyring>,
        gateway: Arc<Gateway>,
        registered: Registered,
        wake: watch::Sender<()>,
        seen: Seen,
    ) -> Self {
        Self { gateway, started_with: config.clone(), live, keyring, registered, wake, seen }
    }

    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        let work = async {
            let first = self.live.local.load_full();
            tasks::note_settings(&self.gateway, &self.seen.path, &first).await;
            loop {
                tokio::time::sleep(EVERY).await;
                self.look().await;
            }
        };
        tokio::select! {
            () = tasks::stopped(stop) => {}
            () = work => {}
        }
    }

    async fn look(&mut self) {
        let now = self.seen.settings_now().with_keys(&self.started_with.keys.directory);
        let signer_has_news = self.keyring.signer_has_news().await;
        if now.keys != self.seen.keys || signer_has_news {
            self.take_up_keys();
        }
        if now != self.seen {
            self.take_up_settings().await;
        }
        self.seen = now;
    }

    fn take_up_keys(&self) {
        if let Err(error) = self.keyring.reload() {
            tracing::error!(%error, "the keys could not be taken up; the old ones stay in use");
            return;
        }
        let now = self.gateway.clock.now();
        match self.keyring.identity(Usage::Auth, now) {
            Ok(Some(identity)) => {
                match tls::peers(identity, &self.registered, self.started_with.dangerous.legacy_tls) {
                    Ok(PeerTls { server, client }) => {
                        self.live.peer_server.store(Arc::new(server));
                        self.live.peer_client.store(Arc::new(client));
                    }
                    Err(error) => tracing::error!(%error, "the authentication key cannot be used"),
                }
            }
            Ok(None) => tracing::error!("there is no valid authentication certificate any more"),
            Err(error) => tracing::error!(%error, "the authentication key cannot be used"),
        }
        if let (Some(front), Ok(Some(identity))) =
            (&self.live.front_server, self.keyring.identity(Usage::Tls, now))
        {
            match tls::front_server(identity) {
                Ok(server) => front.store(Arc::new(server.into())),
                Err(error) => tracing::error!(%error, "the key of the HTTPS door cannot be used"),
            }
        }
        self.wake.send_replace(());
        tracing::info!("keys and certificates taken up");
    }

    async fn take_up_settings(&self) {
        let own_certificate = self.keyring.certificate(Usage::Tls, self.gateway.clock.now());
        let (config, local) = match ServerConf::load(&self.seen.path, own_certificate) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!("the changed settings are refused, the old ones stay in force\n{error}");
                metrics::counter!("passerelle_settings_refused_total").increment(1);
                return;
            }
        };
        tell_warnings(&config);
        let before = &self.started_with;
        let fixed = config.server != before.server
            || config.configuration != before.configuration
            || config.keys != before.keys
            || config.signing != before.signing
            || config.doors != before.doors
            || config.transport != before.transport
            || config.replays != before.replays
            || config.clock != before.clock
            || config.administration.listen != before.administration.listen
            || config.dangerous.legacy_tls != before.dangerous.legacy_tls
            || config.timestamping != before.timestamping
            || config.monitoring != before.monitoring
            || config.hardening != before.hardening
            || (&config.log.directory, &config.log.key) != (&before.log.directory, &before.log.key)
            || (config.log.body_quota, config.log.reserve) != (before.log.body_quota, before.log.reserve);
        if fixed {
            tracing::warn!("addresses, folders, limits and intervals change at the next start only");
        }
        // Noted before the first exchange goes by it.
        if local.digest() != self.live.local.load().digest() {
            tasks::note_settings(&self.gateway, &self.seen.path, &local).await;
        }
        self.live.local.store(Arc::new(local));
        self.live.tokens.replace(config.administration.tokens.clone());
        self.live.hosts.store(Arc::new(hosts(&config)));
        metrics::counter!("passerelle_settings_taken_up_total").increment(1);
        tracing::info!("settings taken up");
    }
}

/// What may not be what was meant goes to the program's own log.
pub(super) fn tell_warnings(config: &Config) {
    for warning in &config.warnings.0 {
        tracing::warn!(line = warning.line, key = warning.key, "settings: {}", warning.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_file_is_seen_and_one_that_lies_still_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        let write = |path: &Path, text: &str| cert_authority::durable::write(path, text.as_bytes()).unwrap();
        assert_eq!(Content::now(&path, &Content::default()), Content::default());

        write(&path, "one");
        let mut before = Content::now(&path, &Content::default());
        assert!(before.digest.is_some());
        // In place, of the same length, within one tick of the file system's clock.
        for text in ["two", "six", "ten"] {
            let file = fs::File::options().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).unwrap();
            let after = Content::now(&path, &before);
            assert_ne!(after, before, "{text}");
            before = after;
        }
        // Another file under its name.
        write(&path, "one");
        let after = Content::now(&path, &before);
        assert_ne!(after, before);
        write(&path, "one");
        assert_eq!(Content::now(&path, &after), after, "touched, and the same");

        std::thread::sleep(SETTLED + Duration::from_millis(100));
        let kept = Content { digest: None, ..Content::now(&path, &after) };
        assert_eq!(Content::now(&path, &kept).digest, None, "it was read");
        fs::remove_file(&path).unwrap();
        assert_eq!(Content::now(&path, &after), Content::default());
    }

    #[test]
    fn keys_and_certificates_count_and_no_other_file_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let now = || Seen::default().with_keys(folder.path());
        let write = |name: &str| cert_authority::durable::write(folder.path().join(name), b"x").unwrap();
        let nothing = now();
        for name in ["log.key", "pin"] {
            write(name);
            assert_eq!(now(), nothing, "{name}");
        }
        let mut before = nothing;
        for name in ["1.toml", "1.key.pem", "1.cert.pem"] {
            write(name);
            let after = now();
            assert_ne!(after, before, "{name}");
            before = after;
        }
    }
}
