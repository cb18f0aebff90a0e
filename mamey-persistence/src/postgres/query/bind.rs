//! Turns numbers and rows into what statements bind.

use mamey_core::message::Partition;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

/// A statement on its way to its arguments.
pub(crate) type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// One column of some rows, bound as an array.
pub(crate) fn column<R, C>(rows: &[R], of: impl Fn(&R) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

/// A slot as its column holds it. There are 64.
pub(crate) fn slot(slot: u16) -> i16 {
    i16::try_from(slot).unwrap_or(i16::MAX)
}

/// The slots of some partitions.
pub(crate) fn slots(partitions: impl Iterator<Item = Partition>) -> Vec<i16> {
    partitions.flat_map(Partition::slots).map(slot).collect()
}
