//! Keeps payloads out of the driver's logs: it would print each message that the broker returns.

use std::cell::RefCell;

use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// The module of the driver that prints returned messages with their payloads, as warnings. The
/// publisher reports what a return means.
const PRINTS_PAYLOADS: &str = "lapin::returned_messages";

thread_local! {
    /// The filter of this thread, kept until the thread ends.
    static INSTALLED: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Passes on everything except what prints payloads.
struct LogFilter {
    inner: Dispatch,
    max_level: LevelFilter,
}

/// Filters the logs of this thread until it ends. Called on the driver's thread that reads a
/// connection: only that thread prints what arrives.
pub(super) fn install() {
    let inner = dispatcher::get_default(Clone::clone);
    if inner.is::<LogFilter>() {
        return;
    }
    let filter = LogFilter { inner, max_level: LevelFilter::current() };
    let guard = dispatcher::set_default(&Dispatch::new(filter));
    INSTALLED.with_borrow_mut(|installed| *installed = Some(guard));
}

fn prints_payloads(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(PRINTS_PAYLOADS)
}

impl Subscriber for LogFilter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match prints_payloads(metadata) {
            true => Interest::never(),
            false => self.inner.register_callsite(metadata),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !prints_payloads(metadata) && self.inner.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max_level)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.inner.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.inner.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.inner.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.inner.event(event);
    }

    fn enter(&self, span: &Id) {
        self.inner.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.inner.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.inner.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.inner.try_close(id)
    }
}
