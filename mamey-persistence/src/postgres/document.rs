//! Reads documents, each call by one statement on a connection that is lent for it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::criteria::{Collection, Filter, Find, Value, ValueType};
use mamey_core::store::{Document, DocumentStore};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::query::bind::PgQuery;
use super::query::filter::{Bound, Condition, order_by};
use super::query::values::{escape, read_json, read_value, value_text};
use super::schema::names::sql_type;
use super::store::PostgresStore;
use crate::common::fields::check_id;

/// How many documents are loaded by one statement.
const IDS_PER_LOAD: usize = 512;

#[async_trait]
impl DocumentStore for PostgresStore {
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
    ) -> Result<Vec<Option<Document>>> {
        self.tables.declared.check(collection)?;
        ids.iter().try_for_each(|id| check_id(collection, id))?;
        if let [id] = ids {
            return Ok(vec![self.load_one(collection, id).await?]);
        }
        let mut found = HashMap::new();
        for ids in ids.chunks(IDS_PER_LOAD) {
            for document in self.load_some(collection, ids).await? {
                found.insert(document.id.clone(), document);
            }
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn find(&self, find: &Find) -> Result<Vec<Document>> {
        self.tables.declared.check_find(find)?;
        let condition = Condition::of(&find.filter);
        let sql = format!(
            "SELECT id, version, data FROM {} WHERE {} ORDER BY {} LIMIT ${}",
            self.tables.get(find.collection)?.1.name,
            condition.sql,
            order_by(&find.order),
            condition.values.len() + 1
        );
        let query = bind_all(sql, condition.values).bind(i64::from(find.limit));
        self.documents(find.collection, query).await
    }

    async fn count(&self, collection: &'static Collection, filter: &Filter) -> Result<u64> {
        self.tables.declared.check_filter(collection, filter)?;
        let condition = Condition::of(filter);
        let name = &self.tables.get(collection)?.1.name;
        let sql = format!("SELECT count(*) FROM {name} WHERE {}", condition.sql);
        self.number(bind_all(sql, condition.values)).await
    }
}

impl PostgresStore {
    async fn load_one(
        &self,
        collection: &'static Collection,
        id: &Value,
    ) -> Result<Option<Document>> {
        let load = sqlx::query(AssertSqlSafe(Arc::clone(&self.tables.get(collection)?.1.load)));
        let load = match id {
            Value::Null => return Ok(None),
            Value::Bool(id) => load.bind(*id),
            Value::Int(id) => load.bind(*id),
            Value::Float(id) => load.bind(*id),
            Value::Text(id) => load.bind(escape(id).into_owned()),
            Value::Uuid(id) => load.bind(*id),
            Value::Time(id) => load.bind(id.as_micros()),
        };
        let row = self.database.connections.fetch_optional(load).await;
        let read = |row: Option<PgRow>| row.map(|row| document(&row, collection.id)).transpose();
        row.and_then(read).map_err(|cause| self.database.error(cause))
    }

    async fn load_some(
        &self,
        collection: &'static Collection,
        ids: &[Value],
    ) -> Result<Vec<Document>> {
        let (name, of) = (&self.tables.get(collection)?.1.name, sql_type(collection.id));
        let sql =
            format!("SELECT id, version, data FROM {name} WHERE id = ANY($1::text[]::{of}[])");
        let ids = ids.iter().filter_map(value_text).map(|text| text.into_owned()).collect();
        self.documents(collection, bind_all(sql, vec![Bound::Many(ids)])).await
    }

    async fn documents(
        &self,
        collection: &'static Collection,
        query: PgQuery<'_>,
    ) -> Result<Vec<Document>> {
        let rows = self.database.connections.fetch_all(query).await;
        let read = |row: &PgRow| document(row, collection.id);
        let documents: Result<Vec<_>, _> = rows.and_then(|rows| rows.iter().map(read).collect());
        documents.map_err(|cause| self.database.error(cause))
    }
}

fn document(row: &PgRow, id: ValueType) -> Result<Document, sqlx::Error> {
    let version: i64 = row.try_get(1)?;
    Ok(Document::new(read_value(row, 0, id)?, version.unsigned_abs(), read_json(row, 2)?))
}

fn bind_all(sql: String, values: Vec<Bound>) -> PgQuery<'static> {
    let query = sqlx::query(AssertSqlSafe(sql));
    values.into_iter().fold(query, |query, value| match value {
        Bound::One(text) => query.bind(text),
        Bound::Many(texts) => query.bind(texts),
    })
}
