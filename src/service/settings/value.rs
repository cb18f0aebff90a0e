//! Reads the value of a variable, or refuses it by the variable's name.

use std::ops::RangeInclusive;
use std::time::Duration;

use mamey_core::{Error, Result, redact_url};

pub(super) fn non_empty(name: &str, value: &str) -> Result<String> {
    if value.is_empty() {
        return Err(Error::misconfigured(format!("{name} is empty; unset it to use the default")));
    }
    Ok(value.to_owned())
}

pub(super) fn millis(name: &str, value: &str, range: RangeInclusive<u64>) -> Result<Duration> {
    number(name, value, range).map(Duration::from_millis)
}

pub(super) fn number(name: &str, value: &str, range: RangeInclusive<u64>) -> Result<u64> {
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        // Variables get mixed up: the value may be a URL with a password.
        let value = redact_url(value);
        Error::misconfigured(format!(
            "{name} is `{value}`; it must be a whole number from {least} to {most}"
        ))
    })
}
