//! Which tables, columns and indexes a context's collections lack.
//!
//! Builds before and after a change run side by side. A new field gets its column at once, then its
//! values and then its index, while others write. Each document records the set of fields that its
//! last writer knew; where that is not the full set, a trigger computes the other columns from the
//! document, so documents of an earlier build are found like all others. A field that is no longer
//! declared loses its index, and its column is filled for [`RETIRED_KEPT_DAYS`] more.

use std::collections::BTreeMap;

use mamey_core::Result;
use mamey_core::criteria::Index;

use super::names::column_name;
use super::record;
use super::state::{Declaration, IndexState, State, Stored, StoredIndex};
use super::table::Table;
use super::trigger;
use crate::common::errors::other_type;
use crate::common::fields::type_name;

/// How long the column of a field is filled after the last build that declares it, for builds that
/// still run.
const RETIRED_KEPT_DAYS: i64 = 7;

/// What a collection lacks.
#[derive(Default)]
pub(crate) struct Missing {
    /// Statements for one transaction, which holds its locks only briefly.
    pub(crate) at_once: Vec<String>,
    /// What takes long and runs while others write.
    pub(crate) builds: Vec<Build>,
}

/// An index that a live collection gets.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) index: Index,
    /// Whether documents may lack the value.
    pub(crate) fills: bool,
}

/// # Errors
/// `Misconfigured` for a field that is stored as another type.
pub(crate) fn plan(table: &Table, state: &State) -> Result<Missing> {
    match state.collections.get(table.collection.name) {
        None => Ok(create(table)),
        Some(stored) => Change::new(table, stored)?.plan(),
    }
}

fn create(table: &Table) -> Missing {
    let mut at_once =
        vec![table.create(), record::collection(table), record::declaration(table, 1)];
    for index in table.collection.indexes {
        at_once.push(table.create_index(index));
        at_once.push(record::index(table, index, IndexState::Ready, 1));
    }
    Missing { at_once, builds: Vec::new() }
}

/// How one collection changes.
struct Change<'t> {
    table: &'t Table,
    stored: &'t Stored,
    /// The number of this build's declaration.
    number: i64,
    is_new: bool,
    indexes: BTreeMap<String, StoredIndex>,
    missing: Missing,
}

impl<'t> Change<'t> {
    fn new(table: &'t Table, stored: &'t Stored) -> Result<Self> {
        let collection = table.collection;
        if stored.id != type_name(collection.id) {
            return Err(other_type(collection.name, "id", &stored.id));
        }
        for index in collection.indexes {
            if let Some(before) = stored.indexes.get(index.field)
                && before.of != type_name(index.value)
            {
                return Err(other_type(collection.name, index.field, &before.of));
            }
        }
        let known = stored.declarations.iter().find(|known| known.layout == table.layout);
        let last = stored.declarations.iter().map(|known| known.number).max().unwrap_or(0);
        let number = known.map_or(last + 1, |known| known.number);
        let (indexes, missing) = (stored.indexes.clone(), Missing::default());
        Ok(Self { table, stored, number, is_new: known.is_none(), indexes, missing })
    }

    fn plan(mut self) -> Result<Missing> {
        if self.is_new {
            self.missing.at_once.push(record::declaration(self.table, self.number));
        }
        for index in self.table.collection.indexes {
            self.want(index);
        }
        let undeclared: Vec<_> = self
            .indexes
            .keys()
            .filter(|field| self.table.collection.indexes.iter().all(|it| it.field != **field))
            .cloned()
            .collect();
        for field in undeclared {
            self.retire(&field);
        }
        if !self.missing.at_once.is_empty() {
            self.keep_columns();
        }
        Ok(self.missing)
    }

    fn want(&mut self, index: &'static Index) {
        let Some(before) = self.indexes.get(index.field).cloned() else {
            self.missing.at_once.push(self.table.add_column(index));
            let record = record::index(self.table, index, IndexState::Filling, self.number);
            return self.set(index, index.unique, IndexState::Filling, Some(record));
        };
        // What a later declaration has made of the index stays, unless that is less strict: a build
        // that is started again in the middle of a deploy must not undo the deploy.
        let is_later = self.number >= before.declared_by;
        let gone = matches!(before.state, IndexState::Retired | IndexState::Stale);
        let unique = if is_later || gone { index.unique } else { index.unique || before.unique };
        let state = match before.state {
            IndexState::Stale => IndexState::Filling,
            IndexState::Retired => IndexState::Building,
            IndexState::Ready if before.unique != unique => IndexState::Building,
            other => other,
        };
        let changes = state != before.state || unique != before.unique;
        let declared_by = self.number.max(before.declared_by);
        let update = changes.then(|| {
            let from = if before.state == IndexState::Stale { ", filled_to = NULL" } else { "" };
            let set = format!(
                "state = '{}', is_unique = {unique}, declared_by = {declared_by}, \
                 retired_at = NULL{from}",
                state.as_str()
            );
            record::change_index(self.table, index.field, &set)
        });
        self.set(index, unique, state, update);
    }

    fn set(
        &mut self,
        index: &'static Index,
        unique: bool,
        state: IndexState,
        statement: Option<String>,
    ) {
        self.missing.at_once.extend(statement);
        if state != IndexState::Ready {
            let fills = state == IndexState::Filling;
            let index = Index::new(index.field, index.value).with_unique(unique);
            self.missing.builds.push(Build { index, fills });
        }
        let stored = StoredIndex {
            of: type_name(index.value).to_owned(),
            unique,
            state,
            column: column_name(index.field),
            declared_by: self.number,
            retired_days: 0,
        };
        self.indexes.insert(index.field.to_owned(), stored);
    }

    /// Only a declaration later than the index may retire it; an earlier one never knew the field.
    fn retire(&mut self, field: &str) {
        let Some(index) = self.indexes.get_mut(field) else { return };
        let (state, set) = match index.state {
            _ if index.declared_by >= self.number => return,
            IndexState::Ready | IndexState::Building => {
                self.missing.at_once.push(self.table.drop_index(field));
                (IndexState::Retired, "state = 'retired', retired_at = now()")
            }
            // Some documents may still lack the value.
            IndexState::Filling => {
                self.missing.at_once.push(self.table.drop_index(field));
                (IndexState::Stale, "state = 'stale'")
            }
            IndexState::Retired if index.retired_days >= RETIRED_KEPT_DAYS => {
                (IndexState::Stale, "state = 'stale'")
            }
            IndexState::Retired | IndexState::Stale => return,
        };
        index.state = state;
        self.missing.at_once.push(record::change_index(self.table, field, set));
    }

    /// Keeps the columns filled that some writers do not know.
    fn keep_columns(&mut self) {
        let kept: BTreeMap<_, _> =
            self.indexes.iter().filter(|(_, index)| index.state != IndexState::Stale).collect();
        let fields = self.table.collection.indexes.iter().map(|index| index.field.to_owned());
        let own = Declaration {
            layout: self.table.layout,
            number: self.number,
            fields: fields.collect(),
        };
        let all = self.stored.declarations.iter().chain(self.is_new.then_some(&own));
        self.missing.at_once.extend(trigger::keep_columns(self.table, &kept, all));
    }
}
