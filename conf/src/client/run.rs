//! The client at work: asks what its plans say, keeps what is genuine and newest, shows it.
//!
//! Each set passes the same way, and what fails on it changes nothing:
//!
//! ```text
//! fetch (signature, Expire-date, age, hashes) ─► view built from it ─► on disk as a whole ─► in force
//! ```
//!
//! The folder is the truth: what another process puts there (an operator's `fetch --accept-older`) is verified and
//! comes into force with the next round.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::{Clock, UnixTime};
use cert_authority::{crypto, http};

use super::event::{Event, Outcome};
use super::fetch::{self, Fetched, Limits, Subject};
use super::followed::Followed;
use super::handle::ConfHandle;
use super::plan::{Next, Question};
use super::set::{VerifiedSet, Wanted};
use super::store::Store;
use crate::anchor::Anchor;
use crate::directory::kept;
use crate::error::ConfError;
use crate::snapshot::GlobalConf;

/// No wait is longer: the anchor and the folder are looked at again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a client needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The anchor: trust begins here. It is read again when it changes.
    pub anchor: PathBuf,
    /// The folder that the configuration is kept in.
    pub directory: PathBuf,
    /// How often sources are asked.
    pub interval: Duration,
    /// Other instances that are followed, where the authority has an agreement with them.
    pub federated: Vec<String>,
    /// What a question may cost.
    pub limits: Limits,
    /// Take a configuration that is older than the one in force: an operator's way out, never for a gateway.
    pub accept_older: bool,
}

impl Settings {
    /// Asks every 60 s, and follows no other instance.
    pub fn new(anchor: impl Into<PathBuf>, directory: impl Into<PathBuf>) -> Self {
        Self {
            anchor: anchor.into(),
            directory: directory.into(),
            interval: Duration::from_secs(60),
            federated: Vec::new(),
            limits: Limits::default(),
            accept_older: false,
        }
    }
}

/// Follows the configuration of an instance, and of those that it is federated with.
pub struct Client {
    settings: Settings,
    clock: Arc<dyn Clock>,
    http: http::Client,
    store: Store,
    own: Followed,
    foreign: BTreeMap<String, Followed>,
    handle: ConfHandle,
    offset: usize,
}

