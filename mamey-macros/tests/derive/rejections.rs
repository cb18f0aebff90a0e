//! Codes of rejections, own and borrowed.

use mamey_core::{ErrorKind, Rejection as _, Result};
use mamey_macros::Rejection;

#[derive(Debug, thiserror::Error, Rejection)]
#[rejection(code = "prices.unknown-product", crate = crate::facade)]
#[error("product {product} has no price")]
struct NoPrice {
    product: &'static str,
}

#[derive(Debug, thiserror::Error, Rejection)]
#[error(transparent)]
#[rejection(transparent, crate = crate::facade)]
struct Wrapped(#[from] NoPrice);

#[derive(Debug, thiserror::Error, Rejection)]
#[rejection(crate = crate::facade)]
enum OrderError {
    #[error("an order needs at least one line")]
    #[rejection(code = "orders.empty")]
    Empty,
    #[error("{0} and {1} do not go together")]
    #[rejection(code = "orders.mixed")]
    Mixed(&'static str, &'static str),
    #[error("{lines} lines are too many")]
    #[rejection(code = "orders.too-large")]
    TooLarge { lines: u32 },
    #[error(transparent)]
    #[rejection(transparent)]
    Price(#[from] NoPrice),
    #[error(transparent)]
    #[rejection(transparent)]
    Wrapped { source: Wrapped },
}

fn price() -> Result<()> {
    let refused: Result<(), OrderError> = Err(NoPrice { product: "rice" }.into());
    Ok(refused?)
}

#[test]
fn every_variant_has_its_code() {
    let wrapped = || Wrapped(NoPrice { product: "rice" });
    let codes = [
        OrderError::Empty.code(),
        OrderError::Mixed("ice", "fire").code(),
        OrderError::TooLarge { lines: 9 }.code(),
        OrderError::Wrapped { source: wrapped() }.code(),
        wrapped().code(),
    ];
    let unknown = "prices.unknown-product";
    assert_eq!(codes, ["orders.empty", "orders.mixed", "orders.too-large", unknown, unknown]);
}

#[test]
fn a_rejection_becomes_an_error_that_keeps_code_message_and_type() {
    let error = price().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(error.code(), Some("prices.unknown-product"));
    assert_eq!(error.message(), "product rice has no price");
    assert!(matches!(error.rejection::<OrderError>(), Some(OrderError::Price(_))));
}
