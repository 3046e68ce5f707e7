//! An order service on three nodes: the showcase of catga.
//!
//! `cargo run -p order-service` starts three nodes in this process and says what to try.
//! `cargo run -p order-service -- node1 5001` starts one.
#![expect(unreachable_pub, reason = "a program has no outside")]

mod messages;

mod handlers;
mod store;

mod api;
mod node;
mod server;

mod cluster;
mod console;

mod say;
mod settings;

use std::process::ExitCode;

use catga::{
    Routing, Signals,
    transport::{InProcess, Nats, Transport},
};

use crate::{
    cluster::Cluster,
    node::Node,
    settings::{Nodes, Settings, What},
};

/// What one thread takes another one gives back all the time here, and glibc's allocator has a lock for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a wrong argument and a port in use end with, as with most programs.
const WRONG_USE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    // What the framework has to say, on stderr; `RUST_LOG=catga=info` shows the handlers that were found.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let settings = match Settings::read() {
        Ok(settings) => settings,
        Err(wrong) => return fail(WRONG_USE, format_args!("{wrong}; see `order-service --help`")),
    };
    let nodes = match settings.what {
        What::Help => {
            say::line(format_args!("{}", settings::HELP.trim_end()));
            return ExitCode::SUCCESS;
        }
        What::Run(nodes) => nodes,
    };
    // Before anything can be seen of the service: whoever sees it may ask it to end.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(1, format_args!("{error}")),
    };
    if settings.quiet {
        say::count_orders();
    }
    // Nodes that share a transport are one cluster: a broker in this process, or a server for many.
    match settings.nats {
        None => run(nodes, settings.routing, InProcess::new(), signals).await,
        Some(url) => match Nats::connect(url).await {
            Ok(nats) => run(nodes, settings.routing, nats, signals).await,
            Err(error) => fail(1, format_args!("{error}")),
        },
    }
}

async fn run(nodes: Nodes, routing: Routing, transport: impl Transport + Clone, signals: Signals) -> ExitCode {
    let ended = match nodes {
        Nodes::One { id, address } => match Node::start(&id, address, routing, transport).await {
            Ok(node) => run_one(node, signals).await,
            Err(error) => return fail(WRONG_USE, format_args!("{error}")),
        },
        Nodes::Three { addresses } => match Cluster::start(addresses, routing, transport).await {
            Ok(cluster) => console::run(cluster, signals).await,
            Err(error) => return fail(WRONG_USE, format_args!("{error}")),
        },
    };
    say::counted();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, format_args!("{error}")),
    }
}

async fn run_one(node: Node, mut signals: Signals) -> Result<(), catga::Error> {
    let (server, mediator) = node.into_parts();
    let asked = async {
        signals.asked().await;
        end_at_once_when_asked_again(signals);
        server.stop().await;
    };
    let ended = mediator.run_until(asked).await;
    say!(mediator.node(), "👋 Stopped");
    ended
}

fn end_at_once_when_asked_again(mut signals: Signals) {
    tokio::spawn(async move {
        signals.asked().await;
        std::process::exit(130);
    });
}

fn fail(code: u8, text: std::fmt::Arguments<'_>) -> ExitCode {
    eprintln!("order-service: {text}");
    code.into()
}
