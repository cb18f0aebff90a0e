//! Step 5: whether a call runs again after a conflict, and after which pause.

use std::time::Duration;

use mamey_core::{Backoff, Error, ErrorKind, Result, Retry};

/// The pauses from the second conflict on; the first one is followed by a run at once.
const PAUSES: Backoff =
    Backoff::new(Duration::from_millis(1), Duration::from_millis(32)).with_jitter(1.0);

/// The conflicts of one call so far.
#[derive(Default)]
pub(super) struct Conflicts {
    pub(super) count: u32,
    was_taken: bool,
}

impl Conflicts {
    /// Returns when it is time to run again.
    ///
    /// # Errors
    /// The error itself, when another run would fail in the same way.
    pub(super) async fn pause_after(&mut self, error: Error) -> Result<()> {
        if !self.may_pass(&error) {
            return Err(error);
        }
        self.count += 1;
        self.was_taken |= error.kind() == ErrorKind::AlreadyExists;
        tracing::debug!(conflicts = self.count, %error, "running again");
        // Calls that compete for one document conflict again if all of them run again at once.
        if let Some(earlier) = self.count.checked_sub(2) {
            tokio::time::sleep(PAUSES.delay(earlier, fastrand::f64())).await;
        }
        Ok(())
    }

    /// Whether another run may succeed: after another commit changed a version, or, once, took an id
    /// or a unique value between this handler's read and its commit.
    fn may_pass(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Conflict => error.retry() == Retry::Immediately,
            ErrorKind::AlreadyExists => !self.was_taken,
            _ => false,
        }
    }
}
