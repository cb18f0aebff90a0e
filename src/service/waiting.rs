//! Waits at the start for servers that do not answer yet.

use std::time::Duration;

use mamey_core::{Backoff, ErrorKind, Result};
use tokio::time::{Instant, sleep};

/// The pauses between tries.
const PAUSES: Backoff =
    Backoff::new(Duration::from_millis(250), Duration::from_secs(5)).with_jitter(0.0);

/// How long the start may wait for all servers together.
pub(super) struct Wait {
    until: Instant,
}

impl Wait {
    pub(super) fn begin(limit: Duration) -> Self {
        Self { until: Instant::now() + limit }
    }

    /// Tries again while a server cannot be reached and the time is not over, with a line in the
    /// log for each failure.
    ///
    /// # Errors
    /// The last failure; at once any that waiting does not change.
    pub(super) async fn for_server<T, F>(
        &self,
        what: &str,
        mut connect: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut tries = 0;
        loop {
            let error = match connect().await {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() || error.kind() != ErrorKind::Unavailable {
                return Err(error);
            }
            tracing::warn!(%error, left_ms = left.as_millis(), "{what} does not answer yet");
            sleep(PAUSES.delay(tries, 0.0).min(left)).await;
            tries = tries.saturating_add(1);
        }
    }
}
