//! Reads documents through connections that only read.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use mamey_core::Result;
use mamey_core::criteria::{Collection, Filter, Find, Value, ValueType};
use mamey_core::store::{Document, DocumentStore};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite};

use super::query::filter::{Condition, in_list, order_by, padded};
use super::query::values::{bind_all, read_value};
use super::store::SqliteStore;
use crate::common::fields::check_id;

/// How many documents are loaded by one statement.
const IDS_PER_LOAD: usize = 512;

#[async_trait]
impl DocumentStore for SqliteStore {
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
    ) -> Result<Vec<Option<Document>>> {
        self.declared.check(collection)?;
        ids.iter().try_for_each(|id| check_id(collection, id))?;
        let mut found = HashMap::new();
        for ids in ids.chunks(IDS_PER_LOAD) {
            for document in self.load_some(collection, ids).await? {
                found.insert(document.id.clone(), document);
            }
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn find(&self, find: &Find) -> Result<Vec<Document>> {
        self.declared.check_find(find)?;
        let condition = Condition::of(&find.filter);
        let sql = format!(
            "SELECT id, version, data FROM {} WHERE {} ORDER BY {} LIMIT ?",
            self.table(find.collection)?.name,
            condition.sql,
            order_by(&find.order)
        );
        let query = bind_all(sql, &condition.values).bind(i64::from(find.limit));
        self.documents(find.collection, query).await
    }

    async fn count(&self, collection: &'static Collection, filter: &Filter) -> Result<u64> {
        self.declared.check_filter(collection, filter)?;
        let condition = Condition::of(filter);
        let name = &self.table(collection)?.name;
        let sql = format!("SELECT count(*) FROM {name} WHERE {}", condition.sql);
        self.number(bind_all(sql, &condition.values)).await
    }
}

impl SqliteStore {
    async fn load_some(
        &self,
        collection: &'static Collection,
        ids: &[Value],
    ) -> Result<Vec<Document>> {
        let name = &self.table(collection)?.name;
        let list = in_list(ids.len());
        let sql = format!("SELECT id, version, data FROM {name} WHERE id{list}");
        let query = bind_all(sql, &padded(ids.to_vec()));
        self.documents(collection, query).await
    }

    async fn documents(
        &self,
        collection: &'static Collection,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<Document>> {
        let rows = self.database.readers.fetch_all(query).await;
        let read = |row: &SqliteRow| document(row, collection.id);
        let documents: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(read).collect());
        documents.map_err(|cause| self.database.error(cause))
    }
}

fn document(row: &SqliteRow, id: ValueType) -> Result<Document, sqlx::Error> {
    let version: i64 = row.try_get(1)?;
    let data: &[u8] = row.try_get(2)?;
    Ok(Document::new(read_value(row, 0, id)?, version.unsigned_abs(), Bytes::copy_from_slice(data)))
}
