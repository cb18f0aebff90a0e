//! The indexed fields of one collection: those of every build that has it open.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use mamey_core::Result;
use mamey_core::criteria::{Collection, ID_FIELD, Index, Value, indexed_values};

use crate::common::errors::{not_of_type, other_type};
use crate::common::fields::type_name;

/// The indexed fields of one collection.
#[derive(Clone, Default)]
pub(crate) struct Fields {
    builds: Vec<Build>,
    /// Each field once, as the build declares it that opened the context last.
    all: Vec<&'static Index>,
}

/// A declaration, for as long as its store lives.
#[derive(Clone)]
struct Build {
    collection: &'static Collection,
    store: Weak<()>,
}

impl Fields {
    /// The fields with those of one more build, and without those of builds that are gone.
    ///
    /// # Errors
    /// `Misconfigured` for a field, or an id, that another build declares as another type.
    pub(super) fn with(
        &self,
        collection: &'static Collection,
        store: &Arc<()>,
        is_empty: bool,
    ) -> Result<Self> {
        let of_id = self.builds.last().map(|build| build.collection.id);
        if let Some(of) = of_id.filter(|of| !is_empty && *of != collection.id) {
            return Err(other_type(collection.name, ID_FIELD, type_name(of)));
        }
        let open = self.builds.iter().filter(|build| build.store.strong_count() > 0);
        let mut builds: Vec<Build> = open.cloned().collect();
        builds.push(Build { collection, store: Arc::downgrade(store) });
        let mut all: Vec<&'static Index> = Vec::new();
        for index in builds.iter().rev().flat_map(|build| build.collection.indexes) {
            match all.iter().find(|known| known.field == index.field) {
                Some(known) if known.value != index.value => {
                    return Err(other_type(collection.name, index.field, type_name(index.value)));
                }
                Some(_) => {}
                None => all.push(index),
            }
        }
        Ok(Self { builds, all })
    }

    /// Whether these are the same fields, with the same order and uniqueness.
    pub(super) fn are(&self, other: &Self) -> bool {
        self.all == other.all
    }

    pub(super) fn name(&self) -> &'static str {
        self.builds.last().map_or("", |build| build.collection.name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'static Index> {
        self.all.iter().copied()
    }

    pub(super) fn place(&self, field: &str) -> Option<usize> {
        self.all.iter().position(|index| index.field == field)
    }

    pub(crate) fn at(&self, place: usize) -> Option<&'static Index> {
        self.all.get(place).copied()
    }

    /// The values of all fields, of a document that a build writes: its own as it says, those that it
    /// does not know as they are in the document, and none for what is not written as its type.
    pub(crate) fn values(&self, of: &Collection, own: Vec<Value>, data: &Bytes) -> Vec<Value> {
        let known = |index: &Index| of.indexes.iter().position(|it| it.field == index.field);
        if self.all.len() == of.indexes.len()
            && self.all.iter().zip(of.indexes).all(|(one, two)| one.field == two.field)
        {
            return own;
        }
        let value = |index: &'static Index| match known(index) {
            Some(place) => own.get(place).cloned().unwrap_or(Value::Null),
            None => value_in(of, index, data).unwrap_or(Value::Null),
        };
        self.iter().map(value).collect()
    }

    /// The value of a field that becomes indexed.
    ///
    /// # Errors
    /// `Misconfigured` for what is not written as its type.
    pub(super) fn read(&self, index: &'static Index, id: &Value, data: &Bytes) -> Result<Value> {
        let Some(build) = self.builds.last() else { return Ok(Value::Null) };
        value_in(build.collection, index, data).map_err(|cause| {
            not_of_type(build.collection.name, index, &id.to_string()).with_source(cause)
        })
    }

    /// The values that no other document may hold, with the places of their fields.
    pub(crate) fn unique_values<'a>(
        &self,
        index: &'a [Value],
    ) -> impl Iterator<Item = (usize, &'a Value)> {
        index.iter().enumerate().filter(|(place, value)| {
            !value.is_null() && self.at(*place).is_some_and(|index| index.unique)
        })
    }
}

fn value_in(of: &Collection, index: &'static Index, data: &Bytes) -> Result<Value> {
    let only = Collection::new(of.name, of.id).with_indexes(std::slice::from_ref(index));
    Ok(indexed_values(&only, data)?.into_iter().next().unwrap_or(Value::Null))
}
