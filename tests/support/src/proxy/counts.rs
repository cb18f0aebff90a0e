//! Counts what goes through a proxy.

use std::ops::Sub;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::mode::Direction;

/// What has gone through a proxy. Subtract an earlier reading to get what happened since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes from clients to the server.
    pub bytes_to_server: u64,
    /// Bytes from the server to clients.
    pub bytes_to_client: u64,
    /// How often a client began to speak: at the start of its connection, and whenever it speaks
    /// after the server has. Requests that are sent without waiting for a reply are one round trip.
    /// A server that speaks without being asked splits them; count where it does not.
    pub round_trips: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections.saturating_sub(earlier.connections),
            bytes_to_server: self.bytes_to_server.saturating_sub(earlier.bytes_to_server),
            bytes_to_client: self.bytes_to_client.saturating_sub(earlier.bytes_to_client),
            round_trips: self.round_trips.saturating_sub(earlier.round_trips),
        }
    }
}

/// The counters of one proxy.
#[derive(Default)]
pub(super) struct Meter {
    connections: AtomicU64,
    bytes_to_server: AtomicU64,
    bytes_to_client: AtomicU64,
    round_trips: AtomicU64,
}

impl Meter {
    pub(super) fn read(&self) -> Counts {
        Counts {
            connections: self.connections.load(Ordering::Acquire),
            bytes_to_server: self.bytes_to_server.load(Ordering::Acquire),
            bytes_to_client: self.bytes_to_client.load(Ordering::Acquire),
            round_trips: self.round_trips.load(Ordering::Acquire),
        }
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::AcqRel);
    }
}

/// Whose turn it is on one connection.
pub(super) struct Turns<'a> {
    meter: &'a Meter,
    client_may_begin: AtomicBool,
}

impl<'a> Turns<'a> {
    pub(super) fn new(meter: &'a Meter) -> Self {
        Self { meter, client_may_begin: AtomicBool::new(true) }
    }

    /// To be called before the bytes are passed on: a client that has its reply finds it counted.
    pub(super) fn passes(&self, direction: Direction, bytes: u64) {
        match direction {
            Direction::ToServer => {
                self.meter.bytes_to_server.fetch_add(bytes, Ordering::AcqRel);
                if self.client_may_begin.swap(false, Ordering::AcqRel) {
                    self.meter.round_trips.fetch_add(1, Ordering::AcqRel);
                }
            }
            Direction::ToClient => {
                self.meter.bytes_to_client.fetch_add(bytes, Ordering::AcqRel);
                self.client_may_begin.store(true, Ordering::Release);
            }
        }
    }
}
