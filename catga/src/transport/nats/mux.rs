//! Questions to the server and their answers, over one subscription.
//!
//! The client's own requests keep an entry for the life of the client for each question that is not answered. Here an
//! entry goes with its caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{HeaderMap, Message, StatusCode, Subject};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::{
    sync::{
        Notify,
        mpsc::{
            self,
            error::{TryRecvError, TrySendError},
        },
    },
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, Outgoing},
    inbox::{Subscriptions, Wanted},
};
use crate::{
    error::{Error, ErrorKind},
    waiting::Waiting,
};

/// How often the entries of callers are looked for that have gone, or have waited too long: none has a timer of its own.
const SWEEP: Duration = Duration::from_millis(250);
/// The most questions that wait for the task.
const QUEUE: usize = 1_024;

/// Asks and finds the answer.
pub(super) struct Mux {
    connection: Arc<Connection>,
    prefix: String,
    questions: mpsc::Sender<Question>,
    /// Wakes the task when its queue is full.
    full: Arc<Notify>,
    next: AtomicU64,
}

type Question = (u64, Waiting<Message>);

impl Mux {
    /// Subscribes to the answers; ends when `closing` fires.
    pub(super) async fn open(connection: Arc<Connection>, closing: CancellationToken) -> Result<Arc<Self>, Error> {
        let prefix = format!("{}.", connection.client().new_inbox());
        let (asked, questions) = mpsc::channel(QUEUE);
        let all = Wanted { subject: format!("{prefix}*").into(), group: None };
        let answers = Subscriptions::open(connection.clone(), vec![all]).await?;
        let full = Arc::new(Notify::new());
        let task = find(prefix.clone(), answers, questions, full.clone());
        tokio::spawn(closing.run_until_cancelled_owned(task));
        Ok(Arc::new(Self { connection, prefix, questions: asked, full, next: AtomicU64::new(0) }))
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Asks and waits for the answer, so long in all.
    ///
    /// # Errors
    ///
    /// `NotStarted` when the question did not leave or nobody is there to answer it, `Unknown` when no answer came in time.
    pub(super) async fn ask(
        &self,
        subject: &Subject,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, Error> {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let reply = Subject::from(format!("{}{token}", self.prefix));
        let (waiting, answered) = Waiting::new(Some(Instant::now() + limit));
        // The task looks into the queue when an answer comes. Being woken for each question would take as long as asking it.
        match self.questions.try_send((token, waiting)) {
            Ok(()) => {}
            Err(TrySendError::Full(question)) => {
                self.full.notify_one();
                if self.questions.send(question).await.is_err() {
                    return Err(Error::shutting_down());
                }
                // Others may wait behind this one.
                self.full.notify_one();
            }
            Err(TrySendError::Closed(_)) => return Err(Error::shutting_down()),
        }
        // It may have been put there just when the task ended.
        if self.questions.is_closed() {
            return Err(Error::shutting_down());
        }
        let question = Outgoing { subject: subject.clone(), payload, reply: Some(reply), headers };
        self.connection.hand_over(question).await?;
        match answered.await {
            Ok(message) if message.status == Some(StatusCode::NO_RESPONDERS) => Err(Error::not_started(
                ErrorKind::NotFound,
                format!(
                    "nobody answers at `{subject}`: JetStream is off, has no leader now, or what is asked for does not exist"
                ),
            )),
            Ok(message) => Ok(message),
            Err(_) => {
                let refused = self.connection.is_refused(subject).then_some(": it does not permit that");
                let text =
                    format!("the server did not answer at `{subject}` within {limit:?}{}", refused.unwrap_or_default());
                Err(Error::unknown(ErrorKind::TimedOut, text))
            }
        }
    }
}

/// The task that owns the table of questions.
async fn find(prefix: String, mut answers: Subscriptions, mut questions: mpsc::Receiver<Question>, full: Arc<Notify>) {
    let mut table: FxHashMap<u64, Waiting<Message>> = FxHashMap::default();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let message = tokio::select! {
            biased;
            now = sweep.tick() => {
                table.retain(|_, waiting| !waiting.is_over() && !waiting.is_late(now));
                None
            }
            () = full.notified() => None,
            message = answers.next() => Some(message),
        };
        // A question is in the queue before it leaves.
        loop {
            match questions.try_recv() {
                Ok((token, waiting)) => drop(table.insert(token, waiting)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let Some(message) = message else { continue };
        let token = message.subject.strip_prefix(&*prefix).and_then(|token| token.parse().ok());
        if let Some(mut waiting) = token.and_then(|token: u64| table.remove(&token)) {
            // A caller that has gone needs no answer.
            waiting.tell(message);
        }
    }
}
