//! Which declarations of a context are open side by side: each writes the columns of all.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use mamey_core::criteria::{Collection, Index};
use mamey_core::message::ContextName;

use super::schema::table::Table;

/// The declarations of the collections that are open in this process, by context.
///
/// No other process uses the file, so these are all. A declaration whose stores are gone stays until
/// the context is opened again: only then are its indexes dropped.
#[derive(Default)]
pub(super) struct Builds(HashMap<ContextName, Vec<Declaration>>);

#[derive(Clone)]
struct Declaration {
    collection: &'static Collection,
    store: Weak<()>,
}

impl Builds {
    /// The declarations of a context whose stores are not gone.
    pub(super) fn still_open(&self, context: &ContextName) -> Self {
        let declared = self.0.get(context).into_iter().flatten();
        let open = declared.filter(|one| one.store.strong_count() > 0).cloned().collect();
        Self(HashMap::from([(context.clone(), open)]))
    }

    /// Takes over what has become of some contexts.
    pub(super) fn replace(&mut self, changed: Self) {
        self.0.extend(changed.0);
    }

    /// Adds a declaration for as long as `store` lives.
    pub(super) fn add<'c>(
        &mut self,
        context: &ContextName,
        collections: impl Iterator<Item = &'c &'static Collection>,
        store: &Arc<()>,
    ) {
        let declared = self.0.entry(context.clone()).or_default();
        declared.extend(
            collections.map(|collection| Declaration { collection, store: Arc::downgrade(store) }),
        );
    }

    /// The tables of a build, when they need columns of other builds beside their own.
    pub(super) fn tables(
        &self,
        context: &ContextName,
        own: &HashMap<&'static str, Arc<Table>>,
    ) -> Option<HashMap<&'static str, Arc<Table>>> {
        let others = own.values().any(|table| !self.others(context, table.collection).is_empty());
        others.then(|| {
            let table = |(name, table): (&&'static str, &Arc<Table>)| {
                (*name, Arc::new(self.table(context, table.collection)))
            };
            own.iter().map(table).collect()
        })
    }

    /// The table of a collection, with the columns that other builds know of it.
    pub(super) fn table(&self, context: &ContextName, collection: &'static Collection) -> Table {
        Table::new(context, collection, self.others(context, collection))
    }

    /// The fields that other builds index and this one does not.
    fn others(
        &self,
        context: &ContextName,
        collection: &'static Collection,
    ) -> Vec<&'static Index> {
        let mut others: Vec<&'static Index> = Vec::new();
        let declared = self.0.get(context).into_iter().flatten();
        let other = |one: &&Declaration| {
            one.collection.name == collection.name && !std::ptr::eq(one.collection, collection)
        };
        for one in declared.filter(other) {
            for index in one.collection.indexes {
                let known = |other: &&'static Index| other.field == index.field;
                if !others.iter().any(known) && collection.value_type(index.field).is_none() {
                    others.push(index);
                }
            }
        }
        others
    }
}
