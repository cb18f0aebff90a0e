//! Units of work that commit in one call: the call's arguments, and each unit's outcome.

use std::sync::Arc;

use mamey_core::Result;
use mamey_core::criteria::Value;
use mamey_core::store::{CommitOutcome, CommitToken, Origin, SavedReply};
use serde_json::Value as Json;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row};
use uuid::Uuid;

use super::functions::Calls;
use super::lone::One;
use super::work::{Document, Work};
use crate::common::errors::{changed, id_taken};
use crate::postgres::query::text::escape;

/// What became of a unit.
#[derive(Debug)]
pub(crate) enum Outcome {
    Committed {
        transaction: u64,
    },
    Duplicate,
    LaneParked,
    /// A document is at another version.
    Changed {
        collection: &'static str,
        id: Value,
    },
    /// A document's id is taken.
    Taken {
        collection: &'static str,
        id: Value,
    },
}

impl Outcome {
    /// As a commit answers.
    pub(crate) fn into_result(self) -> Result<CommitOutcome> {
        match self {
            Self::Committed { transaction } => {
                Ok(CommitOutcome::Committed(CommitToken(transaction)))
            }
            Self::Duplicate => Ok(CommitOutcome::Duplicate),
            Self::LaneParked => Ok(CommitOutcome::LaneParked),
            Self::Changed { collection, id } => Err(changed(collection, &id)),
            Self::Taken { collection, id } => Err(id_taken(collection, &id)),
        }
    }
}

/// The units of a call, which have nothing in common, and what they lock in one order.
pub(crate) struct Batch<'w> {
    works: &'w [Arc<Work>],
    /// All documents with the place of their unit, in the order of the locks.
    documents: Vec<(usize, &'w Document)>,
    /// The places of each unit's documents in `documents`.
    places: Vec<Vec<i32>>,
}

