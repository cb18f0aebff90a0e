//! Results, and the method that says what was being done when one failed.

use std::borrow::Cow;

use super::failure::Error;

/// The result of everything that can fail in Mamey.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds what was being done to a failing [`Result`].
///
/// ```
/// use mamey::{Error, Result, ResultExt};
///
/// let failed: Result<()> = Err(Error::not_found("there is no orders/7"));
/// let error = failed.with_context(|| "placing an order").unwrap_err();
/// assert_eq!(error.to_string(), "placing an order: there is no orders/7");
/// ```
pub trait ResultExt<T> {
    /// Says what was being done, evaluated only on failure.
    ///
    /// # Errors
    /// The same error, with what was being done added.
    fn with_context<C: Into<Cow<'static, str>>>(self, doing: impl FnOnce() -> C) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn with_context<C: Into<Cow<'static, str>>>(self, doing: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|error| error.with_context(doing()))
    }
}
