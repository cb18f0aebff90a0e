//! Reads the options of an attribute such as `#[command(reply = OrderId, validate)]`.

use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::parse::Parse;
use syn::{Attribute, Error, LitStr, Path, Result, Token, parse_quote};

/// Passes each option of every `#[attribute(…)]` to `take`, and refuses unknown and repeated ones.
pub(crate) fn each_option(
    attrs: &[Attribute],
    attribute: &str,
    known: &[&str],
    mut take: impl FnMut(&str, &ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let mut seen = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(attribute)) {
        attr.parse_nested_meta(|meta| {
            let option = meta.path.to_token_stream().to_string();
            if !known.contains(&option.as_str()) {
                let known = listed(known);
                return Err(meta.error(format!("here `#[{attribute}(…)]` takes {known} alone")));
            }
            if seen.contains(&option) {
                return Err(meta.error(format!("`{option}` is given twice: keep one")));
            }
            take(&option, &meta)?;
            seen.push(option);
            Ok(())
        })?;
    }
    Ok(())
}

/// The value of `option = value`.
pub(crate) fn value<T: Parse>(meta: &ParseNestedMeta<'_>, example: &str) -> Result<T> {
    if !meta.input.peek(Token![=]) {
        return Err(meta.error(format!("this needs a value: write `{example}`")));
    }
    let input = meta.value()?;
    let at = input.span();
    input.parse().map_err(|_| Error::new(at, format!("this value does not fit: write `{example}`")))
}

/// An option without a value.
pub(crate) fn flag(meta: &ParseNestedMeta<'_>) -> Result<bool> {
    if meta.input.peek(Token![=]) || meta.input.peek(syn::token::Paren) {
        let option = meta.path.to_token_stream();
        return Err(meta.error(format!("this takes no value: write `{option}` alone")));
    }
    Ok(true)
}

/// Text in quotes.
pub(crate) fn text(meta: &ParseNestedMeta<'_>, example: &str) -> Result<LitStr> {
    value(meta, example)
}

/// The value of `crate = path`, the root under which generated code finds Mamey.
pub(crate) fn crate_path(meta: &ParseNestedMeta<'_>) -> Result<Path> {
    let example = "crate = path::to::mamey";
    if !meta.input.peek(Token![=]) {
        return Err(meta.error(format!("this needs a value: write `{example}`")));
    }
    let input = meta.value()?;
    let at = input.span();
    let unfit = |_| Error::new(at, format!("this value does not fit: write `{example}`"));
    input.call(Path::parse_mod_style).map_err(unfit)
}

/// Where generated code finds Mamey unless told otherwise.
pub(crate) fn default_crate() -> Path {
    parse_quote!(::mamey)
}

/// All values, or all errors at once, so that one build shows every mistake.
pub(crate) fn all<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let mut errors: Option<Error> = None;
    for result in results {
        match (result, &mut errors) {
            (Ok(value), _) => values.push(value),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), None) => errors = Some(error),
        }
    }
    errors.map_or(Ok(values), Err)
}

/// Both values, or the errors of both.
pub(crate) fn both<A, B>(one: Result<A>, two: Result<B>) -> Result<(A, B)> {
    match (one, two) {
        (Ok(one), Ok(two)) => Ok((one, two)),
        (Err(mut one), Err(two)) => {
            one.combine(two);
            Err(one)
        }
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

/// `a`, `b` and `c`.
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted = |name: &&str| format!("`{name}`");
    match names {
        [] => "none".to_owned(),
        [only] => quoted(only),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(quoted).collect();
            format!("{} and {}", first.join(", "), quoted(last))
        }
    }
}
