//! A unit of work made ready: checked, and written as PostgreSQL takes it.

use bytes::Bytes;
use mamey_core::Result;
use mamey_core::criteria::{Collection, Value};
use mamey_core::store::{Change, Expected, UnitOfWork, Write};
use serde_json::Value as Json;

use super::claims::{self, Claim, Size};
use super::receipt;
use crate::postgres::query::values::{escape, value_text};
use crate::postgres::schema::table::Table;
use crate::postgres::schema::tables::Tables;
use crate::sql::errors::not_json;
use crate::sql::rows::{stored, to_json};

/// A unit of work made ready.
pub(crate) struct Work {
    pub(crate) unit: UnitOfWork,
    /// What is locked and checked, in the order of the locks.
    pub(crate) documents: Vec<Document>,
    /// What is done afterwards, in this order.
    pub(crate) steps: Vec<Step>,
    /// The lane of the message that is being handled.
    pub(crate) lane: Option<String>,
    /// What is recorded of that message, unless its mark in the inbox is all.
    pub(crate) outcome: Option<Json>,
    /// The metadata of the messages that are sent.
    pub(crate) metadata: Vec<String>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) size: Size,
}

/// A document that must be at a version.
pub(crate) struct Document {
    /// The place of its collection among the store's tables.
    pub(crate) table: usize,
    pub(crate) collection: &'static str,
    pub(crate) id: Value,
    pub(crate) id_text: String,
    /// `None` for one that must be absent.
    pub(crate) version: Option<i64>,
    /// Whether it is only guarded.
    pub(crate) guards: bool,
}

/// A change to a document.
pub(crate) struct Step {
    /// The document's place among the unit's.
    pub(crate) document: usize,
    pub(crate) kind: StepKind,
    /// The document's new text, by the place of the write in the unit.
    data: Option<usize>,
    /// Its indexed values, as a JSON array of texts.
    pub(crate) index: Option<String>,
}

/// The numbers by which the function knows the steps. A unit takes its steps in this order, so that
/// a unique value may move between its documents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StepKind {
    Remove = 0,
    GiveUp = 1,
    Update = 2,
    Add = 3,
}

impl Work {
    pub(crate) fn new(tables: &Tables, unit: UnitOfWork) -> Result<Self> {
        let documents = documents(tables, &unit)?;
        let steps = steps(tables, &unit, &documents)?;
        let receipt = unit.receipt.as_ref();
        let lane = receipt.and_then(|receipt| receipt.envelope.lane());
        let outcome = receipt.map(receipt::outcome).transpose()?.flatten();
        let metadata: Vec<_> =
            unit.outbox.iter().map(|sent| to_json(&sent.metadata)).collect::<Result<_>>()?;
        let lane = lane.map(|lane| escape(lane.as_str()).into_owned());
        let claims = claims::of(&unit, lane.as_deref());
        let size = size(&unit, &documents, &metadata);
        Ok(Self { unit, documents, steps, lane, outcome, metadata, claims, size })
    }

    /// The lane that must not be parked for the unit to commit; none for a unit that parks its message
    /// or takes it from parking.
    pub(crate) fn lane_to_be_free(&self) -> Option<&str> {
        let receipt = self.unit.receipt.as_ref()?;
        let checks =
            mamey_core::inject_fault!("parked-key-unchecked", false, receipt.needs_free_lane());
        self.lane.as_deref().filter(|_| checks)
    }
}

impl Step {
    /// The document's new text.
    pub(crate) fn data<'u>(&self, unit: &'u UnitOfWork) -> Option<&'u str> {
        match &unit.writes.get(self.data?)?.change {
            // `steps` has checked that it is text.
            Change::Put { data, .. } => std::str::from_utf8(data).ok(),
            Change::Remove => None,
        }
    }
}

