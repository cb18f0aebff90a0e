//! Writes the functions that commit for a context's collections, so that their plans are kept.

use std::sync::Arc;

use mamey_core::criteria::Index;
use uuid::Uuid;

use crate::postgres::connection::session::IS_MARKED;
use crate::postgres::schema::functions::Functions;
use crate::postgres::schema::names::{column, sql_type};
use crate::postgres::schema::statement::in_schema;
use crate::postgres::schema::table::Table;
use crate::postgres::schema::tables::Tables;

const BATCH: &str = include_str!("functions/batch.sql");
const BATCH_LOCK: &str = include_str!("functions/batch_lock.sql");
const BATCH_STEP: &str = include_str!("functions/batch_step.sql");
const LONE: &str = include_str!("functions/lone.sql");
const LONE_STEP: &str = include_str!("functions/lone_step.sql");

const CALL_BATCH: &str = "SELECT mamey.{name}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
    $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30)";

const CALL_LONE: &str = "SELECT mamey.{name}_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, \
    $12, $13, $14, $15, $16, $17, $18)";

/// The statements that call the functions.
pub(crate) struct Calls {
    /// For many units in a call.
    pub(crate) batch: Arc<str>,
    /// For one unit of the usual shape.
    pub(crate) lone: Arc<str>,
}

impl Calls {
    /// The same calls inside of the transaction that a handler works in: they return nothing once that has
    /// ended.
    pub(crate) fn inside_marked(&self) -> Self {
        let inside = |sql: &Arc<str>| format!("{sql} WHERE {IS_MARKED}").into();
        Self { batch: inside(&self.batch), lone: inside(&self.lone) }
    }
}

/// The functions for a context's tables, and the statements that call them.
pub(crate) fn of(tables: &Tables) -> (Functions, Calls) {
    let blocks = |template: &'static str| -> String {
        let block = |(number, table)| fill(template, number, table);
        tables.all.iter().enumerate().map(block).collect()
    };
    let batch = BATCH.replace("{locks}\n", &blocks(BATCH_LOCK));
    let batch = batch.replace("{steps}\n", &blocks(BATCH_STEP));
    let lone = LONE.replace("{steps}\n", &blocks(LONE_STEP));
    // Builds with other collections, or another text, have functions of another name.
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{batch}{lone}").as_bytes());
    let name = format!("_commit_{}", digest.simple());
    let named = |sql: &str| in_schema(&tables.schema, &sql.replace("{name}", &name));
    let create = [named(&batch), named(&lone.replace("{name}", "{name}_one"))];
    let calls = Calls { batch: named(CALL_BATCH).into(), lone: named(CALL_LONE).into() };
    (Functions { name, create }, calls)
}

/// The part of a function that concerns one table. All names in it were checked by `Declared`.
fn fill(template: &str, number: usize, table: &Table) -> String {
    let indexes = table.collection.indexes;
    let value = |at: usize, index: &Index| format!("(indexed->>{at})::{}", sql_type(index.value));
    let each = |part: &dyn Fn(usize, &Index) -> String| -> String {
        indexes.iter().enumerate().map(|(at, index)| part(at, index)).collect()
    };
    let give_up =
        |index: &&Index| index.unique.then(|| format!(", {} = NULL", column(index.field)));
    template
        .replace("{number}", &number.to_string())
        .replace("{table}", &table.name)
        .replace("{id}", sql_type(table.collection.id))
        .replace("{layout}", &table.layout.to_string())
        .replace("{columns}", &each(&|_, index| format!(", {}", column(index.field))))
        .replace("{values}", &each(&|at, index| format!(", {}", value(at, index))))
        .replace(
            "{set}",
            &each(&|at, index| format!(", {} = {}", column(index.field), value(at, index))),
        )
        .replace(
            "{give_up}",
            &indexes.iter().filter_map(|index| give_up(&index)).collect::<String>(),
        )
}