impl<'w> Batch<'w> {
    pub(crate) fn new(works: &'w [Arc<Work>]) -> Self {
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

    /// The call of a function; `schema` keeps its locks apart from those of other contexts.
    pub(crate) fn call(
        &self,
        calls: &Calls,
        schema: &str,
        now: Option<i64>,
    ) -> Query<'static, Postgres, PgArguments> {
        if let [work] = self.works
            && let Some(one) = One::of(work)
        {
            return one.call(&calls.one, schema, now);
        }
        let call = sqlx::query(AssertSqlSafe(Arc::clone(&calls.many))).bind(now);
        let call = self.bind_receipts(call, schema);
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
        let (mut delivered, mut settled, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
        for (unit, work) in self.units() {
            let Some(receipt) = &work.unit.receipt else {
                continue;
            };
            let id = receipt.envelope.metadata.id.as_uuid();
            if receipt.origin == Origin::Delivery {
                delivered.push((id, unit, work.lane_to_be_free()));
            }
            if let Some(Json::Object(mut becomes)) = work.settled.clone() {
                payloads.push(receipt.envelope.payload.to_vec());
                becomes.insert("unit".to_owned(), unit.into());
                becomes.insert("payload".to_owned(), payloads.len().into());
                settled.push((id, Json::Object(becomes)));
            }
        }
        delivered.sort();
        settled.sort_by_key(|(id, _)| *id);
        let settled: Vec<_> = settled.into_iter().map(|(_, becomes)| becomes).collect();
        let lanes = self.works.iter().filter_map(|work| work.lane.as_deref());
        call.bind(column(&delivered, |(_, unit, _)| *unit))
            .bind(column(&delivered, |(id, _, _)| *id))
            .bind(column(&delivered, |(_, _, lane)| *lane))
            .bind(in_order(lanes.map(|lane| lane_lock(schema, lane))))
            .bind((!settled.is_empty()).then_some(Json::Array(settled)))
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
            .bind(column(&replies, |(_, reply)| &*reply.body))
    }

    fn bind_documents<'q>(&self, call: PgQuery<'q>) -> PgQuery<'q> {
        let documents = &self.documents;
        call.bind(column(documents, |(unit, _)| number(*unit)))
            .bind(column(documents, |(_, document)| table_number(document.table)))
            .bind(column(documents, |(_, document)| document.id_text.as_str()))
            .bind(column(documents, |(_, document)| document.version))
            .bind(column(documents, |(_, document)| document.guards))
    }

    fn bind_steps<'q>(&self, call: PgQuery<'q>) -> PgQuery<'q> {
        let of_unit = |(work, places): (&'w Arc<Work>, &Vec<i32>)| {
            let step =
                |step| (work, places.get(step_place(step)).copied().unwrap_or_default(), step);
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
        let key = |key: &mamey_core::message::Key| escape(key.as_str()).into_owned();
        call.bind(column(&sent, |(unit, _, _)| *unit))
            .bind(column(&sent, |(_, envelope, _)| slot(envelope.metadata.slot())))
            .bind(column(&sent, |(_, envelope, _)| envelope.metadata.key.as_ref().map(key)))
            .bind(column(&sent, |(_, envelope, _)| envelope.metadata.time.as_micros()))
            .bind(column(&sent, |(_, _, metadata)| *metadata))
            .bind(column(&sent, |(_, envelope, _)| &*envelope.payload))
    }

    /// What the function answered, for each unit.
    pub(crate) fn outcomes(&self, row: &PgRow) -> Result<Vec<Outcome>, sqlx::Error> {
        let answer: Vec<i64> = row.try_get(0)?;
        let unreadable = || sqlx::Error::Decode("the commit's answer has another shape".into());
        let (transaction, refusals) = answer.split_first().ok_or_else(unreadable)?;
        let transaction = transaction.unsigned_abs();
        let mut worst: Vec<Option<(i64, i64)>> = vec![None; self.works.len()];
        for refusal in refusals.chunks(3) {
            let [unit, reason, place] = refusal else {
                return Err(unreadable());
            };
            let unit = place_of(*unit).and_then(|at| worst.get_mut(at)).ok_or_else(unreadable)?;
            // The least reason is the one that comes first for a unit alone.
            if unit.is_none_or(|(known, _)| *reason < known) {
                *unit = Some((*reason, *place));
            }
        }
        let outcome = |refusal: Option<(i64, i64)>| match refusal {
            None => Some(Outcome::Committed { transaction }),
            Some((reason, place)) => self.refusal(reason, place),
        };
        worst.into_iter().map(|refusal| outcome(refusal).ok_or_else(unreadable)).collect()
    }

    fn refusal(&self, reason: i64, place: i64) -> Option<Outcome> {
        let document = || {
            let (_, document) = self.documents.get(place_of(place)?)?;
            Some((document.collection, document.id.clone()))
        };
        Some(match reason {
            1 | 3 => Outcome::Duplicate,
            2 => Outcome::LaneParked,
            4 => document().map(|(collection, id)| Outcome::Changed { collection, id })?,
            5 => document().map(|(collection, id)| Outcome::Taken { collection, id })?,
            _ => return None,
        })
    }
}

type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

fn step_place(step: &super::work::Step) -> usize {
    step.document
}

/// What is bound for one column of some rows.
pub(crate) fn column<R, C>(rows: &[R], of: impl Fn(&R) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

/// The number of the advisory lock of a lane.
pub(crate) fn lane_lock(schema: &str, lane: &str) -> i64 {
    advisory_lock("lane", schema, lane)
}

/// The number of the advisory lock of a key.
pub(crate) fn key_lock(schema: &str, key: &str) -> i64 {
    advisory_lock("key", schema, key)
}

/// All builds must number alike.
fn advisory_lock(kind: &str, schema: &str, name: &str) -> i64 {
    let named = format!("mamey {kind} {schema} {name}");
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, named.as_bytes());
    digest.as_u64_pair().0.cast_signed()
}

/// Each lock once, in the order in which all calls take them.
fn in_order(locks: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut locks: Vec<_> = locks.collect();
    locks.sort_unstable();
    locks.dedup();
    locks
}

/// A place as SQL counts it, from 1. Batches are far smaller than its range.
fn number(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX - 1) + 1
}

fn place_of(number: i64) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}

/// Collections are counted from 0, and far fewer than its range.
pub(crate) fn table_number(table: usize) -> i32 {
    i32::try_from(table).unwrap_or(i32::MAX)
}

/// There are 64 slots.
pub(crate) fn slot(slot: u16) -> i16 {
    i16::try_from(slot).unwrap_or(i16::MAX)
}
