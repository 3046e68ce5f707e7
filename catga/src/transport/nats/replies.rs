//! What comes back for the requests of a node: replies, and that nobody was there to take a frame of requests.

use std::{mem, pin::Pin, sync::Arc, time::Duration};

use async_nats::{Message, StatusCode, Subject};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use rustc_hash::FxHashMap;
use tokio::{sync::mpsc, time::Interval};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    inbox::{Subscriptions, unreadable},
    names::{FRAME, Names},
};
use crate::{
    envelope::Reply,
    error::{Error, ErrorKind},
    frame,
};

/// For how long it is remembered what a frame of requests asked, in case that nobody is there to take it. The server says
/// so within milliseconds.
const REMEMBERED: Duration = Duration::from_secs(5);

/// How long what is under way is waited for when the node leaves: its callers wait, and whoever shuts it down.
const LAST_ONES: Duration = Duration::from_millis(500);

/// What the last token of a subject begins with to which the server says that nobody took a frame.
const NOBODY: &str = "nobody-";

/// What the subject of a node begins with to which the server says that nobody took a frame.
pub(super) fn nobody_prefix(names: &Names, node: &str) -> String {
    names.reply(node, NOBODY).into_string()
}

/// The subject to which the server says that nobody took the frame of this number.
pub(super) fn nobody(prefix: &str, number: u64) -> Subject {
    format!("{prefix}{number}").into()
}

/// Which requests a frame holds, for the case that nobody takes it.
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) node: Arc<str>,
    pub(super) tokens: Vec<u64>,
}

struct Replies {
    source: Source,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    sent: mpsc::Receiver<Sent>,
    /// Frames that left lately, by number: those of now, and of the time before.
    left: [FxHashMap<u64, Sent>; 2],
    rotate: Interval,
}

/// Where it comes from.
enum Source {
    Open(Subscriptions),
    /// What the server had sent when nothing more was wanted.
    Rest(BoxStream<'static, Message>),
    Over,
}

/// What comes back, until `closing` fires, and what the server has sent by then.
pub(super) fn stream(
    subscriptions: Subscriptions,
    sent: mpsc::Receiver<Sent>,
    closing: CancellationToken,
) -> BoxStream<'static, Vec<Reply>> {
    let (source, closing) = (Source::Open(subscriptions), Box::pin(closing.cancelled_owned()));
    let replies =
        Replies { source, closing, sent, left: Default::default(), rotate: tokio::time::interval(REMEMBERED) };
    let next = async |mut replies: Replies| Some((replies.next().await?, replies));
    stream::unfold(replies, next).boxed()
}

impl Source {
    async fn next(&mut self) -> Option<Message> {
        match self {
            Self::Open(subscriptions) => Some(subscriptions.next().await),
            Self::Rest(rest) => rest.next().await,
            Self::Over => None,
        }
    }
}

impl Replies {
    /// What comes next; None when the server has sent everything.
    async fn next(&mut self) -> Option<Vec<Reply>> {
        loop {
            let message = tokio::select! {
                biased;
                _ = self.rotate.tick() => {
                    self.left.swap(0, 1);
                    self.left[0].clear();
                    continue;
                }
                message = self.source.next() => message?,
                () = &mut self.closing, if matches!(self.source, Source::Open(_)) => {
                    if let Source::Open(subscriptions) = mem::replace(&mut self.source, Source::Over) {
                        let rest = subscriptions.close().await.take_until(Box::pin(tokio::time::sleep(LAST_ONES)));
                        self.source = Source::Rest(rest.boxed());
                    }
                    continue;
                }
            };
            // A frame is in the queue before it leaves. Nothing waits for it there: being woken for each frame that leaves
            // would take as long as sending it.
            while let Ok(frame) = self.sent.try_recv() {
                self.left[0].insert(frame.number, frame);
            }
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                let number = message.subject.rsplit(NOBODY).next().and_then(|number| number.parse::<u64>().ok());
                if let Some(frame) = number.and_then(|number| self.left.iter_mut().find_map(|it| it.remove(&number))) {
                    return Some(nobody_took(&frame));
                }
            } else if message.subject.ends_with(FRAME) {
                match read(&message) {
                    Ok(replies) => return Some(replies),
                    Err(error) => unreadable(&message, &error),
                }
            }
        }
    }
}

fn read(message: &Message) -> Result<Vec<Reply>, Error> {
    // An empty one only finds out what is permitted.
    if message.payload.is_empty() { Ok(Vec::new()) } else { frame::decode_replies(&message.payload) }
}

fn nobody_took(frame: &Sent) -> Vec<Reply> {
    let gone = |token: &u64| {
        let text = format!("node `{}` is not there", frame.node);
        Reply::new(*token, Err(Error::not_started(ErrorKind::Transport, text)))
    };
    frame.tokens.iter().map(gone).collect()
}
