//! Makes handlers fail on purpose, and reports how each run ended to the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mamey::{
    Context, Error, Invocation, InvocationKind, Layer, MessageId, Next, Result, async_trait,
};

/// How often this process has run each message: in memory, so that it fails again after a crash.
#[derive(Clone)]
pub(crate) struct Trials {
    runs: Arc<Mutex<HashMap<(String, MessageId), u32>>>,
    report: Arc<dyn Report>,
}

/// Where handlers report how their runs go.
pub(crate) trait Report: Send + Sync {
    /// A handler starts to apply an event.
    fn applies(&self, context: String, key: String, sequence: u64, message: String);

    /// A run of a message with a key has ended.
    fn ended(&self, run: EndedRun);
}

/// How a run of a message ended.
pub(crate) struct EndedRun {
    pub(crate) context: String,
    pub(crate) key: String,
    pub(crate) message: String,
    pub(crate) attempt: u32,
    pub(crate) error: Option<String>,
}

impl Trials {
    pub(crate) fn new(report: impl Report + 'static) -> Self {
        Self { runs: Arc::default(), report: Arc::new(report) }
    }

    /// Reports to the journal that a handler starts to apply an event.
    pub(super) fn applies(&self, cx: &Context, key: &str, sequence: u64) {
        let (context, message) = (cx.name().to_string(), cx.message_id().to_string());
        self.report.applies(context, key.to_owned(), sequence, message);
    }

    /// Fails the given number of times, then lets the message pass.
    pub(super) fn fail_at_first(&self, cx: &Context, failures: u32) -> Result<()> {
        if failures == 0 {
            return Ok(());
        }
        if self.count(cx) > failures {
            self.forget(cx);
            return Ok(());
        }
        Err(Error::timed_out("fails on purpose"))
    }

    /// Whether this process runs the message for the first time.
    pub(super) fn is_first_run(&self, cx: &Context) -> bool {
        let first = self.count(cx) == 1;
        if !first {
            self.forget(cx);
        }
        first
    }

    fn count(&self, cx: &Context) -> u32 {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let count = runs.entry((cx.name().to_string(), cx.message_id())).or_default();
        *count += 1;
        *count
    }

    fn forget(&self, cx: &Context) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.remove(&(cx.name().to_string(), cx.message_id()));
    }
}

/// Reports to the journal how each run of a message with a key ended.
pub(crate) struct Witness(pub(crate) Trials);

#[async_trait]
impl Layer for Witness {
    async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
        let outcome = next.run(invocation).await;
        let key = invocation.metadata.and_then(|metadata| metadata.key.as_ref());
        if let (InvocationKind::Message, Some(metadata), Some(key)) =
            (invocation.kind, invocation.metadata, key)
        {
            self.0.report.ended(EndedRun {
                context: invocation.context.to_string(),
                key: key.to_string(),
                message: metadata.identity().to_string(),
                attempt: invocation.attempt,
                error: outcome.as_ref().err().map(ToString::to_string),
            });
        }
        outcome
    }
}
