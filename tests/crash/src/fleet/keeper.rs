//! Keeps one slot of the fleet filled: starts its process, and restarts it whenever it has ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::process::Process;
use super::slot::{Shared, Slot};
use crate::error::{Error, Result};
use crate::protocol::Order;

/// The pause before a process is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// The signal by which a process ends at a failpoint.
const SIGABRT: i32 = 6;

pub(super) struct Keeper {
    pub(super) slot: Arc<Slot>,
    pub(super) shared: Arc<Shared>,
    /// For the first process only.
    pub(super) crash_at: Option<String>,
    pub(super) broken_law: Option<String>,
}

impl Keeper {
    /// Runs until the fleet stops and the process has ended.
    pub(super) async fn run(mut self) -> Result<()> {
        let (name, shared) = (self.slot.name.clone(), Arc::clone(&self.shared));
        loop {
            let crash_at = self.crash_at.take();
            let environment =
                self.slot.environment(&shared, crash_at.as_deref(), self.broken_law.as_deref());
            let folder = shared.place.folder();
            let mut started = Process::start(&name, &environment, folder, &shared.journal)?;
            let process = Arc::clone(&started.process);
            tokio::select! {
                () = process.ready() => self.begins(&process),
                _ = started.ended() => {}
            }
            let status = started.ended().await.map_err(Error::system("awaiting a worker"))?;
            self.slot.current.send_replace(None);
            self.ends(status);
            if *shared.stopping.borrow() {
                return ended_in_order(&name, status);
            }
            sleep(RESTART_PAUSE).await;
        }
    }

    fn begins(&self, process: &Arc<Process>) {
        let (name, pid) = (&self.slot.name, process.pid());
        self.shared.journal.note_fault(format!("-- {name} begins as {pid}"));
        self.slot.current.send_replace(Some(Arc::clone(process)));
        let mut last = self.shared.last_restart.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Instant::now());
        if *self.shared.stopping.borrow() {
            process.order(Order::Stop);
        }
    }

    fn ends(&self, status: ExitStatus) {
        self.shared.journal.note_fault(format!("-- {} ends: {status}", self.slot.name));
        if status.signal() == Some(SIGABRT) {
            self.shared.crashed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A requested shutdown must succeed.
fn ended_in_order(name: &str, status: ExitStatus) -> Result<()> {
    // A failpoint may end it even then.
    if status.success() || status.signal() == Some(SIGABRT) {
        return Ok(());
    }
    Err(Error::Worker(format!("worker {name} did not shut down in order: {status}")))
}
