//! A context and the store that claims it, and whether the mark on the broker is that store's.

use mamey_core::message::ContextName;
use mamey_core::transport::Owner;
use mamey_core::{Error, Result};

/// How much of an owner is kept, in characters. The broker shows less where names are long.
const OWNER_CHARS_MAX: usize = 120;

/// The broker cuts its sentences, in the middle of an id where names are very long. So much of one
/// still tells two apart.
const ID_CHARS_MIN: usize = 8;

/// A context, and the store that claims it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(super) context: ContextName,
    pub(super) owner: Owner,
    /// The exchange of the context's dead letters.
    pub(super) dead_letters: String,
}

/// The queue that marks the owner of a context.
pub(crate) fn owner_queue(context: &ContextName) -> String {
    format!("{context}.owner")
}

impl Claim {
    /// Whether who has marked the context is this store.
    ///
    /// # Errors
    /// `Misconfigured` when it is another one, naming both.
    pub(crate) fn check(&self, marked: &str) -> Result<()> {
        let id = self.owner.id.to_string();
        let theirs = marked.split(' ').next().unwrap_or_default();
        let shown = theirs.trim_end_matches('.');
        let is_cut = shown.len() < theirs.len();
        if theirs == id || (is_cut && shown.len() >= ID_CHARS_MIN && id.starts_with(shown)) {
            return Ok(());
        }
        let (context, queue) = (&self.context, owner_queue(&self.context));
        Err(Error::misconfigured(format!(
            "context `{context}` belongs to another database: ours is `{}`, its owner is \
             `{marked}`. Two would share its messages, each handling a part of them. Use the \
             owner's database, another name for the context or another virtual host. If the \
             context has moved to this database, stop every instance that uses the other one, \
             delete the queue `{queue}` (`rabbitmqctl --vhost … delete_queue {queue}`) and start \
             again",
            self.text()
        )))
    }

    /// The owner as the mark holds it: its id, then its location without the user.
    pub(super) fn text(&self) -> String {
        let store = self.owner.store.as_str();
        let location = match store.split_once("://") {
            Some((scheme, place)) => {
                let (server, path) = place.split_at(place.find('/').unwrap_or(place.len()));
                let server = server.rsplit_once('@').map_or(server, |(_, host)| host);
                format!("{scheme}://{server}{path}")
            }
            None => store.to_owned(),
        };
        format!("{} {location}", self.owner.id).chars().take(OWNER_CHARS_MAX).collect()
    }
}
