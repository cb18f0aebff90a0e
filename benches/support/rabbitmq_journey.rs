//! The whole way of a message: a commit in this process, PostgreSQL's outbox, RabbitMQ, and a
//! handler in another process, which commits what it did with the inbox's mark.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command as Program, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, TryStreamExt, stream};
use mamey::{
    Aggregate, BoundedContext, Command, Context, Event, Result, RunningService, Service, Settings,
};
use mamey_test_support::{postgres, rabbitmq};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::support::{Measured, Report};

/// The argument with which this program is the process that handles.
pub(crate) const RECEIVER: &str = "--receiver";

/// Over how many keys the messages are spread.
const KEYS: u32 = 256;

/// How many messages are sent before anything is measured: statements, leases and caches warm up.
const WARM_UP: u32 = 2000;

/// How many messages measure the throughput.
const SATURATED: u32 = 20_000;

/// How many commands run at a time meanwhile.
const SENDERS: usize = 128;

/// The steady load: messages per second, and for how long.
const STEADY_PER_SECOND: u32 = 1000;
const STEADY_SECONDS: u32 = 20;

/// How long the receiver may make no progress before the run fails.
const PATIENCE: Duration = Duration::from_secs(60);

type Done<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "orders")]
struct Order {
    #[aggregate(id)]
    number: u32,
    note: String,
}

#[derive(Clone, Command)]
struct Place(u32);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "bench-sender.placed", key = key)]
struct Placed {
    number: u32,
    key: u32,
    note: String,
}

/// As long as a line of an address.
const NOTE: &str = "Ada Lovelace, 12 St James's Square, London SW1Y 4JH";

async fn place(command: Place, cx: &Context) -> Result<()> {
    let Place(number) = command;
    cx.publish(&Placed { number, key: number % KEYS, note: NOTE.to_owned() })?;
    cx.repository().add(&Order { number, note: NOTE.to_owned() })
}

async fn on_placed(event: Placed, cx: &Context) -> Result<()> {
    tell(event.number, micros());
    cx.repository().add(&Order { number: event.number, note: event.note })
}

/// One clock for both processes: they are on one machine.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros().try_into().unwrap_or(u64::MAX)
}

/// Where the receiver reports what it handles. A thread of its own writes it.
static TOLD: OnceLock<mpsc::Sender<(u32, u64)>> = OnceLock::new();

fn tell(number: u32, began: u64) {
    if let Some(told) = TOLD.get() {
        // The parent that no longer reads has all it needs.
        let _ = told.send((number, began));
    }
}

