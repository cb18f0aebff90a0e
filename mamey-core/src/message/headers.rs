//! Free headers, which travel beside a message's own attributes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attribute::is_reserved;
use crate::{Error, Result, Retry};

/// How many free headers one message may carry.
pub const HEADERS_MAX: usize = 32;

/// The longest value of a free header, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// The longest name of a free header, in bytes; CloudEvents recommends this limit.
const HEADER_NAME_BYTES_MAX: usize = 20;

/// Free headers of a message, by name.
///
/// Names are 1 to 20 lowercase letters and digits, because they are sent as CloudEvents attributes.
///
/// ```
/// use mamey::message::Headers;
///
/// let mut headers = Headers::default();
/// headers.insert("region", "eu")?;
/// assert_eq!(headers.get("region"), Some("eu"));
/// assert!(headers.insert("source", "me").is_err(), "the name of an attribute is reserved");
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// Sets a header, replacing one of the same name.
    ///
    /// # Errors
    /// `Invalid` for a name that cannot be sent or is reserved, `LimitExceeded` for more than
    /// [`HEADERS_MAX`] headers or a value longer than [`HEADER_VALUE_BYTES_MAX`].
    pub fn insert(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        let value = value.into();
        validate_header_name(name)?;
        if value.len() > HEADER_VALUE_BYTES_MAX {
            return Err(Error::limit_exceeded(format!(
                "header `{name}` has {} bytes, the limit is {HEADER_VALUE_BYTES_MAX}; \
                 put it into the payload",
                value.len()
            ))
            .with_retry(Retry::Never));
        }
        if self.0.len() >= HEADERS_MAX && !self.0.contains_key(name) {
            return Err(Error::limit_exceeded(format!(
                "header `{name}` would be one more than the {HEADERS_MAX} a message may carry; \
                 put it into the payload"
            ))
            .with_retry(Retry::Never));
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// The value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All headers, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn validate_header_name(name: &str) -> Result<()> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (1..=HEADER_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(letters);
    if !fits {
        return Err(Error::invalid(format!(
            "`{name}` cannot name a header: use 1 to {HEADER_NAME_BYTES_MAX} lowercase letters and digits"
        )));
    }
    if is_reserved(name) {
        return Err(Error::invalid(format!(
            "header `{name}` is reserved for the envelope itself: use another name"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_cannot_be_sent_are_refused_by_name() {
        let mut headers = Headers::default();
        for bad in ["", "Region", "x-region", "region_", "id", "traceparent", &"x".repeat(21)] {
            assert!(headers.insert(bad, "v").is_err(), "{bad}");
        }
        assert!(headers.insert("region", "x".repeat(HEADER_VALUE_BYTES_MAX + 1)).is_err());
        for n in 0..HEADERS_MAX {
            headers.insert(&format!("h{n}"), "v").unwrap();
        }
        assert!(headers.insert("onemore", "v").is_err());
        assert!(headers.insert("h0", "again").is_ok());
    }
}
