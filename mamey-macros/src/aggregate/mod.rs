//! Expands the derive of `Aggregate`.

mod fields;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, LitStr, Path, Result};

use crate::attributes::{both, crate_path, default_crate, each_option, text};
use crate::names::{column_rule, is_column, kebab_case};
use crate::shape::refuse_generics;
use fields::{Fields, IndexedField};

/// Expands the derive.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    refuse_generics(input, "an aggregate")?;
    let (options, fields) = both(Options::read(input), Fields::read(input))?;
    let constants = expand_constants(input, &fields, &options.krate);
    let aggregate = expand_aggregate(input, &fields, &options);
    Ok(quote! { #aggregate #constants })
}

struct Options {
    krate: Path,
    collection: LitStr,
}

impl Options {
    fn read(input: &DeriveInput) -> Result<Self> {
        let (mut krate, mut collection) = (None, None);
        each_option(&input.attrs, "aggregate", &["collection", "crate"], |option, meta| {
            match option {
                "collection" => collection = Some(text(meta, "collection = \"orders\"")?),
                _ => krate = Some(crate_path(meta)?),
            }
            Ok(())
        })?;
        let collection = collection.ok_or_else(|| no_collection(input))?;
        if !is_column(&collection.value()) {
            let error = format!("a collection's name is {}", column_rule());
            return Err(Error::new(collection.span(), error));
        }
        Ok(Self { krate: krate.unwrap_or_else(default_crate), collection })
    }
}

fn no_collection(input: &DeriveInput) -> Error {
    let own = kebab_case(&input.ident.to_string()).replace('-', "_");
    let fix = format!("say where it is kept: add `#[aggregate(collection = \"{own}s\")]`");
    Error::new_spanned(&input.ident, fix)
}

fn expand_aggregate(input: &DeriveInput, fields: &Fields<'_>, options: &Options) -> TokenStream {
    let (ident, krate, collection) = (&input.ident, &options.krate, &options.collection);
    let (id, id_type) = (&fields.id.member, &fields.id.ty);
    let id_value = value_type(id_type, krate);
    let indexes = fields.indexed.iter().map(|field| expand_index(field, krate));
    let values = fields.indexed.iter().map(|field| expand_value(field, krate));
    quote! {
        #[automatically_derived]
        impl #krate::Aggregate for #ident {
            type Id = #id_type;

            const COLLECTION: &'static #krate::criteria::Collection = &#krate::criteria::Collection::new(#collection, #id_value).with_indexes(&[#(#indexes),*]);

            fn id(&self) -> &Self::Id {
                &self.#id
            }

            fn index_values(&self) -> ::std::vec::Vec<#krate::criteria::Value> {
                ::std::vec![#(#values),*]
            }
        }
    }
}

fn expand_index(indexed: &IndexedField<'_>, krate: &Path) -> TokenStream {
    let (name, unique) = (&indexed.name, indexed.unique);
    let value = value_type(indexed.ty, krate);
    quote! { #krate::criteria::Index::new(#name, #value).with_unique(#unique) }
}

fn expand_value(indexed: &IndexedField<'_>, krate: &Path) -> TokenStream {
    let (member, ty) = (indexed.ident, indexed.ty);
    let to_value = quote_spanned! { ty.span() => <#ty as #krate::criteria::IndexValue>::to_value };
    quote! { #to_value(&self.#member) }
}

/// Spanned to the field's type, so that the error points at a type that cannot be indexed.
fn value_type(ty: &syn::Type, krate: &Path) -> TokenStream {
    quote_spanned! { ty.span() => <#ty as #krate::criteria::IndexValue>::TYPE }
}

/// One constant per indexed field, and `ID`, from which criteria are built.
fn expand_constants(input: &DeriveInput, fields: &Fields<'_>, krate: &Path) -> TokenStream {
    let (ident, vis) = (&input.ident, &input.vis);
    let id_type = fields.id.ty;
    let constants = fields.indexed.iter().map(|field| {
        let (constant, name, ty) = (field.constant(), &field.name, field.ty);
        let doc = format!("The indexed field `{name}` of the document, for criteria.");
        quote! {
            #[doc = #doc]
            #vis const #constant: #krate::criteria::Field<Self, #ty> =
                #krate::criteria::Field::new(#name);
        }
    });
    let id = format_ident!("ID");
    // Not every constant is used, and the type of a private field may be private.
    quote! {
        #[automatically_derived]
        #[allow(dead_code, private_interfaces)]
        impl #ident {
            /// The id, for criteria.
            #vis const #id: #krate::criteria::Field<Self, #id_type> =
                #krate::criteria::Field::new("id");
            #(#constants)*
        }
    }
}
