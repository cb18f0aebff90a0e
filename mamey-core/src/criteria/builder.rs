//! Criteria: which documents, in which order, and which page of them.

use std::fmt;
use std::marker::PhantomData;

use super::collection::Collection;
use super::cursor::Cursor;
use super::filter::{Filter, ID_FIELD};
use super::find::{Find, SortKey};
use super::keyset::after_filter;
use super::page::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use super::sort::Sort;
use crate::Result;

/// Which documents of `A`, in which order, and which page of them.
///
/// Built from the field constants that the derive of `Aggregate` writes:
/// `Order::CUSTOMER.eq(id).and(Order::TOTAL.ge(100)).sort_by(Order::TOTAL.desc()).limit(20)`.
/// The id always breaks ties, so pages neither overlap nor skip.
///
/// ```
/// # use mamey::{Aggregate, Command, Context, Event, Id, Result, Uuid};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Id)]
/// # pub struct OrderId(Uuid);
/// # #[derive(Aggregate, Serialize, Deserialize)]
/// # #[aggregate(collection = "orders")]
/// # pub struct Order {
/// #     #[aggregate(id)]
/// #     id: OrderId,
/// #     #[aggregate(index)]
/// #     customer: String,
/// #     #[aggregate(index)]
/// #     cents: i64,
/// # }
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(name = "orders.order-placed", key = order)]
/// # pub struct OrderPlaced { pub order: OrderId }
/// use mamey::Criteria;
///
/// let large: Criteria<Order> = Order::CENTS.ge(10_000);
/// let of_ada = large.and(Order::CUSTOMER.eq("ada")).sort_by(Order::CENTS.desc()).limit(20);
/// # let _ = of_ada;
/// ```
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
    ///
    /// ```
    /// # use mamey::{Aggregate, Command, Context, Event, Id, Result, Uuid};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Id)]
    /// # pub struct OrderId(Uuid);
    /// # #[derive(Aggregate, Serialize, Deserialize)]
    /// # #[aggregate(collection = "orders")]
    /// # pub struct Order {
    /// #     #[aggregate(id)]
    /// #     id: OrderId,
    /// #     #[aggregate(index)]
    /// #     customer: String,
    /// #     #[aggregate(index)]
    /// #     cents: i64,
    /// # }
    /// # #[derive(Event, Serialize, Deserialize)]
    /// # #[event(name = "orders.order-placed", key = order)]
    /// # pub struct OrderPlaced { pub order: OrderId }
    /// let of_ada_or_bob = Order::CUSTOMER.eq("ada").or(Order::CUSTOMER.eq("bob"));
    /// # let _ = of_ada_or_bob;
    /// ```
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.filter = self.filter.or(other.filter);
        self
    }

    /// Sorts by `key`; a further call sorts within equal keys of the one before.
    #[must_use]
    pub fn sort_by(mut self, key: Sort<A>) -> Self {
        self.sort.push(SortKey::new(key.field, key.descending));
        self
    }

    /// The most documents of one page; clamped to 1 to [`PAGE_SIZE_MAX`].
    #[must_use]
    pub fn limit(mut self, documents: u32) -> Self {
        self.limit = documents.clamp(1, PAGE_SIZE_MAX);
        self
    }

    /// Starts after the end of an earlier page.
    ///
    /// ```
    /// # use mamey::{Aggregate, Command, Context, Event, Id, Result, Uuid};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Id)]
    /// # pub struct OrderId(Uuid);
    /// # #[derive(Aggregate, Serialize, Deserialize)]
    /// # #[aggregate(collection = "orders")]
    /// # pub struct Order {
    /// #     #[aggregate(id)]
    /// #     id: OrderId,
    /// #     #[aggregate(index)]
    /// #     customer: String,
    /// #     #[aggregate(index)]
    /// #     cents: i64,
    /// # }
    /// # #[derive(Event, Serialize, Deserialize)]
    /// # #[event(name = "orders.order-placed", key = order)]
    /// # pub struct OrderPlaced { pub order: OrderId }
    /// use mamey::{Criteria, ReadContext};
    ///
    /// /// The second page, for a caller who sends the first page's cursor back.
    /// async fn more(cursor: &str, cx: &ReadContext) -> Result<usize> {
    ///     let criteria = Criteria::all().after(cursor.parse()?);
    ///     Ok(cx.repository::<Order>().find(criteria).await?.items.len())
    /// }
    /// ```
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

