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

/// What a look is to look for.
#[derive(Debug)]
pub(super) struct LookFor {
    /// How many messages to ask for: those that run are among them.
    pub(super) limit: u32,
    /// How many attempts may begin.
    pub(super) room: usize,
    /// The messages that run.
    pub(super) running: HashSet<MessageIdentity>,
}

impl LookFor {
    /// The messages whose attempts are to begin, and those that are to run alone later, or not to run.
    pub(super) fn choose(
        &self,
        mut due: Vec<ParkedMessage>,
    ) -> (Vec<ParkedMessage>, Vec<ParkedMessage>) {
        due.retain(|message| !self.running.contains(&message.identity));
        let (mut to_begin, others): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|message| message.aborts == 0 && !message.abandoned);
        to_begin.truncate(self.room);
        (to_begin, others)
    }
}
