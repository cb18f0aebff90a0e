//! Names of contexts and messages, checked once so that every backend accepts them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The longest context name, in bytes: it becomes a schema name and part of a queue's.
const CONTEXT_NAME_BYTES_MAX: usize = 48;

/// The longest message name, in bytes.
const MESSAGE_NAME_BYTES_MAX: usize = 120;

/// The name of a bounded context: lowercase letters, digits and dashes, starting with a letter.
///
/// ```
/// use mamey::message::ContextName;
///
/// assert_eq!(ContextName::new("orders")?.as_str(), "orders");
/// assert!(ContextName::new("Orders").is_err());
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextName(Arc<str>);

impl ContextName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// `Invalid` when the name does not have this form.
    pub fn new(name: &str) -> Result<Self> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = name.len() <= CONTEXT_NAME_BYTES_MAX
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(letters);
        if fits {
            return Ok(Self(name.into()));
        }
        Err(Error::invalid(format!(
            "`{name}` cannot name a context: use lowercase letters, digits and dashes, \
             starting with a letter, at most {CONTEXT_NAME_BYTES_MAX} bytes"
        )))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text, to put on messages without copying.
    #[must_use]
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContextName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(&name)
    }
}

impl From<ContextName> for String {
    fn from(name: ContextName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// Checks a message name: words of lowercase letters, digits and dashes, joined by dots.
///
/// # Errors
/// `Invalid` when the name does not have this form.
pub fn validate_message_name(name: &str) -> Result<()> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let word = |word: &str| !word.is_empty() && word.bytes().all(letters);
    if name.len() <= MESSAGE_NAME_BYTES_MAX && name.split('.').all(word) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{name}` cannot name a message: use words of lowercase letters, digits and dashes \
         joined by dots, such as `orders.order-placed`, at most {MESSAGE_NAME_BYTES_MAX} bytes"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_names_that_some_backend_would_refuse_are_refused() {
        for bad in ["", "Orders", "1orders", "or ders", "orders.eu", "ordérs", &"x".repeat(49)] {
            assert!(ContextName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(ContextName::new("orders-eu2").unwrap().as_str(), "orders-eu2");
    }

    #[test]
    fn message_names_are_dotted_words() {
        for bad in ["", ".", "orders.", "Orders.Placed", "orders placed", "a..b"] {
            assert!(validate_message_name(bad).is_err(), "{bad}");
        }
        assert!(validate_message_name("orders.order-placed").is_ok());
    }
}
