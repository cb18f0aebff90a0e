//! One sort key, tied to the aggregate whose field it is.

use std::fmt;
use std::marker::PhantomData;

/// One sort key of a [`Criteria`](super::Criteria).
pub struct Sort<A> {
    pub(super) field: &'static str,
    pub(super) descending: bool,
    of: PhantomData<fn(A)>,
}

impl<A> Sort<A> {
    pub(super) const fn new(field: &'static str, descending: bool) -> Self {
        Self { field, descending, of: PhantomData }
    }
}

impl<A> Clone for Sort<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Sort<A> {}

impl<A> fmt::Debug for Sort<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.descending { "desc" } else { "asc" };
        write!(f, "{} {direction}", self.field)
    }
}
