//! Expands the derive of `Rejection`.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, LitStr, Member, Path, Result, Type, Variant,
};

use crate::attributes::{all, crate_path, default_crate, each_option, flag, text};
use crate::names::{check_dotted, kebab_case};
use crate::shape::{only_member, refuse_generics, refuse_on_fields, some_variants};

const EXAMPLE: &str = "code = \"orders.empty\"";

/// Expands the derive.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    refuse_generics(input, "a rejection")?;
    match &input.data {
        Data::Struct(data) => expand_struct(input, &data.fields),
        Data::Enum(data) => {
            let error = "a rejection has at least one variant with a code: add one";
            expand_enum(input, some_variants(input, &data.variants, error)?)
        }
        Data::Union(data) => {
            let error = "a rejection is a struct or an enum";
            Err(Error::new_spanned(data.union_token, error))
        }
    }
}

/// How a struct or a variant gets its code.
enum Code<'a> {
    Own(LitStr),
    OfField(Member, &'a Type),
}

fn expand_struct(input: &DeriveInput, fields: &Fields) -> Result<TokenStream> {
    let mut krate = None;
    let known = ["code", "transparent", "crate"];
    let code = read_code(&input.attrs, &known, &input.ident, fields, &mut krate)?;
    let krate = krate.unwrap_or_else(default_crate);
    let body = match code {
        Code::Own(code) => quote! { #code },
        Code::OfField(member, ty) => {
            let code = code_of(ty, &krate);
            quote! { #code(&self.#member) }
        }
    };
    Ok(expand_impl(&input.ident, &krate, &body))
}

fn expand_enum<'a>(
    input: &DeriveInput,
    variants: impl IntoIterator<Item = &'a Variant>,
) -> Result<TokenStream> {
    let mut krate = None;
    each_option(&input.attrs, "rejection", &["crate"], |_, meta| {
        krate = Some(crate_path(meta)?);
        Ok(())
    })?;
    let krate = krate.unwrap_or_else(default_crate);
    let mut taken = HashMap::new();
    let arms = all(variants.into_iter().map(|variant| expand_arm(variant, &krate, &mut taken)))?;
    Ok(expand_impl(&input.ident, &krate, &quote! { match self { #(#arms)* } }))
}

fn expand_arm(
    variant: &Variant,
    krate: &Path,
    taken: &mut HashMap<String, Ident>,
) -> Result<TokenStream> {
    let ident = &variant.ident;
    let known = ["code", "transparent"];
    match read_code(&variant.attrs, &known, ident, &variant.fields, &mut None)? {
        Code::Own(code) => {
            if let Some(other) = taken.insert(code.value(), ident.clone()) {
                let error = format!("`{other}` has this code: give `{ident}` its own");
                return Err(Error::new(code.span(), error));
            }
            Ok(quote! { Self::#ident { .. } => #code, })
        }
        Code::OfField(member, ty) => {
            let code = code_of(ty, krate);
            Ok(quote! { Self::#ident { #member: inner } => #code(inner), })
        }
    }
}

fn expand_impl(ident: &Ident, krate: &Path, body: &TokenStream) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #krate::Rejection for #ident {
            fn code(&self) -> &'static str {
                #body
            }
        }
    }
}

/// Spanned to the field's type, so that the error points at one that is not a rejection.
fn code_of(ty: &Type, krate: &Path) -> TokenStream {
    quote_spanned! { ty.span() => <#ty as #krate::Rejection>::code }
}

fn read_code<'a>(
    attrs: &[Attribute],
    known: &[&str],
    ident: &Ident,
    fields: &'a Fields,
    krate: &mut Option<Path>,
) -> Result<Code<'a>> {
    refuse_on_fields(fields, "rejection", "what holds the field")?;
    let (mut code, mut transparent) = (None, false);
    each_option(attrs, "rejection", known, |option, meta| {
        match option {
            "code" => code = Some(text(meta, EXAMPLE)?),
            "transparent" => transparent = flag(meta)?,
            _ => *krate = Some(crate_path(meta)?),
        }
        if code.is_some() && transparent {
            return Err(meta.error("`transparent` takes the field's code: keep one of the two"));
        }
        Ok(())
    })?;
    let own = kebab_case(&ident.to_string());
    match (code, transparent) {
        (Some(code), _) => {
            check_dotted(&code, &format!("context.{own}"))?;
            Ok(Code::Own(code))
        }
        (None, true) => {
            let error = "`transparent` needs exactly one field, which is a rejection itself";
            let only = only_member(fields).ok_or_else(|| Error::new_spanned(ident, error));
            only.map(|(member, ty)| Code::OfField(member, ty))
        }
        (None, false) => {
            let fix = format!("add a stable code: `#[rejection(code = \"context.{own}\")]`");
            Err(Error::new_spanned(ident, fix))
        }
    }
}
