//! Keeps payloads out of the logs: the driver prints each message that the broker returns.

use std::cell::RefCell;

use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// The module of the driver that prints returned messages with their payloads, as warnings. What a
/// return means is told by whoever published.
const PRINTS_PAYLOADS: &str = "lapin::returned_messages";

thread_local! {
    /// Kept until the thread ends.
    static IN_FORCE: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Passes on everything but what prints payloads.
struct Discreet {
    others: Dispatch,
    max_level: LevelFilter,
}

/// Makes the logs of this thread discreet, for as long as it lives. To be called on the thread of
/// the driver that reads a connection; no other knows what comes.
pub(super) fn be_discreet() {
    let others = dispatcher::get_default(Clone::clone);
    if others.is::<Discreet>() {
        return;
    }
    let discreet = Discreet { others, max_level: LevelFilter::current() };
    let guard = dispatcher::set_default(&Dispatch::new(discreet));
    IN_FORCE.with_borrow_mut(|in_force| *in_force = Some(guard));
}

fn prints_payloads(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(PRINTS_PAYLOADS)
}

impl Subscriber for Discreet {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match prints_payloads(metadata) {
            true => Interest::never(),
            false => self.others.register_callsite(metadata),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !prints_payloads(metadata) && self.others.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max_level)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.others.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.others.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.others.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.others.event(event);
    }

    fn enter(&self, span: &Id) {
        self.others.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.others.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.others.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.others.try_close(id)
    }
}
