//! Which parked messages a look is to find, and which of those are to begin.

use std::collections::HashSet;

use mamey_core::message::MessageIdentity;
use mamey_core::store::ParkedMessage;

use super::gate::Entered;

/// A parked message that is due.
pub(super) struct Due {
    pub(super) message: ParkedMessage,
    /// Its attempt has begun: it may run beside others.
    pub(super) entered: Option<Entered<'static>>,
}

impl Due {
    pub(super) const fn is_to_run_alone(&self) -> bool {
        self.message.aborts > 0 && !self.message.abandoned
    }
}

/// What a look is to look for.
#[derive(Debug)]
pub(super) struct LookFor {
    /// How many messages to ask for: those that run are among them.
    pub(super) limit: u32,
    /// How many places of retries are free, and how many of new messages.
    pub(super) places: usize,
    pub(super) new: usize,
    /// The messages that run.
    pub(super) running: HashSet<MessageIdentity>,
}

/// Whether an attempt at the message begins before it is picked: not if it runs alone, or does not run.
pub(super) const fn begins_first(message: &ParkedMessage) -> bool {
    message.aborts == 0 && !message.abandoned
}

/// Whether the message had no run yet. A suspect may have had one, so that few of them run at a time.
pub(super) fn is_unrun(message: &ParkedMessage) -> bool {
    message.attempts == 0 && !message.failure.is_suspect()
}

impl LookFor {
    /// The messages whose attempts are to begin, as far as there are places for them.
    pub(super) fn to_begin(&self, due: &[ParkedMessage]) -> Vec<MessageIdentity> {
        let (mut places, mut new) = (self.places, self.new);
        let has_place = |message: &&ParkedMessage| {
            let place = match is_unrun(message) && new > 0 {
                true => &mut new,
                false => &mut places,
            };
            let free = *place > 0;
            *place = place.saturating_sub(1);
            free
        };
        let may_begin = due
            .iter()
            .filter(|message| begins_first(message) && !self.running.contains(&message.identity));
        may_begin.filter(has_place).map(|message| message.identity).collect()
    }
}
