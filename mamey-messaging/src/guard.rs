//! Turns the panic of a backend into an error, so that each call ends with a result.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use mamey_core::{Error, ErrorKind, Result};

/// Awaits a call of a port.
pub(crate) async fn guarded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let caught = AssertUnwindSafe(call).catch_unwind().await;
    caught.unwrap_or_else(|_| Err(Error::new(ErrorKind::Other, "a backend panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        let panics = async { if true { panic!("on purpose") } else { Ok(()) } };
        assert_eq!(guarded(panics).await.unwrap_err().kind(), ErrorKind::Other);
    }
}
