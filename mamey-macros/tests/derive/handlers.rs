//! What `#[handler]` accepts, and that it leaves the function as it was.

use std::future::Future;

use mamey_core::{Context, ReadContext, Result};
use mamey_macros::handler;

pub(crate) struct PlaceOrder(u64);

/// Documented, visible, with a pattern for its message.
#[handler]
pub(crate) async fn place_order(PlaceOrder(units): PlaceOrder, cx: &Context) -> Result<u64> {
    let _ = cx;
    Ok(units)
}

#[handler]
async fn find_order(_: PlaceOrder, cx: &'_ ReadContext) -> std::result::Result<u64, String> {
    let _ = cx;
    Err("absent".to_owned())
}

fn output_of<M, C, F, R>(_: F) -> &'static str
where
    F: Fn(M, &'static C) -> R,
    R: Future,
    C: 'static,
{
    std::any::type_name::<R::Output>()
}

#[test]
fn checked_functions_stay_what_they_were() {
    assert_eq!(
        output_of::<PlaceOrder, Context, _, _>(place_order),
        std::any::type_name::<Result<u64>>()
    );
    let found = output_of::<PlaceOrder, ReadContext, _, _>(find_order);
    assert_eq!(found, std::any::type_name::<std::result::Result<u64, String>>());
}
