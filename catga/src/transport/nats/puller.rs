//! The task behind the deliveries of a durable: it asks, receives, keeps what is not due, and makes good what is lost.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    clock::Clock,
    connection::Connection,
    consumer::{Made, NatsConsumer, Progress, SettleNats},
    names::{StreamKind, token},
    recovery::{millis, millis_of},
    streams::Streams,
    wire::{self, Arrived},
};
use crate::{
    error::Error,
    id::MessageId,
    transport::{Consumed, Delivery, Durable, Settle, Settlement},
};

/// How many deliveries are asked for at a time.
pub(super) const ASKED: usize = 32;
/// How long the server keeps a question.
const EXPIRES: Duration = Duration::from_secs(8);
/// How often the server says that it still has the question.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// After how much silence a question is taken for lost.
const SILENCE: Duration = Duration::from_millis(4_500);
/// How long a delivery is under way, in milliseconds, if nothing stands still.
const LATE: u64 = 250;
/// How long the task waits before it asks a server again that refused.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// How long what is under way is waited for when the task ends.
const LAST_ONES: Duration = Duration::from_secs(1);
/// Says after how many milliseconds what is stored again comes due.
pub(super) const DELAY: &str = "Catga-Delay";

/// A durable's task.
pub(super) struct Puller {
    pub(super) connection: Arc<Connection>,
    pub(super) streams: Streams,
    pub(super) spec: Durable,
    pub(super) clock: Clock,
    /// Where the server sends what was asked for.
    inbox: Subject,
    ask_at: Subject,
    deliveries: mpsc::Sender<Consumed>,
    settled: (mpsc::Sender<u64>, mpsc::Receiver<u64>),
    more: watch::Receiver<bool>,
    pub(super) stop: CancellationToken,
    pub(super) progress: Progress,
    /// When it is looked at next what was missed, if something may have been.
    pub(super) look_at: Instant,
    /// When the stream was made, so that another one under its name is recognised.
    pub(super) stream_made: String,
    /// How many deliveries are asked for one at a time: the connection broke, and what breaks it must take nothing along.
    pub(super) careful: usize,
    /// Deliveries asked for and not received.
    pub(super) asked: usize,
    pub(super) last_sign: Instant,
    /// What comes due later, by when and by number.
    pub(super) held: BTreeMap<(Instant, u64), Held>,
}

pub(super) struct Held {
    message: Message,
    made: Made,
    times: u32,
}

/// Why the task must look at the server before it goes on.
enum Trouble {
    /// Nothing came for too long, or the durable may be gone.
    Doubt,
    /// The client is dead.
    Dead,
}

