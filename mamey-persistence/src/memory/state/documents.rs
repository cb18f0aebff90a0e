//! The documents of one collection, by id, and which of them holds a unique value.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use mamey_core::Result;
use mamey_core::criteria::{Filter, Find, ID_FIELD, Index, SortKey, Value};
use mamey_core::store::{Document, Found};

use super::fields::Fields;
use crate::common::errors::not_unique;
use crate::common::page::Filling;

/// The documents of one collection.
#[derive(Default)]
pub(crate) struct Documents {
    /// The indexed fields of all builds that are open; values and places are in this order.
    pub(super) fields: Fields,
    by_id: BTreeMap<Value, Stored>,
    /// Which document holds a value of the unique field at this place of the fields.
    holders: HashMap<(usize, Value), Value>,
}

pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) data: Bytes,
    /// Values of the indexed fields, in their order.
    pub(crate) index: Vec<Value>,
}

impl Documents {
    /// The documents with the fields of another set of builds. A field that was not indexed before is
    /// read from the documents.
    ///
    /// # Errors
    /// `Misconfigured` when a document holds another type there, or two hold one unique value.
    pub(super) fn indexed_by(&self, fields: &Fields) -> Result<Self> {
        let mut documents = Self { fields: fields.clone(), ..Self::default() };
        for (id, stored) in &self.by_id {
            let kept = |index: &Index| {
                let place = self.fields.place(index.field)?;
                let same = self.fields.at(place).is_some_and(|it| it.value == index.value);
                stored.index.get(place).filter(|_| same).cloned()
            };
            let value =
                |index| kept(index).map_or_else(|| fields.read(index, id, &stored.data), Ok);
            let index: Vec<Value> = fields.iter().map(value).collect::<Result<_>>()?;
            for (place, value) in fields.unique_values(&index) {
                if documents.holder(place, value).is_some() {
                    let field = fields.at(place).map_or("", |index| index.field);
                    return Err(not_unique(fields.name(), field));
                }
            }
            let data = stored.data.clone();
            documents.insert(id.clone(), Stored { version: stored.version, data, index });
        }
        Ok(documents)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
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
        for (place, value) in self.fields.unique_values(&stored.index) {
            self.holders.remove(&(place, value.clone()));
        }
    }

    pub(crate) fn insert(&mut self, id: Value, stored: Stored) {
        for (place, value) in self.fields.unique_values(&stored.index) {
            self.holders.insert((place, value.clone()), id.clone());
        }
        self.by_id.insert(id, stored);
    }

    pub(crate) fn document(&self, id: &Value) -> Option<Document> {
        self.by_id.get(id).map(|stored| stored.document(id))
    }

    pub(crate) fn find(&self, find: &Find) -> Result<Found> {
        let mut found: Vec<_> = self.matching(&find.filter).collect();
        // The sort is stable and the documents come by id, so the id is the last key.
        found.sort_by(|one, two| self.compare(&find.order, *one, *two));
        let mut page = Filling::new(find);
        for (id, stored) in &found {
            if !page.admits(stored.data.len()) {
                break;
            }
            page.push(stored.document(id));
        }
        let last = page.count.checked_sub(1).and_then(|last| found.get(last));
        page.end(find, |_, field| {
            Ok(last.map_or(Value::Null, |(id, stored)| self.value(id, stored, field).clone()))
        })
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
        let place = self.fields.place(field);
        place.and_then(|place| stored.index.get(place)).unwrap_or(&Value::Null)
    }
}

impl Stored {
    fn document(&self, id: &Value) -> Document {
        Document::new(id.clone(), self.version, self.data.clone())
    }
}
