//! Expands the derive of `Id`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Path, Result, Type};

use crate::attributes::{crate_path, default_crate, each_option};
use crate::shape::{newtype_field, refuse_generics, refuse_inside};

const NOT_A_NEWTYPE: &str = "an id wraps one value: write `struct OrderId(Uuid);`";

/// Expands the derive.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    refuse_generics(input, "an id")?;
    refuse_inside(&input.data, "id", "the type")?;
    let mut krate = None;
    each_option(&input.attrs, "id", &["crate"], |_, meta| {
        krate = Some(crate_path(meta)?);
        Ok(())
    })?;
    let krate = krate.unwrap_or_else(default_crate);
    let inner = &newtype_field(input, NOT_A_NEWTYPE)?.ty;
    let own = match Inner::of(inner)? {
        Inner::Uuid => expand_new(input, &krate),
        Inner::Text => expand_from_str_slice(input),
        Inner::Integer => TokenStream::new(),
    };
    let parts = [
        expand_access(input, inner),
        expand_text(input, inner, &krate),
        expand_serde(input, &krate),
        expand_index_value(input, inner, &krate),
        own,
    ];
    Ok(parts.into_iter().collect())
}

/// What an id can wrap.
enum Inner {
    Uuid,
    Text,
    Integer,
}

impl Inner {
    /// A macro sees names, not types: an alias is not recognized.
    fn of(ty: &Type) -> Result<Self> {
        let name = match ty {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        let fix = match name.as_deref() {
            Some("Uuid") => return Ok(Self::Uuid),
            Some("String") => return Ok(Self::Text),
            Some("i64") => return Ok(Self::Integer),
            Some("u64" | "usize" | "u128") => "an id wraps `i64`: no store orders larger integers",
            _ => "an id wraps `Uuid`, `String` or `i64`, written by these names",
        };
        Err(Error::new_spanned(ty, fix))
    }
}

fn expand_access(input: &DeriveInput, inner: &Type) -> TokenStream {
    let (ident, vis) = (&input.ident, &input.vis);
    quote! {
        #[automatically_derived]
        #[allow(dead_code)]
        impl #ident {
            /// The value that this id wraps.
            #[must_use]
            #vis const fn as_inner(&self) -> &#inner {
                &self.0
            }
        }

        #[automatically_derived]
        impl ::core::convert::From<#inner> for #ident {
            fn from(inner: #inner) -> Self {
                Self(inner)
            }
        }
    }
}

fn expand_text(input: &DeriveInput, inner: &Type, krate: &Path) -> TokenStream {
    let ident = &input.ident;
    let kind = ident.to_string();
    quote! {
        #[automatically_derived]
        impl ::core::fmt::Display for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(&self.0, f)
            }
        }

        #[automatically_derived]
        impl ::core::str::FromStr for #ident {
            type Err = #krate::Error;

            fn from_str(text: &str) -> #krate::Result<Self> {
                #krate::private::parse_id::<#inner>(#kind, text).map(Self)
            }
        }
    }
}

fn expand_serde(input: &DeriveInput, krate: &Path) -> TokenStream {
    let ident = &input.ident;
    let serde = quote! { #krate::private::serde };
    quote! {
        #[automatically_derived]
        impl #serde::Serialize for #ident {
            fn serialize<S: #serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                #serde::Serialize::serialize(&self.0, serializer)
            }
        }

        #[automatically_derived]
        impl<'de> #serde::Deserialize<'de> for #ident {
            fn deserialize<D: #serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                #serde::Deserialize::deserialize(deserializer).map(Self)
            }
        }
    }
}

/// An id is stored as what it wraps; shared with the derive of `IndexValue`.
pub(crate) fn expand_index_value(input: &DeriveInput, inner: &Type, krate: &Path) -> TokenStream {
    let ident = &input.ident;
    let criteria = quote! { #krate::criteria };
    quote! {
        #[automatically_derived]
        impl #criteria::IndexValue for #ident {
            const TYPE: #criteria::ValueType = <#inner as #criteria::IndexValue>::TYPE;

            fn to_value(&self) -> #criteria::Value {
                #criteria::IndexValue::to_value(&self.0)
            }
        }
    }
}

fn expand_new(input: &DeriveInput, krate: &Path) -> TokenStream {
    let (ident, vis) = (&input.ident, &input.vis);
    // An id has no default: each new one differs from all others.
    quote! {
        #[automatically_derived]
        #[allow(dead_code, clippy::new_without_default)]
        impl #ident {
            /// A new id, never repeated; prefer `Context::new_id` in handlers.
            #[must_use]
            #vis fn new() -> Self {
                Self(#krate::id::new_uuid())
            }
        }

        #[automatically_derived]
        impl #krate::domain::NewId for #ident {
            fn from_new_uuid(uuid: #krate::private::uuid::Uuid) -> Self {
                Self(uuid)
            }
        }
    }
}

fn expand_from_str_slice(input: &DeriveInput) -> TokenStream {
    let ident = &input.ident;
    quote! {
        #[automatically_derived]
        impl ::core::convert::From<&str> for #ident {
            fn from(text: &str) -> Self {
                Self(::std::borrow::ToOwned::to_owned(text))
            }
        }
    }
}
