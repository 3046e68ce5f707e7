//! Histories made by hand that no transport should give, each refused by its property.

mod attempts;
mod conversations;
mod deliveries;
mod reach;
mod requests;

use std::{collections::BTreeSet, time::Duration};

use catga::{
    ErrorKind, MessageId, Outcome,
    transport::{
        Capabilities,
        Settlement::{self, Acknowledge},
    },
};

use super::Property;
use crate::{
    history::{Bounds, Entry, Fault, HandlerSpec, History, Letter, Number, Pace, Parcel, Run, Trace, What},
    messages::{HEAR, NOTE, text_of, trace_of},
};

/// A history that is written by hand; each entry comes a millisecond after the one before.
#[derive(Default)]
struct Hand {
    history: History,
    now: Duration,
}

/// The run of a handler on a message, as it should be.
fn run(handler: &HandlerSpec, number: Number, attempt: u32) -> Run {
    let id = MessageId::from_u128(number.into());
    Run {
        handler: handler.name.to_owned(),
        number,
        attempt,
        id,
        correlation: id,
        causation: None,
        text: text_of(number),
        header: number.to_string(),
        trace: trace_of(number),
        note: None,
        emitted_by: None,
        emits: false,
    }
}

/// A message as the transport sees it.
fn parcel(number: Number) -> Parcel {
    let id = MessageId::from_u128(number.into());
    let message = NOTE.spec.message.to_owned();
    Parcel { id, message, number: Some(number), retry: None, replays: 0, correlation: id, trace: trace_of(number) }
}

/// The dead letter of a message, complete.
fn letter(handler: &HandlerSpec, number: Number, attempts: u32, node: &str) -> Letter {
    Letter {
        id: MessageId::from_u128(1_000 + u128::from(number)),
        durable: format!("n.{node}"),
        handler: Some(handler.name.to_owned()),
        attempts,
        code: "planned".to_owned(),
        node: node.to_owned(),
        message: Some(parcel(number)),
        text: text_of(number),
        header: number.to_string(),
    }
}

impl Hand {
    fn add(mut self, node: &str, what: What) -> Self {
        self.now += Duration::from_millis(1);
        self.history.0.push(Entry { at: self.now, node: node.into(), what });
        self
    }

    fn wait(mut self, millis: u64) -> Self {
        self.now += Duration::from_millis(millis);
        self
    }

    fn joined(self, node: &str, handlers: &[&HandlerSpec]) -> Self {
        let seconds = Duration::from_secs;
        let limits = Bounds {
            in_flight: 10,
            concurrency: 2,
            queue: 10,
            shutdown: seconds(10),
            heartbeat: seconds(10),
            silence: seconds(30),
            ack_wait: seconds(3),
        };
        let handlers = handlers.iter().map(|handler| (*handler).clone()).collect();
        self.add(node, What::Joined { handlers, limits })
    }

    fn published(self, number: Number) -> Self {
        self.published_as(number, true)
    }

    fn published_as(self, number: Number, healthy: bool) -> Self {
        let message = NOTE.spec.message;
        let begun = What::Publishing { number, message, reliable: true, healthy, note: None };
        self.add("node1", begun).add("node1", What::Published { number, outcome: Ok(()) })
    }

    fn delivered(self, node: &str, sequence: u64, numbers: &[Number]) -> Self {
        let parcels: Vec<_> = numbers.iter().map(|number| parcel(*number)).collect();
        let (durable, messages) = (format!("n.{node}"), parcels.len());
        let received = What::Received { durable: durable.clone(), sequence, messages, parcels: parcels.clone() };
        self.add(node, What::Delivered { durable, shared: false, sequence, deliveries: 1, parcels }).add(node, received)
    }

    fn settled(self, node: &str, sequence: u64, settlement: Settlement) -> Self {
        self.add(node, What::Settled { durable: format!("n.{node}"), sequence, settlement })
    }

    fn effect(self, node: &str, run: Run) -> Self {
        self.add(node, What::Started(run.clone())).add(node, What::Effect(run))
    }

    fn failed(self, node: &str, run: Run) -> Self {
        self.add(node, What::Started(run.clone())).add(node, What::Failed { run, permanent: false })
    }

    fn at_rest(self) -> Self {
        self.add("", What::AtRest)
    }

    /// The history has every property.
    fn breaks_nothing(self) {
        for property in Property::ALL {
            property.check(&self.history).unwrap();
        }
    }

    /// The history does not have this property.
    fn breaks(self, property: Property) {
        let found = property.check(&self.history);
        assert!(found.is_err(), "{property:?} finds nothing wrong with {:#?}", self.history);
    }
}
