//! Units of work that commit in one call: the arguments of the function.

use std::sync::Arc;

use mamey_core::message::Key;
use mamey_core::store::{Origin, SavedReply};
use serde_json::Value as Json;
use sqlx::postgres::PgRow;

use super::answer::{self, UnitAnswer};
use super::locks::{in_order, key_lock, lane_lock};
use super::terms::Terms;
use super::work::{Document, Step, Work};
use crate::postgres::query::bind::{PgQuery, column, slot};
use crate::postgres::query::values::escape;

/// The units of a call, which have nothing in common, and the documents that they lock.
pub(crate) struct Batch<'w> {
    works: &'w [Arc<Work>],
    /// All documents with the place of their unit, in the order of the locks.
    documents: Vec<(usize, &'w Document)>,
    /// The places of each unit's documents in `documents`.
    places: Vec<Vec<i32>>,
}

impl<'w> Batch<'w> {
    pub(crate) fn of(works: &'w [Arc<Work>]) -> Self {
        let with_place = |(at, work): (usize, &'w Arc<Work>)| {
            work.documents.iter().map(move |document| (at, document))
        };
        let mut documents: Vec<_> = works.iter().enumerate().flat_map(with_place).collect();
        if works.len() > 1 {
            documents.sort_by(|(_, one), (_, two)| one.order().cmp(&two.order()));
        }
        // The sort is stable and each unit's documents are in this order, so they stay in it.
        let mut places: Vec<Vec<i32>> = works.iter().map(|_| Vec::new()).collect();
        for (place, (unit, _)) in documents.iter().enumerate() {
            if let Some(places) = places.get_mut(*unit) {
                places.push(number(place));
            }
        }
        Self { works, documents, places }
    }

    /// The call of the function.
    pub(crate) fn query(&self, sql: &Arc<str>, terms: &Terms<'_>) -> PgQuery<'static> {
        let schema = terms.schema;
        let call = self.bind_receipts(terms.begin(sql), schema);
        let call = self.bind_replies(call);
        let call = self.bind_documents(call);
        let keys = self.works.iter().flat_map(|work| &work.unit.outbox);
        let keys = keys.filter_map(|sent| sent.metadata.key.as_ref());
        let call = call.bind(in_order(keys.map(|key| key_lock(schema, key.as_str()))));
        let call = self.bind_steps(call);
        self.bind_sent(call)
    }

    fn units(&self) -> impl Iterator<Item = (i32, &'w Work)> {
        self.works.iter().enumerate().map(|(at, work)| (number(at), &**work))
    }

    fn bind_receipts<'q>(&self, call: PgQuery<'q>, schema: &str) -> PgQuery<'q> {
        let (mut delivered, mut outcomes, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
        for (unit, work) in self.units() {
            let Some(receipt) = &work.unit.receipt else {
                continue;
            };
            let id = receipt.identity.as_uuid();
            if receipt.origin == Origin::Delivery {
                delivered.push((id, unit, work.lane_to_be_free()));
            }
            if let Some(Json::Object(mut outcome)) = work.outcome.clone() {
                payloads.push(receipt.envelope.payload.to_vec());
                outcome.insert("unit".to_owned(), unit.into());
                outcome.insert("payload".to_owned(), payloads.len().into());
                outcomes.push((id, Json::Object(outcome)));
            }
        }
        delivered.sort();
        outcomes.sort_by_key(|(id, _)| *id);
        let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        let lanes = self.works.iter().filter_map(|work| work.lane.as_deref());
        call.bind(column(&delivered, |(_, unit, _)| *unit))
            .bind(column(&delivered, |(id, _, _)| *id))
            .bind(column(&delivered, |(_, _, lane)| *lane))
            .bind(in_order(lanes.map(|lane| lane_lock(schema, lane))))
            .bind((!outcomes.is_empty()).then_some(Json::Array(outcomes)))
            .bind(payloads)
    }

    fn bind_replies<'q>(&self, call: PgQuery<'q>) -> PgQuery<'q> {
        let reply = |(unit, work): (i32, &'w Work)| Some((unit, work.unit.reply.as_ref()?));
        let mut replies: Vec<_> = self.units().filter_map(reply).collect();
        let order = |reply: &'w SavedReply| (reply.command, &reply.key);
        replies.sort_by_key(|(_, reply)| order(reply));
        call.bind(column(&replies, |(unit, _)| *unit))
            .bind(column(&replies, |(_, reply)| escape(reply.command).into_owned()))
            .bind(column(&replies, |(_, reply)| escape(&reply.key).into_owned()))
            .bind(column(&replies, |(_, reply)| reply.fingerprint.as_bytes().as_slice()))
            .bind(column(&replies, |(_, reply)| &*reply.body))
    }

    fn bind_documents<'q>(&self, call: PgQuery<'q>) -> PgQuery<'q> {
        let documents = &self.documents;
        call.bind(column(documents, |(unit, _)| number(*unit)))
            .bind(column(documents, |(_, document)| document.table_number()))
            .bind(column(documents, |(_, document)| document.id_text.as_str()))
            .bind(column(documents, |(_, document)| document.version))
            .bind(column(documents, |(_, document)| document.guards))
    }

    fn bind_steps<'q>(&self, call: PgQuery<'q>) -> PgQuery<'q> {
        let of_unit = |(work, places): (&'w Arc<Work>, &Vec<i32>)| {
            let step = |step: &'w Step| {
                (work, places.get(step.document).copied().unwrap_or_default(), step)
            };
            work.steps.iter().map(step).collect::<Vec<_>>()
        };
        let steps: Vec<_> = self.works.iter().zip(&self.places).flat_map(of_unit).collect();
        call.bind(column(&steps, |(_, place, _)| *place))
            .bind(column(&steps, |(_, _, step)| step.kind as i32))
            .bind(column(&steps, |(work, _, step)| step.data(&work.unit)))
            .bind(column(&steps, |(_, _, step)| step.index.as_deref()))
    }

    fn bind_sent<'q>(&self, call: PgQuery<'q>) -> PgQuery<'q> {
        let of_unit = |(unit, work): (i32, &'w Work)| {
            let sent = work.unit.outbox.iter().zip(&work.metadata);
            sent.map(move |(envelope, metadata)| (unit, envelope, metadata.as_str()))
        };
        let sent: Vec<_> = self.units().flat_map(of_unit).collect();
        let key = |key: &Key| escape(key.as_str()).into_owned();
        call.bind(column(&sent, |(unit, _, _)| *unit))
            .bind(column(&sent, |(_, envelope, _)| envelope.metadata.id.as_uuid()))
            .bind(column(&sent, |(_, envelope, _)| slot(envelope.metadata.slot())))
            .bind(column(&sent, |(_, envelope, _)| envelope.metadata.key.as_ref().map(key)))
            .bind(column(&sent, |(_, envelope, _)| envelope.metadata.time.as_micros()))
            .bind(column(&sent, |(_, _, metadata)| *metadata))
            .bind(column(&sent, |(_, envelope, _)| &*envelope.payload))
    }

    /// What the function answered for each unit.
    pub(crate) fn answers(&self, row: &PgRow) -> Result<Vec<UnitAnswer>, sqlx::Error> {
        answer::read(row, self.works.len(), |place| {
            self.documents.get(place).map(|(_, document)| *document)
        })
    }
}

/// A place as SQL counts it, from 1. Batches are far smaller than its range.
fn number(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX - 1) + 1
}
