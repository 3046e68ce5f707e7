//! The deliveries of one durable to one node: a task pulls, and hands over what is due.
//!
//! The pulling follows the simplified consumers of the [client design](https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-37.md),
//! with one change: what was asked for and what came is counted here, so that any doubt is ended by asking anew.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_nats::{Message, Subject};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use crate::{
    error::Error,
    transport::{Consumed, Consumer, Delivery, Settle, Settlement},
};

/// More deliveries than the server leaves unsettled.
const MOST_OPEN: usize = 16_384;

/// The way of a delivery back to the server.
pub(super) struct SettleNats {
    pub(super) connection: Arc<Connection>,
    /// Where the server expects to hear of the delivery.
    pub(super) subject: Subject,
    /// Tells the task of the durable that this one is done with.
    pub(super) settled: mpsc::Sender<u64>,
    pub(super) sequence: u64,
}

impl std::fmt::Debug for SettleNats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SettleNats({})", self.subject)
    }
}

impl Settle for SettleNats {
    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), Error>> {
        let payload = match settlement {
            Settlement::Acknowledge => {
                // Without room it counts as not settled: should the durable be made anew, it comes once more.
                let _ = self.settled.try_send(self.sequence);
                Bytes::from_static(b"+ACK")
            }
            Settlement::Progress => Bytes::from_static(b"+WPI"),
            Settlement::GiveBack(Duration::ZERO) => Bytes::from_static(b"-NAK"),
            Settlement::GiveBack(delay) => format!("-NAK {{\"delay\": {}}}", delay.as_nanos()).into(),
        };
        self.connection.publish(self.subject.clone(), payload).boxed()
    }
}

/// The receiving end of a durable's task.
pub(super) struct NatsConsumer {
    pub(super) deliveries: mpsc::Receiver<Consumed>,
    /// Whether the task is to ask for more.
    pub(super) more: watch::Sender<bool>,
    pub(super) stop: CancellationToken,
}

impl Consumer for NatsConsumer {
    fn next(&mut self, more: bool) -> BoxFuture<'_, Option<Consumed>> {
        self.more.send_if_modified(|present| std::mem::replace(present, more) != more);
        self.deliveries.recv().boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            self.stop.cancel();
            let mut rest = Vec::new();
            while let Some(consumed) = self.deliveries.recv().await {
                if let Consumed::Delivery(delivery) = consumed {
                    rest.push(delivery);
                }
            }
            rest
        })
    }
}

/// What the server says of a delivery, in the subject for its settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// How often it was made.
    pub(super) times: u32,
    /// The number of the message in the stream.
    pub(super) sequence: u64,
    /// When the message was stored, in milliseconds on the server's clock.
    pub(super) stored_ms: i64,
    /// How many messages wait for the durable behind this one.
    pub(super) pending: u64,
}

impl Made {
    /// Reads `$JS.ACK.<stream>.<consumer>.<times>.<sequence>.<number>.<nanoseconds>.<pending>`, which since server 2.14 may
    /// have the domain and a hash of the account behind `ACK`, and something at its end.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let subject = message.reply.as_ref()?;
        let tokens: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
        let from = match tokens.len() {
            7 => 2,
            length if length >= 9 => 4,
            _ => return None,
        };
        let number = |index: usize| tokens.get(from + index)?.parse::<u64>().ok();
        Some(Self {
            times: u32::try_from(number(0)?).unwrap_or(u32::MAX),
            sequence: number(1)?,
            stored_ms: i64::try_from(number(3)? / 1_000_000).ok()?,
            pending: number(4)?,
        })
    }
}

/// What a durable has been through, so that it can be made anew behind it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Delivered and not settled, as far as this side knows.
    open: BTreeSet<u64>,
    highest: u64,
    /// What comes up to here came before: the durable was made anew.
    again: u64,
    /// How many messages waited behind the last one.
    pending: u64,
}

impl Progress {
    /// A durable that goes on behind this number.
    pub(super) fn behind(highest: u64) -> Self {
        Self { highest, ..Self::default() }
    }

    /// Takes note of a delivery; gives how often it has been made, and how many messages were lost before it.
    pub(super) fn take(&mut self, made: Made) -> (u32, u64) {
        let first = made.times == 1 && made.sequence > self.highest;
        // What waited and neither came nor waits any more has fallen off the stream.
        let lost = if first { self.pending.saturating_sub(1).saturating_sub(made.pending) } else { 0 };
        if first {
            self.pending = made.pending;
        }
        self.open.insert(made.sequence);
        if self.open.len() > MOST_OPEN {
            self.open.pop_first();
        }
        self.highest = self.highest.max(made.sequence);
        (made.times + u32::from(made.sequence <= self.again), lost)
    }

    pub(super) fn settled(&mut self, sequence: u64) {
        self.open.remove(&sequence);
    }

    /// Where a durable begins that is made anew: everything that is not settled comes again.
    pub(super) fn start_again(&mut self) -> u64 {
        self.again = self.highest;
        self.pending = 0;
        self.open.first().copied().unwrap_or(self.highest + 1)
    }

    /// The stream is another one: nothing of what was is known.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(reply: &str) -> Message {
        Message {
            subject: "catga.reliable.A".into(),
            reply: Some(reply.to_owned().into()),
            payload: Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn made(times: u32, sequence: u64, pending: u64) -> Made {
        Made { times, sequence, stored_ms: 0, pending }
    }

    #[test]
    fn both_forms_of_the_address_are_read() {
        let expected = Made { times: 2, sequence: 13, stored_ms: 1_700_000_000_123, pending: 4 };
        let first = "$JS.ACK.catga-events.n~node1.2.13.1.1700000000123456789.4";
        assert_eq!(Made::of(&message(first)), Some(expected));
        let second = "$JS.ACK._.hash.catga-events.n~node1.2.13.1.1700000000123456789.4.token";
        assert_eq!(Made::of(&message(second)), Some(expected));
        for wrong in ["$JS.ACK.a.b.1.2.3.4", "_INBOX.x", "$JS.ACK.a.b.x.1.1.1.1", ""] {
            assert_eq!(Made::of(&message(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn what_waited_and_never_came_is_counted() {
        let mut progress = Progress::default();
        assert_eq!(progress.take(made(1, 1, 10)), (1, 0));
        assert_eq!(progress.take(made(1, 2, 9)), (1, 0));
        assert_eq!(progress.take(made(2, 1, 8)), (2, 0), "a repeat says nothing of what is lost");
        assert_eq!(progress.take(made(1, 8, 3)), (1, 5));
        assert_eq!(progress.take(made(1, 9, 40)), (1, 0), "more came in");
    }

    #[test]
    fn a_durable_that_is_made_anew_begins_with_what_is_not_settled() {
        let mut progress = Progress::default();
        assert_eq!(progress.start_again(), 1, "nothing was delivered, and the stream was empty");
        for sequence in 1..=5 {
            progress.take(made(1, sequence, 0));
        }
        for sequence in [1, 2, 4] {
            progress.settled(sequence);
        }
        assert_eq!(progress.start_again(), 3);
        assert_eq!(progress.take(made(1, 4, 0)), (2, 0), "it came before");
        assert_eq!(progress.take(made(1, 6, 0)), (1, 0));
        for sequence in 3..=6 {
            progress.settled(sequence);
        }
        assert_eq!(progress.start_again(), 7);
    }
}
