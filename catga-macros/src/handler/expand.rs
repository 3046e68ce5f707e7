//! What the attribute writes: one registration for each handler.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Type, ext::IdentExt};

use super::Handler;

pub(super) fn expand(handler: &Handler) -> TokenStream {
    let Handler { cfg, message, krate, .. } = handler;
    let (name, options) = (name(handler), options(handler));
    let function = match &handler.receiver {
        Some(receiver) => {
            let ident = &handler.ident;
            quote!(<#receiver>::#ident)
        }
        None => handler.ident.to_token_stream(),
    };
    let receiver = handler.receiver.iter().map(|receiver| quote!(#krate::__private::Receiver<#receiver>));
    let extractors = receiver.chain(handler.extractors.iter().map(ToTokens::to_token_stream));
    let parameters: Vec<_> = (0..handler.extractors.len()).map(|n| format_ident!("__parameter_{n}")).collect();
    let closure = match &handler.receiver {
        None => quote!(|__message, (#(#parameters,)*)| #function(__message, #(#parameters),*)),
        Some(_) => quote! {
            |__message, (__receiver, #(#parameters,)*)| async move {
                #function(&__receiver.0, __message, #(#parameters),*).await
            }
        },
    };
    quote! {
        #(#cfg)*
        const _: () = {
            #krate::__private::inventory::submit! {
                #krate::__private::HandlerRegistration {
                    name: #name,
                    place: #krate::__private::Place {
                        file: ::core::file!(),
                        line: ::core::line!(),
                    },
                    options: #options,
                    message: #krate::__private::MessageInfo::of::<#message>(),
                    identity: || #krate::__private::identity_of(&#function),
                    bind: |__states| #krate::__private::bind::<#message, (#(#extractors,)*), _, _>(__states, #closure),
                }
            }
        };
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
    let (options, krate) = (&handler.options, &handler.krate);
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
    let default = quote!(#krate::__private::HandlerOptions::DEFAULT);
    match fields.is_empty() {
        true => default,
        false => quote!(#krate::__private::HandlerOptions { #(#fields,)* ..#default }),
    }
}
