//! Identifies the text of a migration.

use uuid::Uuid;

/// Distinguishes two texts of a migration. It need not resist an attack.
pub(crate) fn checksum(sql: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, sql.as_bytes()).to_string()
}
