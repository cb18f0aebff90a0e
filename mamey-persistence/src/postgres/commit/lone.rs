//! A lone unit of the usual shape: its call is a function with plain arguments and no loops.

use std::sync::Arc;

use mamey_core::message::Envelope;
use sqlx::postgres::PgRow;

use super::answer::{self, UnitAnswer};
use super::locks::{key_lock, lane_lock};
use super::terms::Terms;
use super::work::{Document, Step, Work};
use crate::postgres::query::bind::{PgQuery, slot};
use crate::postgres::query::values::escape;

/// A unit that handles at most one delivered message, changes at most one document and sends at
/// most one message. It borrows all of it.
pub(crate) struct Lone<'w> {
    work: &'w Work,
    step: Option<(&'w Document, &'w Step)>,
    sent: Option<(&'w Envelope, &'w str)>,
}

impl<'w> Lone<'w> {
    /// `None` for a unit of another shape.
    pub(crate) fn of(work: &'w Work) -> Option<Self> {
        let unit = &work.unit;
        // A message that was delivered and handled has no other outcome than its mark in the inbox.
        if work.outcome.is_some() || unit.reply.is_some() {
            return None;
        }
        let step = match (&*work.documents, &*work.steps) {
            ([], []) => None,
            ([document], [step]) => Some((document, step)),
            _ => return None,
        };
        let sent = match (&*unit.outbox, &*work.metadata) {
            ([], []) => None,
            ([envelope], [metadata]) => Some((envelope, metadata.as_str())),
            _ => return None,
        };
        Some(Self { work, step, sent })
    }

    /// The call of the function.
    pub(crate) fn query(&self, sql: &Arc<str>, terms: &Terms<'_>) -> PgQuery<'static> {
        let call = self.bind_receipt(terms.begin(sql), terms.schema);
        let call = self.bind_step(call);
        self.bind_sent(call, terms.schema)
    }

    /// What the function answered.
    pub(crate) fn answers(&self, row: &PgRow) -> Result<Vec<UnitAnswer>, sqlx::Error> {
        answer::read(row, 1, |_| self.step.map(|(document, _)| document))
    }

    fn bind_receipt<'q>(&self, call: PgQuery<'q>, schema: &str) -> PgQuery<'q> {
        let receipt = self.work.unit.receipt.as_ref();
        let lane = self.work.lane.as_deref();
        call.bind(receipt.map(|receipt| receipt.identity.as_uuid()))
            .bind(self.work.lane_to_be_free())
            .bind(lane.map(|lane| lane_lock(schema, lane)))
    }

    fn bind_step<'q>(&self, call: PgQuery<'q>) -> PgQuery<'q> {
        let (document, step) = self.step.unzip();
        call.bind(document.map(Document::table_number))
            .bind(document.map(|document| document.id_text.as_str()))
            .bind(document.and_then(|document| document.version))
            .bind(step.map(|step| step.kind as i32))
            .bind(step.and_then(|step| step.data(&self.work.unit)))
            .bind(step.and_then(|step| step.index.as_deref()))
    }

    fn bind_sent<'q>(&self, call: PgQuery<'q>, schema: &str) -> PgQuery<'q> {
        let (envelope, metadata) = self.sent.unzip();
        let about = envelope.map(|envelope| &envelope.metadata);
        let key = about.and_then(|about| about.key.as_ref()).map(|key| key.as_str());
        call.bind(key.map(|key| key_lock(schema, key)))
            .bind(about.map(|about| about.id.as_uuid()))
            .bind(about.map(|about| slot(about.slot())))
            .bind(key.map(|key| escape(key).into_owned()))
            .bind(about.map(|about| about.time.as_micros()))
            .bind(metadata)
            .bind(envelope.map(|envelope| &*envelope.payload))
    }
}
