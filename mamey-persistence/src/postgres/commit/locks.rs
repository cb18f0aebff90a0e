//! The numbers of the advisory locks, and the order in which all calls take them.
//!
//! The order of all locks of a call stands in `functions/batch.sql`.

use uuid::Uuid;

/// The number of the lock of a lane.
pub(crate) fn lane_lock(schema: &str, lane: &str) -> i64 {
    advisory_lock("lane", schema, lane)
}

/// The number of the lock of a key.
pub(crate) fn key_lock(schema: &str, key: &str) -> i64 {
    advisory_lock("key", schema, key)
}

/// Each lock once, in the order in which all calls take them.
pub(crate) fn in_order(locks: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut locks: Vec<_> = locks.collect();
    locks.sort_unstable();
    locks.dedup();
    locks
}

/// All builds must use the same numbers. The schema keeps the locks of contexts apart.
fn advisory_lock(kind: &str, schema: &str, name: &str) -> i64 {
    let named = format!("mamey {kind} {schema} {name}");
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, named.as_bytes());
    digest.as_u64_pair().0.cast_signed()
}
