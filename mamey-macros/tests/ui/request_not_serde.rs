//! A command or query with a name on the wire has to be serde, and so has its reply.

use mamey_macros::{Command, Query};
use serde::{Deserialize, Serialize};

#[derive(Query)]
#[query(name = "catalog.get-price", crate = mamey_core)]
struct GetPrice;

#[derive(Clone, Command, Serialize, Deserialize)]
#[command(name = "catalog.reserve", reply = Reserved, crate = mamey_core)]
struct Reserve;

struct Reserved;

fn main() {}
