//! The deliveries of a durable to a node, and how they are settled.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{
    command::{Command, From},
    durable::Due,
    faults::Fate,
};
use crate::{
    error::Error,
    frame,
    transport::{Consumed, Consumer, Delivery, Settle, Settlement},
};

/// How many deliveries a consumer asks for at a time.
pub(super) const CREDIT: usize = 16;

/// Gives a delivery to the node that asked for it, as its fate wants.
pub(super) fn hand_over(app: &Arc<str>, durable: &Arc<str>, due: Due, fate: Fate, back: &mpsc::Sender<Command>) {
    let make = || {
        let messages = frame::decode_messages(&due.frame).map_err(|error| (due.frame.clone(), error));
        let settle = SettleInProcess {
            from: From { app: app.clone(), node: due.node.clone(), incarnation: due.incarnation },
            durable: durable.clone(),
            sequence: due.sequence,
            deliveries: due.deliveries,
            commands: back.clone(),
        };
        Consumed::Delivery(Delivery::new(due.sequence, due.deliveries, messages, Arc::new(settle)))
    };
    match fate {
        // The consumer's queue holds what it asked for; if the node died meanwhile, the lease ends.
        Fate::Pass => drop(due.sender.try_send(make())),
        Fate::Lose => {}
        Fate::Double => {
            drop(due.sender.try_send(make()));
            drop(due.sender.try_send(make()));
        }
        Fate::Delay(delay) => {
            let (delivery, sender) = (make(), due.sender.clone());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                drop(sender.send(delivery).await);
            });
        }
    }
}

/// The deliveries of one durable to one node.
pub(super) struct InProcessConsumer {
    pub(super) from: From,
    pub(super) durable: Arc<str>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) receiver: mpsc::Receiver<Consumed>,
    /// Deliveries asked for and not received.
    pub(super) asked: usize,
}

impl Consumer for InProcessConsumer {
    fn next(&mut self, more: bool) -> BoxFuture<'_, Option<Consumed>> {
        Box::pin(async move {
            if more && self.asked <= CREDIT / 2 {
                let credit = CREDIT - self.asked;
                // Counted when there is certainly room for the command: a dropped future asks again.
                if let Ok(place) = self.commands.reserve().await {
                    self.asked = CREDIT;
                    place.send(Command::Pull { from: self.from.clone(), durable: self.durable.clone(), credit });
                }
            }
            let consumed = self.receiver.recv().await;
            if let Some(Consumed::Delivery(_)) = consumed {
                self.asked = self.asked.saturating_sub(1);
            }
            consumed
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            let (from, durable) = (self.from.clone(), self.durable.clone());
            drop(super::ask(&self.commands, |done| Command::Unsubscribe { from, durable, done }).await);
            let mut rest = Vec::new();
            while let Ok(consumed) = self.receiver.try_recv() {
                if let Consumed::Delivery(delivery) = consumed {
                    rest.push(delivery);
                }
            }
            rest
        })
    }
}

/// Settles one delivery.
struct SettleInProcess {
    from: From,
    durable: Arc<str>,
    sequence: u64,
    deliveries: u32,
    commands: mpsc::Sender<Command>,
}

impl std::fmt::Debug for SettleInProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SettleInProcess({}, {})", self.durable, self.sequence)
    }
}

impl Settle for SettleInProcess {
    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let (from, durable) = (self.from.clone(), self.durable.clone());
            let (sequence, deliveries) = (self.sequence, self.deliveries);
            let command = Command::Settle { from, durable, sequence, deliveries, settlement };
            self.commands.send(command).await.map_err(|_| super::gone())
        })
    }
}
