//! The expansion needs no prelude.
#![no_implicit_prelude]
#![deny(warnings)]

#[derive(::catga::Command, ::std::clone::Clone, ::serde::Serialize, ::serde::Deserialize)]
#[response(::std::string::String)]
struct PlaceOrder(u8);

#[::catga::handler(attempts = 2, timeout = "1s")]
async fn place_order(order: PlaceOrder) -> ::std::result::Result<::std::string::String, ::catga::Failure> {
    let _ = order.0;
    ::std::result::Result::Ok(::std::string::String::new())
}

fn main() {}