impl<A> Criteria<A> {
    /// What to ask the store.
    pub(crate) fn to_find(&self, collection: &'static Collection) -> Result<Find> {
        let mut order = self.sort.clone();
        let descending = order.last().is_some_and(|key| key.descending);
        if order.iter().all(|key| key.field != ID_FIELD) {
            order.push(SortKey::new(ID_FIELD, descending));
        }
        let filter = match &self.after {
            Some(cursor) => self.filter.clone().and(after_filter(collection, &order, cursor)?),
            None => self.filter.clone(),
        };
        Ok(Find::new(collection, filter, self.limit).with_order(order))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criteria::{Field, Index, IndexValue, Value, ValueType};
    use proptest::prelude::*;

    /// Ids are text, and both indexed fields may be missing and repeat.
    #[derive(Clone, Debug, PartialEq)]
    struct Thing {
        id: String,
        size: Option<i64>,
        ratio: Option<f64>,
    }

    const SIZE: Field<Thing, Option<i64>> = Field::new("size");
    const RATIO: Field<Thing, Option<f64>> = Field::new("ratio");
    const ID: Field<Thing, String> = Field::new(ID_FIELD);

    const THINGS: &Collection = &Collection::new("things", ValueType::Text)
        .with_indexes(&[Index::new("size", ValueType::Int), Index::new("ratio", ValueType::Float)]);

    /// The indexed values of a thing, by field.
    struct Row([(&'static str, Value); 3]);

    impl Row {
        fn of(thing: &Thing) -> Self {
            let [size, ratio] = [thing.size.to_value(), thing.ratio.to_value()];
            Self([(ID_FIELD, Value::Text(thing.id.clone())), ("size", size), ("ratio", ratio)])
        }

        fn value(&self, field: &str) -> &Value {
            &self.0.iter().find(|(name, _)| *name == field).unwrap().1
        }
    }

    /// A minimal store: what `filter` matches, in order, up to the limit, and the cursor if there is
    /// more.
    fn find<'r>(rows: &'r [Row], find: &Find) -> (Vec<&'r Row>, Option<Cursor>) {
        let mut found: Vec<&Row> =
            rows.iter().filter(|row| find.filter.matches(&|field| row.value(field))).collect();
        found.sort_by(|one, two| {
            let by_key = |key: &SortKey| {
                let ordering = one.value(key.field).cmp(two.value(key.field));
                if key.descending { ordering.reverse() } else { ordering }
            };
            find.order.iter().map(by_key).find(|it| it.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        let more = found.len() > find.limit as usize;
        found.truncate(find.limit as usize);
        let last = found.last().filter(|_| more);
        let value_of = |_, field| Ok::<_, ()>(last.unwrap().value(field).clone());
        let next = last.map(|_| find.cursor(value_of).unwrap());
        (found, next)
    }

    fn things() -> impl Strategy<Value = Vec<Thing>> {
        let ratio = prop::sample::select(vec![f64::NEG_INFINITY, -1.5, 0.0, 0.1, f64::INFINITY]);
        let rest = (prop::option::of(-2_i64..3), prop::option::of(ratio));
        prop::collection::btree_map("[a-c\u{e9}]{1,3}", rest, 0..30).prop_map(|things| {
            let thing = |(id, (size, ratio))| Thing { id, size, ratio };
            things.into_iter().map(thing).collect()
        })
    }

    fn sort() -> impl Strategy<Value = Vec<(u8, bool)>> {
        prop::collection::vec((0..3_u8, any::<bool>()), 0..4)
    }

    fn criteria(sort: &[(u8, bool)], page_size: u32) -> Criteria<Thing> {
        sort.iter().fold(Criteria::all().limit(page_size), |criteria, (field, descending)| {
            criteria.sort_by(match (field, descending) {
                (0, false) => SIZE.asc(),
                (0, true) => SIZE.desc(),
                (1, false) => RATIO.asc(),
                (1, true) => RATIO.desc(),
                (_, false) => ID.asc(),
                (_, true) => ID.desc(),
            })
        })
    }

    proptest! {
        #[test]
        fn pages_neither_overlap_nor_skip(
            things in things(), sort in sort(), page_size in 1_u32..7,
        ) {
            let rows: Vec<Row> = things.iter().map(Row::of).collect();
            let mut all = criteria(&sort, PAGE_SIZE_MAX).to_find(THINGS).unwrap();
            all.filter = Filter::TRUE;
            let ids = |rows: &[&Row]| -> Vec<Value> {
                rows.iter().map(|row| row.value(ID_FIELD).clone()).collect()
            };
            let expected = ids(&find(&rows, &all).0);
            let (mut seen, mut criteria) = (Vec::new(), criteria(&sort, page_size));
            loop {
                let asked = criteria.to_find(THINGS).unwrap();
                let (page, next) = find(&rows, &asked);
                seen.extend(ids(&page));
                let Some(cursor) = next else { break };
                // As a caller receives it and sends it back.
                criteria = criteria.after(cursor.to_string().parse().unwrap());
            }
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn a_cursor_of_other_criteria_is_refused_or_starts_elsewhere(token in sort()) {
            let values = token.iter().map(|(kind, null)| match (kind, null) {
                (_, true) => Value::Null,
                (0, _) => Value::Int(1),
                (1, _) => Value::Float(1.0),
                _ => Value::Text("b".to_owned()),
            });
            let cursor = Cursor(values.collect());
            let fits = matches!(
                cursor.0.as_slice(),
                [Value::Int(_) | Value::Null, Value::Text(_)]
            );
            let asked = Criteria::<Thing>::all().sort_by(SIZE.asc()).after(cursor).to_find(THINGS);
            prop_assert_eq!(asked.is_ok(), fits);
        }
    }
}
