//! The one error type of Mamey: what happened, whether to retry, and where.

mod failure;
mod kind;
mod rejection;
mod result;

pub use failure::Error;
pub use kind::{ErrorKind, Retry};
pub use rejection::Rejection;
pub use result::{Result, ResultExt};

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Empty;
    impl fmt::Display for Empty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an order needs at least one line")
        }
    }
    impl StdError for Empty {}
    impl Rejection for Empty {
        fn code(&self) -> &'static str {
            "orders.empty"
        }
    }

    fn place() -> Result<()> {
        Err(Empty)?;
        Ok(())
    }

    #[test]
    fn a_rejection_keeps_its_code_and_type_and_is_never_retried() {
        let error = place().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert_eq!(error.retry(), Retry::Never);
        assert_eq!(error.code(), Some("orders.empty"));
        assert!(error.rejection::<Empty>().is_some());
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(ErrorKind::from_name("Rejected"), None);
    }

    #[test]
    fn context_reads_outermost_first() {
        let result: Result<()> = Err(Error::unavailable("connection refused"));
        let error = result
            .with_context(|| "loading orders/42")
            .with_context(|| "handling place-order")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "handling place-order: loading orders/42: connection refused"
        );
        assert_eq!(error.retry(), Retry::Later);
    }
}
