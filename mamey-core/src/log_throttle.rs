//! Decides which of many equal log lines are written, so that an outage does not flood the log.

use std::time::{Duration, Instant};

/// How long equal lines are suppressed after one was written, unless configured otherwise.
pub const LOG_THROTTLE_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);

/// Lets the first of many equal log lines through, then one for each interval, and counts the rest.
///
/// It knows neither a logger nor a clock: the caller says what time it is and writes the line.
///
/// ```
/// use std::time::{Duration, Instant};
/// use mamey_core::LogThrottle;
///
/// let mut throttle = LogThrottle::new(Duration::from_secs(10));
/// let start = Instant::now();
/// assert_eq!(throttle.admit(start), Some(0));
/// assert_eq!(throttle.admit(start + Duration::from_secs(1)), None);
/// assert_eq!(throttle.admit(start + Duration::from_secs(11)), Some(1));
/// ```
#[derive(Clone, Debug)]
pub struct LogThrottle {
    interval: Duration,
    written: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// A throttle that lets one line through for each `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, written: None, suppressed: 0 }
    }

    /// Whether to write the line at `now`: then how many were suppressed since the last one.
    #[must_use = "`None` means that the line must not be written"]
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        let recent = |last| now.saturating_duration_since(last) < self.interval;
        if self.written.is_some_and(recent) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.written = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl Default for LogThrottle {
    /// One line for each [`LOG_THROTTLE_INTERVAL_DEFAULT`].
    fn default() -> Self {
        Self::new(LOG_THROTTLE_INTERVAL_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_for_each_interval_with_the_number_suppressed() {
        let (mut throttle, start) = (LogThrottle::default(), Instant::now());
        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.admit(start), None);
        let almost = LOG_THROTTLE_INTERVAL_DEFAULT - Duration::from_nanos(1);
        assert_eq!(throttle.admit(start + almost), None);
        assert_eq!(throttle.admit(start + LOG_THROTTLE_INTERVAL_DEFAULT), Some(2));
        assert_eq!(throttle.admit(start), None, "an earlier time is not a new interval");
    }
}
