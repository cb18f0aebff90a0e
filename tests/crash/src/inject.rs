//! Injects the planned fault at its moment, and ends it.

use std::time::Duration;

use mamey_test_support::{FaultProxy, Mode};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};
use crate::fault::{Fault, Kind, Link};
use crate::fleet::Fleet;
use crate::journal::Journal;
use crate::place::Place;
use crate::protocol::{Question, Told};

/// How long a late deletion may take, its waiting included.
const LATE_DELETE_MAX: Duration = Duration::from_secs(15);

/// How long connections are refused after they were cut.
const REFUSED: Duration = Duration::from_millis(150);

/// The result of a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Injected {
    /// Whether it happened.
    pub(crate) hit: bool,
    /// When it was over.
    pub(crate) over: Instant,
}

/// Waits for the fault's moment, injects it, and ends it. `answered` counts the answered transfers;
/// the moment has also come when the count ends.
pub(crate) async fn inject(
    fleet: &Fleet,
    place: &Place,
    journal: &Journal,
    fault: Fault,
    mut answered: watch::Receiver<u64>,
) -> Result<Injected> {
    // Dropped at once: the count is locked while the reference exists.
    drop(answered.wait_for(|count| *count >= fault.after_answers).await);
    sleep(fault.delay).await;
    if !matches!(fault.kind, Kind::Failpoint(_)) {
        journal.note_fault(format!("-- {} of process {}", fault.kind, fault.target));
    }
    let hit = breaks(fleet, place, journal, fault).await?;
    if !matches!(fault.kind, Kind::Failpoint(_)) {
        journal.note_fault(format!("-- {} is over", fault.kind));
    }
    Ok(Injected { hit, over: Instant::now() })
}

async fn breaks(fleet: &Fleet, place: &Place, journal: &Journal, fault: Fault) -> Result<bool> {
    match fault.kind {
        Kind::Kill => Ok(signal(fleet, fault, Signal::KILL)),
        Kind::Freeze => Ok(freeze(fleet, fault).await),
        Kind::Cut(link) => with_proxy(fleet, fault, link, cut).await,
        Kind::BlackHole(link) => {
            with_proxy(fleet, fault, link, async |proxy: &FaultProxy| {
                proxy.set(Mode::Silent).await?;
                sleep(fault.lasts).await;
                proxy.set(Mode::Forward).await
            })
            .await
        }
        Kind::Restart(link) => place.restart(link, fault.lasts / 4).await.map(|()| true),
        Kind::ClockJump => {
            fleet.jump(fault.jump_ms);
            Ok(true)
        }
        Kind::LateDelete => Ok(delete_late(fleet, journal).await),
        // The process got it when it started.
        Kind::Failpoint(_) => Ok(false),
    }
}

fn signal(fleet: &Fleet, fault: Fault, signal: Signal) -> bool {
    let process = fleet.slot(fault.target).and_then(|slot| slot.working());
    if let Some(process) = &process {
        process.signal(signal);
    }
    process.is_some()
}

async fn freeze(fleet: &Fleet, fault: Fault) -> bool {
    let frozen = fleet.slot(fault.target).and_then(|slot| slot.working());
    if let Some(process) = &frozen {
        process.signal(Signal::STOP);
        sleep(fault.lasts).await;
        process.signal(Signal::CONT);
    }
    frozen.is_some()
}

async fn delete_late(fleet: &Fleet, journal: &Journal) -> bool {
    let told = fleet.ask("accounts", Question::DeleteLate, LATE_DELETE_MAX).await;
    let Some(Told::DeletedLate { tried, deleted }) = told else { return false };
    journal.note_fault(format!("-- of {tried} late deletions {deleted} succeeded"));
    // Relays still publish what they have already read. Only when they are gone does the loss of a
    // record show.
    for process in fleet.slots.iter().filter_map(|slot| slot.working()) {
        process.signal(Signal::KILL);
    }
    tried > 0
}

async fn cut(proxy: &FaultProxy) -> std::io::Result<()> {
    proxy.set(Mode::Reset).await?;
    proxy.set(Mode::Refuse).await?;
    sleep(REFUSED).await;
    proxy.set(Mode::Forward).await
}

async fn with_proxy(
    fleet: &Fleet,
    fault: Fault,
    link: Link,
    act: impl AsyncFnOnce(&FaultProxy) -> std::io::Result<()>,
) -> Result<bool> {
    let Some(proxy) = fleet.slot(fault.target).and_then(|slot| slot.links.proxy(link)) else {
        return Ok(false);
    };
    act(proxy).await.map_err(Error::system("breaking a link"))?;
    Ok(true)
}
