//! The table of one collection: its name, its columns and its indexes.

use std::sync::Arc;

use mamey_core::criteria::{Collection, ID_FIELD, Index, ValueType};
use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;

use super::names::{column, column_type, index_name, object_name};
use crate::common::fields::type_name;
use crate::sql::names::FIELD_PREFIX;

/// The table of one collection. All names in it were checked by `Declared`.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) collection: &'static Collection,
    /// The quoted name, with its schema.
    pub(crate) name: String,
    /// The quoted schema.
    pub(crate) schema: String,
    /// The statement that loads a document by its id.
    pub(crate) load: Arc<str>,
    /// Identifies this build's set of indexed fields; recorded with each document that it writes.
    pub(crate) layout: i64,
}

impl Table {
    pub(crate) fn new(schema: &str, collection: &'static Collection) -> Self {
        let name = format!("{schema}.\"{}\"", collection.name);
        let load = format!("SELECT id, version, data FROM {name} WHERE id = $1").into();
        Self { collection, schema: schema.to_owned(), load, layout: layout(collection), name }
    }

    /// Whether any of its fields is unique.
    pub(crate) fn has_unique(&self) -> bool {
        self.collection.indexes.iter().any(|index| index.unique)
    }

    /// Documents are `json`, which keeps the text as it was written; `jsonb` would write numbers, keys
    /// and spaces anew.
    pub(crate) fn create(&self) -> String {
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
             version bigint NOT NULL, layout bigint NOT NULL, data json NOT NULL{fields})"
        )
    }

    pub(crate) fn add_column(&self, index: &Index) -> String {
        let (column, of) = (column(index.field), column_type(index.value));
        format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {column} {of}", self.name)
    }

    /// The index of a field that is not unique ends with the id, the last key of every order. A text
    /// id is left out, because two long texts exceed the size of an index row.
    pub(crate) fn create_index(&self, index: &Index) -> String {
        self.index("INDEX", index)
    }

    /// As [`Table::create_index`], while others write.
    pub(crate) fn build_index(&self, index: &Index) -> String {
        self.index("INDEX CONCURRENTLY IF NOT EXISTS", index)
    }

    fn index(&self, create: &str, index: &Index) -> String {
        let (name, column) = (index_name(self.collection, index.field), column(index.field));
        let table = &self.name;
        if index.unique {
            format!("CREATE UNIQUE {create} \"{name}\" ON {table} ({column} NULLS FIRST)")
        } else if self.collection.id == ValueType::Text {
            format!("CREATE {create} \"{name}\" ON {table} ({column} NULLS FIRST)")
        } else {
            format!("CREATE {create} \"{name}\" ON {table} ({column} NULLS FIRST, id)")
        }
    }

    pub(crate) fn drop_index(&self, field: &str) -> String {
        format!("DROP INDEX IF EXISTS {}.\"{}\"", self.schema, index_name(self.collection, field))
    }

    /// As [`Table::drop_index`], while others write.
    pub(crate) fn remove_index(&self, field: &str) -> String {
        let name = index_name(self.collection, field);
        format!("DROP INDEX CONCURRENTLY IF EXISTS {}.\"{name}\"", self.schema)
    }

    /// The field whose unique index refused a value: a field of this build, or one that a later build
    /// has added, which the server's message names.
    pub(crate) fn refused_field(&self, index: &str, cause: &sqlx::Error) -> Option<String> {
        let of_name = |known: &&Index| index_name(self.collection, known.field) == index;
        if let Some(known) = self.collection.indexes.iter().find(of_name) {
            return Some(known.field.to_owned());
        }
        let refused = cause.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
        // `Key (f_email)=(…) already exists.`, in any language.
        let (_, column) = refused.detail()?.split_once('(')?;
        let (column, _) = column.split_once(")=(")?;
        Some(column.trim_matches('"').strip_prefix(FIELD_PREFIX)?.to_owned())
    }
}

/// A digest of the collection's set of indexed fields.
fn layout(collection: &Collection) -> i64 {
    let mut fields: Vec<_> = collection
        .indexes
        .iter()
        .map(|index| format!("{}:{}:{}", index.field, type_name(index.value), index.unique))
        .collect();
    fields.sort();
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, fields.join(",").as_bytes());
    digest.as_u64_pair().0.cast_signed()
}