/// The process that handles: it reports to its parent when it started each message, and ends when its
/// input is closed.
pub(crate) async fn receive() -> Done<()> {
    let (told, telling) = mpsc::channel::<(u32, u64)>();
    TOLD.get_or_init(|| told);
    let receiver = BoundedContext::new("bench-receiver").aggregate::<Order>().on(on_placed);
    let service = Service::from_env()?.host(receiver).start().await?;
    thread::spawn(move || {
        let mut out = std::io::stdout().lock();
        for (number, began) in telling {
            if writeln!(out, "{number} {began}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
    let (end, ended) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    tell(u32::MAX, micros());
    ended.await?;
    Ok(service.shutdown().await?)
}

/// The other process, and when it began to handle each message.
struct Receiver {
    process: Child,
    began: Arc<Mutex<HashMap<u32, u64>>>,
}

impl Receiver {
    fn start(store: &str, transport: &str) -> Done<Self> {
        let mut process = Program::new(env::current_exe()?)
            .arg(RECEIVER)
            .env("MAMEY_STORE", store)
            .env("MAMEY_TRANSPORT", transport)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let told = process.stdout.take().ok_or("the receiver has no output")?;
        let began = Arc::<Mutex<HashMap<u32, u64>>>::default();
        let noted = Arc::clone(&began);
        thread::spawn(move || {
            for line in BufReader::new(told).lines().map_while(std::io::Result::ok) {
                let words = line.split_once(' ');
                let read = words.map(|(number, at)| (number.parse(), at.parse()));
                if let Some((Ok(number), Ok(at))) = read {
                    // The first start counts when a message is handled again.
                    lock(&noted).entry(number).or_insert(at);
                }
            }
        });
        Ok(Self { process, began })
    }

    /// Waits until this many messages were handled.
    async fn until(&self, handled: usize) -> Done<()> {
        let (mut last, mut patience) = (0, Instant::now() + PATIENCE);
        loop {
            let now = lock(&self.began).len();
            if now >= handled {
                return Ok(());
            }
            if now > last {
                (last, patience) = (now, Instant::now() + PATIENCE);
            }
            if Instant::now() > patience {
                return Err(format!("{now} of {handled} were handled, and no progress").into());
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn end(mut self) -> Done<()> {
        drop(self.process.stdin.take());
        match self.process.wait()?.success() {
            true => Ok(()),
            false => Err("the receiver failed".into()),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It must not outlive an error; after `end` there is no process.
        let _ = self.process.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Measures the throughput, and the time from commit to handler under a steady load.
pub(crate) async fn run(report: &mut Report) -> Done<()> {
    let (database, vhost) = (postgres::database().await?, rabbitmq::vhost().await?);
    let receiver = Receiver::start(database.url(), vhost.url())?;
    receiver.until(1).await?;
    let sender = BoundedContext::new("bench-sender")
        .aggregate::<Order>()
        .command(place)
        .publishes::<Placed>();
    let service = Service::new(Settings::default()).store_url(database.url());
    let service = service.transport_url(vhost.url()).host(sender).start().await?;
    let sent = saturate(&service, &receiver, 0..WARM_UP).await?;
    let begin = Instant::now();
    saturate(&service, &receiver, sent..sent + SATURATED).await?;
    let rate = crate::per_second(SATURATED as usize, begin.elapsed());
    report.add(Measured::limit(
        "commit to handler, as fast as possible: rate",
        rate,
        "messages/s",
        None,
    ));
    let sent = sent + SATURATED;
    let service = Arc::new(service);
    let steady = sent..sent + STEADY_PER_SECOND * STEADY_SECONDS;
    let times = steadily(&service, &receiver, steady).await?;
    times.add_to(report);
    service.shutdown().await?;
    receiver.end()
}

/// Commits as fast as possible until everything is handled; returns the next number.
async fn saturate(
    service: &RunningService,
    receiver: &Receiver,
    numbers: std::ops::Range<u32>,
) -> Done<u32> {
    let end = numbers.end;
    let sending =
        stream::iter(numbers).map(|number| async move { service.send(Place(number)).await });
    sending.buffer_unordered(SENDERS).try_collect::<()>().await?;
    // One more: its report that it is ready.
    receiver.until(usize::try_from(end)? + 1).await?;
    Ok(end)
}

/// When commits of a steady load began and ended, by number.
type Commits = Arc<Mutex<HashMap<u32, (u64, u64)>>>;

async fn steadily(
    service: &Arc<RunningService>,
    receiver: &Receiver,
    numbers: std::ops::Range<u32>,
) -> Done<Times> {
    let (commits, failed) = (Commits::default(), Arc::new(AtomicU64::new(0)));
    let mut tick = interval(Duration::from_secs(1) / STEADY_PER_SECOND);
    // Late ticks are caught up, so that the load stays constant.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (end, mut sending) = (numbers.end, JoinSet::new());
    for number in numbers {
        tick.tick().await;
        let (service, commits, failed) =
            (Arc::clone(service), Arc::clone(&commits), Arc::clone(&failed));
        sending.spawn(async move {
            let begun = micros();
            if service.send(Place(number)).await.is_err() {
                failed.fetch_add(1, Ordering::Relaxed);
            }
            lock(&commits).insert(number, (begun, micros()));
        });
        while sending.try_join_next().is_some() {}
    }
    sending.join_all().await;
    receiver.until(usize::try_from(end)? + 1).await?;
    match failed.load(Ordering::Relaxed) {
        0 => Ok(Times::of(&lock(&commits), &lock(&receiver.began))),
        failed => Err(format!("{failed} commands failed").into()),
    }
}

/// Times of a steady load, in milliseconds and sorted.
struct Times {
    commit: Vec<f64>,
    to_handler: Vec<f64>,
    all: Vec<f64>,
}

impl Times {
    fn of(commits: &HashMap<u32, (u64, u64)>, handled: &HashMap<u32, u64>) -> Self {
        // Signed: a handler may start before the sender learns that its commit is done.
        let millis = |from: u64, to: u64| (to as f64 - from as f64) / 1000.0;
        let mut times = Self { commit: vec![], to_handler: vec![], all: vec![] };
        for (number, (begun, committed)) in commits {
            if let Some(handling) = handled.get(number) {
                times.commit.push(millis(*begun, *committed));
                times.to_handler.push(millis(*committed, *handling));
                times.all.push(millis(*begun, *handling));
            }
        }
        for times in [&mut times.commit, &mut times.to_handler, &mut times.all] {
            times.sort_by(f64::total_cmp);
        }
        times
    }

    fn add_to(&self, report: &mut Report) {
        let load = format!("{STEADY_PER_SECOND} a second");
        let targets = [("p50", 0.5, Some(5.0)), ("p99", 0.99, Some(40.0)), ("max", 1.0, None)];
        for (name, share, target) in targets {
            let name = format!("{load}, commit to handler: {name}");
            report.add(Measured::limit(name, quantile(&self.to_handler, share), "ms", target));
        }
        for (what, times) in
            [("the commit itself", &self.commit), ("command to handler", &self.all)]
        {
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                let name = format!("{load}, {what}: {name}");
                report.add(Measured::limit(name, quantile(times, share), "ms", None));
            }
        }
    }
}

/// The quantile of sorted times.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
