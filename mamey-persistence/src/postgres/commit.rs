//! Commits units of work: each is one call of the schema's own function, which is one round trip.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mamey_core::criteria::Value;
use mamey_core::domain::Collection;
use mamey_core::store::{
    Change, CommitOutcome, CommitStore, CommitToken, Expected, InboxStore, Origin, UnitOfWork,
    Write,
};
use mamey_core::{Error, Result};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Row};

use super::error::{
    CHANGED, DUPLICATE, ID_TAKEN, LANE_PARKED, code, is_broken, runs_again, unique_violation,
};
use super::migrate::in_schema;
use super::table::Table;
use super::text::{escape, has_nul_escape, value_text};
use super::{PostgresStore, Shared, envelope, inbox, outbox, parking};
use crate::listeners::Listeners;
use crate::schema::{changed, id_taken, value_taken};

const COMMIT: &str = "SELECT mamey._commit($1::text::jsonb, $2, $3, $4)";

/// How often a unit is sent again that the server ended because it and another waited on each
/// other. Nothing of it was kept, so the same unit may go again.
const DEADLOCK_RETRIES: u32 = 5;

#[async_trait]
impl CommitStore for PostgresStore {
    async fn commit(&self, unit: UnitOfWork) -> Result<CommitOutcome> {
        self.declared.check_unit(&unit)?;
        let commit = self.prepare_commit(&unit)?;
        let announces = (!unit.outbox.is_empty()).then(|| Arc::clone(&self.listeners));
        let run = run(Arc::clone(&self.database), commit, announces);
        // A task of its own, so that a caller who leaves does not stop what was handed over.
        let outcome = tokio::spawn(run)
            .await
            .unwrap_or_else(|_| Err(Failed::Known(Error::unavailable("the commit was cut off"))));
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(Failed::Known(error)) => Err(error),
            Err(Failed::Sql { cause, documents }) => self.refusal(&unit, &documents, cause).await,
        }
    }
}

/// A unit as the arguments of the function.
#[derive(Default)]
pub(super) struct Arguments {
    texts: Vec<String>,
    blobs: Vec<Vec<u8>>,
}

