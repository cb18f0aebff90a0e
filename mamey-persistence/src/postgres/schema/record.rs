//! The statements that record what a build declares: collections, sets of fields, and indexes.

use mamey_core::criteria::Index;

use super::names::column_name;
use super::state::IndexState;
use super::table::Table;
use crate::common::fields::type_name;

/// Records a collection.
pub(crate) fn collection(table: &Table) -> String {
    let (schema, name) = (&table.schema, table.collection.name);
    let of = type_name(table.collection.id);
    format!("INSERT INTO {schema}._collections (name, id_type) VALUES ('{name}', '{of}')")
}

/// Records the set of indexed fields of this build, as the declaration of this number.
pub(crate) fn declaration(table: &Table, number: i64) -> String {
    let fields: Vec<_> =
        table.collection.indexes.iter().map(|index| format!("\"{}\"", index.field)).collect();
    format!(
        "INSERT INTO {}._declarations (collection, layout, fields, number) \
         VALUES ('{}', {}, '{{{}}}', {number})",
        table.schema,
        table.collection.name,
        table.layout,
        fields.join(",")
    )
}

/// Records an index, as the declaration of this number has it.
pub(crate) fn index(table: &Table, index: &Index, state: IndexState, number: i64) -> String {
    let (schema, name, field) = (&table.schema, table.collection.name, index.field);
    format!(
        "INSERT INTO {schema}._indexes \
         (collection, field, type, is_unique, state, column_name, declared_by) \
         VALUES ('{name}', '{field}', '{}', {}, '{}', '{}', {number})",
        type_name(index.value),
        index.unique,
        state.as_str(),
        column_name(field)
    )
}

/// Changes the record of a field's index; `set` is the list of assignments.
pub(crate) fn change_index(table: &Table, field: &str, set: &str) -> String {
    let (schema, name) = (&table.schema, table.collection.name);
    format!("UPDATE {schema}._indexes SET {set} WHERE collection = '{name}' AND field = '{field}'")
}
