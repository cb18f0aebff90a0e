//! Writes values as JSON that can be read back, or says which part of them cannot.

mod canonical;
mod finite;
mod nesting;
mod scratch;

use bytes::Bytes;
use serde::Serialize;

use crate::{Error, Result, Retry};

pub(crate) use canonical::to_canonical;

/// How deep arrays and objects may be nested in a document, a payload or a reply. Readers of JSON
/// refuse deeper ones, ours at 128, and some of what is written is wrapped once more.
pub const JSON_DEPTH_MAX: usize = 120;

/// Writes a value as JSON.
///
/// # Errors
/// `Invalid`, naming the field, for a number that JSON cannot hold (NaN or an infinity, which
/// would be read back as `null`), for values nested deeper than [`JSON_DEPTH_MAX`], and for what
/// its type cannot write.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    let (json, depth) = scratch::collect(|json| finite::write(value, json)).map_err(|fault| {
        Error::invalid(fault.to_string()).with_retry(Retry::Never).with_source(fault)
    })?;
    if depth > JSON_DEPTH_MAX {
        return Err(too_deep(depth));
    }
    Ok(json)
}

fn too_deep(depth: usize) -> Error {
    Error::invalid(format!(
        "it nests {depth} levels of arrays and objects, the limit is {JSON_DEPTH_MAX}, beyond \
         which it could not be read back; keep the parts in a flat list that refers by id"
    ))
    .with_retry(Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Node {
        child: Option<Box<Node>>,
    }

    fn nested(levels: usize) -> Node {
        (1..levels).fold(Node::default(), |child, _| Node { child: Some(Box::new(child)) })
    }

    #[test]
    fn the_deepest_that_is_written_can_be_read_also_when_wrapped() {
        let deepest = nested(JSON_DEPTH_MAX);
        let written = to_json(&deepest).unwrap();
        assert_eq!(serde_json::from_slice::<Node>(&written).unwrap(), deepest);
        assert!(
            serde_json::from_slice::<Vec<Vec<Node>>>(&[b"[[", &written[..], b"]]"].concat())
                .is_ok()
        );
        let refused = to_json(&nested(JSON_DEPTH_MAX + 1)).unwrap_err();
        assert_eq!((refused.kind(), refused.retry()), (crate::ErrorKind::Invalid, Retry::Never));
        assert!(refused.to_string().contains("nests 121 levels"), "{refused}");
    }

    #[test]
    fn json_that_was_written_elsewhere_is_measured_too() {
        let text = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let raw = serde_json::value::RawValue::from_string(text).unwrap();
        assert!(to_json(&raw).unwrap_err().to_string().contains("nests 200 levels"));
    }
}
