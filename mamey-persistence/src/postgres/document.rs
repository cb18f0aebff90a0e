//! Reads documents, each call by one statement: on a connection that is lent for it, or on that of the
//! transaction which a handler has open.

use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::criteria::{Collection, Filter, Find, Value, ValueType};
use mamey_core::store::{Document, DocumentStore, Found, OpenTransaction};
use mamey_core::{Error, Result};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::Mutex;

use super::connection::lending::LentTransaction;
use super::connection::shares::Purpose;
use super::query::bind::PgQuery;
use super::query::filter::{Bound, Condition, order_by};
use super::query::values::{
    escape, json_len, read_json, read_value, read_value_or_null, value_text,
};
use super::schema::names::{column, sql_type};
use super::store::PostgresStore;
use crate::common::fields::check_id;
use crate::common::page::Filling;
use crate::sql::loaded::Loaded;
use crate::sql::page::end;

/// How many documents are loaded by one statement.
const IDS_PER_LOAD: usize = 512;

/// How many bytes of documents behind the end of a page are read and dropped, to keep the connection.
/// With more of them it is closed, which costs less than to wait for them.
const DROPPED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The column of the first field of the order, behind id, version and data.
const FIRST_FIELD: usize = 3;

#[async_trait]
impl DocumentStore for PostgresStore {
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        bytes_max: usize,
    ) -> Result<Vec<Option<Document>>> {
        Documents::of(self).load_all(collection, ids, bytes_max).await
    }

    async fn find(&self, find: &Find) -> Result<Found> {
        Documents::of(self).find_page(find).await
    }

    async fn count(&self, collection: &'static Collection, filter: &Filter) -> Result<u64> {
        Documents::of(self).count_all(collection, filter).await
    }

    fn inside<'t>(
        &'t self,
        transaction: &'t mut OpenTransaction,
    ) -> Option<Box<dyn DocumentStore + 't>> {
        let open = transaction.get_mut::<LentTransaction>();
        let open = open.filter(|open| open.is_of(&self.database.connections))?;
        Some(Box::new(Documents { store: self, inside: Some(Mutex::new(open)) }))
    }
}

/// The documents of a store, over any of its connections or inside of a handler's transaction.
struct Documents<'s> {
    store: &'s PostgresStore,
    inside: Option<Mutex<&'s mut LentTransaction>>,
}

#[async_trait]
impl DocumentStore for Documents<'_> {
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        bytes_max: usize,
    ) -> Result<Vec<Option<Document>>> {
        self.load_all(collection, ids, bytes_max).await
    }

    async fn find(&self, find: &Find) -> Result<Found> {
        self.find_page(find).await
    }

    async fn count(&self, collection: &'static Collection, filter: &Filter) -> Result<u64> {
        self.count_all(collection, filter).await
    }
}

impl<'s> Documents<'s> {
    const fn of(store: &'s PostgresStore) -> Self {
        Self { store, inside: None }
    }

    async fn load_all(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        bytes_max: usize,
    ) -> Result<Vec<Option<Document>>> {
        self.store.tables.declared.check(collection)?;
        ids.iter().try_for_each(|id| check_id(collection, id))?;
        if let [id] = ids {
            return Ok(vec![self.load_one(collection, id).await?]);
        }
        let mut loaded = Loaded::new(bytes_max);
        for ids in ids.chunks(IDS_PER_LOAD) {
            self.load_some(collection, ids, &mut loaded).await?;
        }
        loaded.in_order_of(collection, ids)
    }

    async fn find_page(&self, find: &Find) -> Result<Found> {
        self.store.tables.declared.check_find(find)?;
        let condition = Condition::of(&find.filter);
        let fields: String = find.fields().map(|field| format!(", {}", column(field))).collect();
        let sql = format!(
            "SELECT id, version, data{fields} FROM {} WHERE {} ORDER BY {} LIMIT ${}",
            self.store.tables.get(find.collection)?.1.name,
            condition.sql,
            order_by(&find.order),
            condition.values.len() + 1
        );
        // One more tells whether there is a next page.
        let query = bind_all(sql, condition.values).bind(i64::from(find.limit) + 1);
        let found = self.page(find, query).await;
        found.map_err(|cause| self.error(cause))
    }

