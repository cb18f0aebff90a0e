//! Waits for what has to come, and fails the test when it does not.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How often is looked.
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
    assert!(timeout(patience, wait).await.is_ok(), "waited in vain: {what}");
}
