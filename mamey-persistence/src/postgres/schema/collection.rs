//! Which tables, columns and indexes a context's collections lack.
//!
//! Builds of before and after a change run side by side. A field that comes gets a column at once,
//! then its values, then its index, while others write. Each document says which fields its last
//! writer knew; where that is not all, a trigger computes the others from the document, so what an
//! earlier build writes is found like everything else. A field that goes loses its index, and its
//! column is kept up for [`RETIRED_KEPT_DAYS`].

use std::collections::BTreeMap;

use mamey_core::Result;
use mamey_core::criteria::Index;

use super::state::{Declaration, IndexState, State, Stored, StoredIndex};
use super::table::{Table, column, object_name};
use crate::sql::errors::other_type;
use crate::sql::names::type_name;

/// How long values of a field are kept up after no build declares it, for those that still run.
const RETIRED_KEPT_DAYS: i64 = 7;

/// What a collection lacks.
#[derive(Default)]
pub(crate) struct Missing {
    /// For one transaction, which holds its locks for a moment.
    pub(crate) at_once: Vec<String>,
    /// What takes long, while others write.
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
    let (schema, name) = (&table.schema, table.collection.name);
    let of = type_name(table.collection.id);
    let mut at_once = vec![
        table.create(),
        format!("INSERT INTO {schema}._collections (name, id_type) VALUES ('{name}', '{of}')"),
        declare(table, 1),
    ];
    for index in table.collection.indexes {
        at_once.push(table.create_index(index));
        at_once.push(record(table, index, IndexState::Ready, 1));
    }
    Missing { at_once, builds: Vec::new() }
}

/// How one collection changes.
struct Change<'t> {
    table: &'t Table,
    stored: &'t Stored,
    /// This build's declaration.
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
            self.missing.at_once.push(declare(self.table, self.number));
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
            self.part_with(&field);
        }
        if !self.missing.at_once.is_empty() {
            self.keep_up();
        }
        Ok(self.missing)
    }

    fn want(&mut self, index: &'static Index) {
        let Some(before) = self.indexes.get(index.field).cloned() else {
            self.missing.at_once.push(self.table.add_column(index));
            let record = record(self.table, index, IndexState::Filling, self.number);
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
            self.update(index.field, &set)
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
            let index = Index { field: index.field, value: index.value, unique };
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

    /// Only a declaration that came after the index may say that it is not wanted any more; an
    /// earlier one never knew it.
    fn part_with(&mut self, field: &str) {
        let Some(index) = self.indexes.get_mut(field) else { return };
        let (state, set) = match index.state {
            _ if index.declared_by >= self.number => return,
            IndexState::Ready | IndexState::Building => {
                self.missing.at_once.push(self.table.drop_index(field));
                (IndexState::Retired, "state = 'retired', retired_at = now()")
            }
            // Not all documents have their values yet.
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
        let update = self.update(field, set);
        self.missing.at_once.push(update);
    }

    fn update(&self, field: &str, set: &str) -> String {
        let (schema, name) = (&self.table.schema, self.table.collection.name);
        format!(
            "UPDATE {schema}._indexes SET {set} WHERE collection = '{name}' AND field = '{field}'"
        )
    }

    /// Writes the trigger that computes what a writer does not know, or drops it where all writers
    /// know everything. The trigger's condition keeps it away from those that do.
    fn keep_up(&mut self) {
        let kept: BTreeMap<_, _> =
            self.indexes.iter().filter(|(_, index)| index.state != IndexState::Stale).collect();
        let fields = self.table.collection.indexes.iter().map(|index| index.field.to_owned());
        let mine = Declaration {
            layout: self.table.layout,
            number: self.number,
            fields: fields.collect(),
        };
        let all = self.stored.declarations.iter().chain(self.is_new.then_some(&mine));
        let (knowing, lacking): (Vec<_>, Vec<_>) =
            all.partition(|one| kept.keys().all(|field| one.fields.contains(field)));
        let table = &self.table.name;
        if lacking.is_empty() {
            return self
                .missing
                .at_once
                .push(format!("DROP TRIGGER IF EXISTS _keep_up ON {table}"));
        }
        let name = object_name(self.table.collection.name, "keep up");
        let function = format!("{}.\"{name}\"()", self.table.schema);
        let knowing: Vec<_> = knowing.iter().map(|one| one.layout.to_string()).collect();
        self.missing.at_once.push(keep_up_function(&self.table.schema, &function, &kept));
        self.missing.at_once.push(format!(
            "CREATE OR REPLACE TRIGGER _keep_up BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW \
             WHEN (NEW.layout <> ALL ('{{{}}}'::bigint[])) EXECUTE FUNCTION {function}",
            knowing.join(",")
        ));
    }
}

/// A write that leaves the version alone leaves the document alone too.
fn keep_up_function(
    schema: &str,
    function: &str,
    kept: &BTreeMap<&String, &StoredIndex>,
) -> String {
    let set: String = kept
        .iter()
        .map(|(field, index)| {
            format!(
                "    NEW.\"{}\" := {schema}._read_{}(NEW.data->'{field}');\n",
                index.column, index.of
            )
        })
        .collect();
    format!(
        "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS $keep$\n\
         BEGIN\n    \
             IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN\n        \
                 RETURN NEW;\n    \
             END IF;\n{set}    \
             RETURN NEW;\n\
         END\n$keep$"
    )
}

fn declare(table: &Table, number: i64) -> String {
    let fields: Vec<_> =
        table.collection.indexes.iter().map(|index| format!("\"{}\"", index.field)).collect();
    format!(
        "INSERT INTO {}._declarations (collection, layout, fields, number) \
         VALUES ('{}', {}, '{{{}}}', {number})",
        table.schema,
        table.collection.name,
        table.layout,
        fields.join(",")
    )
}

fn record(table: &Table, index: &Index, state: IndexState, number: i64) -> String {
    let (schema, name, field) = (&table.schema, table.collection.name, index.field);
    format!(
        "INSERT INTO {schema}._indexes \
         (collection, field, type, is_unique, state, column_name, declared_by) \
         VALUES ('{name}', '{field}', '{}', {}, '{}', '{}', {number})",
        type_name(index.value),
        index.unique,
        state.as_str(),
        column_name(field)
    )
}

/// The column as the catalogue has it.
fn column_name(field: &str) -> String {
    column(field).trim_matches('"').to_owned()
}
