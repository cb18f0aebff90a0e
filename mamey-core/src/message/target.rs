//! The target: whom a message is for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ContextName;

/// Whom a message is for.
///
/// Exhaustive: a transport that did not route one of them would lose messages.
///
/// ```
/// use mamey::message::{ContextName, Target};
///
/// let payments = ContextName::new("payments")?;
/// assert!(Target::Any.includes(&payments));
/// assert!(!Target::Service(ContextName::new("orders")?).includes(&payments));
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Every context that subscribes to the message.
    #[default]
    Any,
    /// One context by name; the message must route to it.
    Service(ContextName),
}

impl Target {
    /// Whether a context named `name` is meant.
    #[must_use]
    pub fn includes(&self, name: &ContextName) -> bool {
        match self {
            Self::Any => true,
            Self::Service(target) => target == name,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Service(name) => name.fmt(f),
        }
    }
}
