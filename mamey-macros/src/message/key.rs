//! The field that is a message's key.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Member, Path, Result, Token};

use crate::attributes::listed;

/// A field, or a path such as `customer.id` to a field's field.
pub(super) struct KeyPath(Punctuated<Member, Token![.]>);

impl KeyPath {
    /// The method that gives the key.
    pub(super) fn expand(&self, input: &DeriveInput, krate: &Path) -> Result<TokenStream> {
        self.check(input)?;
        let path = &self.0;
        // Spanned to the field, so that the error points at one that does not implement `Display`.
        Ok(quote_spanned! { path.span() =>
            fn key(&self) -> ::core::option::Option<#krate::message::Key> {
                let field = &self.#path;
                ::core::option::Option::Some(#krate::message::Key::new(field))
            }
        })
    }

    /// Checks the first field; the compiler checks the others.
    fn check(&self, input: &DeriveInput) -> Result<()> {
        let Data::Struct(data) = &input.data else {
            let error = "the variants of an enum share no field: \
                         wrap the enum in a struct that has the key as a field";
            return Err(Error::new_spanned(&self.0, error));
        };
        let found = match self.0.first() {
            Some(Member::Named(name)) => data.fields.iter().any(|f| f.ident.as_ref() == Some(name)),
            Some(Member::Unnamed(at)) => {
                let count = u32::try_from(data.fields.len()).unwrap_or(u32::MAX);
                matches!(data.fields, Fields::Unnamed(_)) && at.index < count
            }
            None => false,
        };
        if found {
            return Ok(());
        }
        let fields = names_of(&data.fields);
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let fix = format!("`key` names a field; `{}` has {}", input.ident, listed(&fields));
        Err(Error::new_spanned(&self.0, fix))
    }
}

impl Parse for KeyPath {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        Punctuated::parse_separated_nonempty(input).map(Self)
    }
}

fn names_of(fields: &Fields) -> Vec<String> {
    let name = |(at, field): (usize, &syn::Field)| match &field.ident {
        Some(ident) => ident.unraw().to_string(),
        None => at.to_string(),
    };
    fields.iter().enumerate().map(name).collect()
}
