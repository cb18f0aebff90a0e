//! Waits for a condition, and fails the test when it does not come true.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until something holds.
///
/// # Panics
///
/// When it does not for as long as `patience` says.
pub async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(PAUSE).await;
        }
    };
    assert!(timeout(patience, wait).await.is_ok(), "it did not happen in time: {what}");
}
