//! Tells each open of a context that its outbox may have changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

/// Who waits for new outbox records of a context: each open of it.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<Vec<Weak<Notify>>>);

impl Listeners {
    pub(crate) fn add(&self, listener: &Arc<Notify>) {
        let mut listeners = lock(&self.0);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }

    pub(crate) fn notify(&self) {
        for listener in lock(&self.0).iter().filter_map(Weak::upgrade) {
            listener.notify_one();
        }
    }
}

/// For locks that guard no more than one step, so that a poisoned one is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
