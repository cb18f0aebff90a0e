//! Rejections: the domain's own errors, which are final.

use std::error::Error as StdError;

/// A domain "no": a business rule refuses the request, and the answer is final.
///
/// A rejection carries a stable `code` for programs and a message for people. It is never retried.
/// Derive it on a `thiserror` enum; `?` then turns it into an [`Error`](crate::Error) in any handler.
///
/// ```
/// use mamey::{Rejection, Result, Retry};
///
/// #[derive(Debug, thiserror::Error, Rejection)]
/// pub enum OrderError {
///     #[error("an order needs at least one line")]
///     #[rejection(code = "orders.empty")]
///     Empty,
/// }
///
/// fn place(lines: &[String]) -> Result<()> {
///     if lines.is_empty() {
///         Err(OrderError::Empty)?;
///     }
///     Ok(())
/// }
///
/// let error = place(&[]).unwrap_err();
/// assert_eq!((error.code(), error.retry()), (Some("orders.empty"), Retry::Never));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a rejection, so `?` cannot turn it into a Mamey error",
    note = "derive `mamey::Rejection` on a domain error, or use `.map_err(mamey::Error::other)` on a technical one"
)]
pub trait Rejection: StdError + Send + Sync + 'static {
    /// The stable name of this rejection, such as `orders.empty`.
    fn code(&self) -> &'static str;
}
