//! What serde calls fields and variants, and whether an index can be read from what serde writes.

mod options;
mod rule;

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::{Attribute, Error, LitStr, Result};

use options::{Refused, Sides, each_serde_option, refuse};
use rule::Rule;

/// How serde names the fields or variants of one type.
#[derive(Default)]
pub(crate) struct Naming {
    rule: Sides<Rule>,
    /// The name under which serde writes the type itself, beside the fields.
    tag: Option<String>,
}

/// Of a struct whose fields are indexed.
const STRUCT: [Refused; 3] = [
    ("transparent", "writes no object, so there are no fields to index: remove one of the two"),
    ("into", "writes another type, whose fields the index does not know: make that the aggregate"),
    ("remote", "is not for an aggregate: derive `Serialize` for the type itself"),
];

/// Of an enum or newtype that is indexed.
const VALUE: [Refused; 5] = [
    ("tag", "writes an object, which cannot be indexed: write the variants as plain text"),
    ("content", "writes an object, which cannot be indexed: write the variants as plain text"),
    ("untagged", "writes no name, so variants cannot be told apart: write them as plain text"),
    ("into", "writes another type: derive `IndexValue` for that one, and index it"),
    ("remote", "is not for an indexed type: derive `Serialize` for the type itself"),
];

/// Of a field that is indexed or the id.
const FIELD: [Refused; 7] = [
    ("flatten", "spreads the field over the document, where no store finds it: keep it whole"),
    ("skip", "leaves it out of the document, from which a store reads it: remove one of the two"),
    ("skip_serializing", "leaves it out of the document, from which a store reads it: write it"),
    ("skip_deserializing", "does not read back what the index holds: read it"),
    ("with", "writes a form that no store knows: give the form to a newtype's `Serialize`"),
    (
        "serialize_with",
        "writes a form that no store knows: give the form to a newtype's `Serialize`",
    ),
    ("getter", "is not for an aggregate: derive `Serialize` for the type itself"),
];

/// Of a variant, or a newtype's field.
const PART: [Refused; 6] = [
    ("skip", "cannot be written, so it cannot be indexed: remove it"),
    ("skip_serializing", "cannot be written, so it cannot be indexed: remove it"),
    ("skip_deserializing", "cannot be read back: remove it"),
    ("untagged", "writes no name, so variants cannot be told apart: write them as plain text"),
    ("with", "writes a form that no store knows: write `Serialize` by hand"),
    ("serialize_with", "writes a form that no store knows: write `Serialize` by hand"),
];

impl Naming {
    /// Of a struct with indexed fields.
    pub(crate) fn of_struct(attrs: &[Attribute]) -> Result<Self> {
        Self::read(attrs, &STRUCT)
    }

    /// Of an enum or newtype that is indexed as one value.
    pub(crate) fn of_value(attrs: &[Attribute]) -> Result<Self> {
        Self::read(attrs, &VALUE)
    }

    fn read(attrs: &[Attribute], refused: &[Refused]) -> Result<Self> {
        let mut naming = Self::default();
        each_serde_option(attrs, |option, meta| {
            refuse(option, meta, refused)?;
            match option {
                "rename_all" => {
                    let sides = Sides::parse(meta)?;
                    naming.rule.write = sides.write.as_ref().map(Rule::parse).transpose()?;
                    naming.rule.read = sides.read.as_ref().map(Rule::parse).transpose()?;
                }
                "tag" => naming.tag = Some(meta.value()?.parse::<LitStr>()?.value()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(naming)
    }

    /// Whether serde writes the type itself under this name.
    pub(crate) fn has_tag(&self, name: &str) -> bool {
        self.tag.as_deref() == Some(name)
    }

    /// What serde calls any field, and `None` when it is not written under one name.
    pub(crate) fn any_field(&self, ident: &Ident, attrs: &[Attribute]) -> Result<Option<String>> {
        let (mut rename, mut absent) = (Sides::default(), false);
        each_serde_option(attrs, |option, meta| match option {
            "rename" => {
                rename = Sides::parse(meta)?;
                Ok(true)
            }
            "flatten" | "skip" | "skip_serializing" => {
                absent = true;
                Ok(false)
            }
            _ => Ok(false),
        })?;
        let written = rename.write.map(|name| name.value());
        let name = written.unwrap_or_else(|| named(ident, self.rule.write, Rule::field));
        Ok((!absent).then_some(name))
    }

    /// What serde calls a field that is indexed or the id.
    pub(crate) fn field(&self, ident: &Ident, attrs: &[Attribute]) -> Result<String> {
        let mut rename = Sides::default();
        each_serde_option(attrs, |option, meta| {
            refuse(option, meta, &FIELD)?;
            match option {
                "rename" => rename = Sides::parse(meta)?,
                "skip_serializing_if" => {
                    let check: LitStr = meta.value()?.parse()?;
                    if !check.value().ends_with("Option::is_none") {
                        return Err(Error::new(check.span(), LEFT_OUT));
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        self.one_name(ident, &rename, Rule::field)
    }

    /// What serde calls a variant.
    pub(crate) fn variant(&self, ident: &Ident, attrs: &[Attribute]) -> Result<String> {
        let mut rename = Sides::default();
        each_serde_option(attrs, |option, meta| {
            refuse(option, meta, &PART)?;
            if option != "rename" {
                return Ok(false);
            }
            rename = Sides::parse(meta)?;
            Ok(true)
        })?;
        self.one_name(ident, &rename, Rule::variant)
    }

    fn one_name(
        &self,
        ident: &Ident,
        rename: &Sides<LitStr>,
        apply: fn(Rule, &str) -> String,
    ) -> Result<String> {
        let name = |given: &Option<LitStr>, rule| {
            given.as_ref().map_or_else(|| named(ident, rule, apply), LitStr::value)
        };
        let write = name(&rename.write, self.rule.write);
        let read = name(&rename.read, self.rule.read);
        if write == read {
            return Ok(write);
        }
        let error = format!(
            "serde writes this as `{write}` and reads it as `{read}`, so what is stored could not \
             be read back: give it one name"
        );
        Err(Error::new_spanned(ident, error))
    }
}

const LEFT_OUT: &str = "a value that is left out of the document is missing from the index: only \
                        `skip_serializing_if = \"Option::is_none\"` means the same in both";

/// Refuses options on a newtype's field that change what it writes.
pub(crate) fn check_newtype_field(attrs: &[Attribute]) -> Result<()> {
    each_serde_option(attrs, |option, meta| refuse(option, meta, &PART).map(|()| false))
}

fn named(ident: &Ident, rule: Option<Rule>, apply: fn(Rule, &str) -> String) -> String {
    let name = ident.unraw().to_string();
    rule.map_or_else(|| name.clone(), |rule| apply(rule, &name))
}
