//! How partitions are shared among instances: the rules that every store follows.

use mamey_core::Error;
use mamey_core::store::LeaseRequest;

/// All partitions divided by the living instances, rounded up.
pub(crate) fn fair_share(partitions: u16, living: usize) -> usize {
    usize::from(partitions).div_ceil(living.max(1))
}

/// A slot must mean one partition to everyone, so two counts cannot live side by side.
pub(crate) fn other_partition_count(request: &LeaseRequest, other: u16) -> Error {
    let role = request.role.as_str();
    Error::misconfigured(format!(
        "this instance uses {} partitions as {role}, while a living one uses {other}: \
         give all instances one number, and change it only while none runs",
        request.partitions
    ))
}
