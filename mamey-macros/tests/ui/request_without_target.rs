//! A request needs to know whom it is for.

use mamey_core::{ReadContext, Result};
use mamey_macros::Query;
use serde::{Deserialize, Serialize};

#[derive(Query, Serialize, Deserialize)]
#[query(name = "catalog.get-price", reply = u64, crate = mamey_core)]
struct GetPrice;

async fn ask(cx: &ReadContext) -> Result<u64> {
    cx.request(GetPrice).await
}

fn main() {}
