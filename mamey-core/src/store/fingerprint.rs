//! The fingerprint of a command: tells whether two requests under one idempotency key are the same.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::json::to_canonical;
use crate::message::Message;
use crate::{Error, Result};

/// How many bytes a [`Fingerprint`] has.
pub const FINGERPRINT_BYTES: usize = 20;

/// What a command says, in 20 bytes: the version of its type, and a hash of its name and of all its
/// fields.
///
/// The hash is a UUID of version 5 (SHA-1) over the command in a canonical form. The order of fields
/// and of the entries of a map does not matter, and a field that is `None` counts as absent. So a
/// build that adds an optional field recognises a request to the build before it.
///
/// ```
/// use mamey::Command;
/// use mamey::store::Fingerprint;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Command, Serialize, Deserialize)]
/// #[command(name = "payments.charge")]
/// struct Charge { cents: i64 }
///
/// let charge = Fingerprint::of(&Charge { cents: 420 })?;
/// assert!(charge.may_be(Fingerprint::of(&Charge { cents: 420 })?));
/// assert!(!charge.may_be(Fingerprint::of(&Charge { cents: 421 })?));
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

impl Fingerprint {
    /// The fingerprint of a command.
    ///
    /// # Errors
    /// `Invalid` when the command's own `Serialize` fails.
    pub fn of<M: Message + Serialize>(command: &M) -> Result<Self> {
        let name = M::NAME;
        let canonical = to_canonical(command).map_err(|cause| {
            Error::invalid(format!(
                "`{name}` cannot be compared with other requests under its idempotency key: {cause}"
            ))
            .with_source(cause)
        })?;
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
        let hash = Uuid::new_v5(&namespace, &canonical);
        let bytes = M::VERSION.to_be_bytes().into_iter().chain(hash.into_bytes());
        let mut fingerprint = [0; FINGERPRINT_BYTES];
        fingerprint.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Ok(Self(fingerprint))
    }

    /// Whether the two can be of one request. Two types of one command with different versions have
    /// different fields, so their hashes say nothing: a request that is repeated after the version
    /// was raised is taken for the same.
    #[must_use]
    pub fn may_be(self, other: Self) -> bool {
        self == other || self.version() != other.version()
    }

    /// The bytes that a store keeps.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; FINGERPRINT_BYTES] {
        &self.0
    }

    /// A fingerprint from the bytes that a store kept.
    ///
    /// # Errors
    /// `Invalid` for another number of bytes than [`FINGERPRINT_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        <[u8; FINGERPRINT_BYTES]>::try_from(bytes).map(Self).map_err(|_| {
            Error::invalid(format!(
                "the fingerprint beside a saved reply is damaged: it has {} bytes and should have \
                 {FINGERPRINT_BYTES}; delete this reply, or wait until it expires",
                bytes.len()
            ))
        })
    }

    fn version(&self) -> Option<&[u8; 4]> {
        self.0.first_chunk()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    macro_rules! charge {
        ($name:ident, $version:literal { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
            #[derive(Clone, Default, Serialize)]
            struct $name { $($(#[$attribute])* $field: $type,)* }

            impl Message for $name {
                const NAME: &'static str = "payments.charge";
                const VERSION: u32 = $version;
            }
        };
    }

    charge!(Charge, 1 { cents: i64, account: String, });
    charge!(Reordered, 1 { note: Option<String>, account: String, cents: i64, });
    charge!(Second, 2 { account: String, cents: i64, currency: String, });

    fn charge() -> Charge {
        Charge { cents: 420, account: "acme".into() }
    }

    fn of<M: Message + Serialize>(command: &M) -> Fingerprint {
        Fingerprint::of(command).unwrap()
    }

    #[test]
    fn stored_fingerprints_never_change() {
        let golden = "Fingerprint(000000012e1a3432efe553aa8cf950a60708b5f8)";
        assert_eq!(format!("{:?}", of(&charge())), golden);
        let kept = Fingerprint::from_bytes(of(&charge()).as_bytes()).unwrap();
        assert_eq!(kept, of(&charge()));
        let text = Fingerprint::from_bytes(&[0; 19]).unwrap_err().to_string();
        assert!(text.contains("19 bytes"), "{text}");
    }

    #[test]
    fn a_build_recognises_the_request_of_the_build_before() {
        let with_field = Reordered { note: None, account: "acme".into(), cents: 420 };
        assert_eq!(of(&with_field), of(&charge()));
        let noted = Reordered { note: Some(String::new()), ..with_field };
        assert!(!of(&noted).may_be(of(&charge())));
        let second = Second { account: "acme".into(), cents: 420, currency: "EUR".into() };
        assert!(of(&second).may_be(of(&charge())) && of(&charge()).may_be(of(&second)));
        let other = Second { cents: 421, ..second.clone() };
        assert!(!of(&second).may_be(of(&other)));
    }

    #[derive(Clone, Serialize)]
    enum Step {
        Unit,
        One(Option<u8>),
        Other(Option<u8>),
        Pair(i8, i128),
        Named { at: Option<f32>, by: char },
    }

    #[derive(Serialize)]
    struct Inner {
        a: Option<u8>,
        b: u8,
    }

    #[derive(Serialize)]
    struct Flat {
        #[serde(flatten)]
        inner: Inner,
        c: Option<u8>,
    }

    fn canonical<T: Serialize>(value: &T) -> String {
        String::from_utf8(to_canonical(value).unwrap()).unwrap()
    }

    #[test]
    fn the_canonical_form_of_every_shape() {
        let shapes = [Step::Unit, Step::One(None), Step::Other(None), Step::Pair(-1, i128::MIN)];
        let expected = concat!(
            r#"["Unit",{"One":null},{"Other":null},"#,
            r#"{"Pair":[-1,-170141183460469231731687303715884105728]}]"#
        );
        assert_eq!(canonical(&shapes), expected);
        let named = [Step::Named { at: Some(0.5), by: '"' }, Step::Named { at: None, by: 'é' }];
        let expected = r#"[{"Named":{"at":3fe0000000000000,"by":"\""}},{"Named":{"by":"é"}}]"#;
        assert_eq!(canonical(&named), expected);
        assert_eq!(canonical(&Flat { inner: Inner { a: None, b: 1 }, c: None }), r#"{"b":1}"#);
        assert_eq!(canonical(&Some(None::<u8>)), "null");
        assert_eq!(canonical(&((), true, u128::MAX)), format!("[null,true,{}]", u128::MAX));
        assert_eq!(canonical(&[0.0, -0.0]), "[0000000000000000,8000000000000000]");
        assert_eq!(canonical(&Vec::<u8>::new()), "[]");
    }

    #[test]
    fn the_order_of_a_map_does_not_matter_and_its_nulls_do() {
        let entries = || (0..100).map(|number| (format!("{number}\n"), Some(number)));
        let (one, two): (HashMap<_, _>, HashMap<_, _>) = (entries().collect(), entries().collect());
        assert_eq!(canonical(&one), canonical(&two));
        assert_eq!(canonical(&one), canonical(&entries().collect::<BTreeMap<_, _>>()));
        assert_eq!(canonical(&BTreeMap::from([("a", None::<u8>)])), r#"{"a":null}"#);
        assert_eq!(canonical(&BTreeMap::from([(-1, 2), (1, 3)])), "{-1:2,1:3}");
    }
}
