//! Hears what passes over NATS without being a node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, Event, Message, ServerError, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Nats, ROUND_TRIP, operator::names_of, settings::Settings};
use crate::error::Error;

/// The most messages that wait for whoever listens: some seconds of what a person can follow.
const QUEUE: usize = 4_096;
/// The most bytes that they take.
const QUEUED_BYTES: usize = 16 << 20;
/// How often is said what was missed: under a flood, each message would be followed by that.
const REPORTS: Duration = Duration::from_secs(1);
/// The pause between two attempts to make a new client.
const PAUSE: Duration = Duration::from_millis(500);

/// The messages of some subjects, as they pass.
pub(crate) struct Listener {
    heard: mpsc::Receiver<Message>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
    missed: watch::Receiver<Missed>,
    /// What was said of it, and when it may be said again.
    told: Missed,
    quiet_until: Instant,
    _closing: DropGuard,
}

/// What whoever listens gets to know.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Message),
    /// So many messages found no room; if the connection was interrupted, others that nobody counted did not come.
    Missed {
        messages: u64,
        interrupted: bool,
    },
}

/// What was not heard since the beginning.
#[derive(Clone, Debug, Default)]
struct Missed {
    messages: u64,
    interruptions: u64,
    /// What the server said when it refused the subscription.
    refused: Option<String>,
}

/// The task that keeps up with the server, whoever listens.
struct Ear {
    settings: Arc<Settings>,
    name: String,
    inbox: String,
    subject: Subject,
    /// Whether copies are heard: deliveries of what was heard when it was stored, and answers of the server.
    copies: bool,
    queue: mpsc::Sender<Message>,
    waiting: Arc<AtomicUsize>,
    missed: Arc<watch::Sender<Missed>>,
}

impl Nats {
    /// Begins to hear what passes; without a subject, whatever the nodes of the application send.
    pub(crate) async fn listen(&self, app: &str, subject: Option<&str>) -> Result<Listener, Error> {
        let names = names_of(app)?;
        let (queue, heard) = mpsc::channel(QUEUE);
        let (missed, seen) = watch::channel(Missed::default());
        let waiting = Arc::new(AtomicUsize::new(0));
        let ear = Ear {
            settings: self.settings.clone(),
            name: format!("{}/{app}/tap", self.settings.name),
            inbox: self.settings.inbox(&names),
            subject: subject.map_or_else(|| names.everything(), Subject::from),
            copies: subject.is_some(),
            queue,
            waiting: waiting.clone(),
            missed: Arc::new(missed),
        };
        let open = ear.open().await?;
        let closing = CancellationToken::new();
        tokio::spawn(closing.clone().run_until_cancelled_owned(ear.run(open)));
        Ok(Listener {
            heard,
            waiting,
            missed: seen,
            told: Missed::default(),
            quiet_until: Instant::now(),
            _closing: closing.drop_guard(),
        })
    }
}

impl Listener {
    /// What comes next.
    ///
    /// # Errors
    ///
    /// `Configuration` if the server refuses the subscription.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Heard, Error> {
        let missed = async {
            sleep_until(self.quiet_until).await;
            self.missed.changed().await
        };
        tokio::select! {
            biased;
            Ok(()) = missed => {
                let now = self.missed.borrow_and_update().clone();
                if let Some(text) = &now.refused {
                    return Err(Error::configuration(format!("the server refuses the subscription: {text}")));
                }
                let before = std::mem::replace(&mut self.told, now);
                self.quiet_until = Instant::now() + REPORTS;
                Ok(Heard::Missed {
                    messages: self.told.messages - before.messages,
                    interrupted: self.told.interruptions > before.interruptions,
                })
            }
            Some(message) = self.heard.recv() => {
                self.waiting.fetch_sub(message.length, Ordering::AcqRel);
                Ok(Heard::Message(message))
            }
            else => Err(Error::shutting_down()),
        }
    }
}

impl Ear {
    /// Connects and subscribes; the server has seen the subscription when it returns.
    async fn open(&self) -> Result<(Client, Subscriber), Error> {
        let client = self.settings.connect(&self.name, &self.inbox, self.events()).await?;
        let subscriber = client.subscribe(self.subject.clone()).await.map_err(|error| {
            let text = format!("`{}` cannot be subscribed to: {error}", self.subject.escape_debug());
            Error::configuration(text).with_source(error)
        })?;
        // Any answer shows it, and a server without JetStream answers, too.
        let _ = timeout(ROUND_TRIP, client.request("$JS.API.INFO", "".into())).await;
        Ok((client, subscriber))
    }

    /// Takes note of what the client says.
    fn events(&self) -> impl Fn(Event) + Send + Sync + 'static + use<> {
        let (missed, quoted) = (self.missed.clone(), format!("\"{}\"", self.subject));
        move |event| match event {
            Event::SlowConsumer(_) => missed.send_modify(|missed| missed.messages += 1),
            Event::Disconnected => missed.send_modify(|missed| missed.interruptions += 1),
            // What else is refused is the round trip, which proves as much.
            Event::ServerError(ServerError::Other(text)) if text.contains(&quoted) => {
                missed.send_modify(|missed| missed.refused = Some(text.clone()));
            }
            _ => {}
        }
    }

    async fn run(self, mut open: (Client, Subscriber)) {
        loop {
            while let Some(message) = open.1.next().await {
                self.take(message);
            }
            // The client is dead: it met a header that it cannot read.
            self.missed.send_modify(|missed| missed.interruptions += 1);
            open = loop {
                match self.open().await {
                    Ok(open) => break open,
                    Err(error) => tracing::warn!(target: "catga::nats", %error, "the tap has no connection"),
                }
                sleep(PAUSE).await;
            };
        }
    }

    fn take(&self, message: Message) {
        if !self.copies && self.is_copy(&message) {
            return;
        }
        let length = message.length;
        let before = self.waiting.fetch_add(length, Ordering::AcqRel);
        // A single message that is larger than all the room is heard, too.
        let fits = before == 0 || before + length <= QUEUED_BYTES;
        if !fits || self.queue.try_send(message).is_err() {
            self.waiting.fetch_sub(length, Ordering::AcqRel);
            self.missed.send_modify(|missed| missed.messages += 1);
        }
    }

    /// A delivery goes to the inbox of whoever asked for it, under the subject of what is delivered.
    fn is_copy(&self, message: &Message) -> bool {
        let delivery = message.reply.as_ref().is_some_and(|reply| reply.starts_with("$JS.ACK."));
        delivery || message.subject.strip_prefix(&*self.inbox).is_some_and(|rest| rest.starts_with('.'))
    }
}
