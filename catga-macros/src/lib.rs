//! The derive macros and the handler attribute of [catga](https://docs.rs/catga).
//!
//! Use them through `catga`, which re-exports them: their expansions name its paths.

mod attr;
mod errors;
mod handler;
mod message;

use proc_macro::TokenStream;

/// Makes a type a command: a message that asks one handler to do something.
///
/// `#[response(Type)]` says what the handler answers; without it that is `()`.
///
/// | key of `#[catga(..)]` | meaning | values |
/// |---|---|---|
/// | `name` | the name on the wire instead of `<package>.<Type>` | `"orders.PlaceOrder"` |
/// | `frame` | the most messages of this type that share a delivery | 1 to 128 |
/// | `crate` | where `catga` is found, if it is not `::catga` | a path |
///
/// ```
/// use catga::Command;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Command, Clone, Serialize, Deserialize)]
/// #[response(u64)]
/// #[catga(name = "orders.PlaceOrder")] // stays when the type is renamed or moves to another package
/// struct PlaceOrder {
///     sku: String,
/// }
/// # fn main() {}
/// ```
#[proc_macro_derive(Command, attributes(response, reliable, catga))]
pub fn command(item: TokenStream) -> TokenStream {
    message::derive(message::Kind::Command, item.into()).into()
}

/// Makes a type a query: a message that asks one handler for something and changes nothing.
///
/// `#[response(Type)]` says what the handler answers and must be there. `#[catga(..)]` takes the keys that
/// [`Command`](derive@Command) takes.
///
/// ```
/// use catga::Query;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Query, Clone, Serialize, Deserialize)]
/// #[response(Option<String>)]
/// #[catga(name = "orders.Status")]
/// struct OrderStatus(u64);
/// # fn main() {}
/// ```
#[proc_macro_derive(Query, attributes(response, reliable, catga))]
pub fn query(item: TokenStream) -> TokenStream {
    message::derive(message::Kind::Query, item.into()).into()
}

/// Makes a type an event: a message that tells any number of handlers that something happened.
///
/// With `#[reliable]` it is delivered at least once (QoS 1), without at most once (QoS 0). `#[catga(..)]` takes the keys
/// that [`Command`](derive@Command) takes.
///
/// ```
/// use catga::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Clone, Serialize, Deserialize)]
/// #[reliable]
/// struct OrderPlaced {
///     id: u64,
/// }
/// # fn main() {}
/// ```
#[proc_macro_derive(Event, attributes(response, reliable, catga))]
pub fn event(item: TokenStream) -> TokenStream {
    message::derive(message::Kind::Event, item.into()).into()
}

/// Registers an `async fn`, or the methods of an `impl` block, as handlers.
///
/// The first parameter is the message, which the handler owns. Up to eight extractors follow: `State<T>`, `Context`,
/// `Mediator`, or types that implement `FromContext`. The function itself stays as it was written, so a test can call
/// it.
///
/// | key | meaning | values |
/// |---|---|---|
/// | `name` | the handler's name instead of `<package>.<function>` or `<package>.<Type>.<method>` | `"orders.place"` |
/// | `group` | one node of the group handles each event, instead of every node | `"mail"` |
/// | `attempts` | all runs, the first included | 1 to 100 |
/// | `backoff` | the delay before the second run | `"1ms"` to `"24h"` |
/// | `timeout` | the limit of each run | `"1ms"` to `"24h"` |
/// | `concurrency` | runs at the same time on a node | 1 to 100000 |
/// | `crate` | where `catga` is found, if it is not `::catga` | a path |
///
/// # Impl blocks
///
/// In an `impl` block with `#[handler]`, every `async fn` with `&self` is a handler; everything else is left alone. The
/// `&self` is the value of that type that the builder was given. A method takes its own keys with `#[handler(..)]`; the
/// keys of the block hold for the methods that do not say otherwise. Async helpers go into another `impl` block. A function
/// of a block that does not carry `#[handler]` itself cannot be a handler.
///
/// ```
/// use catga::{Command, handler};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Command, Clone, Serialize, Deserialize)]
/// struct Greet(String);
///
/// struct Greeter {
///     greeting: String,
/// }
///
/// #[handler(timeout = "5s")]
/// impl Greeter {
///     #[handler(concurrency = 8)]
///     async fn greet(&self, Greet(name): Greet) {
///         println!("{}, {name}", self.greeting);
///     }
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn handler(keys: TokenStream, item: TokenStream) -> TokenStream {
    handler::attribute(keys.into(), item.into()).into()
}
