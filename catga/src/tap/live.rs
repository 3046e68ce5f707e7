//! Messages taken apart while they pass.

use std::fmt;

use super::Tap;
use crate::{
    error::Error,
    id::now_millis,
    transport::{
        Nats,
        nats::{
            cloud_event::written_time,
            listener::{Heard, Listener},
        },
    },
};

/// What passes over NATS, from now on; see [`Tap::listen`].
pub struct Listening {
    tap: Tap,
    listener: Listener,
}

/// What passed, or did not get here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed {
    /// A message of NATS: a line for each message in it, as [`Tap::describe`] writes them, each with a time.
    Lines(Vec<String>),
    /// Something is not among the lines.
    Missed {
        /// How many messages of NATS came faster than they were taken.
        messages: u64,
        /// Whether the connection was lost meanwhile: what passed then was counted by nobody.
        interrupted: bool,
    },
}

impl Tap {
    /// Listens to an application on a server, as a program that is no node of it.
    ///
    /// Without a subject it hears whatever nodes and other programs send to the application. With one, such as
    /// `catga.event.>`, it hears all that passes there: under `catga.inbox.>` also the server's own answers, and each delivery
    /// of a reliable event, which is a copy of what was stored.
    ///
    /// At most 4,096 messages of NATS and 16 MiB wait to be taken; what comes then is counted and dropped.
    ///
    /// # Errors
    ///
    /// `Configuration` if there cannot be such an application or subject; `Transport` if the server is not reached.
    pub async fn listen(&self, nats: &Nats, app: &str, subject: Option<&str>) -> Result<Listening, Error> {
        Ok(Listening { tap: self.clone(), listener: nats.listen(app, subject).await? })
    }
}

impl Listening {
    /// What passes next; waits until there is something.
    ///
    /// # Errors
    ///
    /// `Configuration` if the server refuses to let it listen.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Passed, Error> {
        let message = match self.listener.next().await? {
            Heard::Message(message) => message,
            Heard::Missed { messages, interrupted } => return Ok(Passed::Missed { messages, interrupted }),
        };
        let map = message.headers.as_ref();
        let headers: Vec<_> = map
            .iter()
            .flat_map(|map| map.iter())
            .flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str())))
            .collect();
        let mut lines = self.tap.describe(&message.subject, &headers, &message.payload);
        for line in &mut lines {
            if let Some(rest) = line.strip_prefix("- ")
                && let Ok(now) = written_time(now_millis())
            {
                *line = format!("{now} {rest}");
            }
        }
        Ok(Passed::Lines(lines))
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("tap", &self.tap).finish_non_exhaustive()
    }
}
