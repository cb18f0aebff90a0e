//! Reads what a context's schema holds, before anything is changed.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, FromRow};

use super::statement::in_schema;

/// Read first, because a user who may not create a schema may use one that exists.
const EXISTS: &str = "\
SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1),
    EXISTS (SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = $1 AND relname = '_migrations'),
    EXISTS (SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = $1 AND relname = '_declarations')";

/// The functions that commit: one pair for each set of collections.
const FUNCTIONS: &str = "\
SELECT proname::text FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname = $1 AND proname LIKE '\\_commit\\_%'";

const APPLIED: &str =
    "SELECT number, checksum, compatible_from FROM mamey._migrations ORDER BY number";

const COLLECTIONS: &str = "SELECT name, id_type FROM mamey._collections";

const DECLARATIONS: &str = "\
SELECT collection, layout, number, fields FROM mamey._declarations ORDER BY number";

const INDEXES: &str = "\
SELECT collection, field, type, is_unique, state, column_name, declared_by,
    coalesce(extract(day FROM now() - retired_at)::bigint, 0)
FROM mamey._indexes";

/// What a schema holds.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) has_schema: bool,
    pub(crate) has_migrations: bool,
    pub(crate) applied: Vec<Applied>,
    pub(crate) collections: HashMap<String, Stored>,
    pub(crate) functions: Vec<String>,
}

/// A migration that was applied, by whichever build.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) number: i64,
    pub(crate) checksum: String,
    pub(crate) compatible_from: i64,
}

/// A collection as the database knows it.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) indexes: BTreeMap<String, StoredIndex>,
}

/// A set of indexed fields that a build has declared.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) layout: i64,
    pub(crate) number: i64,
    pub(crate) fields: Vec<String>,
}

/// An indexed field as the database knows it.
#[derive(Clone, Debug)]
pub(crate) struct StoredIndex {
    pub(crate) of: String,
    pub(crate) unique: bool,
    pub(crate) state: IndexState,
    pub(crate) column: String,
    pub(crate) declared_by: i64,
    pub(crate) retired_days: i64,
}

/// How far an index is; `0001_tables.sql` says what each state means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexState {
    Filling,
    Building,
    Ready,
    Retired,
    Stale,
}

impl IndexState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Filling => "filling",
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Retired => "retired",
            Self::Stale => "stale",
        }
    }

    /// A state that only another build knows counts as stale, so the field is filled again.
    fn parse(text: &str) -> Self {
        let all = [Self::Filling, Self::Building, Self::Ready, Self::Retired];
        all.into_iter().find(|state| state.as_str() == text).unwrap_or(Self::Stale)
    }
}

impl State {
    /// Reads within the caller's transaction: behind a PgBouncer the session may change between
    /// transactions, and a statement prepared before would be missing.
    pub(crate) async fn read(
        connection: &mut PgConnection,
        context: &str,
        schema: &str,
    ) -> Result<Self, sqlx::Error> {
        let (has_schema, has_migrations, has_collections): (bool, bool, bool) =
            sqlx::query_as(EXISTS)
                .persistent(false)
                .bind(context)
                .fetch_one(&mut *connection)
                .await?;
        let mut state = Self { has_schema, has_migrations, ..Self::default() };
        if has_migrations {
            for (number, checksum, compatible_from) in rows(connection, schema, APPLIED).await? {
                state.applied.push(Applied { number, checksum, compatible_from });
            }
        }
        state.functions = sqlx::query_scalar(FUNCTIONS)
            .persistent(false)
            .bind(context)
            .fetch_all(&mut *connection)
            .await?;
        if has_collections {
            state.read_collections(connection, schema).await?;
        }
        Ok(state)
    }

    async fn read_collections(
        &mut self,
        connection: &mut PgConnection,
        schema: &str,
    ) -> Result<(), sqlx::Error> {
        for (name, id) in rows(connection, schema, COLLECTIONS).await? {
            self.collections.insert(name, Stored { id, ..Stored::default() });
        }
        let declarations: Vec<(String, i64, i64, Vec<String>)> =
            rows(connection, schema, DECLARATIONS).await?;
        for (name, layout, number, fields) in declarations {
            if let Some(stored) = self.collections.get_mut(&name) {
                stored.declarations.push(Declaration { layout, number, fields });
            }
        }
        type Row = (String, String, String, bool, String, String, i64, i64);
        let indexes: Vec<Row> = rows(connection, schema, INDEXES).await?;
        for (name, field, of, unique, state, column, declared_by, retired_days) in indexes {
            let state = IndexState::parse(&state);
            let index = StoredIndex { of, unique, state, column, declared_by, retired_days };
            if let Some(stored) = self.collections.get_mut(&name) {
                stored.indexes.insert(field, index);
            }
        }
        Ok(())
    }
}

async fn rows<R>(
    connection: &mut PgConnection,
    schema: &str,
    sql: &str,
) -> Result<Vec<R>, sqlx::Error>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    sqlx::query_as(AssertSqlSafe(in_schema(schema, sql)))
        .persistent(false)
        .fetch_all(connection)
        .await
}
