//! The canonical form of a value: equal for equal values, whatever the build or the client.
//!
//! It looks like JSON, with three differences. The members of structs and maps are sorted. A field
//! of a struct that is `None` is left out, so that adding an optional field changes nothing; an
//! entry of a map that is `None` stays. A floating-point number is the 16 hexadecimal digits of its
//! bits, so that no formatting of digits matters.
//!
//! It is hashed and stored, so it must never change: golden values hold it.

use std::fmt::Display;
use std::io::Write;

use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};
use serde::{Serialize, Serializer};
use serde_json::{Error, Result};

/// Writes the canonical form.
pub(crate) fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(128);
    value.serialize(Canonical(&mut out))?;
    Ok(out)
}

struct Canonical<'o>(&'o mut Vec<u8>);

/// What was written.
#[derive(PartialEq)]
enum Written {
    Value,
    /// `null`, for the `None` of an optional value.
    Nothing,
}

impl Canonical<'_> {
    fn plain(self, value: impl Display) -> Result<Written> {
        write!(self.0, "{value}").map_err(Error::io)?;
        Ok(Written::Value)
    }

    fn string(self, text: &str) -> Result<Written> {
        serde_json::to_writer(self.0, text)?;
        Ok(Written::Value)
    }
}

impl<'o> Canonical<'o> {
    /// Opens the object around the content of an enum's variant.
    fn variant(self, variant: &str) -> Result<&'o mut Vec<u8>> {
        self.0.push(b'{');
        serde_json::to_writer(&mut *self.0, variant)?;
        self.0.push(b':');
        Ok(self.0)
    }
}

macro_rules! plain {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<Written> {
            self.plain(value)
        }
    )*};
}

impl<'o> Serializer for Canonical<'o> {
    type Ok = Written;
    type Error = Error;
    type SerializeSeq = Items<'o>;
    type SerializeTuple = Items<'o>;
    type SerializeTupleStruct = Items<'o>;
    type SerializeTupleVariant = Items<'o>;
    type SerializeMap = Members<'o>;
    type SerializeStruct = Members<'o>;
    type SerializeStructVariant = Members<'o>;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
    }

    fn serialize_f32(self, value: f32) -> Result<Written> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Written> {
        self.plain(format_args!("{:016x}", value.to_bits()))
    }

    fn serialize_char(self, value: char) -> Result<Written> {
        self.string(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Written> {
        self.string(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Written> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<Written> {
        self.serialize_unit().map(|_| Written::Nothing)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Written> {
        value.serialize(self).map(|_| Written::Value)
    }

    fn serialize_unit(self) -> Result<Written> {
        self.plain("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Written> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Written> {
        self.string(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Written> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Written> {
        let out = self.variant(variant)?;
        value.serialize(Canonical(out))?;
        out.push(b'}');
        Ok(Written::Value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'o>> {
        Ok(Items::new(self.0, "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'o>> {
        Ok(Items::new(self.0, "]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items<'o>> {
        Ok(Items::new(self.0, "]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'o>> {
        Ok(Items::new(self.variant(variant)?, "]}"))
    }

    /// A map knows its length. A struct with `#[serde(flatten)]`, which serde writes as a map, does
    /// not, and its optional fields are left out as those of every struct.
    fn serialize_map(self, len: Option<usize>) -> Result<Members<'o>> {
        Ok(Members::new(self.0, len.is_none(), "}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'o>> {
        Ok(Members::new(self.0, true, "}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'o>> {
        Ok(Members::new(self.variant(variant)?, true, "}}"))
    }
}

/// The items of a sequence.
struct Items<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
    close: &'static str,
}

impl<'o> Items<'o> {
    fn new(out: &'o mut Vec<u8>, close: &'static str) -> Self {
        out.push(b'[');
        Self { out, first: true, close }
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        value.serialize(Canonical(self.out)).map(drop)
    }

    fn close(self) -> Result<Written> {
        Canonical(self.out).plain(self.close)
    }
}

/// The members of a struct or a map, which are sorted at its end.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    members: Vec<(Vec<u8>, Vec<u8>)>,
    key: Option<Vec<u8>>,
    leaves_out_none: bool,
    close: &'static str,
}

impl<'o> Members<'o> {
    const fn new(out: &'o mut Vec<u8>, leaves_out_none: bool, close: &'static str) -> Self {
        Self { out, members: Vec::new(), key: None, leaves_out_none, close }
    }

    fn member<T: Serialize + ?Sized>(&mut self, key: Vec<u8>, value: &T) -> Result<()> {
        let mut written = Vec::new();
        let what = value.serialize(Canonical(&mut written))?;
        if what == Written::Value || !self.leaves_out_none {
            self.members.push((key, written));
        }
        Ok(())
    }

    fn close(mut self) -> Result<Written> {
        self.members.sort();
        self.out.push(b'{');
        for (at, (key, value)) in self.members.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(key);
            self.out.push(b':');
            self.out.extend_from_slice(value);
        }
        Canonical(self.out).plain(self.close)
    }
}

macro_rules! items {
    ($($part:ident: $method:ident,)*) => {$(
        impl $part for Items<'_> {
            type Ok = Written;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.item(value)
            }

            fn end(self) -> Result<Written> {
                self.close()
            }
        }
    )*};
}

items! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

macro_rules! fields {
    ($($part:ident,)*) => {$(
        impl $part for Members<'_> {
            type Ok = Written;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<()> {
                self.member(serde_json::to_vec(key)?, value)
            }

            fn end(self) -> Result<Written> {
                self.close()
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant, }

impl SerializeMap for Members<'_> {
    type Ok = Written;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = Some(to_canonical(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = self.key.take().ok_or_else(|| Error::custom("a value without a key"))?;
        self.member(key, value)
    }

    fn end(self) -> Result<Written> {
        self.close()
    }
}
