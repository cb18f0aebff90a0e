//! Checks a declaration, says what it needs of stores and transports, and opens it.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::context::Scope;
use mamey_core::message::{ContextName, Direction};
use mamey_core::store::Schema;
use mamey_core::transport::Topology;
use mamey_core::{Error, Result};

use super::{BoundedContext, HANDLER_TIMEOUT_DEFAULT};
use crate::pipeline::Pipeline;
use crate::runtime::unhandled::UnhandledMessages;
use crate::runtime::{ContextRuntime, Resources, UnreadableDocuments};

impl BoundedContext {
    /// Checks the declaration for mistakes.
    ///
    /// ```
    /// use mamey::{BoundedContext, ErrorKind};
    ///
    /// let error = BoundedContext::new("Orders & Co").check().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Misconfigured);
    /// ```
    ///
    /// # Errors
    /// `Misconfigured`, naming every mistake and how to fix it.
    pub fn check(&self) -> Result<()> {
        self.checked_name().map(|_| ())
    }

    /// The collections that it stores, for the database to open it.
    ///
    /// # Errors
    /// As [`BoundedContext::check`].
    pub fn schema(&self) -> Result<Schema> {
        Ok(Schema::new(self.checked_name()?, self.collections.clone()))
    }

    /// What it sends and receives, with its input spread over `partitions`.
    ///
    /// # Errors
    /// As [`BoundedContext::check`].
    pub fn topology(&self, partitions: u16) -> Result<Topology> {
        Ok(Topology::new(self.checked_name()?, partitions)
            .with_handles(self.catalog.names(Direction::Handles).collect())
            .with_forgets(self.registry.ignored().iter().copied().collect())
            .with_publishes(self.catalog.names(Direction::Publishes).collect()))
    }

    /// Opens the context on its store.
    ///
    /// # Errors
    /// As [`BoundedContext::check`].
    pub fn open(self, resources: Resources) -> Result<Arc<ContextRuntime>> {
        let name = self.checked_name()?;
        let Resources { store, clock, ids, requester } = resources;
        let catalog = self.catalog;
        let unreadable = Arc::new(UnreadableDocuments::new(name.clone()));
        let ignored = self.registry.ignored().clone();
        let unhandled = UnhandledMessages::new(name.clone(), ignored, self.unhandled);
        let scope = Scope::new(name, store, clock, ids, catalog, requester)
            .with_unreadable(Arc::clone(&unreadable) as _);
        let pipeline = Pipeline {
            scope: Arc::new(scope),
            layers: self.layers,
            timeout: self.settings.timeout.unwrap_or(HANDLER_TIMEOUT_DEFAULT),
            conflict_retries: self.conflict_retries,
        };
        let (registry, served, retry) = (self.registry, self.served, self.settings.retry.policy());
        let runtime = ContextRuntime::new(pipeline, registry, served, unhandled, retry, unreadable);
        Ok(Arc::new(runtime))
    }

    fn checked_name(&self) -> Result<ContextName> {
        let name = ContextName::new(&self.name)
            .map_err(|error| Error::misconfigured(error.message().to_owned()))?;
        let unanswered = self.served.without_handler(&self.registry, &self.name);
        let both = self.registry.handled_and_ignored().map(|name| {
            format!(
                "message `{name}` is handled and ignored: drop `.on(…)`, or `.ignores::<…>()` and \
                 `.forgets(…)`"
            )
        });
        let no_time = self.settings.timeout == Some(Duration::ZERO);
        let no_time = no_time
            .then(|| "a timeout of zero lets no handler finish: set a longer one".to_owned());
        let problems = self.problems.iter().cloned().chain(unanswered).chain(both);
        let problems: Vec<String> = problems.chain(no_time).collect();
        if problems.is_empty() {
            return Ok(name);
        }
        Err(Error::misconfigured(problems.join("; ")).with_context(format!("declaring `{name}`")))
    }
}
