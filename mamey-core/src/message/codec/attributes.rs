//! The attributes of a CloudEvent as text, whichever way they travelled.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::message::{
    CONTENT_TYPE_JSON, ContextName, Headers, Key, Metadata, Target, TraceContext,
};
use crate::{Error, Result, ResultExt};

/// The header that keeps the id of a foreign message whose id is no UUID.
const FOREIGN_ID: &str = "foreignid";

/// Attributes that are not ours to interpret.
pub(super) fn is_ignored(name: &str) -> bool {
    matches!(name, "subject" | "dataschema")
}

/// What travels beside a body that tells sender, target, name and content by itself.
pub(super) fn beside(meta: &Metadata) -> BTreeMap<Cow<'static, str>, String> {
    let mut properties: BTreeMap<Cow<'static, str>, String> = BTreeMap::new();
    let mut put = |name: &'static str, value: Option<String>| {
        if let Some(value) = value {
            properties.insert(Cow::Borrowed(name), value);
        }
    };
    put("id", Some(meta.id.to_string()));
    put("messageversion", Some(meta.version.to_string()));
    put("time", Some(meta.time.to_string()));
    put("correlationid", Some(meta.correlation_id.to_string()));
    put("causationid", meta.causation_id.map(|id| id.to_string()));
    put("partitionkey", meta.key.as_ref().map(Key::to_string));
    put("tenant", meta.tenant.as_deref().map(str::to_owned));
    put("traceparent", meta.trace.as_ref().map(TraceContext::traceparent));
    let state = meta.trace.as_ref().and_then(TraceContext::tracestate);
    put("tracestate", state.map(str::to_owned));
    let headers = meta.headers.iter().map(|(n, v)| (Cow::Owned(n.to_owned()), v.to_owned()));
    properties.extend(headers);
    properties
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
        let sender = self.required("source")?;
        let foreign_id = self.required("id")?;
        let id =
            foreign_id.parse().unwrap_or_else(|_| MessageId::from_foreign(&sender, &foreign_id));
        let mut metadata = Metadata {
            id,
            name: self.required("type")?.into(),
            version: self.take_parsed("messageversion")?.unwrap_or(1),
            sender: sender.into(),
            target: self.take_target()?,
            correlation_id: self.take_parsed("correlationid")?.unwrap_or(id),
            causation_id: self.take_parsed("causationid")?,
            time: self.take_time()?,
            key: self.take("partitionkey").map(Key::from),
            tenant: self.take("tenant").map(Into::into),
            trace: self.take_trace(),
            content_type: content_type.map_or(Cow::Borrowed(CONTENT_TYPE_JSON), Cow::Owned),
            must_route: false,
            headers: Headers::default(),
        };
        metadata.headers = self.into_headers()?;
        if id.to_string() != foreign_id && metadata.headers.get(FOREIGN_ID).is_none() {
            metadata.headers.insert(FOREIGN_ID, foreign_id)?;
        }
        metadata.check()?;
        Ok(metadata)
    }

    fn check_spec_version(&mut self) -> Result<()> {
        match self.required("specversion")?.as_str() {
            "1.0" => Ok(()),
            other => Err(Error::invalid(format!("specversion `{other}` is not `1.0`"))),
        }
    }

    fn required(&mut self, name: &str) -> Result<String> {
        self.take(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::invalid(format!(
                "attribute `{name}` is missing: every CloudEvent has one, and it is not empty"
            ))
        })
    }

    fn take_parsed<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let parse = |text: String| {
            text.parse()
                .map_err(|_| Error::invalid(format!("attribute `{name}` cannot be `{text}`")))
        };
        self.take(name).map(parse).transpose()
    }

    fn take_target(&mut self) -> Result<Target> {
        match self.take("target") {
            Some(name) => {
                ContextName::new(&name).map(Target::Service).with_context(|| "attribute `target`")
            }
            None => Ok(Target::Any),
        }
    }

    fn take_time(&mut self) -> Result<Timestamp> {
        match self.take("time") {
            Some(text) => Timestamp::parse_rfc3339(&text).with_context(|| "attribute `time`"),
            None => Ok(Timestamp::EPOCH),
        }
    }

    /// A broken trace header must not cost the message, so it only starts a new trace.
    fn take_trace(&mut self) -> Option<TraceContext> {
        let (parent, state) = (self.take("traceparent")?, self.take("tracestate"));
        TraceContext::parse(&parent, state.as_deref()).ok()
    }

    /// What is left are extensions: those that fit become free headers.
    fn into_headers(mut self) -> Result<Headers> {
        // Without a traceparent it says nothing, and its name is no header's.
        self.0.remove("tracestate");
        let mut headers = Headers::default();
        for (name, value) in self.0 {
            if !is_ignored(&name) {
                headers.insert(&name, value)?;
            }
        }
        Ok(headers)
    }
}