    async fn count_all(&self, collection: &'static Collection, filter: &Filter) -> Result<u64> {
        self.store.tables.declared.check_filter(collection, filter)?;
        let condition = Condition::of(filter);
        let name = &self.store.tables.get(collection)?.1.name;
        let sql = format!("SELECT count(*) FROM {name} WHERE {}", condition.sql);
        let row = self.fetch_optional(bind_all(sql, condition.values)).await;
        let count = row.and_then(|row| row.ok_or(sqlx::Error::RowNotFound)?.try_get::<i64, _>(0));
        count.map(i64::unsigned_abs).map_err(|cause| self.error(cause))
    }

    async fn load_one(
        &self,
        collection: &'static Collection,
        id: &Value,
    ) -> Result<Option<Document>> {
        let load = Arc::clone(&self.store.tables.get(collection)?.1.load);
        let load = sqlx::query(AssertSqlSafe(load));
        let load = match id {
            Value::Null => return Ok(None),
            Value::Bool(id) => load.bind(*id),
            Value::Int(id) => load.bind(*id),
            Value::Float(id) => load.bind(*id),
            Value::Text(id) => load.bind(escape(id).into_owned()),
            Value::Uuid(id) => load.bind(*id),
            Value::Time(id) => load.bind(id.as_micros()),
        };
        let row = self.fetch_optional(load).await;
        let read = |row: Option<PgRow>| row.map(|row| document(&row, collection.id)).transpose();
        row.and_then(read).map_err(|cause| self.error(cause))
    }

    async fn load_some(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        loaded: &mut Loaded,
    ) -> Result<()> {
        let (name, of) = (&self.store.tables.get(collection)?.1.name, sql_type(collection.id));
        let sql =
            format!("SELECT id, version, data FROM {name} WHERE id = ANY($1::text[]::{of}[])");
        let ids = ids.iter().filter_map(value_text).map(|text| text.into_owned()).collect();
        let read = self.for_each(bind_all(sql, vec![Bound::Many(ids)]), |row| {
            if !loaded.admits(json_len(&row, 2)?) {
                return Ok(ControlFlow::Break(()));
            }
            loaded.insert(document(&row, collection.id)?);
            Ok(ControlFlow::Continue(()))
        });
        read.await.map_err(|cause| self.error(cause))
    }

    async fn page(&self, find: &Find, query: PgQuery<'_>) -> Result<Found, sqlx::Error> {
        let (mut page, mut last, mut dropped) = (Filling::new(find), None, 0);
        let read = self.for_each(query, |row| {
            let bytes = json_len(&row, 2)?;
            if page.admits(bytes) {
                page.push(document(&row, find.collection.id)?);
                last = Some(row);
                return Ok(ControlFlow::Continue(()));
            }
            dropped += bytes;
            let too_many = dropped > DROPPED_BYTES_MAX;
            Ok(if too_many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        read.await?;
        end(page, find, last.as_ref(), |row, place, of| {
            read_value_or_null(row, FIRST_FIELD + place, of)
        })
    }

    async fn fetch_optional(&self, query: PgQuery<'_>) -> Result<Option<PgRow>, sqlx::Error> {
        let connections = &self.store.database.connections;
        match &self.inside {
            None => connections.fetch_optional(Purpose::Read, query).await,
            Some(open) => open.lock().await.fetch_optional(query).await,
        }
    }

    async fn for_each(
        &self,
        query: PgQuery<'_>,
        take: impl FnMut(PgRow) -> Result<ControlFlow<()>, sqlx::Error> + Send,
    ) -> Result<(), sqlx::Error> {
        let connections = &self.store.database.connections;
        match &self.inside {
            None => connections.for_each(Purpose::Read, query, take).await,
            Some(open) => open.lock().await.for_each(query, take).await,
        }
    }

    fn error(&self, cause: sqlx::Error) -> Error {
        self.store.database.error(cause)
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
