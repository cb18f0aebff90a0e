//! Step 4: the effect of a command happens once under its idempotency key, with one reply.

use std::pin::Pin;

use mamey_core::store::{CommitOutcome, Store};
use mamey_core::{Error, ErrorKind, Result};

use super::idempotency_key::ScopedKey;
use super::work::Done;

/// Returns what was replied before under the same key, or else what `runs` replies.
///
/// Another call with the same key may commit while this one runs. Then this commit is a duplicate,
/// or the handler fails because it sees the other's effect: the reply of the other is right in both
/// cases. A call with the same key that asks for something else is refused in all cases.
pub(super) async fn once<R>(
    key: Option<&ScopedKey<R>>,
    store: &dyn Store,
    runs: Pin<&mut impl Future<Output = Result<Done<R>>>>,
) -> Result<R> {
    let Some(key) = key else {
        return runs.await.map(|(reply, _)| reply);
    };
    if let Some(reply) = key.saved_reply(store).await? {
        return Ok(reply);
    }
    match runs.await {
        Ok((_, Some(CommitOutcome::Duplicate))) => {
            key.saved_reply(store).await?.ok_or_else(forgotten)
        }
        Ok((reply, _)) => Ok(reply),
        Err(error) => match key.saved_reply(store).await {
            Ok(Some(reply)) => Ok(reply),
            Err(reused) if reused.kind() == ErrorKind::IdempotencyKeyReused => Err(reused),
            _ => Err(error),
        },
    }
}

fn forgotten() -> Error {
    Error::conflict("the reply under this idempotency key has just expired; send the command again")
}
