//! Wakes each open of a context when its outbox may have changed.

#[cfg(feature = "postgres")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::lock::lock;

/// Who waits for new outbox records of a context: each open of it in this process, and, where
/// there are other instances, the task that informs them.
#[derive(Default)]
pub(crate) struct Listeners {
    opens: Mutex<Vec<Weak<Notify>>>,
    #[cfg(feature = "postgres")]
    remote: Option<Remote>,
}

/// A change that other instances do not know yet. It is kept until it is taken, so any number of
/// commits in a row are one change.
#[cfg(feature = "postgres")]
struct Remote {
    changed: AtomicBool,
    notifier: Arc<Notify>,
}

impl Listeners {
    /// Listeners that other instances have too: `notifier` is notified when there is a change to
    /// take.
    #[cfg(feature = "postgres")]
    pub(crate) fn with_remote(notifier: Arc<Notify>) -> Self {
        let remote = Remote { changed: AtomicBool::new(false), notifier };
        Self { opens: Mutex::default(), remote: Some(remote) }
    }

    /// Adds an open of the context; it is removed once it is dropped.
    pub(crate) fn add(&self, listener: &Arc<Notify>) {
        let mut listeners = lock(&self.opens);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }

    /// After a commit of this instance.
    pub(crate) fn notify(&self) {
        self.wake();
        #[cfg(feature = "postgres")]
        if let Some(remote) = &self.remote
            && !remote.changed.swap(true, Ordering::AcqRel)
        {
            remote.notifier.notify_one();
        }
    }

    /// After a commit of another instance, which has informed the others itself.
    pub(crate) fn wake(&self) {
        for listener in lock(&self.opens).iter().filter_map(Weak::upgrade) {
            listener.notify_one();
        }
    }

    /// Whether there is a change that the caller now tells other instances.
    #[cfg(feature = "postgres")]
    pub(crate) fn take_change(&self) -> bool {
        let take = |remote: &Remote| remote.changed.swap(false, Ordering::AcqRel);
        self.remote.as_ref().is_some_and(take)
    }
}
