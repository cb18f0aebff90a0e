//! The attributes of a CloudEvent as text, independent of the form in which they were sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::table::{ATTRIBUTES, About, Attribute, identity};
use crate::message::attribute::{ID, IGNORED, SOURCE, SPEC_VERSION, SPEC_VERSION_1_0, TYPE};
use crate::message::{Headers, Metadata};
use crate::{Error, Result};

/// The header that keeps the id of a foreign message whose id is not a UUID.
const FOREIGN_ID: &str = "foreignid";

/// The attributes of a message that `is_wanted` selects, and its free headers.
pub(super) fn text_attributes(
    message: &Metadata,
    is_wanted: impl Fn(About) -> bool,
) -> BTreeMap<Cow<'static, str>, String> {
    let value = |attribute: &'static Attribute| {
        let value = (attribute.write)(message)?;
        Some((Cow::Borrowed(attribute.name), value.to_string()))
    };
    let wanted = ATTRIBUTES.iter().filter(|attribute| is_wanted(attribute.about));
    let headers = message.headers.iter();
    let headers = headers.map(|(name, value)| (Cow::Owned(name.to_owned()), value.to_owned()));
    wanted.filter_map(value).chain(headers).collect()
}

/// The attributes of one event by name.
#[derive(Default)]
pub(super) struct Attributes(BTreeMap<String, String>);

impl Attributes {
    pub(super) fn insert(&mut self, name: String, value: String) {
        self.0.insert(name, value);
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Reads all that is left; `content_type` is the payload's.
    pub(super) fn into_metadata(mut self, content_type: Option<String>) -> Result<Metadata> {
        self.check_spec_version()?;
        let (sender, id) = (self.required(SOURCE)?, self.required(ID)?);
        let mut metadata = Metadata::new(identity(&sender, &id), self.required(TYPE)?, &sender);
        for attribute in ATTRIBUTES.iter().filter(|it| it.about != About::Payload) {
            if let Some(text) = self.take(attribute.name) {
                (attribute.read)(&mut metadata, &text)?;
            }
        }
        metadata.headers = self.into_headers()?;
        if metadata.id.to_string() != id && metadata.headers.get(FOREIGN_ID).is_none() {
            metadata.headers.insert(FOREIGN_ID, id)?;
        }
        if let Some(content_type) = content_type {
            metadata.content_type = content_type.into();
        }
        metadata.check()?;
        Ok(metadata)
    }

    fn check_spec_version(&mut self) -> Result<()> {
        match self.required(SPEC_VERSION)?.as_str() {
            SPEC_VERSION_1_0 => Ok(()),
            other => {
                Err(Error::invalid(format!("{SPEC_VERSION} `{other}` is not `{SPEC_VERSION_1_0}`")))
            }
        }
    }

    fn required(&mut self, name: &str) -> Result<String> {
        self.take(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::invalid(format!(
                "attribute `{name}` is missing: every CloudEvent has one, and it is not empty"
            ))
        })
    }

    /// What is left are extensions: those that fit become free headers.
    fn into_headers(self) -> Result<Headers> {
        let mut headers = Headers::default();
        for (name, value) in self.0 {
            if !IGNORED.contains(&name.as_str()) {
                headers.insert(&name, value)?;
            }
        }
        Ok(headers)
    }
}
