//! An idempotency key needs a command and a reply that are serde.

use mamey::{Command, RunningService};
use serde::{Deserialize, Serialize};

#[derive(Clone, Command)]
#[command(reply = u64)]
struct Charge {
    cents: i64,
}

#[derive(Clone, Command, Serialize)]
#[command(reply = Receipt)]
struct Pay {
    cents: i64,
}

struct Receipt;

#[derive(Clone, Command, Serialize)]
#[command(reply = Slip)]
struct Refund {
    cents: i64,
}

#[derive(Deserialize)]
struct Slip;

fn calls(service: &RunningService) {
    let _ = service.send(Charge { cents: 1 }).idempotency_key("k");
    let _ = service.send(Pay { cents: 1 }).idempotency_key("k");
    let _ = service.send(Refund { cents: 1 }).idempotency_key("k");
}

fn main() {}
