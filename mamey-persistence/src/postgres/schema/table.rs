//! The table of one collection: its name, its columns and its indexes.

use std::sync::Arc;

use mamey_core::criteria::{Collection, ID_FIELD, Index, ValueType};
use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;

use crate::sql::names::{FIELD_PREFIX, type_name};

/// The longest name of PostgreSQL, in bytes; it cuts a longer one without a word.
const NAME_BYTES_MAX: usize = 63;

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
    /// What a document that this build wrote says of its indexed fields.
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
             version bigint NOT NULL, layout bigint NOT NULL, data jsonb NOT NULL{fields})"
        )
    }

    pub(crate) fn add_column(&self, index: &Index) -> String {
        let (column, of) = (column(index.field), column_type(index.value));
        format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {column} {of}", self.name)
    }

    /// The id stands behind a field that is not unique, because it is the last key of every order;
    /// not a text, because two long ones are more than an index holds.
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

    /// The field whose unique index refused a value: one of this build, or one that a later build
    /// has added, whose column the server names.
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

/// The quoted column of a field: with a prefix, so that it clashes with no column of ours, and
/// where that is too long, by a digest.
pub(crate) fn column(field: &str) -> String {
    if field == ID_FIELD {
        return ID_FIELD.to_owned();
    }
    if FIELD_PREFIX.len() + field.len() > NAME_BYTES_MAX {
        return format!("\"h_{}\"", digest(field));
    }
    format!("\"{FIELD_PREFIX}{field}\"")
}

/// What a bound text is cast to. Times are microseconds, which reach further than PostgreSQL's.
pub(crate) const fn sql_type(of: ValueType) -> &'static str {
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

/// The name of a field's index.
pub(crate) fn index_name(collection: &Collection, field: &str) -> String {
    object_name(collection.name, field)
}

/// Tells declarations of a collection's indexes apart.
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

/// The name of an object of ours. Indexes share one space with tables, where no collection begins so.
pub(crate) fn object_name(collection: &str, field: &str) -> String {
    format!("_{}", digest(&format!("{collection}.{field}")))
}

fn digest(text: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).simple().to_string()
}
