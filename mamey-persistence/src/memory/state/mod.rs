//! Everything that one context stores.

pub(crate) mod documents;
mod fields;
mod inbox;
mod leases;
mod outbox;
mod parking;
mod stalls;

use std::collections::HashMap;
use std::sync::Arc;

use mamey_core::Result;
use mamey_core::criteria::Collection;
use tokio::sync::Notify;

use self::documents::Documents;
use self::inbox::Inbox;
use self::leases::Leases;
use self::outbox::Outbox;
use self::parking::Parking;
use crate::common::declared::Declared;
use crate::common::wakeup::Listeners;

/// Everything that one context stores.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) documents: HashMap<&'static str, Documents>,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    pub(crate) parking: Parking,
    pub(crate) leases: Leases,
    pub(crate) commits: u64,
    pub(crate) listeners: Listeners,
}

impl State {
    /// Adds an open of the context with the collections that it declares, whose indexes are filled, for
    /// as long as `store` lives.
    ///
    /// # Errors
    /// `Misconfigured` for indexes that the documents, or other builds that are open, do not allow.
    pub(crate) fn admit(
        &mut self,
        declared: &Declared,
        store: &Arc<()>,
        listener: &Arc<Notify>,
    ) -> Result<()> {
        let admitted = |(name, collection): (&&'static str, &&'static Collection)| {
            let nothing = Documents::default();
            let documents = self.documents.get(name).unwrap_or(&nothing);
            let fields = documents.fields.with(collection, store, documents.is_empty())?;
            let same = documents.fields.are(&fields);
            let filled = if same { None } else { Some(documents.indexed_by(&fields)?) };
            Ok((*name, fields, filled))
        };
        // All or none: a build that cannot be opened changes nothing for the others.
        let admitted: Vec<_> = declared.collections.iter().map(admitted).collect::<Result<_>>()?;
        for (name, fields, filled) in admitted {
            let documents = self.documents.entry(name).or_default();
            match filled {
                Some(filled) => *documents = filled,
                None => documents.fields = fields,
            }
        }
        self.listeners.add(listener);
        Ok(())
    }
}
