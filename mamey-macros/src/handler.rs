//! Checks that a function has the shape of a handler.

use proc_macro2::TokenStream;
use syn::{Error, FnArg, ItemFn, Result, ReturnType, Signature, Type, TypeReference, parse2};

/// The function unchanged, with an error beside it when it cannot be a handler.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match check(arguments, item.clone()) {
        Ok(()) => item,
        Err(error) => {
            let error = error.into_compile_error();
            // Keep the function, so that its callers compile.
            [error, item].into_iter().collect()
        }
    }
}

fn check(arguments: TokenStream, item: TokenStream) -> Result<()> {
    if !arguments.is_empty() {
        let error = "`#[handler]` takes no options: its message and reply are in its signature";
        return Err(Error::new_spanned(arguments, error));
    }
    let function: ItemFn = parse2(item.clone()).map_err(|_| {
        let error = "`#[handler]` stands on a function: \
                     `async fn(command: PlaceOrder, cx: &Context) -> Result<OrderId>`";
        Error::new_spanned(item, error)
    })?;
    check_signature(&function.sig)
}

fn check_signature(signature: &Signature) -> Result<()> {
    if signature.asyncness.is_none() {
        return Err(Error::new_spanned(signature.fn_token, "a handler is async: write `async fn`"));
    }
    if let Some(receiver) = signature.receiver() {
        let error = "a handler is a free function: where it has dependencies, implement the \
                     handler trait on a struct that owns them";
        return Err(Error::new_spanned(receiver, error));
    }
    if !signature.generics.params.is_empty() {
        let error = "a handler cannot be generic: it is registered for one message";
        return Err(Error::new_spanned(&signature.generics, error));
    }
    check_arguments(signature)?;
    match &signature.output {
        ReturnType::Type(_, reply) if !is_unit(reply) => Ok(()),
        _ => {
            let error = "a handler can fail: add `-> Result<Reply>`, or `-> Result<()>` \
                         where there is nothing to reply";
            Err(Error::new_spanned(&signature.ident, error))
        }
    }
}

fn check_arguments(signature: &Signature) -> Result<()> {
    let types: Vec<&Type> = signature.inputs.iter().filter_map(argument_type).collect();
    let [message, context] = types.as_slice() else {
        let error = "a handler takes two arguments, its message and its context: \
                     `(command: PlaceOrder, cx: &Context)`, or `cx: &ReadContext` for a query";
        return Err(Error::new_spanned(&signature.ident, error));
    };
    match message {
        Type::Reference(_) => {
            let error = "a handler owns its message: remove the `&`";
            return Err(Error::new_spanned(message, error));
        }
        Type::ImplTrait(_) => {
            let error = "a handler cannot be generic: name the message's type";
            return Err(Error::new_spanned(message, error));
        }
        _ => {}
    }
    match context {
        Type::Reference(reference) => check_context(reference),
        _ => {
            let error = "the context is borrowed: write `&Context`, or `&ReadContext` for a query";
            Err(Error::new_spanned(context, error))
        }
    }
}

fn check_context(reference: &TypeReference) -> Result<()> {
    let named = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_");
    if let Some(lifetime) = named {
        let error = "the context is borrowed for one call: remove the lifetime";
        return Err(Error::new_spanned(lifetime, error));
    }
    if reference.mutability.is_some() {
        let error = "the context keeps its state inside: write `&Context`, without `mut`";
        return Err(Error::new_spanned(reference, error));
    }
    Ok(())
}

fn argument_type(argument: &FnArg) -> Option<&Type> {
    match argument {
        FnArg::Typed(argument) => Some(&argument.ty),
        FnArg::Receiver(_) => None,
    }
}

fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}
