//! A serializer around `serde_json`'s that refuses numbers which JSON cannot hold.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt::{self, Display};

use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

use super::nesting::Nesting;

/// Why a value could not be written.
#[derive(Debug)]
pub(super) struct Fault {
    place: Vec<String>,
    cause: serde_json::Error,
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            f.write_str("`")?;
            for (at, step) in self.place.iter().rev().enumerate() {
                let dot = if at == 0 || step.starts_with('[') { "" } else { "." };
                write!(f, "{dot}{step}")?;
            }
            f.write_str("`: ")?;
        }
        self.cause.fmt(f)
    }
}

impl StdError for Fault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.cause)
    }
}

/// Writes a value as JSON and returns how deep it nests; names the place of what cannot be written.
pub(super) fn write<T>(value: &T, json: &mut Vec<u8>) -> Result<usize, Fault>
where
    T: Serialize + ?Sized,
{
    let mut nesting = Nesting::default();
    let mut json = serde_json::Serializer::with_formatter(json, &mut nesting);
    match value.serialize(Finite { inner: &mut json, trail: () }) {
        Ok(()) => Ok(nesting.deepest()),
        Err(cause) => Err(Fault { place: place_of_fault(value), cause }),
    }
}

/// Writes the value once more, to nowhere: the usual value does not pay for its places.
#[cold]
fn place_of_fault<T: Serialize + ?Sized>(value: &T) -> Vec<String> {
    let place = Place::default();
    let mut json = serde_json::Serializer::new(std::io::sink());
    // The error is known already.
    drop(value.serialize(Finite { inner: &mut json, trail: &place }));
    place.0.into_inner()
}

/// Is told the steps from a failed value up to the whole, while the error passes them.
trait Trail: Copy {
    fn step<T, E>(self, result: Result<T, E>, step: impl FnOnce() -> String) -> Result<T, E>;
}

impl Trail for () {
    fn step<T, E>(self, result: Result<T, E>, _: impl FnOnce() -> String) -> Result<T, E> {
        result
    }
}

/// The steps so far, the innermost first.
#[derive(Default)]
struct Place(RefCell<Vec<String>>);

impl Trail for &Place {
    fn step<T, E>(self, result: Result<T, E>, step: impl FnOnce() -> String) -> Result<T, E> {
        if result.is_err() {
            self.0.borrow_mut().push(step());
        }
        result
    }
}

/// Writes a value by `inner`.
struct Finite<P, S> {
    inner: S,
    trail: P,
}

/// A part of a value, written by the same rules.
struct Part<'v, P, T: ?Sized> {
    value: &'v T,
    trail: P,
}

impl<P: Trail, T: Serialize + ?Sized> Serialize for Part<'_, P, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Finite { inner, trail: self.trail })
    }
}

/// An array, an object or a variant that is being written, and how many parts it has so far.
struct Whole<P, C> {
    inner: C,
    trail: P,
    parts: usize,
}

impl<P: Trail, C> Whole<P, C> {
    fn new<E>(inner: Result<C, E>, trail: P) -> Result<Self, E> {
        inner.map(|inner| Self { inner, trail, parts: 0 })
    }

    fn element<T: ?Sized, E>(
        &mut self,
        value: &T,
        write: impl FnOnce(&mut C, &Part<'_, P, T>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (trail, at) = (self.trail, self.parts);
        self.parts += 1;
        let written = write(&mut self.inner, &Part { value, trail });
        trail.step(written, || format!("[{at}]"))
    }

    fn field<T: ?Sized, E>(
        &mut self,
        name: &str,
        value: &T,
        write: impl FnOnce(&mut C, &Part<'_, P, T>) -> Result<(), E>,
    ) -> Result<(), E> {
        let trail = self.trail;
        let written = write(&mut self.inner, &Part { value, trail });
        trail.step(written, || name.to_owned())
    }
}

fn not_finite<E: serde::ser::Error>(number: f64) -> E {
    E::custom(format_args!(
        "{number} is no number that JSON can hold, so it would be read back as null; \
         use an `Option` or a finite number"
    ))
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method(self $(, $argument: $type)*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($argument),*)
        }
    )*};
}

impl<P: Trail, S: Serializer> Serializer for Finite<P, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Whole<P, S::SerializeSeq>;
    type SerializeTuple = Whole<P, S::SerializeTuple>;
    type SerializeTupleStruct = Whole<P, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Whole<P, S::SerializeTupleVariant>;
    type SerializeMap = Whole<P, S::SerializeMap>;
    type SerializeStruct = Whole<P, S::SerializeStruct>;
    type SerializeStructVariant = Whole<P, S::SerializeStructVariant>;

    forward! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, at: u32, variant: &'static str);
    }

    fn serialize_f32(self, number: f32) -> Result<S::Ok, S::Error> {
        match number.is_finite() {
            true => self.inner.serialize_f32(number),
            false => Err(not_finite(f64::from(number))),
        }
    }

    fn serialize_f64(self, number: f64) -> Result<S::Ok, S::Error> {
        match number.is_finite() {
            true => self.inner.serialize_f64(number),
            false => Err(not_finite(number)),
        }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Part { value, trail: self.trail })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Part { value, trail: self.trail })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        at: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let part = Part { value, trail: self.trail };
        let written = self.inner.serialize_newtype_variant(name, at, variant, &part);
        self.trail.step(written, || variant.to_owned())
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Whole::new(self.inner.serialize_seq(len), self.trail)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Whole::new(self.inner.serialize_tuple(len), self.trail)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        Whole::new(self.inner.serialize_tuple_struct(name, len), self.trail)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        at: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        Whole::new(self.inner.serialize_tuple_variant(name, at, variant, len), self.trail)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Whole::new(self.inner.serialize_map(len), self.trail)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        Whole::new(self.inner.serialize_struct(name, len), self.trail)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        at: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        Whole::new(self.inner.serialize_struct_variant(name, at, variant, len), self.trail)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }
}

