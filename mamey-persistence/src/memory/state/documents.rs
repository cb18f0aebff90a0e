//! The documents of one collection, by id, and which of them holds a unique value.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use mamey_core::criteria::{Collection, Filter, Find, ID_FIELD, SortKey, Value};
use mamey_core::store::Document;

/// The documents of one collection.
pub(crate) struct Documents {
    pub(crate) collection: &'static Collection,
    by_id: BTreeMap<Value, Stored>,
    /// Which document holds a value of the unique field at this place of the indexes.
    holders: HashMap<(usize, Value), Value>,
}

pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) data: Bytes,
    /// Values of the indexed fields, in the collection's order.
    pub(crate) index: Vec<Value>,
}

impl Documents {
    pub(crate) fn new(collection: &'static Collection) -> Self {
        Self { collection, by_id: BTreeMap::new(), holders: HashMap::new() }
    }

    pub(crate) fn version(&self, id: &Value) -> Option<u64> {
        self.by_id.get(id).map(|stored| stored.version)
    }

    /// Which document holds a value of the unique field at this place.
    pub(crate) fn holder(&self, place: usize, value: &Value) -> Option<&Value> {
        self.holders.get(&(place, value.clone()))
    }

    pub(crate) fn remove(&mut self, id: &Value) {
        let Some(stored) = self.by_id.remove(id) else {
            return;
        };
        for (place, value) in unique_values(self.collection, &stored.index) {
            self.holders.remove(&(place, value.clone()));
        }
    }

    pub(crate) fn insert(&mut self, id: Value, stored: Stored) {
        for (place, value) in unique_values(self.collection, &stored.index) {
            self.holders.insert((place, value.clone()), id.clone());
        }
        self.by_id.insert(id, stored);
    }

    pub(crate) fn document(&self, id: &Value) -> Option<Document> {
        self.by_id.get(id).map(|stored| stored.document(id))
    }

    pub(crate) fn find(&self, find: &Find) -> Vec<Document> {
        let mut found: Vec<_> = self.matching(&find.filter).collect();
        // The sort is stable and the documents come by id, so the id is the last key.
        found.sort_by(|one, two| self.compare(&find.order, *one, *two));
        found.truncate(find.limit as usize);
        found.into_iter().map(|(id, stored)| stored.document(id)).collect()
    }

    pub(crate) fn matching(&self, filter: &Filter) -> impl Iterator<Item = (&Value, &Stored)> {
        self.by_id
            .iter()
            .filter(|(id, stored)| filter.matches(&|field| self.value(id, stored, field)))
    }

    fn compare(
        &self,
        order: &[SortKey],
        one: (&Value, &Stored),
        two: (&Value, &Stored),
    ) -> Ordering {
        let compare = |key: &SortKey| {
            let ascending =
                (self.value(one.0, one.1, key.field)).cmp(self.value(two.0, two.1, key.field));
            if key.descending { ascending.reverse() } else { ascending }
        };
        order.iter().map(compare).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn value<'a>(&self, id: &'a Value, stored: &'a Stored, field: &str) -> &'a Value {
        if field == ID_FIELD {
            return id;
        }
        let place = self.collection.indexes.iter().position(|index| index.field == field);
        place.and_then(|place| stored.index.get(place)).unwrap_or(&Value::Null)
    }
}

impl Stored {
    fn document(&self, id: &Value) -> Document {
        Document::new(id.clone(), self.version, self.data.clone())
    }
}

/// The values that no other document may hold, with the places of their fields.
pub(crate) fn unique_values<'a>(
    collection: &'static Collection,
    index: &'a [Value],
) -> impl Iterator<Item = (usize, &'a Value)> {
    index.iter().enumerate().filter(|(place, value)| {
        !value.is_null() && collection.indexes.get(*place).is_some_and(|index| index.unique)
    })
}
