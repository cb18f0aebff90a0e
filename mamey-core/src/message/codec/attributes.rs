//! The attributes of a CloudEvent as text, independent of the form in which they were sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::foreign::{message_id, receipt_time, sender};
use super::originals::headers;
use super::table::{ATTRIBUTES, About, Attribute, Taken, check_kept};
use crate::id::MessageId;
use crate::message::attribute::{
    DATA_BASE64, DATA_CONTENT_TYPE, FOREIGN_ID, FOREIGN_SOURCE, FOREIGN_SPEC_VERSION, ID, SOURCE,
    SPEC_VERSION, SPEC_VERSION_1_0, TIME, TYPE,
};
use crate::message::correlation_id::prints_as;
use crate::message::{FOREIGN_HEADER_VALUE_BYTES_MAX, Metadata, is_json};
use crate::{Error, Result};

/// Attributes without which there is no message; each must be clear.
const ESSENTIAL: [&str; 5] = [SPEC_VERSION, ID, SOURCE, TYPE, DATA_BASE64];

/// The attributes of a message that `is_wanted` selects, and its free headers.
pub(super) fn text_attributes(
    message: &Metadata,
    is_wanted: impl Fn(About) -> bool,
) -> BTreeMap<Cow<'static, str>, String> {
    let value = |attribute: &'static Attribute| {
        let value = attribute.value(message)?;
        Some((Cow::Borrowed(attribute.name), value.to_string()))
    };
    let wanted = ATTRIBUTES.iter().filter(|attribute| is_wanted(attribute.about));
    let headers =
        headers(message).map(|(name, value)| (Cow::Owned(name.to_owned()), value.to_owned()));
    wanted.filter_map(value).chain(headers).collect()
}

/// The attributes of one event by name.
#[derive(Default)]
pub(super) struct Attributes {
    texts: BTreeMap<String, String>,
    /// Names and values that are no text, number or boolean: kept as headers.
    unusable: Vec<(String, String)>,
    dropped: u32,
}

impl Attributes {
    /// Adds an attribute. Of one that occurs twice the last value counts, as for other readers.
    ///
    /// # Errors
    /// `Invalid` for an essential attribute with two values.
    pub(super) fn insert(&mut self, name: String, value: String) -> Result<()> {
        match self.texts.get(&name) {
            Some(known) if *known == value => return Ok(()),
            Some(_) if ESSENTIAL.contains(&name.as_str()) => return Err(occurs_twice(&name)),
            Some(_) => self.dropped += 1,
            None => {}
        }
        self.texts.insert(name, value);
        Ok(())
    }

