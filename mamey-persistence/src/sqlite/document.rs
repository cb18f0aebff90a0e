//! Reads documents through connections that only read.

use std::ops::ControlFlow;

use async_trait::async_trait;
use bytes::Bytes;
use mamey_core::Result;
use mamey_core::criteria::{Collection, Filter, Find, Value, ValueType};
use mamey_core::store::{Document, DocumentStore, Found};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::query::filter::{Condition, in_list, order_by, padded};
use super::query::values::{bind_all, read_value, read_value_or_null};
use super::schema::table::column;
use super::store::SqliteStore;
use crate::common::fields::check_id;
use crate::common::page::Filling;
use crate::sql::loaded::Loaded;
use crate::sql::page::end;

/// How many documents are loaded by one statement.
const IDS_PER_LOAD: usize = 512;

/// The driver reads some fifty rows ahead. Documents that are longer than 64 KiB, of which these would
/// be too many bytes, come by a second statement, after it is known how many are within the limit.
const SHORT: &str = "CASE WHEN octet_length(data) <= 65536 THEN data END";

/// Documents of any length.
const ALL: &str = "data";

/// The column of the first field of the order, behind id, version, data and its length.
const FIRST_FIELD: usize = 4;

/// A page, which lacks its long documents if it has any.
struct Page {
    found: Found,
    count: usize,
    has_long: bool,
}

#[async_trait]
impl DocumentStore for SqliteStore {
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        bytes_max: usize,
    ) -> Result<Vec<Option<Document>>> {
        self.declared.check(collection)?;
        ids.iter().try_for_each(|id| check_id(collection, id))?;
        let mut loaded = Loaded::new(bytes_max);
        if ids.len() == 1 {
            self.load_all(collection, ids, &mut loaded).await?;
            return loaded.in_order_of(collection, ids);
        }
        for ids in ids.chunks(IDS_PER_LOAD) {
            let long = self.load_short(collection, ids, &mut loaded).await?;
            if !long.is_empty() && loaded.is_within() {
                self.load_all(collection, &long, &mut loaded).await?;
            }
        }
        loaded.in_order_of(collection, ids)
    }

    async fn find(&self, find: &Find) -> Result<Found> {
        self.declared.check_find(find)?;
        let page = self.page(find, SHORT).await?;
        if !page.has_long {
            return Ok(page.found);
        }
        let mut shorter = find.clone();
        shorter.limit = u32::try_from(page.count).unwrap_or(u32::MAX);
        Ok(self.page(&shorter, ALL).await?.found)
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
    /// Loads what is short, counts all, and returns the ids of what is long.
    async fn load_short(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        loaded: &mut Loaded,
    ) -> Result<Vec<Value>> {
        let mut long = Vec::new();
        let take = |row: SqliteRow| {
            if !loaded.admits(length(&row)?) {
                return Ok(ControlFlow::Break(()));
            }
            match document(&row, collection.id)? {
                Some(document) => loaded.insert(document),
                None => long.push(read_value(&row, 0, collection.id)?),
            }
            Ok(ControlFlow::Continue(()))
        };
        self.rows_of(collection, ids, SHORT, take).await?;
        Ok(long)
    }

    /// Loads documents of any length that are counted already.
    async fn load_all(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        loaded: &mut Loaded,
    ) -> Result<()> {
        let take = |row: SqliteRow| {
            document(&row, collection.id)?.into_iter().for_each(|document| loaded.insert(document));
            Ok(ControlFlow::Continue(()))
        };
        self.rows_of(collection, ids, ALL, take).await
    }

    async fn rows_of(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        data: &str,
        take: impl FnMut(SqliteRow) -> Result<ControlFlow<()>, sqlx::Error> + Send,
    ) -> Result<()> {
        let (name, list) = (&self.table(collection)?.name, in_list(ids.len()));
        let sql =
            format!("SELECT id, version, {data}, octet_length(data) FROM {name} WHERE id{list}");
        let query = bind_all(sql, &padded(ids.to_vec()));
        let read = self.database.readers.for_each(query, take).await;
        read.map_err(|cause| self.database.error(cause))
    }

    async fn page(&self, find: &Find, data: &str) -> Result<Page> {
        let condition = Condition::of(&find.filter);
        let fields: String = find.fields().map(|field| format!(", {}", column(field))).collect();
        let sql = format!(
            "SELECT id, version, {data}, octet_length(data){fields} FROM {} WHERE {} ORDER BY {} LIMIT ?",
            self.table(find.collection)?.name,
            condition.sql,
            order_by(&find.order)
        );
        // One more tells whether there is a next page.
        let query = bind_all(sql, &condition.values).bind(i64::from(find.limit) + 1);
        let (mut page, mut last, mut has_long) = (Filling::new(find), None, false);
        let read = self.database.readers.for_each(query, |row| {
            if !page.admits(length(&row)?) {
                return Ok(ControlFlow::Break(()));
            }
            match document(&row, find.collection.id)? {
                Some(document) => page.push(document),
                None => has_long = true,
            }
            last = Some(row);
            Ok(ControlFlow::Continue(()))
        });
        read.await.map_err(|cause| self.database.error(cause))?;
        let count = page.count;
        let found = end(page, find, last.as_ref(), |row, place, of| {
            read_value_or_null(row, FIRST_FIELD + place, of)
        });
        let found = found.map_err(|cause| self.database.error(cause))?;
        Ok(Page { found, count, has_long })
    }
}

fn length(row: &SqliteRow) -> Result<usize, sqlx::Error> {
    Ok(usize::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default())
}

/// The document of a row; `None` if the statement left it out because it is long.
fn document(row: &SqliteRow, id: ValueType) -> Result<Option<Document>, sqlx::Error> {
    let Some(data) = row.try_get::<Option<&[u8]>, _>(2)? else {
        return Ok(None);
    };
    let (id, version) = (read_value(row, 0, id)?, row.try_get::<i64, _>(1)?);
    Ok(Some(Document::new(id, version.unsigned_abs(), Bytes::copy_from_slice(data))))
}
