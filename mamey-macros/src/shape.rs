//! Reads the shape of the type that a derive is applied to.

use syn::punctuated::Punctuated;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, GenericParam, Index, Member, Result, Token,
    Type, Variant,
};

/// Refuses generic types: names, collections and codes belong to one concrete type.
pub(crate) fn refuse_generics(input: &DeriveInput, what: &str) -> Result<()> {
    let Some(param) = input.generics.params.first() else {
        return Ok(());
    };
    let fix = match param {
        GenericParam::Lifetime(_) => "own the data, for instance `String` for `&str`",
        _ => "write one type for each use",
    };
    Err(Error::new_spanned(param, format!("{what} cannot be generic: {fix}")))
}

/// Refuses `#[attribute(…)]` inside the type, where it would be ignored silently.
pub(crate) fn refuse_inside(data: &Data, attribute: &str, place: &str) -> Result<()> {
    match data {
        Data::Struct(data) => refuse_on_fields(&data.fields, attribute, place),
        Data::Enum(data) => data.variants.iter().try_for_each(|variant| {
            refuse_attribute(&variant.attrs, attribute, place)?;
            refuse_on_fields(&variant.fields, attribute, place)
        }),
        Data::Union(_) => Ok(()),
    }
}

/// Refuses `#[attribute(…)]` on fields.
pub(crate) fn refuse_on_fields(fields: &Fields, attribute: &str, place: &str) -> Result<()> {
    fields.iter().try_for_each(|field| refuse_attribute(&field.attrs, attribute, place))
}

fn refuse_attribute(attrs: &[Attribute], attribute: &str, place: &str) -> Result<()> {
    let Some(found) = attrs.iter().find(|attr| attr.path().is_ident(attribute)) else {
        return Ok(());
    };
    let error = format!("`#[{attribute}(…)]` means nothing here: move it to {place}");
    Err(Error::new_spanned(found, error))
}

/// The fields of a struct; anything else gets `error`.
pub(crate) fn struct_fields<'a>(input: &'a DeriveInput, error: &str) -> Result<&'a Fields> {
    match &input.data {
        Data::Struct(data) => Ok(&data.fields),
        _ => Err(Error::new_spanned(&input.ident, error)),
    }
}

/// The one field of a tuple struct; anything else gets `error`.
pub(crate) fn newtype_field<'a>(input: &'a DeriveInput, error: &str) -> Result<&'a Field> {
    let fields = struct_fields(input, error)?;
    match (fields, fields.iter().next()) {
        (Fields::Unnamed(_), Some(field)) if fields.len() == 1 => Ok(field),
        _ => Err(Error::new_spanned(&input.ident, error)),
    }
}

/// The one field's name or place and its type, if there is exactly one field.
pub(crate) fn only_member(fields: &Fields) -> Option<(Member, &Type)> {
    let mut iter = fields.iter();
    let (Some(field), None) = (iter.next(), iter.next()) else {
        return None;
    };
    let member = match &field.ident {
        Some(ident) => Member::Named(ident.clone()),
        None => Member::Unnamed(Index::from(0)),
    };
    Some((member, &field.ty))
}

/// The variants of an enum that has some; no variants get `error`.
pub(crate) fn some_variants<'a>(
    input: &DeriveInput,
    variants: &'a Punctuated<Variant, Token![,]>,
    error: &str,
) -> Result<&'a Punctuated<Variant, Token![,]>> {
    if variants.is_empty() {
        return Err(Error::new_spanned(&input.ident, error));
    }
    Ok(variants)
}
