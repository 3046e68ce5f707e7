//! The derive macros and the handler attribute of catga.
use proc_macro::TokenStream;
/// x
#[proc_macro_derive(Command, attributes(response, catga))]
pub fn command(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
/// x
#[proc_macro_derive(Query, attributes(response, catga))]
pub fn query(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
/// x
#[proc_macro_derive(Event, attributes(reliable, response, catga))]
pub fn event(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
/// x
#[proc_macro_attribute]
pub fn handler(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
