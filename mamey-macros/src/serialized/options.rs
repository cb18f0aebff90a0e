//! Reads the options of `#[serde(…)]`, and refuses those after which an index has no known source.

use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, LitStr, Result, Token};

/// An option that is refused, and why.
pub(super) type Refused = (&'static str, &'static str);

/// What differs between writing and reading; `option = "…"` stands for both.
pub(super) struct Sides<T> {
    pub(super) write: Option<T>,
    pub(super) read: Option<T>,
}

impl<T> Default for Sides<T> {
    fn default() -> Self {
        Self { write: None, read: None }
    }
}

impl Sides<LitStr> {
    /// The value of `rename` and `rename_all`.
    pub(super) fn parse(meta: &ParseNestedMeta<'_>) -> Result<Self> {
        if !meta.input.peek(syn::token::Paren) {
            let both: LitStr = meta.value()?.parse()?;
            return Ok(Self { write: Some(both.clone()), read: Some(both) });
        }
        let mut sides = Self::default();
        meta.parse_nested_meta(|side| {
            let text = Some(side.value()?.parse()?);
            if side.path.is_ident("serialize") {
                sides.write = text;
            } else {
                sides.read = text;
            }
            Ok(())
        })?;
        Ok(sides)
    }
}

/// Passes each option of every `#[serde(…)]` to `take`, which says whether it read the option's
/// value; what serde checks is left to serde.
pub(super) fn each_serde_option(
    attrs: &[Attribute],
    mut take: impl FnMut(&str, &ParseNestedMeta<'_>) -> Result<bool>,
) -> Result<()> {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        attr.parse_nested_meta(|meta| {
            let option = meta.path.to_token_stream().to_string();
            if !take(&option, &meta)? {
                while !meta.input.is_empty() && !meta.input.peek(Token![,]) {
                    meta.input.parse::<TokenTree>()?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Refuses an option of the list, by its name and with its reason.
pub(super) fn refuse(option: &str, meta: &ParseNestedMeta<'_>, refused: &[Refused]) -> Result<()> {
    match refused.iter().find(|(name, _)| *name == option) {
        Some((_, why)) => Err(meta.error(format!("`#[serde({option})]` {why}"))),
        None => Ok(()),
    }
}
