//! What a store must be able to do for a case to run, and how a case runs.

use mamey_core::capabilities::StoreCapabilities;

use super::harness::StoreHarness;
use crate::absent::Absent;
use crate::run;

/// What a store must be able to do for a case to make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the case runs on every store.
    Nothing,
    /// [`StoreCapabilities::durable`].
    Durability,
    /// [`StoreCapabilities::shared`].
    Sharing,
}

impl Needs {
    /// What the store lacks for a case, if it lacks anything.
    fn missing(self, from: &StoreCapabilities) -> Option<&'static str> {
        match self {
            Self::Durability if !from.durable => Some("a store that is durable"),
            Self::Sharing if !from.shared => Some("a store that instances share"),
            Self::Nothing | Self::Durability | Self::Sharing => None,
        }
    }
}

/// Runs a case to its end, or says why it does not run; for the macro.
#[doc(hidden)]
pub fn run(
    name: &str,
    needs: Needs,
    harness: impl AsyncFnOnce() -> Result<StoreHarness, Absent>,
    case: impl AsyncFnOnce(StoreHarness),
) {
    run::to_the_end(name, harness, async |harness| {
        if needs != Needs::Nothing {
            // A context of its own, so that the case finds its contexts unopened.
            let capabilities = harness.context("capabilities").await.capabilities();
            if let Some(missing) = needs.missing(&capabilities) {
                return run::report_not_run(capabilities.name, name, missing);
            }
        }
        case(harness).await;
    });
}
