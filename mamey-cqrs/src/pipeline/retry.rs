//! Step 5: whether a call runs again after a conflict, and after which pause.

use std::time::Duration;

use mamey_core::{Backoff, Error, ErrorKind, Result, Retry};

/// The pauses from the second conflict on; the first one is followed by a run at once.
const PAUSES: Backoff =
    Backoff::new(Duration::from_millis(1), Duration::from_millis(32)).with_jitter(1.0);

/// The conflicts of one call so far.
#[derive(Default)]
pub(super) struct Conflicts {
    pub(super) met: u32,
    met_taken: bool,
}

impl Conflicts {
    /// Returns when it is time to run again.
    ///
    /// # Errors
    /// The error itself, when another run could only meet it again.
    pub(super) async fn pause_after(&mut self, error: Error) -> Result<()> {
        if !self.may_pass(&error) {
            return Err(error);
        }
        self.met += 1;
        self.met_taken |= error.kind() == ErrorKind::AlreadyExists;
        tracing::debug!(conflicts = self.met, %error, "running again");
        // Rivals for one document that all run again at once would only meet again.
        if let Some(earlier) = self.met.checked_sub(2) {
            tokio::time::sleep(PAUSES.delay(earlier, fastrand::f64())).await;
        }
        Ok(())
    }

    /// Whether another run may see what this one could not: a version that moved, or, once, an id
    /// or a unique value that a rival took between this handler's look and its commit.
    fn may_pass(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Conflict => error.retry() == Retry::Immediately,
            ErrorKind::AlreadyExists => !self.met_taken,
            _ => false,
        }
    }
}
