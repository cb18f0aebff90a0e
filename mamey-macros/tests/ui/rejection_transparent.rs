//! A transparent variant holds a rejection.

use mamey_macros::Rejection;

#[derive(Debug, thiserror::Error, Rejection)]
#[rejection(crate = mamey_core)]
enum OrderError {
    #[error(transparent)]
    #[rejection(transparent)]
    Io(std::fmt::Error),
}

fn main() {}
