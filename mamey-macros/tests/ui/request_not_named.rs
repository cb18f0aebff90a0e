//! A query without a name on the wire stays in its process.

use mamey_core::{ReadContext, Result};
use mamey_macros::Query;

#[derive(Query)]
#[query(reply = u64, crate = mamey_core)]
struct GetPrice;

async fn ask(cx: &ReadContext) -> Result<u64> {
    cx.request(GetPrice).to("catalog").await
}

fn main() {}
