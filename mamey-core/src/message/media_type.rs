//! Media types: which of them are JSON, and which are CloudEvents.

/// The media type of JSON payloads.
pub const CONTENT_TYPE_JSON: &str = "application/json";

/// Whether a payload of this media type is JSON.
///
/// Media types compare without case, parameters do not matter (JSON is always UTF-8), and a type
/// that ends in `+json` counts. So does an empty one: a CloudEvent without a `datacontenttype`
/// carries JSON.
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
    essence.is_empty()
        || essence.eq_ignore_ascii_case(CONTENT_TYPE_JSON)
        || ends_with(essence, "+json")
}

/// Whether a body of this media type is a CloudEvent in structured mode, attributes included.
#[must_use]
pub fn is_cloud_event(media_type: &str) -> bool {
    const PREFIX: &str = "application/cloudevents";
    essence(media_type).get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The type and subtype, without parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
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
        ] {
            assert!(is_cloud_event(event), "{event}");
        }
        for other in ["", "application/json", "text/plain; a=application/cloudevents", "é"] {
            assert!(!is_cloud_event(other), "{other}");
        }
    }
}
