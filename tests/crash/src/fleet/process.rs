//! One worker process: its pipes, the callers that wait for answers, and signals to it.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::protocol::{Answer, Order};

/// How many orders may wait for a worker; a frozen worker takes none.
const ORDERS_MAX: usize = 1024;

/// The arguments and variables of a worker.
pub(super) struct Environment {
    pub(super) hosts: Vec<String>,
    pub(super) variables: BTreeMap<String, String>,
}

/// What an answer belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Thread {
    Command(String),
    Question(u64),
}

/// A worker that was started.
pub(crate) struct Process {
    pid: u32,
    orders: mpsc::Sender<Order>,
    waiting: Mutex<Waiting>,
    ready: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    /// The process has ended: there will be no more answers.
    ended: bool,
    threads: HashMap<Thread, Vec<oneshot::Sender<Answer>>>,
}

/// What the keeper needs of a process.
pub(super) struct Started {
    pub(super) process: Arc<Process>,
    child: Child,
}

impl Process {
    /// Starts a worker under a name.
    pub(super) fn start(
        name: &str,
        environment: &Environment,
        folder: &Path,
        journal: &Journal,
    ) -> Result<Started> {
        let log =
            OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log")));
        let log = log.map_err(Error::system("opening a worker's log"))?;
        let program = std::env::current_exe().map_err(Error::system("finding this program"))?;
        let mut child = Command::new(program)
            .args(["worker", "--hosts", &environment.hosts.join(",")])
            .envs(&environment.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::system("starting a worker"))?;
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let process = Arc::new(Self {
            pid: child.id().unwrap_or_default(),
            orders,
            waiting: Mutex::default(),
            ready: watch::Sender::new(false),
        });
        if let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) {
            tokio::spawn(write_orders(stdin, taken));
            tokio::spawn(read_answers(stdout, Arc::clone(&process), journal.clone()));
        }
        Ok(Started { process, child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it is ready and has not ended.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow() && !self.lock().ended
    }

    /// Completes when it is ready; never if it ends first.
    pub(super) async fn ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender belongs to `self`, so it exists while this waits.
        let _ready = ready.wait_for(|ready| *ready).await;
    }

    /// Sends an order that has no answer.
    pub(crate) fn order(&self, order: Order) {
        // A process that takes no orders has ended or is frozen; it is asked again later.
        let _full = self.orders.try_send(order);
    }

    /// Sends an order and awaits its answer; `None` when there will be none.
    pub(super) async fn answer(&self, thread: Thread, order: Order) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.ended {
                return None;
            }
            waiting.threads.entry(thread).or_default().push(answer);
        }
        self.orders.try_send(order).ok()?;
        answered.await.ok()
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| !self.lock().ended) {
            let _gone = kill_process(pid, signal);
        }
    }

    fn take_answer(&self, answer: Answer, journal: &Journal) {
        let thread = match &answer {
            Answer::Ready => {
                self.ready.send_replace(true);
                return;
            }
            Answer::Done { key, .. } | Answer::Failed { key, .. } => Thread::Command(key.clone()),
            Answer::Told { ask, .. } | Answer::Unable { ask, .. } => Thread::Question(*ask),
            Answer::Applies { .. } | Answer::Ended { .. } => return self.witness(answer, journal),
        };
        for waiting in self.lock().threads.remove(&thread).into_iter().flatten() {
            let _gave_up = waiting.send(answer.clone());
        }
    }

    fn witness(&self, answer: Answer, journal: &Journal) {
        let pid = self.pid;
        match answer {
            Answer::Applies { context, key, sequence, message } => {
                journal.note(&key, format!("[{pid}] {context} applies {sequence} ({message})"));
            }
            Answer::Ended { context, key, message, attempt, error } => {
                let how = error.unwrap_or_else(|| "committed, or already handled".to_owned());
                let line = format!("[{pid}] {context} attempt {attempt} of {message}: {how}");
                journal.note(&key, line);
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Started {
    /// Completes when the process has ended.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        let mut waiting = self.process.lock();
        waiting.ended = true;
        waiting.threads.clear();
        status
    }
}

async fn write_orders(mut stdin: ChildStdin, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let Ok(mut line) = serde_json::to_vec(&order) else { continue };
        line.push(b'\n');
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn read_answers(stdout: ChildStdout, process: Arc<Process>, journal: Journal) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // The last line of a killed process may be incomplete.
        if let Ok(answer) = serde_json::from_str(&line) {
            process.take_answer(answer, &journal);
        }
    }
}
