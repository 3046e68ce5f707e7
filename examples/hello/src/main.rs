//! The smallest application: a command, an event, and a handler for each.

use catga::{Command, Context, Event, Mediator, handler};
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
struct Greet {
    name: String,
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Greeted {
    name: String,
}

#[handler]
async fn greet(command: Greet, ctx: Context) -> String {
    ctx.emit(Greeted { name: command.name.clone() });
    format!("hello, {}", command.name)
}

#[handler]
async fn remember(event: Greeted) {
    eprintln!("{} was greeted", event.name);
}

#[tokio::main]
async fn main() -> Result<(), catga::Error> {
    let mediator = Mediator::builder().build().await?;
    eprintln!("{}", mediator.send(Greet { name: "world".into() }).await?);
    mediator.shutdown().await
}