fn documents(tables: &Tables, unit: &UnitOfWork) -> Result<Vec<Document>> {
    let written = unit.writes.iter().map(|write| {
        let version = match write.expected {
            Expected::Absent => None,
            Expected::Version(version) => Some(version),
        };
        (write.collection, &write.id, version, false)
    });
    let guarded =
        unit.guards.iter().map(|guard| (guard.collection, &guard.id, Some(guard.version), true));
    let mut documents = Vec::with_capacity(unit.writes.len() + unit.guards.len());
    for (collection, id, version, guards) in written.chain(guarded) {
        documents.push(Document {
            table: tables.get(collection)?.0,
            collection: collection.name,
            id: id.clone(),
            id_text: value_text(id).unwrap_or_default().into_owned(),
            version: version.map(stored),
            guards,
        });
    }
    documents.sort_by(|one, two| one.order().cmp(&two.order()));
    Ok(documents)
}

impl Document {
    /// The order in which all units lock documents. Of a document that is written and guarded, the
    /// stronger lock comes first.
    pub(crate) fn order(&self) -> (usize, &Value, bool) {
        (self.table, &self.id, self.guards)
    }

    /// The table as SQL numbers it. There are far fewer than the range holds.
    pub(crate) fn table_number(&self) -> i32 {
        i32::try_from(self.table).unwrap_or(i32::MAX)
    }
}

fn steps(tables: &Tables, unit: &UnitOfWork, documents: &[Document]) -> Result<Vec<Step>> {
    let mut steps = Vec::with_capacity(unit.writes.len());
    let mut to_give_up = Vec::new();
    for (at, write) in unit.writes.iter().enumerate() {
        let (number, table) = tables.get(write.collection)?;
        let sought = (number, &write.id, false);
        // Every write is among the documents, so it is found.
        let Ok(document) = documents.binary_search_by(|other| other.order().cmp(&sought)) else {
            continue;
        };
        if updates_unique(write, table) {
            to_give_up.push(Step { document, kind: StepKind::GiveUp, data: None, index: None });
        }
        steps.extend(step(write, at, document)?);
    }
    if to_give_up.len() > 1 {
        steps.append(&mut to_give_up);
    }
    // Within a kind in the order of the locks, so that few units wait for one another.
    steps.sort_by_key(|step| (step.kind, step.document));
    Ok(steps)
}

fn updates_unique(write: &Write, table: &Table) -> bool {
    let puts = matches!(write.change, Change::Put { .. });
    puts && write.expected != Expected::Absent && table.has_unique()
}

fn step(write: &Write, at: usize, document: usize) -> Result<Option<Step>> {
    Ok(match (&write.change, write.expected) {
        // Nothing to do but the check, which comes with the lock.
        (Change::Remove, Expected::Absent) => None,
        (Change::Remove, Expected::Version(_)) => {
            Some(Step { document, kind: StepKind::Remove, data: None, index: None })
        }
        (Change::Put { data, index }, expected) => {
            check_text(write.collection, &write.id, data)?;
            let adds = expected == Expected::Absent;
            let kind = if adds { StepKind::Add } else { StepKind::Update };
            let texts: Vec<_> = index.iter().map(value_text).collect();
            let index = (!texts.is_empty()).then(|| to_json(&texts)).transpose()?;
            Some(Step { document, kind, data: Some(at), index })
        }
    })
}

/// Refuses a document that is no text.
fn check_text(collection: &Collection, id: &Value, data: &Bytes) -> Result<()> {
    let checked = std::str::from_utf8(data);
    checked.map(drop).map_err(|cause| not_json(collection.name, id, cause))
}

fn size(unit: &UnitOfWork, documents: &[Document], metadata: &[String]) -> Size {
    let data = |write: &Write| match &write.change {
        Change::Put { data, .. } => data.len(),
        Change::Remove => 0,
    };
    let payloads: usize = unit.outbox.iter().map(|sent| sent.payload.len()).sum();
    let bytes = unit.writes.iter().map(data).sum::<usize>()
        + metadata.iter().map(String::len).sum::<usize>()
        + payloads
        + unit.receipt.as_ref().map_or(0, |receipt| receipt.envelope.payload.len())
        + unit.reply.as_ref().map_or(0, |reply| reply.body.len());
    Size { items: documents.len() + unit.outbox.len(), bytes }
}
