//! Handlers in a crate of their own, for messages of another one. A program that only names this crate in its `Cargo.toml`
//! does not link it; `use catga_test_plugin as _;` does.

use catga::{Context, handler};
use catga_tests::{Greet, Greeted};

#[handler]
async fn greet(command: Greet, ctx: Context) -> String {
    ctx.emit(Greeted { name: command.name.clone() });
    format!("hello, {}", command.name)
}

#[handler]
async fn remember(_: Greeted) {}
