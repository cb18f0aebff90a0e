//! The ways in which a proxy can behave.

use std::time::Duration;

/// How a proxy behaves; see [`FaultProxy::set`](super::FaultProxy::set).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Everything passes at once. Also the way back from every other mode.
    Forward,
    /// Each byte is on its way for `one_way`, and for a random share of `jitter` more, in each
    /// direction. Bytes stay in order. What is on its way keeps its delay when the mode changes.
    Delay {
        /// The delay of one direction: a round trip takes twice as long.
        one_way: Duration,
        /// The most that is added to it.
        jitter: Duration,
    },
    /// Nothing passes and every connection stays open, new ones included, as with a cable pulled.
    /// What was sent meanwhile arrives when the mode changes.
    Silent,
    /// Each connection passes this many bytes more in `direction` and then ends in both: the other
    /// side gets exactly these bytes and then the end of the stream.
    CutAfter {
        /// Whose bytes are counted.
        direction: Direction,
        /// How many pass, from now on or from a new connection's beginning.
        bytes: u64,
    },
    /// Open connections are reset (RST) at once, and new ones as soon as they are accepted.
    Reset,
    /// Open connections pass nothing more and stay open, as behind a firewall that forgot them; new
    /// ones pass everything.
    Forget,
    /// New connections are refused, as when nobody listens. Open ones go on; [`Mode::Reset`]
    /// before it ends them too.
    Refuse,
}

/// The way that bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Replies.
    ToClient,
}

/// What the connections watch.
#[derive(Clone, Copy)]
pub(super) struct Control {
    pub(super) mode: Mode,
    /// Counts the changes of the mode: bytes are counted from the change to [`Mode::CutAfter`].
    pub(super) changes: u64,
    /// Counts the resets. A connection ends when this has grown since it began, so that a reset
    /// reaches it even if another mode follows at once.
    pub(super) resets: u64,
    /// Counts how often the open connections were forgotten, likewise.
    pub(super) forgets: u64,
}

impl Control {
    pub(super) const START: Self = Self { mode: Mode::Forward, changes: 0, resets: 0, forgets: 0 };

    pub(super) fn change(&mut self, mode: Mode) {
        self.mode = mode;
        self.changes += 1;
        self.resets += u64::from(mode == Mode::Reset);
        self.forgets += u64::from(mode == Mode::Forget);
    }
}
