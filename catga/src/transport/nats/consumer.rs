//! The deliveries of one durable to one node: a task pulls, and hands over what is due.
//!
//! The pulling follows the simplified consumers of the [client design](https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-37.md),
//! with one change: what was asked for and what came is counted here, so that any doubt is ended by asking anew.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
};

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
            // The server counts every delivery, also one that nobody began with.
            Settlement::Untouched | Settlement::GiveBack(Duration::ZERO) => Bytes::from_static(b"-NAK"),
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

/// What a durable has been through, so that it can be made anew behind it, and that what it missed is seen.
#[derive(Debug)]
pub(super) struct Progress {
    /// Delivered and not settled, as far as this side knows.
    open: BTreeSet<u64>,
    highest: u64,
    /// What comes up to here came before: the durable was made anew.
    again: u64,
    /// Up to here it is known what came.
    known: u64,
    /// What did not come between what came since then, while the durable was behind.
    gaps: VecDeque<Range<u64>>,
    /// Since when, on the server's clock, something may have fallen off the stream before it came.
    behind_since: Option<i64>,
    /// Whether more waits behind what came last.
    more: bool,
}

impl Progress {
    /// A durable that goes on behind this number, and may have missed something since then.
    pub(super) fn new(highest: u64, behind_since: Option<i64>) -> Self {
        Self {
            open: BTreeSet::new(),
            highest,
            again: 0,
            known: highest,
            gaps: VecDeque::new(),
            behind_since,
            more: false,
        }
    }

    /// Takes note of a delivery; gives how often it has been made.
    pub(super) fn take(&mut self, made: Made) -> u32 {
        if made.times == 1 && made.sequence > self.highest {
            self.more = made.pending > 0;
            if self.more {
                self.fall_behind(made.stored_ms);
            }
            if self.is_behind() && made.sequence > self.highest + 1 {
                self.gaps.push_back(self.highest + 1..made.sequence);
                if self.gaps.len() > MOST_OPEN {
                    self.gaps.pop_front();
                }
            }
        }
        self.open.insert(made.sequence);
        if self.open.len() > MOST_OPEN {
            self.open.pop_first();
        }
        self.highest = self.highest.max(made.sequence);
        made.times + u32::from(made.sequence <= self.again)
    }

    /// Whether something stands in the stream between this delivery and the one before it.
    pub(super) fn leaves_a_gap(&self, made: Made) -> bool {
        made.times == 1 && made.sequence > self.highest + 1
    }

    /// From this time on the durable may not have received at once what was stored.
    pub(super) fn fall_behind(&mut self, server_ms: i64) {
        self.behind_since.get_or_insert(server_ms);
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind_since.is_some()
    }

    /// Counts what is missing now that the stream begins with `first`, stored at `first_ms`: at most so many deliveries. How
    /// many of them were for this durable nobody knows any more.
    pub(super) fn missed(&mut self, first: u64, first_ms: i64) -> u64 {
        let behind = self.highest + 1..first;
        let gaps = self.gaps.drain(..).chain([behind]);
        // What did not come and is not there any more.
        let gone = gaps.map(|gap| gap.end.min(first).saturating_sub(gap.start.max(self.known + 1))).sum();
        let missed = if self.behind_since.is_some_and(|since| first_ms > since) { gone } else { 0 };
        self.known = self.highest.max(first.saturating_sub(1));
        if !self.more {
            self.behind_since = None;
        }
        missed
    }

    pub(super) fn settled(&mut self, sequence: u64) {
        self.open.remove(&sequence);
    }

    /// Where a durable begins that is made anew: everything that is not settled comes again.
    pub(super) fn start_again(&mut self) -> u64 {
        self.again = self.highest;
        self.open.first().copied().unwrap_or(self.highest + 1)
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
    fn what_fell_off_the_stream_while_the_durable_was_behind_is_counted() {
        let mut progress = Progress::new(0, None);
        progress.take(made(1, 1, 0));
        assert!(!progress.is_behind());
        assert_eq!(progress.missed(500, 1_000), 0, "it had all there was: these were not for it");

        progress.fall_behind(2_000);
        assert_eq!(progress.missed(600, 1_900), 0, "what fell off is older");
        assert!(!progress.is_behind());

        progress.fall_behind(2_000);
        progress.take(made(1, 700, 3));
        progress.take(made(1, 701, 2));
        assert_eq!(progress.missed(700, 2_500), 100, "599 is known, 700 is there");
        assert!(progress.is_behind(), "more waits");
        progress.take(made(1, 703, 0));
        assert_eq!(progress.missed(702, 2_600), 0, "702 is there: it is not for this durable");
        assert!(!progress.is_behind());
    }

    #[test]
    fn a_durable_that_is_made_anew_begins_with_what_is_not_settled() {
        let mut progress = Progress::new(0, None);
        assert_eq!(progress.start_again(), 1, "nothing was delivered, and the stream was empty");
        for sequence in 1..=5 {
            progress.take(made(1, sequence, 0));
        }
        for sequence in [1, 2, 4] {
            progress.settled(sequence);
        }
        assert_eq!(progress.start_again(), 3);
        assert_eq!(progress.take(made(1, 4, 0)), 2, "it came before");
        assert_eq!(progress.take(made(1, 6, 0)), 1);
        for sequence in 3..=6 {
            progress.settled(sequence);
        }
        assert_eq!(progress.start_again(), 7);
    }
}
