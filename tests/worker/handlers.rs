//! What a worker handles. Each run writes that it began and that it ended.

use std::time::Duration;

use catga::{Command, Context, Event, Query, State, handler};
use serde::{Deserialize, Serialize};

use crate::journal::Journal;

/// How the handlers of this worker behave, and where they say what they do.
#[derive(Clone)]
pub(crate) struct Manner {
    pub(crate) journal: Journal,
    pub(crate) sleep: Duration,
    pub(crate) dies_at: Option<u32>,
}

/// A reliable event.
#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
pub(crate) struct Noted {
    pub(crate) number: u32,
}

/// An event of QoS 0.
#[derive(Event, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) number: u32,
}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(Answer)]
pub(crate) struct Ask {
    pub(crate) number: u32,
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(Answer)]
pub(crate) struct Do {
    pub(crate) number: u32,
}

/// Says to which request it belongs, and who gave it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) number: u32,
    pub(crate) node: String,
}

/// On every node.
#[handler]
pub(crate) async fn all(event: Noted, State(manner): State<Manner>) {
    manner.run("all", event.number).await;
}

/// On one node of the group.
#[handler(group = "workers")]
pub(crate) async fn group(event: Noted, State(manner): State<Manner>) {
    manner.run("group", event.number).await;
}

#[handler]
pub(crate) async fn seen(event: Seen, State(manner): State<Manner>) {
    manner.run("seen", event.number).await;
}

#[handler]
pub(crate) async fn query(ask: Ask, State(manner): State<Manner>, ctx: Context) -> Answer {
    manner.run("request", ask.number).await;
    Answer { number: ask.number, node: ctx.node().to_owned() }
}

#[handler]
pub(crate) async fn command(order: Do, State(manner): State<Manner>, ctx: Context) -> Answer {
    manner.run("request", order.number).await;
    Answer { number: order.number, node: ctx.node().to_owned() }
}

impl Manner {
    async fn run(&self, handler: &str, number: u32) {
        self.journal.line(format!("began {handler} {number}"));
        if self.dies_at == Some(number) {
            std::process::abort();
        }
        if !self.sleep.is_zero() {
            tokio::time::sleep(self.sleep).await;
        }
        self.journal.line(format!("ended {handler} {number}"));
    }
}
