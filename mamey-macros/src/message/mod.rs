//! Expands the derives of `Command`, `Query`, `Event` and `Message`.

mod key;
mod kind;
mod options;

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Path, Result, Type};

use crate::shape::{refuse_generics, refuse_inside};
use options::Options;

pub(crate) use kind::Kind;

/// Expands one of the four derives.
pub(crate) fn expand(kind: Kind, input: &DeriveInput) -> Result<TokenStream> {
    refuse_generics(input, kind.with_article())?;
    if let Data::Union(data) = &input.data {
        let error = format!("{} is a struct or an enum", kind.with_article());
        return Err(Error::new_spanned(data.union_token, error));
    }
    refuse_inside(&input.data, kind.attribute(), "the type")?;
    let options = Options::read(kind, input)?;
    let message = expand_message(input, &options)?;
    let own = expand_kind(kind, input, &options);
    let request = expand_request(kind, input, &options);
    Ok(quote! { #message #own #request })
}

fn expand_message(input: &DeriveInput, options: &Options) -> Result<TokenStream> {
    let (ident, krate, name) = (&input.ident, &options.krate, &options.name);
    let (version, must_route) = (options.version, options.must_route);
    let key = options.key.as_ref().map(|key| key.expand(input, krate)).transpose()?;
    let validate = options.validate.then(|| expand_validate(krate));
    let upcast = options.from.as_ref().map(|old| expand_upcast(old, krate));
    let checks = options.from.as_ref().map(|old| expand_upcast_checks(input, old, krate));
    Ok(quote! {
        #[automatically_derived]
        impl #krate::Message for #ident {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            const MUST_ROUTE: bool = #must_route;
            #key
            #validate
            #upcast
        }
        #checks
    })
}

fn expand_kind(kind: Kind, input: &DeriveInput, options: &Options) -> TokenStream {
    let (ident, krate, reply) = (&input.ident, &options.krate, &options.reply);
    match kind {
        Kind::Command => quote! {
            #[automatically_derived]
            impl #krate::Command for #ident {
                type Reply = #reply;
            }
        },
        Kind::Query => quote! {
            #[automatically_derived]
            impl #krate::Query for #ident {
                type Reply = #reply;
            }
        },
        Kind::Event => quote! {
            #[automatically_derived]
            impl #krate::Event for #ident {}
        },
        Kind::Message => TokenStream::new(),
    }
}

/// What other contexts may send: a command or a query whose name is written out.
fn expand_request(kind: Kind, input: &DeriveInput, options: &Options) -> Option<TokenStream> {
    let (ident, krate, reply) = (&input.ident, &options.krate, &options.reply);
    let by = match kind {
        Kind::Command if options.is_named => quote!(ByCommand),
        Kind::Query if options.is_named => quote!(ByQuery),
        _ => return None,
    };
    // Spanned to the reply, so that the error points at one that serde cannot handle.
    let reply = quote_spanned! { reply.span() => type Reply = #reply; };
    Some(quote! {
        #[automatically_derived]
        impl #krate::message::Request for #ident {
            #reply
            type Kind = #krate::message::#by;
        }
    })
}

fn expand_validate(krate: &Path) -> TokenStream {
    quote! {
        fn validate(&self) -> #krate::Result<()> {
            #krate::validation::check(self)
        }
    }
}

fn expand_upcast(old: &Type, krate: &Path) -> TokenStream {
    // Spanned to the old type, so that a missing `From` points there.
    let older = Ident::new("old", old.span());
    let upcast = quote_spanned! { old.span() => ::core::convert::Into::into(#older) };
    quote! {
        fn upcast(version: u32, payload: &[u8]) -> #krate::Result<Self> {
            if version < <Self as #krate::Message>::VERSION {
                let #older = <#old as #krate::Message>::decode(version, payload)?;
                return ::core::result::Result::Ok(#upcast);
            }
            ::core::result::Result::Err(#krate::private::unknown_version::<Self>(version))
        }
    }
}

/// An old type with another name would never be used, and one with a later version would recurse.
fn expand_upcast_checks(input: &DeriveInput, old: &Type, krate: &Path) -> TokenStream {
    let ident = &input.ident;
    let shown = quote!(#old).to_string();
    let name = format!("`from = {shown}`: give `{shown}` and `{ident}` the same `name`");
    let version = format!("`from = {shown}`: give `{shown}` a lower `version` than `{ident}` has");
    quote_spanned! { old.span() =>
        const _: () = {
            ::core::assert!(
                #krate::private::same_name(
                    <#old as #krate::Message>::NAME,
                    <#ident as #krate::Message>::NAME,
                ),
                "{}", #name
            );
            ::core::assert!(
                <#old as #krate::Message>::VERSION < <#ident as #krate::Message>::VERSION,
                "{}", #version
            );
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn mamey_is_found_at_its_own_name_unless_told_otherwise() {
        let plain = parse_quote! { struct PlaceOrder; };
        let expanded = expand(Kind::Command, &plain).unwrap().to_string();
        assert!(expanded.contains("impl :: mamey :: Message for PlaceOrder"), "{expanded}");
        assert!(expanded.contains("impl :: mamey :: Command for PlaceOrder"), "{expanded}");
        let moved = parse_quote! { #[query(crate = crate::sdk)] struct FindOrder; };
        let expanded = expand(Kind::Query, &moved).unwrap().to_string();
        assert!(expanded.contains("impl crate :: sdk :: Query for FindOrder"), "{expanded}");
        assert!(!expanded.contains("mamey"), "{expanded}");
    }

    #[test]
    fn what_is_named_can_be_requested() {
        let named = parse_quote! { #[query(name = "orders.find-order")] struct FindOrder; };
        let expanded = expand(Kind::Query, &named).unwrap().to_string();
        assert!(expanded.contains("Request for FindOrder"), "{expanded}");
        assert!(expanded.contains("ByQuery"), "{expanded}");
        let named = parse_quote! { #[command(name = "orders.place-order")] struct PlaceOrder; };
        let expanded = expand(Kind::Command, &named).unwrap().to_string();
        assert!(expanded.contains("ByCommand"), "{expanded}");
        let unnamed = parse_quote! { #[query(version = 2)] struct FindOrder; };
        let expanded = expand(Kind::Query, &unnamed).unwrap().to_string();
        assert!(!expanded.contains("Request"), "{expanded}");
    }
}
