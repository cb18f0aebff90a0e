//! Which of the derives of messages is expanded.

/// Which of the four derives is expanded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Query,
    Event,
    Message,
}

impl Kind {
    /// The name of the derive's attribute.
    pub(crate) const fn attribute(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Event => "event",
            Self::Message => "message",
        }
    }

    /// The kind in a sentence.
    pub(super) const fn with_article(self) -> &'static str {
        match self {
            Self::Command => "a command",
            Self::Query => "a query",
            Self::Event => "an event",
            Self::Message => "a message",
        }
    }
}
