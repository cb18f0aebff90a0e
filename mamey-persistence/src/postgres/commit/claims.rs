//! What a unit of work claims, so that units which share something are kept apart, and how large it
//! is.

use std::hash::{DefaultHasher, Hash, Hasher};

use mamey_core::store::{Change, UnitOfWork};

/// Something that two units cannot both have at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) hold: Hold,
    /// A digest. Two things that share one are only kept apart without need.
    pub(crate) what: u64,
}

/// Who else may have it; the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// Nobody.
    Alone,
    /// Those who hold it in the same way: guards of one document.
    Shared,
    /// Those in the same batch, which keeps their order: messages of one key.
    InBatch,
}

/// How much a unit adds to a batch.
#[derive(Clone, Copy, Default)]
pub(crate) struct Size {
    /// Documents and messages.
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// Each claim of a unit once, by its strongest hold; `lane` is that of the message it handles.
pub(crate) fn of(unit: &UnitOfWork, lane: Option<&str>) -> Vec<Claim> {
    let alone = |what| Claim { hold: Hold::Alone, what };
    let mut claims = Vec::with_capacity(unit.writes.len() + unit.outbox.len() + 3);
    for write in &unit.writes {
        claims.push(alone(digest(("document", write.collection.name, &write.id))));
        let Change::Put { index, .. } = &write.change else {
            continue;
        };
        for (value, index) in index.iter().zip(write.collection.indexes) {
            if index.unique && !value.is_null() {
                claims.push(alone(digest((write.collection.name, index.field, value))));
            }
        }
    }
    for guard in &unit.guards {
        let what = digest(("document", guard.collection.name, &guard.id));
        claims.push(Claim { hold: Hold::Shared, what });
    }
    if let Some(receipt) = &unit.receipt {
        claims.push(alone(digest(("message", receipt.identity))));
    }
    claims.extend(lane.map(|lane| alone(digest(("lane", lane)))));
    claims.extend(unit.reply.iter().map(|it| alone(digest(("reply", it.command, &it.key)))));
    for key in unit.outbox.iter().filter_map(|sent| sent.metadata.key.as_ref()) {
        claims.push(Claim { hold: Hold::InBatch, what: digest(("key", key.as_str())) });
    }
    // A document may be written and guarded.
    claims.sort_unstable_by_key(|claim| (claim.what, claim.hold));
    claims.dedup_by_key(|claim| claim.what);
    claims
}

/// Only this process knows the digest.
fn digest(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