impl Puller {
    /// Starts the task of a durable that is there.
    pub(super) async fn start(
        connection: Arc<Connection>,
        streams: Streams,
        spec: Durable,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<NatsConsumer, Error> {
        let stream = streams.info(StreamKind::Events).await.map_err(|failed| failed.into_error("STREAM.INFO"))?;
        let (info, new) = streams.ensure_durable(&spec, None).await?;
        let (deliveries, receiver) = mpsc::channel(2 * ASKED);
        let (more, wanted) = watch::channel(true);
        // One that was there before has been away for as long as nothing was delivered to it.
        let away = info.delivered.last_active.unwrap_or(info.created);
        let away = (!new).then(|| millis(away));
        let inbox = Subject::from(connection.client().new_inbox());
        let ask_at = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", stream.config.name, token(&spec.name)).into();
        let generation = connection.generation();
        let subscriber = connection.subscribe(&inbox, None).await?;
        let puller = Self {
            connection,
            streams,
            spec,
            clock,
            inbox,
            ask_at,
            deliveries,
            settled: mpsc::channel(8_192),
            more: wanted,
            stop: stop.clone(),
            progress: Progress::new(info.delivered.stream_sequence, away),
            look_at: Instant::now(),
            stream_made: stream.created.to_string(),
            careful: 0,
            asked: 0,
            last_sign: Instant::now(),
            held: BTreeMap::new(),
        };
        tokio::spawn(puller.run(subscriber, generation));
        Ok(NatsConsumer { deliveries: receiver, more, stop })
    }

    async fn run(mut self, mut subscriber: Subscriber, mut generation: u64) {
        let mut epochs = self.connection.epochs();
        let mut renew = tokio::time::interval((self.spec.ack_wait / 3).max(Duration::from_millis(1)));
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            self.ask().await;
            let due = self.held.first_key_value().map(|((due, _), _)| *due);
            let mut settled = Vec::new();
            let trouble = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = renew.tick() => { self.renew().await; None }
                () = sleep_until(due) => { self.hand_over_due().await; None }
                () = tokio::time::sleep_until(self.look_at), if self.progress.is_behind() => {
                    self.look_for_missed().await;
                    None
                }
                _ = self.settled.1.recv_many(&mut settled, 256) => None,
                message = subscriber.next() => match message {
                    Some(message) => self.receive(message).await,
                    None => Some(Trouble::Dead),
                },
                changed = epochs.changed() => {
                    self.progress.fall_behind(self.clock.server_ms());
                    // What was asked over the connection before is not answered.
                    (self.asked, self.careful) = (0, ASKED);
                    changed.err().map(|_| Trouble::Dead)
                }
                changed = self.more.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    None
                }
                () = tokio::time::sleep_until(self.last_sign + SILENCE), if self.asked > 0 => Some(Trouble::Doubt),
            };
            for sequence in settled {
                self.progress.settled(sequence);
            }
            match trouble {
                None => {}
                Some(Trouble::Doubt) => drop(stop.run_until_cancelled(self.recover()).await),
                Some(Trouble::Dead) => {
                    let again = async {
                        self.connection.replaced(generation).await;
                        epochs.mark_unchanged();
                        (self.connection.generation(), self.connection.subscribe(&self.inbox, None).await)
                    };
                    let Some((new, subscribed)) = stop.run_until_cancelled(again).await else { break };
                    (generation, self.asked, self.careful) = (new, 0, ASKED);
                    match subscribed {
                        Ok(new) => subscriber = new,
                        Err(error) => {
                            tracing::warn!(target: "catga::nats", %error, durable = %self.spec.name, "no subscription yet");
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            }
        }
        self.end(subscriber).await;
    }

    /// Asks for more, if more is wanted and little is under way.
    async fn ask(&mut self) {
        let more = *self.more.borrow_and_update();
        if !more || !self.connection.is_connected() {
            return self.progress.fall_behind(self.clock.server_ms());
        }
        let most = if self.careful > 0 { 1 } else { ASKED };
        if self.asked > most / 2 {
            return;
        }
        let batch = most - self.asked;
        let question = format!(
            r#"{{"batch":{batch},"expires":{},"idle_heartbeat":{}}}"#,
            EXPIRES.as_nanos(),
            HEARTBEAT.as_nanos()
        );
        match self.connection.ask(self.ask_at.clone(), self.inbox.clone(), question.into()).await {
            Ok(()) => {
                if self.asked == 0 {
                    self.last_sign = Instant::now();
                }
                self.asked = most;
            }
            Err(error) => {
                tracing::debug!(target: "catga::nats", %error, durable = %self.spec.name, "nothing could be asked for");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Takes what the server sends: a message, or word of what became of a question.
    async fn receive(&mut self, message: Message) -> Option<Trouble> {
        let last_sign = std::mem::replace(&mut self.last_sign, Instant::now());
        if let Some(status) = message.status.filter(|status| *status != StatusCode::OK) {
            return self.hear(status, &message).await;
        }
        self.asked = self.asked.saturating_sub(1);
        self.careful = self.careful.saturating_sub(1);
        let Some(made) = Made::of(&message) else {
            tracing::warn!(target: "catga::nats", durable = %self.spec.name, "a message that is no delivery was left alone");
            return None;
        };
        let age = self.clock.age(made.stored_ms);
        if self.progress.leaves_a_gap(made) {
            // Perhaps for others alone, or this process or the server stood still since the last sign.
            self.progress.fall_behind(self.clock.server_ms() - millis_of(last_sign.elapsed()));
        }
        if age > LATE {
            // It waited on its way: what was stored meanwhile may have found nobody who had asked for it.
            self.progress.fall_behind(made.stored_ms);
        }
        let times = self.progress.take(made);
        let delay = message.headers.as_ref().and_then(|headers| headers.get(DELAY)?.as_str().parse::<u64>().ok());
        // Nodes delay nothing but what they store again: what others ask for could fill the durable for good.
        let delay = delay.filter(|_| *message.subject == *self.streams.names.retry(&self.spec.name));
        let left = delay.unwrap_or(0).saturating_sub(age);
        if left > 0 {
            let due = Instant::now() + Duration::from_millis(left);
            self.held.insert((due, made.sequence), Held { message, made, times });
            return None;
        }
        self.deliver(message, made, times).await;
        None
    }

    /// What the server says of a question: it may be over, or it is kept.
    async fn hear(&mut self, status: StatusCode, message: &Message) -> Option<Trouble> {
        let text = message.description.as_deref().unwrap_or_default().to_owned();
        if status == StatusCode::IDLE_HEARTBEAT {
            return None;
        }
        // The question is over; so many of it are not coming.
        let left =
            message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages")?.as_str().parse().ok());
        self.asked = self.asked.saturating_sub(left.unwrap_or(ASKED));
        if status == StatusCode::TIMEOUT || status == StatusCode::NOT_FOUND {
            return None;
        }
        tracing::debug!(target: "catga::nats", durable = %self.spec.name, %status, text, "the server ended a question");
        tokio::time::sleep(PAUSE).await;
        let gone = status == StatusCode::NO_RESPONDERS || text.contains("Deleted");
        gone.then_some(Trouble::Doubt)
    }

    async fn deliver(&mut self, message: Message, made: Made, times: u32) {
        let Some(subject) = message.reply.clone() else { return };
        let names = &self.streams.names;
        let name = names.type_of("reliable", &message.subject).unwrap_or_default().to_owned();
        let stream = names.stream(StreamKind::Events);
        // A foreign message without an id has the same one in each delivery.
        let id = MessageId::derived(&[
            b"stored",
            stream.as_bytes(),
            self.stream_made.as_bytes(),
            &made.sequence.to_le_bytes(),
        ]);
        let arrived = Arrived { name: &name, headers: message.headers.as_ref(), payload: &message.payload, id };
        let messages = wire::read(&arrived).map_err(|error| (message.payload.clone(), error));
        let settle = self.settle(subject, made.sequence);
        self.pass_on(Consumed::Delivery(Delivery::new(made.sequence, times, messages, settle))).await;
    }

    fn settle(&self, subject: Subject, sequence: u64) -> Arc<dyn Settle> {
        Arc::new(SettleNats { connection: self.connection.clone(), subject, settled: self.settled.0.clone(), sequence })
    }

    /// There is room for what was asked for; the node that does not take it has ended.
    pub(super) async fn pass_on(&mut self, consumed: Consumed) {
        // A node that is gone takes nothing: its deliveries are made again.
        let _ = self.deliveries.send(consumed).await;
    }

    async fn hand_over_due(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.held.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let Held { message, made, times } = entry.remove();
            self.deliver(message, made, times).await;
        }
    }

    /// What waits here is not to be delivered to another member.
    async fn renew(&mut self) {
        for ((_, sequence), held) in &self.held {
            if let Some(subject) = held.message.reply.clone() {
                // A sign that is lost leads to another delivery.
                let _ = self.settle(subject, *sequence).settle(Settlement::Progress).await;
            }
        }
    }

    /// Gives back what waits here, and hands over what had arrived.
    async fn end(mut self, mut subscriber: Subscriber) {
        for ((due, sequence), held) in std::mem::take(&mut self.held) {
            if let Some(subject) = held.message.reply {
                let left = Settlement::GiveBack(due.saturating_duration_since(Instant::now()));
                let _ = self.settle(subject, sequence).settle(left).await;
            }
        }
        // A client that is dead has nothing left to give.
        drop(subscriber.drain().await);
        let rest = async {
            while let Some(message) = subscriber.next().await {
                if message.status.is_none_or(|status| status == StatusCode::OK) {
                    let Some(made) = Made::of(&message) else { continue };
                    let times = self.progress.take(made);
                    self.deliver(message, made, times).await;
                }
            }
        };
        drop(tokio::time::timeout(LAST_ONES, rest).await);
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
