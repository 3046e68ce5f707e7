//! Writes down what passes between a node and its transport.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use catga::transport::{DeadContent, DeadLetter, Delivery, Envelope, Link, Settlement};
use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::hooked::{Hooks, Place};
use crate::{
    history::{Letter, Number, Parcel, Trace, What},
    journal::Journal,
    messages::HEADER,
};

/// The ways out of nodes, by node.
pub type Links = Arc<Mutex<BTreeMap<String, Weak<dyn Link>>>>;

/// Records what the store is told, and what it delivers.
pub struct StoreSide {
    pub journal: Journal,
    pub links: Links,
}

/// Records what reaches a node.
pub struct NodeSide(pub Journal);

#[derive(Deserialize)]
struct Numbered {
    number: Number,
}

#[derive(Deserialize)]
struct Texted {
    text: String,
}

fn parcel(envelope: &Envelope) -> Parcel {
    let numbered: Option<Numbered> = serde_json::from_slice(&envelope.payload).ok();
    Parcel {
        id: envelope.id,
        message: envelope.name.to_string(),
        number: numbered.map(|numbered| numbered.number),
        retry: envelope.retry.as_ref().map(|retry| (retry.handler.clone(), retry.attempt)),
        replays: envelope.retry.as_ref().map_or(0, |retry| retry.replays),
        correlation: envelope.correlation,
        trace: Trace::of(&envelope.headers),
    }
}

/// What the suite keeps of a dead letter.
pub fn letter(letter: &DeadLetter) -> Letter {
    let (message, text, header) = match &letter.content {
        DeadContent::Message(envelope) => {
            let texted: Option<Texted> = serde_json::from_slice(&envelope.payload).ok();
            let header = envelope.headers.get(HEADER).unwrap_or_default();
            (Some(parcel(envelope)), texted.map(|texted| texted.text).unwrap_or_default(), header.to_owned())
        }
        DeadContent::Unreadable(_) => (None, String::new(), String::new()),
    };
    Letter {
        id: letter.id,
        durable: letter.durable.to_string(),
        handler: letter.handler.as_deref().map(str::to_owned),
        attempts: letter.attempts,
        code: letter.failure.code().to_owned(),
        node: letter.node.to_string(),
        message,
        text,
        header,
    }
}

impl Hooks for NodeSide {
    fn delivering(self: Arc<Self>, place: &Place, delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        let parcels: Vec<_> = delivery.messages.iter().flatten().map(parcel).collect();
        let (durable, sequence, messages) = (place.durable.to_string(), delivery.sequence, parcels.len().max(1));
        self.0.record(&place.node, What::Received { durable, sequence, messages, parcels });
        Box::pin(async move { Some(delivery) })
    }
}

impl Hooks for StoreSide {
    fn joined(&self, node: &str, link: &Arc<dyn Link>) {
        self.links.lock().unwrap().insert(node.to_owned(), Arc::downgrade(link));
    }

    fn storing(&self, node: &str, batch: &mut Vec<Envelope>) {
        for envelope in batch {
            self.journal.record(node, What::Stored { parcel: parcel(envelope) });
        }
    }

    fn storing_for(&self, node: &str, durable: &str, message: &mut Envelope, _: &mut Duration) {
        self.journal.record(node, What::StoredFor { durable: durable.to_owned(), parcel: parcel(message) });
    }

    fn burying(&self, node: &str, dead: &mut DeadLetter) {
        self.journal.record(node, What::Buried(letter(dead)));
    }

    fn delivering(self: Arc<Self>, place: &Place, delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        let what = What::Delivered {
            durable: place.durable.to_string(),
            shared: place.shared,
            sequence: delivery.sequence,
            deliveries: delivery.deliveries,
            parcels: delivery.messages.iter().flatten().map(parcel).collect(),
        };
        self.journal.record(&place.node, what);
        Box::pin(async move { Some(delivery) })
    }

    fn settling(&self, place: &Place, sequence: u64, settlement: Settlement) -> bool {
        self.journal.record(&place.node, What::Settled { durable: place.durable.to_string(), sequence, settlement });
        true
    }
}
