//! What the macros write, as a reviewer reads it: each expansion is compared with a file of `expand/`.
//!
//! `BLESS=1 cargo test -p catga-macros --test expand` writes the files anew.

#[path = "../src/attr.rs"]
mod attr;
#[path = "../src/errors.rs"]
mod errors;
#[path = "../src/handler/mod.rs"]
mod handler;
#[path = "../src/message/mod.rs"]
mod message;

use std::{env, error::Error, fs, path::Path};

use message::Kind;
use proc_macro2::TokenStream;
use quote::quote;

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn a_command_implements_message_and_registers_itself() -> Outcome {
    let item = quote! {
        #[response(OrderId)]
        pub struct PlaceOrder {
            sku: String,
        }
    };
    compare("command", message::derive(Kind::Command, item))
}

#[test]
fn a_reliable_event_says_its_quality_of_service() -> Outcome {
    let item = quote! {
        #[reliable]
        #[catga(name = "orders.v2.Placed", frame = 1, crate = crate::vendor::catga)]
        struct OrderPlaced(OrderId);
    };
    compare("event", message::derive(Kind::Event, item))
}

#[test]
fn a_function_is_left_as_it_is_and_registered_behind() -> Outcome {
    let item = quote! {
        /// Places an order.
        #[cfg(feature = "orders")]
        async fn place_order(order: PlaceOrder, State(shop): State<Shop>, _: Context) -> Result<OrderId, ShopError> {
            shop.insert(order).await
        }
    };
    compare("function", handler::attribute(TokenStream::new(), item))
}

#[test]
fn a_block_is_left_as_it_is_and_its_handlers_are_registered_behind() -> Outcome {
    let item = quote! {
        impl Mailer {
            fn sender(&self) -> &str {
                &self.sender
            }

            #[handler(group = "mail", attempts = 3, backoff = "100ms")]
            async fn receipt(&self, event: OrderPlaced) -> Result<(), MailError> {
                self.send(event, self.sender()).await
            }
        }
    };
    compare("block", handler::attribute(quote!(timeout = "5s"), item))
}

#[test]
fn a_wrong_key_leaves_the_registration_in_place() -> Outcome {
    compare(
        "wrong_key",
        handler::attribute(
            quote!(naem = "a.b"),
            quote!(
                async fn changed(_: Changed) {}
            ),
        ),
    )
}

fn compare(name: &str, tokens: TokenStream) -> Outcome {
    let written = prettyplease::unparse(&syn::parse2(tokens)?);
    let path = Path::new("tests/expand").join(name).with_extension("rs");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &written)?;
    }
    let expected = fs::read_to_string(&path)?;
    assert_eq!(written, expected, "the expansion of `{name}` has changed; `BLESS=1` accepts it");
    Ok(())
}
