//! Where the processes of a test run: their store, their transport and their folder; starts them again
//! when they end.

use std::any::Any;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use mamey_test_support::{example, postgres, rabbitmq, signal, terminate};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::state::State;
use crate::step::{FOLDER, INSTANCE, Step};

/// How long a test may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Short, so that the work of a process that ended is soon taken over.
pub const LEASE: Duration = Duration::from_secs(2);

/// What the processes share.
pub struct Place {
    folder: TempDir,
    store: String,
    transport: String,
    _guards: Vec<Box<dyn Any>>,
}

/// One process, killed when the test ends.
pub struct Process {
    child: Child,
    name: &'static str,
}

impl Place {
    fn new(steps: &[Step]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("steps.json"), serde_json::to_vec(steps).unwrap())
            .unwrap();
        let store = format!("sqlite:{}", folder.path().join("store.db").display());
        Self { folder, store, transport: "memory:".to_owned(), _guards: Vec::new() }
    }

    /// On SQLite, with the in-process transport, which will send and receive these steps.
    pub fn embedded(steps: &[Step]) -> Self {
        Self::new(steps)
    }

    pub fn on_postgres(mut self, database: postgres::Database) -> Self {
        self.store = format!(
            "{}?connections_max=6&connect_timeout_ms=60000&acquire_timeout_ms=60000",
            database.url()
        );
        self._guards.push(Box::new(database));
        self
    }

    pub fn over_rabbitmq(mut self, vhost: rabbitmq::Vhost) -> Self {
        self.transport = vhost.url().to_owned();
        self._guards.push(Box::new(vhost));
        self
    }

    /// The same through a proxy.
    pub fn through(mut self, transport: String) -> Self {
        self.transport = transport;
        self
    }

    pub fn start(&self, name: &'static str) -> Process {
        State::forget(self.folder.path(), name);
        let process = Command::new(example("aborts_worker"))
            .env("MAMEY_STORE", &self.store)
            .env("MAMEY_TRANSPORT", &self.transport)
            .env("MAMEY_LEASE_MS", LEASE.as_millis().to_string())
            .env("MAMEY_POLL_MS", "50")
            .env("MAMEY_DRAIN_MS", "1000")
            .env(FOLDER, self.folder.path())
            .env(INSTANCE, name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Its log is shown if the test fails.
            .stderr(Stdio::inherit())
            .spawn();
        Process { child: process.unwrap(), name }
    }

    /// Makes a file for which handlers wait.
    pub fn make(&self, file: &str) {
        std::fs::write(self.folder.path().join(file), []).unwrap();
    }

    pub fn state(&self, name: &str) -> State {
        State::read(self.folder.path(), name).unwrap_or_default()
    }

    /// Waits until a process says so.
    pub async fn until(&self, process: &mut Process, what: &str, holds: impl Fn(&State) -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !holds(&self.state(process.name)) {
            let ended = process.child.try_wait().unwrap();
            assert!(ended.is_none(), "the process has ended: {ended:?}");
            let state = self.state(process.name);
            assert!(Instant::now() < patience, "it did not happen in time: {what}, {state:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs processes of these names, each again when it was ended by a signal, until one says that all
    /// is done; then ends them in order. Returns how often one was ended, and the last state.
    pub async fn run(
        &self,
        names: &[&'static str],
        is_done: impl Fn(&State) -> bool,
    ) -> (u32, State) {
        let patience = Instant::now() + PATIENCE;
        let mut processes: Vec<_> = names.iter().map(|name| self.start(name)).collect();
        let mut ends = 0;
        loop {
            for process in &mut processes {
                if let Some(status) = process.child.try_wait().unwrap() {
                    assert!(status.signal().is_some(), "{status}");
                    ends += 1;
                    *process = self.start(process.name);
                }
            }
            let states = names.iter().map(|name| self.state(name));
            if let Some(done) = states.into_iter().find(|state| is_done(state)) {
                for process in processes {
                    process.end();
                }
                return (ends, done);
            }
            let states: Vec<_> = names.iter().map(|name| self.state(name)).collect();
            assert!(Instant::now() < patience, "after {ends} ends: {states:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Process {
    /// On Unix this is SIGKILL: no destructor and no signal handler runs.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order. Whether that takes longer than it may is not what is tested here.
    pub fn end(mut self) -> ExitStatus {
        terminate(&self.child);
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), None, "{status}");
        status
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
