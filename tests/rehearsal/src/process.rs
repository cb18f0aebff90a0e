//! A process of the service, as the rehearsal holds it: its pipes, its answers and its end.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::builds::Build;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::protocol::{Answer, Order};

/// How many orders may wait for a process.
const ORDERS_MAX: usize = 1024;

/// How long a process may take to be ready, the additions of an index included.
const BEGIN_MAX: Duration = Duration::from_secs(90);

/// How long a process may take to end in order.
const END_MAX: Duration = Duration::from_secs(60);

/// A process that was started.
pub(crate) struct Process {
    pub(crate) build: Build,
    name: String,
    child: Child,
    pipes: Arc<Pipes>,
}

/// The way to a process, which others may use while it is being stopped.
pub(crate) struct Pipes {
    orders: mpsc::Sender<Order>,
    /// None when it has ended: there will be no more answers.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>,
    ready: watch::Sender<bool>,
    ids: AtomicU64,
}

impl Process {
    /// Starts a build and waits until it is ready.
    pub(crate) async fn start(build: Build, number: u64, place: &Place) -> Result<Self> {
        let name = format!("{number:02}-{}", build.as_str());
        let mut child = spawn(build, place, &place.log(&name))?;
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let pipes = Arc::new(Pipes {
            orders,
            waiting: Mutex::new(Some(HashMap::new())),
            ready: watch::Sender::new(false),
            ids: AtomicU64::new(0),
        });
        if let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) {
            tokio::spawn(write_orders(stdin, taken));
            tokio::spawn(read_answers(stdout, Arc::clone(&pipes)));
        }
        let process = Self { build, name, child, pipes };
        let mut ready = process.pipes.ready.subscribe();
        let is_ready = timeout(BEGIN_MAX, ready.wait_for(|ready| *ready)).await;
        if is_ready.is_ok_and(|ready| ready.is_ok()) && process.pipes.is_open() {
            return Ok(process);
        }
        Err(Error::Worker(format!("{} did not start; see its log", process.name)))
    }

    pub(crate) fn pipes(&self) -> &Arc<Pipes> {
        &self.pipes
    }

    /// Shuts it down in order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.pipes.order(Order::Stop);
        let ended = timeout(END_MAX, self.child.wait()).await;
        self.pipes.close();
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                Err(Error::Worker(format!("{} ended with {status}; see its log", self.name)))
            }
            Ok(Err(cause)) => Err(Error::system("waiting for a process")(cause)),
            Err(_) => Err(Error::Worker(format!("{} did not end within {END_MAX:?}", self.name))),
        }
    }

    /// Kills it.
    pub(crate) async fn kill(mut self) -> Result<()> {
        let killed = self.child.kill().await;
        self.pipes.close();
        killed.map_err(Error::system("killing a process"))
    }
}

impl Pipes {
    pub(crate) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Sends an order of this number, and awaits its answer; `None` when there will be none.
    pub(crate) async fn ask(&self, order: impl FnOnce(u64) -> Order) -> Option<Answer> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.lock().as_mut()?.insert(id, answer);
        self.orders.send(order(id)).await.ok()?;
        answered.await.ok()
    }

    fn order(&self, order: Order) {
        // A process that takes no orders is killed in the end.
        let _full = self.orders.try_send(order);
    }

    fn answer(&self, answer: Answer) {
        let Some(id) = answer.id() else {
            self.ready.send_replace(true);
            return;
        };
        let waiting = self.lock().as_mut().and_then(|waiting| waiting.remove(&id));
        if let Some(waiting) = waiting {
            let _gave_up = waiting.send(answer);
        }
    }

    fn close(&self) {
        *self.lock() = None;
        // Whoever waits for it to be ready sees that it is not.
        self.ready.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Answer>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(build: Build, place: &Place, log: &Path) -> Result<Child> {
    let log = File::create(log).map_err(Error::system("making a log"))?;
    let program = std::env::current_exe().map_err(Error::system("finding this program"))?;
    Command::new(program)
        .args(["worker", "--build", build.as_str()])
        .args(["--store", place.store_url(), "--transport", place.transport_url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::system("starting a process"))
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

async fn read_answers(stdout: ChildStdout, pipes: Arc<Pipes>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // The last line of a killed process may be incomplete.
        if let Ok(answer) = serde_json::from_str(&line) {
            pipes.answer(answer);
        }
    }
    pipes.close();
}
