//! Expands the derive of `IndexValue`.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, Path, Result, Variant};

use crate::attributes::{all, crate_path, default_crate, each_option, text};
use crate::id::expand_index_value;
use crate::names::kebab_case;
use crate::shape::{newtype_field, refuse_generics, refuse_inside, some_variants};

const NOT_INDEXABLE: &str =
    "an indexable type is an enum without data or a struct that wraps one value: `struct Name(T);`";

/// The longest stored name of a variant, in bytes.
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
    if let Data::Enum(data) = &input.data {
        let error = "an indexed enum has at least one variant: add one";
        return expand_enum(input, some_variants(input, &data.variants, error)?, &krate);
    }
    refuse_inside(&input.data, "index_value", "the type")?;
    let inner = &newtype_field(input, NOT_INDEXABLE)?.ty;
    Ok(expand_index_value(input, inner, &krate))
}

fn expand_enum<'a>(
    input: &DeriveInput,
    variants: impl IntoIterator<Item = &'a Variant>,
    krate: &Path,
) -> Result<TokenStream> {
    let ident = &input.ident;
    let mut taken = HashMap::new();
    let arms = all(variants.into_iter().map(|variant| expand_arm(variant, &mut taken)))?;
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

fn expand_arm(variant: &Variant, taken: &mut HashMap<String, Ident>) -> Result<TokenStream> {
    let ident = &variant.ident;
    if !matches!(variant.fields, Fields::Unit) {
        let error = "a variant with data cannot be indexed: \
                     index a field that holds the kind alone";
        return Err(Error::new_spanned(variant, error));
    }
    let mut written = None;
    each_option(&variant.attrs, "index_value", &["name"], |_, meta| {
        written = Some(text(meta, "name = \"stored-name\"")?);
        Ok(())
    })?;
    let span = written.as_ref().map_or(ident.span(), syn::LitStr::span);
    let name = match &written {
        Some(written) => written.value(),
        None => kebab_case(&ident.unraw().to_string()),
    };
    if name.is_empty() || name.len() > VARIANT_NAME_BYTES_MAX {
        let error = format!("a stored name has 1 to {VARIANT_NAME_BYTES_MAX} bytes");
        return Err(Error::new(span, error));
    }
    if let Some(other) = taken.insert(name.clone(), ident.clone()) {
        let error = format!(
            "`{other}` is stored as `{name}` too: \
             give one of them `#[index_value(name = \"…\")]`"
        );
        return Err(Error::new(span, error));
    }
    Ok(quote! { Self::#ident => #name, })
}
