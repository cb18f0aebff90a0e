//! Errors whose wording all SQL stores share.

use std::fmt::Display;

use mamey_core::Error;
use mamey_core::criteria::Value;

/// The error for a document that is not JSON.
pub(crate) fn not_json(collection: &str, id: &Value, cause: impl Display) -> Error {
    Error::invalid(format!("{collection}/{id} is not JSON: {cause}"))
}
