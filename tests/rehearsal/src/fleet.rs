//! The processes that run at the moment, and the load on them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::builds::Build;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::plan::Step;
use crate::process::{Pipes, Process};
use crate::protocol::{Answer, Order, Report};

/// How many accounts there are: more than partitions of any build.
const ACCOUNTS: u32 = 40;

/// How many messages a command sends at most.
const BURST_MAX: u32 = 6;

/// How long to wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How many callers send at a time.
const CALLERS: u32 = 4;

/// The pause of a caller while no process runs.
const PAUSE: Duration = Duration::from_millis(20);

/// The processes that run, the longest first.
#[derive(Default)]
pub(crate) struct Fleet {
    running: Vec<Process>,
    started: u64,
    callers: Callers,
}

/// Where callers find the processes.
#[derive(Clone, Default)]
struct Callers(Arc<Mutex<Vec<Arc<Pipes>>>>);

/// Messages that are being sent.
pub(crate) struct Load(Vec<JoinHandle<()>>);

impl Load {
    /// Waits until all were sent.
    pub(crate) async fn end(self) {
        for caller in self.0 {
            // A caller that panicked has sent fewer: the till knows.
            let _panic = caller.await;
        }
    }
}

impl Fleet {
    /// Takes a step.
    pub(crate) async fn take(&mut self, step: Step, place: &Place) -> Result<()> {
        match step {
            Step::Start(build) => {
                self.started += 1;
                let process = Process::start(build, self.started, place).await?;
                self.callers.lock().push(Arc::clone(process.pipes()));
                self.running.push(process);
            }
            Step::Stop(build) => self.remove(build)?.stop().await?,
            Step::Kill(build) => self.remove(build)?.kill().await?,
        }
        Ok(())
    }

    fn remove(&mut self, build: Build) -> Result<Process> {
        let place = self.running.iter().position(|process| process.build == build);
        let place = place.ok_or_else(|| {
            Error::Worker(format!("no process of the build {} runs", build.as_str()))
        })?;
        let process = self.running.remove(place);
        self.callers.lock().retain(|pipes| !Arc::ptr_eq(pipes, process.pipes()));
        Ok(process)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins to send about this many messages, in commands to any process.
    pub(crate) fn load(&self, messages: u32, rng: &mut Rng) -> Load {
        let caller = |_| {
            let (callers, rng) = (self.callers.clone(), Rng::with_seed(rng.u64(..)));
            tokio::spawn(callers.call(messages / CALLERS, rng))
        };
        Load((0..CALLERS).map(caller).collect())
    }

    /// What each process sees, with its build.
    pub(crate) async fn reports(&self) -> Vec<(Build, Report)> {
        let mut reports = Vec::new();
        for process in &self.running {
            let asked = process.pipes().ask(|id| Order::Report { id });
            if let Ok(Some(Answer::Reported { report, .. })) = timeout(ANSWER_MAX, asked).await {
                reports.push((process.build, report));
            }
        }
        reports
    }

    /// Ends all processes in order.
    pub(crate) async fn end(self) -> Result<()> {
        for process in self.running {
            process.stop().await?;
        }
        Ok(())
    }
}

impl Callers {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Pipes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends messages until this many were sent for certain. More may have been: the till remembers.
    async fn call(self, messages: u32, mut rng: Rng) {
        let mut sent = 0;
        while sent < messages {
            let pipes = rng.choice(self.lock().iter()).cloned();
            let Some(pipes) = pipes else {
                sleep(PAUSE).await;
                continue;
            };
            let (account, count) = (rng.u32(..ACCOUNTS), rng.u32(1..=BURST_MAX));
            let (account, seed) = (format!("a{account:02}"), rng.u64(..));
            let asked = pipes.ask(|id| Order::Burst { id, account, count, seed });
            match timeout(ANSWER_MAX, asked).await {
                Ok(Some(Answer::Done { .. })) => sent += count,
                _ => sleep(PAUSE).await,
            }
        }
    }
}