macro_rules! sequences {
    ($($trait:ident $write:ident;)*) => {$(
        impl<P: Trail, C: $trait> $trait for Whole<P, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                self.element(value, |inner, part| inner.$write(part))
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

sequences! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! structs {
    ($($trait:ident;)*) => {$(
        impl<P: Trail, C: $trait> $trait for Whole<P, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                self.field(name, value, |inner, part| inner.serialize_field(name, part))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(name)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

structs! {
    SerializeStruct;
    SerializeStructVariant;
}

impl<P: Trail, C: SerializeMap> SerializeMap for Whole<P, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(&Part { value: key, trail: self.trail })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.element(value, |inner, part| inner.serialize_value(part))
    }

    fn serialize_entry<K, V>(&mut self, key: &K, value: &V) -> Result<(), C::Error>
    where
        K: Serialize + ?Sized,
        V: Serialize + ?Sized,
    {
        let trail = self.trail;
        let name = || key_text(key);
        let written =
            self.inner.serialize_entry(&Part { value: key, trail }, &Part { value, trail });
        trail.step(written, name)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}

/// A key for people, if it can be written at all.
fn key_text<K: Serialize + ?Sized>(key: &K) -> String {
    match serde_json::to_value(key) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::json::nesting::depth;

    #[derive(Serialize)]
    struct Line {
        price: f64,
        tags: Vec<Option<f32>>,
    }

    #[derive(Serialize)]
    enum Kind {
        Plain,
        One(f64),
        Two(u8, f64),
        Named { rate: f64 },
    }

    #[derive(Serialize)]
    struct Order {
        lines: Vec<Line>,
        kind: Kind,
        #[serde(flatten)]
        rest: BTreeMap<String, f64>,
    }

    fn order() -> Order {
        let line = Line { price: 1.5, tags: vec![Some(0.1), None] };
        Order { lines: vec![line], kind: Kind::Plain, rest: BTreeMap::new() }
    }

    fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, Fault> {
        let mut written = Vec::new();
        write(value, &mut written).map(|_| written)
    }

    fn refusal(order: &Order) -> String {
        to_vec(order).unwrap_err().to_string()
    }

    #[test]
    fn what_can_be_written_is_written_as_serde_json_does() {
        let raw = serde_json::value::RawValue::from_string("{\"a\" :1e5}".to_owned()).unwrap();
        let wide = (i128::MIN, u128::MAX, f32::MAX, f64::MIN_POSITIVE, -0.0, "\u{0}\u{10ffff}");
        assert_eq!(to_vec(&raw).unwrap(), serde_json::to_vec(&raw).unwrap());
        assert_eq!(to_vec(&wide).unwrap(), serde_json::to_vec(&wide).unwrap());
        for kind in [Kind::Plain, Kind::One(1.0), Kind::Two(1, 2.0), Kind::Named { rate: 0.5 }] {
            let order = Order { kind, rest: [("x".to_owned(), 2.0)].into(), ..order() };
            assert_eq!(to_vec(&order).unwrap(), serde_json::to_vec(&order).unwrap());
        }
    }

    #[test]
    fn the_depth_is_that_of_what_was_written() {
        let raw = serde_json::value::RawValue::from_string(r#"[{"a":[[],"[["]}]"#.to_owned());
        let rest: BTreeMap<_, _> = [("x".to_owned(), 2.0)].into();
        let mut values = vec![serde_json::to_value(&rest).unwrap(), "[[".into(), 7.into()];
        values.push(values.clone().into());
        let lines = vec![Line { price: 1.5, tags: vec![] }, Line { price: 1.5, tags: vec![None] }];
        let mixed = (raw.unwrap(), values, lines, Some([[Kind::Two(1, 2.0)]]));
        let mut json = Vec::new();
        for kind in [Kind::Plain, Kind::One(1.0), Kind::Two(1, 2.0), Kind::Named { rate: 0.5 }] {
            json.clear();
            let order = Order { kind, rest: rest.clone(), ..order() };
            assert_eq!(write(&order, &mut json).unwrap(), depth(&json));
        }
        json.clear();
        assert_eq!(write(&mixed, &mut json).unwrap(), depth(&json));
        json.clear();
        assert_eq!(write(&(&mixed, [&mixed]), &mut json).unwrap(), depth(&json));
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_named_by_its_place() {
        let line = Line { price: f64::NAN, tags: Vec::new() };
        let price = Order { lines: vec![Line { price: 1.0, tags: Vec::new() }, line], ..order() };
        assert!(refusal(&price).starts_with("`lines[1].price`: NaN is no number"));
        let tags = Line { price: 1.0, tags: vec![None, Some(f32::INFINITY)] };
        assert!(
            refusal(&Order { lines: vec![tags], ..order() }).starts_with("`lines[0].tags[1]`: inf")
        );
        let rest = [("rate of \"x\"".to_owned(), f64::NEG_INFINITY)].into();
        assert!(refusal(&Order { rest, ..order() }).starts_with("`rate of \"x\"`: -inf"));
        for (kind, place) in [
            (Kind::One(f64::NAN), "`kind.One`"),
            (Kind::Two(1, f64::NAN), "`kind[1]`"),
            (Kind::Named { rate: f64::NAN }, "`kind.rate`"),
        ] {
            let refused = refusal(&Order { kind, ..order() });
            assert!(refused.starts_with(place), "{refused}");
        }
        assert!(to_vec(&f64::NAN).unwrap_err().to_string().starts_with("NaN is no number"));
    }
}
