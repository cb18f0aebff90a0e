//! The names under which SQL stores keep indexed fields.

/// The prefix of the column of an indexed field, so that it is never the name of another column.
pub(crate) const FIELD_PREFIX: &str = "f_";
