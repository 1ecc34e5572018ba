//! Who does the work of a log in files: two threads, or whoever polls a future.
//!
//! Not here: the work (`writer`, `index`).

use std::{
    future::poll_fn,
    sync::{Arc, mpsc::Receiver},
    task::Poll,
    thread::JoinHandle,
};

use tokio::sync::mpsc;

use super::{
    error::LogError,
    index::{Index, Told},
    rest::PassedOver,
    writer::{Entry, Writer},
};

/// Who writes a log in files, and who indexes it.
pub(super) struct Hands {
    pub(super) writer: Writer,
    pub(super) waiting: mpsc::Receiver<Entry>,
    pub(super) index: Arc<Index>,
    pub(super) to_index: Receiver<Told>,
    pub(super) passed_over: Option<PassedOver>,
}

impl Hands {
    /// Each on a thread of its own.
    pub(super) fn on_threads(self) -> Result<Vec<JoinHandle<()>>, LogError> {
        let Self { writer, waiting, index, to_index, passed_over } = self;
        if let Some(passed_over) = passed_over {
            // A log that is closed right after its start does not wait for it, and its index can be opened again at once.
            let (state, index) = (Arc::clone(&writer.state), Arc::downgrade(&index));
            drop(spawn("log-start", move || passed_over.read(&state, &index))?);
        }
        Ok(vec![
            spawn("log-writer", move || writer.run(waiting))?,
            spawn("log-index", move || index.run(&to_index))?,
        ])
    }

    /// One after the other, wherever this is polled.
    pub(super) async fn driven(self) {
        let Self { mut writer, mut waiting, index, to_index, .. } = self;
        while let Some(first) = waiting.recv().await {
            let busy = writer.begin(first, &mut waiting);
            let mut caught_up = catch_up(&index, &to_index);
            if busy {
                others_first().await;
            }
            writer.end(&mut waiting);
            caught_up = caught_up.and_then(|()| catch_up(&index, &to_index));
            if let Err(error) = caught_up {
                tracing::error!(%error, "the message log cannot be searched");
                return;
            }
        }
    }
}

/// Tells the index what it has not been told: whoever reads next finds it caught up.
fn catch_up(index: &Index, told: &Receiver<Told>) -> Result<(), LogError> {
    told.try_iter().try_for_each(|told| index.take(told))
}

/// Lets others run.
async fn others_first() {
    let mut waited = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Begins a thread of a log.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LogError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|e| LogError::io("a thread of the log cannot be started", &e))
}
