//! Expands the derive of `IndexValue`.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Path, Result, Variant};

use crate::attributes::{all, crate_path, default_crate, each_option};
use crate::id::expand_index_value;
use crate::serialized::{Naming, check_newtype_field};
use crate::shape::{newtype_field, refuse_generics, refuse_inside, some_variants};

const NOT_INDEXABLE: &str =
    "an indexable type is an enum without data or a struct that wraps one value: `struct Name(T);`";

/// The longest name of a variant, in bytes.
const VARIANT_NAME_BYTES_MAX: usize = 120;

/// Expands the derive.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    refuse_generics(input, "an indexable type")?;
    let mut krate = None;
    each_option(&input.attrs, "index_value", &["crate"], |_, meta| {
        krate = Some(crate_path(meta)?);
        Ok(())
    })?;
    let krate = krate.unwrap_or_else(default_crate);
    let naming = Naming::of_value(&input.attrs)?;
    if let Data::Enum(data) = &input.data {
        let error = "an indexed enum has at least one variant: add one";
        let variants = some_variants(input, &data.variants, error)?;
        return expand_enum(input, &naming, variants, &krate);
    }
    refuse_inside(&input.data, "index_value", "the type")?;
    let field = newtype_field(input, NOT_INDEXABLE)?;
    check_newtype_field(&field.attrs)?;
    Ok(expand_index_value(input, &field.ty, &krate))
}

fn expand_enum<'a>(
    input: &DeriveInput,
    naming: &Naming,
    variants: impl IntoIterator<Item = &'a Variant>,
    krate: &Path,
) -> Result<TokenStream> {
    let ident = &input.ident;
    let mut taken = HashMap::new();
    let arms = all(variants.into_iter().map(|variant| expand_arm(naming, variant, &mut taken)))?;
    let criteria = quote! { #krate::criteria };
    Ok(quote! {
        #[automatically_derived]
        impl #criteria::IndexValue for #ident {
            const TYPE: #criteria::ValueType = #criteria::ValueType::Text;

            fn to_value(&self) -> #criteria::Value {
                let name = match self { #(#arms)* };
                #criteria::Value::Text(::std::borrow::ToOwned::to_owned(name))
            }
        }
    })
}

fn expand_arm(
    naming: &Naming,
    variant: &Variant,
    taken: &mut HashMap<String, Ident>,
) -> Result<TokenStream> {
    let ident = &variant.ident;
    if !matches!(variant.fields, Fields::Unit) {
        let error = "a variant with data cannot be indexed: \
                     index a field that holds the kind alone";
        return Err(Error::new_spanned(variant, error));
    }
    refuse_own_name(&variant.attrs)?;
    let name = naming.variant(ident, &variant.attrs)?;
    if name.is_empty() || name.len() > VARIANT_NAME_BYTES_MAX {
        let error = format!(
            "an indexed variant is written with 1 to {VARIANT_NAME_BYTES_MAX} bytes: give it such \
             a name by `#[serde(rename = \"…\")]`"
        );
        return Err(Error::new_spanned(ident, error));
    }
    if let Some(other) = taken.insert(name.clone(), ident.clone()) {
        let error = format!(
            "serde writes `{other}` as `{name}` too: \
             give one of them another name by `#[serde(rename = \"…\")]`"
        );
        return Err(Error::new_spanned(ident, error));
    }
    Ok(quote! { Self::#ident => #name, })
}

fn refuse_own_name(attrs: &[Attribute]) -> Result<()> {
    match attrs.iter().find(|attr| attr.path().is_ident("index_value")) {
        None => Ok(()),
        Some(found) => Err(Error::new_spanned(
            found,
            "a variant is indexed under the name that serde writes: \
             use `#[serde(rename = \"…\")]` instead",
        )),
    }
}
