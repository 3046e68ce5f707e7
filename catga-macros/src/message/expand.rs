//! What a derive writes: the traits, and the registration that `build()` finds.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{ext::IdentExt, spanned::Spanned};

use super::{Kind, Message};

pub(super) fn expand(message: &Message) -> TokenStream {
    let Message { ident, krate, response, .. } = message;
    let name = name(message);
    let (kind, mark) = match message.kind {
        Kind::Command => ("Command", "AsCommand"),
        Kind::Query => ("Query", "AsQuery"),
        Kind::Event => ("Event", "AsEvent"),
    };
    let (kind, mark) = (format_ident!("{kind}"), format_ident!("{mark}"));
    let qos = match message.reliable {
        true => format_ident!("AtLeastOnce"),
        false => format_ident!("AtMostOnce"),
    };
    let frame = message.frame.map(|frame| {
        let frame = frame as usize;
        quote!(const FRAME: ::core::primitive::usize = #frame;)
    });
    // A response that is more private than its message is reported where it is named.
    let reply = quote_spanned!(response.span()=> type Reply = #response;);
    let place = quote_spanned!(ident.span()=> __catga::Place::here());
    let allow = message.deprecated.then(|| quote!(#[allow(deprecated)]));
    quote! {
        #allow
        const _: () = {
            use #krate::__private as __catga;
            #[automatically_derived]
            impl #krate::Message for #ident {
                const NAME: &'static ::core::primitive::str = #name;
                const KIND: __catga::Kind = __catga::Kind::#kind;
                const QOS: __catga::Qos = __catga::Qos::#qos;
                #frame
                #reply
                type Mark = __catga::#mark;

                fn slot() -> &'static __catga::Slot {
                    static SLOT: __catga::Slot = __catga::Slot::new();
                    &SLOT
                }
            }
            const __REGISTRATION: __catga::MessageRegistration = __catga::MessageRegistration {
                message: __catga::MessageInfo::of::<#ident>(),
                place: #place,
            };
            __catga::inventory::submit! { __REGISTRATION }
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
