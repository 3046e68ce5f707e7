//! What the attribute writes: one registration for each handler.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Index, ext::IdentExt, spanned::Spanned};

use super::{Handler, types};

pub(super) fn expand(handler: &Handler) -> TokenStream {
    let Handler { attributes, ident, krate, .. } = handler;
    let (name, message, options, bind) = (name(handler), message(handler), options(handler), bind(handler));
    let place = quote_spanned!(ident.span()=> __catga::Place::here());
    let function = function(handler);
    let registration = quote! {
        const _: () = {
            use #krate::__private as __catga;
            const __REGISTRATION: __catga::HandlerRegistration = __catga::HandlerRegistration {
                name: #name,
                place: #place,
                options: #options,
                message: #message,
                identity: || __catga::identity_of(&#function),
                bind: |__states| { #bind },
            };
            __catga::inventory::submit! { __REGISTRATION }
        };
    };
    if handler.receiver.is_some() {
        return quote!(#(#attributes)* #registration);
    }
    // On a function of an impl block, which this macro cannot see around the function, a constant and the paths in it are
    // an error each. A struct is refused there as a whole, and so that mistake is one error.
    let holder = format_ident!("__catga_{}", ident.unraw());
    quote! {
        #(#attributes)*
        #[allow(dead_code, non_camel_case_types)]
        struct #holder([(); { #registration 0 }]);
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
    match handler.marked {
        true => quote_spanned!(message.span()=> __catga::message::<#message>()),
        false => quote_spanned!(message.span()=> __catga::message_of_method::<#message>()),
    }
}

/// The checks of the group, of the other parameters and of the return type.
///
/// The types are those of the function and are not written again: a type that does not exist would be reported twice.
fn bind(handler: &Handler) -> TokenStream {
    let closure = closure(handler);
    let checks = handler.receiver.iter().chain(&handler.extractors).enumerate().map(|(position, ty)| {
        let position = Index::from(position);
        // Both lie over the whole type: otherwise the compiler underlines parts of it for different reasons.
        let (check, pick) = (over(ty, quote!(__catga::extractor)), over(ty, quote!(|__all| __all.#position)));
        quote_spanned!(ty.span()=> #check(&__binder, #pick);)
    });
    // The return type answers for what it does not fit, the name for a future that is not `Send`.
    let output = handler.output.as_ref().map_or(handler.ident.to_token_stream(), ToTokens::to_token_stream);
    let reply = over(output, quote!(__binder.reply()));
    let bind = quote_spanned!(handler.ident.span()=> .bind());
    // A command in a group is a mistake of the key, not of the type.
    let group = handler.options.group.as_ref().map(|(key, _)| quote_spanned!(key.span()=> __binder.group();));
    quote! {
        let __binder = __catga::Binder::new(__states, #closure);
        #group
        #(#checks)*
        #reply #bind
    }
}

/// Calls the function with its message and a tuple of its parameters.
fn closure(handler: &Handler) -> TokenStream {
    let function = function(handler);
    let parameters: Vec<_> = (0..handler.extractors.len()).map(|n| format_ident!("__parameter_{n}")).collect();
    let any = parameters.iter().map(|_| quote!(_));
    match &handler.receiver {
        None => quote! {
            |__message, (#(#parameters,)*): (#(#any,)*)| #function(__message #(, #parameters)*)
        },
        Some(receiver) => quote! {
            |__message, (__receiver, #(#parameters,)*): (__catga::Receiver<#receiver>, #(#any,)*)| async move {
                #function(&__receiver.0, __message #(, #parameters)*).await
            }
        },
    }
}

/// Lays tokens over a part of the user's code, from its first token to its last: there an error of theirs is shown.
fn over(code: impl ToTokens, tokens: TokenStream) -> TokenStream {
    let code: Vec<_> = code.into_token_stream().into_iter().collect();
    let (Some(first), Some(last)) = (code.first(), code.last()) else { return tokens };
    let mut tokens: Vec<_> = tokens.into_iter().collect();
    for token in &mut tokens {
        token.set_span(first.span());
    }
    if let Some(token) = tokens.last_mut() {
        token.set_span(last.span());
    }
    tokens.into_iter().collect()
}

fn name(handler: &Handler) -> TokenStream {
    if let Some(name) = &handler.options.name {
        return name.to_token_stream();
    }
    let ident = handler.ident.unraw();
    let local = match handler.receiver.as_ref().and_then(types::name) {
        Some(owner) => format!("{owner}.{ident}"),
        None => ident.to_string(),
    };
    quote!(::core::concat!(::core::env!("CARGO_PKG_NAME"), ".", #local))
}

fn options(handler: &Handler) -> TokenStream {
    let options = &handler.options;
    let millis = |millis: &u64| quote!(::core::time::Duration::from_millis(#millis));
    let fields = [
        options.group.as_ref().map(|(_, group)| quote!(group: ::core::option::Option::Some(#group))),
        options.attempts.map(|attempts| quote!(attempts: ::core::option::Option::Some(#attempts))),
        options.backoff_ms.as_ref().map(millis).map(|time| quote!(backoff: ::core::option::Option::Some(#time))),
        options.timeout_ms.as_ref().map(millis).map(|time| quote!(timeout: ::core::option::Option::Some(#time))),
        options.concurrency.map(|runs| quote!(concurrency: ::core::option::Option::Some(#runs))),
    ];
    let all = fields.len();
    let fields: Vec<TokenStream> = fields.into_iter().flatten().collect();
    let default = quote!(__catga::HandlerOptions::DEFAULT);
    match fields.len() {
        0 => default,
        given if given == all => quote!(__catga::HandlerOptions { #(#fields,)* }),
        _ => quote!(__catga::HandlerOptions { #(#fields,)* ..#default }),
    }
}
