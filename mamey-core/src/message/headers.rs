//! Free headers, which travel beside a message's own attributes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attribute::{is_attribute, is_reserved};
use crate::{Error, Result, Retry};

/// How many free headers one message may carry.
pub const HEADERS_MAX: usize = 32;

/// The longest value of a free header, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// The longest name of a free header, in bytes; CloudEvents recommends this limit.
const HEADER_NAME_BYTES_MAX: usize = 20;

/// How many headers of a message from outside are kept; see [`Headers::dropped`].
pub const FOREIGN_HEADERS_MAX: usize = 128;

/// The longest name of a header from outside that is kept, in bytes.
pub const FOREIGN_HEADER_NAME_BYTES_MAX: usize = 128;

/// The longest value of a header from outside that is kept, in bytes: 16 KiB.
pub const FOREIGN_HEADER_VALUE_BYTES_MAX: usize = 16 * 1024;

/// How long the names and values of all headers from outside may be together, in bytes: 256 KiB.
pub const FOREIGN_HEADERS_BYTES_MAX: usize = 256 * 1024;

/// Free headers of a message, by name.
///
/// Names are 1 to 20 lowercase letters and digits, because they are sent as CloudEvents attributes.
///
/// A message from outside may have more, longer and oddly named ones: they are kept within
/// [`FOREIGN_HEADERS_MAX`], [`FOREIGN_HEADER_NAME_BYTES_MAX`], [`FOREIGN_HEADER_VALUE_BYTES_MAX`]
/// and [`FOREIGN_HEADERS_BYTES_MAX`], the rest is dropped and counted. An attribute that cannot be
/// used is kept as a header too, named `foreign…`: `foreignid` is an id that is no UUID of ours,
/// `foreigntime` a time that cannot be read.
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers {
    by_name: BTreeMap<String, String>,
    #[serde(skip)]
    dropped: u32,
}

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
        if self.by_name.len() >= HEADERS_MAX && !self.by_name.contains_key(name) {
            return Err(Error::limit_exceeded(format!(
                "header `{name}` would be one more than the {HEADERS_MAX} a message may carry; \
                 put it into the payload"
            ))
            .with_retry(Retry::Never));
        }
        self.by_name.insert(name.to_owned(), value);
        Ok(())
    }

    /// Keeps a header that came from outside; one that is over the bounds, or has the name of an
    /// attribute, is dropped and counted.
    pub(super) fn keep(&mut self, name: &str, value: String) {
        let bytes: usize = self.iter().map(|(name, value)| name.len() + value.len()).sum();
        let fits = (1..=FOREIGN_HEADER_NAME_BYTES_MAX).contains(&name.len())
            && value.len() <= FOREIGN_HEADER_VALUE_BYTES_MAX
            && bytes + name.len() + value.len() <= FOREIGN_HEADERS_BYTES_MAX
            && self.by_name.len() < FOREIGN_HEADERS_MAX;
        if !fits || is_attribute(name) || self.by_name.contains_key(name) {
            return self.count_dropped(1);
        }
        self.by_name.insert(name.to_owned(), value);
    }

    /// Drops a header that came from outside, and counts it.
    pub(super) fn drop(&mut self, name: &str) {
        if self.by_name.remove(name).is_some() {
            self.count_dropped(1);
        }
    }

    /// How many headers and attributes were dropped when the message was read, because they were
    /// over the bounds or had a form that no header has. It is neither sent on nor stored, and
    /// does not count in comparisons.
    #[must_use]
    pub const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Counts what a transport could not read as a header.
    pub const fn count_dropped(&mut self, count: u32) {
        self.dropped = self.dropped.saturating_add(count);
    }

    /// The value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// All headers, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_name.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.by_name == other.by_name
    }
}

impl Eq for Headers {}

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

    #[test]
    fn headers_from_outside_are_kept_within_their_bounds_and_the_rest_is_counted() {
        let mut headers = Headers::default();
        let (long, longest) = ("n".repeat(129), "v".repeat(FOREIGN_HEADER_VALUE_BYTES_MAX));
        for (name, value) in
            [("x_Odd-name.", "v"), ("subject", "s"), ("dataschema", ""), ("long", &longest)]
        {
            headers.keep(name, value.to_owned());
            assert_eq!(headers.get(name), Some(value));
        }
        assert_eq!(headers.dropped(), 0);
        let too_long = format!("{longest}v");
        for (name, value) in [("", "v"), ("time", "v"), (&long, "v"), ("v", &too_long)] {
            headers.keep(name, value.to_owned());
        }
        assert_eq!((headers.dropped(), headers.len()), (4, 4));
        for number in 0..20 {
            headers.keep(&format!("big{number}"), longest.clone());
        }
        assert_eq!((headers.dropped(), headers.len()), (10, 18));
        for number in 0..FOREIGN_HEADERS_MAX {
            headers.keep(&format!("n{number}"), String::new());
        }
        assert_eq!((headers.dropped(), headers.len()), (28, FOREIGN_HEADERS_MAX));
    }
}
