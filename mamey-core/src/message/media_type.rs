//! Media types: which of them are JSON, and which are CloudEvents.

/// The media type of JSON payloads.
pub const CONTENT_TYPE_JSON: &str = "application/json";

/// What the media types of CloudEvents begin with.
const CLOUD_EVENT: &str = "application/cloudevents";

/// Whether a payload of this media type is JSON.
///
/// Media types compare without case, parameters do not matter (JSON is always UTF-8), and any type
/// counts whose subtype is `json` or ends in `+json`, as CloudEvents has it. So does an empty one: a
/// CloudEvent without a `datacontenttype` carries JSON.
///
/// ```
/// use mamey::message::is_json;
///
/// assert!(is_json("Application/JSON; charset=UTF-8"));
/// assert!(is_json("application/vnd.shop.order+json"));
/// assert!(!is_json("text/plain"));
/// ```
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.is_empty() || ends_with(essence, "/json") || ends_with(essence, "+json")
}

/// Whether a body of this media type is a CloudEvent in structured mode, attributes included,
/// whatever its format, or a batch of them.
#[must_use]
pub fn is_cloud_event(media_type: &str) -> bool {
    matches!(
        cloud_event_ending(media_type).and_then(|ending| ending.bytes().next()),
        Some(b'+' | b'-')
    ) || essence(media_type).eq_ignore_ascii_case(CLOUD_EVENT)
}

/// Whether a body of this media type is a batch of CloudEvents.
pub(super) fn is_batch(media_type: &str) -> bool {
    cloud_event_ending(media_type).is_some_and(|ending| starts_with(ending, "-batch"))
}

/// What follows `application/cloudevents`, which names the format of an event.
fn cloud_event_ending(media_type: &str) -> Option<&str> {
    let essence = essence(media_type);
    starts_with(essence, CLOUD_EVENT).then(|| essence.get(CLOUD_EVENT.len()..)).flatten()
}

/// The type and subtype, without parameters.
pub(super) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The value of the parameter `charset`.
pub(super) fn charset(media_type: &str) -> Option<&str> {
    let mut parameters = media_type.split(';').skip(1).filter_map(|it| it.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches('"'))
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

fn ends_with(essence: &str, suffix: &str) -> bool {
    let start = essence.len().saturating_sub(suffix.len());
    essence.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognized_in_any_case_with_any_parameters_and_by_its_suffix() {
        for json in [
            "",
            "application/json",
            "Application/JSON",
            "APPLICATION/JSON; charset=UTF-8",
            " application/json ;charset=utf-8",
            "application/cloudevents+json",
            "APPLICATION/CloudEvents+JSON; charset=UTF-8",
            "application/problem+Json",
            "text/json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in [
            "application/jsonp",
            "application/x-json",
            "application/json+xml",
            "text/plain; format=+json",
            "application/octet-stream",
            "image/png",
            "json",
            "é",
        ] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn cloud_events_are_recognized_in_any_case() {
        for event in [
            "application/cloudevents+json",
            "application/cloudevents",
            "APPLICATION/CloudEvents+JSON; charset=UTF-8",
            "application/cloudevents+avro",
            "application/CloudEvents-batch+json; charset=utf-8",
        ] {
            assert!(is_cloud_event(event), "{event}");
        }
        for other in [
            "",
            "application/json",
            "application/cloudeventsx",
            "text/plain; a=application/cloudevents",
            "é",
        ] {
            assert!(!is_cloud_event(other), "{other}");
        }
    }

    #[test]
    fn batches_are_recognized_by_their_type() {
        assert!(is_batch("application/CloudEvents-Batch+JSON; charset=utf-8"));
        assert!(is_batch("application/cloudevents-batch+avro"));
        for other in ["application/cloudevents+json", "application/cloudevents", "", "text/plain"] {
            assert!(!is_batch(other), "{other}");
        }
    }
}
