//! What identifies a numbered step of a schema.

use uuid::Uuid;

/// Tells two texts of a migration apart; nobody attacks it.
pub(crate) fn checksum(sql: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, sql.as_bytes()).to_string()
}
