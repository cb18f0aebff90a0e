//! Says which messages are given up before they were published.

use std::collections::HashMap;

use mamey_core::LogThrottle;
use mamey_core::message::{ContextName, Metadata};
use mamey_core::store::{FailedRecord, RecordId, UndeliveredReason};
use tokio::time::Instant;

/// How many names of messages have lines of their own; the others share theirs.
const NAMES_MAX: usize = 256;

/// Writes at most one line in an interval for each name of a message.
#[derive(Debug, Default)]
pub(super) struct GivenUpLog {
    names: HashMap<String, LogThrottle>,
    others: LogThrottle,
}

impl GivenUpLog {
    /// A message is given up; `metadata` is what is known of it.
    pub(super) fn report(
        &mut self,
        context: Option<&ContextName>,
        metadata: Option<&Metadata>,
        failed: &FailedRecord,
        reason: UndeliveredReason,
    ) {
        let name = metadata.map_or("", |metadata| &*metadata.name);
        let Some(suppressed) = self.throttle(name).admit(Instant::now().into_std()) else {
            return;
        };
        let RecordId { sequence, message, .. } = failed.id;
        let (reason, attempts) = (reason.as_str(), failed.attempts);
        tracing::warn!(
            context = context.map(ContextName::as_str),
            message = name, id = %message, sequence, reason, attempts, suppressed,
            failure = failed.failure.message,
            "a message is given up before it was published, and its key goes on without it; it is among \
             the undelivered messages of its context, to be replayed or discarded"
        );
    }

    fn throttle(&mut self, name: &str) -> &mut LogThrottle {
        if !self.names.contains_key(name) {
            if self.names.len() >= NAMES_MAX {
                return &mut self.others;
            }
            self.names.insert(name.to_owned(), LogThrottle::default());
        }
        self.names.get_mut(name).unwrap_or(&mut self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_lines_of_its_own_up_to_a_bound() {
        let (mut log, now) = (GivenUpLog::default(), std::time::Instant::now());
        for number in 0..NAMES_MAX {
            let name = format!("orders.{number}");
            assert_eq!(log.throttle(&name).admit(now), Some(0), "{name}");
            assert_eq!(log.throttle(&name).admit(now), None, "{name}");
        }
        assert_eq!(log.throttle("orders.more").admit(now), Some(0));
        assert_eq!(log.throttle("orders.still-more").admit(now), None, "they share one");
        assert_eq!(log.names.len(), NAMES_MAX);
    }
}
