//! Locks a mutex that guards one step at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, even after a panic of another holder: no holder leaves a change half done, so the value
/// behind a poisoned lock is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
