//! Commits units of work: each is one script, run in a transaction that others may share.

pub(crate) mod receipt;
pub(crate) mod script;
pub(crate) mod transaction;
mod trip;
pub(crate) mod work;
pub(crate) mod writer;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::store::{
    Change, CommitOutcome, CommitStore, CommitToken, Expected, Guard, UnitOfWork, Write,
};

use self::script::{Expect, Script};
use self::transaction::Transaction;
use self::work::{Stop, Work};
use crate::common::errors::{changed, closed, id_taken};
use crate::common::wakeup::Listeners;
use crate::sql::rows::stored;
use crate::sqlite::inbox::save_reply;
use crate::sqlite::outbox::enqueue;
use crate::sqlite::query::values::text_of;
use crate::sqlite::schema::table::Table;
use crate::sqlite::shared::answered;
use crate::sqlite::store::SqliteStore;

/// The tables that a unit writes to, by collection.
type Tables = HashMap<&'static str, Arc<Table>>;

#[async_trait]
impl CommitStore for SqliteStore {
    async fn commit(&self, unit: UnitOfWork) -> Result<CommitOutcome> {
        self.declared.check_unit(&unit)?;
        // Until the unit is in the queue, no build can add a column that its script does not know.
        let builds = self.database.builds.read().await;
        let mixed = builds.tables(&self.declared.context, &self.tables);
        let tables = mixed.as_ref().unwrap_or(&self.tables);
        let commit = Commit {
            script: self.script(&unit, tables, self.database.clock.now())?,
            announces: (!unit.outbox.is_empty()).then(|| Arc::clone(&self.listeners)),
        };
        drop(unit);
        let answer = self.database.enqueue(commit).await?;
        drop(builds);
        answered(answer).await
    }
}

/// A unit as the writer runs it.
struct Commit {
    script: Script,
    /// Who is notified after the commit, if the unit adds to the outbox.
    announces: Option<Arc<Listeners>>,
}

#[async_trait]
impl Work for Commit {
    type Output = CommitOutcome;

    async fn run(
        &mut self,
        transaction: &mut Transaction<'_>,
    ) -> Result<CommitOutcome, Stop<CommitOutcome>> {
        let script = std::mem::take(&mut self.script);
        match script.finish(transaction).await?.refusal {
            None => Ok(CommitOutcome::Committed(CommitToken::new(transaction.number))),
            Some(Ok(outcome)) => Err(Stop::Undo(outcome)),
            Some(Err(error)) => Err(Stop::Refuse(error)),
        }
    }

    fn committed(&self) {
        if let Some(listeners) = &self.announces {
            listeners.notify();
        }
    }
}

impl SqliteStore {
    /// The receipt first, then the reply, then everything that may conflict, then the outbox.
    fn script(&self, unit: &UnitOfWork, tables: &Tables, now: Timestamp) -> Result<Script> {
        let mut script = Script::default();
        if let Some(receipt) = &unit.receipt {
            receipt::record(&mut script, self.context(), receipt, now)?;
        }
        if let Some(reply) = &unit.reply {
            save_reply(&mut script, self.context(), reply, now);
        }
        for guard in &unit.guards {
            self.guard(&mut script, guard)?;
        }
        write_all(&mut script, tables, &unit.writes)?;
        for envelope in &unit.outbox {
            enqueue(&mut script, self.context(), envelope)?;
        }
        Ok(script)
    }

    fn guard(&self, script: &mut Script, guard: &Guard) -> Result<()> {
        let refusal = Err(changed(guard.collection.name, &guard.id));
        script
            .statement(&self.table(guard.collection)?.is_at, Expect::Row(refusal))
            .bind_value(&guard.id)
            .bind(stored(guard.version));
        Ok(())
    }
}

/// Adds the writes in an order in which a conflict is found before a taken value, because a
/// conflict is solved by running the handler again, and in which a unique value can move
/// between two documents of the unit.
fn write_all(script: &mut Script, tables: &Tables, writes: &[Write]) -> Result<()> {
    let mut writes: Vec<_> =
        writes.iter().map(|write| Ok((write, table_of(tables, write)?))).collect::<Result<_>>()?;
    writes.sort_by_key(|(write, table)| rank(write, table));
    let updates_unique = |write: &Write, table: &Table| rank(write, table) == UPDATE_UNIQUE;
    let updated = writes.iter().filter(|(write, table)| updates_unique(write, table));
    let several = updated.count() > 1;
    for (write, table) in &writes {
        if several && updates_unique(write, table) {
            free_unique(script, write, table);
        }
    }
    for (write, table) in writes {
        add_write(script, write, table)?;
    }
    Ok(())
}

fn table_of<'t>(tables: &'t Tables, write: &Write) -> Result<&'t Table> {
    // `check_unit` has found the collection, so this error cannot occur.
    tables.get(write.collection.name).map(AsRef::as_ref).ok_or_else(closed)
}

/// The order of the writes of a unit.
const REMOVE: u8 = 0;
const UPDATE: u8 = 1;
const UPDATE_UNIQUE: u8 = 2;
const ADD: u8 = 3;

fn rank(write: &Write, table: &Table) -> u8 {
    match (&write.change, write.expected) {
        (_, Expected::Absent) => ADD,
        (Change::Remove, Expected::Version(_)) => REMOVE,
        (Change::Put { .. }, Expected::Version(_)) if table.has_unique() => UPDATE_UNIQUE,
        (Change::Put { .. }, Expected::Version(_)) => UPDATE,
    }
}

/// Clears the unique values of a document that a later statement of the unit writes anew.
fn free_unique(script: &mut Script, write: &Write, table: &Table) {
    if let (Some(sql), Expected::Version(version)) = (&table.free_unique, write.expected) {
        let refusal = Err(changed(write.collection.name, &write.id));
        script.statement(sql, Expect::Change(refusal)).bind_value(&write.id).bind(stored(version));
    }
}

fn add_write(script: &mut Script, write: &Write, table: &Table) -> Result<()> {
    let name = write.collection.name;
    let conflict = || Expect::Change(Err(changed(name, &write.id)));
    match (&write.change, write.expected) {
        (Change::Put { data, index }, Expected::Absent) => {
            let taken = Expect::FreeId(id_taken(name, &write.id));
            script.statement(&table.insert, taken).bind_value(&write.id);
            script.bind(1_i64).bind(text_of(name, &write.id, data)?);
            script.bind_values(index).bind_values(&table.other_values(data));
        }
        (Change::Put { data, index }, Expected::Version(version)) => {
            script.statement(&table.update, conflict());
            script.bind(stored(version.saturating_add(1)));
            script.bind(text_of(name, &write.id, data)?);
            script.bind_values(index).bind_values(&table.other_values(data));
            script.bind_value(&write.id).bind(stored(version));
        }
        (Change::Remove, Expected::Absent) => {
            let taken = Expect::NoRow(Err(id_taken(name, &write.id)));
            script.statement(&table.exists, taken).bind_value(&write.id);
        }
        (Change::Remove, Expected::Version(version)) => {
            script.statement(&table.delete, conflict());
            script.bind_value(&write.id).bind(stored(version));
        }
    }
    Ok(())
}
