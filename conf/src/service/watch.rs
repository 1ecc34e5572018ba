//! Tells that a file has changed, as soon as it has.
//!
//! Folders are watched, not files: editors and git put a new file in the place of the old one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// A change is told after nothing has moved for this long: a checkout changes several files.
const QUIET: Duration = Duration::from_millis(50);
/// But no later than this: a log in the same folder never rests.
const LATEST: Duration = Duration::from_secs(1);

/// Watches the folders of the files that were read last.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    changes: mpsc::Receiver<()>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    pub(crate) fn new() -> Result<Self, notify::Error> {
        let (sender, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
            if event.map_or(true, |event| !event.kind.is_access()) {
                // A full channel already says that something has changed.
                let _ = sender.try_send(());
            }
        })?;
        Ok(Self { watcher, changes, folders: BTreeSet::new() })
    }

    /// Watches the folders of these files, and no longer those of other files; true if one of them is new: what is in it
    /// may have changed before it was watched.
    pub(crate) fn follow(&mut self, files: &[PathBuf]) -> bool {
        let folders: BTreeSet<PathBuf> =
            files.iter().filter_map(|f| f.parent()).map(Path::to_owned).collect();
        for gone in self.folders.difference(&folders) {
            let _ = self.watcher.unwatch(gone);
        }
        let new: Vec<&PathBuf> = folders.difference(&self.folders).collect();
        for new in &new {
            if let Err(error) = self.watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %new.display(), %error, "cannot watch for changes");
            }
        }
        let any_new = !new.is_empty();
        self.folders = folders;
        any_new
    }

    /// Completes when something in the folders has changed and it is quiet again.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // Without a watcher nothing ever changes; the regular publishing goes on.
            std::future::pending::<()>().await;
        }
        let quiet = async { while tokio::time::timeout(QUIET, self.changes.recv()).await.is_ok() {} };
        let _ = tokio::time::timeout(LATEST, quiet).await;
    }
}
