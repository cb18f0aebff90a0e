//! Runs a test's cleaning up when its guard is dropped, in whatever state the test's runtime is.

use std::future::Future;
use std::pin::Pin;
use std::thread;
use std::time::Duration;

use tokio::runtime;

use crate::Result;
use crate::report::report;

/// How long cleaning up may take; what is left after it waits for the next run's sweep.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(60);

type Job = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Work that is done when this is dropped, before the drop returns.
pub(crate) struct Cleanup {
    name: String,
    job: Option<Job>,
}

impl Cleanup {
    pub(crate) fn new(name: &str, job: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self { name: name.to_owned(), job: Some(Box::pin(job)) }
    }
}

impl Drop for Cleanup {
    /// A thread with a runtime of its own: a drop cannot await, and the test's runtime may be the
    /// thread that drops, or may be unwinding.
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        let thread = thread::Builder::new().name("test-cleanup".to_owned());
        let outcome = match thread.spawn(move || run(job)).map(thread::JoinHandle::join) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("cleaning up panicked".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = outcome {
            // No panic: a test that has taken its server away ends here too.
            report(&format!("{} was left behind: {why}", self.name));
        }
    }
}

fn run(job: Job) -> Result<(), String> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    match runtime.block_on(async { tokio::time::timeout(CLEANUP_TIMEOUT, job).await }) {
        Ok(outcome) => outcome.map_err(|error| error.in_full()),
        Err(elapsed) => Err(elapsed.to_string()),
    }
}
