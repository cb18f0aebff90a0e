//! Checks what a context declares, and its units and queries against it, before a store acts.

use std::collections::HashMap;

use mamey_core::criteria::{Collection, Filter, Find, ID_FIELD};
use mamey_core::message::ContextName;
use mamey_core::store::{Change, Schema, UnitOfWork, Write};
use mamey_core::{Error, Result, Retry};

use super::fields::{check_id, field_type, type_fits};
use super::filters::check_filter;

/// The largest document, in bytes: 16 MiB.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The longest name of a collection or an indexed field, in bytes: the limit of PostgreSQL.
const NAME_BYTES_MAX: usize = 63;

/// The collections that a context has declared.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) context: ContextName,
    pub(crate) collections: HashMap<&'static str, &'static Collection>,
}

impl Declared {
    /// Checks the names of a schema, so that they can be written into SQL.
    pub(crate) fn new(schema: &Schema) -> Result<Self> {
        let mut collections = HashMap::new();
        for collection in &schema.collections {
            check_names(collection)?;
            if let Some(other) = collections.insert(collection.name, *collection)
                && other != *collection
            {
                return Err(declared_twice(&schema.context, collection.name));
            }
        }
        let context = schema.context.clone();
        Ok(Self { context, collections })
    }

    /// Refuses a collection that the context did not declare.
    pub(crate) fn check(&self, collection: &'static Collection) -> Result<()> {
        match self.collections.get(collection.name) {
            Some(declared) if std::ptr::eq(*declared, collection) => Ok(()),
            Some(declared) if *declared == collection => Ok(()),
            Some(_) => Err(declared_twice(&self.context, collection.name)),
            None => Err(Error::misconfigured(format!(
                "context `{}` has no collection `{}`: add `.aggregate::<…>()` to its BoundedContext",
                self.context, collection.name
            ))),
        }
    }

    /// Refuses a unit that cannot be stored.
    pub(crate) fn check_unit(&self, unit: &UnitOfWork) -> Result<()> {
        if unit.transaction.is_some() {
            return Err(Error::misconfigured(
                "the unit of work carries a transaction of another store: open it on this one",
            ));
        }
        for guard in &unit.guards {
            self.check(guard.collection)?;
            check_id(guard.collection, &guard.id)?;
        }
        unit.writes.iter().try_for_each(|write| self.check_write(write))
    }

    fn check_write(&self, write: &Write) -> Result<()> {
        self.check(write.collection)?;
        check_id(write.collection, &write.id)?;
        let Change::Put { data, index } = &write.change else {
            return Ok(());
        };
        let (name, id) = (write.collection.name, &write.id);
        if data.len() > DOCUMENT_BYTES_MAX {
            let message = format!(
                "{name}/{id} has {} bytes, the limit is {DOCUMENT_BYTES_MAX}; \
                 split the aggregate or keep large data elsewhere",
                data.len()
            );
            return Err(Error::limit_exceeded(message).with_retry(Retry::Never));
        }
        let declared = write.collection.indexes;
        let fits = index.len() == declared.len()
            && index.iter().zip(declared).all(|(value, index)| type_fits(index.value, value));
        if fits {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the indexed values of {name}/{id} do not fit the declared indexes of `{name}`"
        )))
    }

    /// Refuses a filter on a field that is not indexed, or with values of another type.
    pub(crate) fn check_filter(
        &self,
        collection: &'static Collection,
        filter: &Filter,
    ) -> Result<()> {
        self.check(collection)?;
        check_filter(collection, filter)
    }

    /// As [`Declared::check_filter`], for the order as well.
    pub(crate) fn check_find(&self, find: &Find) -> Result<()> {
        self.check_filter(find.collection, &find.filter)?;
        find.order.iter().try_for_each(|key| field_type(find.collection, key.field).map(drop))
    }
}

fn check_names(collection: &'static Collection) -> Result<()> {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let name = collection.name;
    let fits = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(lower);
    if !fits {
        return Err(Error::misconfigured(format!(
            "`{name}` cannot name a collection: use lowercase letters, digits and underscores, \
             starting with a letter, at most {NAME_BYTES_MAX} bytes"
        )));
    }
    collection.indexes.iter().try_for_each(|index| check_field_name(name, index.field))
}

fn check_field_name(collection: &str, field: &str) -> Result<()> {
    let fits = (1..=NAME_BYTES_MAX).contains(&field.len())
        && field.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && field != ID_FIELD;
    if fits {
        return Ok(());
    }
    Err(Error::misconfigured(format!(
        "`{field}` of `{collection}` cannot be indexed: use letters, digits, underscores and \
         dashes, starting with a letter, at most {NAME_BYTES_MAX} bytes, and not `{ID_FIELD}`"
    )))
}

fn declared_twice(context: &ContextName, collection: &str) -> Error {
    Error::misconfigured(format!(
        "context `{context}` declares collection `{collection}` twice with other fields: \
         give one of the aggregates another collection"
    ))
}
