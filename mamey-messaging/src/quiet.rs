//! Lets a repeated report through once in a while, and counts what it held back.

use std::time::Duration;

use tokio::time::Instant;

/// How long the same report stays quiet after it was made.
const QUIET: Duration = Duration::from_secs(10);

/// Decides which of many equal reports are made.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    reported: Option<Instant>,
    held_back: u64,
}

impl Quiet {
    /// Whether to report now: then how many reports were held back before.
    pub(crate) fn report(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.reported.is_some_and(|last| now < last + QUIET) {
            self.held_back += 1;
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_report_comes_once_in_a_while_with_the_number_held_back() {
        let mut quiet = Quiet::default();
        assert_eq!(quiet.report(), Some(0));
        assert_eq!(quiet.report(), None);
        assert_eq!(quiet.report(), None);
        tokio::time::advance(QUIET).await;
        assert_eq!(quiet.report(), Some(2));
    }
}