impl Client {
    /// Reads the anchor, and shows at once what is on disk. Nothing is asked yet.
    ///
    /// # Errors
    /// An anchor or a folder that cannot be read; [`ConfError::OtherInstance`] for a folder of another instance. A
    /// configuration on disk that does not verify is no error: it is told, and replaced by the next one.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, ConfError> {
        let anchor = read_anchor(&settings.anchor)?;
        let store = Store::open(&settings.directory)?;
        match store.own_instance()? {
            Some(found) if found != anchor.instance => {
                return Err(ConfError::OtherInstance { expected: anchor.instance, found });
            }
            Some(_) => {}
            None => store.set_own_instance(&anchor.instance)?,
        }
        let [random] = crypto::random_array::<1>().unwrap_or_default();
        let offset = usize::from(random);
        let handle = ConfHandle::new(&anchor.instance);
        let own = Followed::new(anchor, Wanted::All, settings.interval, offset);
        let http = http::Client::new();
        let mut client = Self { settings, clock, http, store, own, foreign: BTreeMap::new(), handle, offset };
        client.take_up_folder();
        Ok(client)
    }

    /// The configuration in force, for others.
    pub fn handle(&self) -> ConfHandle {
        self.handle.clone()
    }

    /// Follows the configuration until `shutdown` completes. A round that is under way is given up.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let work = async {
            loop {
                let (_, next) = self.round().await;
                let wait = next.since(self.clock.now()).min(LONGEST_WAIT);
                tokio::time::sleep(wait).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = work => {}
        }
    }

    /// Asks what is to be asked now; tells what came of it, and when to come again.
    pub async fn round(&mut self) -> (Vec<Event>, UnixTime) {
        self.take_up_anchor();
        self.take_up_folder();
        let mut events = Vec::new();
        let own = self.own.instance().to_owned();
        let mut next = self.follow(&own, &mut events).await;
        self.take_up_federation();
        for instance in self.foreign.keys().cloned().collect::<Vec<_>>() {
            next = next.min(self.follow(&instance, &mut events).await);
        }
        self.leave_out_expired();
        let foreign_expiry = self.handle.last_good().and_then(|conf| conf.first_foreign_expiry());
        (events, foreign_expiry.map_or(next, |at| next.min(at + Duration::from_secs(1))))
    }

    /// Asks the sources of one instance until its plan says to wait.
    async fn follow(&mut self, instance: &str, events: &mut Vec<Event>) -> UnixTime {
        loop {
            let now = self.clock.now();
            let Some(followed) = self.followed(instance) else { return now };
            let question = match followed.plan.next(now) {
                Next::Wait(until) => return until,
                Next::Ask(question) => question,
            };
            let outcome = self.ask(instance, &question).await;
            let now = self.clock.now();
            if let Some(followed) = self.followed(instance) {
                followed.plan.answer(outcome.answer(), now);
            }
            let event = Event { instance: instance.to_owned(), url: question.url, outcome };
            event.record(&self.handle);
            events.push(event);
        }
    }

    async fn ask(&mut self, instance: &str, question: &Question) -> Outcome {
        let (http, limits, now) = (self.http.clone(), self.settings.limits, self.clock.now());
        let accept_older = self.settings.accept_older;
        let Some(followed) = self.followed(instance) else { return Outcome::NoSuchVersion };
        let subject = Subject {
            instance,
            certificates: &followed.certificates,
            wanted: followed.wanted,
            in_force: followed.set.as_ref(),
            accept_older,
        };
        match fetch::fetch(&http, &limits, &question.url, &subject, now).await {
            Ok(Fetched::Unchanged) => Outcome::Unchanged,
            Ok(Fetched::NoSuchVersion) => Outcome::NoSuchVersion,
            Ok(Fetched::Set(set)) => {
                let (expires, version) = set.age();
                match self.take(instance, set) {
                    Ok(()) => Outcome::Taken { expires, version },
                    Err(error) => Outcome::Failed(error),
                }
            }
            Err(ConfError::RolledBack { kept, found, .. }) => Outcome::Older { kept, found },
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Puts a set in force: only if a view can be built from it, and only after it is on disk.
    fn take(&mut self, instance: &str, set: VerifiedSet) -> Result<(), ConfError> {
        let conf = self.view(Some((instance, &set)))?;
        // A federated instance that cannot be read is left out of a view; it must not replace one that can.
        if let Some((_, error)) = conf.ignored().iter().find(|(ignored, _)| ignored == instance) {
            return Err(error.clone());
        }
        self.store.replace(&set.to_store())?;
        if let Some(followed) = self.followed(instance) {
            followed.set_in_force(set);
        }
        self.handle.show(conf);
        Ok(())
    }

    /// A view over the sets in force, with this one in the place of its predecessor.
    fn view(&self, new: Option<(&str, &VerifiedSet)>) -> Result<GlobalConf, ConfError> {
        let sets = std::iter::once(&self.own).chain(self.foreign.values()).filter_map(|followed| match new {
            Some((instance, set)) if instance == followed.instance() => Some(set),
            _ => followed.set.as_ref(),
        });
        let parts = sets.map(VerifiedSet::instance_parts).collect();
        GlobalConf::build(self.own.instance(), parts, Some(self.clock.now()))
    }

    /// Shows what is on disk, where it is not what is in force.
    fn take_up_folder(&mut self) {
        let mut changed = false;
        for followed in std::iter::once(&mut self.own).chain(self.foreign.values_mut()) {
            match followed.read_from(&self.store) {
                Ok(new) => changed |= new,
                Err(error) => tracing::error!(
                    instance = followed.instance(),
                    %error,
                    "the configuration on disk does not verify and is not used"
                ),
            }
        }
        if changed {
            match self.view(None) {
                Ok(conf) => self.handle.show(conf),
                Err(error) => tracing::error!(%error, "the configuration on disk cannot be used"),
            }
        }
        if self.foreign.is_empty() && !self.settings.federated.is_empty() && changed {
            self.take_up_federation();
        }
    }

    /// An administrator may install another anchor of the same instance at any time.
    fn take_up_anchor(&mut self) {
        match read_anchor(&self.settings.anchor) {
            Ok(anchor) if anchor == self.own.anchor => {}
            Ok(anchor) if anchor.instance == self.own.anchor.instance => {
                tracing::info!(instance = anchor.instance, "a new anchor is in force");
                self.own.set_anchor(anchor);
            }
            Ok(anchor) => tracing::error!(
                instance = anchor.instance,
                expected = self.own.anchor.instance,
                "the new anchor is of another instance; the old one stays in force"
            ),
            Err(error) => tracing::error!(%error, "the anchor cannot be read; the old one stays in force"),
        }
    }

    /// Follows those instances that both the authority and the settings name, and forgets the others.
    fn take_up_federation(&mut self) {
        let conf = self.handle.last_good();
        let anchors = conf.as_ref().and_then(|conf| conf.private()).map(|private| private.anchors.as_slice());
        let wanted: Vec<&Anchor> = anchors
            .unwrap_or_default()
            .iter()
            .filter(|anchor| self.settings.federated.contains(&anchor.instance))
            .filter(|anchor| anchor.instance != self.own.instance())
            .collect();
        let before = self.foreign.len();
        self.foreign.retain(|instance, _| wanted.iter().any(|anchor| anchor.instance == *instance));
        let mut changed = self.foreign.len() != before;
        for anchor in &wanted {
            match self.foreign.get_mut(&anchor.instance) {
                Some(followed) if followed.anchor == **anchor => {}
                Some(followed) => followed.set_anchor((*anchor).clone()),
                None => {
                    let interval = self.settings.interval;
                    let mut followed =
                        Followed::new((*anchor).clone(), Wanted::Shared, interval, self.offset);
                    changed |= followed.read_from(&self.store).unwrap_or(false);
                    self.foreign.insert(anchor.instance.clone(), followed);
                }
            }
        }
        // Before there is a configuration of our own nobody knows whom it names.
        if conf.is_some() {
            let followed = self.foreign.keys().map(String::as_str).chain([self.own.instance()]);
            if let Err(error) = self.store.keep_only(&followed.collect::<Vec<_>>()) {
                tracing::warn!(%error, "configurations that are no longer followed cannot be removed");
            }
        }
        if changed {
            self.show_again();
        }
    }

    /// A federated instance whose configuration has expired is no longer believed.
    fn leave_out_expired(&self) {
        let now = self.clock.now();
        let expiry = self.handle.last_good().and_then(|conf| conf.first_foreign_expiry());
        if expiry.is_some_and(|at| now > at) {
            self.show_again();
        }
    }

    fn show_again(&self) {
        if let Ok(conf) = self.view(None) {
            self.handle.show(conf);
        }
    }

    fn followed(&mut self, instance: &str) -> Option<&mut Followed> {
        if instance == self.own.instance() { Some(&mut self.own) } else { self.foreign.get_mut(instance) }
    }
}

/// Verifies what lies in a folder, against an anchor: signature, hashes, Expire-date.
///
/// # Errors
/// What is wrong with it.
pub fn verify_folder(anchor: &Path, directory: &Path, now: UnixTime) -> Result<VerifiedSet, ConfError> {
    let anchor = read_anchor(anchor)?;
    let found = kept::own_instance(directory)?;
    if found != anchor.instance {
        return Err(ConfError::OtherInstance { expected: anchor.instance, found });
    }
    let store = Store::open(directory)?;
    let mut followed = Followed::new(anchor, Wanted::All, Duration::from_secs(60), 0);
    followed.read_from(&store)?;
    let set = followed.set.ok_or(ConfError::Missing(found))?;
    set.directory().check_expiry(now)?;
    GlobalConf::build(set.directory().instance(), vec![set.instance_parts()], Some(now))?;
    Ok(set)
}

/// Downloads a configuration from one address and verifies it against an anchor; nothing is kept.
///
/// # Errors
/// What is wrong with it.
pub async fn verify_address(
    anchor: &Anchor,
    url: &str,
    now: UnixTime,
) -> Result<Option<VerifiedSet>, ConfError> {
    let certificates: Vec<_> = anchor.sources.iter().flat_map(|source| source.certificates.clone()).collect();
    let wanted = if url.contains("externalconf") { Wanted::Shared } else { Wanted::All };
    let subject = Subject {
        instance: &anchor.instance,
        certificates: &certificates,
        wanted,
        in_force: None,
        accept_older: false,
    };
    match fetch::fetch(&http::Client::new(), &Limits::default(), url, &subject, now).await? {
        Fetched::Set(set) => {
            GlobalConf::build(&anchor.instance, vec![set.instance_parts()], Some(now))?;
            Ok(Some(set))
        }
        Fetched::Unchanged | Fetched::NoSuchVersion => Ok(None),
    }
}

/// Reads an anchor file.
///
/// # Errors
/// [`ConfError::Io`], [`ConfError::Malformed`].
pub fn read_anchor(path: &Path) -> Result<Anchor, ConfError> {
    Anchor::read(&std::fs::read(path).map_err(|error| ConfError::io(path, &error))?)
}
