//! What the attribute writes: one registration for each handler.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Type, ext::IdentExt, spanned::Spanned};

use super::Handler;

pub(super) fn expand(handler: &Handler) -> TokenStream {
    let Handler { cfg, ident, krate, .. } = handler;
    let (name, message, options, bind) = (name(handler), message(handler), options(handler), bind(handler));
    let place = quote_spanned!(ident.span()=> __catga::Place::here());
    let function = function(handler);
    quote! {
        #(#cfg)*
        const _: () = {
            use #krate::__private as __catga;
            __catga::inventory::submit! {
                __catga::HandlerRegistration {
                    name: #name,
                    place: #place,
                    options: #options,
                    message: #message,
                    identity: || __catga::identity_of(&#function),
                    bind: |__states| { #bind },
                }
            }
        };
    }
}

/// The path of the user's function.
fn function(handler: &Handler) -> TokenStream {
    let ident = &handler.ident;
    match &handler.receiver {
        Some(receiver) => quote!(<#receiver>::#ident),
        None => ident.to_token_stream(),
    }
}

/// The check of the first parameter, which gives what the process knows of the message.
fn message(handler: &Handler) -> TokenStream {
    let message = &handler.message;
    match &handler.options.group {
        // A command in a group is a mistake of the key, not of the type.
        Some(group) => quote_spanned!(group.span()=> __catga::grouped::<#message>()),
        None => quote_spanned!(message.span()=> __catga::message::<#message>()),
    }
}

/// The checks of the other parameters, and the call of the function.
fn bind(handler: &Handler) -> TokenStream {
    let (message, function) = (&handler.message, function(handler));
    let receiver = handler.receiver.iter().map(|ty| quote_spanned!(ty.span()=> __catga::Receiver<#ty>));
    let extractors: Vec<_> = receiver.chain(handler.extractors.iter().map(ToTokens::to_token_stream)).collect();
    let checks = extractors.iter().map(|ty| quote_spanned!(ty.span()=> __catga::extractor::<#ty>();));
    let parameters: Vec<_> = (0..handler.extractors.len()).map(|n| format_ident!("__parameter_{n}")).collect();
    // The return type answers for what it does not fit, the name for a future that is not `Send`.
    let output = handler.output.as_ref().map_or(handler.ident.span(), Spanned::span);
    let call = match &handler.receiver {
        None => quote_spanned!(output=> #function(__message, #(#parameters),*)),
        Some(_) => quote_spanned!(output=> async move { #function(&__receiver.0, __message, #(#parameters),*).await }),
    };
    let receiver = handler.receiver.iter().map(|_| format_ident!("__receiver"));
    let parameters = receiver.chain(parameters.iter().cloned());
    let reply = quote_spanned!(output=> .reply(|__message, (#(#parameters,)*)| #call));
    let bind = quote_spanned!(handler.ident.span()=> .bind());
    let binder = quote_spanned!(output=> __catga::Binder::<#message, (#(#extractors,)*)>::new(__states));
    quote! {
        #(#checks)*
        #binder #reply #bind
    }
}

fn name(handler: &Handler) -> TokenStream {
    if let Some(name) = &handler.options.name {
        return name.to_token_stream();
    }
    let ident = handler.ident.unraw();
    let local = match handler.receiver.as_ref().and_then(last_segment) {
        Some(owner) => format!("{owner}.{ident}"),
        None => ident.to_string(),
    };
    quote!(::core::concat!(::core::env!("CARGO_PKG_NAME"), ".", #local))
}

/// `OrderService` of `crate::orders::OrderService`.
fn last_segment(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.unraw().to_string()),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

fn options(handler: &Handler) -> TokenStream {
    let options = &handler.options;
    let millis = |millis: &u64| quote!(::core::time::Duration::from_millis(#millis));
    let fields: Vec<TokenStream> = [
        options.group.as_ref().map(|group| quote!(group: ::core::option::Option::Some(#group))),
        options.attempts.map(|attempts| quote!(attempts: ::core::option::Option::Some(#attempts))),
        options.backoff_ms.as_ref().map(millis).map(|time| quote!(backoff: ::core::option::Option::Some(#time))),
        options.timeout_ms.as_ref().map(millis).map(|time| quote!(timeout: ::core::option::Option::Some(#time))),
        options.concurrency.map(|runs| quote!(concurrency: ::core::option::Option::Some(#runs))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let default = quote!(__catga::HandlerOptions::DEFAULT);
    match fields.is_empty() {
        true => default,
        false => quote!(__catga::HandlerOptions { #(#fields,)* ..#default }),
    }
}
