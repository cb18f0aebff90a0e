//! Repositories: a thin typed façade over a handler's reads and its unit of work.

use std::fmt;
use std::marker::PhantomData;

use futures_util::stream::{self, Stream, TryStreamExt};

use super::{Context, ReadContext};
use crate::criteria::{Criteria, ID_FIELD, INDEXED_TEXT_BYTES_MAX, IndexValue, Page, Value};
use crate::domain::{Aggregate, Versioned};
use crate::json::to_json;
use crate::store::{Change, Document, Expected, Guard, Write};
use crate::{Error, Result, ResultExt, Retry};

/// Reads aggregates of one type. It sees what is committed.
pub struct ReadRepository<'c, A> {
    context: &'c ReadContext,
    of: PhantomData<fn() -> A>,
}

impl<A> Clone for ReadRepository<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for ReadRepository<'_, A> {}

impl<'c, A: Aggregate> ReadRepository<'c, A> {
    pub(crate) fn new(context: &'c ReadContext) -> Self {
        Self { context, of: PhantomData }
    }

    /// The aggregate with this id, or `None`.
    ///
    /// # Errors
    /// `Invalid` when the stored document is not an `A`; what the store says.
    pub async fn get(&self, id: &A::Id) -> Result<Option<Versioned<A>>> {
        let mut found = self.get_many(std::slice::from_ref(id)).await?;
        Ok(found.pop().flatten())
    }

    /// The aggregate with this id.
    ///
    /// # Errors
    /// `NotFound` when there is none; as [`ReadRepository::get`].
    pub async fn load(&self, id: &A::Id) -> Result<Versioned<A>> {
        self.get(id).await?.ok_or_else(|| absent::<A>(&id.to_value()))
    }

    /// The aggregates with these ids, in their order, `None` for those that are absent.
    ///
    /// # Errors
    /// As [`ReadRepository::get`].
    pub async fn get_many(&self, ids: &[A::Id]) -> Result<Vec<Option<Versioned<A>>>> {
        let ids: Vec<Value> = ids.iter().map(IndexValue::to_value).collect();
        let doing = || format!("loading from `{}`", A::COLLECTION.name);
        let documents = self.context.store().load(A::COLLECTION, &ids).await.with_context(doing)?;
        documents.into_iter().map(|document| document.map(read).transpose()).collect()
    }

    /// One page of the aggregates that match.
    ///
    /// # Errors
    /// `Invalid` for a cursor of other criteria; as [`ReadRepository::get`].
    pub async fn find(&self, criteria: Criteria<A>) -> Result<Page<Versioned<A>>> {
        let doing = || format!("finding in `{}`", A::COLLECTION.name);
        let find = criteria.to_find(A::COLLECTION).with_context(doing)?;
        let documents = self.context.store().find(&find).await.with_context(doing)?;
        let more = documents.len() > criteria.page_size();
        let items = documents.into_iter().take(criteria.page_size()).map(read);
        let items: Vec<Versioned<A>> = items.collect::<Result<_>>()?;
        let last = items.last().filter(|_| more);
        let next = last.map(|last| {
            crate::criteria::cursor_at(&find.order, &|field| value_of::<A>(last, field))
        });
        Ok(Page { items, next })
    }

    /// All aggregates that match, read a page at a time: memory stays at one page of the criteria's
    /// size, however many there are.
    ///
    /// Each page is read when it is needed and sees what is committed then. An aggregate that was
    /// there from the beginning to the end comes once, unless its sort keys move meanwhile.
    ///
    /// # Errors
    /// Items are as [`ReadRepository::find`]; the first error ends the stream.
    pub fn stream(
        &self,
        criteria: Criteria<A>,
    ) -> impl Stream<Item = Result<Versioned<A>>> + Send + use<'c, A> {
        let repository = *self;
        stream::try_unfold(Some(criteria), move |page| next_page(repository, page)).try_flatten()
    }

    /// The first aggregate that matches.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn find_one(&self, criteria: Criteria<A>) -> Result<Option<Versioned<A>>> {
        Ok(self.find(criteria.limit(1)).await?.items.pop())
    }

    /// How many aggregates match; the page of the criteria does not matter.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn count(&self, criteria: Criteria<A>) -> Result<u64> {
        let doing = || format!("counting in `{}`", A::COLLECTION.name);
        self.context.store().count(A::COLLECTION, criteria.filter()).await.with_context(doing)
    }

    /// Whether any aggregate matches.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn exists(&self, criteria: Criteria<A>) -> Result<bool> {
        let mut find = criteria.to_find(A::COLLECTION)?;
        find.limit = 1;
        let doing = || format!("finding in `{}`", A::COLLECTION.name);
        Ok(!self.context.store().find(&find).await.with_context(doing)?.is_empty())
    }
}