struct Commit {
    sql: String,
    unit: String,
    arguments: Arguments,
    /// The documents by their place among the locks.
    documents: Vec<(&'static str, Value)>,
}

enum Failed {
    Known(Error),
    Sql { cause: sqlx::Error, documents: Vec<(&'static str, Value)> },
}

async fn run(
    database: Arc<Shared>,
    commit: Commit,
    announces: Option<Arc<Listeners>>,
) -> Result<CommitOutcome, Failed> {
    let mut tries = 0;
    let result = loop {
        let call = sqlx::query(AssertSqlSafe(commit.sql.clone()))
            .bind(&commit.unit)
            .bind(&commit.arguments.texts)
            .bind(&commit.arguments.blobs)
            .bind(database.now());
        match database.connections.fetch_one(call).await {
            Err(cause) if runs_again(&cause) && tries < DEADLOCK_RETRIES => tries += 1,
            other => break other,
        }
    };
    // After a lost connection too: the commit may have arrived.
    if let Some(listeners) = announces {
        listeners.notify();
    }
    let number = result.and_then(|row| row.try_get::<i64, _>(0));
    match number {
        Ok(number) => Ok(CommitOutcome::Committed(CommitToken(number.unsigned_abs()))),
        Err(cause) => Err(Failed::Sql { cause, documents: commit.documents }),
    }
}

impl PostgresStore {
    fn prepare_commit(&self, unit: &UnitOfWork) -> Result<Commit> {
        let mut arguments = Arguments::default();
        let mut call = serde_json::Map::new();
        if let Some(receipt) = &unit.receipt {
            call.insert("receipt".to_owned(), parking::receipt(&mut arguments, receipt)?);
        }
        if let Some(reply) = &unit.reply {
            call.insert("reply".to_owned(), inbox::reply(&mut arguments, reply));
        }
        let (locks, documents) = self.locks(&mut arguments, unit)?;
        call.insert("locks".to_owned(), locks);
        call.insert("writes".to_owned(), self.writes(&mut arguments, unit, &documents)?);
        call.insert("outbox".to_owned(), outbox::sent(&mut arguments, &unit.outbox)?);
        Ok(Commit {
            sql: in_schema(&self.schema, COMMIT),
            unit: envelope::to_json(&call)?,
            arguments,
            documents,
        })
    }

    /// What to lock and check, in the one order that all units keep.
    fn locks(
        &self,
        arguments: &mut Arguments,
        unit: &UnitOfWork,
    ) -> Result<(Json, Vec<(&'static str, Value)>)> {
        let written = |write: &Write| {
            let version = match write.expected {
                Expected::Absent => None,
                Expected::Version(version) => Some(version),
            };
            (write.collection, write.id.clone(), version, false)
        };
        let guarded = unit
            .guards
            .iter()
            .map(|guard| (guard.collection, guard.id.clone(), Some(guard.version), true));
        let mut wanted: Vec<_> = unit.writes.iter().map(written).chain(guarded).collect();
        // Of a document that is written and guarded, the stronger lock comes first.
        wanted.sort_by(|one, two| (one.0.name, &one.1, one.3).cmp(&(two.0.name, &two.1, two.3)));
        let mut locks = Vec::with_capacity(wanted.len());
        let mut documents = Vec::with_capacity(wanted.len());
        for (at, (collection, id, version, guards)) in wanted.into_iter().enumerate() {
            let table = self.table(collection)?;
            let sql = arguments.sql(if guards { &table.guard } else { &table.lock });
            let version = version.map(stored);
            locks.push(json!({ "sql": sql, "id": value_text(&id), "version": version, "at": at }));
            documents.push((collection.name, id));
        }
        Ok((Json::Array(locks), documents))
    }

    /// In an order that lets a unique value move between documents of one unit.
    fn writes(
        &self,
        arguments: &mut Arguments,
        unit: &UnitOfWork,
        documents: &[(&'static str, Value)],
    ) -> Result<Json> {
        let mut writes: Vec<_> = unit
            .writes
            .iter()
            .map(|write| Ok((write, self.table(write.collection)?)))
            .collect::<Result<_>>()?;
        // Within a rank in the locks' order, so that units that wait on one another are few.
        writes.sort_by(|(one, of), (two, with)| {
            (rank(one, of), one.collection.name, &one.id).cmp(&(
                rank(two, with),
                two.collection.name,
                &two.id,
            ))
        });
        let unique = writes.iter().filter(|(write, table)| rank(write, table) == UPDATE_UNIQUE);
        let mut steps = Vec::with_capacity(writes.len());
        if unique.clone().count() > 1 {
            for (write, table) in unique {
                if let Some(sql) = &table.give_up {
                    steps.push(json!({ "sql": arguments.sql(sql), "id": value_text(&write.id) }));
                }
            }
        }
        for (write, table) in writes {
            let place =
                |(name, id): &(&str, Value)| *name == table.collection.name && *id == write.id;
            let at = documents.iter().position(place);
            steps.extend(step(arguments, write, table, at)?);
        }
        Ok(Json::Array(steps))
    }

    /// What the server's refusal means, and what to say when nobody knows whether it committed.
    async fn refusal(
        &self,
        unit: &UnitOfWork,
        documents: &[(&'static str, Value)],
        cause: sqlx::Error,
    ) -> Result<CommitOutcome> {
        match code(&cause).as_deref() {
            Some(DUPLICATE) => return Ok(CommitOutcome::Duplicate),
            Some(LANE_PARKED) => return Ok(CommitOutcome::LaneParked),
            Some(CHANGED) => return Err(about(documents, &cause, changed)),
            Some(ID_TAKEN) => return Err(about(documents, &cause, id_taken)),
            _ => {}
        }
        if let Some((table, constraint)) = unique_violation(&cause)
            && let Some(table) = self.tables.get(table.as_str())
            && let Some(field) = table.field_of_index(&constraint)
        {
            return Err(value_taken(table.collection.name, field));
        }
        if is_broken(&cause) && self.took_effect(unit).await {
            return Ok(CommitOutcome::Duplicate);
        }
        Err(self.database.error(cause))
    }

    /// Whether the unit's own mark is there, as far as the database can be asked.
    async fn took_effect(&self, unit: &UnitOfWork) -> bool {
        if let Some(receipt) = &unit.receipt
            && receipt.origin == Origin::Delivery
        {
            return self.was_received(receipt.envelope.metadata.id).await.unwrap_or(false);
        }
        let Some(reply) = &unit.reply else {
            return false;
        };
        let saved = self.saved_reply(reply.command, &reply.key).await;
        saved.is_ok_and(|saved| saved.is_some())
    }
}

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

fn step(
    arguments: &mut Arguments,
    write: &Write,
    table: &Table,
    at: Option<usize>,
) -> Result<Option<Json>> {
    let id = value_text(&write.id);
    Ok(match (&write.change, write.expected) {
        // Nothing to do but the check, which the lock has made.
        (Change::Remove, Expected::Absent) => None,
        (Change::Remove, Expected::Version(_)) => {
            Some(json!({ "sql": arguments.sql(&table.delete), "id": id, "at": at }))
        }
        (Change::Put { data, index }, expected) => {
            let adds = expected == Expected::Absent;
            let sql = arguments.sql(if adds { &table.insert } else { &table.update });
            let data = arguments.text(text_of(write.collection, &write.id, data)?);
            let index: Vec<_> = index.iter().map(value_text).collect();
            Some(json!({ "sql": sql, "id": id, "data": data, "index": index, "at": at }))
        }
    })
}

impl Arguments {
    /// The place of a text.
    pub(super) fn text(&mut self, text: String) -> usize {
        self.texts.push(text);
        self.texts.len()
    }

    /// The place of an SQL text, which many documents may share.
    fn sql(&mut self, sql: &str) -> usize {
        match self.texts.iter().take(SQL_LOOKED_AT).position(|known| known == sql) {
            Some(at) => at + 1,
            None => self.text(sql.to_owned()),
        }
    }

    /// The place of some bytes.
    pub(super) fn blob(&mut self, bytes: &Bytes) -> usize {
        self.blobs.push(bytes.to_vec());
        self.blobs.len()
    }
}

/// How many texts are compared before an SQL text is written once more.
const SQL_LOOKED_AT: usize = 16;

/// The error about the document whose lock the server names.
fn about(
    documents: &[(&'static str, Value)],
    cause: &sqlx::Error,
    error: impl Fn(&str, &Value) -> Error,
) -> Error {
    let raised = cause
        .as_database_error()
        .and_then(|raised| raised.try_downcast_ref::<sqlx::postgres::PgDatabaseError>());
    let place = raised.and_then(|raised| raised.detail()?.parse::<usize>().ok());
    match place.and_then(|place| documents.get(place)) {
        Some((collection, id)) => error(collection, id),
        None => error("a document", &Value::Null),
    }
}

/// What a document must be to be kept as JSON.
fn text_of(collection: &Collection, id: &Value, data: &Bytes) -> Result<String> {
    let name = collection.name;
    let text = String::from_utf8(data.to_vec())
        .map_err(|cause| Error::invalid(format!("{name}/{id} is not JSON: {cause}")))?;
    if has_nul_escape(&text) {
        return Err(Error::invalid(format!(
            "a text in {name}/{id} holds the character NUL, which PostgreSQL does not store"
        )));
    }
    Ok(text)
}

/// A text as JSON that `jsonb` takes.
pub(super) fn escaped(text: &str) -> String {
    escape(text).into_owned()
}

/// A version, epoch or sequence as PostgreSQL keeps it. One beyond its range matches nothing stored.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
