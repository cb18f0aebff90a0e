//! What waits in partitions, and who still receives from them.

/// What waits with a durable transport in the partitions of one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Messages; without those that subscribers have and did not settle. A server that is changing its
    /// leader may tell of none: a zero is certain for the partitions that are attended.
    pub messages: u64,
    /// How many of the partitions have a subscriber, of any process. One that is frozen counts until the
    /// transport gives it up: until then it may have messages that it did not settle.
    pub attended: u64,
}

impl Waiting {
    /// So many messages, and so many partitions with a subscriber.
    #[must_use]
    pub const fn new(messages: u64, attended: u64) -> Self {
        Self { messages, attended }
    }

    /// Whether nothing waits and nobody has anything.
    #[must_use]
    pub const fn is_over(self) -> bool {
        self.messages == 0 && self.attended == 0
    }
}