/// Reads and writes aggregates of one type within a handler's unit of work.
///
/// Loading by id sees what the unit has buffered; [`Repository::find`], [`Repository::count`] and
/// [`Repository::exists`] see only what is committed. Writes are buffered and committed at once
/// after the handler.
pub struct Repository<'c, A> {
    read: ReadRepository<'c, A>,
    context: &'c Context,
}

impl<'c, A: Aggregate> Repository<'c, A> {
    pub(crate) fn new(context: &'c Context) -> Self {
        Self { read: ReadRepository::new(context), context }
    }

    /// The aggregate with this id, or `None`.
    ///
    /// # Errors
    /// As [`ReadRepository::get`].
    pub async fn get(&self, id: &A::Id) -> Result<Option<Versioned<A>>> {
        match self.buffered(id) {
            Some(found) => found,
            None => self.read.get(id).await,
        }
    }

    /// The aggregate with this id.
    ///
    /// # Errors
    /// `NotFound` when there is none; as [`ReadRepository::get`].
    pub async fn load(&self, id: &A::Id) -> Result<Versioned<A>> {
        self.get(id).await?.ok_or_else(|| absent::<A>(&id.to_value()))
    }

    /// The aggregates with these ids, in their order, `None` for those that are absent.
    ///
    /// # Errors
    /// As [`ReadRepository::get`].
    pub async fn get_many(&self, ids: &[A::Id]) -> Result<Vec<Option<Versioned<A>>>> {
        let mut found = self.read.get_many(ids).await?;
        for (id, slot) in ids.iter().zip(&mut found) {
            if let Some(buffered) = self.buffered(id) {
                *slot = buffered?;
            }
        }
        Ok(found)
    }

    /// One page of the committed aggregates that match.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn find(&self, criteria: Criteria<A>) -> Result<Page<Versioned<A>>> {
        self.read.find(criteria).await
    }

    /// All committed aggregates that match, read a page at a time.
    ///
    /// # Errors
    /// As [`ReadRepository::stream`].
    pub fn stream(
        &self,
        criteria: Criteria<A>,
    ) -> impl Stream<Item = Result<Versioned<A>>> + Send + use<'c, A> {
        self.read.stream(criteria)
    }

    /// The first committed aggregate that matches.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn find_one(&self, criteria: Criteria<A>) -> Result<Option<Versioned<A>>> {
        self.read.find_one(criteria).await
    }

    /// How many committed aggregates match.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn count(&self, criteria: Criteria<A>) -> Result<u64> {
        self.read.count(criteria).await
    }

    /// Whether any committed aggregate matches.
    ///
    /// # Errors
    /// As [`ReadRepository::find`].
    pub async fn exists(&self, criteria: Criteria<A>) -> Result<bool> {
        self.read.exists(criteria).await
    }

    /// Adds a new aggregate. The commit fails with `AlreadyExists` when its id is taken.
    ///
    /// # Errors
    /// `Invalid` when it cannot be stored, `AlreadyExists` when this unit has it, `LimitExceeded`.
    pub fn add(&self, aggregate: &A) -> Result<()> {
        self.put(aggregate, Expected::Absent)
    }

    /// Saves a loaded aggregate. The commit is a conflict when it has changed in the meantime, and
    /// the handler then runs again.
    ///
    /// # Errors
    /// `Invalid` when it cannot be stored, `LimitExceeded`.
    pub fn save(&self, aggregate: &Versioned<A>) -> Result<()> {
        self.put(aggregate, Expected::Version(aggregate.version()))
    }

    /// Removes a loaded aggregate, under the same condition as [`Repository::save`].
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub fn remove(&self, aggregate: &Versioned<A>) -> Result<()> {
        let (id, expected) = (aggregate.id().to_value(), Expected::Version(aggregate.version()));
        self.write(Write { collection: A::COLLECTION, id, expected, change: Change::Remove })
    }

    /// Makes the commit a conflict when a loaded aggregate has changed in the meantime, for
    /// decisions that rest on it without writing it.
    pub fn guard(&self, aggregate: &Versioned<A>) {
        let (id, version) = (aggregate.id().to_value(), aggregate.version());
        self.context.unit().guards.push(Guard { collection: A::COLLECTION, id, version });
    }

    fn buffered(&self, id: &A::Id) -> Option<Result<Option<Versioned<A>>>> {
        let unit = self.context.unit();
        let write = unit.write_of(A::COLLECTION, &id.to_value())?;
        let Change::Put { data, .. } = &write.change else {
            return Some(Ok(None));
        };
        let (id, version, data) = (write.id.clone(), write.seen_version(), data.clone());
        Some(read(Document { id, version, data }).map(Some))
    }

    fn put(&self, aggregate: &A, expected: Expected) -> Result<()> {
        let id = aggregate.id().to_value();
        let data = to_json(aggregate).map_err(|cause| unstorable::<A>(&id, &cause.to_string()))?;
        let index = aggregate.index_values();
        check_indexable::<A>(ID_FIELD, &id)?;
        for (declared, value) in A::COLLECTION.indexes.iter().zip(&index) {
            check_indexable::<A>(declared.field, value)?;
        }
        let change = Change::Put { data, index };
        self.write(Write { collection: A::COLLECTION, id, expected, change })
    }

    fn write(&self, write: Write) -> Result<()> {
        self.context.unit().write(write)
    }
}

