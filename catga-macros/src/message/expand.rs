//! What a derive writes: the traits, and the registration that `build()` finds.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;

use super::{Kind, Message};

pub(super) fn expand(message: &Message) -> TokenStream {
    let Message { ident, krate, .. } = message;
    let name = name(message);
    let kind = match message.kind {
        Kind::Command => format_ident!("Command"),
        Kind::Query => format_ident!("Query"),
        Kind::Event => format_ident!("Event"),
    };
    let qos = match message.reliable {
        true => format_ident!("AtLeastOnce"),
        false => format_ident!("AtMostOnce"),
    };
    let frame = message.frame.map(|frame| {
        let frame = frame as usize;
        quote!(const FRAME: ::core::primitive::usize = #frame;)
    });
    let response = match &message.response {
        Some(response) => response.to_token_stream(),
        None => quote!(()),
    };
    let request = (message.kind != Kind::Event).then(|| {
        quote! {
            #[automatically_derived]
            impl #krate::Request for #ident {
                type Response = #response;
            }
        }
    });
    quote! {
        const _: () = {
            #[automatically_derived]
            impl #krate::Message for #ident {
                const NAME: &'static ::core::primitive::str = #name;
                const KIND: #krate::__private::Kind = #krate::__private::Kind::#kind;
                const QOS: #krate::__private::Qos = #krate::__private::Qos::#qos;
                #frame
                type Reply = #response;

                fn slot() -> &'static #krate::__private::Slot {
                    static SLOT: #krate::__private::Slot = #krate::__private::Slot::new();
                    &SLOT
                }
            }
            #request
            #[automatically_derived]
            impl #krate::#kind for #ident {}
            #krate::__private::inventory::submit! {
                #krate::__private::MessageRegistration {
                    message: #krate::__private::MessageInfo::of::<#ident>(),
                    place: #krate::__private::Place {
                        file: ::core::file!(),
                        line: ::core::line!(),
                    },
                }
            }
        };
    }
}

fn name(message: &Message) -> TokenStream {
    match &message.name {
        Some(name) => name.to_token_stream(),
        None => {
            let ident = message.ident.unraw().to_string();
            quote!(::core::concat!(::core::env!("CARGO_PKG_NAME"), ".", #ident))
        }
    }
}
