//! The table of one collection: its name, its columns, and the SQL that writes it.

use mamey_core::criteria::{Collection, ID_FIELD, Index, Value, ValueType, indexed_values};
use mamey_core::message::ContextName;

use crate::sql::names::FIELD_PREFIX;

/// The table of one collection, with the SQL that is written once. `Declared` has checked all names.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) collection: &'static Collection,
    /// Fields that other builds index, whose columns are filled from the document.
    pub(crate) others: Vec<&'static Index>,
    /// The quoted name.
    pub(crate) name: String,
    /// Binds: id, version, data, indexed values, other values.
    pub(crate) insert: String,
    /// Binds: version, data, indexed values, other values, id, expected version.
    pub(crate) update: String,
    /// Binds: id, expected version.
    pub(crate) delete: String,
    /// Binds: id.
    pub(crate) exists: String,
    /// Binds: id, expected version.
    pub(crate) is_at: String,
    /// Clears the unique values of a document that is about to be written. Binds: id, expected
    /// version.
    pub(crate) free_unique: Option<String>,
}

impl Table {
    pub(crate) fn new(
        context: &ContextName,
        collection: &'static Collection,
        others: Vec<&'static Index>,
    ) -> Self {
        let name = table_name(context, collection.name);
        let indexes = || collection.indexes.iter().chain(others.iter().copied());
        let columns: Vec<_> = indexes().map(|index| column(index.field)).collect();
        let listed = |prefix: &str| -> String {
            columns.iter().map(|column| format!("{prefix}{column}")).collect()
        };
        let set: String = columns.iter().map(|column| format!(", {column} = ?")).collect();
        let binds = ", ?".repeat(columns.len());
        Self {
            collection,
            insert: format!(
                "INSERT INTO {name} (id, version, data{}) VALUES (?, ?, ?{binds})",
                listed(", ")
            ),
            update: format!(
                "UPDATE {name} SET version = ?, data = ?{set} WHERE id = ? AND version = ?"
            ),
            delete: format!("DELETE FROM {name} WHERE id = ? AND version = ?"),
            exists: format!("SELECT 1 FROM {name} WHERE id = ?"),
            is_at: format!("SELECT 1 FROM {name} WHERE id = ? AND version = ?"),
            free_unique: free_unique(&name, indexes()),
            others,
            name,
        }
    }

    /// Whether any of its fields is unique.
    pub(crate) fn has_unique(&self) -> bool {
        self.free_unique.is_some()
    }

    /// What a document holds of the fields that other builds index, as far as it is of their types.
    pub(crate) fn other_values(&self, data: &[u8]) -> Vec<Value> {
        let value = |index: &&'static Index| {
            let only = Collection::new(self.collection.name, self.collection.id)
                .with_indexes(std::slice::from_ref(*index));
            let read = indexed_values(&only, data).ok().and_then(|mut values| values.pop());
            read.unwrap_or(Value::Null)
        };
        self.others.iter().map(value).collect()
    }

    pub(crate) fn create(&self) -> String {
        let id = sql_type(self.collection.id);
        let fields: String = self
            .collection
            .indexes
            .iter()
            .map(|index| format!(", {} {}", column(index.field), sql_type(index.value)))
            .collect();
        format!(
            "CREATE TABLE {} (id {id} PRIMARY KEY NOT NULL, version INTEGER NOT NULL, \
             data TEXT NOT NULL{fields}) STRICT",
            self.name
        )
    }

    pub(crate) fn add_column(&self, index: &Index) -> String {
        let (column, of) = (column(index.field), sql_type(index.value));
        format!("ALTER TABLE {} ADD COLUMN {column} {of}", self.name)
    }

    /// The index of a field that is not unique ends with the id, the last key of every order.
    pub(crate) fn create_index(&self, index: &Index) -> String {
        let (name, column) = (self.index_name(index.field), column(index.field));
        if index.unique {
            format!("CREATE UNIQUE INDEX {name} ON {} ({column})", self.name)
        } else {
            format!("CREATE INDEX {name} ON {} ({column}, id)", self.name)
        }
    }

    pub(crate) fn drop_index(&self, field: &str) -> String {
        format!("DROP INDEX IF EXISTS {}", self.index_name(field))
    }

    fn index_name(&self, field: &str) -> String {
        format!("\"{}.{}\"", self.name.trim_matches('"'), caseless(field))
    }
}

/// The quoted column of a field.
pub(crate) fn column(field: &str) -> String {
    if field == ID_FIELD {
        return ID_FIELD.to_owned();
    }
    format!("\"{FIELD_PREFIX}{}\"", caseless(field))
}

/// Stands before each capital in a name, because SQLite takes `customerId` and `customerid` for one.
/// No field's own name holds it.
const CAPITAL: char = '^';

fn caseless(field: &str) -> String {
    let marked = |letter: char| [letter.is_ascii_uppercase().then_some(CAPITAL), Some(letter)];
    field.chars().flat_map(marked).flatten().collect()
}

/// The field of a column, without its prefix.
pub(crate) fn field_of(column: &str) -> String {
    column.replace(CAPITAL, "")
}

const fn sql_type(of: ValueType) -> &'static str {
    match of {
        ValueType::Bool | ValueType::Int | ValueType::Time => "INTEGER",
        ValueType::Float => "REAL",
        ValueType::Text => "TEXT",
        ValueType::Uuid => "BLOB",
    }
}

fn table_name(context: &ContextName, collection: &str) -> String {
    format!("\"{context}.{collection}\"")
}

fn free_unique<'i>(table: &str, indexes: impl Iterator<Item = &'i Index>) -> Option<String> {
    let unique: Vec<_> = indexes
        .filter(|index| index.unique)
        .map(|index| format!("{} = NULL", column(index.field)))
        .collect();
    if unique.is_empty() {
        return None;
    }
    let set = unique.join(", ");
    Some(format!("UPDATE {table} SET {set} WHERE id = ? AND version = ?"))
}
