//! Lanes: one sender's messages of one key, in order.

use std::fmt;

use super::key::Key;

/// One sender's messages of one key: handled one at a time, in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(Box<str>);

impl Lane {
    /// The lane of a sender and a key.
    #[must_use]
    pub fn new(sender: &str, key: &Key) -> Self {
        // The unit separator keeps `a` + `b/c` apart from `a/b` + `c`.
        Self(format!("{sender}\u{1f}{key}").into_boxed_str())
    }

    /// The lane as text, for storing.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace('\u{1f}', "/"))
    }
}
