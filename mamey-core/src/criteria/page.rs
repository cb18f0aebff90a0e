//! Criteria: which documents, in which order, and which page of them.

use std::fmt;
use std::marker::PhantomData;

use super::{Comparison, Cursor, Filter, ID_FIELD, Sort, Value};
use crate::store::{Find, SortKey};
use crate::{Aggregate, Error, Result};

/// How many documents a page holds unless told otherwise.
pub const PAGE_SIZE_DEFAULT: u32 = 50;

/// The most documents one page can hold.
pub const PAGE_SIZE_MAX: u32 = 1000;

/// Which documents of `A`, in which order, and which page of them.
///
/// Built from the field constants that the derive of `Aggregate` writes:
/// `Order::CUSTOMER.eq(id).and(Order::TOTAL.ge(100)).sort_by(Order::TOTAL.desc()).limit(20)`.
/// The id always breaks ties, so pages neither overlap nor skip.
pub struct Criteria<A> {
    filter: Filter,
    sort: Vec<SortKey>,
    limit: u32,
    after: Option<Cursor>,
    of: PhantomData<fn(A)>,
}

impl<A> Criteria<A> {
    /// Every document.
    #[must_use]
    pub fn all() -> Self {
        Self::of(Filter::TRUE)
    }

    pub(super) fn of(filter: Filter) -> Self {
        let (sort, after) = (Vec::new(), None);
        Self { filter, sort, limit: PAGE_SIZE_DEFAULT, after, of: PhantomData }
    }

    /// Only documents that `other`'s filter matches too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.filter = self.filter.and(other.filter);
        self
    }

    /// Also documents that `other`'s filter matches.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.filter = self.filter.or(other.filter);
        self
    }

    /// Sorts by `key`; a further call sorts within equal keys of the one before.
    #[must_use]
    pub fn sort_by(mut self, key: Sort<A>) -> Self {
        self.sort.push(SortKey { field: key.field, descending: key.descending });
        self
    }

    /// The most documents of one page, from 1 to [`PAGE_SIZE_MAX`]; values beyond are held there.
    #[must_use]
    pub fn limit(mut self, documents: u32) -> Self {
        self.limit = documents.clamp(1, PAGE_SIZE_MAX);
        self
    }

    /// Goes on after the end of an earlier page.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// The filter, without the page.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }
}

impl<A: Aggregate> Criteria<A> {
    /// What the store is asked: one document more than the page, to know whether there is a next.
    pub(crate) fn to_find(&self) -> Result<Find> {
        let mut order = self.sort.clone();
        let descending = order.last().is_some_and(|key| key.descending);
        if order.iter().all(|key| key.field != ID_FIELD) {
            order.push(SortKey { field: ID_FIELD, descending });
        }
        let filter = match &self.after {
            Some(cursor) => self.filter.clone().and(after_filter::<A>(&order, cursor)?),
            None => self.filter.clone(),
        };
        Ok(Find { collection: A::COLLECTION, filter, order, limit: self.limit + 1 })
    }

    pub(crate) fn page_size(&self) -> usize {
        self.limit as usize
    }
}

/// The cursor that stands after a document with these values of the sort keys.
pub(crate) fn cursor_at(order: &[SortKey], value_of: &dyn Fn(&str) -> Value) -> Cursor {
    Cursor(order.iter().map(|key| value_of(key.field)).collect())
}

/// "Comes after the cursor in this order", written as a plain filter, so that stores need to know
/// nothing of cursors: later in the first key, or equal there and later in the second, and so on.
fn after_filter<A: Aggregate>(order: &[SortKey], cursor: &Cursor) -> Result<Filter> {
    let fits = order.len() == cursor.0.len()
        && order.iter().zip(&cursor.0).all(|(key, value)| type_fits::<A>(key.field, value));
    if !fits {
        return Err(Error::invalid(
            "the page cursor belongs to other criteria; start from the first page",
        ));
    }
    let mut alternatives = Vec::new();
    let mut equal_so_far: Vec<Filter> = Vec::new();
    for (key, value) in order.iter().zip(&cursor.0) {
        let mut step = equal_so_far.clone();
        step.push(later(key, value));
        alternatives.push(Filter::All(step));
        equal_so_far.push(compare(key.field, Comparison::Equal, value.clone()));
    }
    Ok(Filter::Any(alternatives))
}

fn type_fits<A: Aggregate>(field: &str, value: &Value) -> bool {
    let expected = A::COLLECTION.value_type(field);
    value.is_null() && field != ID_FIELD || value.value_type() == expected
}

/// Null is the smallest value, which plain comparisons leave out.
fn later(key: &SortKey, value: &Value) -> Filter {
    let null = compare(key.field, Comparison::Equal, Value::Null);
    match (key.descending, value.is_null()) {
        (false, true) => compare(key.field, Comparison::NotEqual, Value::Null),
        (false, false) => compare(key.field, Comparison::Greater, value.clone()),
        (true, true) => Filter::Any(Vec::new()),
        (true, false) if key.field == ID_FIELD => {
            compare(key.field, Comparison::Less, value.clone())
        }
        (true, false) => compare(key.field, Comparison::Less, value.clone()).or(null),
    }
}

fn compare(field: &'static str, comparison: Comparison, value: Value) -> Filter {
    Filter::Compare { field, comparison, value }
}

impl<A> Clone for Criteria<A> {
    fn clone(&self) -> Self {
        let (filter, sort, after) = (self.filter.clone(), self.sort.clone(), self.after.clone());
        Self { filter, sort, limit: self.limit, after, of: PhantomData }
    }
}

impl<A> fmt::Debug for Criteria<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Criteria")
            .field("filter", &self.filter)
            .field("sort", &self.sort)
            .field("limit", &self.limit)
            .field("after", &self.after)
            .finish()
    }
}

/// One page of documents, and where the next one starts.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The documents, in the order asked for.
    pub items: Vec<T>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Cursor>,
}
