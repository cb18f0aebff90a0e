//! Tells each open of a context that its outbox may have changed.

#[cfg(feature = "postgres")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

/// Who waits for new outbox records of a context: each open of it here, and, where there are other
/// instances, who tells them.
#[derive(Default)]
pub(crate) struct Listeners {
    opens: Mutex<Vec<Weak<Notify>>>,
    #[cfg(feature = "postgres")]
    abroad: Option<Abroad>,
}

/// News for other instances. It is kept until somebody takes it, so any number of commits in a row
/// are one piece of news.
#[cfg(feature = "postgres")]
struct Abroad {
    has_news: AtomicBool,
    bell: Arc<Notify>,
}

impl Listeners {
    /// Listeners whose news goes abroad too: the bell rings, and who hears it takes the news.
    #[cfg(feature = "postgres")]
    pub(crate) fn with_bell(bell: Arc<Notify>) -> Self {
        let abroad = Abroad { has_news: AtomicBool::new(false), bell };
        Self { opens: Mutex::default(), abroad: Some(abroad) }
    }

    pub(crate) fn add(&self, listener: &Arc<Notify>) {
        let mut listeners = lock(&self.opens);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }

    /// After a commit of this instance.
    pub(crate) fn notify(&self) {
        self.wake();
        #[cfg(feature = "postgres")]
        if let Some(abroad) = &self.abroad
            && !abroad.has_news.swap(true, Ordering::AcqRel)
        {
            abroad.bell.notify_one();
        }
    }

    /// After news from another instance, which goes no further.
    pub(crate) fn wake(&self) {
        for listener in lock(&self.opens).iter().filter_map(Weak::upgrade) {
            listener.notify_one();
        }
    }

    /// Whether there is news for other instances, which the caller now tells them.
    #[cfg(feature = "postgres")]
    pub(crate) fn take_news(&self) -> bool {
        let take = |abroad: &Abroad| abroad.has_news.swap(false, Ordering::AcqRel);
        self.abroad.as_ref().is_some_and(take)
    }
}

/// For locks that guard no more than one step, so that a poisoned one is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
