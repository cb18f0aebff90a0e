//! Passes the bytes of one direction on: late, not now, or only so many.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::counts::Turns;
use super::mode::{Control, Direction, Mode};

/// The most bytes that are passed on at once.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// How many chunks may be on their way at a time: with 16 KiB each, 1 MiB.
const CHUNKS_MAX: usize = 64;

/// Why a connection ends before both sides have hung up.
pub(super) enum End {
    /// Its bytes have passed; see [`Mode::CutAfter`].
    Cut,
    /// One side has broken it.
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Bytes on their way.
struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

/// Passes on what `from` says until it hangs up, and then hangs up on `to`.
pub(super) async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    control: watch::Receiver<Control>,
    turns: &Turns<'_>,
) -> Result<(), End> {
    let (way, arrivals) = mpsc::channel(CHUNKS_MAX);
    let mut exit =
        Exit { to, direction, control: control.clone(), turns, passed: Passed::default() };
    tokio::try_join!(receive(from, way, control), exit.deliver(arrivals))?;
    Ok(())
}

/// Reads as bytes come, so that a delay holds each of them up and not the throughput.
async fn receive(
    mut from: ReadHalf<'_>,
    way: mpsc::Sender<Chunk>,
    control: watch::Receiver<Control>,
) -> Result<(), End> {
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    let mut due = Instant::now();
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        // Not before the chunk ahead of it: jitter delays, it does not reorder.
        due = due.max(Instant::now() + delay(control.borrow().mode));
        let bytes = buffer.iter().take(read).copied().collect();
        if way.send(Chunk { due, bytes }).await.is_err() {
            return Ok(());
        }
    }
}

fn delay(mode: Mode) -> Duration {
    match mode {
        Mode::Delay { one_way, jitter } => one_way + jitter.mul_f64(fastrand::f64()),
        _ => Duration::ZERO,
    }
}

/// Where bytes leave the proxy.
struct Exit<'a, 'b> {
    to: WriteHalf<'a>,
    direction: Direction,
    control: watch::Receiver<Control>,
    turns: &'a Turns<'b>,
    passed: Passed,
}

/// How many bytes have passed since the mode last changed.
#[derive(Default)]
struct Passed {
    changes: u64,
    bytes: u64,
}

impl Exit<'_, '_> {
    async fn deliver(&mut self, mut arrivals: mpsc::Receiver<Chunk>) -> Result<(), End> {
        while let Some(chunk) = arrivals.recv().await {
            if chunk.due > Instant::now() {
                tokio::time::sleep_until(chunk.due).await;
            }
            self.pass(&chunk.bytes).await?;
        }
        self.loud().await;
        // The other side may be gone altogether by now, and then needs no end of the stream.
        let _ = self.to.shutdown().await;
        Ok(())
    }

    async fn pass(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.loud().await;
        let budget = self.budget();
        let allowed = budget.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        let passing = bytes.get(..allowed).unwrap_or(bytes);
        let len = passing.len() as u64;
        if len > 0 {
            self.passed.bytes += len;
            self.turns.passes(self.direction, len);
            self.to.write_all(passing).await?;
        }
        if budget == Some(len) { Err(End::Cut) } else { Ok(()) }
    }

    /// How many bytes may pass until the connection is cut; none: it is not.
    fn budget(&mut self) -> Option<u64> {
        let Control { mode, changes, .. } = *self.control.borrow();
        if self.passed.changes != changes {
            self.passed = Passed { changes, bytes: 0 };
        }
        match mode {
            Mode::CutAfter { direction, bytes } if direction == self.direction => {
                Some(bytes.saturating_sub(self.passed.bytes))
            }
            _ => None,
        }
    }

    async fn loud(&mut self) {
        // The proxy is gone if this fails, and with it this task in a moment.
        let _ = self.control.wait_for(|control| control.mode != Mode::Silent).await;
    }
}
