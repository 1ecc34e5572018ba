//! A log with everything in it, and what it is to be judged by.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use cert_authority::{
    clock::{Clock, FixedClock},
    keys::{KeyType, Pin, inventory::Usage, software::SoftwareKeys},
    tlog::{Checkpoint, NoteSigner, SignatureType, Trust},
};
use conf::snapshot::GlobalConf;
use gateway::{
    audit::verify::{Grounds, Report, verify},
    messagelog::{
        Role,
        audit::Source,
        checkpoint::{Checkpoints, Settings},
        stamp::TimestampAuthority,
    },
};

use crate::{evidence_support::now, log_support::config, metaservice_support::*};

pub(crate) const ORIGIN: &str = "gateway.example/log";

/// A log with everything in it, and what it is to be judged by.
pub(crate) struct Judged {
    pub(crate) scene: Scene,
    pub(crate) conf: GlobalConf,
    pub(crate) trust: Trust,
    pub(crate) last: Checkpoint,
}

impl Judged {
    pub(crate) fn new(messages: usize) -> Self {
        Self::within(Scene::new(), messages)
    }

    pub(crate) fn within(scene: Scene, messages: usize) -> Self {
        Self::sealed_by(scene, messages, &Scene::authorities)
    }

    /// The same; the checkpoints are stamped by these authorities.
    pub(crate) fn sealed_by(
        scene: Scene,
        messages: usize,
        sealers: &dyn Fn(&Scene) -> Vec<Box<dyn TimestampAuthority>>,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(now()));
        let keys =
            Arc::new(SoftwareKeys::open(scene.directory.path().join("keys"), &Pin::new("pin")).unwrap());
        let id = keys.create(KeyType::Ed25519, Usage::Checkpoint, "", None, clock.now()).unwrap();
        let signer = NoteSigner::new(ORIGIN, SignatureType::Ed25519, id, keys).unwrap();
        let trust = Trust {
            origin: ORIGIN.to_owned(),
            log: vec![signer.verifier().clone()],
            witnesses: Vec::new(),
            quorum: 0,
        };
        let settings = Settings {
            origin: ORIGIN.into(),
            every: Duration::from_secs(1),
            previous_keys: Vec::new(),
            witnesses: Vec::new(),
            quorum: 0,
        };
        let checkpoints = Checkpoints::open(scene.log.clone(), signer, settings, clock).unwrap();
        for n in 0..messages {
            let id = format!("q-{n}");
            let role = if n % 3 == 0 { Role::Provider } else { Role::Consumer };
            scene.log(Message { id: &id, role, ..REQUEST });
            scene.log(Message { id: &id, role, ..RESPONSE });
            if n % 7 == 6 {
                scene.stamp();
                scene.runtime.block_on(async {
                    checkpoints.make().await.unwrap();
                    checkpoints.seal(&sealers(&scene)).await.unwrap();
                });
            }
        }
        let last = scene.runtime.block_on(async {
            checkpoints.make().await.unwrap();
            checkpoints.latest().unwrap().checkpoint.clone()
        });
        let conf = GlobalConf::load_dir(scene.configuration()).unwrap();
        Self { scene, conf, trust, last }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        config(self.scene.directory.path()).directory
    }

    pub(crate) fn grounds(&self) -> Grounds<'_> {
        Grounds {
            conf: Some(&self.conf),
            trust: Some(&self.trust),
            expected: Some(&self.last),
            archives: None,
            kek: None,
        }
    }

    pub(crate) fn report<'a>(&self, log: impl Into<Source<'a>>) -> Report {
        verify(log, self.grounds(), &mut |_| {}).unwrap()
    }
}