    /// Adds an attribute whose value no attribute can have.
    ///
    /// # Errors
    /// `Invalid` for an essential attribute.
    pub(super) fn insert_unusable(&mut self, name: String, value: &str) -> Result<()> {
        if ESSENTIAL.contains(&name.as_str()) {
            let message = format!("attribute `{name}` is not a string, number or boolean");
            return Err(Error::invalid(message));
        }
        // What no header keeps is not worth a copy.
        if value.len() > FOREIGN_HEADER_VALUE_BYTES_MAX {
            self.dropped += 1;
        } else {
            self.unusable.push((name, value.to_owned()));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.texts.remove(name)
    }

    /// Whether the data is JSON, which is so when nothing says otherwise.
    pub(super) fn say_json(&self) -> bool {
        self.texts.get(DATA_CONTENT_TYPE).is_none_or(|media_type| is_json(media_type))
    }

    /// Reads all that is left. What cannot be used becomes a header; without a time that can be
    /// read it is [`receipt_time`].
    pub(super) fn into_metadata(mut self) -> Result<Metadata> {
        let spec_version = self.spec_version()?;
        let (sender, id) = (self.required(SOURCE)?, self.required(ID)?);
        let name = self.required(TYPE)?;
        let mut metadata = with_id(&sender, &id, name)?;
        if spec_version != SPEC_VERSION_1_0 {
            metadata.headers.keep(FOREIGN_SPEC_VERSION, spec_version);
        }
        read_attributes(&mut metadata, |_| true, |name| self.take(name).map(Cow::Owned));
        for (name, value) in self.unusable {
            let kept = ATTRIBUTES.iter().find(|it| it.name == name).and_then(|it| it.kept);
            metadata.headers.keep(kept.unwrap_or(&name), value);
        }
        for (name, value) in self.texts {
            metadata.headers.keep(&name, value);
        }
        drop_false_id(&mut metadata, &id);
        metadata.headers.count_dropped(self.dropped);
        metadata.check()?;
        Ok(metadata)
    }

    /// A later version than 1.0 may add attributes, which are then headers; another major version
    /// may mean something else by the same ones.
    fn spec_version(&mut self) -> Result<String> {
        let version = self.required(SPEC_VERSION)?;
        let minor = if version == "1" { Some("0") } else { version.strip_prefix("1.") };
        if minor.is_some_and(|minor| minor.starts_with(|it: char| it.is_ascii_digit())) {
            return Ok(version);
        }
        Err(Error::invalid(format!(
            "attribute `{SPEC_VERSION}` is `{version:.32}`, but only CloudEvents 1.x is read: send \
             the event in version `{SPEC_VERSION_1_0}`"
        )))
    }

    fn required(&mut self, name: &str) -> Result<String> {
        self.take(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::invalid(format!(
                "attribute `{name}` is missing: every CloudEvent has one, and it is not empty"
            ))
        })
    }
}

pub(super) fn occurs_twice(name: &str) -> Error {
    Error::invalid(format!("attribute `{name}` occurs twice with different values: send it once"))
}

/// The minimum of a message with this source and id, whose texts are kept when they are not ours.
///
/// # Errors
/// `LimitExceeded` for a source or an id that is too long to be kept.
pub(super) fn with_id(source: &str, id: &str, name: String) -> Result<Metadata> {
    check_kept(&name, "id", id)?;
    let mut metadata = from_source(source, name, |sender| message_id(sender, id))?;
    if !prints_as(metadata.id, id) {
        metadata.headers.keep(FOREIGN_ID, id.to_owned());
    }
    Ok(metadata)
}

/// Drops a header that claims to be the original of the id `id`, which came as we write it: with that
/// header it would be written as another, and have another identity.
pub(super) fn drop_false_id(metadata: &mut Metadata, id: &str) {
    if prints_as(metadata.id, id) && metadata.foreign_id().is_some() {
        metadata.headers.drop(FOREIGN_ID);
    }
}

/// The minimum of a message from this source, with the id that `id` makes for the sender.
///
/// # Errors
/// `LimitExceeded` for a source that is too long to be kept.
pub(super) fn from_source(
    source: &str,
    name: String,
    id: impl FnOnce(&str) -> MessageId,
) -> Result<Metadata> {
    check_kept(&name, "sender", source)?;
    let sender = sender(source);
    let mut metadata = Metadata::new(id(&sender), name, &sender);
    if *sender != *source {
        metadata.headers.keep(FOREIGN_SOURCE, source.to_owned());
    }
    Ok(metadata)
}

/// Reads the attributes that `is_wanted` names; a text that cannot be used as it is becomes a
/// header.
pub(super) fn read_attributes<'a>(
    metadata: &mut Metadata,
    is_wanted: impl Fn(About) -> bool,
    mut take: impl FnMut(&str) -> Option<Cow<'a, str>>,
) {
    let mut has_time = false;
    for attribute in ATTRIBUTES.iter().filter(|it| is_wanted(it.about)) {
        let Some(text) = take(attribute.name) else {
            continue;
        };
        let taken = (attribute.read)(metadata, &text);
        has_time |= taken != Taken::Not && attribute.name == TIME;
        if let Some(kept) = attribute.kept
            && taken != Taken::AsItCame
            && !text.is_empty()
        {
            metadata.headers.keep(kept, text.into_owned());
        }
    }
    if !has_time {
        metadata.time = receipt_time(metadata.id);
    }
}