type Items<A> = stream::Iter<std::vec::IntoIter<Result<Versioned<A>>>>;

async fn next_page<A: Aggregate>(
    repository: ReadRepository<'_, A>,
    page: Option<Criteria<A>>,
) -> Result<Option<(Items<A>, Option<Criteria<A>>)>> {
    let Some(criteria) = page else { return Ok(None) };
    let found = repository.find(criteria.clone()).await?;
    let items: Vec<_> = found.items.into_iter().map(Ok).collect();
    Ok(Some((stream::iter(items), found.next.map(|cursor| criteria.after(cursor)))))
}

fn read<A: Aggregate>(document: Document) -> Result<Versioned<A>> {
    let Document { id, version, data } = document;
    let aggregate = serde_json::from_slice(&data).map_err(|cause| {
        let (collection, kind) = (A::COLLECTION.name, std::any::type_name::<A>());
        Error::invalid(format!("the document {collection}/{id} is not a `{kind}`: {cause}"))
            .with_source(cause)
    })?;
    Ok(Versioned::new(aggregate, version))
}

fn value_of<A: Aggregate>(aggregate: &A, field: &str) -> Value {
    if field == ID_FIELD {
        return aggregate.id().to_value();
    }
    let at = A::COLLECTION.indexes.iter().position(|index| index.field == field);
    at.and_then(|at| aggregate.index_values().into_iter().nth(at)).unwrap_or(Value::Null)
}

fn check_indexable<A: Aggregate>(field: &str, value: &Value) -> Result<()> {
    let collection = A::COLLECTION.name;
    match value {
        Value::Float(number) if number.is_nan() => Err(Error::invalid(format!(
            "`{field}` of `{collection}` is indexed and cannot be stored: it is not a number"
        ))),
        Value::Text(text) if text.len() > INDEXED_TEXT_BYTES_MAX => {
            let message = format!(
                "`{field}` of `{collection}` has {} bytes, the limit of what is indexed is \
                 {INDEXED_TEXT_BYTES_MAX}; use a shorter one, or keep long text in a field without \
                 an index",
                text.len()
            );
            Err(Error::limit_exceeded(message).with_retry(Retry::Never))
        }
        _ => Ok(()),
    }
}

fn absent<A: Aggregate>(id: &Value) -> Error {
    Error::not_found(format!("there is no {}/{id}", A::COLLECTION.name))
}

fn unstorable<A: Aggregate>(id: &Value, cause: &str) -> Error {
    let collection = A::COLLECTION.name;
    Error::invalid(format!("{collection}/{id} cannot be stored: {cause}")).with_retry(Retry::Never)
}

impl<A: Aggregate> fmt::Debug for ReadRepository<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadRepository({})", A::COLLECTION.name)
    }
}

impl<A: Aggregate> fmt::Debug for Repository<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", A::COLLECTION.name)
    }
}
