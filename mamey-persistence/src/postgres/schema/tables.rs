//! A context's tables, in the order in which every unit of work locks their documents.

use mamey_core::Result;
use mamey_core::criteria::Collection;
use mamey_core::message::ContextName;
use mamey_core::store::Schema;

use super::table::Table;
use crate::common::declared::Declared;
use crate::common::errors::closed;

/// The name of a context's schema.
pub(crate) fn quoted(context: &ContextName) -> String {
    format!("\"{context}\"")
}

/// The tables of one context.
pub(crate) struct Tables {
    pub(crate) declared: Declared,
    /// The quoted name of the context's schema.
    pub(crate) schema: String,
    /// By name. Statements number the tables by their places here.
    pub(crate) all: Vec<Table>,
}

impl Tables {
    /// # Errors
    /// `Misconfigured` for a name that SQL could not take.
    pub(crate) fn new(schema: &Schema) -> Result<Self> {
        let declared = Declared::new(schema)?;
        let name = quoted(&schema.context);
        let tables = declared.collections.values().map(|collection| Table::new(&name, collection));
        let mut all: Vec<_> = tables.collect();
        all.sort_by_key(|table| table.collection.name);
        Ok(Self { declared, schema: name, all })
    }

    /// The context's name.
    pub(crate) fn context(&self) -> &str {
        self.declared.context.as_str()
    }

    /// The collection's table, and its place among all.
    pub(crate) fn get(&self, collection: &'static Collection) -> Result<(usize, &Table)> {
        self.declared.check(collection)?;
        let name = |table: &Table| table.collection.name;
        let place = self.all.binary_search_by_key(&collection.name, name).ok();
        let table = place.and_then(|place| Some((place, self.all.get(place)?)));
        // `check` has just found it, so this error cannot show.
        table.ok_or_else(closed)
    }
}
