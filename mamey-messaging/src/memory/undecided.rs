//! The messages that contexts of this process have rejected, until an operator decides on them: they
//! wait in their senders' outboxes.

use std::collections::VecDeque;

use mamey_core::clock::{Clock, SystemClock};
use mamey_core::id::new_uuid;
use mamey_core::message::{
    CloudEventsBinary, Codec, ContextName, Envelope, MessageIdentity, Metadata,
};
use mamey_core::transport::{REJECTED_PAGE_BYTES_MAX, RejectReason, RejectedId, RejectedMessage};

use super::topology::Address;

/// How many rejected messages are kept for operators; the oldest are dropped first, and listed again
/// when their publish is repeated. As many discarded ones are remembered.
pub const REJECTED_MESSAGES_MAX: usize = 1000;

/// How many bytes of payload the rejected messages may hold together: 64 MiB.
pub const REJECTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A message that a context has rejected. While it is here, no publish of it reaches that context.
pub(super) struct Rejected {
    id: RejectedId,
    whose: Whose,
    address: Address,
    envelope: Envelope,
    listed: RejectedMessage,
}

/// Which message of which context.
#[derive(PartialEq, Eq)]
struct Whose(ContextName, MessageIdentity);

/// The rejected messages of all contexts, and those that were discarded.
#[derive(Default)]
pub(super) struct Undecided {
    messages: VecDeque<Rejected>,
    bytes: usize,
    discarded: VecDeque<Whose>,
}

/// What a publish finds for one context.
pub(super) enum Held {
    /// It was rejected before, and an operator has yet to decide.
    Rejected(String),
    /// An operator has discarded it.
    Discarded,
}

impl Undecided {
    /// Keeps a message until an operator decides, in place of the same one.
    pub(super) fn push(
        &mut self,
        address: &Address,
        envelope: Envelope,
        reason: RejectReason,
        detail: String,
    ) {
        let (whose, id) =
            (Whose::of(&address.context, &envelope.metadata), RejectedId::new(new_uuid()));
        // A replay and its own publish may both have been under way.
        if let Some(same) = self.messages.iter().find(|it| it.whose == whose).map(|it| it.id) {
            self.take(&address.context, same);
        }
        let listed = listed(id, address, &envelope, reason, detail);
        self.bytes += envelope.payload.len();
        let address = address.clone();
        self.messages.push_back(Rejected { id, whose, address, envelope, listed });
        while self.messages.len() > REJECTED_MESSAGES_MAX || self.bytes > REJECTED_BYTES_MAX {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= oldest.envelope.payload.len();
        }
    }

    /// Whether an operator has decided or has yet to decide on a message for this context.
    pub(super) fn held(&self, context: &ContextName, metadata: &Metadata) -> Option<Held> {
        if self.messages.is_empty() && self.discarded.is_empty() {
            return None;
        }
        let whose = Whose::of(context, metadata);
        if self.discarded.contains(&whose) {
            return Some(Held::Discarded);
        }
        let rejected = self.messages.iter().find(|rejected| rejected.whose == whose);
        rejected.map(|rejected| Held::Rejected(rejected.listed.detail.clone()))
    }

    /// Up to `limit` messages of a context after one of them, or from the first one when that is gone.
    pub(super) fn page(
        &self,
        context: &ContextName,
        after: Option<RejectedId>,
        limit: usize,
    ) -> Vec<RejectedMessage> {
        let mark = after.and_then(|after| self.of(context).position(|it| it.id == after));
        let (mut page, mut bytes) = (Vec::new(), 0);
        for rejected in self.of(context).skip(mark.map_or(0, |at| at + 1)).take(limit) {
            bytes += rejected.envelope.payload.len();
            if bytes > REJECTED_PAGE_BYTES_MAX && !page.is_empty() {
                break;
            }
            page.push(rejected.listed.clone());
        }
        page
    }

    pub(super) fn count(&self, context: &ContextName) -> usize {
        self.of(context).count()
    }

    /// A message of a context, and where it belongs.
    pub(super) fn get(&self, context: &ContextName, id: RejectedId) -> Option<(Address, Envelope)> {
        let rejected = self.of(context).find(|it| it.id == id)?;
        Some((rejected.address.clone(), rejected.envelope.clone()))
    }

    /// Takes out a message that is replayed.
    pub(super) fn remove(&mut self, context: &ContextName, id: RejectedId) -> bool {
        self.take(context, id).is_some()
    }

    /// Takes out a message that no context needs any more; false when it is not there.
    pub(super) fn discard(&mut self, context: &ContextName, id: RejectedId) -> bool {
        let Some(removed) = self.take(context, id) else {
            return false;
        };
        self.discarded.push_back(removed.whose);
        if self.discarded.len() > REJECTED_MESSAGES_MAX {
            self.discarded.pop_front();
        }
        true
    }

    fn of<'s>(&'s self, context: &'s ContextName) -> impl Iterator<Item = &'s Rejected> {
        self.messages.iter().filter(move |rejected| rejected.address.context == *context)
    }

    fn take(&mut self, context: &ContextName, id: RejectedId) -> Option<Rejected> {
        let is_it = |it: &Rejected| it.id == id && it.address.context == *context;
        let removed = self.messages.remove(self.messages.iter().position(is_it)?)?;
        self.bytes -= removed.envelope.payload.len();
        Some(removed)
    }
}

impl Whose {
    fn of(context: &ContextName, metadata: &Metadata) -> Self {
        Self(context.clone(), metadata.identity())
    }
}

/// What an operator sees of a message: it never had other bytes than those of its payload.
fn listed(
    id: RejectedId,
    address: &Address,
    envelope: &Envelope,
    reason: RejectReason,
    detail: String,
) -> RejectedMessage {
    let headers = CloudEventsBinary::default().encode(envelope).map(|wire| wire.properties);
    let headers = headers.unwrap_or_default().into_iter();
    let content_type = ("content-type".to_owned(), envelope.metadata.content_type.to_string());
    RejectedMessage::new(id, address.context.clone(), reason, envelope.payload.clone())
        .with_place(format!("partition {}", address.partition))
        .with_detail(detail)
        .with_rejected_at(SystemClock.now())
        .with_headers(headers.map(|(name, value)| (name.into_owned(), value)).chain([content_type]))
}
