//! The table of one collection: its name, its columns and its indexes.

use mamey_core::criteria::{ID_FIELD, ValueType};
use mamey_core::domain::{Collection, Index};
use uuid::Uuid;

/// The longest name of PostgreSQL, in bytes; it cuts a longer one without a word.
const NAME_BYTES_MAX: usize = 63;

/// The table of one collection. All names in it were checked by `Declared`.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) collection: &'static Collection,
    /// The quoted name, with its schema.
    pub(super) name: String,
    /// The quoted schema.
    schema: String,
}

impl Table {
    pub(super) fn new(schema: &str, collection: &'static Collection) -> Self {
        let name = format!("{schema}.\"{}\"", collection.name);
        Self { collection, schema: schema.to_owned(), name }
    }

    /// Whether any of its fields is unique.
    pub(super) fn has_unique(&self) -> bool {
        self.collection.indexes.iter().any(|index| index.unique)
    }

    pub(super) fn create(&self) -> String {
        let (name, id) = (&self.name, column_type(self.collection.id));
        let fields: String = self
            .collection
            .indexes
            .iter()
            .map(|index| format!(", {} {}", column(index.field), column_type(index.value)))
            .collect();
        let key = object_name(self.collection.name, ID_FIELD);
        format!(
            "CREATE TABLE {name} (id {id} CONSTRAINT \"{key}\" PRIMARY KEY, \
             version bigint NOT NULL, data jsonb NOT NULL{fields})"
        )
    }

    pub(super) fn add_column(&self, index: &Index) -> String {
        let (column, of) = (column(index.field), column_type(index.value));
        format!("ALTER TABLE {} ADD COLUMN {column} {of}", self.name)
    }

    /// The id stands behind a field that is not unique, because it is the last key of every order;
    /// not a text, because two long ones are more than an index holds.
    pub(super) fn create_index(&self, index: &Index) -> String {
        let (name, column) = (object_name(self.collection.name, index.field), column(index.field));
        let table = &self.name;
        if index.unique {
            format!("CREATE UNIQUE INDEX \"{name}\" ON {table} ({column})")
        } else if self.collection.id == ValueType::Text {
            format!("CREATE INDEX \"{name}\" ON {table} ({column} NULLS FIRST)")
        } else {
            format!("CREATE INDEX \"{name}\" ON {table} ({column} NULLS FIRST, id)")
        }
    }

    pub(super) fn drop_index(&self, field: &str) -> String {
        let name = object_name(self.collection.name, field);
        format!("DROP INDEX IF EXISTS {}.\"{name}\"", self.schema)
    }

    /// The field whose unique index has this name.
    pub(super) fn field_of_index(&self, name: &str) -> Option<&'static str> {
        let of_name = |index: &&Index| object_name(self.collection.name, index.field) == name;
        self.collection.indexes.iter().find(of_name).map(|index| index.field)
    }
}

/// The quoted column of a field: with a prefix, so that it clashes with no column of ours, and
/// where that is too long, by a digest.
pub(super) fn column(field: &str) -> String {
    if field == ID_FIELD {
        return ID_FIELD.to_owned();
    }
    if field.len() + 2 > NAME_BYTES_MAX {
        return format!("\"h_{}\"", digest(field));
    }
    format!("\"f_{field}\"")
}

/// The stable name of a type, as recorded beside collections and indexes.
pub(super) const fn type_name(of: ValueType) -> &'static str {
    match of {
        ValueType::Bool => "bool",
        ValueType::Int => "int",
        ValueType::Float => "float",
        ValueType::Text => "text",
        ValueType::Uuid => "uuid",
        ValueType::Time => "time",
    }
}

/// What a bound text is cast to. Times are microseconds, which reach further than PostgreSQL's.
pub(super) const fn sql_type(of: ValueType) -> &'static str {
    match of {
        ValueType::Bool => "boolean",
        ValueType::Int | ValueType::Time => "bigint",
        ValueType::Float => "double precision",
        ValueType::Text => "text",
        ValueType::Uuid => "uuid",
    }
}

/// Text is ordered by its bytes, whatever the database's language.
fn column_type(of: ValueType) -> String {
    match of {
        ValueType::Text => "text COLLATE \"C\"".to_owned(),
        other => sql_type(other).to_owned(),
    }
}

/// The name of an index. Indexes share one space with tables, where no collection begins so.
fn object_name(collection: &str, field: &str) -> String {
    format!("_{}", digest(&format!("{collection}.{field}")))
}

fn digest(text: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).simple().to_string()
}
